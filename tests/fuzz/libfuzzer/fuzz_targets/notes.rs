//! `cargo fuzz run notes ../corpus/notes`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gristmill_fuzz::notes(bytes));
