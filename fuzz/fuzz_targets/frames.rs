//! See `src/frames.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| safe_chat_fuzz::frames::check(bytes));
