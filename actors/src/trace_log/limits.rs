//! Every bound of the log's writer.

/// Bytes of entries that may be sequenced and not yet published.
pub const BACKLOG_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of tiles and bundles that go to the store in one call; one object more may go with them.
pub const CREATE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Checkpoints whose objects and partial tiles are kept, the newest one included.
pub const CHECKPOINTS_KEPT: usize = 16;
/// Most sequenced objects and most checkpoints that one publication takes away.
pub const PRUNED_MAX: usize = 64;
/// How long a sequenced object of a shared log is kept after all its entries were seen committed, in
/// milliseconds: a store that fails over may forget that much of what it acknowledged, and its shards
/// still find it in the log.
pub const PRUNE_AFTER_MS: u64 = 300_000;
/// Looks at what shards have committed that are remembered at the most.
pub const PRUNE_LOOKS_MAX: usize = 32;
/// Times that other writers may be quicker in a row.
pub const CONFLICTS_MAX: usize = 1000;
/// Bytes of tiles and bundles that a [`super::View`] remembers between two questions.
pub const VIEW_CACHE_BYTES: usize = 4 * 1024 * 1024;
