//! `cargo fuzz run image ../corpus/image`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gristmill_fuzz::image(bytes));
