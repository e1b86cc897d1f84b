//! Leases with an end: claim, renew, give back.

use super::*;
use gristmill_actors::ports::Renewed;
use std::time::Duration;
use tokio::time::Instant;

/// Claims as soon as the store lets it; says how long that took.
async fn claim_when_free<S: ShardStore>(store: &S, owner: u128) -> (Lease, Duration) {
    let began = Instant::now();
    loop {
        match store.claim(SHARD, owner).await {
            Ok(lease) => return (lease, began.elapsed()),
            Err(error) => {
                assert_eq!(error, StoreError::Fenced { shard: SHARD });
                assert!(began.elapsed() < Duration::from_secs(10), "the lease does not end");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

pub(super) async fn a_lease_is_its_owners_until_it_is_over<S: ShardStore>(store: S) {
    let mut old = Owner::claim(&store, SHARD, 1).await;
    old.apply(commit("old")).await;
    let fenced = Err(StoreError::Fenced { shard: SHARD });
    assert_eq!(store.claim(SHARD, 2).await, fenced);
    let again = store.claim(SHARD, 1).await.expect("one's own lease is claimed anew");
    assert!(again.epoch > old.lease.epoch);
    let (new, waited) = claim_when_free(&store, 2).await;
    assert!(waited >= Duration::from_millis(LEASE_TTL_MS / 2), "{waited:?}");
    assert!(new.epoch > again.epoch);
    assert_eq!(old.send(2, commit("zombie")).await, Err(StoreError::Fenced { shard: SHARD }));
    assert_eq!(state(&store, SHARD).await, Some(bytes("old")));
    assert_eq!(store.renew(1, vec![SHARD]).await, Ok(vec![Renewed::Lost]));
}

pub(super) async fn a_lease_that_is_renewed_is_not_claimed_by_another<S: ShardStore>(store: S) {
    let lease = store.claim(SHARD, 1).await.expect("a shard is claimed");
    let began = Instant::now();
    let mut until = lease.until;
    while began.elapsed() < Duration::from_millis(2 * LEASE_TTL_MS) {
        let renewed = store.renew(1, vec![SHARD, OTHER_SHARD]).await.expect("an answer");
        assert!(matches!(renewed[..], [Renewed::Until(_), Renewed::Lost]), "{renewed:?}");
        if let Renewed::Until(later) = renewed[0] {
            assert!(later >= until);
            until = later;
        }
        assert_eq!(store.claim(SHARD, 2).await, Err(StoreError::Fenced { shard: SHARD }));
        tokio::time::sleep(Duration::from_millis(LEASE_TTL_MS / 10)).await;
    }
    let leases = store.leases(vec![OTHER_SHARD, SHARD]).await.expect("leases are read");
    assert_eq!((leases[0].owner, leases[1].owner), (0, 1));
    assert_eq!((leases[1].epoch, leases[1].until), (lease.epoch, until));
}

pub(super) async fn a_commit_renews<S: ShardStore>(store: S) {
    let mut owner = Owner::claim(&store, SHARD, 1).await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2 * LEASE_TTL_MS) {
        owner.apply(commit("s")).await;
        assert_eq!(store.claim(SHARD, 2).await, Err(StoreError::Fenced { shard: SHARD }));
        tokio::time::sleep(Duration::from_millis(LEASE_TTL_MS / 10)).await;
    }
}

pub(super) async fn a_lease_given_back_is_free_at_once<S: ShardStore>(store: S) {
    let old = Owner::claim(&store, SHARD, 1).await;
    assert_eq!(store.release(SHARD, 1).await, Ok(()));
    assert_eq!(old.send(1, commit("late")).await, Err(StoreError::Fenced { shard: SHARD }));
    let mut new = Owner::claim(&store, SHARD, 2).await;
    assert!(new.lease.epoch > old.lease.epoch);
    new.apply(commit("new")).await;
    assert_eq!(state(&store, SHARD).await, Some(bytes("new")));
}

pub(super) async fn only_the_owner_renews_and_gives_back<S: ShardStore>(store: S) {
    assert_eq!(store.renew(1, vec![SHARD]).await, Ok(vec![Renewed::Lost]), "nobody's");
    assert_eq!(store.release(SHARD, 1).await, Ok(()));
    let mut owner = Owner::claim(&store, SHARD, 1).await;
    assert_eq!(store.renew(2, vec![SHARD]).await, Ok(vec![Renewed::Lost]));
    assert_eq!(store.release(SHARD, 2).await, Ok(()), "another's stays as it is");
    assert_eq!(store.claim(SHARD, 2).await, Err(StoreError::Fenced { shard: SHARD }));
    owner.apply(commit("s")).await;
}
