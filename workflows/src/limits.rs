//! Every bound of the domain, in one place, with the relations that must hold between them.

/// Longest contributor id, in bytes.
pub const CONTRIBUTOR_BYTES_MAX: usize = 128;
/// Longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;
/// Longest program, task, workflow, stage or grant id, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Longest grant id a client may choose, in bytes.
pub const GRANT_BYTES_MAX: usize = 128;
/// Longest transcript, in bytes.
pub const TRANSCRIPT_BYTES_MAX: usize = 4096;
/// Longest media uri, in bytes.
pub const URI_BYTES_MAX: usize = 1024;
/// Most purposes or modalities one grant may name.
pub const GRANT_LIST_MAX: usize = 16;
/// Most grants one contributor may hold; for a further one others make room.
pub const GRANTS_MAX: usize = 256;
/// Most bytes that the grants of one contributor may take.
pub const GRANTS_BYTES_MAX: usize = 96 * 1024;
/// Most withdrawal marks kept for one contributor.
pub const MARKS_MAX: usize = 512;
/// Most named counters kept for one contributor.
pub const COUNTERS_MAX: usize = 64;
/// Most stages in one workflow.
pub const STAGES_MAX: usize = 16;
/// Most requests one stage may make.
pub const REQUESTS_MAX: usize = 8;
/// Largest output of one stage, in bytes of JSON.
pub const OUTPUT_BYTES_MAX: usize = 16 * 1024;
/// Most bytes that the outputs of all stages of one journey may take.
pub const OUTPUTS_BYTES_MAX: usize = 128 * 1024;
/// Most signals kept for one journey.
pub const SIGNALS_MAX: usize = 32;
/// Most events kept in a journey's timeline; the oldest middle ones make room.
pub const TIMELINE_MAX: usize = 32;
/// Longest detail (an error or panic message) kept in a journey, in bytes.
pub const DETAIL_BYTES_MAX: usize = 240;
/// Most payouts one contribution may see (a confirmed failure and its new try are two).
pub const PAYOUTS_MAX: usize = 16;
/// Most attempts a retry policy may allow.
pub const ATTEMPTS_MAX: u16 = 1000;
/// How often an id found admitted after an unclean end is tried alone before it is quarantined.
pub const UNCLEAN_ENDS_MAX: u8 = 3;
/// The same for journeys that were accepted: they go on together, so that one whose rail is down
/// holds up nobody, and an unclean end blames all of them.
pub const UNCLEAN_ENDS_TOGETHER_MAX: u8 = 32;
/// Largest durable record, in bytes.
pub const RECORD_BYTES_MAX: usize = 256 * 1024;
/// Most bytes of entries in one outbox row; a commit with more writes several.
pub const OUTBOX_ROW_BYTES_MAX: usize = 128 * 1024;
/// Largest entry of the public log, in bytes (C2SP tlog-tiles).
pub const ENTRY_BYTES_MAX: usize = 65_535;
/// Largest integer that a public entry may carry: 2^53 - 1 (RFC 8785).
pub const INTEGER_MAX: u64 = (1 << 53) - 1;
/// Journeys that the open commit of a shard may change before nothing more is read or let in for it. Those
/// that move already still join it: the window bounds them.
pub const COMMIT_JOURNEYS_MAX: usize = 4096;
/// Most shards a store may have.
pub const SHARDS_MAX: u16 = 4096;
/// Most programs a node serves.
pub const PROGRAMS_MAX: usize = 1024;
/// Most tasks in one program.
pub const TASKS_MAX: usize = 64;
/// Most quality bands in one rate card.
pub const BANDS_MAX: usize = 32;
/// Most entries in one sequenced object.
pub const SEQUENCED_ENTRIES_MAX: usize = 16 * 1024;
/// Most bytes of offers in one sequenced object.
pub const SEQUENCED_OFFERS_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of the longest sequenced object: its offers, and a cursor a shard.
pub const SEQUENCED_BYTES_MAX: usize = SEQUENCED_OFFERS_BYTES_MAX + 1024 * 1024;
/// How long a shard may take to end in order before it is cut off, in milliseconds.
pub const HAND_OVER_MS_MAX: u64 = 5_000;
/// A shard that holds what a node does not understand is looked at again after this, in
/// milliseconds.
pub const LEFT_ALONE_MS: u64 = 60_000;
/// Shards at home on other nodes are looked at this often, in milliseconds: one that nobody held in
/// two such looks is taken in.
pub const STRAYS_LOOK_MS: u64 = 10_000;
/// A shard that another node holds is looked at again after this, in milliseconds.
pub const LOOK_AGAIN_MS: u64 = 1_000;
/// A payout that was released this long ago, in milliseconds, and waited for the log since is released
/// again, so that the time for which its rail knows its key is not spent on waiting.
pub const RELEASED_STALE_MS: u64 = 30_000;
/// How long a payout waits for others of its contributor that a failover forgot, in milliseconds.
pub const PAYOUT_WAITS_MS: u64 = 30_000;
/// What a node leases of a rate at once is over after this, in milliseconds, but for a single start.
pub const RATE_SLICE_MS: u64 = 200;
/// A rate is leased this far ahead at the most, in milliseconds; further was by another clock.
pub const RATE_AHEAD_MS: u64 = 60_000;
/// Most violations that an audit lists for one invariant; the rest is counted.
pub const AUDIT_VIOLATIONS_MAX: usize = 10_000;
/// Entries or payouts that an audit makes room for before it has seen them; for more it grows.
pub const AUDIT_ROOM_MAX: u64 = 1 << 28;

const _: () = assert!(RECORD_BYTES_MAX > OUTPUTS_BYTES_MAX + 4 * TRANSCRIPT_BYTES_MAX);
const _: () = assert!(OUTPUTS_BYTES_MAX >= 2 * OUTPUT_BYTES_MAX);
const _: () =
    assert!(RECORD_BYTES_MAX > GRANTS_BYTES_MAX + MARKS_MAX * (GRANT_BYTES_MAX + 32) + 64 * 1024);
const _: () = assert!(RECORD_BYTES_MAX > OUTBOX_ROW_BYTES_MAX + ENTRY_BYTES_MAX + 1024);
const _: () = assert!(MARKS_MAX > GRANTS_MAX);
const _: () = assert!(ENTRY_BYTES_MAX < RECORD_BYTES_MAX);
const _: () = assert!(SEQUENCED_OFFERS_BYTES_MAX > 2 * RECORD_BYTES_MAX);
const _: () = assert!(SEQUENCED_BYTES_MAX > SEQUENCED_OFFERS_BYTES_MAX + 64 * SHARDS_MAX as usize);
const _: () = assert!(UNCLEAN_ENDS_MAX >= 1 && UNCLEAN_ENDS_TOGETHER_MAX > UNCLEAN_ENDS_MAX);
