//! Seeded draws: the same seed, stream and index give the same draws, in any order and without
//! memory. The mixer is SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
//! generators", OOPSLA 2014).

/// What SplitMix64 adds at each step.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A sequence of draws.
#[derive(Debug, Clone)]
pub struct Draws {
    state: u64,
}

impl Draws {
    /// The sequence of an index in a stream under a seed.
    #[must_use]
    pub fn of(seed: u64, stream: u64, index: u64) -> Self {
        let state = mix(mix(mix(seed).wrapping_add(stream)).wrapping_add(index));
        Self { state }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mixed(self.state)
    }

    /// The next number in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Whether something happens that does with this probability.
    pub fn happens(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// A wait of a Poisson process, whose mean is given; same unit.
    pub fn wait(&mut self, mean: f64) -> f64 {
        -(1.0 - self.unit()).ln() * mean
    }
}

fn mix(word: u64) -> u64 {
    mixed(word.wrapping_add(STEP))
}

fn mixed(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_place_draws_the_same_and_others_draw_otherwise() {
        let draw = |seed, stream, index| Draws::of(seed, stream, index).bits();
        assert_eq!(draw(1, 2, 3), draw(1, 2, 3));
        let others = [draw(1, 2, 3), draw(2, 2, 3), draw(1, 3, 3), draw(1, 2, 4), draw(1, 3, 2)];
        let distinct: std::collections::HashSet<u64> = others.into_iter().collect();
        assert_eq!(distinct.len(), others.len());
    }

    #[test]
    fn units_and_waits_have_their_means() {
        let mut draws = Draws::of(7, 0, 0);
        let count = 100_000;
        let units: f64 = (0..count).map(|_| draws.unit()).sum();
        let waits: f64 = (0..count).map(|_| draws.wait(3.0)).sum();
        assert!((units / f64::from(count) - 0.5).abs() < 0.01);
        assert!((waits / f64::from(count) - 3.0).abs() < 0.05);
    }
}
