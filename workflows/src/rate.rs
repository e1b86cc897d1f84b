//! A rate over many nodes: starts are leased in slices of time that no two nodes share.
//!
//! One row says from when on nobody has leased. Who wants to start takes the next slice by moving
//! that moment, compare-and-set, and paces its starts within the slice; so the sum over all nodes
//! never passes the rate. What a slice's holder does not use is lost, which is why slices are short.

use crate::codec::Record;
use crate::limits::{RATE_AHEAD_MS, RATE_SLICE_MS};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The row of one rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Leased {
    /// From here on nobody has leased: microseconds of the store's clock.
    pub free: u64,
}

impl Record for Leased {
    const SCHEMA: u8 = 12;
    const VERSION: u8 = 1;
}

/// Starts that one node may make: the first at `from`, each further one a gap later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// Microseconds of the store's clock.
    pub from: u64,
    /// How many.
    pub starts: u64,
}

/// Microseconds between two starts, rounded up; at least one.
#[must_use]
pub fn gap(rate_per_s: u32) -> u64 {
    1_000_000_u64.div_ceil(u64::from(rate_per_s.max(1)))
}

/// Leases starts: as many as are wanted and fit into one slice, at least one. The row as it stands,
/// or none, and the row to put in its place.
#[must_use]
pub fn lease(
    stands: Option<Leased>,
    rate_per_s: u32,
    wanted: u64,
    now: Timestamp,
) -> (Slice, Leased) {
    let (gap, now) = (gap(rate_per_s), now.0.saturating_mul(1000));
    let ahead = now.saturating_add(RATE_AHEAD_MS * 1000);
    // A moment far ahead was leased by a clock that was set back since.
    let free = stands.map_or(0, |leased| leased.free);
    let from = if free > ahead { now } else { free.max(now) };
    let starts = wanted.clamp(1, (RATE_SLICE_MS * 1000 / gap).max(1));
    (Slice { from, starts }, Leased { free: from + starts * gap })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_follow_each_other_and_the_sum_keeps_to_the_rate() {
        let mut row = None;
        let mut starts = Vec::new();
        let mut now = Timestamp(1_000);
        for nth in 0..400_u64 {
            let (slice, next) = lease(row, 50, 1 + nth % 30, now);
            row = Some(next);
            starts.extend((0..slice.starts).map(|start| slice.from + start * gap(50)));
            now = now.plus_ms(if nth % 3 == 0 { 0 } else { 120 });
        }
        assert!(starts.is_sorted());
        for (first, later) in starts.iter().zip(starts.iter().skip(50)) {
            assert!(later - first >= 1_000_000, "51 starts within a second");
        }
    }

    #[test]
    fn a_slice_begins_now_at_the_earliest_and_is_short() {
        let now = Timestamp(5_000);
        let (slice, next) = lease(None, 100, 1_000, now);
        assert_eq!(slice, Slice { from: 5_000_000, starts: RATE_SLICE_MS / 10 });
        assert_eq!(next.free, 5_000_000 + RATE_SLICE_MS * 1_000);
        let (slice, _) = lease(Some(next), 100, 1, now);
        assert_eq!(slice, Slice { from: next.free, starts: 1 });
        let (slice, _) = lease(Some(next), 100, 0, now.plus_ms(60_000));
        assert_eq!(slice, Slice { from: 65_000_000, starts: 1 });
        let (slice, next) = lease(None, 1, 9, now);
        assert_eq!((slice.starts, next.free), (1, 6_000_000), "a slow rate leases one start");
    }

    #[test]
    fn a_row_from_a_clock_far_ahead_holds_nobody_up() {
        let row = Leased { free: u64::MAX };
        assert_eq!(lease(Some(row), 10, 1, Timestamp(7)).0.from, 7_000);
        assert_eq!((gap(0), gap(3), gap(u32::MAX)), (1_000_000, 333_334, 1));
    }
}
