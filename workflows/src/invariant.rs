//! The promises of Gristmill, by name. Unit tests, the audit and production speak of them by
//! these names.

use serde::Serialize;

/// I1 to I12 of the design.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Invariant {
    /// What was acknowledged reaches one terminal state or is visibly queued, parked or paused.
    #[serde(rename = "I1 nothing lost")]
    NothingLost,
    /// At most one `contribution` entry a contribution, one `payout` entry a payout.
    #[serde(rename = "I2 one entry")]
    OneEntry,
    /// At most one money movement per (contribution, cause).
    #[serde(rename = "I3 one payment")]
    OnePayment,
    /// Debits equal credits; ledger, log and rail book agree.
    #[serde(rename = "I4 money adds up")]
    MoneyAddsUp,
    /// No acceptance under a grant commits after its withdrawal is acknowledged.
    #[serde(rename = "I5 consent wins")]
    ConsentWins,
    /// A node without the current epoch changes nothing.
    #[serde(rename = "I6 fenced")]
    Fenced,
    /// Every published checkpoint extends every earlier one.
    #[serde(rename = "I7 append-only")]
    AppendOnly,
    /// Every price is recomputable from public entries.
    #[serde(rename = "I8 reproducible")]
    Reproducible,
    /// No personal data in Trace, logs or metric labels.
    #[serde(rename = "I9 private")]
    Private,
    /// Memory follows the window.
    #[serde(rename = "I10 bounded")]
    Bounded,
    /// A crash of one journey or stage harms no other.
    #[serde(rename = "I11 contained")]
    Contained,
    /// Every wait has a cause an operator can read.
    #[serde(rename = "I12 visible")]
    Visible,
}

impl Invariant {
    /// All of them, in their order.
    pub const ALL: [Self; 12] = [
        Self::NothingLost,
        Self::OneEntry,
        Self::OnePayment,
        Self::MoneyAddsUp,
        Self::ConsentWins,
        Self::Fenced,
        Self::AppendOnly,
        Self::Reproducible,
        Self::Private,
        Self::Bounded,
        Self::Contained,
        Self::Visible,
    ];

    /// `I1` to `I12`.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.words().0
    }

    /// What it promises, in a few words.
    #[must_use]
    pub fn promise(self) -> &'static str {
        self.words().1
    }

    fn words(self) -> (&'static str, &'static str) {
        self.as_str().split_once(' ').unwrap_or((self.as_str(), ""))
    }

    /// Its number and what it promises.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NothingLost => "I1 nothing lost",
            Self::OneEntry => "I2 one entry",
            Self::OnePayment => "I3 one payment",
            Self::MoneyAddsUp => "I4 money adds up",
            Self::ConsentWins => "I5 consent wins",
            Self::Fenced => "I6 fenced",
            Self::AppendOnly => "I7 append-only",
            Self::Reproducible => "I8 reproducible",
            Self::Private => "I9 private",
            Self::Bounded => "I10 bounded",
            Self::Contained => "I11 contained",
            Self::Visible => "I12 visible",
        }
    }
}

/// An invariant that would not hold any more if something were committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", invariant.as_str())]
pub struct Breach {
    /// Which.
    pub invariant: Invariant,
    /// What was found, without personal data.
    pub detail: String,
}

impl Breach {
    /// A breach with what was found.
    pub(crate) fn new(invariant: Invariant, detail: impl Into<String>) -> Self {
        Self { invariant, detail: detail.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_invariants_are_numbered_as_in_the_design() {
        for (number, invariant) in (1..).zip(Invariant::ALL) {
            assert_eq!(invariant.code(), format!("I{number}"));
            assert_eq!(invariant.as_str(), format!("I{number} {}", invariant.promise()));
        }
        assert_eq!(Invariant::ConsentWins.promise(), "consent wins");
        let breach = Breach::new(Invariant::OnePayment, "two of them");
        assert_eq!(breach.to_string(), "I3 one payment: two of them");
    }
}
