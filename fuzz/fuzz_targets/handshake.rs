//! See `src/handshake.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| safe_chat_fuzz::handshake::check(bytes));
