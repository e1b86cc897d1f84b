//! How many contributions one contributor hands in: a power law with an exponential cutoff,
//! `P(n) ~ n^-exponent * e^(-n/cutoff)` for `n` from 1 to a bound. Contributions per person in
//! open communities follow this law (PeerJ Computer Science 792).

use serde::{Deserialize, Serialize};

/// The law's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PowerLaw {
    /// The exponent.
    pub exponent: f64,
    /// Where the exponential cutoff sets in, in contributions.
    pub cutoff: f64,
    /// Most contributions of one contributor.
    pub max: u32,
}

/// The law as a table to draw from.
#[derive(Debug, Clone)]
pub struct Counts {
    /// The probability of at most `index + 1`.
    cumulative: Vec<f64>,
    mean: f64,
}

impl Counts {
    /// The table of a law.
    #[must_use]
    pub fn new(law: &PowerLaw) -> Self {
        let weight = |n: u32| {
            let n = f64::from(n);
            n.powf(-law.exponent) * (-n / law.cutoff).exp()
        };
        let weights: Vec<f64> = (1..=law.max.max(1)).map(weight).collect();
        let total: f64 = weights.iter().sum();
        let parts = weights.iter().zip(1u32..);
        let mean = parts.map(|(weight, n)| weight * f64::from(n)).sum::<f64>() / total;
        let mut sum = 0.0;
        let add = |weight: &f64| {
            sum += weight / total;
            sum
        };
        Self { cumulative: weights.iter().map(add).collect(), mean }
    }

    /// The count at a place in `0.0..1.0` of the distribution.
    #[must_use]
    pub fn at(&self, unit: f64) -> u32 {
        let below = self.cumulative.partition_point(|sum| *sum <= unit);
        u32::try_from(below.min(self.cumulative.len() - 1) + 1).unwrap_or(u32::MAX)
    }

    /// The mean count.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.mean
    }
}

#[cfg(test)]
mod tests {
    use super::super::draws::Draws;
    use super::*;

    #[test]
    fn most_hand_in_once_and_nobody_more_than_the_bound() {
        let law = PowerLaw { exponent: 2.0, cutoff: 200.0, max: 1000 };
        let counts = Counts::new(&law);
        let mut draws = Draws::of(1, 1, 1);
        let drawn: Vec<u32> = (0..100_000).map(|_| counts.at(draws.unit())).collect();
        let once = drawn.iter().filter(|count| **count == 1).count();
        assert!(once > 50_000, "{once}");
        assert!(drawn.iter().all(|count| (1..=1000).contains(count)));
        let mean = drawn.iter().map(|count| f64::from(*count)).sum::<f64>() / 100_000.0;
        assert!((mean / counts.mean() - 1.0).abs() < 0.1, "{mean} {}", counts.mean());
    }

    #[test]
    fn a_bound_of_one_means_one_each() {
        let counts = Counts::new(&PowerLaw { exponent: 2.0, cutoff: 200.0, max: 1 });
        assert_eq!((counts.at(0.0), counts.at(0.999_999)), (1, 1));
        assert!((counts.mean() - 1.0).abs() < f64::EPSILON);
    }
}
