//! Every bound of the log's formats, in one place.

/// Hashes in a full tile, entries in a full bundle (tlog-tiles).
pub const TILE_WIDTH: usize = 256;

/// Binary tree levels that one tile spans: `2^8 = TILE_WIDTH`.
pub const TILE_HEIGHT: u32 = 8;

/// Bytes of a SHA-256 hash.
pub const HASH_BYTES: usize = 32;

/// Bytes of the longest entry: its length prefix is an unsigned 16-bit integer (tlog-tiles).
pub const MAX_ENTRY_BYTES: usize = 65_535;

/// Bytes of the longest entry bundle: 256 entries of the greatest length, each with its prefix.
pub const MAX_BUNDLE_BYTES: usize = TILE_WIDTH * (2 + MAX_ENTRY_BYTES);

/// Entries of the largest log; keeps every index and shift below within 64 bits.
pub const MAX_LOG_SIZE: u64 = 1 << 62;

/// Highest tile level that a path may name (tlog-tiles).
pub const MAX_TILE_LEVEL: u8 = 63;

/// Bytes of the longest tile path that is parsed.
pub const MAX_TILE_PATH_BYTES: usize = 64;

/// Hashes of the longest inclusion or consistency proof for a log of at most [`MAX_LOG_SIZE`].
pub const MAX_PROOF_HASHES: usize = 63;

/// Bytes of the longest key name or origin.
pub const MAX_NAME_BYTES: usize = 255;

/// Bytes of the longest signed note.
pub const MAX_NOTE_BYTES: usize = 1 << 20;

/// Signature lines of a note; Go's reader stops at the same number.
pub const MAX_SIGNATURES: usize = 100;

/// Bytes of the longest receipt.
pub const MAX_RECEIPT_BYTES: usize = 4 << 20;

/// Tiles that a [`crate::reader::TileReader`] keeps in memory (about 16 KiB each).
pub const MAX_CACHED_TILES: usize = 16;

/// Faults that a verification lists before it only says that there are more.
pub const MAX_FAULTS: usize = 1024;

/// Differing tiles that a verification keeps to find out which side is wrong (16 KiB each).
pub const MAX_SUSPECTS: usize = 1024;
