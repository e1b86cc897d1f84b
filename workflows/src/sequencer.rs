//! The sequencer of Trace: gives every entry of every shard's outbox one index, once.
//!
//! It keeps one cursor a shard, not one identity an entry. What a shard offers below its cursor
//! was sequenced before, and the recorded indices are the answer; what lies at the cursor gets the
//! next indices; a gap or an older epoch is refused. The sequenced objects, each naming the hash
//! of the one before, are the truth that cursors are rebuilt from.

use crate::codec::Record;
use crate::id::ShardId;
use crate::limits;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Entries that a shard offers: the outbox row that begins at `from`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Whose outbox.
    pub shard: ShardId,
    /// Under which epoch.
    pub epoch: u64,
    /// Outbox position of the first entry.
    pub from: u64,
    /// The entries' exact bytes.
    pub entries: Vec<Vec<u8>>,
}

/// One batch of offers with one first index: the content of `sequenced/<first index>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequenced {
    /// Index of the first entry.
    pub first: u64,
    /// SHA-256 of the object before; zeros for the first.
    pub before: [u8; 32],
    /// All cursors after this batch.
    pub cursors: BTreeMap<ShardId, Cursor>,
    /// Offers in index order.
    pub offers: Vec<Offer>,
}

impl Record for Sequenced {
    const SCHEMA: u8 = 10;
    const VERSION: u8 = 1;
}

/// How far one shard's outbox is sequenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cursor {
    /// The highest epoch seen.
    pub epoch: u64,
    /// The next outbox position.
    pub next: u64,
}

/// What became of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Its entries stand at these indices; the first of them, contiguous.
    At(u64),
    /// A newer epoch was seen.
    Fenced,
    /// Positions between the cursor and the offer are missing.
    Gap {
        /// The cursor.
        next: u64,
    },
    /// It was sequenced, but its index is no longer remembered here.
    Forgotten,
}

/// The machine. `recent` remembers the first index of offers already sequenced.
#[derive(Debug, Clone, Default)]
pub struct Sequencer {
    size: u64,
    before: [u8; 32],
    cursors: BTreeMap<ShardId, Cursor>,
    recent: HashMap<(ShardId, u64), u64>,
}

impl Sequencer {
    /// The next index.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// A shard's cursor.
    pub fn cursor(&self, shard: ShardId) -> Cursor {
        self.cursors.get(&shard).copied().unwrap_or_default()
    }

    /// Takes up what an object says, in order; false if it does not follow.
    pub fn replay(&mut self, object: &Sequenced, hash: [u8; 32]) -> bool {
        let fresh = self.size == 0 && self.recent.is_empty();
        if !fresh && (object.first != self.size || object.before != self.before) {
            return false;
        }
        self.size = object.first;
        for offer in &object.offers {
            self.recent.insert((offer.shard, offer.from), self.size);
            self.size += offer.entries.len() as u64;
        }
        self.cursors.clone_from(&object.cursors);
        self.before = hash;
        true
    }

    /// Gives out indices. The object, if any, must be durable before an answer leaves; then
    /// [`Self::sealed`] takes its hash.
    pub fn sequence(&mut self, offers: Vec<Offer>) -> (Option<Sequenced>, Vec<Answer>) {
        let first = self.size;
        let mut taken = Vec::new();
        let mut answers = Vec::with_capacity(offers.len());
        for offer in offers {
            answers.push(self.take(&offer, &mut taken));
        }
        if taken.is_empty() {
            return (None, answers);
        }
        let cursors = self.cursors.clone();
        (Some(Sequenced { first, before: self.before, cursors, offers: taken }), answers)
    }

    fn take(&mut self, offer: &Offer, taken: &mut Vec<Offer>) -> Answer {
        let cursor = self.cursors.entry(offer.shard).or_default();
        if offer.epoch < cursor.epoch {
            return Answer::Fenced;
        }
        cursor.epoch = offer.epoch;
        if offer.from < cursor.next {
            let known = self.recent.get(&(offer.shard, offer.from));
            return known.map_or(Answer::Forgotten, |first| Answer::At(*first));
        }
        if offer.from > cursor.next {
            return Answer::Gap { next: cursor.next };
        }
        let first = self.size;
        cursor.next += offer.entries.len() as u64;
        self.size += offer.entries.len() as u64;
        self.recent.insert((offer.shard, offer.from), first);
        taken.push(offer.clone());
        Answer::At(first)
    }

    /// The object is durable; its hash chains the next one to it.
    pub fn sealed(&mut self, hash: [u8; 32]) {
        self.before = hash;
    }

    /// The shard has committed the index of everything below `position`: it is not offered again.
    pub fn forget(&mut self, shard: ShardId, below: u64) {
        self.recent.retain(|(s, from), _| *s != shard || *from >= below);
    }

    /// How many offers fit into one object.
    pub fn batch(offers: &[Offer]) -> usize {
        let mut entries = 0;
        let fits = |offer: &&Offer| {
            entries += offer.entries.len();
            entries <= limits::SEQUENCED_ENTRIES_MAX
        };
        offers.iter().take_while(fits).count().max(1).min(offers.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(shard: u16, epoch: u64, from: u64, n: usize) -> Offer {
        Offer { shard: ShardId(shard), epoch, from, entries: vec![vec![1]; n] }
    }

    #[test]
    fn an_offer_repeated_after_a_lost_reply_gets_the_same_index() {
        let mut log = Sequencer::default();
        let (object, answers) = log.sequence(vec![offer(1, 1, 0, 3), offer(2, 1, 0, 2)]);
        assert_eq!(answers, [Answer::At(0), Answer::At(3)]);
        log.sealed([1; 32]);
        let (again, answers) = log.sequence(vec![offer(1, 1, 0, 3)]);
        assert_eq!((again, answers), (None, vec![Answer::At(0)]));
        let mut reborn = Sequencer::default();
        assert!(reborn.replay(&object.unwrap(), [1; 32]));
        assert_eq!(reborn.sequence(vec![offer(2, 2, 0, 2)]).1, [Answer::At(3)]);
        assert_eq!(reborn.size(), 5);
    }

    #[test]
    fn gaps_and_older_epochs_are_refused() {
        let mut log = Sequencer::default();
        assert_eq!(log.sequence(vec![offer(1, 5, 1, 1)]).1, [Answer::Gap { next: 0 }]);
        assert_eq!(log.sequence(vec![offer(1, 4, 0, 1)]).1, [Answer::Fenced]);
        assert_eq!(log.sequence(vec![offer(1, 5, 0, 1)]).1, [Answer::At(0)]);
    }

    #[test]
    fn an_object_that_does_not_follow_is_refused() {
        let mut log = Sequencer::default();
        let (first, _) = log.sequence(vec![offer(1, 1, 0, 1)]);
        log.sealed([1; 32]);
        let (second, _) = log.sequence(vec![offer(1, 1, 1, 1)]);
        let mut reborn = Sequencer::default();
        assert!(reborn.replay(&first.unwrap(), [1; 32]));
        let mut second = second.unwrap();
        second.before = [9; 32];
        assert!(!reborn.replay(&second, [2; 32]));
    }
}
