//! Numbers that look random and come back by their seed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Xorshift64* (Vigna, 2016): not for secrets.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From the seed in the environment variable `GRISTMILL_TEST_SEED`, else from the time of day.
    /// The seed is printed, which a test's runner shows when the test fails.
    ///
    /// # Panics
    /// When the variable is not a number.
    #[expect(clippy::disallowed_methods, reason = "a seed is drawn where a test begins")]
    pub fn seeded(what: &str) -> Self {
        let seed = match std::env::var("GRISTMILL_TEST_SEED") {
            Ok(text) => text.parse().unwrap_or_else(|_| panic!("GRISTMILL_TEST_SEED: {text:?}")),
            Err(_) => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(1, |since| since.as_nanos() as u64),
        };
        eprintln!("{what}: GRISTMILL_TEST_SEED={seed}");
        Self(seed | 1)
    }

    /// From a seed that a test counts up.
    pub fn of(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        // Small seeds differ in few bits; the first numbers are alike.
        for _ in 0..4 {
            random.below(2);
        }
        random
    }

    /// The next number below `end`, which is above 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % end
    }

    /// A time between two others, to the microsecond.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = most.saturating_sub(least).as_micros() as u64;
        least + Duration::from_micros(self.below(span + 1))
    }
}
