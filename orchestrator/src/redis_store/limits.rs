//! Every bound of the Redis store.

use std::time::Duration;

/// How long a connection may take to stand.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(1);
/// How long an answer may take; after that it is unknown what was applied.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(2);
/// How long replicas may take to take up what was written.
pub(super) const REPLICAS_MAX: Duration = Duration::from_millis(1500);
/// Commands that are written to the socket in one go.
pub(super) const PIPELINE_MAX: usize = 512;
/// Times a cluster's client follows a slot that moved before the caller is told.
pub(super) const REDIRECTS_MAX: u32 = 3;
/// Items in one submit of one shard.
pub(super) const SUBMIT_MAX: usize = 512;
/// Rows that one call reads.
pub(super) const ROWS_MAX: usize = 4096;
/// Parts of the content index; each lies in one slot of a cluster.
pub(super) const CONTENT_PARTS: u8 = 64;
/// First wait before a lost subscription is made again.
pub(super) const SUBSCRIBE_AFTER: Duration = Duration::from_millis(100);
/// Longest wait before a lost subscription is made again.
pub(super) const SUBSCRIBE_AFTER_MAX: Duration = Duration::from_secs(2);
/// An answer that took longer says too little about the server's clock.
pub(super) const CLOCK_READING_MAX: Duration = Duration::from_millis(500);
/// Items that the intake lane of one shard holds unless configured otherwise.
pub(super) const INTAKE_MAX: u64 = 10_000_000;
/// Looks at what waits for a rewrite of the append-only file, within the deadline for erasure.
pub(super) const LOOKS_A_DEADLINE: u32 = 48;
/// Between two questions whether a rewrite is over, at the most.
pub(super) const REWRITE_POLL: Duration = Duration::from_secs(1);
/// How long a rewrite is waited for in one look.
pub(super) const REWRITE_MAX: Duration = Duration::from_secs(3600);

const _: () = assert!(REPLICAS_MAX.as_millis() < ANSWER_MAX.as_millis());
