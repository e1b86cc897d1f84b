//! What of `sequenced/` may go where several nodes write the log.
//!
//! No node hears what the shards of the others have committed, so whoever publishes looks at the
//! store now and then. And a store that fails over may forget what it had acknowledged: its shards
//! then take up from the log what they lost ([`TraceLog::above`]). So an object stays until all its
//! positions were seen committed for [`PRUNE_AFTER_MS`], in every look since. A shard that does not
//! commit holds the objects that it has a part in, and no others.

use super::limits::{PRUNE_AFTER_MS, PRUNE_LOOKS_MAX, PRUNED_MAX};
use super::objects::{SEQUENCED, numbers};
use super::{Error, TraceLog};
use gristmill_workflows::id::ShardId;
use gristmill_workflows::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Looks at the store, oldest first: the positions below which each shard had committed indices.
#[derive(Debug, Clone, Default)]
pub(super) struct Margin {
    looks: VecDeque<(Timestamp, BTreeMap<ShardId, u64>)>,
}

impl Margin {
    fn look(&mut self, now: Timestamp, committed: BTreeMap<ShardId, u64>) {
        self.looks.push_back((now, committed));
        let is_old = |look: &(Timestamp, _)| look.0.plus_ms(PRUNE_AFTER_MS) <= now;
        // The oldest that counts is the newest one that is old enough.
        while self.looks.get(1).is_some_and(is_old) {
            self.looks.pop_front();
        }
        // Looks that come faster than they should make the margin wider, never narrower.
        if self.looks.len() > PRUNE_LOOKS_MAX {
            self.looks.remove(1);
        }
    }

    /// Below which positions a shard's entries are needed by nobody any more.
    pub(super) fn below(&self, shard: ShardId) -> Option<u64> {
        let (oldest, newest) = (self.looks.front()?, self.looks.back()?);
        if oldest.0.plus_ms(PRUNE_AFTER_MS) > newest.0 {
            return None;
        }
        let seen = self.looks.iter().map(|(_, committed)| committed.get(&shard).copied());
        seen.collect::<Option<Vec<u64>>>()?.into_iter().min()
    }
}

impl TraceLog {
    /// What the store said just now: the outbox position of each shard below which all indices are
    /// committed. Only a shared log needs it.
    pub fn committed(&mut self, now: Timestamp, committed: BTreeMap<ShardId, u64>) {
        self.margin.look(now, committed);
        self.find_spare();
    }

    /// Which objects nobody needs any more, by the looks so far.
    pub(super) fn find_spare(&mut self) {
        let mut below: BTreeMap<ShardId, Option<u64>> = BTreeMap::new();
        let margin = &self.margin;
        let mut done = |(shard, end): &(ShardId, u64)| {
            let below = *below.entry(*shard).or_insert_with(|| margin.below(*shard));
            below.is_some_and(|below| below >= *end)
        };
        let spare = self.retained.iter().filter(|object| object.shards.iter().all(&mut done));
        self.spare = spare.map(|object| (object.first, object.end)).collect();
    }

    /// First indices of the oldest objects that nobody needs any more, published ones, but never the
    /// newest.
    pub(super) fn spare(&self) -> BTreeSet<u64> {
        let (published, newest) = (self.published_size(), self.retained.back());
        let goes = |(first, end): &&(u64, u64)| {
            *end <= published && newest.is_some_and(|newest| newest.first > *first)
        };
        self.spare.iter().take_while(goes).take(PRUNED_MAX).map(|(first, _)| *first).collect()
    }

    /// Whether there are sequenced objects that might go.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.retained.len() > 1
    }

    /// Forgets objects that another writer took away.
    ///
    /// # Errors
    /// [`Error::Misnamed`] or [`Error::Store`]; nothing was changed then.
    pub async fn trim(&mut self) -> Result<(), Error> {
        let stand = numbers(&*self.store, SEQUENCED).await?;
        let newest = stand.last().copied().unwrap_or_default();
        self.drop_retained(|first| first < newest && stand.binary_search(&first).is_err());
        Ok(())
    }

    /// Sequenced objects are gone: nobody offers again what they hold.
    pub(super) fn drop_retained(&mut self, is_gone: impl Fn(u64) -> bool) {
        let sequencer = &mut self.sequencer;
        self.retained.retain(|object| {
            let goes = is_gone(object.first);
            for (shard, end) in object.shards.iter().filter(|_| goes) {
                sequencer.forget(*shard, *end);
            }
            !goes
        });
        self.spare.retain(|(first, _)| !is_gone(*first));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: ShardId = ShardId(1);

    fn at(part: u64) -> Timestamp {
        Timestamp(part * PRUNE_AFTER_MS / 4)
    }

    #[test]
    fn what_was_seen_committed_counts_once_the_margin_is_over() {
        let mut margin = Margin::default();
        for part in 0..4 {
            margin.look(at(part), BTreeMap::from([(SHARD, 10 + part)]));
            assert_eq!(margin.below(SHARD), None);
        }
        margin.look(at(4), BTreeMap::from([(SHARD, 14)]));
        assert_eq!(margin.below(SHARD), Some(10));
        margin.look(at(5), BTreeMap::from([(SHARD, 15)]));
        assert_eq!(margin.below(SHARD), Some(11));
        assert_eq!(margin.below(ShardId(2)), None);
    }

    #[test]
    fn what_a_store_forgot_counts_no_longer() {
        let mut margin = Margin::default();
        for (part, below) in [(0, 10), (1, 20), (2, 4), (3, 30), (4, 30)] {
            margin.look(at(part), BTreeMap::from([(SHARD, below)]));
        }
        assert_eq!(margin.below(SHARD), Some(4));
        margin.look(at(5), BTreeMap::new());
        assert_eq!(margin.below(SHARD), None, "a shard that was not seen holds everything");
    }

    #[test]
    fn looks_are_bounded() {
        let mut margin = Margin::default();
        for ms in 0..PRUNE_AFTER_MS {
            margin.look(Timestamp(ms), BTreeMap::from([(SHARD, ms)]));
        }
        assert!(margin.looks.len() <= PRUNE_LOOKS_MAX);
        margin.look(Timestamp(PRUNE_AFTER_MS), BTreeMap::from([(SHARD, 1)]));
        assert_eq!(margin.below(SHARD), Some(0));
    }
}
