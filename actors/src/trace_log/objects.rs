//! Names of the log's own objects, and tiles read through the store.

use super::Error;
use crate::ports::LogStore;
use gristmill_trace::checkpoint::Checkpoint;
use gristmill_trace::key::Verifier;
use gristmill_trace::reader::{Fetch, FetchError};
use std::collections::HashMap;

/// The newest checkpoint.
pub(super) const CHECKPOINT: &str = "checkpoint";
/// Checkpoints by size.
pub(super) const CHECKPOINTS: &str = "checkpoints";
/// Sequenced objects by first index.
pub(super) const SEQUENCED: &str = "sequenced";

/// `folder/number` with 20 digits, so that names sort as numbers.
pub(super) fn numbered(folder: &str, number: u64) -> String {
    format!("{folder}/{number:020}")
}

/// The numbers of a folder's objects, in order. Anything else in it is not ours and is refused.
pub(super) async fn numbers(store: &dyn LogStore, folder: &str) -> Result<Vec<u64>, Error> {
    let mut numbers = Vec::new();
    for path in store.list(folder.to_owned()).await? {
        let number = path.rsplit('/').next().and_then(|name| name.parse().ok());
        match number {
            Some(number) if numbered(folder, number) == path => numbers.push(number),
            _ => return Err(Error::Misnamed { path }),
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Reads and opens a checkpoint; none if it does not stand.
pub(super) async fn checkpoint(
    store: &dyn LogStore,
    path: &str,
    verifier: &Verifier,
) -> Result<Option<(Checkpoint, String)>, Error> {
    let Some(note) = store.read(path.to_owned()).await? else {
        return Ok(None);
    };
    let opened = Checkpoint::open(&note, verifier);
    let checkpoint =
        opened.map_err(|source| Error::Checkpoint { path: path.to_owned(), source })?;
    // An opened note is UTF-8, so nothing is replaced here.
    Ok(Some((checkpoint, String::from_utf8_lossy(&note).into_owned())))
}

#[derive(Debug, thiserror::Error)]
#[error("not loaded yet")]
struct NotLoaded;

/// Objects read so far; `None` for those that do not stand.
#[derive(Debug, Clone, Default)]
pub(super) struct Loaded {
    objects: HashMap<String, Option<Vec<u8>>>,
    bytes: usize,
}

impl Loaded {
    /// Forgets everything once it is more than `limit` bytes.
    pub(super) fn shrink(&mut self, limit: usize) {
        if self.bytes > limit {
            *self = Self::default();
        }
    }

    /// Runs `question` over the log's tiles. It cannot wait for the store, so it is asked again
    /// after each object that it missed; every round loads one that no later round misses.
    pub(super) async fn ask<T, E>(
        &mut self,
        store: &dyn LogStore,
        mut question: impl FnMut(&mut Fetch<'_>) -> Result<T, E> + Send,
    ) -> Result<T, Error>
    where
        Error: From<E>,
        T: Send,
        E: Send,
    {
        loop {
            let (answer, missed) = self.round(&mut question);
            let Some(path) = missed else {
                return Ok(answer?);
            };
            let object = store.read(path.clone()).await?;
            self.bytes += path.len() + object.as_ref().map_or(0, Vec::len);
            self.objects.insert(path, object);
        }
    }

    fn round<T, E>(
        &self,
        question: &mut impl FnMut(&mut Fetch<'_>) -> Result<T, E>,
    ) -> (Result<T, E>, Option<String>) {
        let mut missed = None;
        let answer = question(&mut |path| match self.objects.get(path) {
            Some(object) => Ok(object.clone()),
            None => {
                missed = Some(path.to_owned());
                Err(FetchError::from(NotLoaded))
            }
        });
        (answer, missed)
    }
}
