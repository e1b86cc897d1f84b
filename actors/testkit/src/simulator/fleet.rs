//! Nodes that take the same shards over one from another.

use super::Sim;
use super::limits::{ENDS_AFTER_FAULTS_MAX, PATIENCE_MS, ZOMBIES_MAX};
use super::plan::Blow;
use super::rail::RailWire;
use super::stages::{Fuse, ModelMeasurer, Probe};
use super::town;
use super::wire::{Life, Process, Wire};
use gristmill_actors::engine::{PayoutSlot, Ports};
use gristmill_actors::membership::Place;
use gristmill_actors::node::{Fatal, Node, Parts};
use gristmill_actors::pauses::Pauses;
use gristmill_actors::ports::Clock;
use gristmill_actors::registry::Registry;
use gristmill_actors::stage::StageType;
use gristmill_actors::stages::{self, Needs};
use gristmill_actors::trace_log::TraceLog;
use gristmill_workflows::shard::World;
use gristmill_workflows::time::Timestamp;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

/// A node's clock: the simulation's, and how far it is off. It never goes back in one process.
#[derive(Debug)]
struct NodeClock {
    sim: Arc<Sim>,
    off_ms: AtomicI64,
    latest: AtomicU64,
}

impl Clock for NodeClock {
    fn now(&self) -> Timestamp {
        let read = self.sim.now().0.saturating_add_signed(self.off_ms.load(Ordering::Relaxed));
        Timestamp(self.latest.fetch_max(read, Ordering::Relaxed).max(read))
    }

    fn random(&self) -> u64 {
        self.sim.chance.next()
    }
}

struct Running {
    process: Arc<Process>,
    node: Node,
    clock: Arc<NodeClock>,
}

impl Running {
    /// Shards that it has, of a store of so many.
    fn held(&self, shards: u16) -> usize {
        let holdings = self.node.holdings();
        holdings.map_or(usize::from(shards), |holdings| holdings.borrow().held.len())
    }
}

/// The nodes.
pub(super) struct Fleet {
    sim: Arc<Sim>,
    current: Vec<Running>,
    zombies: Vec<Running>,
    started: u128,
    ends: u64,
    /// What operators said of stages, for nodes that begin.
    paused: BTreeSet<String>,
    ever_paused: bool,
}

impl Fleet {
    pub(super) fn new(sim: Arc<Sim>) -> Self {
        let (current, zombies, paused) = (Vec::new(), Vec::new(), BTreeSet::new());
        Self { sim, current, zombies, started: 0, ends: 0, paused, ever_paused: false }
    }

    /// New processes, until there are as many as there should be.
    pub(super) async fn start(&mut self) {
        while self.current.len() < self.sim.plan.nodes {
            self.started += 1;
            let process = Process::new(format!("node-{}", self.started), self.started);
            match self.begin(process.clone()).await {
                Ok(running) => self.current.push(running),
                Err(fatal) => {
                    self.sim.journal.note(format_args!("{} does not start: {fatal}", process.name));
                    process.set(Life::Dead);
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    self.ended_itself();
                    if self.sim.journal.is_broken() {
                        return;
                    }
                }
            }
        }
    }

    fn ended_itself(&mut self) {
        if !self.sim.is_calm() {
            return;
        }
        self.ends += 1;
        if self.ends > self.sim.suicides.load(Ordering::Relaxed) + ENDS_AFTER_FAULTS_MAX {
            self.sim.journal.breach("I11: nodes end by themselves without any fault".to_owned());
        }
    }

    async fn begin(&self, process: Arc<Process>) -> Result<Running, Fatal> {
        let sim = self.sim.clone();
        sim.journal.note(format_args!("{} starts", process.name));
        let wire = Wire { sim: sim.clone(), process: process.clone() };
        let off_ms = sim.skew();
        let latest = AtomicU64::new(0);
        let clock = Arc::new(NodeClock { sim: sim.clone(), off_ms: off_ms.into(), latest });
        let outside = Arc::new(wire.clone());
        let ports = Ports {
            store: outside.clone(),
            content: outside.clone(),
            keys: outside.clone(),
            media: outside.clone(),
            clock: clock.clone(),
            readers: None,
        };
        let payouts: PayoutSlot = Arc::new(OnceLock::new());
        let measurer = Arc::new(ModelMeasurer(wire.clone()));
        let needs = Needs {
            ports: ports.clone(),
            measurer,
            payouts: payouts.clone(),
            rail: "model".to_owned(),
        };
        let mut types = stages::shipped(&needs);
        let probe = wire.clone();
        types.push(StageType::with(move |_| Ok(Probe(probe.clone()))));
        types.push(StageType::of::<Fuse>());
        let actor = |detail: String| Fatal::Actor { detail };
        let registry = Registry::new(&types, town::workflows());
        let registry = registry.map_err(|error| actor(error.to_string()))?;
        let world = Arc::new(World {
            shards: sim.plan.shards,
            key: sim.key.clone(),
            programs: town::programs(&sim.plan),
            workflows: registry.definitions(),
        });
        let log = TraceLog::open(outside, sim.signing_key()).await;
        let log = log.map_err(|error| Fatal::Log { detail: error.to_string(), full: false })?;
        let (owner, window) = (process.owner, sim.plan.window);
        let place = (sim.plan.lease_ms > 0).then(|| Place {
            members: Arc::new(wire.clone()),
            register: Arc::new(sim.register.clone()),
            name: process.name.clone(),
            address: String::new(),
        });
        let rail = RailWire { wire, rail: sim.rail.clone() };
        let pauses = Arc::new(Pauses::new(self.paused.clone(), self.ever_paused));
        let parts = Parts {
            world,
            registry,
            ports,
            log,
            payouts,
            owner,
            window,
            retention: Some(sim.plan.retention_ms)
                .filter(|kept| *kept > 0)
                .map(Duration::from_millis),
            pauses,
            place,
        };
        let node = Node::start(parts, Arc::new(rail)).await?;
        sim.takes(node.engine());
        Ok(Running { process, node, clock })
    }

    /// What was put into inboxes is told to whoever may read it.
    fn tell(&self) {
        for shard in self.sim.take_grown() {
            for running in self.current.iter().chain(&self.zombies) {
                running.node.notify(shard);
            }
        }
    }

    /// Goes on until something happens to a node by itself; that is mended.
    pub(super) async fn watch(&mut self) {
        loop {
            self.start().await;
            if self.current.is_empty() {
                return;
            }
            let changed = self.sim.changed.clone();
            tokio::select! {
                biased;
                () = changed.notified() => {}
                (running, fatal) = first_end(&self.current) => self.died(running, &fatal),
            }
            self.tell();
            while self.bury_dead() {
                tokio::time::sleep(Duration::from_millis(self.sim.chance.below(2_000))).await;
            }
            self.zombies.retain(|zombie| !zombie.process.is_dead());
        }
    }

    /// Ends one process that is dead; false if none is.
    fn bury_dead(&mut self) -> bool {
        let dead = self.current.iter().position(|running| running.process.is_dead());
        if let Some(dead) = dead {
            self.kill(dead);
        }
        dead.is_some()
    }

    fn died(&self, running: &Running, fatal: &Fatal) {
        self.sim.journal.note(format_args!("{} ends: {fatal}", running.process.name));
        self.sim.journal.fault("node ended by itself");
        running.process.set(Life::Dead);
    }

    /// A process ends between two instructions.
    fn kill(&mut self, which: usize) {
        let running = self.current.remove(which);
        self.sim.journal.note(format_args!("{} is killed", running.process.name));
        bury(running);
        self.ended_itself();
    }

    /// One of the nodes.
    fn one(&self) -> Option<usize> {
        (!self.current.is_empty()).then(|| self.sim.chance.index(self.current.len()))
    }

    /// Something happens.
    pub(super) async fn strike(&mut self, blow: Blow) {
        let sim = self.sim.clone();
        sim.journal.note(format_args!("blow: {blow:?}"));
        match blow {
            Blow::Kill => {
                sim.journal.fault("node killed");
                if let Some(one) = self.one() {
                    self.kill(one);
                }
            }
            Blow::PowerLoss => {
                sim.journal.fault("power loss");
                self.lose_power();
            }
            Blow::Drain => {
                sim.journal.fault("node drained");
                if let Some(one) = self.one() {
                    let running = self.current.remove(one);
                    let drained = running.node.stop(Duration::from_secs(20)).await;
                    running.process.set(Life::Dead);
                    sim.journal.note(format_args!("drained: {drained}"));
                }
            }
            Blow::Cut => {
                sim.journal.fault("node cut off");
                let lasts = Duration::from_millis(sim.chance.between(500, 30_000));
                if let Some(running) = self.leave_behind() {
                    running.process.set(Life::Cut);
                    let process = running.process.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(lasts).await;
                        process.set(Life::Up);
                    });
                }
            }
            Blow::Usurp => {
                sim.journal.fault("node taken for dead");
                self.leave_behind();
            }
            Blow::ClockJump => {
                sim.journal.fault("clock jump");
                let off = sim.jump();
                for running in &self.current {
                    running.clock.off_ms.store(off, Ordering::Relaxed);
                }
            }
            Blow::RailDown => {
                sim.journal.fault("rail down");
                sim.rail.down_for(Duration::from_millis(sim.chance.between(500, 90_000)));
            }
            Blow::StageDown => {
                sim.journal.fault("stage down");
                sim.stage_down_for(sim.chance.between(500, 30_000));
            }
            Blow::StagePaused => {
                sim.journal.fault("stage paused");
                self.pause_or_resume();
            }
        }
        self.start().await;
    }

    /// A node goes on, and is none of those that are counted on any more.
    fn leave_behind(&mut self) -> Option<&Running> {
        let running = self.current.remove(self.one()?);
        self.zombies.push(running);
        if self.zombies.len() > ZOMBIES_MAX {
            bury(self.zombies.remove(0));
        }
        self.zombies.last()
    }

    fn lose_power(&mut self) {
        let sim = self.sim.clone();
        while !self.current.is_empty() {
            self.kill(0);
        }
        for zombie in self.zombies.drain(..) {
            bury(zombie);
        }
        for shard in sim.disk.lose(&sim.store, &sim.chance) {
            sim.journal.note(format_args!("shard {shard} lost its last writes"));
            sim.journal.fault("store lost what it had not acknowledged");
            sim.witness.forgot(&sim.store, shard);
        }
    }

    /// An operator pauses a stage, or lets the one that is paused go on.
    fn pause_or_resume(&mut self) {
        let stages = ["consent", "probe", "valuation", "trace", "payout"];
        let stage = self.sim.chance.one(&stages).map(|stage| (*stage).to_owned());
        let next = if self.paused.is_empty() { stage } else { None };
        self.pause(next.into_iter().collect());
    }

    /// From now on these stages are paused, on every node that hears of it.
    fn pause(&mut self, stages: BTreeSet<String>) {
        self.sim.journal.note(format_args!("paused: {stages:?}"));
        self.ever_paused |= !stages.is_empty();
        for running in self.current.iter().chain(&self.zombies) {
            running.node.engine().pause(stages.clone());
        }
        self.paused = stages;
    }

    /// Faults have stopped: what was left behind ends, and no stage is paused.
    pub(super) fn calm(&mut self) {
        self.pause(BTreeSet::new());
        for zombie in self.zombies.drain(..) {
            bury(zombie);
        }
    }

    /// Waits until nothing moves on any node.
    pub(super) async fn rest(&mut self) {
        loop {
            self.start().await;
            self.tell();
            if self.current.is_empty() {
                return;
            }
            let changed = self.sim.changed.clone();
            let all_rest = async {
                // What one node does may reach a shard of another that rested before.
                for _ in 0..=self.current.len() {
                    self.has_every_shard().await;
                    for running in &self.current {
                        running.node.rest(PATIENCE_MS).await?;
                    }
                }
                Ok::<(), Fatal>(())
            };
            let rested = tokio::select! {
                biased;
                () = changed.notified() => None,
                (running, fatal) = first_end(&self.current) => {
                    self.died(running, &fatal);
                    None
                }
                rested = all_rest => Some(rested),
            };
            if let Some(Ok(())) = rested {
                return;
            }
            while self.bury_dead() {}
        }
    }

    /// Waits until every shard runs on some node.
    async fn has_every_shard(&self) {
        let shards = self.sim.plan.shards;
        let held = || self.current.iter().map(|running| running.held(shards)).sum::<usize>();
        while held() < usize::from(shards) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The last nodes stop in order, one after the other.
    pub(super) async fn stop(&mut self) -> bool {
        let mut in_order = !self.current.is_empty();
        for running in self.current.drain(..) {
            in_order &= running.node.stop(Duration::from_secs(60)).await;
        }
        in_order
    }
}

/// The first node that ends by itself.
async fn first_end(nodes: &[Running]) -> (&Running, Fatal) {
    let ends = nodes.iter().map(|running| (running, Box::pin(running.node.ended())));
    let mut ends: Vec<_> = ends.collect();
    std::future::poll_fn(move |context| {
        for (running, end) in &mut ends {
            if let Poll::Ready(fatal) = end.as_mut().poll(context) {
                return Poll::Ready((*running, fatal));
            }
        }
        Poll::Pending
    })
    .await
}

/// A process that ended: its actors hear nothing any more, and are taken down when they are idle.
fn bury(running: Running) {
    running.process.set(Life::Dead);
    let Running { node, .. } = running;
    tokio::spawn(async move {
        node.stop(Duration::ZERO).await;
    });
}
