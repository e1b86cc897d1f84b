//! Calls that meet in one group commit.

use gristmill::embedded_store::{EmbeddedStore, Options};
use gristmill_actors::ports::{Committed, Fetch, Intake, Reads, ShardStore, StoreError, Submitted};
use gristmill_workflows::commit::{Commit, Guard, Place};
use gristmill_workflows::id::{ContributorKey, ShardId};
use gristmill_workflows::inbox::Lane;
use gristmill_workflows::lease::{Fence, Lease};
use gristmill_workflows::submission::{Mark, Scope};
use gristmill_workflows::time::Timestamp;
use std::sync::Arc;

const SHARD: ShardId = ShardId(1);
const PERSON: ContributorKey = ContributorKey([7; 16]);

fn open(dir: &tempfile::TempDir) -> EmbeddedStore {
    EmbeddedStore::open(dir.path(), Options { shards: 4, ..Options::default() }).unwrap()
}

fn known(identity: u8, hash: u8) -> Intake {
    let identity = Some(([identity; 16], [hash; 16]));
    Intake {
        shard: SHARD,
        lane: Lane::Intake,
        item: b"item".to_vec(),
        identity,
        mark: None,
        reads: Reads::default(),
    }
}

fn fence(lease: &Lease, seq: u64) -> Fence {
    Fence { owner: lease.owner, epoch: lease.epoch, seq }
}

fn state(text: &str) -> Commit {
    Commit { state: text.as_bytes().to_vec(), ..Commit::default() }
}

#[tokio::test]
async fn what_comes_while_its_reader_has_room_is_noted_without_a_commit() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let Lease { owner, epoch, .. } = store.claim(SHARD, 1).await.unwrap();
    let fetch =
        |limit| Fetch { owner, epoch, notes: true, control: (None, 9), intake: (None, limit) };
    assert!(!store.fetch(SHARD, fetch(2)).await.unwrap().noted);
    store.submit(vec![known(1, 1), known(2, 2), known(3, 3)]).await.unwrap();
    assert_eq!(store.load(SHARD).await.unwrap().noted, [1, 2], "there was room for two");
    assert!(store.fetch(SHARD, fetch(2)).await.unwrap().noted);
    assert!(!store.fetch(SHARD, fetch(3)).await.unwrap().noted, "the third was not let in");
    drop(store);
    assert_eq!(open(&dir).load(SHARD).await.unwrap().noted, [1, 2]);
}

#[tokio::test]
async fn one_call_may_name_an_identity_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let answers = store.submit(vec![known(1, 1), known(1, 1), known(1, 2), known(2, 2)]).await;
    let expected = [
        Submitted::Accepted(1),
        Submitted::Same(1),
        Submitted::Conflict(1),
        Submitted::Accepted(2),
    ];
    assert_eq!(answers.unwrap(), expected);
}

#[tokio::test]
async fn calls_at_once_take_an_identity_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&dir));
    let calls: Vec<_> = (0..64)
        .map(|call: u8| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.submit(vec![known(call % 8, 1)]).await.unwrap()[0] })
        })
        .collect();
    let mut accepted = 0;
    for call in calls {
        accepted += u8::from(matches!(call.await.unwrap(), Submitted::Accepted(_)));
    }
    assert_eq!(accepted, 8);
    assert_eq!(store.inbox(SHARD, Lane::Intake, None, 99).await.unwrap().len(), 8);
}

#[tokio::test]
async fn commits_of_a_shard_at_once_apply_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&dir));
    let lease = ShardStore::claim(&*store, SHARD, 9).await.unwrap();
    let active = Commit {
        journeys: vec![(5, Place::Active, false, b"active".to_vec())],
        timers_put: vec![(Timestamp(3), 5)],
        ..state("first")
    };
    let finished = Commit {
        journeys: vec![(5, Place::Finished, true, b"finished".to_vec())],
        timers_remove: vec![(Timestamp(3), 5)],
        ..state("second")
    };
    let (first, second, gap) = tokio::join!(
        store.commit(SHARD, fence(&lease, 1), Arc::new(active)),
        store.commit(SHARD, fence(&lease, 2), Arc::new(finished)),
        store.commit(SHARD, fence(&lease, 4), Arc::new(state("gap"))),
    );
    assert_eq!((first, second), (Ok(Committed::Applied), Ok(Committed::Applied)));
    assert_eq!(gap, Err(StoreError::Fenced { shard: SHARD }));
    assert_eq!(store.load(SHARD).await.unwrap().state, Some(b"second".to_vec()));
    assert_eq!(store.list(SHARD, Place::Active, None, 9).await.unwrap(), []);
    assert_eq!(store.timers(SHARD, Timestamp(9), 9).await.unwrap(), []);
    let finished = store.list(SHARD, Place::Finished, None, 9).await.unwrap();
    assert_eq!(finished, [(5, b"finished".to_vec())]);
    drop(store);
    let store = open(&dir);
    let resent = store.commit(SHARD, fence(&lease, 2), Arc::new(state("again"))).await;
    assert_eq!(resent, Ok(Committed::Applied));
    assert_eq!(store.load(SHARD).await.unwrap().state, Some(b"second".to_vec()));
}

#[tokio::test]
async fn a_mark_breaks_a_guard_of_its_own_group_and_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let lease = ShardStore::claim(&store, SHARD, 9).await.unwrap();
    let guard = Guard {
        contributor: PERSON,
        arrival: 5,
        grant: "g".into(),
        program: "p".into(),
        position: 0,
    };
    let guarded = Arc::new(Commit { guards: vec![guard], ..state("accepted") });
    let mark = Mark { scope: Scope::All, position: 0, at: Timestamp(1) };
    let withdrawal =
        Intake { lane: Lane::Control, mark: Some((PERSON, mark.clone())), ..known(1, 1) };
    let (submitted, committed) = tokio::join!(
        store.submit(vec![withdrawal]),
        store.commit(SHARD, fence(&lease, 1), Arc::clone(&guarded)),
    );
    assert_eq!(submitted.unwrap(), [Submitted::Accepted(1)]);
    let broken = Committed::Broken(vec![(5, Mark { position: 1, ..mark })]);
    assert_eq!(committed, Ok(broken.clone()));
    drop(store);
    let store = open(&dir);
    assert_eq!(store.commit(SHARD, fence(&lease, 1), guarded).await, Ok(broken));
}

#[tokio::test]
async fn a_store_that_stands_keeps_its_number_of_shards() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(&dir));
    let options = Options { shards: 8, ..Options::default() };
    let store = EmbeddedStore::open(dir.path(), options).unwrap();
    assert_eq!(store.shards(), 4);
    let outside = store.load(ShardId(4)).await;
    assert!(matches!(outside, Err(StoreError::Damaged { .. })), "{outside:?}");
}
