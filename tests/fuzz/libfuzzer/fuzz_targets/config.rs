//! `cargo fuzz run config ../corpus/config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gristmill_fuzz::config(bytes));
