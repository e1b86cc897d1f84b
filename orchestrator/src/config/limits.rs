//! Every bound of the configuration.

use crate::sandbox_rail::limits::MAX_BATCH;
use gristmill_actors::limits::{SHARD_WINDOW_MIN, TIMER_HORIZON_MS};
use gristmill_workflows::limits::SHARDS_MAX;

/// Longest configuration file, in bytes.
pub const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Longest `log.filter`, in bytes.
pub const FILTER_BYTES_MAX: usize = 1024;
/// Largest item that any media worker takes, in bytes.
pub const MEDIA_BYTES_MAX: i64 = 256 * 1024 * 1024;

const DAY_MS: i64 = 86_400_000;

/// Every whole number of the configuration, with the lowest and the highest value allowed.
pub const RANGES: &[(&str, i64, i64)] = &[
    ("store.shards", 1, SHARDS_MAX as i64),
    ("store.high_water", 1, 100_000_000),
    ("store.erasure_deadline_hours", 1, 8_760),
    ("node.window", SHARD_WINDOW_MIN as i64, 1_000_000),
    ("node.stop_deadline_ms", 100, DAY_MS),
    ("node.rest_patience_ms", 100, TIMER_HORIZON_MS as i64),
    ("retention.finished_days", 0, 36_500),
    ("media.workers", 1, 256),
    ("media.wall_limit_ms", 100, 600_000),
    ("media.max_bytes", 1, MEDIA_BYTES_MAX),
    ("rail.key_window_ms", 1_000, 3_650 * DAY_MS),
    ("rail.settle_time_ms", 0, DAY_MS),
    ("rail.max_batch", 1, MAX_BATCH as i64),
    ("service.connections", 16, 100_000),
    ("service.upload_hours", 1, 8_760),
];
