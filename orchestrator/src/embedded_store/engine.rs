//! The engine underneath: three keyspaces of one fjall database (ADR 0001).

use super::limits;
use super::open_error::{OpenError, is_full};
use super::retired::Retired;
use super::torn::{self, Torn};
use crate::threads;
use fjall::compaction::Leveled;
use fjall::config::{CompressionPolicy, PartitioningPolicy};
use fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, LsmError, PersistMode, Readable,
    Snapshot, UserKey, UserValue,
};
use gristmill_actors::ports::StoreError;
use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// The keyspaces, by how their rows live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    /// Short-lived or overwritten rows.
    Queue = 0,
    /// Rows that stay, under keys without order, or few of them.
    Random = 1,
    /// Finished journeys, which come about in the order of their keys and stay.
    Finished = 2,
}

impl Space {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Queue, Self::Random, Self::Finished];

    const fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Random => "random",
            Self::Finished => "finished",
        }
    }
}

type Row = (UserKey, Option<UserValue>);

/// Changes of one group: of two of one key the later one stands.
#[derive(Default)]
pub(super) struct Changes {
    /// A later call of the group may ask for these.
    random: HashMap<UserKey, Option<UserValue>>,
    queue: Vec<Row>,
    finished: Vec<Row>,
}

impl Changes {
    /// Puts a row.
    pub(super) fn put(&mut self, space: Space, key: impl Into<UserKey>, row: impl Into<UserValue>) {
        self.change(space, key.into(), Some(row.into()));
    }

    /// Takes a row away.
    pub(super) fn remove(&mut self, space: Space, key: impl Into<UserKey>) {
        self.change(space, key.into(), None);
    }

    fn change(&mut self, space: Space, key: UserKey, row: Option<UserValue>) {
        match space {
            Space::Queue => self.queue.push((key, row)),
            Space::Random => drop(self.random.insert(key, row)),
            Space::Finished => self.finished.push((key, row)),
        }
    }

    /// What a key of the random rows will be after the group; none if the group does not touch it.
    pub(super) fn random(&self, key: &[u8]) -> Option<Option<&UserValue>> {
        self.random.get(key).map(Option::as_ref)
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.random.is_empty() && self.queue.is_empty() && self.finished.is_empty()
    }

    /// What each space comes to, in the order of [`Space::ALL`], keys in order, each once.
    /// Neighbours go into the engine's list one after the other: what leads to the one is in the
    /// processor's caches for the next.
    fn into_rows(self) -> [Vec<Row>; 3] {
        let mut spaces = [self.queue, self.random.into_iter().collect(), self.finished];
        for rows in &mut spaces {
            // Stable: of equal keys the last one came last. The first of equals is what stays.
            rows.reverse();
            rows.sort_by(|(one, _), (other, _)| one.cmp(other));
            rows.dedup_by(|(later, _), (first, _)| later == first);
        }
        spaces
    }
}

/// The open engine.
pub(super) struct Engine {
    /// What was committed last. A snapshot that is taken while a commit is being applied may show a
    /// part of it: the engine moves its moment on whenever it has flushed or compacted.
    committed: RwLock<Arc<Snapshot>>,
    spaces: [Keyspace; 3],
    retired: Retired,
    db: Database,
    dir: PathBuf,
}

impl Engine {
    /// Whether the engine's own marker stands: without it the engine would start empty over what
    /// is there.
    pub(super) fn stands(dir: &Path) -> Result<bool, OpenError> {
        Ok(dir.join("version").try_exists()?)
    }

    /// Opens or creates.
    pub(super) fn open(dir: &Path) -> Result<Self, OpenError> {
        Ok(Self::guarded(dir)??)
    }

    /// Opens; a journal with a torn end loses the group that was being written.
    pub(super) fn open_torn(dir: &Path) -> Result<(Self, Option<Torn>), OpenError> {
        let refused = match Self::guarded(dir)? {
            Ok(engine) => return Ok((engine, None)),
            Err(error) if torn::is_torn(&error) => error,
            Err(error) => return Err(error.into()),
        };
        let Some(torn) = torn::cut(dir)? else { return Err(refused.into()) };
        match Self::guarded(dir) {
            Ok(Ok(engine)) => Ok((engine, Some(torn))),
            Ok(Err(_)) | Err(_) => {
                torn.restore()?;
                Err(refused.into())
            }
        }
    }

    /// The engine asserts what it reads from the directory; damage must not end the process.
    fn guarded(dir: &Path) -> Result<Result<Self, fjall::Error>, OpenError> {
        let opened = catch_unwind(AssertUnwindSafe(|| Self::try_open(dir)));
        opened.map_err(|_| OpenError::Damaged { detail: "the engine panicked".into() })
    }

    fn try_open(dir: &Path) -> Result<Self, fjall::Error> {
        // The threads that flush and compact are as important as the one that starts them.
        let db = threads::in_background(limits::WORKERS_BEHIND, || {
            Database::builder(dir)
                .cache_size(limits::CACHE_BYTES)
                .worker_threads(limits::WORKER_THREADS)
                .max_journaling_size(limits::JOURNALS_BYTES)
                .manual_journal_persist(true)
                .open()
        })??;
        let open = |space: Space| db.keyspace(space.name(), || keyspace_options(space));
        let [queue, random, finished] = Space::ALL.map(open);
        let spaces = [queue?, random?, finished?];
        let committed = RwLock::new(Arc::new(db.snapshot()));
        let retired = Retired::default();
        Ok(Self { committed, spaces, retired, db, dir: dir.to_owned() })
    }

    /// What is committed now, for reading.
    pub(super) fn view(&self) -> View<'_> {
        let committed = self.committed.read().unwrap_or_else(PoisonError::into_inner);
        View { engine: self, snapshot: Arc::clone(&committed) }
    }

    /// Makes changes durable and visible, all or none. An error is final. Only one thread commits.
    pub(super) fn commit(&self, changes: Changes) -> Result<(), StoreError> {
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncData));
        for (space, rows) in self.spaces.iter().zip(changes.into_rows()) {
            for (key, row) in rows {
                match row {
                    Some(row) => batch.insert(space, key, row),
                    None => batch.remove(space, key),
                }
            }
        }
        batch.commit().map_err(|error| self.failed(&error))?;
        self.retired.keep(&self.spaces);
        let committed = Arc::new(self.db.snapshot());
        *self.committed.write().unwrap_or_else(PoisonError::into_inner) = committed;
        Ok(())
    }

    /// Frees rows in memory that the engine needs no more. Takes milliseconds.
    pub(super) fn free_retired(&self) {
        self.retired.free();
    }

    /// Whether too little room is left for the engine to go on.
    pub(super) fn is_full(&self) -> bool {
        let stat = rustix::fs::statvfs(&self.dir);
        stat.is_ok_and(|stat| {
            stat.f_bavail.saturating_mul(stat.f_frsize) < limits::FULL_BELOW_BYTES
        })
    }

    fn failed(&self, error: &fjall::Error) -> StoreError {
        let full = match error {
            fjall::Error::Io(error) | fjall::Error::Storage(LsmError::Io(error)) => is_full(error),
            // A thread of the engine met the cause; only its trace is left.
            _ => self.is_full(),
        };
        StoreError::Failed { detail: error.to_string(), full }
    }

    fn read_error(&self, error: &fjall::Error) -> StoreError {
        match error {
            fjall::Error::Poisoned => self.failed(error),
            fjall::Error::Io(error) | fjall::Error::Storage(LsmError::Io(error)) => {
                StoreError::Unavailable { detail: error.to_string() }
            }
            _ => StoreError::Damaged { detail: error.to_string() },
        }
    }
}

/// What was committed at one moment. Rows that are read past it may belong to a commit that is still
/// being applied, a part of it.
pub(super) struct View<'a> {
    engine: &'a Engine,
    snapshot: Arc<Snapshot>,
}

impl View<'_> {
    /// One row.
    pub(super) fn get(&self, space: Space, key: &[u8]) -> Result<Option<UserValue>, StoreError> {
        let row = self.snapshot.get(&self.engine.spaces[space as usize], key);
        row.map_err(|error| self.engine.read_error(&error))
    }

    /// Rows under keys that start so, in order.
    pub(super) fn prefix(
        &self,
        space: Space,
        prefix: &[u8],
    ) -> impl DoubleEndedIterator<Item = Result<(UserKey, UserValue), StoreError>> {
        let rows = self.snapshot.prefix(&self.engine.spaces[space as usize], prefix);
        rows.map(|row| row.into_inner().map_err(|error| self.engine.read_error(&error)))
    }

    /// Rows of a range of keys, in order.
    pub(super) fn range<K: AsRef<[u8]>>(
        &self,
        space: Space,
        range: RangeInclusive<K>,
    ) -> impl DoubleEndedIterator<Item = Result<(UserKey, UserValue), StoreError>> {
        let rows = self.snapshot.range(&self.engine.spaces[space as usize], range);
        rows.map(|row| row.into_inner().map_err(|error| self.engine.read_error(&error)))
    }
}

fn keyspace_options(space: Space) -> KeyspaceCreateOptions {
    use CompressionType::{Lz4, None};
    let compression = match space {
        // Most of its tables move from level to level as they are.
        Space::Finished => CompressionPolicy::all(Lz4),
        Space::Queue | Space::Random => CompressionPolicy::new([None, None, Lz4]),
    };
    let leveled = Leveled::default().with_table_target_size(limits::TABLE_BYTES);
    // From level 1 on filters come in parts of 4 KiB, from level 2 on indices, too: whole ones have up to a
    // megabyte, and once the cache does not keep them each look at a key reads one again.
    KeyspaceCreateOptions::default()
        .max_memtable_size(limits::MEMTABLE_BYTES)
        .filter_block_partitioning_policy(PartitioningPolicy::new([false, true]))
        .index_block_partitioning_policy(PartitioningPolicy::new([false, false, true]))
        .data_block_compression_policy(compression)
        .compaction_strategy(Arc::new(leveled))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use std::time::{Duration, Instant};

    /// Rows of one commit; the engine applies them one after the other.
    const ROWS: u8 = 200;
    const LASTS: Duration = Duration::from_secs(2);

    #[test]
    fn of_two_changes_of_a_key_the_later_one_stands() {
        for space in Space::ALL {
            let mut changes = Changes::default();
            changes.remove(space, [2]);
            changes.put(space, [2], [1]);
            changes.put(space, [1], [1]);
            changes.put(space, [1], [2]);
            changes.put(space, [0], [1]);
            changes.remove(space, [0]);
            let rows = &changes.into_rows()[space as usize];
            let rows: Vec<_> = rows.iter().map(|(key, row)| (key[0], row.as_deref())).collect();
            assert_eq!(rows, [(0, None), (1, Some(&[2][..])), (2, Some(&[1][..]))]);
        }
    }

    fn commit(engine: &Engine, number: u32) {
        let mut changes = Changes::default();
        for row in 0..ROWS {
            changes.put(Space::ALL[usize::from(row % 3)], [row], number.to_be_bytes());
        }
        engine.commit(changes).unwrap();
    }

    /// The engine moves the moment that a snapshot is of when it has flushed, also in the middle of a
    /// commit.
    #[test]
    fn a_view_shows_all_of_a_commit_or_nothing_while_the_engine_flushes() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path()).unwrap();
        commit(&engine, 0);
        let (began, ended) = (Instant::now(), AtomicBool::new(false));
        thread::scope(|threads| {
            threads.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    for space in &engine.spaces {
                        space.rotate_memtable_and_wait().unwrap();
                    }
                }
            });
            threads.spawn(|| {
                for number in 1.. {
                    commit(&engine, number);
                    if began.elapsed() > LASTS {
                        break;
                    }
                }
                ended.store(true, Ordering::Relaxed);
            });
            while !ended.load(Ordering::Relaxed) {
                let view = engine.view();
                let row = |row: u8| view.get(Space::ALL[usize::from(row % 3)], &[row]).unwrap();
                let first = row(0);
                assert!((1..ROWS).all(|other| row(other) == first), "a part of a commit");
            }
        });
    }
}
