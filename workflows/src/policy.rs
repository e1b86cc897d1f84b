//! How a stage is tried: timeouts, attempts, backoff. Randomness is an argument.

use crate::limits;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What happens when attempts run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exhausted {
    /// The journey waits in quarantine for an operator.
    Pause,
    /// The journey is rejected; never after acceptance.
    Reject,
}

/// One stage's policy, as in the workflow file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// For one attempt, in milliseconds.
    pub timeout_ms: u64,
    /// For all attempts together, in milliseconds.
    pub total_ms: u64,
    /// Most attempts.
    pub attempts: u16,
    /// First backoff, in milliseconds.
    pub backoff_ms: u64,
    /// Longest backoff, in milliseconds.
    pub backoff_max_ms: u64,
    /// What happens when attempts or total time run out.
    pub exhausted: Exhausted,
    /// Most attempts under way on a node at once.
    pub concurrency: u32,
    /// Most starts a second on all nodes together; it delays and never drops. Zero: no limit.
    pub rate_per_s: u32,
    /// The stage's outcome is committed before the next stage starts.
    pub durable: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            timeout_ms: 10_000,
            total_ms: 3_600_000,
            attempts: 8,
            backoff_ms: 100,
            backoff_max_ms: 30_000,
            exhausted: Exhausted::Pause,
            concurrency: 1024,
            rate_per_s: 0,
            durable: false,
        }
    }
}

/// Why a policy is refused: the field is outside its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: must be {rule}")]
pub struct Error {
    /// Which field.
    pub field: &'static str,
    /// What would be right.
    pub rule: &'static str,
}

impl Policy {
    /// Checks every field against its range.
    pub fn validate(&self) -> Result<(), Error> {
        let day_ms = 86_400_000;
        let rules = [
            ("timeout_ms", (1..=day_ms).contains(&self.timeout_ms), "1 to 86400000"),
            ("total_ms", self.total_ms >= self.timeout_ms, "at least timeout_ms"),
            ("attempts", (1..=limits::ATTEMPTS_MAX).contains(&self.attempts), "1 to 1000"),
            ("backoff_ms", (1..=day_ms).contains(&self.backoff_ms), "1 to 86400000"),
            ("backoff_max_ms", self.backoff_max_ms >= self.backoff_ms, "at least backoff_ms"),
            ("concurrency", (1..=100_000).contains(&self.concurrency), "1 to 100000"),
        ];
        rules
            .into_iter()
            .find(|(_, holds, _)| !holds)
            .map_or(Ok(()), |(field, _, rule)| Err(Error { field, rule }))
    }

    /// The timeout of one attempt.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// Full jitter (AWS Architecture Blog, 2015): uniform in 1 ..= min(max, first * 2^(n-1)) ms
    /// after the n-th failed attempt.
    pub fn backoff_after(&self, attempt: u16, random: u64) -> u64 {
        let doublings = u32::from(attempt.saturating_sub(1)).min(40);
        let ceiling = self.backoff_ms.saturating_mul(1 << doublings).min(self.backoff_max_ms);
        1 + random % ceiling.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_ceiling_and_never_is_zero() {
        let policy = Policy { backoff_ms: 100, backoff_max_ms: 1000, ..Policy::default() };
        for (attempt, ceiling) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (999, 1000)] {
            assert_eq!(policy.backoff_after(attempt, u64::MAX - u64::MAX % ceiling), 1);
            assert_eq!(policy.backoff_after(attempt, ceiling - 1), ceiling);
        }
    }

    #[test]
    fn a_policy_names_the_field_that_is_off() {
        let policy = Policy { attempts: 0, ..Policy::default() };
        assert_eq!(policy.validate().unwrap_err().field, "attempts");
        assert_eq!(Policy::default().validate(), Ok(()));
    }

    #[test]
    fn a_policy_may_lie_on_its_bounds_and_not_beyond() {
        let day_ms = 86_400_000;
        let of = Policy { timeout_ms: 1, backoff_ms: 1, ..Policy::default() };
        let fits = [
            Policy { timeout_ms: 500, total_ms: 500, ..of },
            Policy { timeout_ms: day_ms, total_ms: day_ms, ..of },
            Policy { backoff_ms: 70, backoff_max_ms: 70, ..of },
            Policy { attempts: limits::ATTEMPTS_MAX, ..of },
        ];
        for policy in fits {
            assert_eq!(policy.validate(), Ok(()));
        }
        let off = [
            ("timeout_ms", Policy { timeout_ms: 0, ..of }),
            ("timeout_ms", Policy { timeout_ms: day_ms + 1, total_ms: u64::MAX, ..of }),
            ("total_ms", Policy { timeout_ms: 500, total_ms: 499, ..of }),
            ("attempts", Policy { attempts: limits::ATTEMPTS_MAX + 1, ..of }),
            ("backoff_ms", Policy { backoff_ms: 0, ..of }),
            ("backoff_max_ms", Policy { backoff_ms: 70, backoff_max_ms: 69, ..of }),
            ("concurrency", Policy { concurrency: 0, ..of }),
        ];
        for (field, policy) in off {
            assert_eq!(policy.validate().unwrap_err().field, field);
        }
        assert_eq!(Policy { timeout_ms: 1_500, ..of }.timeout(), Duration::from_millis(1_500));
    }
}
