//! The file adapters hold to their ports, and notice what was done to their files.
#![cfg(test)]

use gristmill::key_files::KeyFiles;
use gristmill::log_files::LogFiles;
use gristmill::media_files::MediaFiles;
use gristmill_actors::ports::{KeyStore, LogError, LogStore, MediaError, MediaStore};
use gristmill_actors::trace_log::TraceLog;
use gristmill_testkit::{keys_conformance, log_conformance, media_conformance};
use gristmill_trace::key::SigningKey;
use gristmill_trace::verify;
use gristmill_workflows::entry::DataKey;
use gristmill_workflows::id::ShardId;
use gristmill_workflows::sequencer::Offer;
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

const KEY: DataKey = DataKey([7; 32]);

/// Folders for one store after the other.
struct Folders(TempDir, Cell<u32>);

impl Folders {
    fn new() -> Self {
        Self(TempDir::new().unwrap(), Cell::new(0))
    }

    fn next(&self) -> PathBuf {
        self.1.set(self.1.get() + 1);
        self.newest()
    }

    fn newest(&self) -> PathBuf {
        self.0.path().join(self.1.get().to_string())
    }
}

#[tokio::test]
async fn log_files_hold_to_their_port() {
    let folders = Folders::new();
    let make = async || LogFiles::open(&folders.next()).unwrap();
    log_conformance::run(make, async |_| LogFiles::open(&folders.newest()).unwrap()).await;
}

#[tokio::test]
async fn key_files_hold_to_their_port() {
    let folders = Folders::new();
    let make = async || KeyFiles::open(&folders.next()).unwrap();
    keys_conformance::run(make, async |_| KeyFiles::open(&folders.newest()).unwrap()).await;
}

#[tokio::test]
async fn media_files_hold_to_their_port() {
    let folders = Folders::new();
    let make = async || MediaFiles::open(&folders.next()).unwrap();
    media_conformance::run(make, async |_| MediaFiles::open(&folders.newest()).unwrap()).await;
}

#[tokio::test]
async fn paths_that_lead_elsewhere_are_refused() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("secret"), "x").unwrap();
    let log = LogFiles::open(&folder.path().join("trace")).unwrap();
    let long = "a/".repeat(200);
    let nul = "a\0b";
    for path in [
        "../secret",
        "/etc/passwd",
        "a/../../secret",
        "",
        ".",
        "a//b",
        "a/",
        "./a",
        ".tmp/0",
        nul,
        "a b",
        "ä",
        &long,
    ] {
        let path = path.to_owned();
        let object = (path.clone(), b"y".to_vec());
        let refused = [
            log.read(path.clone()).await.map(|_| ()),
            log.create(vec![object.clone()]).await,
            log.replace(object).await,
            log.list(path.clone()).await.map(|_| ()),
            log.remove(vec![path.clone()]).await,
        ];
        for answer in refused {
            assert!(matches!(answer, Err(LogError::Failed { .. })), "{path:?}");
        }
    }
    assert_eq!(fs::read_to_string(folder.path().join("secret")).unwrap(), "x");
}

#[tokio::test]
async fn what_a_crash_left_half_written_is_taken_away() {
    let folder = TempDir::new().unwrap();
    let trace = folder.path().join("trace");
    drop(LogFiles::open(&trace).unwrap());
    fs::write(trace.join(".tmp/0"), "half").unwrap();
    let log = LogFiles::open(&trace).unwrap();
    assert_eq!(fs::read_dir(trace.join(".tmp")).unwrap().count(), 0);
    let empty: Vec<String> = Vec::new();
    log.create(vec![("tile/0/000.p/1".to_owned(), b"a".to_vec())]).await.unwrap();
    assert_eq!(fs::read_dir(trace.join(".tmp")).unwrap().count(), 0);
    log.remove(vec!["tile/0/000.p/1".to_owned()]).await.unwrap();
    assert!(!trace.join("tile/0/000.p").exists(), "no empty folder of partial tiles stays");
    assert_eq!(log.list("tile/0".to_owned()).await.unwrap(), empty);
}

#[tokio::test]
async fn the_log_on_files_is_opened_again_and_verified_by_a_stranger() {
    let folder = TempDir::new().unwrap();
    let key = || SigningKey::from_seed("example.com/log", &[7; 32]).unwrap();
    let mut from = 0;
    for count in [3, 300, 1_000, 1] {
        let store = Arc::new(LogFiles::open(folder.path()).unwrap());
        let mut log = TraceLog::open(store, key()).await.unwrap();
        assert_eq!((log.sequenced_size(), log.published_size()), (from, from));
        for _ in 0..2 {
            let entries = vec![b"{}".to_vec(); count];
            let offer = Offer { shard: ShardId(1), epoch: 1, from, entries };
            log.sequence(vec![offer]).await.unwrap();
            from += count as u64;
        }
        assert_eq!(log.publish().await.unwrap().size, from);
    }
    let mut fetch = |path: &str| Ok(fs::read(folder.path().join(path)).ok());
    let report = verify::log(&mut fetch, key().verifier(), |_| {}).unwrap();
    assert!(report.is_whole(), "{:?}", report.faults);
    assert_eq!(report.entries, from);
}

#[tokio::test]
async fn a_destroyed_key_is_gone_from_the_file() {
    let folder = TempDir::new().unwrap();
    let keys = KeyFiles::open(folder.path()).unwrap();
    let slots = keys.allocate(ShardId(12), 3).await.unwrap();
    let key = keys.keys(slots.clone()).await.unwrap()[1].unwrap();
    let holds = || {
        let file = fs::read(folder.path().join("0012")).unwrap();
        file.chunks(32).any(|slot| slot == key.0)
    };
    assert!(holds());
    keys.destroy(vec![slots[1]]).await.unwrap();
    assert!(!holds());
}

/// The only blob below a folder.
fn blob(folder: &Path) -> PathBuf {
    let shard = folder.join("0003");
    let names: Vec<_> = fs::read_dir(&shard).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(names.len(), 1);
    names[0].clone()
}

#[tokio::test]
async fn blobs_are_unreadable_without_their_key_and_every_changed_byte_is_noticed() {
    let folder = TempDir::new().unwrap();
    let media = MediaFiles::open(folder.path()).unwrap();
    let slot = 3 << 48 | 9;
    let plain = b"a voice that says something".to_vec();
    media.put(slot, KEY, plain.clone()).await.unwrap();
    let path = blob(folder.path());
    let stored = fs::read(&path).unwrap();
    assert_eq!(stored.len(), 12 + plain.len() + 16);
    assert!(!stored.windows(5).any(|part| part == &plain[..5]));
    for position in 0..stored.len() {
        let mut changed = stored.clone();
        changed[position] ^= 1;
        fs::write(&path, changed).unwrap();
        assert_eq!(media.get(slot, KEY).await, Err(MediaError::Damaged { slot }), "{position}");
        fs::write(&path, &stored[..position]).unwrap();
        assert_eq!(media.get(slot, KEY).await, Err(MediaError::Damaged { slot }), "{position}");
    }
    // Another slot's blob does not pass for this one's.
    let other = slot + 1;
    fs::write(path.with_file_name(format!("{other:016x}")), &stored).unwrap();
    assert_eq!(media.get(other, KEY).await, Err(MediaError::Damaged { slot: other }));
    fs::write(&path, &stored).unwrap();
    assert_eq!(media.get(slot, KEY).await, Ok(Some(plain.clone())));
    media.put(slot, KEY, plain).await.unwrap();
    assert_ne!(fs::read(&path).unwrap()[..12], stored[..12], "a nonce is used once");
}
