//! A damaged directory is refused with the right error, and left as it was where that is known
//! before the engine opens.

use gristmill::embedded_store::{EmbeddedStore, OpenError, Options};
use gristmill_actors::ports::{Intake, Reads, ShardStore};
use gristmill_workflows::id::ShardId;
use gristmill_workflows::inbox::Lane;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const OPTIONS: Options = Options { shards: 4, intake_max: 1_000 };

/// A store with 40 acknowledged groups, closed.
async fn filled() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path(), OPTIONS).unwrap();
    for n in 0..40_u8 {
        let item = Intake {
            shard: ShardId(u16::from(n) % 4),
            lane: Lane::Intake,
            item: vec![n; 700],
            identity: Some(([n; 16], [n; 16])),
            mark: None,
            reads: Reads::default(),
        };
        store.submit(vec![item]).await.unwrap();
    }
    dir
}

fn live(dir: &TempDir, name: &str) -> PathBuf {
    dir.path().join("live").join(name)
}

fn bytes_of(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(bytes_of(&path));
        } else {
            files.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    files
}

/// Opening is refused and no byte changes; says why.
fn refused_early(dir: &TempDir) -> OpenError {
    let before = bytes_of(dir.path());
    let error = EmbeddedStore::open(dir.path(), OPTIONS).unwrap_err();
    assert!(before == bytes_of(dir.path()), "refusing changed the directory");
    error
}

/// Opening is refused as damage, the second time too.
fn refused_as_damage(dir: &TempDir) {
    for _ in 0..2 {
        let error = EmbeddedStore::open(dir.path(), OPTIONS).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    }
}

fn journal(dir: &TempDir) -> PathBuf {
    let engine = fs::read_dir(live(dir, "engine")).unwrap();
    let mut journals = engine.map(|entry| entry.unwrap().path());
    journals.find(|path| path.extension().is_some_and(|end| end == "jnl")).unwrap()
}

#[tokio::test]
async fn a_store_in_use_is_locked() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path(), OPTIONS).unwrap();
    assert!(matches!(EmbeddedStore::open(dir.path(), OPTIONS), Err(OpenError::Locked)));
    drop(store);
    EmbeddedStore::open(dir.path(), OPTIONS).unwrap();
}

#[tokio::test]
async fn missing_files_are_damage_and_not_an_empty_store() {
    for name in ["engine/version", "identity", "acknowledged", "engine"] {
        let dir = filled().await;
        let path = live(&dir, name);
        fs::rename(&path, dir.path().join("aside")).unwrap();
        let error = refused_early(&dir);
        assert!(matches!(error, OpenError::Damaged { .. }), "{name}: {error:?}");
        fs::rename(dir.path().join("aside"), &path).unwrap();
        EmbeddedStore::open(dir.path(), OPTIONS).unwrap();
    }
}

#[tokio::test]
async fn a_newer_or_older_identity_is_another_version() {
    let dir = filled().await;
    let mut bytes = fs::read(live(&dir, "identity")).unwrap();
    let version = bytes[3];
    for other in [version - 1, version + 1] {
        bytes[3] = other;
        fs::write(live(&dir, "identity"), &bytes).unwrap();
        let error = refused_early(&dir);
        assert!(matches!(error, OpenError::WrongVersion { .. }), "{other}: {error:?}");
    }
}

#[tokio::test]
async fn another_format_of_the_engine_is_another_version() {
    let dir = filled().await;
    fs::write(live(&dir, "engine/version"), b"FJL\x09").unwrap();
    let error = EmbeddedStore::open(dir.path(), OPTIONS).unwrap_err();
    assert!(matches!(error, OpenError::WrongVersion { .. }), "{error:?}");
}

#[tokio::test]
async fn damaged_files_of_our_own_are_damage() {
    for (name, at) in [("identity", 14), ("identity", 0)] {
        let dir = filled().await;
        let mut bytes = fs::read(live(&dir, name)).unwrap();
        bytes[at] ^= 1;
        fs::write(live(&dir, name), bytes).unwrap();
        let error = refused_early(&dir);
        assert!(matches!(error, OpenError::Damaged { .. }), "{name}: {error:?}");
    }
    let dir = filled().await;
    fs::write(live(&dir, "acknowledged"), [0; 32]).unwrap();
    assert!(matches!(refused_early(&dir), OpenError::Damaged { .. }));
}

#[tokio::test]
async fn a_store_of_another_identity_is_damage() {
    let (dir, other) = (filled().await, filled().await);
    fs::copy(live(&other, "identity"), live(&dir, "identity")).unwrap();
    refused_as_damage(&dir);
}

#[tokio::test]
async fn a_hole_in_the_journal_is_damage() {
    let dir = filled().await;
    let mut bytes = fs::read(journal(&dir)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 512].fill(0);
    fs::write(journal(&dir), bytes).unwrap();
    refused_as_damage(&dir);
}

#[tokio::test]
async fn a_journal_cut_short_is_damage() {
    let dir = filled().await;
    let bytes = fs::read(journal(&dir)).unwrap();
    fs::write(journal(&dir), &bytes[..bytes.len() * 3 / 4]).unwrap();
    refused_as_damage(&dir);
}

#[tokio::test]
async fn a_missing_journal_is_damage() {
    let dir = filled().await;
    fs::remove_file(journal(&dir)).unwrap();
    refused_as_damage(&dir);
}

#[tokio::test]
async fn what_a_killed_creation_left_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("creating/engine/keyspaces")).unwrap();
    fs::write(dir.path().join("creating/engine/0.jnl"), b"torn").unwrap();
    let store = EmbeddedStore::open(dir.path(), OPTIONS).unwrap();
    assert_eq!(store.shards(), 4);
    assert!(!dir.path().join("creating").exists());
}

#[tokio::test]
async fn a_path_that_cannot_be_a_directory_is_an_error_of_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, b"here").unwrap();
    assert!(matches!(EmbeddedStore::open(&path, OPTIONS), Err(OpenError::Io(_))));
}

/// A hole in the last group, as a disk leaves it that lost power: the journal's bytes, and where the
/// file is that says what was acknowledged.
fn torn(dir: &TempDir) -> Vec<u8> {
    let journal = live(dir, "engine/0.jnl");
    let mut bytes = fs::read(&journal).unwrap();
    // Inside the item: a hole in what frames it is taken for the journal's end by the engine.
    let item = bytes.windows(700).position(|part| part.iter().all(|byte| *byte == 39)).unwrap();
    bytes[item + 100..item + 400].fill(0);
    fs::write(&journal, &bytes).unwrap();
    bytes
}

#[tokio::test]
async fn a_hole_in_a_group_that_was_not_acknowledged_costs_that_group_only() {
    let dir = filled().await;
    torn(&dir);
    let acknowledged = live(&dir, "acknowledged");
    let mut slots = fs::read(&acknowledged).unwrap();
    // Groups 39 and 40 stand in the slots by turns; without the newer one, 39 were acknowledged.
    slots[..16].fill(0);
    fs::write(&acknowledged, slots).unwrap();
    let store = EmbeddedStore::open(dir.path(), OPTIONS).unwrap();
    let mut found = 0;
    for shard in 0..4 {
        found += store.inbox(ShardId(shard), Lane::Intake, None, 100).await.unwrap().len();
    }
    assert_eq!(found, 39);
}

#[tokio::test]
async fn a_hole_in_an_acknowledged_group_is_damage_and_left_as_it_is() {
    let dir = filled().await;
    let bytes = torn(&dir);
    refused_as_damage(&dir);
    assert!(fs::read(live(&dir, "engine/0.jnl")).unwrap() == bytes, "the journal was changed");
}
