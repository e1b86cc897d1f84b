//! Every bound of a simulation.

use std::time::Duration;

/// Most contributors of one simulation.
pub const CONTRIBUTORS_MAX: u64 = 30_000_000;
/// Most contributions of one contributor that can be asked for.
pub const CONTRIBUTIONS_MAX: u32 = 100_000;
/// Lanes that lines go through; what one contributor does stays in one, in its order.
pub const LANES: usize = 4;
/// The same where a node answers over HTTP: a lane has one call under way, and an answer is longer on its
/// way.
pub const LANES_HTTP: usize = 16;
/// Lines that wait in one lane. When one is full the schedule is late, and latency says so.
pub const LANE_LINES: usize = 2_048;
/// Lines of one call.
pub const BATCH_LINES: usize = 512;
/// Uploads that one lane has under way.
pub const UPLOADS: usize = 8;
/// After this a refused line is given up.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(120);
/// A ramp ends when its schedule is so late, in milliseconds.
pub const BREAK_LATE_MS: u64 = 5_000;
/// Between two tries of a refused line.
pub const TRY_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Lines given up that are told one by one; the auditor asks for none of them.
pub const GIVEN_UP_MAX: usize = 100_000;
/// Breaches of one check that are told by id.
pub const BREACHES_MAX: usize = 1_000;
/// Longest latency that is told apart, in microseconds: an hour.
pub const LATENCY_US_MAX: u64 = 3_600_000_000;
/// Intervals that a report is meant to have.
pub const INTERVALS: u64 = 600;
/// Intervals that a report has at the most; what comes later counts in the last one.
pub const INTERVALS_MAX: usize = 20_000;
/// Contributors whose statements are looked at, and contributions whose receipts are verified.
pub const SAMPLES: usize = 50;
/// Items of one page of a node's listing.
pub const LISTED: usize = 1_000;
/// Between two looks at whether a node is at rest.
pub const REST_LOOK: Duration = Duration::from_millis(500);
/// A node where nothing changes for so long is at rest.
pub const REST_PATIENCE: Duration = Duration::from_secs(60);
/// How long a log may take to publish what is settled.
pub const PUBLISH_PATIENCE: Duration = Duration::from_secs(60);
/// How long a process of a simulation may take to start.
pub const START_PATIENCE: Duration = Duration::from_secs(60);
/// Nodes that a simulation starts at the most.
pub const NODES_MAX: u64 = 64;
/// Between two looks at how far nodes behind addresses are.
pub const WATCH_EVERY: Duration = Duration::from_secs(1);
/// How long one look may take.
pub const WATCH_PATIENCE: Duration = Duration::from_secs(2);
/// What 99 of 100 answers may take at the most, in milliseconds: an hour.
pub const SLO_MS_MAX: u64 = 3_600_000;
/// Ids asked for in one call of the store.
pub const IDS_PAGE: usize = 4_096;
/// Bytes of the longest file that says what was simulated.
pub const RECORD_BYTES_MAX: u64 = 64 << 20;
