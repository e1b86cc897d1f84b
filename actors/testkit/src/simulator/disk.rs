//! What the store has applied and not acknowledged: a power loss may take it back, the newest
//! first, and never anything older than what was acknowledged.

use super::chance::Chance;
use crate::memory_store::{MemoryStore, ShardRows};
use gristmill_workflows::id::ShardId;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One write that is applied and not acknowledged yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    shard: ShardId,
    number: u64,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    /// Rows as they were before each write, by shard and in order.
    open: BTreeMap<ShardId, Vec<(u64, ShardRows)>>,
    /// Writes that a power loss may have taken: whoever waits is told that nobody knows.
    doubtful: Vec<u64>,
}

/// The disk under the store.
#[derive(Debug)]
pub(super) struct Disk {
    /// Whether it can lose anything at all.
    forgets: bool,
    inner: Mutex<Inner>,
}

impl Disk {
    pub(super) fn new(forgets: bool) -> Self {
        Self { forgets, inner: Mutex::default() }
    }

    /// A write is about to be applied.
    pub(super) fn begin(&self, store: &MemoryStore, shard: Option<ShardId>) -> Option<Held> {
        let shard = shard.filter(|_| self.forgets)?;
        let rows = store.rows(shard)?;
        let mut inner = self.lock();
        inner.next += 1;
        let number = inner.next;
        inner.open.entry(shard).or_default().push((number, rows));
        Some(Held { shard, number })
    }

    /// The write's answer leaves: it is durable, with all before it. False if a power loss came
    /// first.
    pub(super) fn acknowledge(&self, held: Option<Held>) -> bool {
        let Some(Held { shard, number }) = held else { return true };
        let mut inner = self.lock();
        if let Some(place) = inner.doubtful.iter().position(|taken| *taken == number) {
            inner.doubtful.swap_remove(place);
            return false;
        }
        if let Some(open) = inner.open.get_mut(&shard) {
            open.retain(|(other, _)| *other > number);
        }
        true
    }

    /// The power goes: what is not acknowledged is lost from some point on. The shards that lost
    /// something.
    pub(super) fn lose(&self, store: &MemoryStore, chance: &Chance) -> Vec<ShardId> {
        let mut inner = self.lock();
        let open = std::mem::take(&mut inner.open);
        let mut lost = Vec::new();
        for (shard, writes) in open {
            inner.doubtful.extend(writes.iter().map(|(number, _)| *number));
            let kept = chance.index(writes.len() + 1);
            if let Some((_, rows)) = writes.into_iter().nth(kept) {
                store.replace_rows(shard, rows);
                lost.push(shard);
            }
        }
        lost
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
