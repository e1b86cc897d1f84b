//! How far the owners of shards in this process have come, so that the server can tell whether it
//! forgot what they rely on.
//!
//! A failover that forgets may take back an inbox item that its owner holds in memory, and give its
//! arrival number to another one. So every read that brings items leaves its number on the server, and
//! whoever reads or commits says which read, and which commit, it knows: a server that does not know
//! them answers `Fenced`, and the owner builds its memory anew. Numbers count up under one epoch; a
//! claim begins them again.

use gristmill_workflows::id::ShardId;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is known of one shard under one epoch.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    epoch: u64,
    /// The last read that was sent.
    pub(super) sent: u64,
    /// The last one that brought items.
    pub(super) read: u64,
    /// The last commit that was applied.
    pub(super) seq: u64,
}

#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<HashMap<ShardId, Known>>);

impl Progress {
    fn shards(&self) -> MutexGuard<'_, HashMap<ShardId, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known under an epoch, after a change of it; nothing of an older epoch is changed.
    pub(super) fn of(&self, shard: ShardId, epoch: u64, change: impl FnOnce(&mut Known)) -> Known {
        let mut shards = self.shards();
        let known = shards.entry(shard).or_default();
        if known.epoch < epoch {
            *known = Known { epoch, ..Known::default() };
        }
        let mut own = if known.epoch == epoch { *known } else { Known::default() };
        change(&mut own);
        if known.epoch == epoch {
            *known = own;
        }
        own
    }
}
