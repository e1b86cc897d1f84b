//! The embedded store: shards and content claims on one fjall database of this process (ADR 0001).
//!
//! All writes go through one thread, which makes every call that waits durable by one fsync. Reads
//! run where they are asked for if that thread may wait, else on blocking threads. After a failed
//! write every call fails and the process has to end; what the failed group wrote may be there or
//! not, and a resend under the same seq tells.

mod engine;
mod files;
mod group;
mod keys;
mod limits;
mod memory;
mod open_error;
mod reads;
mod register;
mod retired;
mod torn;
mod writer;

pub use open_error::OpenError;

use self::engine::{Engine, Space};
use self::files::Acknowledged;
use self::keys::Tag;
use self::memory::Marked;
use self::writer::{Job, Reply, Writer};
use crate::threads;
use gristmill_actors::ports::{
    Claimed, Committed, ContentIndex, Fetch, Intake, Lanes, Loaded, Renewed, ShardStore,
    StoreError, StoredContributor, StoredJourney, Submitted,
};
use gristmill_actors::rail::BoxFuture;
use gristmill_workflows::commit::{Commit, Place};
use gristmill_workflows::id::{Arrival, ContributionId, ContributorKey, ShardId};
use gristmill_workflows::inbox::Lane;
use gristmill_workflows::lease::{Fence, Lease};
use gristmill_workflows::time::Timestamp;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

/// What a store is opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How many shards, 1 to 4096, if the store is made now; one that stands keeps its number.
    pub shards: u16,
    /// Items that a shard's intake lane holds at the most; a further one is answered `Full`.
    pub intake_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { shards: 64, intake_max: limits::INTAKE_MAX }
    }
}

/// The store. Dropping it waits for what was handed to it, then closes it.
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    shards: u16,
    /// None once it is being dropped.
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    watchdog: Option<(std::sync::mpsc::Sender<()>, JoinHandle<()>)>,
}

impl std::fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedStore").field("shards", &self.shards).finish_non_exhaustive()
    }
}

/// What callers, the writer thread and the watchdog share.
struct Shared {
    engine: Engine,
    marked: RwLock<Marked>,
    /// A shard's intake items that come up to this arrival number are noted as let in: its owner has
    /// room for them. What is noted for nothing is suspected after an unclean end, at the worst.
    ahead: Vec<AtomicU64>,
    failure: watch::Sender<Option<StoreError>>,
    progress: Progress,
    /// Held until the engine above is closed.
    _lock: File,
}

impl Shared {
    fn failure(&self) -> Option<StoreError> {
        self.failure.borrow().clone()
    }

    /// Fails the store for good; only the first failure counts.
    fn fail(&self, detail: String, full: bool) {
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            if first {
                *failure = Some(StoreError::Failed { detail, full });
            }
            first
        });
    }
}

/// When the writer thread began its present group.
struct Progress {
    base: Instant,
    /// Milliseconds since the base plus one; zero: idle.
    began: AtomicU64,
}

impl Progress {
    fn new() -> Self {
        Self { base: Instant::now(), began: AtomicU64::new(0) }
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn begin(&self) {
        self.began.store(self.elapsed_ms() + 1, Ordering::Relaxed);
    }

    fn end(&self) {
        self.began.store(0, Ordering::Relaxed);
    }

    fn busy(&self) -> Duration {
        match self.began.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            began => Duration::from_millis((self.elapsed_ms() + 1).saturating_sub(began)),
        }
    }
}

impl EmbeddedStore {
    /// Opens the store in a directory, which is made if there is none. Blocks; takes as long as the
    /// engine replays its journal (ADR 0001: under 2 s).
    pub fn open(dir: &Path, options: Options) -> Result<Self, OpenError> {
        let lock = files::lock(dir)?;
        let live = files::live(dir, options.shards)?;
        let identity = files::identity(&live)?;
        let (acknowledged, acknowledged_number) = Acknowledged::open(&live)?;
        let engine_dir = live.join("engine");
        if !Engine::stands(&engine_dir)? {
            return Err(files::damaged("the file engine/version is missing"));
        }
        let (engine, torn) = Engine::open_torn(&engine_dir)?;
        let number = check(&engine, &identity.uuid)?;
        if number < acknowledged_number {
            drop(engine);
            torn.map_or(Ok(()), |torn| torn.restore())?;
            let lost = acknowledged_number - number;
            return Err(files::damaged(format!("the last {lost} acknowledged groups are missing")));
        }
        let shards = memory::shard_rows(&engine.view(), identity.shards)?;
        let marked = RwLock::new(memory::marked(&engine.view(), identity.shards)?);
        let failure = watch::Sender::new(None);
        let progress = Progress::new();
        let ahead = shards.iter().map(|_| AtomicU64::new(0)).collect();
        let shared = Arc::new(Shared { engine, marked, ahead, failure, progress, _lock: lock });
        let (jobs, waiting) = mpsc::channel(limits::JOBS_MAX);
        let writer = Writer {
            shared: Arc::clone(&shared),
            jobs: waiting,
            shards,
            number,
            acknowledged,
            intake_max: options.intake_max,
        };
        let name = |name: &str| thread::Builder::new().name(name.to_owned());
        let writer = name("store-writer").spawn(move || writer.run())?;
        let (close, closed) = std::sync::mpsc::channel();
        let watched = Arc::clone(&shared);
        let (every, stall_max) = (limits::WATCH_EVERY, limits::STALL_MAX);
        let watchdog = name("store-watchdog")
            .spawn(move || writer::watch(&watched, &closed, every, stall_max))?;
        Ok(Self {
            shared,
            shards: identity.shards,
            jobs: Some(jobs),
            writer: Some(writer),
            watchdog: Some((close, watchdog)),
        })
    }

    fn check_shard(&self, shard: ShardId) -> Result<(), StoreError> {
        let stands = shard.0 < self.shards;
        stands.then_some(()).ok_or_else(|| reads::no_shard(shard, usize::from(self.shards)))
    }

    /// Hands a call to the writer thread and waits for its answer, or for the store to fail.
    async fn write<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StoreError> {
        let mut failure = self.shared.failure.subscribe();
        if let Some(failure) = failure.borrow_and_update().clone() {
            return Err(failure);
        }
        let (reply, answer) = oneshot::channel();
        let answered = async {
            let jobs = self.jobs.as_ref().ok_or_else(writer_ended)?;
            jobs.send(job(reply)).await.map_err(|_| writer_ended())?;
            answer.await.unwrap_or_else(|_| Err(writer_ended()))
        };
        tokio::select! {
            biased;
            answer = answered => answer,
            failed = failure.wait_for(Option::is_some) => {
                Err(failed.ok().and_then(|failed| failed.clone()).unwrap_or_else(writer_ended))
            }
        }
    }

    /// Runs a read: on this thread if it may wait for the disk, else on a blocking one.
    async fn read<T: Send + 'static>(
        &self,
        shard: ShardId,
        read: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.check_shard(shard)?;
        if let Some(failure) = self.shared.failure() {
            return Err(failure);
        }
        if threads::may_wait() {
            return read(&self.shared);
        }
        let shared = Arc::clone(&self.shared);
        let read = tokio::task::spawn_blocking(move || read(&shared)).await;
        read.unwrap_or_else(|error| {
            Err(StoreError::Failed { detail: format!("a read ended: {error}"), full: false })
        })
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.jobs = None;
        // A writer that does not come back would keep the process from ending.
        let is_stuck = self.shared.failure().is_some() && !self.shared.progress.busy().is_zero();
        if let Some(writer) = self.writer.take().filter(|_| !is_stuck) {
            drop(writer.join());
        }
        if let Some((close, watchdog)) = self.watchdog.take() {
            drop(close);
            drop(watchdog.join());
        }
    }
}

fn writer_ended() -> StoreError {
    StoreError::Failed { detail: "the writer thread ended".to_owned(), full: false }
}

/// Checks that the engine's rows belong to the identity, and reads the number of its last group.
fn check(engine: &Engine, uuid: &[u8; 16]) -> Result<u64, OpenError> {
    let view = engine.view();
    for space in Space::ALL {
        let row = view.get(space, &keys::node(Tag::Uuid)).map_err(memory::read_error)?;
        if row.as_deref() != Some(uuid.as_slice()) {
            return Err(files::damaged(format!("the keyspace {space:?} is not this store's")));
        }
    }
    let number = view.get(Space::Queue, &keys::node(Tag::Number)).map_err(memory::read_error)?;
    let number = number.and_then(|number| keys::bytes_at(&number, 0)).map(u64::from_be_bytes);
    number.ok_or_else(|| files::damaged("the number of the last group is missing"))
}

impl ShardStore for EmbeddedStore {
    fn shards(&self) -> u16 {
        self.shards
    }

    fn claim(&self, shard: ShardId, owner: u128) -> BoxFuture<'_, Result<Lease, StoreError>> {
        Box::pin(async move {
            self.check_shard(shard)?;
            let lease = self.write(|reply| Job::Claim(shard, owner, reply)).await?;
            self.shared.ahead[usize::from(shard.0)].store(0, Ordering::Relaxed);
            Ok(lease)
        })
    }

    fn renew(
        &self,
        owner: u128,
        shards: Vec<ShardId>,
    ) -> BoxFuture<'_, Result<Vec<Renewed>, StoreError>> {
        Box::pin(async move {
            let leases = self.leases(shards).await?.into_iter();
            let own = |lease: Lease| lease.renew(owner, Timestamp(u64::MAX), 0);
            let renewed = |lease| own(lease).map_or(Renewed::Lost, |own| Renewed::Until(own.until));
            Ok(leases.map(renewed).collect())
        })
    }

    fn release(&self, shard: ShardId, owner: u128) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.check_shard(shard)?;
            self.write(|reply| Job::Release(shard, owner, reply)).await
        })
    }

    fn leases(&self, shards: Vec<ShardId>) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>> {
        Box::pin(async move {
            shards.iter().try_for_each(|shard| self.check_shard(*shard))?;
            self.write(|reply| Job::Leases(shards, reply)).await
        })
    }

    fn submit(&self, items: Vec<Intake>) -> BoxFuture<'_, Result<Vec<Submitted>, StoreError>> {
        Box::pin(async move {
            items.iter().try_for_each(|item| self.check_shard(item.shard))?;
            self.write(|reply| Job::Submit(items, reply)).await
        })
    }

    fn commit(
        &self,
        shard: ShardId,
        fence: Fence,
        commit: Arc<Commit>,
    ) -> BoxFuture<'_, Result<Committed, StoreError>> {
        Box::pin(async move {
            self.check_shard(shard)?;
            self.write(|reply| Job::Commit(shard, fence, commit, reply)).await
        })
    }

    fn load(&self, shard: ShardId) -> BoxFuture<'_, Result<Loaded, StoreError>> {
        Box::pin(self.read(shard, move |shared| reads::load(&shared.engine.view(), shard)))
    }

    fn fetch(&self, shard: ShardId, fetch: Fetch) -> BoxFuture<'_, Result<Lanes, StoreError>> {
        Box::pin(self.read(shard, move |shared| {
            let ahead = &shared.ahead[usize::from(shard.0)];
            reads::fetch(&shared.engine.view(), ahead, shard, fetch)
        }))
    }

    fn inbox(
        &self,
        shard: ShardId,
        lane: Lane,
        after: Option<Arrival>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Arrival, Vec<u8>)>, StoreError>> {
        let tag = keys::lane(lane);
        Box::pin(self.read(shard, move |shared| {
            reads::page(&shared.engine.view(), shard, tag, after, limit)
        }))
    }

    fn inbox_items(
        &self,
        shard: ShardId,
        arrivals: Vec<Arrival>,
    ) -> BoxFuture<'_, Result<Vec<Option<Vec<u8>>>, StoreError>> {
        Box::pin(
            self.read(shard, move |shared| {
                reads::inbox_items(&shared.engine.view(), shard, &arrivals)
            }),
        )
    }

    fn queued(&self, shard: ShardId) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.read(shard, move |shared| reads::queued(&shared.engine.view(), shard)))
    }

    fn contributors(
        &self,
        shard: ShardId,
        keys: Vec<ContributorKey>,
    ) -> BoxFuture<'_, Result<Vec<StoredContributor>, StoreError>> {
        Box::pin(self.read(shard, move |shared| {
            reads::contributors(&shared.engine.view(), &shared.marked, shard, &keys)
        }))
    }

    fn journeys(
        &self,
        shard: ShardId,
        arrivals: Vec<Arrival>,
    ) -> BoxFuture<'_, Result<Vec<Option<StoredJourney>>, StoreError>> {
        Box::pin(
            self.read(shard, move |shared| {
                reads::journeys(&shared.engine.view(), shard, &arrivals)
            }),
        )
    }

    fn find(
        &self,
        shard: ShardId,
        identities: Vec<[u8; 16]>,
    ) -> BoxFuture<'_, Result<Vec<Option<(Arrival, [u8; 16])>>, StoreError>> {
        Box::pin(
            self.read(shard, move |shared| reads::find(&shared.engine.view(), shard, &identities)),
        )
    }

    fn timers(
        &self,
        shard: ShardId,
        until: Timestamp,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Timestamp, Arrival)>, StoreError>> {
        Box::pin(
            self.read(shard, move |shared| {
                reads::timers(&shared.engine.view(), shard, until, limit)
            }),
        )
    }

    fn sequenced(
        &self,
        shard: ShardId,
        position: u64,
    ) -> BoxFuture<'_, Result<Option<(u64, Vec<u8>)>, StoreError>> {
        Box::pin(
            self.read(shard, move |shared| {
                reads::sequenced(&shared.engine.view(), shard, position)
            }),
        )
    }

    fn sequenced_down(
        &self,
        shard: ShardId,
        position: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(u64, Vec<u8>)>, StoreError>> {
        Box::pin(self.read(shard, move |shared| {
            reads::sequenced_down(&shared.engine.view(), shard, position, limit)
        }))
    }

    fn list(
        &self,
        shard: ShardId,
        place: Place,
        after: Option<Arrival>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Arrival, Vec<u8>)>, StoreError>> {
        Box::pin(self.read(shard, move |shared| {
            let view = shared.engine.view();
            match place {
                Place::Active => reads::page(&view, shard, Tag::Active, after, limit),
                Place::Finished => reads::finished(&view, shard, after, limit),
            }
        }))
    }
}

impl ContentIndex for EmbeddedStore {
    fn claim(
        &self,
        claims: Vec<([u8; 32], ContributionId)>,
    ) -> BoxFuture<'_, Result<Vec<Claimed>, StoreError>> {
        Box::pin(self.write(|reply| Job::ClaimContents(claims, reply)))
    }

    fn take_over(
        &self,
        content: [u8; 32],
        from: ContributionId,
        to: ContributionId,
    ) -> BoxFuture<'_, Result<Claimed, StoreError>> {
        Box::pin(self.write(move |reply| Job::TakeOver(content, from, to, reply)))
    }
}

#[cfg(test)]
mod tests;
