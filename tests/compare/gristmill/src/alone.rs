//! The engine under the embedded store alone: the rows that a node wrote, in as many batches, each made
//! durable before the next, by one thread that does nothing else. The keyspaces, keys and settings are those
//! of the store (`orchestrator/src/embedded_store/limits.rs`).

use fjall::compaction::Leveled;
use fjall::config::{CompressionPolicy, PartitioningPolicy};
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use gristmill_actors::ports::{Intake, Submitted};
use gristmill_workflows::commit::{Commit, Place};
use gristmill_workflows::id::ShardId;
use gristmill_workflows::inbox::Lane;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the node wrote by one call.
pub(crate) enum Call {
    Submit(Vec<Intake>, Vec<Submitted>),
    Commit(ShardId, Arc<Commit>),
}

/// What the engine came to.
pub(crate) struct Alone {
    /// Items that ended.
    pub(crate) items: usize,
    pub(crate) batches: usize,
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
    pub(crate) took: Duration,
}

type Row = (Vec<u8>, Option<Vec<u8>>);

/// Rows of one batch, by keyspace: queue, random, finished.
#[derive(Default)]
struct Rows([Vec<Row>; 3]);

const QUEUE: usize = 0;
const RANDOM: usize = 1;
const FINISHED: usize = 2;

/// How many group commits a store has acknowledged: the larger number of two slots (8 bytes of 16).
pub(crate) fn groups(data_dir: &Path) -> Result<u64, Box<dyn Error>> {
    let bytes = fs::read(data_dir.join("store/live/acknowledged"))?;
    let number = |slot: &[u8; 16]| u64::from_be_bytes(std::array::from_fn(|n| slot[n]));
    bytes.as_chunks().0.iter().map(number).max().ok_or_else(|| "no number".into())
}

/// Writes what was recorded into a new database, in `groups` batches.
pub(crate) fn write(dir: &Path, calls: &[Call], groups: u64) -> Result<Alone, Box<dyn Error>> {
    let groups = usize::try_from(groups)?.clamp(1, calls.len().max(1));
    let up_to = |nth: usize| nth * calls.len() / groups;
    let batches: Vec<Rows> =
        (0..groups).map(|nth| Rows::of(&calls[up_to(nth)..up_to(nth + 1)])).collect();
    let all = || batches.iter().flat_map(|batch| batch.0.iter().flatten());
    let (rows, count) = (all().count(), batches.len());
    let bytes = all().map(|(key, row)| key.len() + row.as_ref().map_or(0, Vec::len)).sum();
    let db = Database::builder(dir)
        .cache_size(128 << 20)
        .worker_threads(4)
        .max_journaling_size(64 << 20)
        .manual_journal_persist(true)
        .open()?;
    let spaces: [Keyspace; 3] = [open(&db, "queue")?, open(&db, "random")?, open(&db, "finished")?];
    let began = Instant::now();
    for Rows(rows) in batches {
        let mut batch = db.batch().durability(Some(PersistMode::SyncData));
        for (space, rows) in spaces.iter().zip(rows) {
            for (key, row) in rows {
                match row {
                    Some(row) => batch.insert(space, key, row),
                    None => batch.remove(space, key),
                }
            }
        }
        batch.commit()?;
    }
    let took = began.elapsed();
    let items = calls.iter().map(Call::ended).sum();
    Ok(Alone { items, batches: count, rows, bytes, took })
}

fn open(db: &Database, name: &str) -> Result<Keyspace, fjall::Error> {
    use CompressionType::{Lz4, None};
    let compression = match name {
        "finished" => CompressionPolicy::all(Lz4),
        _ => CompressionPolicy::new([None, None, Lz4]),
    };
    db.keyspace(name, || {
        let leveled = Leveled::default().with_table_target_size(64 << 20);
        KeyspaceCreateOptions::default()
            .max_memtable_size(16 << 20)
            .filter_block_partitioning_policy(PartitioningPolicy::new([false, true]))
            .index_block_partitioning_policy(PartitioningPolicy::new([false, false, true]))
            .data_block_compression_policy(compression)
            .compaction_strategy(Arc::new(leveled))
    })
}

impl Call {
    /// Items that end with it.
    fn ended(&self) -> usize {
        match self {
            Self::Submit(..) => 0,
            Self::Commit(_, commit) => {
                commit.journeys.iter().filter(|(_, place, ..)| *place == Place::Finished).count()
            }
        }
    }
}

impl Rows {
    /// Of two changes of a key the later one stands; keys in order.
    fn of(calls: &[Call]) -> Self {
        let mut rows = Self::default();
        for call in calls {
            match call {
                Call::Submit(items, answers) => {
                    for (item, answer) in items.iter().zip(answers) {
                        rows.submit(item, answer);
                    }
                }
                Call::Commit(shard, commit) => rows.commit(*shard, commit),
            }
        }
        rows.put(QUEUE, key(ShardId(u16::MAX), 2, &[]), vec![0; 8]);
        for space in &mut rows.0 {
            space.reverse();
            space.sort_by(|(one, _), (other, _)| one.cmp(other));
            space.dedup_by(|(later, _), (first, _)| later == first);
        }
        rows
    }

    fn put(&mut self, space: usize, key: Vec<u8>, row: Vec<u8>) {
        self.0[space].push((key, Some(row)));
    }

    fn remove(&mut self, space: usize, key: Vec<u8>) {
        self.0[space].push((key, None));
    }

    fn submit(&mut self, item: &Intake, answer: &Submitted) {
        let Submitted::Accepted(arrival) = answer else { return };
        let shard = item.shard;
        if let Some((name, hash)) = &item.identity {
            let row = [&arrival.to_be_bytes()[..], hash].concat();
            self.put(RANDOM, key(shard, 10, name), row);
        }
        let arrival = arrival.to_be_bytes();
        self.put(QUEUE, key(shard, lane(item.lane), &arrival), item.item.clone());
        self.put(QUEUE, key(shard, 19, &[]), arrival.to_vec());
        self.put(QUEUE, key(shard, 3, &[]), vec![0; 48]);
    }

    fn commit(&mut self, shard: ShardId, commit: &Commit) {
        for (of, arrival) in &commit.inbox_remove {
            self.remove(QUEUE, key(shard, lane(*of), &arrival.to_be_bytes()));
        }
        for (due, whose) in &commit.timers_remove {
            let timer = [due.0.to_be_bytes(), whose.to_be_bytes()].concat();
            self.remove(QUEUE, key(shard, 11, &timer));
        }
        for position in &commit.outbox_remove {
            self.remove(QUEUE, key(shard, 12, &position.to_be_bytes()));
        }
        for slot in &commit.erasures_remove {
            self.remove(QUEUE, key(shard, 14, &slot.to_be_bytes()));
        }
        for (arrival, place, is_active, row) in &commit.journeys {
            let number = arrival.to_be_bytes();
            let active = key(shard, 6, &number);
            if *place == Place::Active {
                self.put(QUEUE, active, row.clone());
                continue;
            }
            if *is_active {
                self.remove(QUEUE, active);
            }
            let stretch = (arrival >> 10).to_be_bytes();
            let key = [&stretch[..], &shard.0.to_be_bytes(), &number].concat();
            self.put(FINISHED, key, row.clone());
        }
        for (contributor, row) in &commit.contributors {
            self.put(RANDOM, key(shard, 8, &contributor.0), row.clone());
        }
        for (due, whose) in &commit.timers_put {
            let timer = [due.0.to_be_bytes(), whose.to_be_bytes()].concat();
            self.put(QUEUE, key(shard, 11, &timer), Vec::new());
        }
        for (position, row) in &commit.outbox_put {
            self.put(QUEUE, key(shard, 12, &position.to_be_bytes()), row.clone());
        }
        for (position, row) in &commit.sequenced_put {
            self.put(RANDOM, key(shard, 13, &position.to_be_bytes()), row.clone());
        }
        for slot in &commit.erasures_put {
            self.put(QUEUE, key(shard, 14, &slot.to_be_bytes()), Vec::new());
        }
        if let Some(admitted) = &commit.admitted {
            self.put(QUEUE, key(shard, 15, &[]), admitted.clone());
        }
        self.put(QUEUE, key(shard, 16, &[]), commit.state.clone());
        self.put(QUEUE, key(shard, 3, &[]), vec![0; 48]);
    }
}

const fn lane(lane: Lane) -> u8 {
    match lane {
        Lane::Control => 4,
        Lane::Intake => 5,
    }
}

/// Shard (2 bytes), the tag of the kind of row (1), and what tells rows of a kind apart.
fn key(shard: ShardId, tag: u8, rest: &[u8]) -> Vec<u8> {
    [&shard.0.to_be_bytes()[..], &[tag], rest].concat()
}
