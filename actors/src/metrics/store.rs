//! The store as the node sees it: every call goes through, and what fails is counted.

use super::{Admission, Metrics};
use crate::ports::{
    Committed, Fetch, Intake, Known, Lanes, Loaded, Numbered, Renewed, ShardStore, StoreError,
    StoredContributor, StoredJourney, Submitted,
};
use crate::rail::BoxFuture;
use gristmill_workflows::commit::{Commit, Place};
use gristmill_workflows::id::{Arrival, ContributorKey, ShardId};
use gristmill_workflows::inbox::Lane;
use gristmill_workflows::lease::{Fence, Lease};
use gristmill_workflows::time::Timestamp;
use std::sync::Arc;
use tokio::time::Instant;

pub(super) const COMMIT: &str = "commit";

/// Every call, by its name.
pub(super) const OPS: [&str; 17] = [
    "claim",
    "renew",
    "release",
    "leases",
    "submit",
    COMMIT,
    "load",
    "fetch",
    "inbox",
    "inbox_items",
    "queued",
    "contributors",
    "journeys",
    "find",
    "timers",
    "sequenced",
    "list",
];

/// What can go wrong.
pub(super) const KINDS: [&str; 5] = ["fenced", "unavailable", "ambiguous", "damaged", "failed"];

pub(super) const fn kind(error: &StoreError) -> &'static str {
    match error {
        StoreError::Fenced { .. } => "fenced",
        StoreError::Unavailable { .. } => "unavailable",
        StoreError::Ambiguous { .. } => "ambiguous",
        StoreError::Damaged { .. } => "damaged",
        StoreError::Failed { .. } => "failed",
    }
}

/// The same store, counted.
pub(crate) fn metered(store: Arc<dyn ShardStore>, metrics: &Arc<Metrics>) -> Arc<dyn ShardStore> {
    Arc::new(Metered { store, metrics: metrics.clone() })
}

struct Metered {
    store: Arc<dyn ShardStore>,
    metrics: Arc<Metrics>,
}

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

impl Metered {
    fn count<'a, T: Send + 'a>(&'a self, op: &'static str, call: Answer<'a, T>) -> Answer<'a, T> {
        Box::pin(async move {
            let answer = call.await;
            if let Err(error) = &answer {
                self.metrics.store_failed(op, error);
            }
            answer
        })
    }
}

impl ShardStore for Metered {
    fn shards(&self) -> u16 {
        self.store.shards()
    }

    fn claim(&self, shard: ShardId, owner: u128) -> Answer<'_, Lease> {
        self.count("claim", self.store.claim(shard, owner))
    }

    fn renew(&self, owner: u128, shards: Vec<ShardId>) -> Answer<'_, Vec<Renewed>> {
        self.count("renew", self.store.renew(owner, shards))
    }

    fn release(&self, shard: ShardId, owner: u128) -> Answer<'_, ()> {
        self.count("release", self.store.release(shard, owner))
    }

    fn leases(&self, shards: Vec<ShardId>) -> Answer<'_, Vec<Lease>> {
        self.count("leases", self.store.leases(shards))
    }

    fn submit(&self, items: Vec<Intake>) -> Answer<'_, Vec<Submitted>> {
        Box::pin(async move {
            let answers = self.count("submit", self.store.submit(items)).await?;
            let full = answers.iter().filter(|answer| **answer == Submitted::Full).count();
            if full > 0 {
                self.metrics.refused(Admission::InboxFull, full as u64);
            }
            Ok(answers)
        })
    }

    fn commit(&self, shard: ShardId, fence: Fence, commit: Arc<Commit>) -> Answer<'_, Committed> {
        Box::pin(async move {
            let (began, items) = (Instant::now(), commit.journeys.len());
            let answer = self.count(COMMIT, self.store.commit(shard, fence, commit)).await;
            self.metrics.committed(began.elapsed(), items);
            answer
        })
    }

    fn load(&self, shard: ShardId) -> Answer<'_, Loaded> {
        self.count("load", self.store.load(shard))
    }

    fn fetch(&self, shard: ShardId, fetch: Fetch) -> Answer<'_, Lanes> {
        self.count("fetch", self.store.fetch(shard, fetch))
    }

    fn inbox(
        &self,
        shard: ShardId,
        lane: Lane,
        after: Option<Arrival>,
        limit: usize,
    ) -> Answer<'_, Vec<Numbered>> {
        self.count("inbox", self.store.inbox(shard, lane, after, limit))
    }

    fn inbox_items(
        &self,
        shard: ShardId,
        arrivals: Vec<Arrival>,
    ) -> Answer<'_, Vec<Option<Vec<u8>>>> {
        self.count("inbox_items", self.store.inbox_items(shard, arrivals))
    }

    fn queued(&self, shard: ShardId) -> Answer<'_, u64> {
        self.count("queued", self.store.queued(shard))
    }

    fn contributors(
        &self,
        shard: ShardId,
        keys: Vec<ContributorKey>,
    ) -> Answer<'_, Vec<StoredContributor>> {
        self.count("contributors", self.store.contributors(shard, keys))
    }

    fn journeys(
        &self,
        shard: ShardId,
        arrivals: Vec<Arrival>,
    ) -> Answer<'_, Vec<Option<StoredJourney>>> {
        self.count("journeys", self.store.journeys(shard, arrivals))
    }

    fn find(&self, shard: ShardId, identities: Vec<[u8; 16]>) -> Answer<'_, Vec<Option<Known>>> {
        self.count("find", self.store.find(shard, identities))
    }

    fn timers(
        &self,
        shard: ShardId,
        until: Timestamp,
        limit: usize,
    ) -> Answer<'_, Vec<(Timestamp, Arrival)>> {
        self.count("timers", self.store.timers(shard, until, limit))
    }

    fn sequenced(&self, shard: ShardId, position: u64) -> Answer<'_, Option<Numbered>> {
        self.count("sequenced", self.store.sequenced(shard, position))
    }

    fn list(
        &self,
        shard: ShardId,
        place: Place,
        after: Option<Arrival>,
        limit: usize,
    ) -> Answer<'_, Vec<Numbered>> {
        self.count("list", self.store.list(shard, place, after, limit))
    }
}
