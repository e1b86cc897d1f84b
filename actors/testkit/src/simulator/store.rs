//! The store as a process of the simulation sees it: the memory store at the end of a wire.

use super::wire::{Apply, Wire, at_once};
use gristmill_actors::ports::{
    Claimed, Committed, ContentIndex, Fetch, Intake, Known, Lanes, Loaded, Membership, Notice,
    Numbered, Renewed, Roster, ShardStore, StoreError, StoredContributor, StoredJourney, Submitted,
};
use gristmill_actors::rail::BoxFuture;
use gristmill_workflows::commit::{Commit, Place};
use gristmill_workflows::id::{Arrival, ContributionId, ContributorKey, ShardId};
use gristmill_workflows::inbox::Lane;
use gristmill_workflows::lease::{Fence, Lease};
use gristmill_workflows::placement::Member;
use gristmill_workflows::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

impl Wire {
    fn reads<T: Send>(
        &self,
        what: &'static str,
        read: impl FnOnce() -> BoxFuture<'static, Result<T, StoreError>> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        Box::pin(async move { self.read(what, || at_once(read())).await })
    }
}

impl ShardStore for Wire {
    fn shards(&self) -> u16 {
        self.sim.store.shards()
    }

    fn claim(&self, shard: ShardId, owner: u128) -> BoxFuture<'_, Result<Lease, StoreError>> {
        let sim = self.sim.clone();
        let name = self.process.name.clone();
        let apply: Apply<Lease> = Arc::new(move || {
            let lease = at_once(ShardStore::claim(&sim.store, shard, owner))?;
            sim.journal.note(format_args!("{name} claims shard {shard}, epoch {}", lease.epoch));
            sim.witness.claimed(shard, lease, &sim.journal);
            Ok(lease)
        });
        Box::pin(async move { Wire::claim(self, shard, apply).await })
    }

    fn renew(
        &self,
        owner: u128,
        shards: Vec<ShardId>,
    ) -> BoxFuture<'_, Result<Vec<Renewed>, StoreError>> {
        let sim = self.sim.clone();
        let apply: Apply<Vec<Renewed>> = Arc::new(move || {
            let answers = at_once(sim.store.renew(owner, shards.clone()));
            for answer in answers.iter().flatten() {
                let word = match answer {
                    Renewed::Until(_) => "prolonged",
                    Renewed::Lost => "lost",
                    Renewed::Unknown => "unknown",
                };
                sim.journal.transition(format!("lease renewed: {word}"));
            }
            answers
        });
        Box::pin(async move { self.write("renew", None, apply).await })
    }

    fn release(&self, shard: ShardId, owner: u128) -> BoxFuture<'_, Result<(), StoreError>> {
        let sim = self.sim.clone();
        let name = self.process.name.clone();
        let apply: Apply<()> = Arc::new(move || {
            let answer = at_once(sim.store.release(shard, owner));
            sim.journal.note(format_args!("{name} releases shard {shard}"));
            sim.journal.transition("lease released".to_owned());
            sim.witness.released(&sim.store, shard);
            answer
        });
        Box::pin(async move { self.write("release", Some(shard), apply).await })
    }

    fn leases(&self, shards: Vec<ShardId>) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>> {
        let store = self.sim.store.clone();
        self.reads("leases", move || Box::pin(async move { store.leases(shards).await }))
    }

    fn submit(&self, items: Vec<Intake>) -> BoxFuture<'_, Result<Vec<Submitted>, StoreError>> {
        let sim = self.sim.clone();
        // Items of several shards are several steps; a power loss is drawn for the first.
        let shard = items.first().map(|item| item.shard);
        let apply: Apply<Vec<Submitted>> =
            Arc::new(move || at_once(sim.store.submit(items.clone())));
        Box::pin(async move { self.write("submit", shard, apply).await })
    }

    fn commit(
        &self,
        shard: ShardId,
        fence: Fence,
        commit: Arc<Commit>,
    ) -> BoxFuture<'_, Result<Committed, StoreError>> {
        let sim = self.sim.clone();
        let name = self.process.name.clone();
        let apply: Apply<Committed> = Arc::new(move || {
            let before = sim.witness.before(&sim.store, shard, &commit);
            let answer = at_once(sim.store.commit(shard, fence, commit.clone()));
            let (epoch, seq) = (fence.epoch, fence.seq);
            let word = match &answer {
                Ok(Committed::Applied) => "applied",
                Ok(Committed::Broken(_)) => "broken by a mark",
                Err(StoreError::Fenced { .. }) => "fenced",
                Err(_) => "refused",
            };
            let journeys = commit.journeys.len();
            sim.journal.note(format_args!(
                "{name} commits shard {shard} {epoch}/{seq}, {journeys} journeys: {word}"
            ));
            sim.witness.committed(
                &before,
                &sim.store,
                shard,
                (fence, &commit),
                &answer,
                &sim.journal,
            );
            answer
        });
        Box::pin(async move { self.write("commit", Some(shard), apply).await })
    }

    fn load(&self, shard: ShardId) -> BoxFuture<'_, Result<Loaded, StoreError>> {
        let store = self.sim.store.clone();
        self.reads("load", move || Box::pin(async move { store.load(shard).await }))
    }

    fn fetch(&self, shard: ShardId, fetch: Fetch) -> BoxFuture<'_, Result<Lanes, StoreError>> {
        let store = self.sim.store.clone();
        let apply: Apply<Lanes> = Arc::new(move || at_once(store.fetch(shard, fetch)));
        Box::pin(async move { self.write("fetch", Some(shard), apply).await })
    }

    fn inbox(
        &self,
        shard: ShardId,
        lane: Lane,
        after: Option<Arrival>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Numbered>, StoreError>> {
        let store = self.sim.store.clone();
        self.reads("inbox", move || {
            Box::pin(async move { store.inbox(shard, lane, after, limit).await })
        })
    }

    fn inbox_items(
        &self,
        shard: ShardId,
        arrivals: Vec<Arrival>,
    ) -> BoxFuture<'_, Result<Vec<Option<Vec<u8>>>, StoreError>> {
        let store = self.sim.store.clone();
        self.reads("inbox items", move || {
            Box::pin(async move { store.inbox_items(shard, arrivals).await })
        })
    }

    fn contributors(
        &self,
        shard: ShardId,
        keys: Vec<ContributorKey>,
    ) -> BoxFuture<'_, Result<Vec<StoredContributor>, StoreError>> {
        let store = self.sim.store.clone();
        self.reads("contributors", move || {
            Box::pin(async move { store.contributors(shard, keys).await })
        })
    }

    fn journeys(
        &self,
        shard: ShardId,
        arrivals: Vec<Arrival>,
    ) -> BoxFuture<'_, Result<Vec<Option<StoredJourney>>, StoreError>> {
        let store = self.sim.store.clone();
        self.reads("journeys", move || {
            Box::pin(async move { store.journeys(shard, arrivals).await })
        })
    }

    fn find(
        &self,
        shard: ShardId,
        identities: Vec<[u8; 16]>,
    ) -> BoxFuture<'_, Result<Vec<Option<Known>>, StoreError>> {
        let store = self.sim.store.clone();
        self.reads("find", move || Box::pin(async move { store.find(shard, identities).await }))
    }

    fn timers(
        &self,
        shard: ShardId,
        until: Timestamp,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Timestamp, Arrival)>, StoreError>> {
        let store = self.sim.store.clone();
        self.reads("timers", move || {
            Box::pin(async move { store.timers(shard, until, limit).await })
        })
    }

    fn sequenced(
        &self,
        shard: ShardId,
        position: u64,
    ) -> BoxFuture<'_, Result<Option<Numbered>, StoreError>> {
        let store = self.sim.store.clone();
        self.reads("sequenced", move || {
            Box::pin(async move { store.sequenced(shard, position).await })
        })
    }

    fn list(
        &self,
        shard: ShardId,
        place: Place,
        after: Option<Arrival>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Numbered>, StoreError>> {
        let store = self.sim.store.clone();
        self.reads("list", move || {
            Box::pin(async move { store.list(shard, place, after, limit).await })
        })
    }
}

impl ContentIndex for Wire {
    fn claim(
        &self,
        claims: Vec<([u8; 32], ContributionId)>,
    ) -> BoxFuture<'_, Result<Vec<Claimed>, StoreError>> {
        let store = self.sim.store.clone();
        let apply: Apply<Vec<Claimed>> =
            Arc::new(move || at_once(ContentIndex::claim(&store, claims.clone())));
        Box::pin(async move { self.write("content claim", None, apply).await })
    }

    fn take_over(
        &self,
        content: [u8; 32],
        from: ContributionId,
        to: ContributionId,
    ) -> BoxFuture<'_, Result<Claimed, StoreError>> {
        let store = self.sim.store.clone();
        let apply: Apply<Claimed> = Arc::new(move || at_once(store.take_over(content, from, to)));
        Box::pin(async move { self.write("take over", None, apply).await })
    }
}

impl Membership for Wire {
    fn lease_ttl(&self) -> Duration {
        self.sim.store.lease_ttl()
    }

    fn beat(&self, member: Member) -> BoxFuture<'_, Result<Roster, StoreError>> {
        let store = self.sim.store.clone();
        let apply: Apply<Roster> = Arc::new(move || at_once(store.beat(member.clone())));
        Box::pin(async move { self.write("beat", None, apply).await })
    }

    fn roster(&self) -> BoxFuture<'_, Result<Roster, StoreError>> {
        let store = self.sim.store.clone();
        self.reads("roster", move || Box::pin(async move { store.roster().await }))
    }

    fn leave(&self, incarnation: u128) -> BoxFuture<'_, Result<(), StoreError>> {
        let store = self.sim.store.clone();
        let apply: Apply<()> = Arc::new(move || at_once(store.leave(incarnation)));
        Box::pin(async move { self.write("leave", None, apply).await })
    }

    fn ask_drain(&self, incarnation: u128) -> BoxFuture<'_, Result<bool, StoreError>> {
        let store = self.sim.store.clone();
        let apply: Apply<bool> = Arc::new(move || at_once(store.ask_drain(incarnation)));
        Box::pin(async move { self.write("ask drain", None, apply).await })
    }

    fn notices(&self) -> broadcast::Receiver<Notice> {
        self.sim.store.notices()
    }
}
