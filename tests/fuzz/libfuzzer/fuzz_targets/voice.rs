//! `cargo fuzz run voice ../corpus/voice`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gristmill_fuzz::voice(bytes));
