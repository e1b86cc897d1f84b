//! Several writers of one log: each sequences what its own shards offer, one at a time publishes.
//!
//! Creating `sequenced/FIRST` decides who gets the next indices; who comes second takes up what
//! stands there and asks again. So no writer needs to know of the others, and a role that two hold
//! at once does no harm.

use super::limits::CONFLICTS_MAX;
use super::objects::{CHECKPOINT, SEQUENCED, checkpoint, numbered};
use super::{Batch, Error, TraceLog, View, sha256};
use crate::ports::LogError;
use gristmill_workflows::codec;
use gristmill_workflows::id::ShardId;
use gristmill_workflows::sequencer::{Answer, Offer, Sequenced};
use gristmill_workflows::shard::Found;
use std::sync::Arc;

impl TraceLog {
    /// From now on other writers may create objects, too.
    #[must_use]
    pub fn share(self) -> Self {
        Self { shared: true, ..self }
    }

    /// Whether other writers may create objects, too.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        self.shared
    }

    /// Takes up what other writers have sequenced.
    ///
    /// # Errors
    /// [`Error::Superseded`] if what follows was published and taken away since, [`Error::Chain`] or
    /// [`Error::Store`]; open the log anew.
    pub async fn catch_up(&mut self) -> Result<(), Error> {
        loop {
            let path = numbered(SEQUENCED, self.sequencer.size());
            let Some(bytes) = self.next(&path).await? else { return Ok(()) };
            let decoded = codec::decode::<Sequenced>(&bytes);
            let object = decoded.map_err(|source| Error::Object { path: path.clone(), source })?;
            if object.first != self.sequencer.size() {
                return Err(Error::Misnamed { path });
            }
            if !self.sequencer.replay(&object, sha256(&bytes)) {
                return Err(Error::Chain { path });
            }
            self.retain(&object);
            self.wait(Batch::of(object));
        }
    }

    /// The object that follows what is known; none if nothing was sequenced since. A writer that
    /// slept may find none because it was published and taken away: what it would create there is
    /// void, so the checkpoint is asked.
    async fn next(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        if let Some(bytes) = self.store.read(path.to_owned()).await? {
            return Ok(Some(bytes));
        }
        let first = self.sequencer.size();
        let Some(shown) = self.published_past(first).await? else { return Ok(None) };
        match self.store.read(path.to_owned()).await? {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(Error::Superseded { first, published: shown.size() }),
        }
    }

    /// A shard's owner speaks under this epoch: what an older one offers from now on is refused.
    pub fn fence(&mut self, shard: ShardId, epoch: u64) {
        self.sequencer.fence(shard, epoch);
    }

    /// What the log has of a shard's outbox from its waiting `rows` on, or from `next` on, in order.
    /// Nothing if that is no more than the shard knows, and nothing else: its store may have lost
    /// commits, and an owner of before may have offered what it lost. The rows will be offered again,
    /// whatever the shard said before.
    ///
    /// # Errors
    /// As [`TraceLog::catch_up`]; [`Error::Pruned`] if an object that holds it is gone: the store lost
    /// more than the log keeps for it.
    pub async fn above(
        &mut self,
        shard: ShardId,
        rows: &[(u64, Vec<Vec<u8>>)],
        next: u64,
    ) -> Result<Vec<Found>, Error> {
        self.catch_up().await?;
        let pending = rows.first().map_or(next, |(from, _)| *from);
        let mut found = Vec::new();
        let forgotten = self.acknowledged.get(&shard).is_some_and(|below| *below > pending);
        let more = self.sequencer.cursor(shard).next > next;
        if !forgotten && !more && !self.sequencer.differs(shard, rows) {
            return Ok(found);
        }
        self.acknowledged.remove(&shard);
        for object in &self.retained {
            if !object.shards.iter().any(|(of, end)| *of == shard && *end > pending) {
                continue;
            }
            let path = numbered(SEQUENCED, object.first);
            let Some(bytes) = self.store.read(path.clone()).await? else {
                return Err(Error::Pruned { shard, from: pending });
            };
            let decoded = codec::decode::<Sequenced>(&bytes);
            let mut first = object.first;
            for offer in decoded.map_err(|source| Error::Object { path, source })?.offers {
                let count = offer.entries.len() as u64;
                if offer.shard == shard && offer.from >= pending {
                    self.sequencer.recall(&offer, first);
                    found.push(Found { from: offer.from, first, entries: offer.entries });
                }
                first += count;
            }
        }
        whole(shard, pending, self.sequencer.cursor(shard).next, &found)?;
        Ok(found)
    }

    /// Whether another writer has published further than what is known here.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] or [`Error::Store`].
    pub async fn is_overtaken(&self) -> Result<bool, Error> {
        let shown = checkpoint(&*self.store, CHECKPOINT, self.key.verifier()).await?;
        Ok(shown.is_some_and(|(shown, _)| shown.size > self.published_size()))
    }

    /// Takes up what another writer has published; true if that is further than what is known here.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] or [`Error::Store`]; nothing was changed then.
    pub async fn follow(&mut self) -> Result<bool, Error> {
        let shown = checkpoint(&*self.store, CHECKPOINT, self.key.verifier()).await?;
        let Some((checkpoint, note)) = shown else { return Ok(false) };
        if self.publishing || checkpoint.size <= self.published_size() {
            return Ok(false);
        }
        while let Some(batch) = self.backlog.front().filter(|it| it.end() <= checkpoint.size) {
            self.backlog_bytes -= batch.bytes;
            self.backlog.pop_front();
        }
        self.view = Some(View::new(Arc::clone(&self.store), checkpoint, note.into()));
        Ok(true)
    }

    /// The same log, opened anew; what its shards have acknowledged is kept.
    ///
    /// # Errors
    /// As [`TraceLog::open`]. Other writers take objects away: the same may succeed right after.
    pub async fn reopened(&self) -> Result<Self, Error> {
        let mut log = Self::open_with(Arc::clone(&self.store), Arc::clone(&self.key)).await?;
        log.shared = self.shared;
        log.margin.clone_from(&self.margin);
        for (shard, epoch) in self.sequencer.fences() {
            log.fence(*shard, *epoch);
        }
        for (shard, below) in &self.acknowledged {
            log.acknowledge(*shard, *below);
        }
        log.find_spare();
        Ok(log)
    }

    /// As `seal`, but another writer may be quicker.
    pub(super) async fn seal_among_others(
        &mut self,
        offers: Vec<Offer>,
    ) -> Result<Vec<Answer>, Error> {
        for _ in 0..CONFLICTS_MAX {
            let cursors = self.sequencer.cursors().clone();
            let (object, answers) = self.sequencer.sequence(offers.clone());
            let Some(object) = object else { return Ok(answers) };
            let path = numbered(SEQUENCED, object.first);
            let encoded = codec::encode(&object);
            let bytes = encoded.map_err(|source| Error::Object { path: path.clone(), source })?;
            let hash = sha256(&bytes);
            match self.store.create(vec![(path.clone(), bytes)]).await {
                Ok(()) => {
                    self.sequencer.sealed(hash);
                    if let Some(shown) = self.published_past(object.first).await? {
                        return Err(self.superseded(&object, path, shown).await);
                    }
                    self.retain(&object);
                    self.wait(Batch::of(object));
                    return Ok(answers);
                }
                Err(LogError::Differs { .. }) => {
                    self.sequencer.take_back(&object, cursors);
                    self.catch_up().await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Crowded)
    }

    /// An object was created below what is published. Either it is part of that, or it stands where
    /// another one was taken away: then nobody is told of it, and it goes again.
    async fn superseded(&self, object: &Sequenced, path: String, mut shown: View) -> Error {
        let (first, published) = (object.first, shown.size());
        let entries = object.offers.iter().flat_map(|offer| &offer.entries);
        for (index, entry) in (first..published).zip(entries) {
            match shown.entry(index).await {
                Ok(stands) if stands == *entry => {}
                Ok(_) => match self.store.remove(vec![path]).await {
                    Ok(()) => break,
                    Err(error) => return error.into(),
                },
                Err(error) => return error,
            }
        }
        Error::Superseded { first, published }
    }
}

/// What a shard asks for has to be there from the first position to the last.
fn whole(shard: ShardId, pending: u64, cursor: u64, found: &[Found]) -> Result<(), Error> {
    let mut from = pending;
    for one in found {
        if one.from != from {
            return Err(Error::Pruned { shard, from });
        }
        from += one.entries.len() as u64;
    }
    if from < cursor { Err(Error::Pruned { shard, from }) } else { Ok(()) }
}
