//! The store, watched: when an item is durable that ends its journey, it is finished.

use crate::alone::Call;
use crate::load::Watch;
use gristmill_actors::ports::{
    Committed, Fetch, Intake, Known, Lanes, Loaded, Numbered, Renewed, ShardStore, StoreError,
    StoredContributor, StoredJourney, Submitted,
};
use gristmill_actors::rail::BoxFuture;
use gristmill_workflows::commit::{Commit, Place};
use gristmill_workflows::id::{Arrival, ContributorKey, ShardId};
use gristmill_workflows::inbox::Lane;
use gristmill_workflows::lease::{Fence, Lease};
use gristmill_workflows::time::Timestamp;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Semaphore;

tokio::task_local! {
    /// When what is handed in now was meant to be.
    pub(crate) static INTENDED: Instant;
}

/// Where an item is. Its end can be seen before the answer to its submission.
enum Seen {
    Intended(Instant),
    Ended,
}

pub(crate) struct Watched {
    inner: Arc<dyn ShardStore>,
    watch: Arc<Watch>,
    /// Items that may be under way; one is added for each that ends.
    pub(crate) permits: Arc<Semaphore>,
    seen: Vec<Mutex<HashMap<Arrival, Seen>>>,
    /// What was written, where that is kept.
    calls: Mutex<Option<Vec<Call>>>,
}

impl Watched {
    pub(crate) fn new(inner: Arc<dyn ShardStore>, watch: Arc<Watch>, permits: usize) -> Self {
        let seen = (0..inner.shards()).map(|_| Mutex::default()).collect();
        let (permits, calls) = (Arc::new(Semaphore::new(permits)), Mutex::default());
        Self { inner, watch, permits, seen, calls }
    }

    /// From now on keeps what is written.
    pub(crate) fn record(&self) {
        *self.calls() = Some(Vec::new());
    }

    /// What was written since.
    pub(crate) fn recorded(&self) -> Option<Vec<Call>> {
        self.calls().take()
    }

    fn calls(&self) -> MutexGuard<'_, Option<Vec<Call>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard(&self, shard: ShardId) -> MutexGuard<'_, HashMap<Arrival, Seen>> {
        self.seen[usize::from(shard.0)].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn began(&self, shard: ShardId, arrival: Arrival, intended: Instant) {
        let mut seen = self.shard(shard);
        if seen.remove(&arrival).is_some() {
            drop(seen);
            return self.ended(intended);
        }
        seen.insert(arrival, Seen::Intended(intended));
    }

    fn ended(&self, intended: Instant) {
        self.watch.finished(intended);
        self.permits.add_permits(1);
    }

    fn applied(&self, shard: ShardId, commit: &Commit) {
        for (arrival, place, _, _) in &commit.journeys {
            if *place != Place::Finished {
                continue;
            }
            let mut seen = self.shard(shard);
            if let Some(Seen::Intended(intended)) = seen.remove(arrival) {
                drop(seen);
                self.ended(intended);
            } else {
                seen.insert(*arrival, Seen::Ended);
            }
        }
    }
}

impl ShardStore for Watched {
    fn submit(&self, items: Vec<Intake>) -> BoxFuture<'_, Result<Vec<Submitted>, StoreError>> {
        let intended = INTENDED.try_with(|at| *at).ok();
        let places: Vec<(ShardId, Lane)> = items.iter().map(|one| (one.shard, one.lane)).collect();
        let kept = self.calls().is_some().then(|| items.clone());
        Box::pin(async move {
            let submitted = self.inner.submit(items).await?;
            if let (Some(items), Some(calls)) = (kept, self.calls().as_mut()) {
                calls.push(Call::Submit(items, submitted.clone()));
            }
            for ((shard, lane), submitted) in places.into_iter().zip(&submitted) {
                if let (Lane::Intake, Some(intended), Submitted::Accepted(arrival)) =
                    (lane, intended, submitted)
                {
                    self.began(shard, *arrival, intended);
                }
            }
            Ok(submitted)
        })
    }

    fn commit(
        &self,
        shard: ShardId,
        fence: Fence,
        commit: Arc<Commit>,
    ) -> BoxFuture<'_, Result<Committed, StoreError>> {
        Box::pin(async move {
            let committed = self.inner.commit(shard, fence, commit.clone()).await?;
            if committed == Committed::Applied {
                self.applied(shard, &commit);
                if let Some(calls) = self.calls().as_mut() {
                    calls.push(Call::Commit(shard, commit));
                }
            }
            Ok(committed)
        })
    }

    fn shards(&self) -> u16 {
        self.inner.shards()
    }

    fn claim(&self, shard: ShardId, owner: u128) -> BoxFuture<'_, Result<Lease, StoreError>> {
        self.inner.claim(shard, owner)
    }

    fn renew(
        &self,
        owner: u128,
        shards: Vec<ShardId>,
    ) -> BoxFuture<'_, Result<Vec<Renewed>, StoreError>> {
        self.inner.renew(owner, shards)
    }

    fn release(&self, shard: ShardId, owner: u128) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.release(shard, owner)
    }

    fn leases(&self, shards: Vec<ShardId>) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>> {
        self.inner.leases(shards)
    }

    fn load(&self, shard: ShardId) -> BoxFuture<'_, Result<Loaded, StoreError>> {
        self.inner.load(shard)
    }

    fn fetch(&self, shard: ShardId, fetch: Fetch) -> BoxFuture<'_, Result<Lanes, StoreError>> {
        self.inner.fetch(shard, fetch)
    }

    fn inbox(
        &self,
        shard: ShardId,
        lane: Lane,
        after: Option<Arrival>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Numbered>, StoreError>> {
        self.inner.inbox(shard, lane, after, limit)
    }

    fn inbox_items(
        &self,
        shard: ShardId,
        arrivals: Vec<Arrival>,
    ) -> BoxFuture<'_, Result<Vec<Option<Vec<u8>>>, StoreError>> {
        self.inner.inbox_items(shard, arrivals)
    }

    fn queued(&self, shard: ShardId) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.inner.queued(shard)
    }

    fn contributors(
        &self,
        shard: ShardId,
        keys: Vec<ContributorKey>,
    ) -> BoxFuture<'_, Result<Vec<StoredContributor>, StoreError>> {
        self.inner.contributors(shard, keys)
    }

    fn journeys(
        &self,
        shard: ShardId,
        arrivals: Vec<Arrival>,
    ) -> BoxFuture<'_, Result<Vec<Option<StoredJourney>>, StoreError>> {
        self.inner.journeys(shard, arrivals)
    }

    fn find(
        &self,
        shard: ShardId,
        identities: Vec<[u8; 16]>,
    ) -> BoxFuture<'_, Result<Vec<Option<Known>>, StoreError>> {
        self.inner.find(shard, identities)
    }

    fn timers(
        &self,
        shard: ShardId,
        until: Timestamp,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Timestamp, Arrival)>, StoreError>> {
        self.inner.timers(shard, until, limit)
    }

    fn sequenced(
        &self,
        shard: ShardId,
        position: u64,
    ) -> BoxFuture<'_, Result<Option<Numbered>, StoreError>> {
        self.inner.sequenced(shard, position)
    }

    fn list(
        &self,
        shard: ShardId,
        place: Place,
        after: Option<Arrival>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Numbered>, StoreError>> {
        self.inner.list(shard, place, after, limit)
    }
}
