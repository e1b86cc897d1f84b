//! The store in memory: every clause of the ports, no disk.
//!
//! The value outlives the nodes of a test: a clone shares the rows, so dropping a node and starting
//! another one on a clone is a process death with a durable store. Faults come from outside, see
//! [`crate::faults`].

mod membership;
mod shard_rows;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gristmill_actors::ports::{
    Claimed, Clock, Committed, ContentIndex, Fetch, Intake, Lanes, Loaded, Notice, Renewed,
    ShardStore, StoreError, StoredContributor, StoredJourney, Submitted,
};
use gristmill_actors::rail::BoxFuture;
use gristmill_workflows::commit::{Commit, Place};
use gristmill_workflows::id::{Arrival, ContributionId, ContributorKey, ShardId};
use gristmill_workflows::inbox::Lane;
use gristmill_workflows::lease::{Fence, Lease};
use gristmill_workflows::placement::Member;
use gristmill_workflows::time::Timestamp;
use tokio::sync::broadcast;

use shard_rows::LeaseTime;
pub use shard_rows::ShardRows;

/// What a store is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// How many shards, at least 1.
    pub shards: u16,
    /// Items that a shard's intake lane holds at the most; a further one is answered `Full`.
    pub intake_high_water: usize,
    /// How long a lease lasts, in milliseconds. Zero: only one process uses the store at a time, and
    /// a claim is never refused.
    pub lease_ttl_ms: u64,
}

impl Default for Shape {
    fn default() -> Self {
        Self { shards: 4, intake_high_water: 100_000, lease_ttl_ms: 0 }
    }
}

/// The store. Clones share its rows.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    inner: Arc<Inner>,
}

struct Inner {
    shape: Shape,
    shards: Vec<Mutex<ShardRows>>,
    contents: Mutex<HashMap<[u8; 32], ContributionId>>,
    clock: Option<Arc<dyn Clock>>,
    members: Mutex<BTreeMap<u128, Member>>,
    notices: broadcast::Sender<Notice>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("shape", &self.shape).finish_non_exhaustive()
    }
}

impl MemoryStore {
    /// An empty store of one process.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        Self::make(shape, None)
    }

    /// An empty store that many nodes share: leases and members live by this clock.
    #[must_use]
    pub fn shared(shape: Shape, clock: Arc<dyn Clock>) -> Self {
        Self::make(shape, Some(clock))
    }

    fn make(shape: Shape, clock: Option<Arc<dyn Clock>>) -> Self {
        let shards = (0..shape.shards).map(|_| Mutex::default()).collect();
        let (notices, _) = broadcast::channel(gristmill_actors::limits::NOTICES_MAX);
        let (contents, members) = (Mutex::default(), Mutex::default());
        Self { inner: Arc::new(Inner { shape, shards, contents, clock, members, notices }) }
    }

    fn lease_time(&self) -> LeaseTime {
        let now = self.inner.clock.as_ref().map_or(Timestamp(0), |clock| clock.now());
        LeaseTime { now, ttl_ms: self.inner.shape.lease_ttl_ms }
    }

    /// Nobody being there to hear it is fine.
    fn notice(&self, notice: Notice) {
        drop(self.inner.notices.send(notice));
    }

    /// A copy of one shard's rows, for checkers; none for a shard that the store does not have.
    #[must_use]
    pub fn rows(&self, shard: ShardId) -> Option<ShardRows> {
        self.lock(shard).ok().map(|rows| rows.clone())
    }

    /// Looks at one shard's rows; none for a shard that the store does not have.
    pub fn look<T>(&self, shard: ShardId, look: impl FnOnce(&ShardRows) -> T) -> Option<T> {
        self.lock(shard).ok().map(|rows| look(&rows))
    }

    /// Replaces one shard's rows: how a test damages a store. Nothing happens to a shard that the
    /// store does not have.
    pub fn replace_rows(&self, shard: ShardId, rows: ShardRows) {
        if let Ok(mut held) = self.lock(shard) {
            *held = rows;
        }
    }

    /// Locks one shard. No step ever holds two.
    fn lock(&self, shard: ShardId) -> Result<MutexGuard<'_, ShardRows>, StoreError> {
        let rows = self.inner.shards.get(usize::from(shard.0)).ok_or_else(|| {
            let shards = self.inner.shape.shards;
            StoreError::Damaged { detail: format!("no shard {shard} in a store of {shards}") }
        })?;
        // Steps do not panic between their first and last write, so the rows are whole.
        Ok(rows.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn contents(&self) -> MutexGuard<'_, HashMap<[u8; 32], ContributionId>> {
        self.inner.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit_each(&self, items: Vec<Intake>) -> Result<Vec<Submitted>, StoreError> {
        let high_water = self.inner.shape.intake_high_water;
        let mut grown: Vec<ShardId> = items.iter().map(|item| item.shard).collect();
        grown.sort_unstable();
        grown.dedup();
        let submit = |item: Intake| Ok(self.lock(item.shard)?.submit(item, high_water));
        let answers: Result<_, _> = items.into_iter().map(submit).collect();
        for shard in grown {
            let arrived = self.lock(shard)?.arrived;
            self.notice(Notice::Grew(shard, arrived));
        }
        answers
    }
}

impl ShardStore for MemoryStore {
    fn shards(&self) -> u16 {
        self.inner.shape.shards
    }

    fn claim(&self, shard: ShardId, owner: u128) -> BoxFuture<'_, Result<Lease, StoreError>> {
        Box::pin(async move { self.lock(shard)?.claim(shard, owner, self.lease_time()) })
    }

    fn renew(
        &self,
        owner: u128,
        shards: Vec<ShardId>,
    ) -> BoxFuture<'_, Result<Vec<Renewed>, StoreError>> {
        Box::pin(async move {
            let time = self.lease_time();
            let renew = |shard| Ok(self.lock(shard)?.renew(owner, time));
            shards.into_iter().map(renew).collect()
        })
    }

    fn release(&self, shard: ShardId, owner: u128) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            if self.lock(shard)?.release(owner) {
                self.notice(Notice::Released(shard));
            }
            Ok(())
        })
    }

    fn leases(&self, shards: Vec<ShardId>) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>> {
        Box::pin(
            async move { shards.into_iter().map(|shard| Ok(self.lock(shard)?.lease)).collect() },
        )
    }

    fn submit(&self, items: Vec<Intake>) -> BoxFuture<'_, Result<Vec<Submitted>, StoreError>> {
        Box::pin(async move { self.submit_each(items) })
    }

    fn commit(
        &self,
        shard: ShardId,
        fence: Fence,
        commit: Arc<Commit>,
    ) -> BoxFuture<'_, Result<Committed, StoreError>> {
        Box::pin(async move {
            let time = self.lease_time();
            self.lock(shard)?.commit(shard, fence, &commit, time)
        })
    }

    fn load(&self, shard: ShardId) -> BoxFuture<'_, Result<Loaded, StoreError>> {
        Box::pin(async move { Ok(self.lock(shard)?.load()) })
    }

    fn fetch(&self, shard: ShardId, fetch: Fetch) -> BoxFuture<'_, Result<Lanes, StoreError>> {
        Box::pin(async move { self.lock(shard)?.fetch(shard, fetch) })
    }

    fn inbox(
        &self,
        shard: ShardId,
        lane: Lane,
        after: Option<Arrival>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Arrival, Vec<u8>)>, StoreError>> {
        Box::pin(async move { Ok(self.lock(shard)?.inbox(lane, after, limit)) })
    }

    fn inbox_items(
        &self,
        shard: ShardId,
        arrivals: Vec<Arrival>,
    ) -> BoxFuture<'_, Result<Vec<Option<Vec<u8>>>, StoreError>> {
        Box::pin(async move {
            let rows = self.lock(shard)?;
            Ok(arrivals.into_iter().map(|arrival| rows.inbox_item(arrival)).collect())
        })
    }

    fn contributors(
        &self,
        shard: ShardId,
        keys: Vec<ContributorKey>,
    ) -> BoxFuture<'_, Result<Vec<StoredContributor>, StoreError>> {
        Box::pin(async move {
            let rows = self.lock(shard)?;
            Ok(keys.into_iter().map(|key| rows.contributor(key)).collect())
        })
    }

    fn journeys(
        &self,
        shard: ShardId,
        arrivals: Vec<Arrival>,
    ) -> BoxFuture<'_, Result<Vec<Option<StoredJourney>>, StoreError>> {
        Box::pin(async move {
            let rows = self.lock(shard)?;
            Ok(arrivals.into_iter().map(|arrival| rows.journey(arrival)).collect())
        })
    }

    fn find(
        &self,
        shard: ShardId,
        identities: Vec<[u8; 16]>,
    ) -> BoxFuture<'_, Result<Vec<Option<(Arrival, [u8; 16])>>, StoreError>> {
        Box::pin(async move {
            let rows = self.lock(shard)?;
            Ok(identities.iter().map(|identity| rows.identities.get(identity).copied()).collect())
        })
    }

    fn timers(
        &self,
        shard: ShardId,
        until: Timestamp,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Timestamp, Arrival)>, StoreError>> {
        Box::pin(async move {
            let rows = self.lock(shard)?;
            let due = rows.timers.range(..=(until, Arrival::MAX));
            Ok(due.take(limit).copied().collect())
        })
    }

    fn sequenced(
        &self,
        shard: ShardId,
        position: u64,
    ) -> BoxFuture<'_, Result<Option<(u64, Vec<u8>)>, StoreError>> {
        Box::pin(async move {
            let rows = self.lock(shard)?;
            let floor = rows.sequenced.range(..=position).next_back();
            Ok(floor.map(|(first, row)| (*first, row.clone())))
        })
    }

    fn list(
        &self,
        shard: ShardId,
        place: Place,
        after: Option<Arrival>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Arrival, Vec<u8>)>, StoreError>> {
        Box::pin(async move { Ok(self.lock(shard)?.list(place, after, limit)) })
    }
}

impl ContentIndex for MemoryStore {
    fn claim(
        &self,
        claims: Vec<([u8; 32], ContributionId)>,
    ) -> BoxFuture<'_, Result<Vec<Claimed>, StoreError>> {
        Box::pin(async move {
            let mut contents = self.contents();
            let mut claim = |(content, id)| {
                let holder = *contents.entry(content).or_insert(id);
                if holder == id { Claimed::First } else { Claimed::Taken(holder) }
            };
            Ok(claims.into_iter().map(&mut claim).collect())
        })
    }

    fn take_over(
        &self,
        content: [u8; 32],
        from: ContributionId,
        to: ContributionId,
    ) -> BoxFuture<'_, Result<Claimed, StoreError>> {
        Box::pin(async move {
            let mut contents = self.contents();
            let holder = contents.entry(content).or_insert(to);
            if *holder == from {
                *holder = to;
            }
            Ok(if *holder == to { Claimed::First } else { Claimed::Taken(*holder) })
        })
    }
}
