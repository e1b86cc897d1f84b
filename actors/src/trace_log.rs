//! The writer of the public log Trace over the [`LogStore`] port: indices, tiles, checkpoints.
//!
//! Order of what becomes durable: `sequenced/FIRST` (the truth about indices) → bundles and tiles,
//! the partial ones of exactly the published size included → `checkpoints/SIZE` → `checkpoint`.
//! Every object but the last is create-if-absent, and all but `sequenced/` follow from it byte for
//! byte; so a writer that dies anywhere is followed by one that opens the log and goes on, and two
//! writers at once do no harm: at most one of them creates an object, the other one is stopped.

mod error;
pub mod limits;
mod margin;
mod objects;
mod opening;
mod publication;
mod sharing;
mod view;

pub use error::Error;
pub use publication::{Publication, Written};
pub use view::View;

use crate::ports::LogStore;
use gristmill_trace::hash::Hash;
use gristmill_trace::key::{SigningKey, Verifier};
use gristmill_trace::publisher::Publisher;
use gristmill_workflows::codec;
use gristmill_workflows::id::ShardId;
use gristmill_workflows::limits::{
    ENTRY_BYTES_MAX, SEQUENCED_ENTRIES_MAX, SEQUENCED_OFFERS_BYTES_MAX,
};
use gristmill_workflows::sequencer::{Answer, Cursor, Offer, Sequenced, Sequencer};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// The log, open for writing. Memory follows what is sequenced and not yet published, and what the
/// shards have not yet acknowledged; it does not grow with the log.
pub struct TraceLog {
    store: Arc<dyn LogStore>,
    key: Arc<SigningKey>,
    sequencer: Sequencer,
    publisher: Publisher,
    view: Option<View>,
    /// Whether `checkpoint` shows what is published.
    announced: bool,
    backlog: VecDeque<Arc<Batch>>,
    backlog_bytes: usize,
    retained: VecDeque<Retained>,
    acknowledged: BTreeMap<ShardId, u64>,
    margin: margin::Margin,
    /// First index and end of the retained objects that nobody needed at the last look.
    spare: VecDeque<(u64, u64)>,
    /// Sizes of the checkpoints that stand, oldest first.
    checkpoints: VecDeque<u64>,
    publishing: bool,
    stopped: bool,
    /// Other writers may create objects, too.
    shared: bool,
}

/// What the newest checkpoint says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Entries in the log.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

/// The entries of one sequenced object.
struct Batch {
    first: u64,
    entries: Vec<Vec<u8>>,
    bytes: usize,
}

impl Batch {
    fn of(object: Sequenced) -> Self {
        let first = object.first;
        let entries: Vec<Vec<u8>> =
            object.offers.into_iter().flat_map(|offer| offer.entries).collect();
        let bytes = entries.iter().map(|entry| entry.len() + size_of::<Vec<u8>>()).sum();
        Self { first, entries, bytes }
    }

    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// The entries at `index` and above.
    fn above(&self, index: u64) -> &[Vec<u8>] {
        let below = index.saturating_sub(self.first).min(self.entries.len() as u64);
        &self.entries[below as usize..]
    }
}

/// A sequenced object that stands, and the outbox position up to which each shard must have
/// acknowledged before it may go.
struct Retained {
    first: u64,
    end: u64,
    shards: Vec<(ShardId, u64)>,
}

impl std::fmt::Debug for TraceLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TraceLog")
            .field("sequenced", &self.sequenced_size())
            .field("published", &self.published_size())
            .finish_non_exhaustive()
    }
}

impl TraceLog {
    /// Gives out indices, one answer an offer; what they say is durable when this returns.
    ///
    /// # Errors
    /// [`Error::TooLarge`] and [`Error::Backlog`] changed nothing. After any other one some of the
    /// offers may be sequenced and all further calls answer [`Error::Stopped`]: open the log anew.
    pub async fn sequence(&mut self, offers: Vec<Offer>) -> Result<Vec<Answer>, Error> {
        if self.stopped {
            return Err(Error::Stopped);
        }
        offers.iter().try_for_each(check)?;
        if self.shared {
            self.catch_up().await?;
        }
        if self.is_full() && !self.shared {
            if self.publishing {
                return Err(Error::Backlog);
            }
            self.publish().await?;
        }
        self.stopped = true;
        let mut answers = Vec::with_capacity(offers.len());
        let mut rest = offers;
        while !rest.is_empty() {
            let later = rest.split_off(Sequencer::batch(&rest));
            answers.extend(match self.shared {
                true => self.seal_among_others(rest).await?,
                false => self.seal(rest).await?,
            });
            rest = later;
        }
        self.stopped = false;
        Ok(answers)
    }

    /// One object with as many offers as fit.
    async fn seal(&mut self, offers: Vec<Offer>) -> Result<Vec<Answer>, Error> {
        let (object, answers) = self.sequencer.sequence(offers);
        let Some(object) = object else {
            return Ok(answers);
        };
        let path = objects::numbered(objects::SEQUENCED, object.first);
        let encoded = codec::encode(&object);
        let bytes = encoded.map_err(|source| Error::Object { path: path.clone(), source })?;
        self.sequencer.sealed(sha256(&bytes));
        self.store.create(vec![(path, bytes)]).await?;
        self.check_superseded(object.first).await?;
        self.retain(&object);
        self.wait(Batch::of(object));
        Ok(answers)
    }

    /// A writer left behind could put an object back that was taken away since. Objects are taken
    /// away only after a checkpoint covers them, so that checkpoint tells.
    async fn check_superseded(&self, first: u64) -> Result<(), Error> {
        match self.published_past(first).await? {
            Some(shown) => Err(Error::Superseded { first, published: shown.size() }),
            None => Ok(()),
        }
    }

    /// The log as `checkpoint` shows it, if that covers the entry at `index`.
    async fn published_past(&self, index: u64) -> Result<Option<View>, Error> {
        let path = objects::CHECKPOINT;
        let Some(note) = self.store.read(path.to_owned()).await? else {
            return Ok(None);
        };
        let known = self.view.as_ref().filter(|view| view.note().as_bytes() == note);
        let shown = match known {
            Some(view) => Some(view.clone()),
            None => objects::checkpoint(&*self.store, path, self.key.verifier()).await?.map(
                |(checkpoint, note)| View::new(Arc::clone(&self.store), checkpoint, note.into()),
            ),
        };
        Ok(shown.filter(|view| view.size() > index))
    }

    /// Writes tiles and bundles for everything sequenced and not yet published, then the signed
    /// checkpoint. An empty log gets a checkpoint of size 0. Does nothing if nothing is new.
    ///
    /// # Errors
    /// [`Error::Store`]; see [`TraceLog::finish`]. [`Error::Backlog`] while a publication that
    /// [`TraceLog::begin`] gave out is not finished.
    pub async fn publish(&mut self) -> Result<Published, Error> {
        if let Some(publication) = self.begin() {
            let written = publication.write().await;
            return self.finish(written);
        }
        match &self.view {
            Some(view) if !self.publishing => Ok(view.published()),
            _ => Err(Error::Backlog),
        }
    }

    /// The shard has committed the indices of all its outbox positions `below`: they are not
    /// offered again. Every shard says this once after each [`TraceLog::open`], too, otherwise no
    /// sequenced object that it has a part in is ever taken away. Of a shared log nothing is taken
    /// away for that alone, see [`TraceLog::committed`].
    pub fn acknowledge(&mut self, shard: ShardId, below: u64) {
        let known = self.acknowledged.entry(shard).or_default();
        *known = below.max(*known);
        self.sequencer.forget(shard, below);
    }

    /// Entries that have an index.
    #[must_use]
    pub fn sequenced_size(&self) -> u64 {
        self.sequencer.size()
    }

    /// Entries that the newest checkpoint covers.
    #[must_use]
    pub fn published_size(&self) -> u64 {
        self.view.as_ref().map_or(0, View::size)
    }

    /// The log as published; none before the first publication.
    #[must_use]
    pub const fn view(&self) -> Option<&View> {
        self.view.as_ref()
    }

    /// How far a shard's outbox is sequenced.
    #[must_use]
    pub fn cursor(&self, shard: ShardId) -> Cursor {
        self.sequencer.cursor(shard)
    }

    /// Whether so much waits to be published that nothing more is sequenced before.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.backlog_bytes > limits::BACKLOG_BYTES_MAX
    }

    /// The key that checks this log's checkpoints.
    #[must_use]
    pub fn verifier(&self) -> &Verifier {
        self.key.verifier()
    }

    /// An entry by its index, published or not.
    ///
    /// # Errors
    /// [`Error::Index`] beyond what is sequenced, [`Error::Tile`] when its bundle cannot be used.
    pub async fn entry(&mut self, index: u64) -> Result<Vec<u8>, Error> {
        let waiting = self.backlog.iter().find(|batch| batch.first <= index && index < batch.end());
        if let Some(entry) = waiting.and_then(|batch| batch.above(index).first()) {
            return Ok(entry.clone());
        }
        let size = self.sequencer.size();
        match &mut self.view {
            Some(view) if index < view.size() => view.entry(index).await,
            _ => Err(Error::Index { index, size }),
        }
    }

    fn retain(&mut self, object: &Sequenced) {
        let positions = object.offers.iter();
        let ends = positions.map(|offer| (offer.shard, offer.from + offer.entries.len() as u64));
        self.retained.push_back(Retained {
            first: object.first,
            end: object.end(),
            shards: ends.collect::<BTreeMap<_, _>>().into_iter().collect(),
        });
    }

    fn wait(&mut self, batch: Batch) {
        self.backlog_bytes += batch.bytes;
        self.backlog.push_back(Arc::new(batch));
    }
}

/// Refuses what could never be published, before it gets an index.
fn check(offer: &Offer) -> Result<(), Error> {
    let bytes: usize = offer.entries.iter().map(Vec::len).sum();
    let too_long = offer.entries.iter().any(|entry| entry.len() > ENTRY_BYTES_MAX);
    let too_many = offer.entries.len() > SEQUENCED_ENTRIES_MAX;
    if too_long || too_many || bytes > SEQUENCED_OFFERS_BYTES_MAX {
        let (shard, from) = (offer.shard, offer.from);
        return Err(Error::TooLarge { shard, from });
    }
    Ok(())
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
