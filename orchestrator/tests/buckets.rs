//! The bucket adapters hold to their ports: over an object store in memory, and over the
//! S3-compatible service that `GRISTMILL_S3_ENDPOINT` names. There a bucket `gristmill` must stand;
//! credentials are those of the usual variables, else `test` and `test`.
#![cfg(test)]

use gristmill::bucket::Bucket;
use gristmill::bucket::address::{Address, Credentials};
use gristmill::log_bucket::LogBucket;
use gristmill::media_bucket::MediaBucket;
use gristmill_actors::ports::{LogError, LogStore};
use gristmill_actors::trace_log::TraceLog;
use gristmill_testkit::{log_conformance, media_conformance};
use gristmill_trace::key::SigningKey;
use gristmill_workflows::id::ShardId;
use gristmill_workflows::sequencer::Offer;
use object_store::memory::InMemory;
use std::cell::RefCell;
use std::sync::Arc;

const ENDPOINT: &str = "GRISTMILL_S3_ENDPOINT";

/// Folders of one bucket, one store after the other.
struct Folders {
    bucket: Bucket,
    newest: RefCell<String>,
}

impl Folders {
    fn new(bucket: Bucket) -> Self {
        Self { bucket, newest: RefCell::default() }
    }

    fn in_memory() -> Self {
        Self::new(Bucket::new(Arc::new(InMemory::new()), "town"))
    }

    /// Of the service that is named, if one is.
    fn of_service() -> Option<Self> {
        let Ok(endpoint) = std::env::var(ENDPOINT) else {
            eprintln!("skipped: no S3-compatible service ({ENDPOINT} is not set)");
            return None;
        };
        let variable = |name: &str| match std::env::var(name) {
            Ok(value) => Some(value),
            Err(_) => (!name.ends_with("TOKEN")).then(|| "test".to_owned()),
        };
        let credentials = Credentials::find(None, variable).unwrap();
        let address: Address =
            format!("s3://gristmill/tests/{}", uuid::Uuid::new_v4()).parse().unwrap();
        Some(Self::new(address.open(&endpoint, "us-east-1", &credentials).unwrap()))
    }

    fn next(&self) -> Bucket {
        self.newest.replace(uuid::Uuid::new_v4().to_string());
        self.newest()
    }

    fn newest(&self) -> Bucket {
        self.bucket.folder(&self.newest.borrow())
    }
}

async fn log_holds(folders: &Folders) {
    let make = async || LogBucket::new(folders.next());
    log_conformance::run(make, async |_| LogBucket::new(folders.newest())).await;
}

async fn media_holds(folders: &Folders) {
    let make = async || MediaBucket::new(folders.next());
    media_conformance::run(make, async |_| MediaBucket::new(folders.newest())).await;
}

#[tokio::test]
async fn a_log_over_an_object_store_in_memory_holds_to_its_port() {
    log_holds(&Folders::in_memory()).await;
}

#[tokio::test]
async fn media_over_an_object_store_in_memory_hold_to_their_port() {
    media_holds(&Folders::in_memory()).await;
}

#[tokio::test]
async fn a_log_in_a_bucket_holds_to_its_port() {
    let Some(folders) = Folders::of_service() else { return };
    folders.bucket.probe().await.unwrap();
    log_holds(&folders).await;
}

#[tokio::test]
async fn media_in_a_bucket_hold_to_their_port() {
    let Some(folders) = Folders::of_service() else { return };
    media_holds(&folders).await;
}

#[tokio::test]
async fn only_paths_of_the_log_are_taken() {
    let log = LogBucket::new(Folders::in_memory().next());
    for path in ["../secret", "/etc/passwd", "", ".", "a//b", ".probe/0", "a b", "a%2Fb"] {
        let path = path.to_owned();
        let refused = [
            log.read(path.clone()).await.map(|_| ()),
            log.create(vec![(path.clone(), Vec::new())]).await,
            log.replace((path.clone(), Vec::new())).await,
            log.list(path.clone()).await.map(|_| ()),
            log.remove(vec![path.clone()]).await,
        ];
        for answer in refused {
            assert!(matches!(answer, Err(LogError::Failed { .. })), "{path:?}");
        }
    }
}

/// Two writers of one log take turns and meet; what one sequenced the other takes up.
async fn two_writers_write_one_log(folders: &Folders) {
    let key = || SigningKey::from_seed("example.com/log", &[7; 32]).unwrap();
    let folder = folders.next();
    let open = async || {
        let store = Arc::new(LogBucket::new(folder.clone()));
        TraceLog::open(store, key()).await.unwrap().share()
    };
    let (mut one, mut other) = (open().await, open().await);
    for round in 0..5 {
        let offer = |shard| {
            let entries = vec![format!("{{\"n\":{round}}}").into_bytes(); 300];
            Offer { shard: ShardId(shard), epoch: 1, from: round * 300, entries }
        };
        let (first, second) =
            tokio::join!(one.sequence(vec![offer(1)]), other.sequence(vec![offer(2)]));
        first.unwrap();
        second.unwrap();
    }
    one.catch_up().await.unwrap();
    other.catch_up().await.unwrap();
    assert_eq!((one.sequenced_size(), other.sequenced_size()), (3_000, 3_000));
    assert_eq!(one.publish().await.unwrap().size, 3_000);
    assert!(other.follow().await.unwrap());
    assert_eq!(open().await.published_size(), 3_000);
}

#[tokio::test]
async fn two_writers_share_a_log_over_an_object_store_in_memory() {
    two_writers_write_one_log(&Folders::in_memory()).await;
}

#[tokio::test]
async fn two_writers_share_a_log_in_a_bucket() {
    let Some(folders) = Folders::of_service() else { return };
    two_writers_write_one_log(&folders).await;
}
