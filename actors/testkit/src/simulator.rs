//! The whole engine in one process on a paused clock, from one seed.
//!
//! A seed draws a town (people, programs, budgets), what its people do, and what goes wrong: nodes
//! that are killed, cut off, taken for dead and drained; a store and a log that fail, persist
//! without saying so, apply late and twice, and lose what they had not acknowledged; a rail that
//! loses replies, pays late, pays another amount, refuses, and is down; stages that fail, hang and
//! panic; clocks that jump. The nodes are the real actors of `gristmill_actors` over the ports in
//! memory of this crate. A witness checks every commit and effect; once faults have stopped, the
//! system must come to rest, and everything that is left is audited.
//!
//! The same seed gives the same run, to the last event: [`Report::digest`]. Events are told to
//! `tracing` under the target `simulator`.

mod chance;
mod clients;
mod disk;
mod files;
mod fleet;
mod journal;
mod limits;
mod plan;
mod rail;
mod stages;
mod store;
mod town;
mod verdict;
mod wire;
mod witness;

use crate::memory_keys::MemoryKeys;
use crate::memory_log::MemoryLog;
use crate::memory_media::MemoryMedia;
use crate::memory_register::MemoryRegister;
use crate::memory_store::{MemoryStore, Shape};
use crate::model_rail::ModelRail;
use crate::virtual_clock::{START, VirtualClock};
use chance::Chance;
use clients::Acknowledged;
use fleet::Fleet;
use gristmill_actors::engine::Engine;
use gristmill_actors::rail::{KeyScope, RailProfile};
use gristmill_trace::key::SigningKey;
use gristmill_workflows::id::{ContributionId, IdKey, ShardId};
use gristmill_workflows::inbox::Verb;
use gristmill_workflows::journey::State;
use gristmill_workflows::request::Wait;
use gristmill_workflows::time::Timestamp;
use journal::Journal;
use plan::{Blow, Plan};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use town::Behaviour;
use wire::{Process, Wire};
use witness::Witness;

pub use stages::WANTED_PANIC;

/// How a seed is run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Nothing goes wrong but what people do.
    pub without_faults: bool,
}

/// What became of a seed.
#[derive(Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Over every event in order; equal for equal runs.
    pub digest: u64,
    /// How many events there were.
    pub events: u64,
    /// What does not hold: the invariant, and a sentence.
    pub breaches: Vec<String>,
    /// Faults that were injected, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Transitions that the machines took, by name.
    pub transitions: BTreeMap<String, u64>,
    /// Contributions that were acknowledged.
    pub contributions: usize,
    /// Simulated time, in milliseconds.
    pub simulated_ms: u64,
}

/// What everybody in one simulation shares.
#[derive(Debug)]
struct Sim {
    seed: u64,
    plan: Plan,
    chance: Chance,
    journal: Journal,
    key: IdKey,
    store: MemoryStore,
    register: MemoryRegister,
    keys: MemoryKeys,
    media: MemoryMedia,
    log: MemoryLog,
    rail: Arc<ModelRail>,
    disk: disk::Disk,
    witness: Witness,
    started: Instant,
    calm: AtomicBool,
    stage_down_until: AtomicU64,
    skew_ms: AtomicI64,
    /// Nodes that contributions killed.
    suicides: AtomicU64,
    /// Something happened that nodes are to be told.
    changed: Arc<Notify>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    grown: BTreeSet<ShardId>,
    acknowledged: BTreeMap<ContributionId, Acknowledged>,
    kills: BTreeMap<String, u8>,
    /// Nodes through which a client may hand in.
    engines: Vec<Weak<Engine>>,
}

/// Runs one seed to its end.
///
/// # Errors
/// When no runtime can be made.
pub fn simulate(seed: u64, options: Options) -> std::io::Result<Report> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    Ok(runtime.block_on(async { run(seed, options).await }))
}

async fn run(seed: u64, options: Options) -> Report {
    let sim = Arc::new(Sim::new(seed, options));
    let mut fleet = Fleet::new(sim.clone());
    let people = Process::new("people".to_owned(), 0);
    let wire = Wire { sim: sim.clone(), process: people };
    fleet.start().await;
    let acts = clients::acts(seed, &sim.plan);
    let mut clients = tokio::spawn(clients::live(sim.clone(), wire.clone(), acts));
    let blows = sim.plan.blows.iter().copied().map(|(at, blow)| (at, Some(blow)));
    for (at, blow) in blows.chain([(sim.plan.faults_ms, None)]) {
        let wait = Duration::from_millis(at.saturating_sub(sim.journal.passed_ms()));
        if tokio::time::timeout(wait, fleet.watch()).await.is_ok() {
            break;
        }
        if let Some(blow) = blow {
            fleet.strike(blow).await;
        }
    }
    sim.calm();
    fleet.calm();
    let watched = async {
        tokio::select! {
            biased;
            _ = &mut clients => {}
            () = fleet.watch() => {}
        }
    };
    if tokio::time::timeout(limits::REST_MAX, watched).await.is_err() {
        sim.journal.breach("I1: clients wait for answers for ever".to_owned());
    }
    // What was delayed on its way arrives, and is swept up.
    let late = tokio::time::timeout(limits::LATEST, fleet.watch());
    if late.await.is_ok() {
        sim.journal.breach("I11: no node goes on".to_owned());
    }
    settle(&sim, &mut fleet, &wire).await;
    if !fleet.stop().await {
        sim.journal.breach("I1: the last node does not stop in order".to_owned());
    }
    sim.judge();
    let written = sim.journal.take();
    Report {
        seed,
        digest: written.digest,
        events: written.events,
        breaches: written.breaches,
        faults: written.faults,
        transitions: written.transitions,
        contributions: sim.acknowledged().len(),
        simulated_ms: u64::try_from(sim.started.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}

/// The system comes to rest; an operator goes through the quarantine until nothing can be done.
async fn settle(sim: &Sim, fleet: &mut Fleet, wire: &Wire) {
    for round in 0..limits::ROUNDS_MAX {
        if !rest(sim, fleet).await {
            return;
        }
        let mut said = 0;
        for standing in sim.standing() {
            let journey = standing.journey;
            let behaviour = Behaviour::of(&journey.submission.idempotency_key);
            let verb = match &journey.state {
                // A person who reads the cause lets it not kill another node.
                State::Paused { .. } if behaviour == Behaviour::Kills => Verb::Reject,
                State::Paused { .. } if round < limits::RETRY_ROUNDS => Verb::Retry,
                State::Paused { .. } if journey.accepted.is_none() => Verb::Reject,
                State::Paused { .. } => Verb::Retry,
                State::Parked { signal: Some(signal), .. } => Verb::Signal(signal.clone()),
                _ => continue,
            };
            said += 1;
            clients::say(wire, journey.submission.id, verb).await;
        }
        sim.journal.note(format_args!("round {round}: an operator said {said} words"));
        if said == 0 {
            return;
        }
    }
    rest(sim, fleet).await;
}

/// Waits until nothing moves and no timer is set, as long as that may take.
async fn rest(sim: &Sim, fleet: &mut Fleet) -> bool {
    let mut copies = 0;
    let resting = async {
        loop {
            fleet.rest().await;
            // A copy waits as long as whose content it is stands: two looks are enough to see that.
            let due = sim.standing().into_iter().filter_map(|one| match one.journey.state {
                State::Parked { wait: Wait::ContentClaim, until, .. } => until.map(|at| (1, at)),
                State::Parked { until, .. } => until.map(|at| (0, at)),
                _ => None,
            });
            let Some((copy, due)) = due.min() else { return };
            copies += copy;
            if copies > 2 {
                return;
            }
            // A node's own clock may be behind.
            let wait = due.0.saturating_sub(sim.now().0) + 1_000;
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
    };
    let rested = tokio::time::timeout(limits::REST_MAX, resting).await.is_ok();
    if !rested {
        let standing = sim.standing();
        let moving = standing.iter().filter(|one| one.journey.state == State::Moving).count();
        sim.journal.breach(format!(
            "I1: no rest: {} queued, {} standing, {moving} of them moving",
            sim.queued().len(),
            standing.len()
        ));
    }
    rested
}

impl Sim {
    fn new(seed: u64, options: Options) -> Self {
        let plan = Plan::draw(seed, !options.without_faults);
        let key = IdKey::new([7; 32]);
        let shape =
            Shape { shards: plan.shards, intake_high_water: 40, lease_ttl_ms: plan.lease_ms };
        let rail = ModelRail::new(RailProfile {
            name: "model".to_owned(),
            key_window: Duration::from_millis(plan.rail_window_ms),
            settle_time: Duration::from_secs(3),
            max_batch: plan.rail_batch,
            key_scope: KeyScope::Item,
        });
        let mut data_keys = [0; 32];
        data_keys[..8].copy_from_slice(&seed.to_be_bytes());
        let forgets = plan.blows.iter().any(|(_, blow)| *blow == Blow::PowerLoss);
        // Nodes that share a store decide by the store's clock.
        let jumps =
            plan.lease_ms == 0 && plan.blows.iter().any(|(_, blow)| *blow == Blow::ClockJump);
        let programs = town::programs(&plan);
        let store = match plan.lease_ms {
            0 => MemoryStore::new(shape),
            _ => MemoryStore::shared(shape, Arc::new(VirtualClock::new(seed))),
        };
        let verifier = signing_key().verifier().clone();
        let sim = Self {
            seed,
            chance: Chance::new(seed, 3),
            journal: Journal::new(),
            witness: Witness::new(key.clone(), verifier, programs),
            key,
            store,
            register: MemoryRegister::default(),
            keys: MemoryKeys::new(data_keys),
            media: MemoryMedia::new(),
            log: MemoryLog::new(),
            rail: Arc::new(rail),
            disk: disk::Disk::new(forgets),
            started: Instant::now(),
            calm: AtomicBool::new(false),
            stage_down_until: AtomicU64::new(0),
            skew_ms: AtomicI64::new(if jumps { 2_000 } else { 0 }),
            suicides: AtomicU64::new(0),
            changed: Arc::new(Notify::new()),
            inner: Mutex::default(),
            plan,
        };
        sim.journal.note(format_args!("seed {}: {:?}", sim.seed, sim.plan));
        sim
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The true time.
    fn now(&self) -> Timestamp {
        START.plus_ms(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn signing_key(&self) -> SigningKey {
        signing_key()
    }

    /// Whether faults have stopped.
    fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    fn calm(&self) {
        self.journal.note(format_args!("faults stop"));
        self.calm.store(true, Ordering::Relaxed);
        self.rail.down_for(Duration::ZERO);
        self.stage_down_until.store(0, Ordering::Relaxed);
    }

    fn is_stage_down(&self) -> bool {
        self.now().0 < self.stage_down_until.load(Ordering::Relaxed)
    }

    fn stage_down_for(&self, ms: u64) {
        self.stage_down_until.store(self.now().plus_ms(ms).0, Ordering::Relaxed);
    }

    /// How far the clock of a new process is off, in milliseconds.
    fn skew(&self) -> i64 {
        let most = self.skew_ms.load(Ordering::Relaxed);
        let drawn = i64::try_from(self.chance.below(most.unsigned_abs() * 2 + 1)).unwrap_or(0);
        drawn - most
    }

    /// How far the clock of a process is off after a jump, in milliseconds.
    fn jump(&self) -> i64 {
        let most = 120_000;
        i64::try_from(self.chance.below(most * 2)).unwrap_or(0) - 120_000
    }

    /// An inbox has grown; the notice may be lost while there are faults.
    fn grew(&self, shard: ShardId) {
        if !self.is_calm() && self.chance.hits(self.plan.lost_notices) {
            self.journal.fault("notice lost");
            return;
        }
        self.lock().grown.insert(shard);
        self.changed.notify_one();
    }

    /// A node takes things from clients from now on.
    fn takes(&self, engine: &Arc<Engine>) {
        let mut inner = self.lock();
        inner.engines.retain(|engine| engine.strong_count() > 0);
        inner.engines.push(Arc::downgrade(engine));
    }

    /// One of the nodes that lived at some time, if it still does anything.
    fn taker(&self) -> Option<Arc<Engine>> {
        let inner = self.lock();
        self.chance.one(&inner.engines).and_then(Weak::upgrade)
    }

    fn take_grown(&self) -> BTreeSet<ShardId> {
        std::mem::take(&mut self.lock().grown)
    }

    /// A client was told that its contribution is durable.
    fn acknowledge(&self, shard: ShardId, arrival: u64, id: ContributionId) {
        let other = self.lock().acknowledged.insert(id, (shard, arrival, id));
        if other.is_some_and(|other| other != (shard, arrival, id)) {
            self.journal.breach(format!("I1: {id} was acknowledged twice, differently"));
        }
    }

    fn acknowledged(&self) -> Vec<Acknowledged> {
        self.lock().acknowledged.values().copied().collect()
    }

    /// A contribution killed its node.
    fn killed_by(&self, key: &str) {
        self.journal.note(format_args!("{key} kills its node"));
        self.journal.fault("node killed by a contribution");
        let kills = {
            let mut inner = self.lock();
            let kills = inner.kills.entry(key.to_owned()).or_default();
            *kills += 1;
            *kills
        };
        self.suicides.fetch_add(1, Ordering::Relaxed);
        if kills > self.witness.kills_allowed(key) {
            self.journal.breach(format!("I11: {key} killed its node {kills} times"));
        }
    }
}

fn signing_key() -> SigningKey {
    SigningKey::from_seed("example.com/log", &[7; 32]).expect("the name is a log's origin")
}
