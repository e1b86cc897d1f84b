//! Every bound of the HTTP client of a rail.

use std::time::Duration;

/// Most payouts in one batch.
pub const MAX_BATCH: usize = 1_000;
/// Longest time for a connection to come about.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest time for a whole answer, connection included, unless set otherwise.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections unused for so long are closed, before the server closes them.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// Most idle connections kept.
pub const MAX_IDLE: usize = 16;
/// Most bytes of an answer.
pub const MAX_ANSWER: usize = 32 * 1024 * 1024;
/// Most keys asked for at the same time.
pub const ASK_LANES: usize = 16;
/// Most characters kept of a rail's code or words.
pub const MAX_WORDS: usize = 200;
