//! What every store of data keys must do, checked through the port.

use std::collections::HashSet;

use gristmill_actors::ports::{KeyStore, StoreError};
use gristmill_workflows::entry::DataKey;
use gristmill_workflows::id::ShardId;

async fn allocate(store: &dyn KeyStore, shard: u16, count: usize) -> Vec<u64> {
    let slots = store.allocate(ShardId(shard), count).await.expect("slots are given out");
    assert_eq!(slots.len(), count);
    assert!(slots.iter().all(|slot| slot >> 48 == u64::from(shard)), "the upper 16 bits");
    slots
}

async fn keys(store: &dyn KeyStore, slots: &[u64]) -> Vec<Option<DataKey>> {
    let keys = store.keys(slots.to_vec()).await.expect("slots given out are read");
    assert_eq!(keys.len(), slots.len());
    keys
}

/// Runs all checks. `make` gives an empty store, `reopen` the same one after a crash.
///
/// # Panics
/// When the store does not do what `KeyStore` promises.
pub async fn run<S: KeyStore>(make: impl AsyncFn() -> S, reopen: impl AsyncFn(S) -> S) {
    gives_each_slot_a_key_of_its_own(&make().await).await;
    never_gives_a_slot_twice(make().await, &reopen).await;
    keeps_keys_and_forgets_destroyed_ones(make().await, &reopen).await;
    tells_slots_that_never_were(&make().await).await;
    serves_many_callers(&make().await).await;
}

async fn gives_each_slot_a_key_of_its_own(store: &dyn KeyStore) {
    assert_eq!(allocate(store, 3, 0).await, [0; 0]);
    let mut slots = Vec::new();
    for (shard, count) in [(0, 1), (65_535, 5_000), (7, 300), (0, 2)] {
        slots.extend(allocate(store, shard, count).await);
    }
    let keys = keys(store, &slots).await;
    let keys: HashSet<[u8; 32]> = keys.into_iter().flatten().map(|key| key.0).collect();
    assert_eq!(keys.len(), slots.len());
    assert_eq!(slots.iter().collect::<HashSet<_>>().len(), slots.len());
}

async fn never_gives_a_slot_twice<S: KeyStore>(mut store: S, reopen: &impl AsyncFn(S) -> S) {
    let mut given = HashSet::new();
    for count in [1, 63, 64, 65, 700, 0, 1, 1] {
        for slot in allocate(&store, 2, count).await {
            assert!(given.insert(slot), "slot {slot} twice");
        }
        store = reopen(store).await;
    }
}

async fn keeps_keys_and_forgets_destroyed_ones<S: KeyStore>(
    store: S,
    reopen: &impl AsyncFn(S) -> S,
) {
    let mut slots = allocate(&store, 1, 1_500).await;
    slots.extend(allocate(&store, 2, 10).await);
    let before = keys(&store, &slots).await;
    let destroyed: Vec<u64> = slots.iter().copied().step_by(3).collect();
    store.destroy(destroyed.clone()).await.expect("keys are destroyed");
    let expected: Vec<Option<DataKey>> =
        (0..).zip(before).map(|(nth, key)| key.filter(|_| nth % 3 != 0)).collect();
    assert_eq!(keys(&store, &slots).await, expected);
    let store = reopen(store).await;
    assert_eq!(keys(&store, &slots).await, expected);
    store.destroy(destroyed.clone()).await.expect("destroyed ones are fine");
    store.destroy(Vec::new()).await.expect("nothing to destroy is fine");
    slots.reverse();
    let reversed: Vec<_> = expected.into_iter().rev().collect();
    assert_eq!(keys(&store, &slots).await, reversed, "answers are in the order asked");
    let fresh = allocate(&store, 1, 100).await;
    assert!(fresh.iter().all(|slot| !destroyed.contains(slot)));
    assert!(keys(&store, &fresh).await.iter().all(Option::is_some));
}

async fn tells_slots_that_never_were(store: &dyn KeyStore) {
    let slots = allocate(store, 1, 1).await;
    for slot in [slots[0] + 1_000_000, 9 << 48] {
        let read = store.keys(vec![slot]).await;
        assert!(matches!(read, Err(StoreError::Damaged { .. })), "{read:?}");
        let destroyed = store.destroy(vec![slot]).await;
        assert!(matches!(destroyed, Err(StoreError::Damaged { .. })), "{destroyed:?}");
    }
}

async fn serves_many_callers(store: &dyn KeyStore) {
    let callers = || allocate(store, 5, 100);
    let (a, b, c) = tokio::join!(callers(), callers(), callers());
    let all: HashSet<u64> = [a, b, c].concat().into_iter().collect();
    assert_eq!(all.len(), 300);
}
