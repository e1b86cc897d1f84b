//! The sequencer of Trace: gives every entry of every shard's outbox one index, once.
//!
//! It keeps one cursor a shard, not one identity an entry. What a shard offers below its cursor
//! was sequenced before, and the recorded indices are the answer; what lies at the cursor gets the
//! next indices; a gap or an older epoch is refused. The sequenced objects, each naming the hash
//! of the one before, are the truth that cursors are rebuilt from.

use crate::codec::Record;
use crate::id::ShardId;
use crate::limits;
use crate::teeth::{Tooth, bites};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

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
    #[serde(with = "crate::codec::byte_strings")]
    pub entries: Vec<Vec<u8>>,
}

impl Offer {
    /// Bytes that it takes in an object, at most.
    fn weight(&self) -> usize {
        let prefixed = |entry: &Vec<u8>| entry.len() + 9;
        32 + self.entries.iter().map(prefixed).sum::<usize>()
    }
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
    const BYTES_MAX: usize = limits::SEQUENCED_BYTES_MAX;
}

impl Sequenced {
    /// The index after the last entry.
    pub fn end(&self) -> u64 {
        let counts = self.offers.iter().map(|offer| offer.entries.len() as u64);
        self.first + counts.sum::<u64>()
    }
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
    /// Its positions were sequenced, but not as this offer, or the shard said before that it has
    /// committed their indices. A person must look.
    Forgotten,
}

/// An offer that was sequenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Recent {
    first: u64,
    count: usize,
    /// Of its entries: another offer at its place is not the same again.
    digest: u64,
}

/// The machine. `recent` remembers offers already sequenced, by shard and position.
#[derive(Debug, Clone, Default)]
pub struct Sequencer {
    size: u64,
    before: [u8; 32],
    cursors: BTreeMap<ShardId, Cursor>,
    recent: BTreeMap<ShardId, BTreeMap<u64, Recent>>,
    /// Epochs that owners spoke under; the next object says them.
    fences: BTreeMap<ShardId, u64>,
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
            self.remember(offer);
        }
        self.cursors.clone_from(&object.cursors);
        self.before = hash;
        true
    }

    /// A shard's owner speaks under this epoch: what an older one still offers is refused, here at once
    /// and by every other writer once the next object stands.
    pub fn fence(&mut self, shard: ShardId, epoch: u64) {
        let fence = self.fences.entry(shard).or_default();
        *fence = epoch.max(*fence);
    }

    /// Every shard's fence.
    pub fn fences(&self) -> &BTreeMap<ShardId, u64> {
        &self.fences
    }

    /// Whether a row that a shard has in its outbox is not what was sequenced at its position.
    pub fn differs(&self, shard: ShardId, rows: &[(u64, Vec<Vec<u8>>)]) -> bool {
        let (next, recent) = (self.cursor(shard).next, self.recent.get(&shard));
        rows.iter().take_while(|(from, _)| *from < next).any(|(from, entries)| {
            let known = recent.and_then(|recent| recent.get(from));
            known.is_none_or(|known| known.digest != digest(entries))
        })
    }

    /// Gives out indices. The object, if any, must be durable before an answer leaves; then
    /// [`Self::sealed`] takes its hash.
    pub fn sequence(&mut self, offers: Vec<Offer>) -> (Option<Sequenced>, Vec<Answer>) {
        let first = self.size;
        let mut taken = Vec::new();
        let mut answers = Vec::with_capacity(offers.len());
        for offer in offers {
            answers.push(self.take(offer, &mut taken));
        }
        if taken.is_empty() {
            return (None, answers);
        }
        for (shard, fence) in &self.fences {
            let cursor = self.cursors.entry(*shard).or_default();
            cursor.epoch = cursor.epoch.max(*fence);
        }
        let cursors = self.cursors.clone();
        (Some(Sequenced { first, before: self.before, cursors, offers: taken }), answers)
    }

    fn take(&mut self, offer: Offer, taken: &mut Vec<Offer>) -> Answer {
        if offer.entries.is_empty() {
            return Answer::At(self.size);
        }
        let cursor = self.cursors.entry(offer.shard).or_default();
        let fence = self.fences.get(&offer.shard).copied().unwrap_or_default();
        if offer.epoch < cursor.epoch.max(fence) {
            return Answer::Fenced;
        }
        cursor.epoch = offer.epoch;
        let again = offer.from < cursor.next;
        if again && !bites(Tooth::OutboxCursorIgnored) {
            let offers = self.recent.get(&offer.shard);
            let known = offers.and_then(|offers| offers.get(&offer.from));
            return match known {
                Some(known) if known.digest == digest(&offer.entries) => Answer::At(known.first),
                _ => Answer::Forgotten,
            };
        }
        if offer.from > cursor.next {
            return Answer::Gap { next: cursor.next };
        }
        cursor.next += offer.entries.len() as u64;
        let first = self.remember(&offer);
        taken.push(offer);
        Answer::At(first)
    }

    fn remember(&mut self, offer: &Offer) -> u64 {
        let (first, count) = (self.size, offer.entries.len());
        let offers = self.recent.entry(offer.shard).or_default();
        let digest = digest(&offer.entries);
        offers.insert(offer.from, Recent { first, count, digest });
        self.size += count as u64;
        first
    }

    /// Takes back what [`Self::sequence`] gave out in an object that did not become durable, since
    /// another writer's stands in its place: as if it had not been asked.
    pub fn take_back(&mut self, object: &Sequenced, cursors: BTreeMap<ShardId, Cursor>) {
        for offer in &object.offers {
            if let Some(offers) = self.recent.get_mut(&offer.shard) {
                offers.remove(&offer.from);
            }
        }
        self.size = object.first;
        self.cursors = cursors;
    }

    /// Every shard's cursor.
    pub fn cursors(&self) -> &BTreeMap<ShardId, Cursor> {
        &self.cursors
    }

    /// The object is durable; its hash chains the next one to it.
    pub fn sealed(&mut self, hash: [u8; 32]) {
        self.before = hash;
    }

    /// An offer that was forgotten is offered again after all: it stands at this index.
    pub fn recall(&mut self, offer: &Offer, first: u64) {
        let (count, digest) = (offer.entries.len(), digest(&offer.entries));
        let offers = self.recent.entry(offer.shard).or_default();
        offers.insert(offer.from, Recent { first, count, digest });
    }

    /// The shard has committed the indices of everything `below`: it is not offered again.
    pub fn forget(&mut self, shard: ShardId, below: u64) {
        if let Some(offers) = self.recent.get_mut(&shard) {
            *offers = offers.split_off(&below);
        }
    }

    /// How many offers, from the first, fit into one object; at least one.
    pub fn batch(offers: &[Offer]) -> usize {
        let (mut entries, mut bytes) = (0, 0);
        let fits = |offer: &&Offer| {
            entries += offer.entries.len();
            bytes += offer.weight();
            entries <= limits::SEQUENCED_ENTRIES_MAX && bytes <= limits::SEQUENCED_OFFERS_BYTES_MAX
        };
        let count = offers.iter().take_while(fits).count();
        count.max(1).min(offers.len())
    }
}

/// Tells entries apart within this process.
fn digest(entries: &[Vec<u8>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    entries.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

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
    fn what_a_shard_has_committed_is_forgotten_and_no_other_shard_loses_by_it() {
        let mut log = Sequencer::default();
        log.sequence(vec![offer(1, 1, 0, 3), offer(1, 1, 3, 2), offer(2, 1, 0, 1)]);
        log.forget(ShardId(1), 3);
        let again = vec![offer(1, 1, 0, 3), offer(1, 1, 3, 2), offer(2, 1, 0, 1)];
        let expected = [Answer::Forgotten, Answer::At(3), Answer::At(5)];
        assert_eq!(log.sequence(again), (None, expected.to_vec()));
        assert_eq!(log.sequence(vec![offer(1, 1, 3, 1)]).1, [Answer::Forgotten]);
    }

    #[test]
    fn another_offer_at_a_sequenced_place_is_refused_and_a_forgotten_one_can_be_recalled() {
        let mut log = Sequencer::default();
        let first = offer(1, 1, 0, 2);
        assert_eq!(log.sequence(vec![first.clone()]).1, [Answer::At(0)]);
        let other = Offer { entries: vec![b"x".to_vec(), b"y".to_vec()], ..first.clone() };
        assert_eq!(log.sequence(vec![other.clone()]), (None, vec![Answer::Forgotten]));
        log.forget(ShardId(1), 2);
        assert_eq!(log.sequence(vec![first.clone()]).1, [Answer::Forgotten]);
        log.recall(&first, 0);
        assert_eq!(log.sequence(vec![first, other]).1, [Answer::At(0), Answer::Forgotten]);
    }

    #[test]
    fn an_offer_without_entries_makes_no_object() {
        let mut log = Sequencer::default();
        assert_eq!(log.sequence(vec![offer(1, 1, 0, 0)]), (None, vec![Answer::At(0)]));
    }

    #[test]
    fn a_full_batch_fits_into_a_record_and_comes_back() {
        let large = |from| Offer {
            shard: ShardId(1),
            epoch: 1,
            from,
            entries: vec![vec![7; limits::ENTRY_BYTES_MAX]; 3],
        };
        let mut offers: Vec<Offer> = (0..60).map(|nth| large(nth * 3)).collect();
        let fit = Sequencer::batch(&offers);
        assert!((30..60).contains(&fit), "{fit}");
        offers.truncate(fit);
        let (object, _) = Sequencer::default().sequence(offers);
        let object = object.unwrap();
        let bytes = codec::encode(&object).unwrap();
        assert_eq!(codec::decode::<Sequenced>(&bytes), Ok(object));
        assert_eq!(Sequencer::batch(&vec![offer(1, 1, 0, 4096); 9]), 4);
        assert_eq!(Sequencer::batch(&[]), 0);
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
        assert_eq!(second.before, [1; 32], "it names the hash of the one before");
        second.before = [9; 32];
        assert!(!reborn.replay(&second, [2; 32]));
    }

    #[test]
    fn a_new_machine_begins_at_any_object_and_a_used_one_only_at_the_next() {
        let object = |first, before| Sequenced {
            first,
            before,
            cursors: BTreeMap::from([(ShardId(1), Cursor { epoch: 1, next: 1 })]),
            offers: vec![offer(1, 1, 0, 1)],
        };
        assert_eq!(object(10, [9; 32]).end(), 11);
        let mut new = Sequencer::default();
        assert!(new.replay(&object(10, [9; 32]), [1; 32]), "the older ones are gone");
        assert_eq!(new.size(), 11);
        assert!(!new.replay(&object(12, [1; 32]), [2; 32]), "one is missing");
        assert!(!new.replay(&object(11, [9; 32]), [2; 32]), "another came before it");
        assert!(new.replay(&object(11, [1; 32]), [2; 32]));
        let mut used = Sequencer::default();
        let before = used.cursors().clone();
        let (first, _) = used.sequence(vec![offer(1, 1, 0, 1)]);
        used.take_back(&first.unwrap(), before);
        assert!(!used.replay(&object(10, [9; 32]), [1; 32]), "the log begins at 0");
        assert!(used.replay(&object(0, [0; 32]), [1; 32]));
    }

    #[test]
    fn what_was_taken_back_is_given_out_again() {
        let mut log = Sequencer::default();
        log.sequence(vec![offer(1, 1, 0, 2)]);
        let before = log.cursors().clone();
        let (object, _) = log.sequence(vec![offer(1, 2, 2, 3), offer(2, 1, 0, 1)]);
        log.take_back(&object.unwrap(), before.clone());
        assert_eq!((log.size(), log.cursors()), (2, &before));
        assert_eq!(log.cursor(ShardId(1)), Cursor { epoch: 1, next: 2 });
        let again = log.sequence(vec![offer(2, 1, 0, 1), offer(1, 2, 2, 3)]).1;
        assert_eq!(again, [Answer::At(2), Answer::At(3)]);
    }
}
