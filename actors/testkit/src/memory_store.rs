//! The store in memory: every clause of the ports, no disk.
//!
//! The value outlives the nodes of a test: a clone shares the rows, so dropping a node and starting
//! another one on a clone is a process death with a durable store. Faults come from outside, see
//! [`crate::faults`].

mod shard_rows;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gristmill_actors::ports::{
    Claimed, Committed, ContentIndex, Intake, Loaded, ShardStore, StoreError, StoredContributor,
    StoredJourney, Submitted,
};
use gristmill_actors::rail::BoxFuture;
use gristmill_workflows::commit::{Commit, Place};
use gristmill_workflows::id::{Arrival, ContributionId, ContributorKey, ShardId};
use gristmill_workflows::inbox::Lane;
use gristmill_workflows::lease::{Fence, Lease};
use gristmill_workflows::time::Timestamp;

pub use shard_rows::ShardRows;

/// What a store is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// How many shards, at least 1.
    pub shards: u16,
    /// Items that a shard's intake lane holds at the most; a further one is answered `Full`.
    pub intake_high_water: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self { shards: 4, intake_high_water: 100_000 }
    }
}

/// The store. Clones share its rows.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shape: Shape,
    shards: Vec<Mutex<ShardRows>>,
    contents: Mutex<HashMap<[u8; 32], ContributionId>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        let shards = (0..shape.shards).map(|_| Mutex::default()).collect();
        Self { inner: Arc::new(Inner { shape, shards, contents: Mutex::default() }) }
    }

    /// A copy of one shard's rows, for checkers; none for a shard that the store does not have.
    #[must_use]
    pub fn rows(&self, shard: ShardId) -> Option<ShardRows> {
        self.lock(shard).ok().map(|rows| rows.clone())
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
        let submit = |item: Intake| Ok(self.lock(item.shard)?.submit(item, high_water));
        items.into_iter().map(submit).collect()
    }
}

impl ShardStore for MemoryStore {
    fn shards(&self) -> u16 {
        self.inner.shape.shards
    }

    fn claim(&self, shard: ShardId, owner: u128) -> BoxFuture<'_, Result<Lease, StoreError>> {
        Box::pin(async move { self.lock(shard)?.claim(shard, owner) })
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
        Box::pin(async move { self.lock(shard)?.commit(shard, fence, &commit) })
    }

    fn load(&self, shard: ShardId) -> BoxFuture<'_, Result<Loaded, StoreError>> {
        Box::pin(async move { Ok(self.lock(shard)?.load()) })
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
