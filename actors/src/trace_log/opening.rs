//! Opening the log: what stands is checked and taken up.

use super::limits::BACKLOG_BYTES_MAX;
use super::objects::{CHECKPOINT, CHECKPOINTS, Loaded, SEQUENCED, checkpoint, numbered, numbers};
use super::{Batch, Error, Retained, TraceLog, View, sha256};
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
            spare: VecDeque::new(),
            checkpoints: checkpoints.into(),
            publishing: false,
            stopped: false,
            shared: false,
        };
        log.replay().await?;
        Ok(log)
    }

    async fn replay(&mut self) -> Result<(), Error> {
        let mut before = Vec::new();
        for first in numbers(&*self.store, SEQUENCED).await? {
            let path = numbered(SEQUENCED, first);
            let (object, hash) = self.object(&path).await?;
            if object.first != first {
                return Err(Error::Misnamed { path });
            }
            before.extend(self.take_up(object, hash, path)?);
            if self.backlog_bytes > BACKLOG_BYTES_MAX {
                self.publish().await?;
            }
        }
        let (published, sequenced) = (self.published_size(), self.sequencer.size());
        if published > sequenced {
            return Err(Error::Ahead { published, sequenced });
        }
        self.keep(before).await
    }

    async fn object(&self, path: &str) -> Result<(Sequenced, [u8; 32]), Error> {
        let path = || path.to_owned();
        let bytes =
            self.store.read(path()).await?.ok_or_else(|| Error::Missing { path: path() })?;
        let decoded = codec::decode::<Sequenced>(&bytes);
        let object = decoded.map_err(|source| Error::Object { path: path(), source })?;
        Ok((object, sha256(&bytes)))
    }

    /// Takes up one object; those before a gap, if it comes after one.
    fn take_up(
        &mut self,
        object: Sequenced,
        hash: [u8; 32],
        path: String,
    ) -> Result<Vec<Retained>, Error> {
        let mut before = Vec::new();
        let follows = !self.retained.is_empty() && self.sequencer.replay(&object, hash);
        if !follows {
            // Objects that nobody needs are taken away, so among the published ones some may be
            // missing. What follows the last gap must be whole.
            if object.first > self.published_size() {
                return Err(Error::Chain { path });
            }
            self.sequencer = Sequencer::default();
            before.extend(self.retained.drain(..));
            self.backlog.clear();
            self.backlog_bytes = 0;
            self.sequencer.replay(&object, hash);
        }
        self.retain(&object);
        if object.end() > self.published_size() {
            self.wait(Batch::of(object));
        }
        Ok(before)
    }

    /// Objects before a gap: a shard that does not commit may still need them, or a stale writer has
    /// put one back, maybe with other entries. What was published tells.
    async fn keep(&mut self, before: Vec<Retained>) -> Result<(), Error> {
        let mut void = Vec::new();
        for one in before.into_iter().rev() {
            let path = numbered(SEQUENCED, one.first);
            let (object, _) = self.object(&path).await?;
            if !self.is_published(&object).await? {
                void.push(path);
                continue;
            }
            let mut first = object.first;
            for offer in &object.offers {
                self.sequencer.recall(offer, first);
                first += offer.entries.len() as u64;
            }
            self.retained.push_front(one);
        }
        if !void.is_empty() {
            self.store.remove(void).await?;
        }
        Ok(())
    }

    async fn is_published(&mut self, object: &Sequenced) -> Result<bool, Error> {
        let Some(view) = self.view.as_mut().filter(|view| view.size() >= object.end()) else {
            return Ok(false);
        };
        let entries = object.offers.iter().flat_map(|offer| &offer.entries);
        for (index, entry) in (object.first..).zip(entries) {
            if view.entry(index).await? != *entry {
                return Ok(false);
            }
        }
        Ok(true)
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
