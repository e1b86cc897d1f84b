//! What is known of one stage.

use crate::survey::AtStage;
use gristmill_workflows::request::{Cause, Failure, Outcome, Wait};
use prometheus::{Counter, Gauge, Histogram, IntCounter};
use std::collections::BTreeMap;
use std::time::Duration;

/// What an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    Done,
    Rejected,
    Parked,
    Retryable,
    Permanent,
    Unavailable,
    Timeout,
    Panic,
}

impl Attempt {
    pub(super) const ALL: [Self; 8] = [
        Self::Done,
        Self::Rejected,
        Self::Parked,
        Self::Retryable,
        Self::Permanent,
        Self::Unavailable,
        Self::Timeout,
        Self::Panic,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Rejected => "rejected",
            Self::Parked => "parked",
            Self::Retryable => "retryable",
            Self::Permanent => "permanent",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Panic => "panic",
        }
    }

    fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Done { .. } => Self::Done,
            Outcome::Reject(_) => Self::Rejected,
            Outcome::ParkUntil(_) | Outcome::ParkForSignal(_) | Outcome::Wait(..) => Self::Parked,
            Outcome::Failed(failure) => match failure {
                Failure::Retryable { .. } => Self::Retryable,
                // The rail's final "no" is no better the next time.
                Failure::Permanent { .. } | Failure::Payout(_) => Self::Permanent,
                Failure::Unavailable { .. } => Self::Unavailable,
                Failure::Panic { .. } => Self::Panic,
                Failure::Timeout => Self::Timeout,
            },
        }
    }
}

/// The series of one stage.
#[derive(Debug)]
pub struct StageMetrics {
    pub(super) attempts: [IntCounter; Attempt::ALL.len()],
    pub(super) wait: Histogram,
    pub(super) run: Histogram,
    pub(super) oldest: Gauge,
    pub(super) waits: BTreeMap<Wait, Counter>,
    pub(super) paused: Gauge,
    pub(super) circuit: Gauge,
    pub(super) quarantined: BTreeMap<Cause, Gauge>,
}

impl StageMetrics {
    /// An attempt is over.
    pub(crate) fn attempted(&self, took: Duration, outcome: &Outcome) {
        self.attempts[Attempt::of(outcome) as usize].inc();
        self.run.observe(took.as_secs_f64());
    }

    /// Attempts that ended well.
    pub(crate) fn done(&self) -> u64 {
        self.attempts[Attempt::Done as usize].get()
    }

    /// An attempt took its actor down, so that nobody measured it.
    pub(crate) fn panicked(&self) {
        self.attempts[Attempt::Panic as usize].inc();
    }

    /// An attempt begins after so long in the pool's queue.
    pub(crate) fn began(&self, queued: Duration) {
        self.wait.observe(queued.as_secs_f64());
    }

    /// Journeys waited for a cause, so long in sum.
    pub(crate) fn waited(&self, cause: Wait, time: Duration) {
        if let Some(seconds) = self.waits.get(&cause) {
            seconds.inc_by(time.as_secs_f64());
        }
    }

    /// The circuit opened or closed.
    pub(crate) fn circuit(&self, open: bool) {
        self.circuit.set(f64::from(u8::from(open)));
    }

    /// An operator paused the stage, or lets it go on.
    pub fn paused(&self, paused: bool) {
        self.paused.set(f64::from(u8::from(paused)));
    }

    /// Shows what a survey found, `since` after the one before it.
    pub(super) fn show(&self, found: Option<&AtStage>, since: Duration) {
        let oldest = found.and_then(|found| found.oldest);
        self.oldest.set(oldest.map_or(0.0, |oldest| oldest.0 as f64 / 1_000.0));
        for (cause, count) in &self.quarantined {
            let found = found.and_then(|found| found.paused.get(cause));
            count.set(found.copied().unwrap_or(0) as f64);
        }
        for (wait, count) in found.into_iter().flat_map(|found| &found.waits) {
            self.waited(*wait, since.mul_f64(*count as f64));
        }
    }
}
