//! Bounds of the adapters that have no `limits` of their own.

use std::time::Duration;

/// Lines that cannot be read and are told one by one.
pub const UNREADABLE_MAX: usize = 1024;

/// Rows of one page of an audit.
pub const AUDIT_PAGE: usize = 2_048;
/// Pages of rows that an audit asks for ahead.
pub const AUDIT_PAGES_AHEAD: usize = 3;
/// Bytes of entries that go from one thread of an audit to the next at once.
pub const AUDIT_BATCH_BYTES: usize = 256 * 1024;
/// How many such batches wait.
pub const AUDIT_BATCHES: usize = 8;
/// Bytes of most lines of a sandbox rail's book, or fewer: room is made by it.
pub const BOOK_LINE_USUAL: u64 = 160;

/// Objects and arrays within each other that an entry may have.
pub const DEPTH_MAX: usize = 16;

/// Bytes of the longest key file that is read.
pub const KEY_FILE_BYTES_MAX: u64 = 1024;

/// Longest line, in bytes.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// Wall time for a worker to say that it is ready.
pub const HELLO_LIMIT: Duration = Duration::from_secs(10);

/// Wall time for the exit status of a worker whose pipe broke.
pub const EXIT_LIMIT: Duration = Duration::from_secs(5);

/// Wrong entries that are listed by index.
pub const WRONG_ENTRIES_MAX: usize = 1024;

/// Rows of journeys read in one call of the store.
pub const ROWS_PAGE: usize = 512;
/// Items counted in front of a queued one; more are only said to be more.
pub const AHEAD_MAX: usize = 512;
/// Journeys that one call may choose.
pub const CHOSEN_MAX: usize = 100_000;

/// Rows that one page of a listing reads before it is given up, however few it shows.
pub const ROWS_READ_MAX: usize = 32 * 1024;
/// Times that a log which other nodes write may fail to be opened in a row.
pub const LOG_OPENS_MAX: u32 = 50;
/// Between two of them.
pub const LOG_OPEN_AFTER: std::time::Duration = std::time::Duration::from_millis(100);

/// Items of a listing that one call asks a running node for; `service::limits::PAGE_ITEMS_MAX`.
pub const LIST_PAGE: usize = 1_000;
/// Journeys that one call tells a running node's journeys a word, at the most.
pub const TOLD_AT_ONCE: usize = 500;
/// Lines of a manifest that one call hands to a running node.
pub const SUBMIT_LINES: usize = 5_000;
/// Bytes of such lines after which no further line joins the call.
pub const SUBMIT_BYTES: usize = 8 << 20;
/// How often lines are handed in again while a running node has no room for any of them.
pub const SUBMIT_ROUNDS: u32 = 600;
/// Between two such rounds.
pub const SUBMIT_ROUND: Duration = Duration::from_secs(1);
/// Rejected lines whose numbers are kept, to be handed in again by the next submit.
pub const REJECTED_KEPT: usize = 100_000;
/// Bytes of the longest file that says how far a submit came.
pub const PROGRESS_BYTES_MAX: u64 = 4 << 20;
