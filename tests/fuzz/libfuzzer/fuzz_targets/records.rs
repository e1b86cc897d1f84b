//! `cargo fuzz run records ../corpus/records`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gristmill_fuzz::records(bytes));
