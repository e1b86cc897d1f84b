use super::*;
use crate::memory_store::{MemoryStore, Shape};
use gristmill_actors::ports::Reads;
use std::task::{Context, Poll, Waker};

const SHARD: ShardId = ShardId(0);

fn faulty() -> (FaultyStore<MemoryStore>, Faults) {
    let faults = Faults::default();
    (FaultyStore::new(MemoryStore::new(Shape::default()), faults.clone()), faults)
}

fn commit(state: &[u8]) -> Arc<Commit> {
    Arc::new(Commit { state: state.to_vec(), ..Commit::default() })
}

fn fence(lease: Lease, seq: u64) -> Fence {
    Fence { owner: lease.owner, epoch: lease.epoch, seq }
}

async fn state(store: &FaultyStore<MemoryStore>) -> Option<Vec<u8>> {
    store.store().load(SHARD).await.unwrap().state
}

fn is_ambiguous<T>(answer: &Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Ambiguous { .. }))
}

#[tokio::test]
async fn a_failed_call_changes_nothing_and_the_next_one_passes() {
    let (store, faults) = faulty();
    let lease = ShardStore::claim(&store, SHARD, 1).await.unwrap();
    faults.at(Operation::Commit, 2, Fault::Failed);
    store.commit(SHARD, fence(lease, 1), commit(b"1")).await.unwrap();
    let failed = store.commit(SHARD, fence(lease, 2), commit(b"2")).await;
    assert!(matches!(failed, Err(StoreError::Unavailable { .. })));
    assert_eq!(state(&store).await.as_deref(), Some(&b"1"[..]));
    store.commit(SHARD, fence(lease, 2), commit(b"2")).await.unwrap();
    assert_eq!(faults.met(), [(Operation::Commit, 2, Fault::Failed)]);
    assert_eq!(faults.calls(Operation::Commit), 3);
}

#[tokio::test]
async fn a_persisted_call_is_applied_though_its_answer_is_lost() {
    let (store, faults) = faulty();
    let lease = ShardStore::claim(&store, SHARD, 1).await.unwrap();
    faults.at(Operation::Commit, 1, Fault::FailedButPersisted);
    assert!(is_ambiguous(&store.commit(SHARD, fence(lease, 1), commit(b"1")).await));
    assert_eq!(state(&store).await.as_deref(), Some(&b"1"[..]));
    let again = store.commit(SHARD, fence(lease, 1), commit(b"1")).await;
    assert_eq!(again, Ok(Committed::Applied));
}

#[tokio::test]
async fn a_late_commit_is_applied_when_its_call_comes() {
    let (store, faults) = faulty();
    let lease = ShardStore::claim(&store, SHARD, 1).await.unwrap();
    faults.at(Operation::Commit, 1, Fault::AppliedLate(2));
    assert!(is_ambiguous(&store.commit(SHARD, fence(lease, 1), commit(b"late")).await));
    assert_eq!(store.load(SHARD).await.unwrap().state, None);
    assert_eq!(store.load(SHARD).await.unwrap().state.as_deref(), Some(&b"late"[..]));
    assert_eq!(faults.late_answers(), [Ok(())]);
}

#[tokio::test]
async fn a_late_commit_whose_seq_is_used_or_whose_epoch_is_over_changes_nothing() {
    let (store, faults) = faulty();
    let lease = ShardStore::claim(&store, SHARD, 1).await.unwrap();
    faults.at(Operation::Commit, 1, Fault::AppliedLate(2));
    faults.at(Operation::Commit, 3, Fault::AppliedLate(2));
    assert!(is_ambiguous(&store.commit(SHARD, fence(lease, 1), commit(b"late")).await));
    store.commit(SHARD, fence(lease, 1), commit(b"resent")).await.unwrap();
    assert!(is_ambiguous(&store.commit(SHARD, fence(lease, 2), commit(b"zombie")).await));
    let other = FaultyStore::new(store.store().clone(), faults.clone());
    let newer = ShardStore::claim(&other, SHARD, 2).await.unwrap();
    other.commit(SHARD, fence(newer, 1), commit(b"newer")).await.unwrap();
    assert_eq!(state(&store).await.as_deref(), Some(&b"newer"[..]));
    assert_eq!(faults.late_answers(), [Ok(()), Err(StoreError::Fenced { shard: SHARD })]);
}

#[tokio::test]
async fn a_late_submit_is_known_by_its_identity() {
    let (store, faults) = faulty();
    let item = Intake {
        shard: SHARD,
        lane: Lane::Intake,
        item: b"x".to_vec(),
        identity: Some(([1; 16], [2; 16])),
        mark: None,
        reads: Reads::default(),
    };
    faults.at(Operation::Submit, 1, Fault::AppliedLate(1));
    assert!(is_ambiguous(&store.submit(vec![item.clone()]).await));
    assert_eq!(store.submit(vec![item]).await.unwrap(), [Submitted::Same(1)]);
    assert_eq!(store.inbox(SHARD, Lane::Intake, None, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_hanging_call_answers_after_its_release_only() {
    let (store, faults) = faulty();
    faults.when(1, Fault::Hang, |call| call.operation == Operation::Load);
    let store = Arc::new(store);
    let mut load = Box::pin(async { store.load(SHARD).await });
    let mut context = Context::from_waker(Waker::noop());
    assert!(load.as_mut().poll(&mut context).is_pending());
    assert!(store.load(SHARD).await.is_ok());
    assert!(load.as_mut().poll(&mut context).is_pending());
    faults.release();
    assert!(matches!(load.as_mut().poll(&mut context), Poll::Ready(Ok(_))));
}

#[tokio::test]
async fn a_dead_store_fails_every_call_until_a_new_process() {
    let (store, faults) = faulty();
    let lease = ShardStore::claim(&store, SHARD, 1).await.unwrap();
    let of_shard = |call: &Call<'_>| call.shard == Some(SHARD) && call.commit.is_some();
    faults.when(1, Fault::DieApplied, of_shard);
    let died = store.commit(SHARD, fence(lease, 1), commit(b"1")).await;
    assert!(matches!(died, Err(StoreError::Failed { .. })));
    assert!(matches!(store.load(SHARD).await, Err(StoreError::Failed { .. })));
    let claims = ContentIndex::claim(&store, Vec::new()).await;
    assert!(matches!(claims, Err(StoreError::Failed { .. })));
    faults.revive();
    assert_eq!(store.load(SHARD).await.unwrap().state.as_deref(), Some(&b"1"[..]));
}
