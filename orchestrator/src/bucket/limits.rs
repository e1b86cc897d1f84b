//! Every bound of the bucket adapters.

use std::time::Duration;

/// How long a connection may take to come about.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long one try of a request may take, beside its bytes.
pub const TRY_TIMEOUT: Duration = Duration::from_secs(10);
/// How much longer it may take for every MiB sent, or allowed to come.
pub const TRY_TIMEOUT_PER_MIB: Duration = Duration::from_millis(500);
/// Tries of one request, the first included. What is refused is not tried again.
pub const TRIES_MAX: u32 = 6;
/// Rest before the second try; it doubles with every further one.
pub const RETRY_REST: Duration = Duration::from_millis(200);
/// Rounds of a write that others come before again and again.
pub const CONFLICTS_MAX: usize = 16;
/// Objects below one folder that are listed.
pub const LISTED_MAX: usize = 100_000;
/// Creations of one object at once, by which a bucket is tried out.
pub const PROBE_WRITERS: u8 = 8;
/// Objects taken away side by side.
pub const REMOVALS: usize = 8;
/// Bytes of the longest credentials file that is read.
pub const CREDENTIALS_BYTES_MAX: u64 = 4 * 1024;
/// Characters of a server's answer that an error shows.
pub const SHOWN_CHARS: usize = 200;
/// Bytes of the longest answer that is read: a blob of the largest kind, and its tag.
pub const ANSWER_BYTES_MAX: usize = 1024 * 1024 * 1024 + 64;
