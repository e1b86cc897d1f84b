//! Slots of data keys, taken ahead: giving one to a contribution waits for nothing, and what was
//! refused gives its slot back.

use crate::service::limits::SLOTS_AHEAD;
use gristmill_actors::ports::{KeyStore, StoreError};
use gristmill_workflows::id::ShardId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Slots that nobody uses yet.
pub(super) struct Slots {
    keys: Arc<dyn KeyStore>,
    free: Mutex<HashMap<ShardId, Vec<u64>>>,
}

impl Slots {
    pub(super) fn new(keys: Arc<dyn KeyStore>) -> Self {
        Self { keys, free: Mutex::default() }
    }

    /// `count` slots of one shard.
    pub(super) async fn take(&self, shard: ShardId, count: usize) -> Result<Vec<u64>, StoreError> {
        let mut taken = self.take_free(shard, count);
        if taken.len() < count {
            let wanted = count - taken.len();
            let mut fresh = self.keys.allocate(shard, wanted.max(SLOTS_AHEAD)).await?;
            let rest = fresh.split_off(wanted.min(fresh.len()));
            taken.extend(fresh);
            self.give_back(shard, rest);
        }
        Ok(taken)
    }

    fn take_free(&self, shard: ShardId, count: usize) -> Vec<u64> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let free = free.entry(shard).or_default();
        free.split_off(free.len().saturating_sub(count))
    }

    /// A store that refuses a submit may have forgotten the slots.
    pub(super) fn forget(&self) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Slots that were not used. What is over the bound is left unused for good.
    pub(super) fn give_back(&self, shard: ShardId, slots: Vec<u64>) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let free = free.entry(shard).or_default();
        free.extend(slots);
        free.truncate(2 * SLOTS_AHEAD);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_files::KeyFiles;
    use std::collections::HashSet;

    #[tokio::test]
    async fn no_slot_is_given_out_twice_and_one_that_came_back_is_given_out_again() {
        let folder = tempfile::tempdir().unwrap();
        let slots = Slots::new(Arc::new(KeyFiles::open(&folder.path().join("keys")).unwrap()));
        let shard = ShardId(3);
        let mut seen = HashSet::new();
        for count in [1, SLOTS_AHEAD, 3, 2 * SLOTS_AHEAD + 1] {
            let taken = slots.take(shard, count).await.unwrap();
            assert_eq!(taken.len(), count);
            assert!(taken.iter().all(|slot| seen.insert(*slot)));
        }
        let one = slots.take(shard, 1).await.unwrap();
        slots.give_back(shard, one.clone());
        assert_eq!(slots.take(shard, 1).await.unwrap(), one);
    }
}
