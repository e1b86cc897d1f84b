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
use gristmill_actors::ports::Clock;
use gristmill_actors::registry::Registry;
use gristmill_actors::stage::StageType;
use gristmill_actors::stages::{self, Needs};
use gristmill_actors::trace_log::TraceLog;
use gristmill_workflows::shard::World;
use gristmill_workflows::time::Timestamp;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
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
    /// Waits until the node has every shard, and none of them moves.
    async fn rest(&self, shards: u16) -> Result<(), Fatal> {
        if let Some(mut holdings) = self.node.holdings() {
            let all = holdings.wait_for(|it| it.held.len() == usize::from(shards)).await;
            if all.is_err() {
                return Err(self.node.ended().await);
            }
        }
        self.node.rest(PATIENCE_MS).await
    }
}

/// The nodes.
pub(super) struct Fleet {
    sim: Arc<Sim>,
    current: Option<Running>,
    zombies: Vec<Running>,
    started: u128,
    ends: u64,
}

impl Fleet {
    pub(super) fn new(sim: Arc<Sim>) -> Self {
        Self { sim, current: None, zombies: Vec::new(), started: 0, ends: 0 }
    }

    /// A new process, in place of the current one if there is one.
    pub(super) async fn start(&mut self) {
        while self.current.is_none() {
            self.started += 1;
            let process = Process::new(format!("node-{}", self.started), self.started);
            match self.begin(process.clone()).await {
                Ok(running) => self.current = Some(running),
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
            name: process.name.clone(),
            address: String::new(),
        });
        let rail = RailWire { wire, rail: sim.rail.clone() };
        let pauses = Arc::default();
        let parts = Parts { world, registry, ports, log, payouts, owner, window, pauses, place };
        let node = Node::start(parts, Arc::new(rail)).await?;
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
            if self.current.is_none() {
                self.start().await;
            }
            let Some(running) = &self.current else { return };
            let changed = self.sim.changed.clone();
            tokio::select! {
                biased;
                () = changed.notified() => {}
                fatal = running.node.ended() => self.died(&fatal),
            }
            self.tell();
            if self.current.as_ref().is_some_and(|running| running.process.is_dead()) {
                self.kill();
                tokio::time::sleep(Duration::from_millis(self.sim.chance.below(2_000))).await;
            }
            self.zombies.retain(|zombie| !zombie.process.is_dead());
        }
    }

    fn died(&self, fatal: &Fatal) {
        let Some(running) = &self.current else { return };
        self.sim.journal.note(format_args!("{} ends: {fatal}", running.process.name));
        self.sim.journal.fault("node ended by itself");
        running.process.set(Life::Dead);
    }

    /// The current process ends between two instructions.
    fn kill(&mut self) {
        if let Some(running) = self.current.take() {
            self.sim.journal.note(format_args!("{} is killed", running.process.name));
            bury(running);
            self.ended_itself();
        }
    }

    /// Something happens.
    pub(super) async fn strike(&mut self, blow: Blow) {
        let sim = self.sim.clone();
        sim.journal.note(format_args!("blow: {blow:?}"));
        match blow {
            Blow::Kill => {
                sim.journal.fault("node killed");
                self.kill();
            }
            Blow::PowerLoss => {
                sim.journal.fault("power loss");
                self.kill();
                for zombie in self.zombies.drain(..) {
                    bury(zombie);
                }
                for shard in sim.disk.lose(&sim.store, &sim.chance) {
                    sim.journal.note(format_args!("shard {shard} lost its last writes"));
                    sim.journal.fault("store lost what it had not acknowledged");
                    sim.witness.forgot(&sim.store, shard);
                }
            }
            Blow::Drain => {
                sim.journal.fault("node drained");
                if let Some(running) = self.current.take() {
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
                if let Some(running) = &self.current {
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
        }
        self.start().await;
    }

    /// The current node goes on as a zombie.
    fn leave_behind(&mut self) -> Option<&Running> {
        let running = self.current.take()?;
        running.process.lose_log();
        self.zombies.push(running);
        if self.zombies.len() > ZOMBIES_MAX {
            bury(self.zombies.remove(0));
        }
        self.zombies.last()
    }

    /// Faults have stopped: what was left behind ends.
    pub(super) fn calm(&mut self) {
        for zombie in self.zombies.drain(..) {
            bury(zombie);
        }
    }

    /// Waits until nothing moves.
    pub(super) async fn rest(&mut self) {
        loop {
            self.start().await;
            self.tell();
            let Some(running) = &self.current else { return };
            let changed = self.sim.changed.clone();
            tokio::select! {
                biased;
                () = changed.notified() => {}
                rested = running.rest(self.sim.plan.shards) => match rested {
                    Ok(()) => return,
                    Err(fatal) => self.died(&fatal),
                },
            }
            if self.current.as_ref().is_some_and(|running| running.process.is_dead()) {
                self.kill();
            }
        }
    }

    /// The last node stops in order.
    pub(super) async fn stop(&mut self) -> bool {
        match self.current.take() {
            Some(running) => running.node.stop(Duration::from_secs(60)).await,
            None => false,
        }
    }
}

/// A process that ended: its actors hear nothing any more, and are taken down when they are idle.
fn bury(running: Running) {
    running.process.set(Life::Dead);
    let Running { node, .. } = running;
    tokio::spawn(async move {
        node.stop(Duration::ZERO).await;
    });
}
