//! The memory stores of log objects, keys, blobs and the register hold to their ports.
#![cfg(test)]

use gristmill_testkit::memory_keys::MemoryKeys;
use gristmill_testkit::memory_log::MemoryLog;
use gristmill_testkit::memory_media::MemoryMedia;
use gristmill_testkit::memory_register::MemoryRegister;
use gristmill_testkit::{
    keys_conformance, log_conformance, media_conformance, register_conformance,
};

#[tokio::test]
async fn the_memory_log_holds_to_its_port() {
    log_conformance::run(async || MemoryLog::new(), async |log| log).await;
}

#[tokio::test]
async fn the_memory_keys_hold_to_their_port() {
    keys_conformance::run(async || MemoryKeys::new([1; 32]), async |keys| keys).await;
}

#[tokio::test]
async fn the_memory_media_hold_to_their_port() {
    media_conformance::run(async || MemoryMedia::new(), async |media| media).await;
}

#[tokio::test]
async fn the_memory_register_holds_to_its_port() {
    register_conformance::run(async || MemoryRegister::default(), async |register| register).await;
}
