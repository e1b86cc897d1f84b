//! Stages that an operator paused, as the actors of one node see them. What is durable stands in
//! the register; whoever runs the node keeps this in step with it.

use gristmill_workflows::definition::{Definition, WorkflowRef};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// The paused stages.
#[derive(Debug, Default)]
pub struct Pauses {
    stages: RwLock<Arc<BTreeSet<String>>>,
    /// Some stage is or was paused, so that journeys may be parked for it.
    ever: AtomicBool,
    /// Every workflow begins with a paused stage: letting contributions in is of no use.
    entrance: AtomicBool,
}

impl Pauses {
    /// Some stages are paused; `ever` if some were before.
    #[must_use]
    pub fn new(stages: BTreeSet<String>, ever: bool) -> Self {
        let ever = AtomicBool::new(ever || !stages.is_empty());
        Self { stages: RwLock::new(Arc::new(stages)), ever, entrance: AtomicBool::default() }
    }

    /// Whether a stage is paused.
    #[must_use]
    pub fn holds(&self, stage: &str) -> bool {
        self.ever.load(Ordering::Acquire) && self.stages().contains(stage)
    }

    /// The paused stages.
    #[must_use]
    pub fn stages(&self) -> Arc<BTreeSet<String>> {
        self.stages.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether journeys may be parked for a stage that was paused.
    pub(crate) fn ever(&self) -> bool {
        self.ever.load(Ordering::Acquire)
    }

    /// Whether every workflow begins with a paused stage.
    pub(crate) fn close_the_entrance(&self) -> bool {
        self.entrance.load(Ordering::Acquire)
    }

    /// From now on these are paused; true if that is another set than before.
    pub(crate) fn set(
        &self,
        stages: BTreeSet<String>,
        workflows: &BTreeMap<WorkflowRef, Arc<Definition>>,
    ) -> bool {
        if !stages.is_empty() {
            self.ever.store(true, Ordering::Release);
        }
        let first = |definition: &Arc<Definition>| {
            definition.stages.first().is_some_and(|stage| stages.contains(stage.signature.name))
        };
        let entrance = !workflows.is_empty() && workflows.values().all(first);
        self.entrance.store(entrance, Ordering::Release);
        let mut held = self.stages.write().unwrap_or_else(PoisonError::into_inner);
        let changed = **held != stages;
        *held = Arc::new(stages);
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_held_until_it_is_taken_out_of_the_set() {
        let pauses = Pauses::default();
        assert!(!pauses.holds("payout") && !pauses.ever());
        let set = BTreeSet::from(["payout".to_owned()]);
        assert!(pauses.set(set.clone(), &BTreeMap::new()));
        assert!(!pauses.set(set, &BTreeMap::new()));
        assert!(pauses.holds("payout") && !pauses.holds("consent"));
        assert!(pauses.set(BTreeSet::new(), &BTreeMap::new()));
        assert!(!pauses.holds("payout") && pauses.ever() && !pauses.close_the_entrance());
    }
}
