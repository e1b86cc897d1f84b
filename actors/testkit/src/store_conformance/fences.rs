//! Fencing: owner, epoch, seq.

use super::*;

pub(super) async fn every_claim_is_a_higher_epoch<S: ShardStore>(store: S) {
    let mut epoch = 0;
    for owner in [1, 1, 2, 1] {
        let lease = store.claim(SHARD, owner).await.expect("a shard is claimed");
        assert!(lease.epoch > epoch, "{} after {epoch}", lease.epoch);
        assert_eq!((lease.owner, lease.seq), (owner, 0));
        epoch = lease.epoch;
    }
}

pub(super) async fn a_commit_without_rows_counts<S: ShardStore>(store: S) {
    let owner = Owner::claim(&store, SHARD, 1).await;
    assert_eq!(owner.send(1, commit("one")).await, Ok(Committed::Applied));
    assert_eq!(owner.send(2, commit("two")).await, Ok(Committed::Applied));
    assert_eq!(state(&store, SHARD).await, Some(bytes("two")));
}

pub(super) async fn a_gap_in_the_sequence_is_fenced<S: ShardStore>(store: S) {
    let mut owner = Owner::claim(&store, SHARD, 1).await;
    let fenced = Err(StoreError::Fenced { shard: SHARD });
    assert_eq!(owner.send(2, commit("gap")).await, fenced);
    owner.apply(commit("one")).await;
    assert_eq!(owner.send(3, commit("gap")).await, fenced);
    assert_eq!(state(&store, SHARD).await, Some(bytes("one")));
    owner.apply(commit("two")).await;
}

pub(super) async fn an_older_seq_is_answered_and_changes_nothing<S: ShardStore>(store: S) {
    let arrival = accept(&store, intake(b"x")).await;
    let mut owner = Owner::claim(&store, SHARD, 1).await;
    owner.apply(commit("one")).await;
    owner.apply(commit("two")).await;
    let other = Commit {
        inbox_remove: vec![(Lane::Intake, arrival)],
        timers_put: vec![(Timestamp(1), arrival)],
        ..commit("resent with other bytes")
    };
    for seq in [2, 1, 2] {
        assert_eq!(owner.send(seq, other.clone()).await, Ok(Committed::Applied));
    }
    assert_eq!(state(&store, SHARD).await, Some(bytes("two")));
    assert_eq!(inbox(&store, SHARD, Lane::Intake).await.len(), 1);
    assert_eq!(store.timers(SHARD, Timestamp(9), 9).await, Ok(vec![]));
    owner.apply(commit("three")).await;
}

pub(super) async fn an_older_epoch_or_another_owner_changes_nothing<S: ShardStore>(store: S) {
    let mut old = Owner::claim(&store, SHARD, 1).await;
    old.apply(commit("old")).await;
    let mut new = Owner::claim(&store, SHARD, 2).await;
    let fenced = Err(StoreError::Fenced { shard: SHARD });
    for seq in [1, 2, 3] {
        assert_eq!(old.send(seq, commit("zombie")).await, fenced);
    }
    let stolen = Fence { owner: 1, ..new.fence(1) };
    assert_eq!(store.commit(SHARD, stolen, Arc::new(commit("stolen"))).await, fenced);
    let ahead = Fence { epoch: new.lease.epoch + 1, ..new.fence(1) };
    assert_eq!(store.commit(SHARD, ahead, Arc::new(commit("made up"))).await, fenced);
    assert_eq!(state(&store, SHARD).await, Some(bytes("old")));
    new.apply(commit("new")).await;
    let mut again = Owner::claim(&store, SHARD, 2).await;
    assert_eq!(new.send(2, commit("own older epoch")).await, fenced);
    again.apply(commit("again")).await;
    assert_eq!(state(&store, SHARD).await, Some(bytes("again")));
}

pub(super) async fn an_unclaimed_shard_takes_no_commit<S: ShardStore>(store: S) {
    let fence = Fence { owner: 1, epoch: 1, seq: 1 };
    let fenced = Err(StoreError::Fenced { shard: SHARD });
    assert_eq!(store.commit(SHARD, fence, Arc::new(commit("s"))).await, fenced);
    assert_eq!(state(&store, SHARD).await, None);
}
