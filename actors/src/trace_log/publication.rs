//! One publication: tiles, then the checkpoint, apart from the log itself.

use super::limits::{CHECKPOINTS_KEPT, CREATE_BYTES_MAX, PRUNED_MAX};
use super::objects::{CHECKPOINT, CHECKPOINTS, SEQUENCED, numbered};
use super::{Batch, Error, Published, TraceLog, View};
use crate::ports::{LogStore, Object};
use gristmill_trace::checkpoint::Checkpoint;
use gristmill_trace::key::SigningKey;
use gristmill_trace::publisher::{self, Publisher};
use gristmill_trace::tile;
use gristmill_workflows::id::ShardId;
use gristmill_workflows::teeth::{Tooth, bites};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Everything sequenced and not yet published, on its way into tiles and a checkpoint. It holds no
/// borrow of the log, so that the log can sequence on while it is written.
pub struct Publication {
    store: Arc<dyn LogStore>,
    key: Arc<SigningKey>,
    publisher: Publisher,
    batches: Vec<Arc<Batch>>,
    stale: Stale,
}

/// A publication whose checkpoint is durable; [`TraceLog::finish`] takes it.
pub struct Written {
    pub(super) publisher: Publisher,
    pub(super) view: View,
    pub(super) stale: Stale,
}

/// What earlier publications made superfluous.
#[derive(Debug, Default)]
pub(super) struct Stale {
    paths: Vec<String>,
    /// First indices of the retained sequenced objects that are among the paths.
    pub(super) sequenced: BTreeSet<u64>,
    /// How many of the oldest checkpoints are.
    pub(super) checkpoints: usize,
}

impl TraceLog {
    /// What to publish; none if nothing is sequenced since the last checkpoint, or another
    /// publication is not finished yet.
    pub fn begin(&mut self) -> Option<Publication> {
        let size = self.sequencer.size();
        let announced = self.announced && size == self.published_size();
        if announced || self.publishing {
            return None;
        }
        self.publishing = true;
        Some(Publication {
            store: Arc::clone(&self.store),
            key: Arc::clone(&self.key),
            publisher: self.publisher.clone(),
            batches: self.backlog.iter().cloned().collect(),
            stale: self.stale(size),
        })
    }

    /// Takes up how a publication ended. After an error the log is as before: the same may be
    /// published again, unless the store says that it must not.
    ///
    /// # Errors
    /// The one given.
    pub fn finish(&mut self, written: Result<Written, Error>) -> Result<Published, Error> {
        if !std::mem::take(&mut self.publishing) {
            // It was begun on a log that was opened anew since; it stands, and will be found.
            return Ok(Published { size: self.published_size(), root: self.publisher.root() });
        }
        let Written { publisher, view, stale } = written?;
        self.drop_retained(|first| stale.sequenced.contains(&first));
        self.checkpoints.drain(..stale.checkpoints);
        if self.checkpoints.back() != Some(&view.size()) {
            self.checkpoints.push_back(view.size());
        }
        while let Some(batch) = self.backlog.front().filter(|batch| batch.end() <= view.size()) {
            self.backlog_bytes -= batch.bytes;
            self.backlog.pop_front();
        }
        self.publisher = publisher;
        let published = view.published();
        self.view = Some(view);
        self.announced = true;
        Ok(published)
    }

    /// Bounded work: the oldest sequenced objects that are published and that nobody needs, but never
    /// the newest; the oldest checkpoints beyond those kept, and the partial tiles that only they need.
    fn stale(&self, size: u64) -> Stale {
        let sequenced = if self.shared { self.spare() } else { self.acknowledged() };
        let checkpoints =
            self.checkpoints.len().saturating_sub(CHECKPOINTS_KEPT - 1).min(PRUNED_MAX);
        let mut paths: Vec<String> =
            sequenced.iter().map(|first| numbered(SEQUENCED, *first)).collect();
        let kept = self.checkpoints.iter().skip(checkpoints).chain([&size]);
        let needed: BTreeSet<tile::Tile> = kept.flat_map(|size| tile::partials(*size)).collect();
        let old = self.checkpoints.iter().take(checkpoints);
        let mut partials: BTreeSet<_> =
            old.clone().flat_map(|size| tile::partials(*size)).collect();
        partials.retain(|tile| !needed.contains(tile));
        paths.extend(partials.iter().map(tile::Tile::path));
        paths.extend(old.map(|size| numbered(CHECKPOINTS, *size)));
        Stale { paths, sequenced, checkpoints }
    }

    /// The oldest sequenced objects that are published and whose indices all their shards have
    /// committed; the newest one is not among them.
    fn acknowledged(&self) -> BTreeSet<u64> {
        let published = self.published_size();
        let behind = self.retained.len().saturating_sub(1).min(PRUNED_MAX);
        let committed = |(shard, next): &(ShardId, u64)| {
            self.acknowledged.get(shard).is_some_and(|below| below >= next)
        };
        let done = |object: &&super::Retained| {
            object.end <= published && object.shards.iter().all(committed)
        };
        self.retained.iter().take(behind).take_while(done).map(|object| object.first).collect()
    }
}

impl std::fmt::Debug for Publication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let from = self.publisher.size();
        f.debug_struct("Publication").field("from", &from).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Written").field("view", &self.view).finish_non_exhaustive()
    }
}

impl Publication {
    /// Creates bundles and tiles, then `checkpoints/SIZE`, then replaces `checkpoint`, each
    /// durable before the next; at last takes away what is superfluous.
    ///
    /// # Errors
    /// [`Error::Store`]: some of it may stand; writing the same again is harmless.
    pub async fn write(self) -> Result<Written, Error> {
        let Self { store, key, mut publisher, batches, stale } = self;
        let (mut objects, mut bytes) = (Vec::new(), 0);
        for batch in batches {
            let filled = publisher.append(batch.above(publisher.size()))?;
            push(&mut objects, &mut bytes, filled);
            if bytes >= CREATE_BYTES_MAX {
                bytes = 0;
                store.create(std::mem::take(&mut objects)).await?;
            }
            // Hashing a large batch takes milliseconds; others may want the thread.
            tokio::task::yield_now().await;
        }
        push(&mut objects, &mut bytes, publisher.partials());
        let late = if bites(Tooth::CheckpointBeforeTiles) {
            std::mem::take(&mut objects)
        } else {
            Vec::new()
        };
        if !objects.is_empty() {
            store.create(objects).await?;
        }
        let checkpoint = Checkpoint {
            origin: key.name().to_owned(),
            size: publisher.size(),
            root: publisher.root(),
        };
        let note = checkpoint
            .sign(&key)
            .map_err(|source| Error::Checkpoint { path: CHECKPOINT.to_owned(), source })?;
        let path = numbered(CHECKPOINTS, checkpoint.size);
        store.create(vec![(path, note.clone().into_bytes())]).await?;
        let shown = super::objects::checkpoint(&*store, CHECKPOINT, key.verifier()).await?;
        if shown.is_none_or(|(shown, _)| shown.size <= checkpoint.size) {
            store.replace((CHECKPOINT.to_owned(), note.clone().into_bytes())).await?;
        }
        if !late.is_empty() {
            store.create(late).await?;
        }
        if !stale.paths.is_empty() {
            store.remove(stale.paths.clone()).await?;
        }
        let view = View::new(store, checkpoint, note.into());
        Ok(Written { publisher, view, stale })
    }
}

fn push(objects: &mut Vec<Object>, bytes: &mut usize, more: Vec<publisher::Object>) {
    for object in more {
        *bytes += object.bytes.len();
        objects.push((object.tile.path(), object.bytes));
    }
}
