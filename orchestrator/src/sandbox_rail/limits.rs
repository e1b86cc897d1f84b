//! Every bound of the sandbox rail.

use std::time::Duration;

/// Most payouts in one batch.
pub const MAX_BATCH: usize = 1_000;
/// Most bytes of a request body: a full batch of the longest keys and accounts fits.
pub const MAX_BODY: usize = 2 * 1024 * 1024;
/// Most characters of a key.
pub const MAX_KEY_CHARS: usize = 300;
/// Most characters of an account.
pub const MAX_ACCOUNT_CHARS: usize = 128;
/// Largest amount of one payout in minor units: the largest integer that all JSON readers keep.
pub const MAX_MINOR: u64 = (1 << 53) - 1;
/// Most book lines in one page.
pub const BOOK_PAGE: usize = 5_000;
/// Most bytes of one book line, with room for the longest key and account.
pub const MAX_BOOK_LINE: usize = 4 * 1024;
/// Most bytes written to the book between two syncs: no more than that can be torn.
pub const MAX_BOOK_WRITE: usize = 1024 * 1024;
/// Most connections at a time; further ones wait in the listener's backlog.
pub const MAX_CONNECTIONS: usize = 256;
/// Most payouts that wait for a late application at a time; beyond it none is made late.
pub const MAX_LATE: usize = 100_000;
/// Most requests whose attempts are counted for faults; beyond it all are counted anew.
pub const MAX_ATTEMPTS_TRACKED: usize = 1_000_000;
/// Longest time for the head of a request, and again for its body.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest `slow_ms`.
pub const MAX_SLOW: Duration = Duration::from_secs(600);
/// A payout made late is applied at the earliest this long after its request …
pub const LATE_AT_LEAST: Duration = Duration::from_millis(100);
/// … and at the latest this long after it.
pub const LATE_AT_MOST: Duration = Duration::from_secs(1);
/// What the sandbox declares: what was not applied after this time never will be.
pub const SETTLE_TIME: Duration = Duration::from_secs(2);
