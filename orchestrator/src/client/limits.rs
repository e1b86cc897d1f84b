//! Every bound of the client.

use std::time::Duration;

/// Most bytes of one answer.
pub(super) const ANSWER_BYTES_MAX: usize = 256 << 20;
/// How long one answer may take.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a connection may take to come about.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a request is sent that may do better later.
pub(super) const TRIES_MAX: u32 = 6;
/// The first wait between two tries; the nth is n times as long.
pub(super) const TRY_AFTER: Duration = Duration::from_millis(300);
/// Bytes of a file with an API key that are read.
pub(super) const KEY_BYTES_MAX: u64 = 1024;
