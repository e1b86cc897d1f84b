//! `cargo fuzz run proofs ../corpus/proofs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gristmill_fuzz::proofs(bytes));
