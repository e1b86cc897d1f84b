//! `cargo fuzz run video ../corpus/video`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gristmill_fuzz::video(bytes));
