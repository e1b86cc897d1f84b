//! Every bound of the embedded store. The engine's own settings are those of ADR 0001, whose reopen
//! figures hold for them only.

use std::time::Duration;

/// Calls that wait for the writer thread; a further one waits for room.
pub(super) const JOBS_MAX: usize = 1024;
/// Calls in one group commit.
pub(super) const GROUP_JOBS_MAX: usize = 1024;
/// Calls in a group after which the next one waits for company.
pub(super) const GROUP_COMPANY: usize = 4;
/// From the start of one group to the start of the next, while there is company.
pub(super) const GROUP_EVERY: Duration = Duration::from_millis(3);
/// The same for a group of nothing but what shards commit.
pub(super) const COMMITS_EVERY: Duration = Duration::from_millis(8);
/// Between two looks at who has come.
pub(super) const GROUP_LOOK: Duration = Duration::from_millis(2);
/// Bytes of rows after which no further call joins a group. One call may be larger.
pub(super) const GROUP_BYTES_MAX: usize = 8 << 20;
/// About how many bytes a row takes besides its value.
pub(super) const ROW_OVERHEAD_BYTES: usize = 48;
/// How long one group may take before the store counts as failed.
pub(super) const STALL_MAX: Duration = Duration::from_secs(60);
/// The same while the disk is full: the engine then waits for a flush that cannot come.
pub(super) const STALL_FULL_MAX: Duration = Duration::from_secs(5);
/// How often the watchdog looks.
pub(super) const WATCH_EVERY: Duration = Duration::from_secs(1);
/// Free bytes below which an error of the engine that names no cause is taken for a full disk: a
/// table and a journal of the sizes below do not fit any more.
pub(super) const FULL_BELOW_BYTES: u64 = 96 << 20;
/// Bytes of the block cache: with the window and the tables in memory a node stays below 600 MB.
pub(super) const CACHE_BYTES: u64 = 128 << 20;
/// Threads that flush and compact: a flush must not wait until compactions of a large store end,
/// since writes wait for it.
pub(super) const WORKER_THREADS: usize = 4;
/// How far they stand behind threads that somebody waits for (see nice(2)). Behind everything else
/// on a busy machine they would come too late: writes stand still until a flush is done.
pub(super) const WORKERS_BEHIND: i32 = 5;
/// Flushed rows in memory that wait to be freed; more are left to the engine.
pub(super) const RETIRED_MAX: usize = 32;
/// Bytes of all journals; what a start replays.
pub(super) const JOURNALS_BYTES: u64 = 64 << 20;
/// Bytes of the rows a keyspace keeps in memory before it writes a table.
pub(super) const MEMTABLE_BYTES: u64 = 16 << 20;
/// Bytes of a table.
pub(super) const TABLE_BYTES: u64 = 64 << 20;
/// Items that the intake lane of one shard holds unless configured otherwise.
pub(super) const INTAKE_MAX: u64 = 100_000_000;

const _: () = assert!(GROUP_BYTES_MAX as u64 <= MEMTABLE_BYTES);
const _: () = assert!(MEMTABLE_BYTES < JOURNALS_BYTES);
const _: () = assert!(STALL_FULL_MAX.as_secs() < STALL_MAX.as_secs());
/// Bytes of a journal that are looked at when its end is torn; the engine begins another one long
/// before.
pub(super) const JOURNAL_BYTES_MAX: u64 = 1 << 30;
