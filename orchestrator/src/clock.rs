//! The machine's clock and randomness: the one place where the node reads either.

use gristmill_actors::ports::Clock;
use gristmill_workflows::time::Timestamp;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The step of splitmix64: 2^64 over the golden ratio, odd.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The system's clock, and numbers for jitter from a seed of the system's randomness. Not for
/// secrets.
///
/// The clock never goes backwards in one process: while the system's clock stands behind a moment
/// that was told already, that moment is told again.
#[derive(Debug)]
pub struct SystemClock {
    latest: AtomicU64,
    state: AtomicU64,
}

impl SystemClock {
    /// A clock with a fresh seed.
    #[must_use]
    pub fn new() -> Self {
        // The keys of a hash map are the standard library's way to the system's randomness.
        let seed = RandomState::new().hash_one(STEP);
        Self { latest: AtomicU64::new(0), state: AtomicU64::new(seed) }
    }

    /// The later of a reading and all before it.
    fn tell(&self, read: u64) -> Timestamp {
        Timestamp(self.latest.fetch_max(read, Ordering::Relaxed).max(read))
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "the composition root")]
        let now = SystemTime::now();
        // A clock that stands before 1970 reads as 1970.
        let passed = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.tell(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
    }

    /// splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
    fn random(&self) -> u64 {
        let state = self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_clock_that_is_set_back_tells_the_latest_moment_again() {
        let clock = SystemClock::new();
        assert_eq!(clock.tell(2000), Timestamp(2000));
        assert_eq!(clock.tell(1000), Timestamp(2000));
        assert_eq!(clock.tell(2001), Timestamp(2001));
        let now = clock.now();
        assert!(now > Timestamp(2001));
        assert!(clock.now() >= now);
    }

    #[test]
    fn the_generator_gives_the_published_numbers_for_a_seed_of_zero() {
        let clock = SystemClock { latest: AtomicU64::new(0), state: AtomicU64::new(0) };
        assert_eq!(clock.random(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(clock.random(), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn two_clocks_draw_different_numbers() {
        let draw = || {
            let clock = SystemClock::new();
            (0..100).map(|_| clock.random()).collect::<BTreeSet<u64>>()
        };
        let (one, other) = (draw(), draw());
        assert_eq!(one.len(), 100);
        assert!(one.is_disjoint(&other));
    }
}
