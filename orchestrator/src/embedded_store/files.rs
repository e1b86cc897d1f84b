//! Files of our own beside the engine's, which make damage known that the engine takes for an empty
//! store or for the torn end of a journal.
//!
//! `lock`: held while open. `live/identity`: what the store was made with. `live/acknowledged`: the
//! number of the last acknowledged group. `live/engine/`: the engine's. `creating/`: a store that
//! is being made; it becomes `live` by one rename, so `live` is always whole, and only `creating`
//! is ever taken away.

use super::engine::{Changes, Engine, Space};
use super::keys::{self, Tag};
use super::open_error::OpenError;
use gristmill_actors::ports::StoreError;
use gristmill_workflows::codec::{self, Record};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use uuid::Uuid;

const SLOT_BYTES: usize = 16;

/// What the store was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// How many shards.
    pub(super) shards: u16,
    /// Ties the engine's keyspaces to this file.
    pub(super) uuid: [u8; 16],
}

impl Record for Identity {
    const SCHEMA: u8 = 40;
    /// It tells how rows are kept, too. 2: finished journeys stand by stretches.
    const VERSION: u8 = 2;
}

/// Takes the store's lock; it is held until the file is dropped.
pub(super) fn lock(dir: &Path) -> Result<File, OpenError> {
    fs::create_dir_all(dir)?;
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).open(dir.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// The folder of the whole store; made first if there is none.
pub(super) fn live(dir: &Path, shards: u16) -> Result<PathBuf, OpenError> {
    let live = dir.join("live");
    if !live.try_exists()? {
        create(dir, &live, shards)?;
    }
    Ok(live)
}

fn create(dir: &Path, live: &Path, shards: u16) -> Result<(), OpenError> {
    let creating = dir.join("creating");
    if creating.try_exists()? {
        fs::remove_dir_all(&creating)?;
    }
    fs::create_dir(&creating)?;
    let identity = Identity { shards, uuid: Uuid::new_v4().into_bytes() };
    let mut changes = Changes::default();
    changes.put(Space::Queue, keys::node(Tag::Number), 0_u64.to_be_bytes());
    for space in Space::ALL {
        changes.put(space, keys::node(Tag::Uuid), identity.uuid);
    }
    let engine = Engine::open(&creating.join("engine"))?;
    engine.commit(changes).map_err(commit_error)?;
    drop(engine);
    let slots = [slot(0), slot(0)].concat();
    write_durably(&creating.join("acknowledged"), &slots)?;
    let bytes = codec::encode(&identity).map_err(|error| damaged(error.to_string()))?;
    write_durably(&creating.join("identity"), &bytes)?;
    sync_folders(&creating)?;
    fs::rename(&creating, live)?;
    File::open(dir)?.sync_all()?;
    Ok(())
}

/// Makes every name below a folder durable. The engine does not sync the folder that its keyspaces'
/// folders stand in.
fn sync_folders(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(folder)?.sync_all()
}

fn commit_error(error: StoreError) -> OpenError {
    match error {
        StoreError::Failed { full: true, detail } => {
            OpenError::Full(io::Error::new(io::ErrorKind::StorageFull, detail))
        }
        error => OpenError::Io(io::Error::other(error)),
    }
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Reads what the store was made with.
pub(super) fn identity(live: &Path) -> Result<Identity, OpenError> {
    let bytes = read(live, "identity")?;
    codec::decode(&bytes).map_err(|error| match error {
        codec::Error::Newer { .. } | codec::Error::Older { .. } => {
            OpenError::WrongVersion { detail: error.to_string() }
        }
        error => damaged(format!("identity: {error}")),
    })
}

fn read(live: &Path, name: &str) -> Result<Vec<u8>, OpenError> {
    fs::read(live.join(name)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => damaged(format!("the file {name} is missing")),
        _ => error.into(),
    })
}

/// Found damage.
pub(super) fn damaged(detail: impl Into<String>) -> OpenError {
    OpenError::Damaged { detail: detail.into() }
}

/// The number of the last acknowledged group, in two slots written in turn. Not fsynced: the group
/// itself was before, so the file is never ahead of the engine unless the engine lost something.
pub(super) struct Acknowledged {
    file: File,
}

impl Acknowledged {
    /// Opens the file and reads the number.
    pub(super) fn open(live: &Path) -> Result<(Self, u64), OpenError> {
        let bytes = read(live, "acknowledged")?;
        let whole = bytes.len() == 2 * SLOT_BYTES;
        let numbers = bytes.as_chunks().0.iter().filter_map(number_of_slot);
        let number = numbers.max().filter(|_| whole);
        let number =
            number.ok_or_else(|| damaged("the file acknowledged does not hold a number"))?;
        let file = OpenOptions::new().write(true).open(live.join("acknowledged"))?;
        Ok((Self { file }, number))
    }

    /// Writes the number of a group that is durable.
    pub(super) fn write(&self, number: u64) -> io::Result<()> {
        let offset = (number % 2) * SLOT_BYTES as u64;
        self.file.write_all_at(&slot(number), offset)
    }
}

/// The number (8 bytes), its CRC-32C (4), zeros (4).
fn slot(number: u64) -> [u8; SLOT_BYTES] {
    let mut bytes = [0; SLOT_BYTES];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[..8]);
    bytes[8..12].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn number_of_slot(bytes: &[u8; SLOT_BYTES]) -> Option<u64> {
    let number = u64::from_be_bytes(bytes[..8].try_into().ok()?);
    (slot(number) == *bytes).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_slot_leaves_the_other_and_two_are_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acknowledged");
        fs::write(&path, [slot(4), slot(3)].concat()).unwrap();
        let (file, number) = Acknowledged::open(dir.path()).unwrap();
        assert_eq!(number, 4);
        file.write(5).unwrap();
        assert_eq!(Acknowledged::open(dir.path()).unwrap().1, 5);
        let mut bytes = fs::read(&path).unwrap();
        bytes[SLOT_BYTES] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(Acknowledged::open(dir.path()).unwrap().1, 4);
        bytes[0] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let refused = Acknowledged::open(dir.path());
        assert!(matches!(refused, Err(OpenError::Damaged { .. })));
    }
}
