//! What the actors of one node share.

use crate::contribution;
use crate::metrics::Metrics;
use crate::pauses::Pauses;
use crate::payouts::PayoutMessage;
use crate::pool::PoolMessage;
use crate::ports::{Clock, ContentIndex, KeyStore, MediaStore, ShardStore};
use crate::rail::BoxFuture;
use crate::shard::ShardMessage;
use crate::stage::AnyStage;
use crate::trace_role::LogMessage;
use gristmill_workflows::definition::WorkflowRef;
use gristmill_workflows::id::{Arrival, ShardId};
use gristmill_workflows::shard::World;
use gristmill_workflows::submission::Modality;
use ractor::ActorRef;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, RwLock};
use tokio::runtime::Handle;

/// What was measured of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// Every number under its name.
    pub measures: BTreeMap<String, i64>,
    /// What a rate counts: milliseconds, or 1.
    pub units: u64,
    /// The version of what measured.
    pub scorer: &'static str,
}

/// Why nothing was measured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MeasureError {
    /// A verdict on the item: a reason of the contract.
    #[error("{0}")]
    Verdict(&'static str),
    /// No worker could be had; the same bytes may be measured later.
    #[error("no media worker: {0}")]
    Unavailable(String),
}

/// Measures bytes, away from the node's memory and time.
pub trait Measurer: Send + Sync + 'static {
    /// Measures bytes that claim to be of a modality. The same bytes measure the same.
    fn measure(
        &self,
        bytes: Vec<u8>,
        modality: Modality,
    ) -> BoxFuture<'_, Result<Measured, MeasureError>>;
}

/// The ports of one node.
#[derive(Clone)]
pub struct Ports {
    /// Shards.
    pub store: Arc<dyn ShardStore>,
    /// Who handed in a content first.
    pub content: Arc<dyn ContentIndex>,
    /// Data keys.
    pub keys: Arc<dyn KeyStore>,
    /// Blobs.
    pub media: Arc<dyn MediaStore>,
    /// Time and randomness.
    pub clock: Arc<dyn Clock>,
    /// Threads that may wait for the disk, for what shards read: where a store is read in this
    /// process, a read of many rows is then handed to another thread once.
    pub readers: Option<Handle>,
}

impl Ports {
    /// Runs a task that reads.
    pub(crate) fn spawn_read(&self, task: impl Future<Output = ()> + Send + 'static) {
        match &self.readers {
            Some(readers) => readers.spawn(task),
            None => tokio::spawn(task),
        };
    }
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ports")
    }
}

/// Counters for whoever watches a node.
#[derive(Debug, Default)]
pub struct Counters {
    /// Actors of contributions that were started.
    pub started: AtomicU64,
    /// Journeys that parked.
    pub parked: AtomicU64,
    /// Journeys that paused.
    pub paused: AtomicU64,
    /// Commits.
    pub commits: AtomicU64,
    /// Finished journeys that expired.
    pub expired: AtomicU64,
    /// Actors that ended by a panic or an error.
    pub restarts: AtomicU64,
}

/// Shared by the actors of one node.
pub struct Engine {
    /// What does not change.
    pub world: Arc<World>,
    /// The outside.
    pub ports: Ports,
    /// For whoever watches.
    pub counters: Counters,
    /// Stages that an operator paused.
    pub pauses: Arc<Pauses>,
    /// For Prometheus.
    pub metrics: Arc<Metrics>,
    /// Since it was last looked at, a journey began to wait for content whose holder stands.
    pub(crate) claims_wait: AtomicBool,
    /// Other nodes use the store as well.
    pub shares: bool,
    /// How long finished journeys are kept, in milliseconds; none: for ever.
    pub(crate) retention_ms: Option<u64>,
    /// The node is being stopped.
    pub(crate) ending: AtomicBool,
    pub(crate) stages: BTreeMap<WorkflowRef, Vec<Arc<dyn AnyStage>>>,
    pub(crate) pools: OnceLock<HashMap<&'static str, ActorRef<PoolMessage>>>,
    pub(crate) log: OnceLock<ActorRef<LogMessage>>,
    pub(crate) shards: RwLock<BTreeMap<ShardId, ActorRef<ShardMessage>>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("counters", &self.counters).finish_non_exhaustive()
    }
}

/// A handle to the payout batcher, which is made before the stages are.
pub type PayoutSlot = Arc<OnceLock<ActorRef<PayoutMessage>>>;

impl Engine {
    /// Tells a shard's actor that its inbox has grown, up to an arrival number if that is known. A
    /// shard between two lives is not told: it reads its inbox when it starts.
    pub fn notify(&self, shard: ShardId, arrived: Option<Arrival>) {
        let shards = self.shards.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(actor) = shards.get(&shard) {
            contribution::tell(actor, ShardMessage::InboxGrew(arrived));
        }
    }

    /// From now on these stages are paused. What waits at one that no longer is goes on.
    pub fn pause(&self, stages: BTreeSet<String>) {
        for (name, stage) in self.metrics.stages() {
            stage.paused(stages.contains(name));
        }
        if !self.pauses.set(stages, &self.world.workflows) {
            return;
        }
        let shards = self.shards.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        for actor in shards.values() {
            contribution::tell(actor, ShardMessage::PausesChanged);
        }
    }

    /// How many attempts each stage has done since the start, each stage after the one that a
    /// workflow has before it.
    #[must_use]
    pub fn stages_done(&self) -> Vec<(&'static str, u64)> {
        let mut done: Vec<(&'static str, u64)> = Vec::new();
        for workflow in self.world.workflows.values() {
            let mut next = 0;
            for stage in &workflow.stages {
                let name = stage.signature.name;
                let known = done.iter().position(|(known, _)| *known == name);
                let place = known.unwrap_or_else(|| {
                    done.insert(next, (name, self.metrics.stage(name).done()));
                    next
                });
                next = place + 1;
            }
        }
        done
    }

    /// A standing journey was decided or goes on: who waits for content it holds looks again.
    pub(crate) fn holders_changed(&self) {
        if !self.claims_wait.swap(false, Ordering::AcqRel) {
            return;
        }
        let shards = self.shards.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        for actor in shards.values() {
            contribution::tell(actor, ShardMessage::HoldersChanged);
        }
    }
}
