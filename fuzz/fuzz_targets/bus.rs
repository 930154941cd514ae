//! See `src/bus.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| safe_chat_fuzz::bus::check(bytes));
