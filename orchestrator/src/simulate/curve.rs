//! Profiles: how the rate of arrivals goes over a run, as a factor of the plan's rate.

use super::draws::Draws;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The stream of the moments of bursts.
const BURSTS: u64 = 1 << 42;

/// A day by the hour, midnight first; read as a line from hour to hour.
const HOURS: [f64; 24] = [
    0.35, 0.20, 0.12, 0.10, 0.10, 0.15, 0.30, 0.60, 0.90, 1.00, 1.05, 1.10, 1.30, 1.20, 1.05, 1.00,
    1.05, 1.20, 1.40, 1.60, 1.80, 1.90, 1.50, 0.80,
];
/// Bursts in a day, how many times the rate they have, and how much of the day each lasts.
const DAY_BURSTS: usize = 6;
const BURST: f64 = 4.0;
const BURST_LASTS: f64 = 10.0 / 1440.0;
/// When a spike begins and ends, as parts of the run, and how many times the rate it has.
const SPIKE: (f64, f64, f64) = (0.4, 0.5, 10.0);
/// When a storm of withdrawals begins, and how long it lasts, as parts of the run.
const STORM: (f64, f64) = (0.6, 0.05);
/// What a ramp begins with.
const RAMP_FROM: f64 = 0.05;
/// Steps that the mean of a curve is taken over.
const STEPS: u32 = 8_640;

/// How a run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// The same rate throughout.
    Flat,
    /// A day of 24 hours with its nights, evenings and six bursts; the rate is its mean.
    Day,
    /// Ten times the rate for a tenth of the run.
    Spike,
    /// Many who gave consent take it back within a twentieth of the run.
    WithdrawalStorm,
    /// Up to the rate in a straight line, until the node falls behind.
    Breakpoint,
}

impl Profile {
    /// How long it is, in milliseconds of simulated time; none for as long as people come.
    #[must_use]
    pub const fn length_ms(self) -> Option<u64> {
        match self {
            Self::Flat => None,
            Self::Day => Some(86_400_000),
            Self::Spike | Self::WithdrawalStorm => Some(3_600_000),
            Self::Breakpoint => Some(600_000),
        }
    }
}

/// The factor of the rate over a run.
#[derive(Debug, Clone)]
pub struct Curve {
    profile: Profile,
    length_us: f64,
    /// When bursts begin, as parts of the run.
    bursts: Vec<f64>,
    /// What makes the mean of a day 1.
    scale: f64,
}

impl Curve {
    /// The curve of a run of this length in milliseconds.
    #[must_use]
    pub fn new(profile: Profile, length_ms: Option<u64>, seed: u64) -> Self {
        let mut draws = Draws::of(seed, BURSTS, 0);
        let bursts = match profile {
            Profile::Day => (0..DAY_BURSTS).map(|_| draws.unit()).collect(),
            _ => Vec::new(),
        };
        let length_us = length_ms.map_or(f64::INFINITY, |ms| ms as f64 * 1000.0);
        let mut curve = Self { profile, length_us, bursts, scale: 1.0 };
        if profile == Profile::Day {
            curve.scale = 1.0 / curve.mean();
        }
        curve
    }

    /// The factor at a moment, in microseconds since the start.
    #[must_use]
    pub fn factor(&self, at_us: f64) -> f64 {
        self.at((at_us / self.length_us).min(1.0))
    }

    /// The factor at a part of the run.
    fn at(&self, part: f64) -> f64 {
        match self.profile {
            Profile::Flat | Profile::WithdrawalStorm => 1.0,
            Profile::Day => {
                let hour = part * 24.0;
                let (before, rest) = (hour as usize % 24, hour.fract());
                let base = HOURS[before] * (1.0 - rest) + HOURS[(before + 1) % 24] * rest;
                let bursts = self.bursts.iter().any(|at| (*at..at + BURST_LASTS).contains(&part));
                base * self.scale * if bursts { BURST } else { 1.0 }
            }
            Profile::Spike => {
                let (from, to, factor) = SPIKE;
                if (from..to).contains(&part) { factor } else { 1.0 }
            }
            Profile::Breakpoint => RAMP_FROM + (1.0 - RAMP_FROM) * part,
        }
    }

    /// A factor that none is above.
    #[must_use]
    pub fn most(&self) -> f64 {
        match self.profile {
            Profile::Flat | Profile::WithdrawalStorm | Profile::Breakpoint => 1.0,
            Profile::Day => HOURS.into_iter().fold(0.0, f64::max) * self.scale * BURST,
            Profile::Spike => SPIKE.2,
        }
    }

    /// The mean factor.
    #[must_use]
    pub fn mean(&self) -> f64 {
        let at = |step: u32| self.at((f64::from(step) + 0.5) / f64::from(STEPS));
        (0..STEPS).map(at).sum::<f64>() / f64::from(STEPS)
    }

    /// When a storm of withdrawals begins and ends, in microseconds since the start.
    #[must_use]
    pub fn storm(&self) -> Option<(u64, u64)> {
        let (from, lasts) = STORM;
        let storms = self.profile == Profile::WithdrawalStorm && self.length_us.is_finite();
        let us = |part: f64| (self.length_us * part) as u64;
        storms.then(|| (us(from), us(from + lasts)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Profile; 5] = [
        Profile::Flat,
        Profile::Day,
        Profile::Spike,
        Profile::WithdrawalStorm,
        Profile::Breakpoint,
    ];

    #[test]
    fn no_factor_is_above_the_most_or_below_nothing() {
        for profile in ALL {
            let curve = Curve::new(profile, Some(1_000), 3);
            for step in 0..2_000 {
                let factor = curve.factor(f64::from(step) * 1_000.0);
                assert!(factor > 0.0 && factor <= curve.most(), "{profile:?} {step} {factor}");
            }
        }
    }

    #[test]
    fn a_day_has_a_mean_of_one_a_quiet_night_and_a_busy_evening() {
        let curve = Curve::new(Profile::Day, Some(86_400_000), 5);
        assert!((curve.mean() - 1.0).abs() < 1e-6);
        let quiet = Curve { bursts: Vec::new(), ..curve };
        let at = |hour: f64| quiet.factor(hour * 3.6e9);
        assert!(at(4.0) * 5.0 < at(21.0), "{} {}", at(4.0), at(21.0));
    }

    #[test]
    fn a_ramp_rises_a_spike_is_short_and_a_storm_has_its_moment() {
        let ramp = Curve::new(Profile::Breakpoint, Some(100), 1);
        assert!(ramp.factor(0.0) < 0.1 && (ramp.factor(100_000.0) - 1.0).abs() < 1e-9);
        let spike = Curve::new(Profile::Spike, Some(100), 1);
        assert!((spike.mean() - 1.9).abs() < 0.01);
        assert_eq!(spike.storm(), None);
        let storm = Curve::new(Profile::WithdrawalStorm, Some(100), 1);
        assert_eq!(storm.storm(), Some((60_000, 65_000)));
    }
}
