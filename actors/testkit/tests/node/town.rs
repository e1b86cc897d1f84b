//! One person, one shard, one node at a time over what lasts.

use gristmill_actors::engine::{Engine, MeasureError, Measured, Measurer, Ports};
use gristmill_actors::membership::Place;
use gristmill_actors::node::{Node, Parts};
use gristmill_actors::ports::{Clock, Intake, KeyStore, Reads, ShardStore, StoreError, Submitted};
use gristmill_actors::rail::{BookState, BoxFuture, KeyScope, RailProfile};
use gristmill_actors::registry::Registry;
use gristmill_actors::stage::{
    Context, Effect, Nothing, Outcome, Settings, SettingsError, Stage, StageError, StageType,
};
use gristmill_actors::stages::{self, Needs};
use gristmill_actors::trace_log::TraceLog;
use gristmill_testkit::checkers::{self, Published, Remains};
use gristmill_testkit::faults::{Faults, FaultyStore};
use gristmill_testkit::memory_keys::MemoryKeys;
use gristmill_testkit::memory_log::MemoryLog;
use gristmill_testkit::memory_media::MemoryMedia;
use gristmill_testkit::memory_register::MemoryRegister;
use gristmill_testkit::memory_store::{MemoryStore, Shape, ShardRows};
use gristmill_testkit::model_rail::ModelRail;
use gristmill_testkit::virtual_clock::VirtualClock;
use gristmill_trace::key::SigningKey;
use gristmill_trace::verify;
use gristmill_workflows::codec::encode;
use gristmill_workflows::id::{Arrival, ContributionId, IdKey, ShardId};
use gristmill_workflows::inbox::{Item, Verb};
use gristmill_workflows::program::Program;
use gristmill_workflows::shard::World;
use gristmill_workflows::submission::{Consent, Mark, Modality, Scope, Submission, Withdrawal};
use gristmill_workflows::time::Timestamp;
use serde_json::json;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

pub const SHARD: ShardId = ShardId(0);
pub const PERSON: &str = "person";

/// Until when a contribution of this name sleeps that came to the gate now; none lets it through.
type Naps = Box<dyn FnMut(&str, Timestamp) -> Option<Timestamp> + Send>;

/// Attempts of a stage: whether they were let through, and when each began.
#[derive(Default)]
pub struct Attempts {
    pub open: bool,
    pub flaky: Vec<Timestamp>,
    /// Attempts of contributions named `away` that were let through.
    pub away: usize,
    pub naps: Option<Naps>,
}

/// How often a contribution named `flaky` fails.
pub const FLAKY_TIMES: usize = 5;

/// Refuses contributions named `stuck` for good until it is opened, and those named `flaky` a few
/// times; is unavailable for those named `away` until it is opened. Others may sleep.
struct Gate(Arc<Mutex<Attempts>>);

impl Stage for Gate {
    const NAME: &'static str = "gate";
    const EFFECT: Effect = Effect::Idempotent;
    type Input = Nothing;
    type Output = Nothing;

    fn new(_: Settings) -> Result<Self, SettingsError> {
        Err(SettingsError::Meaning("this stage is made by the test".to_owned()))
    }

    async fn run(&self, cx: &Context, _: Nothing) -> Result<Outcome<Nothing>, StageError> {
        let mut attempts = self.0.lock().unwrap();
        let (name, now) = (cx.submission().idempotency_key.as_str(), cx.now());
        if let Some(until) = attempts.naps.as_mut().and_then(|naps| naps(name, now)) {
            return Ok(Outcome::ParkUntil(until));
        }
        match name {
            _ if name.starts_with("stuck") && !attempts.open => {
                Err(StageError::Permanent("it is closed".to_owned()))
            }
            "away" if !attempts.open => Err(StageError::Unavailable("it is closed".to_owned())),
            "away" => {
                attempts.away += 1;
                Ok(Outcome::done(Nothing {}))
            }
            "flaky" => {
                attempts.flaky.push(now);
                match attempts.flaky.len() <= FLAKY_TIMES {
                    true => Err(StageError::Retryable("it is flaky".to_owned())),
                    false => Ok(Outcome::done(Nothing {})),
                }
            }
            _ => Ok(Outcome::done(Nothing {})),
        }
    }
}

struct NoMeasurer;

impl Measurer for NoMeasurer {
    fn measure(&self, _: Vec<u8>, _: Modality) -> BoxFuture<'_, Result<Measured, MeasureError>> {
        Box::pin(async { Err(MeasureError::Verdict("undecodable")) })
    }
}

fn program() -> Program {
    let program = json!({
        "id": "plain", "workflow": "plain", "currency": "KRW", "budget_micro": 900_000_000_u64,
        "purpose": "ai-training", "day_cap_micro": null, "utc_offset_minutes": 540,
        "terms": {"version": "1", "sha256": "ab".repeat(32), "uri": "terms/1.txt"},
        "rates": {"version": 1, "bands": [{"from": 2_000, "bp": 10_000}], "demand_bp": 10_000},
        "tasks": {"small": {"modality": "none", "languages": [], "unit": "item",
            "rate_micro": 7_000_000, "item_cap_micro": 50_000_000, "floor": 3_000}},
    });
    serde_json::from_value(program).unwrap()
}

fn signing_key() -> SigningKey {
    SigningKey::from_seed("example.com/log", &[7; 32]).unwrap()
}

/// One node at a time over what lasts.
pub struct Town {
    pub store: MemoryStore,
    pub faults: Faults,
    keys: MemoryKeys,
    media: MemoryMedia,
    log: MemoryLog,
    pub rail: Arc<ModelRail>,
    clock: Arc<VirtualClock>,
    pub gate: Arc<Mutex<Attempts>>,
    /// The version of the workflow that the next node has.
    pub version: u32,
    /// Whether the next node has the program.
    pub has_program: bool,
    /// How long the next node keeps finished journeys.
    pub retention: Option<Duration>,
    shares: bool,
    key: IdKey,
    node: Option<Node>,
    starts: u128,
    acknowledged: Vec<(ShardId, Arrival, ContributionId)>,
}

impl Town {
    pub fn new() -> Self {
        let profile = RailProfile {
            name: "model".to_owned(),
            key_window: Duration::from_secs(86_400),
            settle_time: Duration::from_secs(1),
            max_batch: 10,
            key_scope: KeyScope::Item,
        };
        Self {
            store: MemoryStore::new(Shape { shards: 1, ..Shape::default() }),
            faults: Faults::default(),
            keys: MemoryKeys::new([1; 32]),
            media: MemoryMedia::new(),
            log: MemoryLog::new(),
            rail: Arc::new(ModelRail::new(profile)),
            clock: Arc::new(VirtualClock::new(1)),
            gate: Arc::default(),
            version: 1,
            has_program: true,
            retention: None,
            shares: false,
            key: IdKey::new([2; 32]),
            node: None,
            starts: 0,
            acknowledged: Vec::new(),
        }
    }

    /// Where nodes share the store.
    pub fn among_others() -> Self {
        let town = Self::new();
        let shape = Shape { shards: 1, lease_ttl_ms: 5_000, ..Shape::default() };
        let store = MemoryStore::shared(shape, town.clock.clone());
        Self { store, shares: true, ..town }
    }

    /// What a newer binary does to the rows of a shard that nobody runs, or takes back.
    pub fn change_rows(&self, change: impl FnOnce(&mut ShardRows)) {
        let mut rows = self.store.rows(SHARD).unwrap();
        change(&mut rows);
        self.store.replace_rows(SHARD, rows);
    }

    /// Until the node has that many shards.
    pub async fn holds(&self, shards: usize) {
        let node = self.node.as_ref().expect("a node runs");
        let mut holdings = node.holdings().expect("it is among others");
        let waited = holdings.wait_for(|it| it.held.len() == shards);
        let waited = tokio::time::timeout(Duration::from_secs(600), waited).await;
        assert!(waited.is_ok_and(|found| found.is_ok()), "not {shards} shards");
    }

    fn faulty(&self) -> FaultyStore<MemoryStore> {
        FaultyStore::new(self.store.clone(), self.faults.clone())
    }

    pub async fn start(&mut self) {
        self.starts += 1;
        assert!(self.starts < 4, "it dies again and again");
        let store = Arc::new(self.faulty());
        let ports = Ports {
            store: store.clone(),
            content: store,
            keys: Arc::new(self.keys.clone()),
            media: Arc::new(self.media.clone()),
            clock: self.clock.clone(),
            readers: None,
        };
        let payouts = Arc::new(OnceLock::new());
        let needs = Needs {
            ports: ports.clone(),
            measurer: Arc::new(NoMeasurer),
            payouts: payouts.clone(),
            rail: "model".to_owned(),
        };
        let gate = self.gate.clone();
        let mut types = stages::shipped(&needs);
        types.push(StageType::with(move |_| Ok(Gate(gate.clone()))));
        let file = json!({"name": "plain", "version": self.version,
        "stages": ["consent", "gate", "fixed_score", "valuation", "trace", "payout"],
        "stage": {
            "consent": {"requests": ["hold"]},
            "fixed_score": {"settings": {"score": 8_000, "units": 1}},
            "valuation": {"requests": ["reserve"]},
            "trace": {"requests": ["log"]},
            "payout": {"requests": ["log", "pay"]},
        }});
        let registry = Registry::new(&types, vec![serde_json::from_value(file).unwrap()]).unwrap();
        let world = World {
            shards: 1,
            key: self.key.clone(),
            programs: self
                .has_program
                .then(|| ("plain".to_owned(), program()))
                .into_iter()
                .collect(),
            workflows: registry.definitions(),
        };
        let parts = Parts {
            world: Arc::new(world),
            registry,
            ports,
            log: TraceLog::open(Arc::new(self.log.clone()), signing_key()).await.unwrap(),
            payouts,
            owner: self.starts,
            window: 16,
            retention: self.retention,
            pauses: Arc::default(),
            place: self.shares.then(|| Place {
                members: Arc::new(self.store.clone()),
                register: Arc::new(MemoryRegister::default()),
                name: "node".to_owned(),
                address: String::new(),
            }),
        };
        self.node = Some(Node::start(parts, self.rail.clone()).await.unwrap());
    }

    /// One shard's rows as they stand.
    pub fn rows(&self) -> ShardRows {
        self.store.rows(SHARD).unwrap()
    }

    /// Until nothing moves; a process that dies is followed by another one.
    pub async fn rest(&mut self) {
        loop {
            let node = self.node.as_ref().expect("a node runs");
            let rested = tokio::time::timeout(Duration::from_secs(86_400), node.rest(60_000)).await;
            if rested.expect("it comes to rest").is_ok() {
                return;
            }
            self.restart().await;
        }
    }

    /// The process is gone, another one begins.
    async fn restart(&mut self) {
        let dead = self.node.take().expect("a node runs");
        dead.stop(Duration::ZERO).await;
        self.faults.revive();
        self.start().await;
    }

    fn intake(&self, item: &Item, identity: [u8; 16], mark: Option<Mark>) -> Intake {
        Intake {
            shard: SHARD,
            lane: item.lane(),
            item: encode(item).unwrap(),
            identity: Some((identity, identity)),
            mark: mark.map(|mark| (self.key.contributor(PERSON), mark)),
            reads: Reads::of(item, &self.key),
        }
    }

    /// What a client does: the same item until it is acknowledged.
    async fn submit(&mut self, item: Item, identity: u8, mark: Option<Mark>) -> Arrival {
        let identity = match &item {
            Item::Contribution(submission) => submission.id.mac,
            _ => [identity; 16],
        };
        let intake = self.intake(&item, identity, mark);
        loop {
            let answers = self.faulty().submit(vec![intake.clone()]).await;
            self.node.as_ref().expect("a node runs").notify(SHARD);
            match answers.as_deref() {
                Ok([Submitted::Accepted(arrival) | Submitted::Same(arrival)]) => return *arrival,
                Ok(other) => panic!("{other:?}"),
                Err(StoreError::Failed { .. }) => self.restart().await,
                Err(_) => tokio::time::advance(Duration::from_millis(50)).await,
            }
        }
    }

    pub async fn hand_in(&mut self, name: &str) {
        let id = self.key.contribution(PERSON, name);
        let slot = self.keys.allocate(SHARD, 1).await.unwrap()[0];
        let submission = Submission {
            id,
            contributor: PERSON.to_owned(),
            idempotency_key: name.to_owned(),
            program: "plain".to_owned(),
            task: "small".to_owned(),
            modality: Modality::None,
            language: None,
            media: None,
            transcript: None,
            captured_at: None,
            data_key: slot,
            at: self.clock.now(),
        };
        let arrival = self.submit(Item::Contribution(submission), 0, None).await;
        self.acknowledged.push((SHARD, arrival, id));
    }

    /// The same contribution once more is the same one.
    pub async fn hand_in_again(&mut self, name: &str) {
        self.hand_in(name).await;
        let again = self.acknowledged.pop().expect("it was just acknowledged");
        assert!(self.acknowledged.contains(&again), "{name} was taken anew");
    }

    pub async fn consent(&mut self) {
        let consent = Consent {
            contributor: PERSON.to_owned(),
            grant: "g".to_owned(),
            program: "plain".to_owned(),
            purposes: vec!["ai-training".to_owned()],
            modalities: vec![Modality::None],
            terms: program().terms.into(),
            expires_at: None,
            at: self.clock.now(),
        };
        self.submit(Item::Consent(consent), 1, None).await;
    }

    pub async fn retry(&mut self, name: &str) {
        let id = self.key.contribution(PERSON, name);
        self.submit(Item::Command { id, verb: Verb::Retry }, 2, None).await;
    }

    pub async fn pause(&mut self, name: &str) {
        let id = self.key.contribution(PERSON, name);
        self.submit(Item::Command { id, verb: Verb::Pause }, 5, None).await;
    }

    pub async fn withdraw(&mut self) {
        let (item, mark) = self.taking_back(Scope::All);
        self.submit(item, 3, Some(mark)).await;
    }

    fn taking_back(&self, scope: Scope) -> (Item, Mark) {
        let at = self.clock.now();
        let item = Withdrawal { contributor: PERSON.to_owned(), scope: scope.clone(), at };
        (Item::Withdrawal(item), Mark { scope, position: 0, at })
    }

    /// What a node puts into the inbox for somebody who takes consent back.
    pub fn withdrawal(&self, scope: Scope) -> Intake {
        let identity = if scope == Scope::All { 3 } else { 4 };
        let (item, mark) = self.taking_back(scope);
        self.intake(&item, [identity; 16], Some(mark))
    }

    /// Puts it there, and says so.
    pub async fn put(&self, items: Vec<Intake>) -> Vec<Submitted> {
        let answers = self.store.submit(items).await.unwrap();
        self.node.as_ref().expect("a node runs").notify(SHARD);
        answers
    }

    pub fn engine(&self) -> Arc<Engine> {
        self.node.as_ref().expect("a node runs").engine().clone()
    }

    /// How many settled, and how many ended otherwise.
    pub fn ended(&self) -> (u64, u64) {
        let glance = self.node.as_ref().expect("a node runs").glance();
        (glance.settled, glance.refused)
    }

    /// Journeys in memory.
    pub fn moving(&self) -> usize {
        self.node.as_ref().expect("a node runs").glance().moving
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Objects of the log that say which entry has which index.
    pub fn sequenced_objects(&self) -> usize {
        self.log.objects().keys().filter(|path| path.starts_with("sequenced/")).count()
    }

    /// How often an actor lost its memory.
    pub fn restarts(&self) -> u64 {
        self.engine().counters.restarts.load(Ordering::Relaxed)
    }

    /// Time goes by on the paused clock, and what is due in it happens when it is due.
    pub async fn pass(&self, time: Duration) {
        tokio::time::sleep_until(tokio::time::Instant::now() + time).await;
    }

    /// Until so many journeys settled, whatever else is still under way.
    pub async fn settled(&self, count: u64) {
        let node = self.node.as_ref().expect("a node runs");
        let mut looks = tokio::time::interval(Duration::from_millis(1));
        let settled = async {
            while node.glance().settled < count {
                looks.tick().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), settled).await.expect("it settles");
    }

    /// Entries that the checkpoint covers, and those that have an index.
    pub async fn published(&self) -> (u64, u64) {
        let log = TraceLog::open(Arc::new(self.log.clone()), signing_key()).await.unwrap();
        (log.published_size(), log.sequenced_size())
    }

    /// Ends in order; a process that dies on the way is followed by another one.
    pub async fn stop(&mut self) {
        while !self.node.take().expect("a node runs").stop(Duration::from_secs(60)).await {
            self.faults.revive();
            self.start().await;
            self.rest().await;
        }
    }

    /// The rows that are left, once nothing waits any more: each contribution was paid once, and
    /// the audit finds nothing.
    pub fn audited(&self) -> ShardRows {
        let rows = self.store.rows(SHARD).unwrap();
        assert_eq!((rows.active.len(), rows.intake.len(), rows.control.len()), (0, 0, 0));
        assert_eq!((rows.outbox.len(), rows.erasures.len()), (0, 0));
        let lines = self.rail.lines();
        assert_eq!(lines.len(), self.acknowledged.len(), "{lines:?}");
        assert!(lines.iter().all(|line| line.state == BookState::Paid));
        let objects = self.log.objects();
        let (mut entries, key) = (Vec::new(), signing_key());
        let mut fetch = |path: &str| Ok(objects.get(path).cloned());
        let report = verify::log(&mut fetch, key.verifier(), |entry| {
            entries.push(entry.bytes.to_vec());
        });
        let report = report.unwrap();
        assert!(report.is_whole(), "{:?}", report.faults);
        let checkpoint = report.checkpoint;
        let current = Published { size: checkpoint.size, root: checkpoint.root };
        let remains = Remains {
            key: self.key.clone(),
            store: &self.store,
            entries: &entries,
            published: &[current],
            current: Some(current),
            rail: &lines,
            acknowledged: &self.acknowledged,
        };
        assert_eq!(checkers::lines(&checkers::check(&remains).unwrap()), Vec::<String>::new());
        rows
    }
}
