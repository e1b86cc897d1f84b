//! Time that a test moves, and randomness from a seed.

use std::sync::{Mutex, PoisonError};

use gristmill_actors::ports::Clock;
use gristmill_workflows::time::Timestamp;
use tokio::time::Instant;

/// 2026-11-22T00:00:00Z: every virtual clock starts there.
pub const START: Timestamp = Timestamp(1_795_305_600_000);

/// A clock that follows tokio's: on a paused runtime it moves only with timers and
/// `tokio::time::advance`.
#[derive(Debug)]
pub struct VirtualClock {
    origin: Instant,
    state: Mutex<u64>,
}

impl VirtualClock {
    /// A clock that stands at [`START`] now, with randomness from `seed`. Needs a tokio runtime
    /// with its time enabled.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // xorshift never leaves zero, and small seeds start it slowly: one splitmix64 step first.
        let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self { origin: Instant::now(), state: Mutex::new((mixed ^ (mixed >> 31)) | 1) }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        let passed = Instant::now().saturating_duration_since(self.origin).as_millis();
        START.plus_ms(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators", 2016).
    fn random(&self) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = next(*state);
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

const fn next(mut x: u64) -> u64 {
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn it_moves_only_when_the_test_moves_it() {
        let clock = VirtualClock::new(1);
        assert_eq!(clock.now(), START);
        assert_eq!(clock.now().rfc3339(), "2026-11-22T00:00:00.000Z");
        tokio::time::advance(Duration::from_millis(1500)).await;
        assert_eq!(clock.now(), START.plus_ms(1500));
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_seed_draws_the_same_numbers_and_another_seed_others() {
        let draw = |seed| {
            let clock = VirtualClock::new(seed);
            (0..100).map(|_| clock.random()).collect::<std::collections::BTreeSet<u64>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_eq!(draw(0).len(), 100);
        assert!(draw(7).is_disjoint(&draw(8)));
    }
}
