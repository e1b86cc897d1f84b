//! Data keys in memory. They are not random but follow from a seed, so that runs repeat.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use gristmill_actors::ports::{KeyStore, StoreError};
use gristmill_actors::rail::BoxFuture;
use gristmill_workflows::entry::DataKey;
use gristmill_workflows::id::{ShardId, hmac};

/// Keys by slot. A clone is a handle to the same keys.
#[derive(Debug, Clone, Default)]
pub struct MemoryKeys(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    seed: [u8; 32],
    given: HashMap<ShardId, u64>,
    destroyed: HashSet<u64>,
}

impl MemoryKeys {
    /// No keys yet; those to come follow from `seed`.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self(Arc::new(Mutex::new(Inner { seed, ..Inner::default() })))
    }

    /// How many keys were destroyed so far.
    #[must_use]
    pub fn destroyed(&self) -> usize {
        self.with(|inner| inner.destroyed.len())
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Inner {
    fn check(&self, slots: &[u64]) -> Result<(), StoreError> {
        let given = |slot: u64| {
            let shard = ShardId((slot >> 48) as u16);
            self.given.get(&shard).is_some_and(|given| (slot & 0xffff_ffff_ffff) < *given)
        };
        match slots.iter().find(|slot| !given(**slot)) {
            Some(slot) => Err(StoreError::Damaged { detail: format!("there is no slot {slot}") }),
            None => Ok(()),
        }
    }
}

impl KeyStore for MemoryKeys {
    fn allocate(
        &self,
        shard: ShardId,
        count: usize,
    ) -> BoxFuture<'_, Result<Vec<u64>, StoreError>> {
        Box::pin(async move {
            let first = self.with(|inner| {
                let given = inner.given.entry(shard).or_default();
                *given += count as u64;
                *given - count as u64
            });
            let upper = u64::from(shard.0) << 48;
            Ok((first..first + count as u64).map(|place| upper | place).collect())
        })
    }

    fn keys(&self, slots: Vec<u64>) -> BoxFuture<'_, Result<Vec<Option<DataKey>>, StoreError>> {
        Box::pin(async move {
            self.with(|inner| {
                inner.check(&slots)?;
                let key = |slot: &u64| {
                    let key = DataKey(hmac(&inner.seed, &[&slot.to_be_bytes()]));
                    (!inner.destroyed.contains(slot)).then_some(key)
                };
                Ok(slots.iter().map(key).collect())
            })
        })
    }

    fn destroy(&self, slots: Vec<u64>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.with(|inner| {
                inner.check(&slots)?;
                inner.destroyed.extend(slots);
                Ok(())
            })
        })
    }
}
