//! What is known of the rail.

use crate::payouts::Delivery;
use gristmill_workflows::request::PayoutVerdict;
use prometheus::{Gauge, IntCounter};

/// A rail's final answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PayoutResult {
    Paid,
    Failed,
    Differs,
    Expired,
    Unavailable,
}

impl PayoutResult {
    pub(super) const ALL: [Self; 5] =
        [Self::Paid, Self::Failed, Self::Differs, Self::Expired, Self::Unavailable];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Paid => "paid",
            Self::Failed => "failed",
            Self::Differs => "differs",
            Self::Expired => "expired",
            Self::Unavailable => "unavailable",
        }
    }

    pub(crate) fn of(delivery: &Delivery) -> Self {
        match delivery {
            Delivery::Paid => Self::Paid,
            Delivery::Verdict(PayoutVerdict::Failed { .. }) => Self::Failed,
            Delivery::Verdict(PayoutVerdict::Differs { .. }) => Self::Differs,
            Delivery::Verdict(PayoutVerdict::WindowExpired) => Self::Expired,
            Delivery::Unavailable { .. } => Self::Unavailable,
        }
    }
}

/// The series of one rail.
#[derive(Debug)]
pub struct RailMetrics {
    pub(super) results: [IntCounter; PayoutResult::ALL.len()],
    pub(super) unknown: Gauge,
}

impl RailMetrics {
    /// A payout has its answer, and somebody took it.
    pub(crate) fn answered(&self, result: PayoutResult) {
        self.results[result as usize].inc();
    }

    /// The fate of a payout became unknown, or is known now.
    pub(crate) fn unknown(&self, is: bool, was: bool) {
        match (is, was) {
            (true, false) => self.unknown.inc(),
            (false, true) => self.unknown.dec(),
            _ => {}
        }
    }
}
