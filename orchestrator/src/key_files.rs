//! Data keys as files, one a shard: slots of 32 bytes that can be overwritten.
//!
//! A block of slots is filled with random bytes and synced before its first slot is given out, so
//! giving one out writes nothing. Which ones were given out is not recorded: a new start leaves the
//! rest of the last block and begins another one, so no slot is ever given out twice.
//!
//! Destroying a key overwrites its slot where it stands. On file systems that write elsewhere
//! (btrfs, ZFS, snapshots of any kind) the old bytes last as long as those keep them.

use crate::durable_files::limits::{KEY_BLOCK_MAX, KEY_BLOCK_MIN};
use crate::durable_files::{is_full, make_folder, sync_folder};
use crate::threads;
use gristmill_actors::ports::{KeyStore, StoreError};
use gristmill_actors::rail::BoxFuture;
use gristmill_workflows::entry::DataKey;
use gristmill_workflows::id::ShardId;
use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

const SLOT_BYTES: u64 = 32;
/// A slot's number is its shard above this many bits of its place in the file.
const PLACE_BITS: u32 = 48;
const PLACE_MASK: u64 = (1 << PLACE_BITS) - 1;
const DESTROYED: [u8; SLOT_BYTES as usize] = [0; SLOT_BYTES as usize];

/// A folder of key files.
#[derive(Debug, Clone)]
pub struct KeyFiles(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    shards: Mutex<HashMap<ShardId, Arc<Mutex<Shard>>>>,
}

/// One shard's file: the newest block, and what of it is free.
#[derive(Debug)]
struct Shard {
    path: PathBuf,
    /// Places not yet given out; all of them are durable.
    free: Range<u64>,
    /// Places of the newest block.
    block: Range<u64>,
    keys: Vec<[u8; SLOT_BYTES as usize]>,
    next_block: u64,
    failed: Option<StoreError>,
}

impl KeyFiles {
    /// Opens the folder of key files; makes it if its parent stands.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(folder: &Path) -> io::Result<Self> {
        if make_folder(folder)?
            && let Some(parent) = folder.parent()
        {
            sync_folder(parent)?;
        }
        let inner = Inner { folder: folder.to_owned(), shards: Mutex::default() };
        Ok(Self(Arc::new(inner)))
    }

    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let done = tokio::task::spawn_blocking(move || work(&inner)).await;
            done.unwrap_or_else(|error| {
                Err(StoreError::Failed { detail: format!("key files: {error}"), full: false })
            })
        })
    }
}

fn failed(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Failed { detail: format!("{}: {error}", path.display()), full: is_full(error) }
}

fn split(slot: u64) -> (ShardId, u64) {
    // 64 - 48 bits are 16 bits.
    (ShardId((slot >> PLACE_BITS) as u16), slot & PLACE_MASK)
}

impl Inner {
    fn shard(&self, shard: ShardId) -> Result<Arc<Mutex<Shard>>, StoreError> {
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = shards.get(&shard) {
            return Ok(Arc::clone(known));
        }
        let path = self.folder.join(shard.to_string());
        let opened = Arc::new(Mutex::new(Shard::open(path)?));
        shards.insert(shard, Arc::clone(&opened));
        Ok(opened)
    }

    /// Runs `work` on each shard's places, with the positions that they had among all slots.
    fn each(
        &self,
        slots: &[u64],
        mut work: impl FnMut(&mut Shard, &[(usize, u64)]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut places: BTreeMap<ShardId, Vec<(usize, u64)>> = BTreeMap::new();
        for (position, slot) in slots.iter().enumerate() {
            let (shard, place) = split(*slot);
            places.entry(shard).or_default().push((position, place));
        }
        for (shard, places) in places {
            let shard = self.shard(shard)?;
            work(&mut shard.lock().unwrap_or_else(PoisonError::into_inner), &places)?;
        }
        Ok(())
    }

    fn allocate(&self, shard: ShardId, count: usize) -> Result<Vec<u64>, StoreError> {
        let known = self.shard(shard)?;
        let mut file = known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut places = Vec::with_capacity(count);
        while places.len() < count {
            if file.free.is_empty() {
                file.fill((count - places.len()) as u64)?;
            }
            let wanted = count - places.len();
            places.extend(file.free.by_ref().take(wanted));
        }
        let upper = u64::from(shard.0) << PLACE_BITS;
        Ok(places.into_iter().map(|place| upper | place).collect())
    }

    fn keys(&self, slots: &[u64]) -> Result<Vec<Option<DataKey>>, StoreError> {
        let mut keys = vec![None; slots.len()];
        self.each(slots, |shard, places| {
            let mut file = None;
            for (position, place) in places {
                let key = shard.read(*place, &mut file)?;
                keys[*position] = (key != DESTROYED).then_some(DataKey(key));
            }
            Ok(())
        })?;
        Ok(keys)
    }

    fn destroy(&self, slots: &[u64]) -> Result<(), StoreError> {
        self.each(slots, |shard, places| {
            let places: Vec<u64> = places.iter().map(|(_, place)| *place).collect();
            shard.destroy(&places)
        })
    }
}

impl Shard {
    fn open(path: PathBuf) -> Result<Self, StoreError> {
        let length = match std::fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == ErrorKind::NotFound => 0,
            Err(error) => return Err(failed(&path, &error)),
        };
        // A slot cut off by a crash was never given out.
        let end = length.div_ceil(SLOT_BYTES);
        Ok(Self {
            path,
            free: end..end,
            block: end..end,
            keys: Vec::new(),
            next_block: KEY_BLOCK_MIN,
            failed: None,
        })
    }

    fn file(&self, create: bool) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(create).truncate(false).mode(0o600);
        options.open(&self.path)
    }

    fn check(&self) -> Result<(), StoreError> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// After a failed write or fsync nothing here can be trusted any more.
    fn fail(&mut self, error: &io::Error) -> StoreError {
        let error = failed(&self.path, error);
        self.failed = Some(error.clone());
        error
    }

    /// Makes the next block durable: as large as the need, within bounds.
    fn fill(&mut self, wanted: u64) -> Result<(), StoreError> {
        self.check()?;
        let count = self.next_block.max(wanted.min(KEY_BLOCK_MAX));
        self.next_block = (count * 2).min(KEY_BLOCK_MAX);
        let block = self.block.end..self.block.end + count;
        let mut bytes = vec![0; (count * SLOT_BYTES) as usize];
        let random = getrandom::fill(&mut bytes);
        let write = || {
            random.map_err(|error| io::Error::other(error.to_string()))?;
            let file = self.file(true)?;
            file.write_all_at(&bytes, block.start * SLOT_BYTES)?;
            file.sync_all()?;
            // The name is new with the first block.
            let folder = self.path.parent().filter(|_| block.start == 0);
            folder.map_or(Ok(()), sync_folder)
        };
        if let Err(error) = write() {
            return Err(self.fail(&error));
        }
        let (keys, _) = bytes.as_chunks();
        self.keys = keys.to_vec();
        self.block = block.clone();
        self.free = block;
        Ok(())
    }

    fn read(
        &self,
        place: u64,
        file: &mut Option<File>,
    ) -> Result<[u8; SLOT_BYTES as usize], StoreError> {
        if self.block.contains(&place) {
            return Ok(self.keys[(place - self.block.start) as usize]);
        }
        let missing = || StoreError::Damaged {
            detail: format!("{} has no slot {place}", self.path.display()),
        };
        if place >= self.block.start {
            return Err(missing());
        }
        let mut key = DESTROYED;
        let mut read = || match file {
            Some(file) => file.read_exact_at(&mut key, place * SLOT_BYTES),
            None => file.insert(self.file(false)?).read_exact_at(&mut key, place * SLOT_BYTES),
        };
        match read() {
            Ok(()) => Ok(key),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(missing()),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(missing()),
            Err(error) => {
                Err(StoreError::Unavailable { detail: format!("{}: {error}", self.path.display()) })
            }
        }
    }

    fn destroy(&mut self, places: &[u64]) -> Result<(), StoreError> {
        self.check()?;
        if let Some(place) = places.iter().find(|place| **place >= self.block.end) {
            let detail = format!("{} has no slot {place}", self.path.display());
            return Err(StoreError::Damaged { detail });
        }
        let write = || {
            let file = self.file(false)?;
            for place in places {
                file.write_all_at(&DESTROYED, place * SLOT_BYTES)?;
            }
            file.sync_data()
        };
        if let Err(error) = write() {
            return Err(self.fail(&error));
        }
        for place in places.iter().filter(|place| self.block.contains(place)) {
            self.keys[(place - self.block.start) as usize] = DESTROYED;
        }
        Ok(())
    }
}

impl KeyStore for KeyFiles {
    fn allocate(
        &self,
        shard: ShardId,
        count: usize,
    ) -> BoxFuture<'_, Result<Vec<u64>, StoreError>> {
        self.run(move |inner| inner.allocate(shard, count))
    }

    fn keys(&self, slots: Vec<u64>) -> BoxFuture<'_, Result<Vec<Option<DataKey>>, StoreError>> {
        if threads::may_wait() {
            let read = self.0.keys(&slots);
            return Box::pin(std::future::ready(read));
        }
        self.run(move |inner| inner.keys(&slots))
    }

    fn destroy(&self, slots: Vec<u64>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(move |inner| inner.destroy(&slots))
    }
}
