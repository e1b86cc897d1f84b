//! Merkle log, tiles, signed notes and proofs of the public log Trace: bytes in, bytes out.
//!
//! Nothing here performs I/O, reads a clock or draws randomness: stored objects come through a
//! [`reader::Fetch`] closure and key bytes are arguments. The formats are C2SP's tlog-tiles,
//! signed-note, tlog-checkpoint and tlog-proof over the hashes of RFC 6962.
//!
//! Writing: [`publisher::Publisher`] turns entries into tiles, [`checkpoint::Checkpoint::sign`]
//! signs their root, [`receipt::Receipt`] proves one entry. Reading: [`verify::log`] checks a
//! whole log, [`verify::extends`] checks that one checkpoint extends another.

pub mod bundle;
pub mod checkpoint;
pub mod edge;
pub mod hash;
pub mod key;
pub mod limits;
pub mod note;
pub mod proof;
pub mod publisher;
pub mod reader;
pub mod receipt;
pub mod tile;
pub mod tree;
pub mod verify;

#[cfg(test)]
mod memory_log;
