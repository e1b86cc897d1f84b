//! What an audit found.

use crate::id::ShardId;
use crate::invariant::Invariant;
use crate::limits;
use std::collections::{BTreeMap, BTreeSet};

/// One breach of an invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What it happened to: a contribution id, a payout id, a log index or checkpoint size as text;
    /// for a sum that is off, the shard and account.
    pub id: String,
    /// What is wrong, for a person, without personal data.
    pub sentence: String,
}

/// One invariant's verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Which.
    pub invariant: Invariant,
    /// How many things were looked at.
    pub checked: u64,
    /// What is wrong, one an id, at most [`limits::AUDIT_VIOLATIONS_MAX`].
    pub violations: Vec<Violation>,
    /// Violations beyond that number.
    pub unlisted: u64,
}

const AUDITED: [Invariant; 6] = [
    Invariant::NothingLost,
    Invariant::OneEntry,
    Invariant::OnePayment,
    Invariant::MoneyAddsUp,
    Invariant::AppendOnly,
    Invariant::Reproducible,
];

/// Violations as they are found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    checked: BTreeMap<Invariant, u64>,
    violations: BTreeMap<Invariant, BTreeMap<String, String>>,
    unlisted: BTreeMap<Invariant, u64>,
    damaged: BTreeSet<ShardId>,
    log_damaged: bool,
}

impl Findings {
    pub(super) fn checked(&mut self, invariant: Invariant, count: u64) {
        *self.checked.entry(invariant).or_default() += count;
    }

    /// Notes a violation; the first sentence of an id stays.
    pub(super) fn add(&mut self, invariant: Invariant, id: String, sentence: String) {
        let known = self.violations.entry(invariant).or_default();
        if known.len() >= limits::AUDIT_VIOLATIONS_MAX && !known.contains_key(&id) {
            *self.unlisted.entry(invariant).or_default() += 1;
            return;
        }
        known.entry(id).or_insert(sentence);
    }

    /// Notes a violation of one journey or payout: it explains sums of its shard that are off.
    pub(super) fn damaged(
        &mut self,
        invariant: Invariant,
        shard: ShardId,
        id: String,
        sentence: String,
    ) {
        self.damaged.insert(shard);
        self.add(invariant, id, sentence);
    }

    /// Notes a violation of one entry: it explains sums of the log that are off.
    pub(super) fn entry(&mut self, invariant: Invariant, index: u64, sentence: String) {
        self.log_damaged = true;
        self.add(invariant, index.to_string(), sentence);
    }

    pub(super) fn is_damaged(&self, shard: ShardId) -> bool {
        self.damaged.contains(&shard)
    }

    /// Whether anything was found that explains a sum over all shards or the log.
    pub(super) fn explains_sums(&self) -> bool {
        self.log_damaged || !self.damaged.is_empty()
    }

    pub(super) fn into_checks(mut self) -> Vec<Check> {
        let check = |invariant| {
            let violations = self.violations.remove(&invariant).unwrap_or_default();
            Check {
                invariant,
                checked: self.checked.get(&invariant).copied().unwrap_or(0),
                violations: violations
                    .into_iter()
                    .map(|(id, sentence)| Violation { id, sentence })
                    .collect(),
                unlisted: self.unlisted.get(&invariant).copied().unwrap_or(0),
            }
        };
        AUDITED.into_iter().map(check).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_have_a_bound_and_what_is_beyond_it_is_counted() {
        let mut findings = Findings::default();
        let mut add = |id: usize| {
            findings.add(Invariant::OneEntry, id.to_string(), "is off".to_owned());
        };
        (0..limits::AUDIT_VIOLATIONS_MAX + 2).for_each(&mut add);
        add(0);
        let checks = findings.into_checks();
        let check = checks.iter().find(|check| check.invariant == Invariant::OneEntry).unwrap();
        assert_eq!((check.violations.len(), check.unlisted), (limits::AUDIT_VIOLATIONS_MAX, 2));
    }
}
