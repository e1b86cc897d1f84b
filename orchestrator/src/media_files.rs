//! Blobs as files, each encrypted under its data key: `SHARD/SLOT`.

use crate::durable_files::limits::BLOB_BYTES_MAX;
use crate::durable_files::{Root, is_full, read, remove, sync_folder};
use crate::media_seal::{open, place, seal};
use gristmill_actors::ports::{MediaError, MediaStore};
use gristmill_actors::rail::BoxFuture;
use gristmill_workflows::entry::DataKey;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A folder of blobs.
#[derive(Debug, Clone)]
pub struct MediaFiles(Arc<Root>);

impl MediaFiles {
    /// Opens the folder of blobs; makes it if its parent stands.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(folder: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(Root::open(folder)?)))
    }

    /// Opens the folder of blobs that other processes write, too; `writer` is this one's own name.
    ///
    /// # Errors
    /// What the file system says.
    pub fn shared(folder: &Path, writer: &str) -> io::Result<Self> {
        Ok(Self(Arc::new(Root::shared(folder, format!("{writer}-"))?)))
    }

    fn run<T: Send + 'static>(
        &self,
        slot: u64,
        work: impl FnOnce(&Root) -> Result<T, MediaError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, MediaError>> {
        let root = Arc::clone(&self.0);
        Box::pin(async move {
            let done = tokio::task::spawn_blocking(move || work(&root)).await;
            done.unwrap_or_else(|_| Err(failed(slot, &io::Error::other("the writer ended"))))
        })
    }
}

fn failed(slot: u64, error: &io::Error) -> MediaError {
    MediaError::Failed { slot, detail: error.to_string(), full: is_full(error) }
}

fn put(root: &Root, slot: u64, key: DataKey, mut bytes: Vec<u8>) -> Result<(), MediaError> {
    let failed = |error: io::Error| failed(slot, &error);
    let nonce = seal(slot, key, &mut bytes).map_err(failed)?;
    let (folder, name) = place(slot);
    let mut touched = BTreeSet::from([root.path().join(&folder)]);
    root.make_folders(Path::new(&folder), &mut touched).map_err(failed)?;
    let staged = root.stage(&[&nonce, &bytes], 0o600).map_err(failed)?;
    staged.rename(&root.path().join(folder).join(name)).map_err(failed)?;
    touched.iter().try_for_each(|folder| sync_folder(folder)).map_err(failed)
}

fn get(root: &Root, slot: u64, key: DataKey) -> Result<Option<Vec<u8>>, MediaError> {
    let (folder, name) = place(slot);
    let path = root.path().join(folder).join(name);
    let stored = read(&path, BLOB_BYTES_MAX).map_err(|error| failed(slot, &error))?;
    let opened = stored.map(|stored| open(slot, key, stored).ok_or(MediaError::Damaged { slot }));
    opened.transpose()
}

fn remove_all(root: &Root, slots: &[u64]) -> Result<(), MediaError> {
    let mut touched = BTreeSet::new();
    for slot in slots {
        let (folder, name) = place(*slot);
        let folder = root.path().join(folder);
        if remove(&folder.join(name)).map_err(|error| failed(*slot, &error))? {
            touched.insert((folder, *slot));
        }
    }
    let mut synced = None;
    for (folder, slot) in &touched {
        if synced.replace(folder) != Some(folder) {
            sync_folder(folder).map_err(|error| failed(*slot, &error))?;
        }
    }
    Ok(())
}

impl MediaStore for MediaFiles {
    fn put(
        &self,
        slot: u64,
        key: DataKey,
        bytes: Vec<u8>,
    ) -> BoxFuture<'_, Result<(), MediaError>> {
        self.run(slot, move |root| put(root, slot, key, bytes))
    }

    fn get(&self, slot: u64, key: DataKey) -> BoxFuture<'_, Result<Option<Vec<u8>>, MediaError>> {
        self.run(slot, move |root| get(root, slot, key))
    }

    fn remove(&self, slots: Vec<u64>) -> BoxFuture<'_, Result<(), MediaError>> {
        let first = slots.first().copied().unwrap_or_default();
        self.run(first, move |root| remove_all(root, &slots))
    }
}
