//! The plan of a simulation: everything that its schedule and its lines follow from.

use super::curve::{Curve, Profile};
use super::population::{Population, Shares};
use super::power_law::PowerLaw;
use serde::{Deserialize, Serialize};

/// Everything that a simulation follows from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What everything is drawn from.
    pub seed: u64,
    /// The prefix of every contributor's name.
    pub run: String,
    /// The program that everybody without media hands in to.
    pub program: String,
    /// The program that everybody with media hands in to.
    #[serde(default)]
    pub media_program: String,
    /// People.
    pub contributors: u64,
    /// How the rate goes over the run.
    pub profile: Profile,
    /// Contributions a second, times the profile's factor.
    pub rate: f64,
    /// Nothing is intended from this moment on, in milliseconds since the start.
    pub end_ms: Option<u64>,
    /// How long a contributor's session is, in milliseconds.
    pub session_ms: u64,
    /// Consenting people who take consent back in a storm of withdrawals, from 0 to 1.
    pub storm: f64,
    /// What 99 of 100 answers must not be later than, in milliseconds: where a ramp breaks.
    pub slo_ms: u64,
    /// The schedule ends when it is so late, in milliseconds.
    pub late_max_ms: Option<u64>,
    /// How often people do what.
    pub shares: Shares,
    /// Contributions a contributor.
    pub contributions: PowerLaw,
    /// The start, in milliseconds of Unix time.
    pub start_ms: u64,
}

impl Plan {
    /// Its population.
    #[must_use]
    pub fn population(&self) -> Population {
        Population::new(self.seed, self.shares, &self.contributions)
    }

    /// Its rate over time, as a factor.
    #[must_use]
    pub fn curve(&self) -> Curve {
        Curve::new(self.profile, self.end_ms, self.seed)
    }

    /// Contributions that are expected over the whole of it.
    #[must_use]
    pub fn expected_contributions(&self) -> f64 {
        let all = self.contributors as f64 * self.population().mean_contributions();
        let mean = self.rate * self.curve().mean();
        self.end_ms.map_or(all, |end| all.min(mean * end as f64 / 1000.0))
    }

    /// How long it is expected to take, in seconds.
    #[must_use]
    pub fn expected_seconds(&self) -> f64 {
        let end = self.end_ms.map(|end| end as f64 / 1000.0);
        end.unwrap_or_else(|| self.expected_contributions() / self.rate)
    }

    /// A contributor's name.
    #[must_use]
    pub fn name(&self, contributor: u64) -> String {
        format!("{}-{contributor}", self.run)
    }

    /// The index of a contributor of this run by name.
    #[must_use]
    pub fn index(&self, name: &str) -> Option<u64> {
        let index: u64 = name.strip_prefix(&self.run)?.strip_prefix('-')?.parse().ok()?;
        (index < self.contributors).then_some(index)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::simulate::population::MediaShares;

    pub(crate) fn plan(contributors: u64, rate: f64) -> Plan {
        Plan {
            seed: 11,
            run: "r".to_owned(),
            program: "engine".to_owned(),
            media_program: "seoul".to_owned(),
            contributors,
            rate,
            profile: Profile::Flat,
            end_ms: None,
            storm: 0.5,
            slo_ms: 1_000,
            late_max_ms: None,
            session_ms: 500,
            shares: Shares {
                no_consent: 0.05,
                withdrawals: 0.1,
                duplicates: 0.05,
                conflicts: 0.05,
                poison: 0.05,
                media: MediaShares::default(),
            },
            contributions: PowerLaw { exponent: 2.0, cutoff: 200.0, max: 1000 },
            start_ms: 1_795_000_000_000,
        }
    }

    #[test]
    fn names_are_those_of_the_run_and_of_nobody_else() {
        let plan = plan(10, 1.0);
        assert_eq!(plan.index(&plan.name(9)), Some(9));
        for other in ["r-10", "s-1", "r1", "r-", "r-x", "rr-1"] {
            assert_eq!(plan.index(other), None, "{other}");
        }
    }
}
