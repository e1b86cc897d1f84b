//! What a node shows of itself to Prometheus: every metric of the contract, made once a node.
//!
//! Every series that can occur stands from the start, with zero. Whoever counts holds its series,
//! so that nothing looks a label up when something happens. Labels are names of stages, workflows
//! and rails, and words of the contract: never a person's, and as many as the configuration has.
//! What no event tells (how many journeys stand, and since when) the [survey](crate::survey)
//! counts now and then.

mod families;
mod rail;
mod stage;
mod store;

pub use families::{Admission, Families, Withdrawal};
pub(crate) use rail::PayoutResult;
pub use rail::RailMetrics;
pub use stage::StageMetrics;
pub(crate) use store::metered;

use crate::ports::StoreError;
use crate::survey::Survey;
use gristmill_workflows::definition::WorkflowRef;
use gristmill_workflows::invariant::Invariant;
use gristmill_workflows::journey::{Journey, State};
use gristmill_workflows::request::Wait;
use gristmill_workflows::shard::World;
use gristmill_workflows::time::Timestamp;
use prometheus::{Histogram, IntCounter, TextEncoder};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The label of journeys whose workflow this node does not have (any more).
const UNKNOWN: &str = "unknown";

/// The metrics cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("the metrics cannot be written: {0}")]
pub struct Unrendered(#[from] prometheus::Error);

/// The metrics of one node.
#[derive(Debug)]
pub struct Metrics {
    families: Families,
    stages: BTreeMap<&'static str, Arc<StageMetrics>>,
    workflows: BTreeMap<WorkflowRef, Workflow>,
    unknown: Ends,
    /// The rail's.
    pub(crate) rail: Arc<RailMetrics>,
    commit_seconds: Histogram,
    commit_items: Histogram,
}

#[derive(Debug)]
struct Workflow {
    stages: Vec<Arc<StageMetrics>>,
    ends: Ends,
}

/// Journeys of one workflow that came to an end.
#[derive(Debug)]
struct Ends {
    settled: (IntCounter, Histogram),
    rejected: (IntCounter, Histogram),
    withdrawn: (IntCounter, Histogram),
}

impl Metrics {
    /// The metrics of a node that serves these workflows and pays by this rail.
    #[must_use]
    pub fn new(world: &World, rail: &str) -> Self {
        let families = Families::new();
        let mut stages: BTreeMap<&'static str, Arc<StageMetrics>> = BTreeMap::new();
        let mut workflows = BTreeMap::new();
        for (pin, definition) in &world.workflows {
            let names = definition.stages.iter().map(|stage| stage.signature.name);
            let made = |name| {
                let stage = stages.entry(name).or_insert_with(|| Arc::new(families.stage(name)));
                stage.clone()
            };
            let stages = names.map(made).collect();
            workflows.insert(pin.clone(), Workflow { stages, ends: families.ends(&pin.name) });
        }
        families.zero(world.programs.values().map(|program| program.currency));
        Self {
            unknown: families.ends(UNKNOWN),
            rail: Arc::new(families.rail(rail)),
            commit_seconds: families.commit_seconds(),
            commit_items: families.commit_items(),
            families,
            stages,
            workflows,
        }
    }

    /// Everything in Prometheus' text format 0.0.4.
    ///
    /// # Errors
    /// [`Unrendered`]: a family without a name or without a series; there is none.
    pub fn render(&self) -> Result<String, Unrendered> {
        Ok(TextEncoder::new().encode_to_string(&self.families.gather())?)
    }

    /// What is known of a stage.
    #[must_use]
    pub fn stage(&self, name: &str) -> Arc<StageMetrics> {
        let known = self.stages.get(name).cloned();
        known.unwrap_or_else(|| Arc::new(self.families.stage(name)))
    }

    /// Every stage of this node's workflows.
    pub(crate) fn stages(&self) -> impl Iterator<Item = (&'static str, &StageMetrics)> {
        self.stages.iter().map(|(name, stage)| (*name, &**stage))
    }

    /// The stages of a workflow, in its order.
    pub(crate) fn stages_of(&self, pin: &WorkflowRef) -> &[Arc<StageMetrics>] {
        self.workflows.get(pin).map_or(&[], |workflow| &workflow.stages)
    }

    /// A journey's end is durable.
    pub(crate) fn ended(&self, journey: &Journey, now: Timestamp) {
        let known = self.workflows.get(&journey.workflow).map(|workflow| &workflow.ends);
        let ends = known.unwrap_or(&self.unknown);
        let (count, seconds) = match &journey.state {
            State::Settled => &ends.settled,
            State::Rejected(_) => &ends.rejected,
            State::Withdrawn => &ends.withdrawn,
            State::Moving | State::Parked { .. } | State::Paused { .. } => return,
        };
        count.inc();
        seconds.observe(now.0.saturating_sub(journey.submission.at.0) as f64 / 1_000.0);
    }

    /// A journey moves on that stood since its shard had no node.
    pub(crate) fn between_nodes(&self, journey: &Journey, since: Timestamp, now: Timestamp) {
        let stages = self.stages_of(&journey.workflow);
        let stage = stages.get(usize::from(journey.stage)).or(stages.last());
        if let Some(stage) = stage {
            stage.waited(Wait::ShardMoving, Duration::from_millis(now.0.saturating_sub(since.0)));
        }
    }

    /// Contributions were not let in.
    pub fn refused(&self, why: Admission, count: u64) {
        self.families.refused(why).inc_by(count);
    }

    /// A promise was seen broken.
    pub fn violated(&self, invariant: Invariant) {
        self.families.violated(invariant).inc();
    }

    /// A withdrawal begins, or reached all of its contributor's journeys.
    pub(crate) fn withdrawal(&self, phase: Withdrawal) {
        self.families.withdrawal(phase).inc();
    }

    /// An actor ended by a panic or an error, and is started again.
    pub(crate) fn restarted(&self, kind: &'static str, reason: &'static str) {
        self.families.restarted(kind, reason).inc();
    }

    /// How far the log has come.
    pub(crate) fn log(&self, sequenced: u64, published: u64) {
        self.families.log(sequenced, published);
    }

    /// A checkpoint was published.
    pub(crate) fn published(&self, at: Timestamp) {
        self.families.published(at);
    }

    fn committed(&self, took: Duration, items: usize) {
        self.commit_seconds.observe(took.as_secs_f64());
        self.commit_items.observe(items as f64);
    }

    fn store_failed(&self, op: &'static str, error: &StoreError) {
        self.families.store_failed(op, error);
    }

    /// Shows what a survey found, `since` after the one before it.
    pub(crate) fn show(&self, survey: &Survey, since: Duration) {
        self.families.show(survey);
        for (name, stage) in self.stages() {
            stage.show(survey.stages.get(name), since);
        }
    }
}
