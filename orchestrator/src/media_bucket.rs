//! Blobs in a bucket, each encrypted under its data key: the same bytes under the same names as in
//! a folder.

use crate::bucket::{Bucket, Error};
use crate::durable_files::limits::BLOB_BYTES_MAX;
use crate::media_seal::{NONCE_BYTES, open, place, seal};
use gristmill_actors::ports::{MediaError, MediaStore};
use gristmill_actors::rail::BoxFuture;
use gristmill_workflows::entry::DataKey;

/// A folder of blobs in a bucket.
#[derive(Debug, Clone)]
pub struct MediaBucket(Bucket);

impl MediaBucket {
    /// The blobs in this folder.
    #[must_use]
    pub const fn new(folder: Bucket) -> Self {
        Self(folder)
    }
}

fn path(slot: u64) -> String {
    let (folder, name) = place(slot);
    format!("{folder}/{name}")
}

fn failed(slot: u64, error: &dyn std::fmt::Display) -> MediaError {
    MediaError::Failed { slot, detail: error.to_string(), full: false }
}

/// Encrypts, or decrypts, apart from the threads that serve others.
async fn apart<T: Send + 'static>(
    slot: u64,
    work: impl FnOnce() -> Result<T, MediaError> + Send + 'static,
) -> Result<T, MediaError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(failed(slot, &error)))
}

impl MediaStore for MediaBucket {
    fn put(
        &self,
        slot: u64,
        key: DataKey,
        mut bytes: Vec<u8>,
    ) -> BoxFuture<'_, Result<(), MediaError>> {
        Box::pin(async move {
            let sealed = apart(slot, move || {
                let nonce = seal(slot, key, &mut bytes).map_err(|error| failed(slot, &error))?;
                let mut sealed = Vec::with_capacity(NONCE_BYTES + bytes.len());
                sealed.extend(nonce);
                sealed.append(&mut bytes);
                Ok(sealed)
            });
            let put = self.0.overwrite(&path(slot), &sealed.await?.into()).await;
            put.map_err(|error| failed(slot, &error))
        })
    }

    fn get(&self, slot: u64, key: DataKey) -> BoxFuture<'_, Result<Option<Vec<u8>>, MediaError>> {
        Box::pin(async move {
            let stored = self.0.get(&path(slot), BLOB_BYTES_MAX).await;
            match stored.map_err(|error: Error| failed(slot, &error))? {
                None => Ok(None),
                Some(stored) => {
                    let damaged = MediaError::Damaged { slot };
                    let opened = move || open(slot, key, stored.into()).ok_or(damaged);
                    apart(slot, opened).await.map(Some)
                }
            }
        })
    }

    fn remove(&self, slots: Vec<u64>) -> BoxFuture<'_, Result<(), MediaError>> {
        Box::pin(async move {
            let first = slots.first().copied().unwrap_or_default();
            let paths: Vec<String> = slots.into_iter().map(path).collect();
            let removed = self.0.remove(&paths).await;
            removed.map_err(|(path, error)| {
                let name = path.rsplit('/').next().unwrap_or_default();
                failed(u64::from_str_radix(name, 16).unwrap_or(first), &error)
            })
        })
    }
}
