//! Opening the log: what stands is checked and taken up.

use super::limits::BACKLOG_BYTES_MAX;
use super::objects::{CHECKPOINT, CHECKPOINTS, Loaded, SEQUENCED, checkpoint, numbered, numbers};
use super::{Batch, Error, TraceLog, View, sha256};
use crate::ports::LogStore;
use gristmill_trace::checkpoint::Checkpoint;
use gristmill_trace::key::SigningKey;
use gristmill_trace::publisher::Publisher;
use gristmill_trace::verify;
use gristmill_workflows::codec;
use gristmill_workflows::sequencer::{Sequenced, Sequencer};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

impl TraceLog {
    /// Opens the log of this key: checks the checkpoint, takes over its right edge, and replays
    /// the sequenced objects. Entries sequenced and not yet published are published by the next
    /// [`TraceLog::publish`]; only if there are very many, some are already here.
    ///
    /// # Errors
    /// [`Error`] says what contradicts what; nothing was changed then.
    pub async fn open(store: Arc<dyn LogStore>, key: SigningKey) -> Result<Self, Error> {
        Self::open_with(store, Arc::new(key)).await
    }

    pub(super) async fn open_with(
        store: Arc<dyn LogStore>,
        key: Arc<SigningKey>,
    ) -> Result<Self, Error> {
        let checkpoints = numbers(&*store, CHECKPOINTS).await?;
        let (newest, announced) = newest(&*store, &key, checkpoints.last().copied()).await?;
        let mut publisher = Publisher::new();
        if let Some((checkpoint, _)) = &newest {
            let (size, root) = (checkpoint.size, checkpoint.root);
            publisher = Loaded::default()
                .ask(&*store, |fetch| Publisher::restore(size, root, fetch))
                .await?;
        }
        let view = |(checkpoint, note): (Checkpoint, String)| {
            View::new(Arc::clone(&store), checkpoint, note.into())
        };
        let mut log = Self {
            view: newest.map(view),
            store,
            key,
            sequencer: Sequencer::default(),
            publisher,
            announced,
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            retained: VecDeque::new(),
            acknowledged: BTreeMap::new(),
            margin: super::margin::Margin::default(),
            checkpoints: checkpoints.into(),
            publishing: false,
            stopped: false,
            shared: false,
        };
        log.replay().await?;
        Ok(log)
    }

    async fn replay(&mut self) -> Result<(), Error> {
        let mut void = Vec::new();
        for first in numbers(&*self.store, SEQUENCED).await? {
            let path = numbered(SEQUENCED, first);
            let Some(bytes) = self.store.read(path.clone()).await? else {
                return Err(Error::Missing { path });
            };
            let decoded = codec::decode::<Sequenced>(&bytes);
            let object = decoded.map_err(|source| Error::Object { path: path.clone(), source })?;
            if object.first != first {
                return Err(Error::Misnamed { path });
            }
            void.extend(self.take_up(object, sha256(&bytes), path)?);
            if self.backlog_bytes > BACKLOG_BYTES_MAX {
                self.publish().await?;
            }
        }
        let (published, sequenced) = (self.published_size(), self.sequencer.size());
        if published > sequenced {
            return Err(Error::Ahead { published, sequenced });
        }
        if !void.is_empty() {
            self.store.remove(void).await?;
        }
        Ok(())
    }

    /// Takes up one object; paths of those before a gap, which nothing needs any more.
    fn take_up(
        &mut self,
        object: Sequenced,
        hash: [u8; 32],
        path: String,
    ) -> Result<Vec<String>, Error> {
        let mut void = Vec::new();
        let follows = !self.retained.is_empty() && self.sequencer.replay(&object, hash);
        if !follows {
            // Taking objects away is not durable and a stale writer may put one back, so among
            // the published ones some may be missing. What follows such a gap must be whole.
            if object.first > self.published_size() {
                return Err(Error::Chain { path });
            }
            self.sequencer = Sequencer::default();
            let before = self.retained.drain(..);
            void.extend(before.map(|object| numbered(SEQUENCED, object.first)));
            self.backlog.clear();
            self.backlog_bytes = 0;
            self.sequencer.replay(&object, hash);
        }
        self.retain(&object);
        if object.end() > self.published_size() {
            self.wait(Batch::of(object));
        }
        Ok(void)
    }
}

/// The newest checkpoint that stands, and whether it is the one that `checkpoint` shows.
async fn newest(
    store: &dyn LogStore,
    key: &SigningKey,
    size: Option<u64>,
) -> Result<(Option<(Checkpoint, String)>, bool), Error> {
    let shown = checkpoint(store, CHECKPOINT, key.verifier()).await?;
    let Some(size) = size else {
        let announced = shown.is_some();
        return Ok((shown, announced));
    };
    let path = numbered(CHECKPOINTS, size);
    let Some(created) = checkpoint(store, &path, key.verifier()).await? else {
        return Err(Error::Missing { path });
    };
    if created.0.size != size {
        return Err(Error::Misnamed { path });
    }
    let Some(shown) = shown else {
        return Ok((Some(created), false));
    };
    let shown_is_newer = shown.0.size >= size;
    let (older, newer) = if shown_is_newer { (created, shown) } else { (shown, created) };
    if older.0.size == newer.0.size && older.0.root != newer.0.root {
        return Err(Error::Roots { size });
    }
    Loaded::default().ask(store, |fetch| verify::extends(fetch, &older.0, &newer.0)).await?;
    Ok((Some(newer), shown_is_newer))
}
