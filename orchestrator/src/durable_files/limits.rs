//! Every bound of the file adapters.

/// Most bytes of one object of the log that is read: a full entry bundle or a sequenced object.
pub const OBJECT_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Longest path of an object below the log's root, in bytes.
pub const OBJECT_PATH_BYTES_MAX: usize = 200;
/// Threads that write files of one call side by side; their fsyncs share the disk's commits.
pub const WRITERS: usize = 4;
/// Folders remembered to stand; beyond it the memory starts anew.
pub const FOLDERS_REMEMBERED: usize = 4096;
/// Key slots in the first block that a shard fills after a start.
pub const KEY_BLOCK_MIN: u64 = 64;
/// Key slots in the largest block.
pub const KEY_BLOCK_MAX: u64 = 1024;
/// Bytes of the largest encrypted blob that is read.
pub const BLOB_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Bytes of the largest small file of the data directory that is read (keys, version, lock).
pub const SMALL_FILE_BYTES_MAX: u64 = 64 * 1024;
/// Characters of another version's name that an error shows.
pub const VERSION_SHOWN_CHARS: usize = 64;

const _: () = assert!(OBJECT_BYTES_MAX > gristmill_trace::limits::MAX_BUNDLE_BYTES as u64);
const _: () = assert!(OBJECT_BYTES_MAX > gristmill_workflows::limits::SEQUENCED_BYTES_MAX as u64);
