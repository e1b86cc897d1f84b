//! Leases with an end: claim, renew, give back.

use super::*;
use gristmill_actors::ports::Renewed;
use std::time::Duration;
use tokio::time::Instant;

/// Claims as soon as the store lets it.
async fn claim_when_free<S: ShardStore>(store: &S, owner: u128) -> Lease {
    let began = Instant::now();
    loop {
        match store.claim(SHARD, owner).await {
            Ok(lease) => return lease,
            Err(error) => {
                assert_eq!(error, StoreError::Fenced { shard: SHARD });
                assert!(began.elapsed() < Duration::from_secs(10), "the lease does not end");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

/// Whether a lease that was renewed, or claimed, no earlier than `since` may be over by now: then the
/// machine stood still in the middle of the case, which says nothing.
fn may_be_over(since: Instant) -> bool {
    since.elapsed() >= Duration::from_millis(LEASE_TTL_MS - CLOCK_STEP_MS)
}

pub(super) async fn a_lease_is_its_owners_until_it_is_over<S: ShardStore>(store: S) {
    let mut old = Owner::claim(&store, SHARD, 1).await;
    old.apply(commit("old")).await;
    let since = Instant::now();
    let again = store.claim(SHARD, 1).await.expect("one's own lease is claimed anew");
    assert!(again.epoch > old.lease.epoch);
    let new = claim_when_free(&store, 2).await;
    assert!(may_be_over(since), "{:?}", since.elapsed());
    assert!(new.epoch > again.epoch);
    assert_eq!(old.send(2, commit("zombie")).await, Err(StoreError::Fenced { shard: SHARD }));
    assert_eq!(state(&store, SHARD).await, Some(bytes("old")));
    assert_eq!(store.renew(1, vec![SHARD]).await, Ok(vec![Renewed::Lost]));
}

pub(super) async fn a_lease_that_is_renewed_is_not_claimed_by_another<S: ShardStore>(
    store: S,
) -> bool {
    let mut since = Instant::now();
    let lease = store.claim(SHARD, 1).await.expect("a shard is claimed");
    let began = Instant::now();
    let mut until = lease.until;
    while began.elapsed() < Duration::from_millis(2 * LEASE_TTL_MS) {
        let asked = Instant::now();
        let renewed = store.renew(1, vec![SHARD, OTHER_SHARD]).await.expect("an answer");
        let claimed = store.claim(SHARD, 2).await;
        if may_be_over(since) {
            return false;
        }
        since = asked;
        assert_eq!(claimed, Err(StoreError::Fenced { shard: SHARD }));
        assert!(matches!(renewed[..], [Renewed::Until(_), Renewed::Lost]), "{renewed:?}");
        if let Renewed::Until(later) = renewed[0] {
            assert!(later >= until);
            until = later;
        }
        tokio::time::sleep(Duration::from_millis(LEASE_TTL_MS / 10)).await;
    }
    let leases = store.leases(vec![OTHER_SHARD, SHARD]).await.expect("leases are read");
    assert_eq!((leases[0].owner, leases[1].owner), (0, 1));
    assert_eq!((leases[1].epoch, leases[1].until), (lease.epoch, until));
    true
}

pub(super) async fn a_commit_renews<S: ShardStore>(store: S) -> bool {
    let mut since = Instant::now();
    let mut owner = Owner::claim(&store, SHARD, 1).await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2 * LEASE_TTL_MS) {
        let asked = Instant::now();
        let committed = owner.send(owner.seq + 1, commit("s")).await;
        let claimed = store.claim(SHARD, 2).await;
        if may_be_over(since) {
            return false;
        }
        since = asked;
        assert_eq!(committed, Ok(Committed::Applied));
        assert_eq!(claimed, Err(StoreError::Fenced { shard: SHARD }));
        owner.seq += 1;
        tokio::time::sleep(Duration::from_millis(LEASE_TTL_MS / 10)).await;
    }
    true
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
