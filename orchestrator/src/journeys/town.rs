//! A store with hand-made rows, for the tests of what reads it.

use gristmill_actors::ports::{Intake, Reads, ShardStore, Submitted};
use gristmill_testkit::memory_store::{MemoryStore, Shape};
use gristmill_workflows::codec::{decode, encode};
use gristmill_workflows::commit::{Commit, Place, SequencedRow};
use gristmill_workflows::definition::WorkflowRef;
use gristmill_workflows::id::{ContributionId, IdKey, ShardId};
use gristmill_workflows::inbox::{Item, Lane};
use gristmill_workflows::journey::{Journey, State};
use gristmill_workflows::lease::Fence;
use gristmill_workflows::submission::{Modality, Submission};
use gristmill_workflows::time::Timestamp;
use std::sync::Arc;

/// When everything was handed in: 2026-11-22T00:00:00Z.
pub(crate) const AT: Timestamp = Timestamp(1_795_305_600_000);

#[derive(Debug)]
pub(crate) struct Town {
    pub(crate) store: MemoryStore,
    pub(crate) key: IdKey,
}

impl Town {
    pub(crate) fn new() -> Self {
        Self { store: MemoryStore::new(Shape::default()), key: IdKey::new([7; 32]) }
    }

    pub(crate) fn submission(&self, contributor: &str, idempotency_key: &str) -> Submission {
        Submission {
            id: self.key.contribution(contributor, idempotency_key),
            contributor: contributor.to_owned(),
            idempotency_key: idempotency_key.to_owned(),
            program: "engine".to_owned(),
            task: "none".to_owned(),
            modality: Modality::None,
            language: None,
            media: None,
            transcript: None,
            captured_at: None,
            data_key: 0,
            at: AT,
        }
    }

    /// Hands a contribution in, and leaves it in the inbox.
    pub(crate) async fn queue(&self, contributor: &str, idempotency_key: &str) -> ContributionId {
        self.submit(self.submission(contributor, idempotency_key)).await;
        self.key.contribution(contributor, idempotency_key)
    }

    async fn submit(&self, submission: Submission) -> u64 {
        let intake = Intake {
            shard: self.shard(submission.id),
            lane: Lane::Intake,
            identity: Some((submission.id.mac, [1; 16])),
            item: encode(&Item::Contribution(submission)).unwrap(),
            mark: None,
            reads: Reads::default(),
        };
        let Submitted::Accepted(arrival) = self.store.submit(vec![intake]).await.unwrap()[0] else {
            panic!("handed in twice")
        };
        arrival
    }

    pub(crate) fn shard(&self, id: ContributionId) -> ShardId {
        id.bucket.shard(self.store.shards())
    }

    /// Hands a contribution in and lets it have a row, which `change` makes what it is.
    pub(crate) async fn journey(
        &self,
        contributor: &str,
        idempotency_key: &str,
        change: impl FnOnce(&mut Journey),
    ) -> ContributionId {
        let submission = self.submission(contributor, idempotency_key);
        let id = submission.id;
        let arrival = self.submit(submission.clone()).await;
        let workflow = WorkflowRef { name: "engine".into(), version: 1, hash: [2; 16] };
        let mut journey = Journey::begin(arrival, submission, workflow);
        change(&mut journey);
        let done = journey.state.is_terminal();
        let place = if done { Place::Finished } else { Place::Active };
        let commit = Commit {
            inbox_remove: vec![(Lane::Intake, arrival)],
            journeys: vec![(arrival, place, false, encode(&journey).unwrap())],
            ..Commit::default()
        };
        self.commit(self.shard(id), commit).await;
        id
    }

    /// Settles a journey that stands.
    pub(crate) async fn finish(&self, id: ContributionId) {
        let shard = self.shard(id);
        let known = self.store.find(shard, vec![id.mac]).await.unwrap();
        let (arrival, _) = known[0].unwrap();
        let row = self.store.journeys(shard, vec![arrival]).await.unwrap().remove(0).unwrap();
        let mut journey: Journey = decode(&row.row).unwrap();
        journey.state = State::Settled;
        let journeys = vec![(arrival, Place::Finished, true, encode(&journey).unwrap())];
        self.commit(shard, Commit { journeys, ..Commit::default() }).await;
    }

    pub(crate) async fn sequenced(&self, shard: ShardId, from: u64, indices: &[u64]) {
        let row = encode(&SequencedRow::pack(indices)).unwrap();
        self.commit(shard, Commit { sequenced_put: vec![(from, row)], ..Commit::default() }).await;
    }

    pub(crate) async fn commit(&self, shard: ShardId, commit: Commit) {
        let lease = self.store.claim(shard, 1).await.unwrap();
        let fence = Fence { owner: lease.owner, epoch: lease.epoch, seq: 1 };
        self.store.commit(shard, fence, Arc::new(commit)).await.unwrap();
    }
}
