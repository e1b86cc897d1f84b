//! Scripted faults of a store: by call number or by predicate, without clocks or chance.
//!
//! A [`FaultyStore`] stands between a node and a store. Several may share one script ([`Faults`] is
//! a handle): what one node left behind late is then applied when another node's call arrives.

mod script;

use std::future::Future;
use std::sync::Arc;

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

pub use script::{Call, Fault, Faults, Operation};
use script::{Verdict, Write};

/// A store behind a script of faults.
#[derive(Debug, Clone)]
pub struct FaultyStore<S> {
    store: S,
    faults: Faults,
}

impl<S: ShardStore + ContentIndex> FaultyStore<S> {
    /// Puts `faults` in front of `store`.
    pub const fn new(store: S, faults: Faults) -> Self {
        Self { store, faults }
    }

    /// The store behind the faults.
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// Applies what is due late, then says what becomes of this call.
    async fn enter(&self, call: Call<'_>) -> Result<Verdict, StoreError> {
        let (due, verdict) = self.faults.judge(call);
        for write in due {
            let answer = self.apply_late(write).await;
            self.faults.late_answer(answer);
        }
        match verdict {
            Verdict::Wait(mut released) => {
                // The sender lives in `self.faults`, so this ends by a release only.
                if released.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                Ok(Verdict::Pass)
            }
            Verdict::Refuse(error) => Err(error),
            Verdict::Pass | Verdict::Apply(_) | Verdict::Later(_) => Ok(verdict),
        }
    }

    async fn read<T>(
        &self,
        operation: Operation,
        shard: ShardId,
        read: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match self.enter(Call::of(operation, Some(shard), None)).await? {
            // Nothing of a read can be applied: only its answer is lost.
            Verdict::Apply(error) => Err(error),
            Verdict::Later(_) => Err(script::ambiguous()),
            Verdict::Pass | Verdict::Wait(_) | Verdict::Refuse(_) => read.await,
        }
    }

    async fn write<T>(
        &self,
        verdict: Verdict,
        late: Option<Write>,
        write: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match verdict {
            Verdict::Apply(error) => {
                write.await?;
                Err(error)
            }
            Verdict::Later(calls) => {
                if let Some(late) = late {
                    self.faults.keep(calls, late);
                }
                Err(script::ambiguous())
            }
            Verdict::Pass | Verdict::Wait(_) | Verdict::Refuse(_) => write.await,
        }
    }

    async fn apply_late(&self, write: Write) -> Result<(), StoreError> {
        match write {
            Write::Submit(items) => self.store.submit(items).await.map(drop),
            Write::Commit(shard, fence, commit) => {
                self.store.commit(shard, fence, commit).await.map(drop)
            }
            Write::ContentClaim(claims) => ContentIndex::claim(&self.store, claims).await.map(drop),
            Write::TakeOver(content, from, to) => {
                self.store.take_over(content, from, to).await.map(drop)
            }
        }
    }
}

impl<S: ShardStore + ContentIndex> ShardStore for FaultyStore<S> {
    fn shards(&self) -> u16 {
        self.store.shards()
    }

    fn claim(&self, shard: ShardId, owner: u128) -> BoxFuture<'_, Result<Lease, StoreError>> {
        Box::pin(async move {
            let verdict = self.enter(Call::of(Operation::Claim, Some(shard), None)).await?;
            // A claim is a compare-and-set on what it saw: late, it changes nothing.
            let claim = async { ShardStore::claim(&self.store, shard, owner).await };
            self.write(verdict, None, claim).await
        })
    }

    fn renew(
        &self,
        owner: u128,
        shards: Vec<ShardId>,
    ) -> BoxFuture<'_, Result<Vec<Renewed>, StoreError>> {
        Box::pin(async move {
            let first = shards.first().copied();
            let verdict = self.enter(Call::of(Operation::Renew, first, None)).await?;
            // Late, it would prolong what its owner has given up by then.
            self.write(verdict, None, async { self.store.renew(owner, shards).await }).await
        })
    }

    fn release(&self, shard: ShardId, owner: u128) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let verdict = self.enter(Call::of(Operation::Release, Some(shard), None)).await?;
            self.write(verdict, None, async { self.store.release(shard, owner).await }).await
        })
    }

    fn leases(&self, shards: Vec<ShardId>) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>> {
        let first = shards.first().copied().unwrap_or(ShardId(0));
        let read = async move { self.store.leases(shards).await };
        Box::pin(self.read(Operation::Leases, first, read))
    }

    fn submit(&self, items: Vec<Intake>) -> BoxFuture<'_, Result<Vec<Submitted>, StoreError>> {
        Box::pin(async move {
            let shard = items.first().map(|item| item.shard);
            let verdict = self.enter(Call::of(Operation::Submit, shard, None)).await?;
            let late = verdict.is_late().then(|| Write::Submit(items.clone()));
            self.write(verdict, late, async { self.store.submit(items).await }).await
        })
    }

    fn commit(
        &self,
        shard: ShardId,
        fence: Fence,
        commit: Arc<Commit>,
    ) -> BoxFuture<'_, Result<Committed, StoreError>> {
        Box::pin(async move {
            let call = Call::of(Operation::Commit, Some(shard), Some(&commit));
            let verdict = self.enter(call).await?;
            let late = verdict.is_late().then(|| Write::Commit(shard, fence, commit.clone()));
            self.write(verdict, late, async { self.store.commit(shard, fence, commit).await }).await
        })
    }

    fn load(&self, shard: ShardId) -> BoxFuture<'_, Result<Loaded, StoreError>> {
        let read = async move { self.store.load(shard).await };
        Box::pin(self.read(Operation::Load, shard, read))
    }

    fn fetch(&self, shard: ShardId, fetch: Fetch) -> BoxFuture<'_, Result<Lanes, StoreError>> {
        let read = async move { self.store.fetch(shard, fetch).await };
        Box::pin(self.read(Operation::Inbox, shard, read))
    }

    fn inbox(
        &self,
        shard: ShardId,
        lane: Lane,
        after: Option<Arrival>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Arrival, Vec<u8>)>, StoreError>> {
        let read = async move { self.store.inbox(shard, lane, after, limit).await };
        Box::pin(self.read(Operation::Inbox, shard, read))
    }

    fn inbox_items(
        &self,
        shard: ShardId,
        arrivals: Vec<Arrival>,
    ) -> BoxFuture<'_, Result<Vec<Option<Vec<u8>>>, StoreError>> {
        let read = async move { self.store.inbox_items(shard, arrivals).await };
        Box::pin(self.read(Operation::InboxItems, shard, read))
    }

    fn contributors(
        &self,
        shard: ShardId,
        keys: Vec<ContributorKey>,
    ) -> BoxFuture<'_, Result<Vec<StoredContributor>, StoreError>> {
        let read = async move { self.store.contributors(shard, keys).await };
        Box::pin(self.read(Operation::Contributors, shard, read))
    }

    fn journeys(
        &self,
        shard: ShardId,
        arrivals: Vec<Arrival>,
    ) -> BoxFuture<'_, Result<Vec<Option<StoredJourney>>, StoreError>> {
        let read = async move { self.store.journeys(shard, arrivals).await };
        Box::pin(self.read(Operation::Journeys, shard, read))
    }

    fn find(
        &self,
        shard: ShardId,
        identities: Vec<[u8; 16]>,
    ) -> BoxFuture<'_, Result<Vec<Option<(Arrival, [u8; 16])>>, StoreError>> {
        let read = async move { self.store.find(shard, identities).await };
        Box::pin(self.read(Operation::Find, shard, read))
    }

    fn timers(
        &self,
        shard: ShardId,
        until: Timestamp,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Timestamp, Arrival)>, StoreError>> {
        let read = async move { self.store.timers(shard, until, limit).await };
        Box::pin(self.read(Operation::Timers, shard, read))
    }

    fn sequenced(
        &self,
        shard: ShardId,
        position: u64,
    ) -> BoxFuture<'_, Result<Option<(u64, Vec<u8>)>, StoreError>> {
        let read = async move { self.store.sequenced(shard, position).await };
        Box::pin(self.read(Operation::Sequenced, shard, read))
    }

    fn list(
        &self,
        shard: ShardId,
        place: Place,
        after: Option<Arrival>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Arrival, Vec<u8>)>, StoreError>> {
        let read = async move { self.store.list(shard, place, after, limit).await };
        Box::pin(self.read(Operation::List, shard, read))
    }
}

impl<S: ShardStore + ContentIndex> ContentIndex for FaultyStore<S> {
    fn claim(
        &self,
        claims: Vec<([u8; 32], ContributionId)>,
    ) -> BoxFuture<'_, Result<Vec<Claimed>, StoreError>> {
        Box::pin(async move {
            let verdict = self.enter(Call::of(Operation::ContentClaim, None, None)).await?;
            let late = verdict.is_late().then(|| Write::ContentClaim(claims.clone()));
            let claim = async { ContentIndex::claim(&self.store, claims).await };
            self.write(verdict, late, claim).await
        })
    }

    fn take_over(
        &self,
        content: [u8; 32],
        from: ContributionId,
        to: ContributionId,
    ) -> BoxFuture<'_, Result<Claimed, StoreError>> {
        Box::pin(async move {
            let verdict = self.enter(Call::of(Operation::TakeOver, None, None)).await?;
            let late = verdict.is_late().then_some(Write::TakeOver(content, from, to));
            let take_over = async { self.store.take_over(content, from, to).await };
            self.write(verdict, late, take_over).await
        })
    }
}

#[cfg(test)]
mod tests;
