//! `cargo fuzz run manifest ../corpus/manifest`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gristmill_fuzz::manifest_line(bytes));
