//! What every store of encrypted blobs must do, checked through the port.

use gristmill_actors::ports::{MediaError, MediaStore};
use gristmill_workflows::entry::DataKey;

const KEY: DataKey = DataKey([7; 32]);
const OTHER: DataKey = DataKey([8; 32]);
const STORED: &str = "the store takes a blob";

/// Runs all checks. `make` gives an empty store, `reopen` the same one after a crash.
///
/// # Panics
/// When the store does not do what `MediaStore` promises.
pub async fn run<S: MediaStore>(make: impl AsyncFn() -> S, reopen: impl AsyncFn(S) -> S) {
    gives_back_what_was_put(make().await, &reopen).await;
    replaces_a_blob_under_any_key(&make().await).await;
    refuses_another_key(&make().await).await;
    removes_for_good(make().await, &reopen).await;
}

async fn gives_back_what_was_put<S: MediaStore>(store: S, reopen: &impl AsyncFn(S) -> S) {
    assert_eq!(store.get(1, KEY).await, Ok(None));
    let blobs = [(0, vec![]), (u64::MAX, vec![1]), (3 << 48, vec![9; 3_000_000])];
    for (slot, bytes) in &blobs {
        store.put(*slot, KEY, bytes.clone()).await.expect(STORED);
    }
    let store = reopen(store).await;
    for (slot, bytes) in blobs {
        assert_eq!(store.get(slot, KEY).await, Ok(Some(bytes)), "slot {slot}");
    }
}

async fn replaces_a_blob_under_any_key(store: &dyn MediaStore) {
    for (key, text) in [(KEY, "a"), (KEY, "bb"), (OTHER, "")] {
        store.put(5, key, text.into()).await.expect(STORED);
        assert_eq!(store.get(5, key).await, Ok(Some(text.into())));
    }
    assert_eq!(store.get(5, KEY).await, Err(MediaError::Damaged { slot: 5 }));
}

async fn refuses_another_key(store: &dyn MediaStore) {
    store.put(6, KEY, b"a".to_vec()).await.expect(STORED);
    assert_eq!(store.get(6, OTHER).await, Err(MediaError::Damaged { slot: 6 }));
    assert_eq!(store.get(6, KEY).await, Ok(Some(b"a".to_vec())));
}

async fn removes_for_good<S: MediaStore>(store: S, reopen: &impl AsyncFn(S) -> S) {
    for slot in [1, 2, 1 << 48] {
        store.put(slot, KEY, b"a".to_vec()).await.expect(STORED);
    }
    store.remove(vec![1, 1 << 48, 77, 9 << 48]).await.expect("absent ones are fine");
    store.remove(Vec::new()).await.expect("nothing to remove is fine");
    let store = reopen(store).await;
    assert_eq!(store.get(1, KEY).await, Ok(None));
    assert_eq!(store.get(1 << 48, KEY).await, Ok(None));
    assert_eq!(store.get(2, KEY).await, Ok(Some(b"a".to_vec())));
    store.put(1, OTHER, b"b".to_vec()).await.expect(STORED);
    assert_eq!(store.get(1, OTHER).await, Ok(Some(b"b".to_vec())));
}
