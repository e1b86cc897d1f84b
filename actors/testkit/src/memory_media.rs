//! Blobs in memory, each with the key that it was put under.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gristmill_actors::ports::{MediaError, MediaStore};
use gristmill_actors::rail::BoxFuture;
use gristmill_workflows::entry::DataKey;

type Blobs = BTreeMap<u64, (DataKey, Vec<u8>)>;

/// Blobs by slot. A clone is a handle to the same blobs.
#[derive(Debug, Clone, Default)]
pub struct MemoryMedia(Arc<Mutex<Blobs>>);

impl MemoryMedia {
    /// No blobs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Slots that hold a blob.
    #[must_use]
    pub fn slots(&self) -> Vec<u64> {
        self.lock().keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Blobs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MediaStore for MemoryMedia {
    fn put(
        &self,
        slot: u64,
        key: DataKey,
        bytes: Vec<u8>,
    ) -> BoxFuture<'_, Result<(), MediaError>> {
        Box::pin(async move {
            self.lock().insert(slot, (key, bytes));
            Ok(())
        })
    }

    fn get(&self, slot: u64, key: DataKey) -> BoxFuture<'_, Result<Option<Vec<u8>>, MediaError>> {
        Box::pin(async move {
            match self.lock().get(&slot) {
                None => Ok(None),
                Some((under, bytes)) if *under == key => Ok(Some(bytes.clone())),
                Some(_) => Err(MediaError::Damaged { slot }),
            }
        })
    }

    fn remove(&self, slots: Vec<u64>) -> BoxFuture<'_, Result<(), MediaError>> {
        Box::pin(async move {
            let mut blobs = self.lock();
            for slot in slots {
                blobs.remove(&slot);
            }
            Ok(())
        })
    }
}
