//! The shipped stages, written with the same trait as an author's own.

mod consent;
mod fixed_score;
mod payout;
mod scoring;
mod trace;
mod valuation;

use crate::engine::{Measurer, PayoutSlot, Ports};
use crate::stage::StageType;
use std::sync::Arc;

/// What the shipped stages need of a node.
#[derive(Clone)]
pub struct Needs {
    /// Blobs and data keys.
    pub ports: Ports,
    /// Measures media.
    pub measurer: Arc<dyn Measurer>,
    /// The payout batcher, once it stands.
    pub payouts: PayoutSlot,
    /// The rail's name, for payout entries.
    pub rail: String,
}

impl std::fmt::Debug for Needs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Needs").field("rail", &self.rail).finish_non_exhaustive()
    }
}

/// The stage types that every binary knows.
#[must_use]
pub fn shipped(needs: &Needs) -> Vec<StageType> {
    types(Some(needs))
}

/// The same stage types without a node, for checking workflow files: the stages they make check
/// their settings and cannot run.
#[must_use]
pub fn unattached() -> Vec<StageType> {
    types(None)
}

fn types(needs: Option<&Needs>) -> Vec<StageType> {
    let (scoring, payout) = (needs.cloned(), needs.cloned());
    vec![
        StageType::of::<consent::Consent>(),
        StageType::with(move |settings| scoring::Scoring::with(settings, scoring.clone())),
        StageType::of::<fixed_score::FixedScore>(),
        StageType::of::<valuation::Valuation>(),
        StageType::of::<trace::Trace>(),
        StageType::with(move |settings| payout::Payout::with(settings, payout.clone())),
    ]
}
