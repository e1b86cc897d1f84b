//! One node: the supervision tree and its handle.
//!
//! ```text
//! Node ─┬─ StagePool × stage
//!       ├─ PayoutBatcher
//!       ├─ TraceRole
//!       ├─ Membership (if other nodes share the store)
//!       └─ Shard × owned ── Contribution × in flight
//! ```
//! A shard that gives its memory up is started again after a wait that doubles. What cannot be
//! mended in this process (a failed disk, a damaged store, a log that differs) ends the node: its
//! [`Fatal`] is shown, and nothing is acknowledged after it.

mod ending;
mod leases;

mod fatal;

pub use fatal::Fatal;
use fatal::fatal;

use crate::engine::{Counters, Engine, PayoutSlot, Ports};
use crate::limits;
use crate::membership::{self, Holdings, MembershipActor, MembershipMessage, Place};
use crate::metrics::{self, Metrics};
use crate::pauses::Pauses;
use crate::payouts::{self, PayoutBatcher};
use crate::pool::{self, StagePool};
use crate::rail::Rail;
use crate::registry::Registry;
use crate::shard::{self, ShardActor, ShardMessage, ShardStatus};
use crate::trace_log::{self, TraceLog};
use crate::trace_role::{self, LogSizes, TraceRole};
use gristmill_workflows::id::ShardId;
use gristmill_workflows::shard::World;
use gristmill_workflows::time::Timestamp;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, RwLock};
use std::time::Duration;
use tokio::sync::watch;

/// The root supervisor.
#[derive(Debug)]
struct NodeActor;

/// What the root is told.
#[derive(Debug)]
pub(crate) enum NodeMessage {
    /// Start a shard, again or for the first time.
    StartShard(ShardId),
    /// End a shard in order, then give its lease back.
    HandOver(ShardId),
    /// End a shard at once: its lease is another's, or is about to be.
    CutOff(ShardId),
    /// Hand everything over.
    Drain,
}

/// What a node is made of.
#[derive(Debug)]
pub struct Parts {
    /// Programs, workflows and the key for ids.
    pub world: Arc<World>,
    /// Stages, made.
    pub registry: Registry,
    /// The outside.
    pub ports: Ports,
    /// The opened log.
    pub log: TraceLog,
    /// The slot that payout stages were made with.
    pub payouts: PayoutSlot,
    /// The owner's incarnation: a uuid made at process start.
    pub owner: u128,
    /// Journeys in flight at the most.
    pub window: usize,
    /// How long finished journeys are kept before tombstones take their place; none: for ever.
    pub retention: Option<Duration>,
    /// Stages that an operator paused.
    pub pauses: Arc<Pauses>,
    /// Its place among the nodes that share the store; without one it owns every shard at once.
    pub place: Option<Place>,
}

struct State {
    engine: Arc<Engine>,
    owner: u128,
    window: usize,
    statuses: BTreeMap<ShardId, watch::Sender<ShardStatus>>,
    cells: HashMap<ActorId, ShardId>,
    /// How often a shard failed since it was last well for a while, and when.
    failures: HashMap<ShardId, (u32, Timestamp)>,
    /// Whether this process counted what a shard had admitted, and no journey is to blame since.
    kept: BTreeMap<ShardId, Arc<AtomicBool>>,
    membership: Option<ActorRef<MembershipMessage>>,
    fatal: watch::Sender<Option<Fatal>>,
}

struct Arguments {
    parts: Parts,
    rail: Arc<dyn Rail>,
    engine: Arc<Engine>,
    statuses: BTreeMap<ShardId, watch::Sender<ShardStatus>>,
    sizes: watch::Sender<LogSizes>,
    holdings: watch::Sender<Holdings>,
    fatal: watch::Sender<Option<Fatal>>,
}

impl Actor for NodeActor {
    type Msg = NodeMessage;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        arguments: Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let Arguments { parts, rail, engine, statuses, sizes, holdings, fatal } = arguments;
        let cell = myself.get_cell();
        let mut pools = HashMap::new();
        let (place, clock) = (parts.place.as_ref(), &engine.ports.clock);
        let leases = place
            .map(|place| pool::Leases { register: place.register.clone(), clock: clock.clone() });
        for (name, policy) in pool::policies(&parts.registry) {
            let (watched, leases) = (engine.metrics.stage(name), leases.clone());
            let arguments = pool::Arguments { stage: name, policy, watched, leases };
            let (pool, _) = Actor::spawn_linked(None, StagePool, arguments, cell.clone()).await?;
            pools.insert(name, pool);
        }
        let (clock, watched) = (engine.ports.clock.clone(), engine.metrics.rail.clone());
        let batcher = payouts::Arguments { rail, clock, watched };
        let (batcher, _) = Actor::spawn_linked(None, PayoutBatcher, batcher, cell.clone()).await?;
        let (log, others) = (parts.log, parts.place.is_some().then(|| holdings.subscribe()));
        let shared = engine.clone();
        let log = trace_role::Arguments { log, sizes, holdings: others, engine: shared };
        let (log, _) = Actor::spawn_linked(None, TraceRole, log, cell.clone()).await?;
        let fresh = engine.pools.set(pools).is_ok()
            && parts.payouts.set(batcher).is_ok()
            && engine.log.set(log).is_ok();
        if !fresh {
            return Err("the parts of another node were used".into());
        }
        let (owner, window) = (parts.owner, parts.window);
        let membership = match parts.place {
            Some(place) => {
                let (engine, node, incarnation) = (engine.clone(), myself.clone(), owner);
                let arguments =
                    membership::Arguments { place, incarnation, engine, node, holdings };
                Some(Actor::spawn_linked(None, MembershipActor, arguments, cell).await?.0)
            }
            None => {
                for shard in statuses.keys() {
                    myself.send_message(NodeMessage::StartShard(*shard))?;
                }
                None
            }
        };
        let (cells, failures, kept) = (HashMap::new(), HashMap::new(), BTreeMap::new());
        Ok(State { engine, owner, window, statuses, cells, failures, kept, membership, fatal })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: NodeMessage,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            NodeMessage::StartShard(shard) => state.start_shard(&myself, shard).await,
            NodeMessage::HandOver(shard) => state.hand_over(shard),
            NodeMessage::CutOff(shard) => state.cut_off(shard),
            NodeMessage::Drain => state.tell_membership(MembershipMessage::Drain),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(cell, error) => {
                state.failed(&myself, cell.get_id(), &error);
            }
            SupervisionEvent::ActorTerminated(cell, _, _) => {
                state.terminated(cell.get_id());
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}

impl State {
    async fn start_shard(&mut self, myself: &ActorRef<NodeMessage>, shard: ShardId) {
        let Some(status) = self.statuses.get(&shard).cloned() else { return };
        if self.membership.is_some() && self.running(shard).is_some() {
            return self.tell_membership(MembershipMessage::Started(shard));
        }
        let arguments = shard::Arguments {
            shard,
            owner: self.owner,
            window: self.window,
            engine: self.engine.clone(),
            status,
            kept: self.kept.entry(shard).or_default().clone(),
        };
        let started = Actor::spawn_linked(None, ShardActor, arguments, myself.get_cell()).await;
        match started {
            Ok((actor, _)) => {
                self.cells.insert(actor.get_id(), shard);
                let shards = &self.engine.shards;
                let mut shards = shards.write().unwrap_or_else(std::sync::PoisonError::into_inner);
                shards.insert(shard, actor.clone());
                drop(shards);
                if self.engine.ending.load(Ordering::Acquire) {
                    crate::contribution::tell(&actor, ShardMessage::Drain);
                }
                self.tell_membership(MembershipMessage::Started(shard));
            }
            Err(ractor::SpawnErr::StartupFailed(error)) => {
                self.shard_failed(myself, shard, &error);
            }
            Err(error) => self.end(Fatal::Actor { detail: error.to_string() }),
        }
    }

    fn failed(&mut self, myself: &ActorRef<NodeMessage>, id: ActorId, error: &ActorProcessingErr) {
        if let Some(shard) = self.cells.remove(&id) {
            let shards = &self.engine.shards;
            shards.write().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&shard);
            // A panic may be some journey's doing; an error of the store or the log is not.
            if error.downcast_ref::<shard::Error>().is_none() {
                self.kept.entry(shard).or_default().store(false, Ordering::Release);
            }
            self.shard_failed(myself, shard, error);
            return;
        }
        let detail = error.to_string();
        self.end(match error.downcast_ref::<trace_log::Error>() {
            Some(log) => Fatal::Log { detail, full: log.is_full() },
            None => Fatal::Actor { detail },
        });
    }

    fn shard_failed(
        &mut self,
        myself: &ActorRef<NodeMessage>,
        shard: ShardId,
        error: &ActorProcessingErr,
    ) {
        if self.leaves_alone(shard, error) {
            return;
        }
        if let Some(fatal) = fatal(error) {
            return self.end(fatal);
        }
        if let Some(shard::Error::Breach(breach)) = error.downcast_ref()
            && self.membership.is_none()
        {
            return self.end(Fatal::Breach(breach.clone()));
        }
        if self.is_lost(error) {
            return self.tell_membership(MembershipMessage::Gone(shard));
        }
        self.engine.counters.restarts.fetch_add(1, Ordering::Relaxed);
        let known = error.downcast_ref::<shard::Error>();
        self.engine.metrics.restarted("shard", known.map_or("panic", shard::Error::word));
        if let Some(status) = self.statuses.get(&shard) {
            // What ended stays ended, whatever of memory is lost.
            status.send_modify(|status| {
                let ShardStatus { settled, refused, .. } = *status;
                *status = ShardStatus { settled, refused, ..ShardStatus::default() };
            });
        }
        // That a withdrawal came first is no failure of the shard.
        let wait = match known {
            Some(shard::Error::Broken) => Duration::ZERO,
            _ => self.reload_wait(shard),
        };
        tracing::warn!(%shard, %error, ?wait, "a shard gave its memory up and is loaded again");
        let myself = myself.clone();
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            crate::contribution::tell(&myself, NodeMessage::StartShard(shard));
        });
    }

    /// How long a shard that failed once more waits before it is loaded again.
    fn reload_wait(&mut self, shard: ShardId) -> Duration {
        let now = self.engine.ports.clock.now();
        let (failures, last) = self.failures.entry(shard).or_insert((0, now));
        let was_well = now.0.saturating_sub(last.0) > limits::RELOADED_WELL_MS;
        *failures = if was_well { 1 } else { failures.saturating_add(1) };
        *last = now;
        let doubled = limits::RELOAD_AFTER * 2u32.saturating_pow((*failures).min(10) - 1);
        doubled.min(limits::RELOAD_AFTER_MAX)
    }

    fn end(&self, fatal: Fatal) {
        self.fatal.send_if_modified(|shown| {
            let first = shown.is_none();
            if first {
                tracing::error!(%fatal, "the node has to end");
            }
            shown.get_or_insert(fatal);
            first
        });
    }
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    actor: ActorRef<NodeMessage>,
    engine: Arc<Engine>,
    statuses: BTreeMap<ShardId, watch::Receiver<ShardStatus>>,
    sizes: watch::Receiver<LogSizes>,
    fatal: watch::Receiver<Option<Fatal>>,
    shared: Option<leases::Shared>,
}

/// The sum over a node's shards, at one glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Glance {
    /// Journeys in memory.
    pub moving: usize,
    /// Journeys that ever settled.
    pub settled: u64,
    /// Journeys that ever were rejected or withdrawn before acceptance.
    pub refused: u64,
    /// Entries of the log.
    pub log: LogSizes,
}

impl Node {
    /// Starts every shard of the store on this node, or those that fall to it among others.
    pub async fn start(parts: Parts, rail: Arc<dyn Rail>) -> Result<Self, Fatal> {
        let shards = parts.world.shards;
        let metrics = Arc::new(Metrics::new(&parts.world, &rail.profile().name));
        let store = metrics::metered(parts.ports.store.clone(), &metrics);
        let engine = Arc::new(Engine {
            world: parts.world.clone(),
            ports: Ports { store, ..parts.ports.clone() },
            counters: Counters::default(),
            pauses: parts.pauses.clone(),
            metrics,
            claims_wait: AtomicBool::new(false),
            shares: parts.place.is_some(),
            retention_ms: parts
                .retention
                .map(|kept| u64::try_from(kept.as_millis()).unwrap_or(u64::MAX)),
            ending: AtomicBool::new(false),
            stages: parts.registry.stages.clone(),
            pools: OnceLock::new(),
            log: OnceLock::new(),
            shards: RwLock::default(),
        });
        engine.pause((*parts.pauses.stages()).clone());
        let (mut senders, mut statuses) = (BTreeMap::new(), BTreeMap::new());
        for shard in (0..shards).map(ShardId) {
            let (sender, receiver) = watch::channel(ShardStatus::default());
            senders.insert(shard, sender);
            statuses.insert(shard, receiver);
        }
        let (size_sender, sizes) = watch::channel(LogSizes::default());
        let (fatal_sender, fatal) = watch::channel(None);
        let (holdings_sender, holdings) = watch::channel(Holdings::default());
        let shared = parts.place.as_ref().map(|place| leases::Shared {
            members: place.members.clone(),
            incarnation: parts.owner,
            holdings,
        });
        let share = (parts.window / usize::from(shards)).max(limits::SHARD_WINDOW_MIN);
        let arguments = Arguments {
            parts: Parts { window: share, ..parts },
            rail,
            engine: engine.clone(),
            statuses: senders,
            sizes: size_sender,
            holdings: holdings_sender,
            fatal: fatal_sender,
        };
        let spawned = Actor::spawn(None, NodeActor, arguments).await;
        let (actor, _) = spawned.map_err(|error| Fatal::Actor { detail: error.to_string() })?;
        Ok(Self { actor, engine, statuses, sizes, fatal, shared })
    }

    /// What the actors share, counters among it.
    #[must_use]
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Tells a shard that its inbox has grown.
    pub fn notify(&self, shard: ShardId) {
        self.engine.notify(shard, None);
    }

    /// Where the node stands.
    #[must_use]
    pub fn glance(&self) -> Glance {
        let mut glance = Glance { log: *self.sizes.borrow(), ..Glance::default() };
        for status in self.statuses.values() {
            let status = status.borrow();
            glance.moving += status.moving;
            glance.settled += status.settled;
            glance.refused += status.refused;
        }
        glance
    }

    /// Waits until nothing moves any more: every journey is terminal, paused, or parked for longer
    /// than `patience_ms`, and the published checkpoint covers every entry.
    pub async fn rest(&self, patience_ms: u64) -> Result<(), Fatal> {
        let mut fatal = self.fatal.clone();
        tokio::select! {
            biased;
            ended = wait_fatal(&mut fatal) => Err(ended),
            () = self.quiet(patience_ms) => Ok(()),
        }
    }

    async fn quiet(&self, patience_ms: u64) {
        loop {
            for shard in self.own_shards() {
                let Some(mut status) = self.statuses.get(&shard).cloned() else { continue };
                let soon = self.engine.ports.clock.now().plus_ms(patience_ms);
                if status.wait_for(|status| rests(status, soon)).await.is_err() {
                    return;
                }
            }
            let first = self.look(patience_ms).await;
            if first.is_none() || first != self.look(patience_ms).await {
                continue;
            }
            let mut sizes = self.sizes.clone();
            if sizes.wait_for(|sizes| sizes.published >= sizes.sequenced).await.is_err() {
                return;
            }
            if first == self.look(patience_ms).await {
                return;
            }
        }
    }

    /// The commits of every shard if all rest, seen from inside their mailboxes.
    async fn look(&self, patience_ms: u64) -> Option<Vec<u64>> {
        let shards: Vec<ActorRef<ShardMessage>> = {
            let shards = self.engine.shards.read();
            let shards = shards.unwrap_or_else(std::sync::PoisonError::into_inner);
            shards.values().cloned().collect()
        };
        let soon = self.engine.ports.clock.now().plus_ms(patience_ms);
        let mut commits = Vec::with_capacity(shards.len());
        for shard in shards {
            let status = ractor::call!(shard, ShardMessage::Look).ok()?;
            if !rests(&status, soon) {
                return None;
            }
            commits.push(status.commits);
        }
        (commits.len() == self.own_shards().len()).then_some(commits)
    }

    /// Waits until the node has to end.
    pub async fn ended(&self) -> Fatal {
        wait_fatal(&mut self.fatal.clone()).await
    }
}

fn rests(status: &ShardStatus, soon: Timestamp) -> bool {
    status.loaded && status.at_rest && status.next_due.is_none_or(|due| due > soon)
}

async fn wait_fatal(fatal: &mut watch::Receiver<Option<Fatal>>) -> Fatal {
    match fatal.wait_for(Option::is_some).await {
        Ok(shown) => shown.clone().expect("just seen to be there"),
        Err(_) => Fatal::Actor { detail: "the node's root is gone".to_owned() },
    }
}
