//! Every bound of the actors, in one place.

use std::time::Duration;

/// Journeys in flight on one node, shared evenly by its shards.
pub const WINDOW: usize = 8192;
/// Fewest journeys in flight in one shard.
pub const SHARD_WINDOW_MIN: usize = 16;
/// Inbox items read at once in one lane.
pub const INBOX_BATCH: usize = 512;
/// Uses of contributors' rows after which a row that nobody used again leaves memory, shared evenly by the
/// shards of the store. A contribution often follows its consent, and one contribution another.
pub const RESIDENTS: usize = 65_536;
/// What may wait at a shard's desk, such as withdrawals and words on one journey; while there is so much,
/// its inbox is not read.
pub const DESK_MAX: usize = 16_384;
/// Journeys of one contributor that a withdrawal reads at once.
pub const CHAIN_BATCH: usize = 64;
/// How long a withdrawal waits at the most for commits of what was accepted before.
pub const ANNOUNCED_MAX: Duration = Duration::from_secs(1);
/// Times a commit whose fate is unknown is resent before the shard gives up.
pub const COMMIT_RESENDS_MAX: u32 = 20;
/// Between two tries of a commit.
pub const COMMIT_RESEND_AFTER: Duration = Duration::from_millis(100);
/// What is decided and nobody waits for is committed after this, if no other commit came before.
pub const SETTLE_AFTER: Duration = Duration::from_millis(20);
/// The same over a store that nodes share, where a commit costs a request.
pub const SETTLE_AFTER_SHARED: Duration = Duration::from_secs(3);
/// Timers read ahead of time.
pub const TIMER_HORIZON_MS: u64 = 60_000;
/// Timers read at once.
pub const TIMER_BATCH: usize = 256;
/// The safety net looks for overdue timers, stranded items and unanswered transfers this often.
pub const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Journeys that one read may let move, end or change; the open commit has room for so many more when it
/// begins.
pub const READ_JOURNEYS_MAX: usize = INBOX_BATCH;
/// Finished rows read at once to find those whose time is over, and put in one commit.
pub const EXPIRY_BATCH: usize = 128;
/// From the end of one pass over a shard's finished rows to the begin of the next.
pub const EXPIRY_EVERY_MS: u64 = 600_000;
/// Passes begin at least so many times in the time of retention.
pub const EXPIRIES_A_RETENTION: u64 = 8;
/// A survey of what stands on a node begins at most this often.
pub const SURVEY_EVERY: Duration = Duration::from_secs(5);
/// After a survey the node rests this many times as long as it took.
pub const SURVEY_REST: u32 = 50;
/// Rows that a survey reads at once.
pub const SURVEY_BATCH: usize = 256;
/// A node says this often that it lives while one lease lasts.
pub const BEATS_A_LEASE: u64 = 5;
/// Leases are prolonged this often while one lasts.
pub const RENEWALS_A_LEASE: u64 = 3;
/// Notices that a listener may be behind; one that is further behind looks at everything.
pub const NOTICES_MAX: usize = 4096;
/// First wait before a shard that lost its memory loads again.
pub const RELOAD_AFTER: Duration = Duration::from_millis(100);
/// Longest wait before a shard that lost its memory loads again.
pub const RELOAD_AFTER_MAX: Duration = Duration::from_secs(10);
/// A shard that ran for longer than this since it failed was well: its waits begin anew.
pub const RELOADED_WELL_MS: u64 = 60_000;
/// How long a journey waits for content whose holder moves, before it looks again.
pub const CLAIM_PARK_MS: u64 = 250;
/// The same where the holder itself stands; who decides the holder makes it look at once.
pub const CLAIM_PARK_STANDING_MS: u64 = 300_000;
/// A journey that waits at a paused stage looks again after this, whatever it is told.
pub const STAGE_PAUSED_LOOK_MS: u64 = 3_600_000;
/// Rows read at once to find journeys that wait at a paused stage.
pub const STAGE_PAUSED_BATCH: usize = 512;
/// Longest name of a row of the register, in bytes.
pub const REGISTER_NAME_BYTES_MAX: usize = 512;
/// Longest row of the register, in bytes.
pub const REGISTER_ROW_BYTES_MAX: usize = 64 * 1024;
/// Tries to lease a part of a rate while other nodes are quicker.
pub const RATE_TRIES: u32 = 20;
/// Starts that could not be leased are asked for again after this.
pub const RATE_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// First wait before an open circuit lets a probe through.
pub const PROBE_AFTER: Duration = Duration::from_millis(200);
/// Longest wait before an open circuit lets a probe through.
pub const PROBE_AFTER_MAX: Duration = Duration::from_secs(10);
/// Longest time for which a downstream that says when to come again is left alone.
pub const PROBE_ASKED_MAX: Duration = Duration::from_secs(300);
/// Calls to a rail under way at once.
pub const RAIL_CALLS_MAX: usize = 2;
/// A payout without an answer is asked for again after this.
pub const RAIL_ASK_AFTER: Duration = Duration::from_millis(200);
/// Longest wait between two asks for one payout.
pub const RAIL_ASK_AFTER_MAX: Duration = Duration::from_secs(10);
/// Most doublings of the wait between two asks when the last call had an answer.
pub const RAIL_DOUBLINGS_ANSWERED: u32 = 3;
/// A key is not resent when less than this part of its window is left.
pub const RAIL_MARGIN_PART: u32 = 10;
/// At most this often a new checkpoint is published.
pub const PUBLISH_EVERY: Duration = Duration::from_millis(200);
/// Offers in an object of the log after which the next one waits for company.
pub const SEQUENCE_COMPANY: usize = 4;
/// From one object of the log to the next, while there is company.
pub const SEQUENCE_EVERY: Duration = Duration::from_millis(10);
/// Who publishes a shared log looks this often at what its shards have committed, and the others at
/// what was taken away.
pub const PRUNE_LOOK_EVERY_MS: u64 = 30_000;
/// Times in a row that a shared log may fail to be opened anew before its role ends.
pub const REOPENS_MAX: u32 = 50;
/// Posts to another shard's inbox are tried this often before the sweep takes over.
pub const POST_TRIES: u32 = 5;

const _: () = assert!(TIMER_BATCH <= READ_JOURNEYS_MAX && EXPIRY_BATCH <= READ_JOURNEYS_MAX);
const _: () = assert!(CHAIN_BATCH <= READ_JOURNEYS_MAX);
const _: () = assert!(SHARD_WINDOW_MIN > 0 && WINDOW >= SHARD_WINDOW_MIN);
