//! `cargo fuzz run tiles ../corpus/tiles`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gristmill_fuzz::tiles(bytes));
