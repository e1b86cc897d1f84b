//! `cargo fuzz run rail ../corpus/rail`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gristmill_fuzz::rail(bytes));
