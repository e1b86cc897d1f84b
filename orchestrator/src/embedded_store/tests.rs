use super::*;

fn shared(dir: &Path) -> Arc<Shared> {
    let lock = files::lock(dir).unwrap();
    let engine = Engine::open(&dir.join("engine")).unwrap();
    let marked = RwLock::new(Marked::new());
    let failure = watch::Sender::new(None);
    let (ahead, progress) = (Vec::new(), Progress::new());
    Arc::new(Shared { engine, marked, ahead, failure, progress, _lock: lock })
}

#[tokio::test]
async fn a_group_that_does_not_end_fails_the_store_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let shared = shared(dir.path());
    let (close, closed) = std::sync::mpsc::channel();
    let watched = Arc::clone(&shared);
    let every = Duration::from_millis(1);
    let watchdog = thread::spawn(move || writer::watch(&watched, &closed, every, 20 * every));
    assert_eq!(shared.failure(), None);
    shared.progress.begin();
    let mut failure = shared.failure.subscribe();
    let failed = failure.wait_for(Option::is_some).await.unwrap().clone();
    assert!(matches!(failed, Some(StoreError::Failed { .. })), "{failed:?}");
    shared.fail("another".to_owned(), true);
    assert_eq!(shared.failure(), failed);
    drop(close);
    watchdog.join().unwrap();
}

#[tokio::test]
async fn after_a_failure_every_call_fails_the_same_way() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path(), Options::default()).unwrap();
    let lease = ShardStore::claim(&store, ShardId(0), 1).await.unwrap();
    store.shared.fail("no space left".to_owned(), true);
    let failed = StoreError::Failed { detail: "no space left".to_owned(), full: true };
    let fence = Fence { owner: lease.owner, epoch: lease.epoch, seq: 1 };
    let committed = store.commit(ShardId(0), fence, Arc::default()).await;
    assert_eq!(committed, Err(failed.clone()));
    assert_eq!(store.load(ShardId(0)).await.map(drop), Err(failed.clone()));
    assert_eq!(store.submit(Vec::new()).await, Err(failed));
}
