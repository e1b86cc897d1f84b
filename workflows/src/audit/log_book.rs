//! The public log, entry by entry.

use super::compact::Bits;
use super::facts::{Facts, Says};
use super::findings::Findings;
use super::public_entry::{ContributionEntry, PublicEntry, PublicId, read};
use super::public_price::{Card, Priced};
use crate::id::{IdKey, hex};
use crate::invariant::Invariant;
use crate::money::Currency;
use gristmill_trace::hash::Hash;
use gristmill_trace::tree::Frontier;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// A checkpoint that was published: size and root of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// How many entries it covers.
    pub size: u64,
    /// Their Merkle tree hash.
    pub root: Hash,
}

/// The log as far as it was read.
#[derive(Debug)]
pub struct LogBook {
    pub(super) findings: Findings,
    key: IdKey,
    next: u64,
    frontier: Frontier,
    published: BTreeMap<u64, BTreeSet<[u8; 32]>>,
    bad_roots: BTreeSet<u64>,
    pub(super) missing: Vec<Range<u64>>,
    pub(super) flagged: BTreeSet<u64>,
    /// Indices where a rate card should stand and nothing does.
    pub(super) cardless: BTreeSet<u64>,
    cards: BTreeMap<u64, (String, Card)>,
    /// How many contributions each card prices, and their value in micro-units.
    priced: BTreeMap<u64, (u64, u128)>,
    pub(super) facts: Facts,
    causes: Vec<String>,
    /// Entries that were paid for, by cause.
    paid_for: Vec<Bits>,
}

impl LogBook {
    /// A log of which nothing was read. `published`: every checkpoint that was ever published, as
    /// far as it is known; `current`: the one that is served now. `key` is the node's secret for
    /// ids.
    pub fn new(key: IdKey, published: &[Published], current: Option<Published>) -> Self {
        let mut by_size: BTreeMap<u64, BTreeSet<[u8; 32]>> = BTreeMap::new();
        for checkpoint in published.iter().chain(&current) {
            let root = *checkpoint.root.as_bytes();
            by_size.entry(checkpoint.size).or_default().insert(root);
        }
        let room = by_size.keys().next_back().copied().unwrap_or(0);
        let mut book = Self {
            findings: Findings::default(),
            key,
            next: 0,
            frontier: Frontier::new(),
            published: by_size,
            bad_roots: BTreeSet::new(),
            missing: Vec::new(),
            flagged: BTreeSet::new(),
            cardless: BTreeSet::new(),
            cards: BTreeMap::new(),
            priced: BTreeMap::new(),
            facts: Facts::with_room(room),
            causes: Vec::new(),
            paid_for: Vec::new(),
        };
        let largest = published.iter().map(|checkpoint| checkpoint.size).max();
        if let (Some(current), Some(largest)) = (current, largest)
            && current.size < largest
        {
            let sentence = format!("the checkpoint shrank: one of size {largest} was published");
            book.findings.add(Invariant::AppendOnly, current.size.to_string(), sentence);
        }
        book.compare_root();
        book
    }

    /// Takes the next entry in. `leaf` is the leaf hash that the log's own tile has of it, if the
    /// tile was read: it tells which entry was changed.
    pub fn entry(&mut self, index: u64, bytes: &[u8], leaf: Option<Hash>) {
        self.hashed(index, bytes, Hash::leaf(bytes), leaf);
    }

    /// The same for somebody who has the leaf hash of its bytes already.
    pub fn hashed(&mut self, index: u64, bytes: &[u8], hash: Hash, leaf: Option<Hash>) {
        self.findings.checked(Invariant::OneEntry, 1);
        if index < self.next {
            self.flag(Invariant::AppendOnly, index, "stands twice, or out of order".to_owned());
            return;
        }
        if index > self.next {
            self.missing.push(self.next..index);
        }
        if leaf.is_some_and(|leaf| leaf != hash) {
            let sentence = "its bytes do not have the hash that the tile says".to_owned();
            self.flag(Invariant::AppendOnly, index, sentence);
        }
        self.frontier.push(leaf.unwrap_or(hash));
        self.next = index + 1;
        self.compare_root();
        match read(bytes) {
            Err(sentence) => self.flag(Invariant::OneEntry, index, sentence),
            Ok(entry) => self.take(index, entry),
        }
    }

    fn take(&mut self, index: u64, entry: PublicEntry<'_>) {
        match entry {
            PublicEntry::RateCard { id, program, card, bytes } => {
                let internal = format!("{program}\0{}", hex(&bytes));
                if public_id(&self.key, "rate_card", &internal) != id {
                    let sentence = "its id is not derived from its card".to_owned();
                    self.flag(Invariant::OneEntry, index, sentence);
                }
                self.cards.insert(index, (program, card));
            }
            PublicEntry::Contribution { id, entry } => {
                self.price(index, &entry);
                let ContributionEntry { micro, units, score, currency, card, .. } = *entry;
                let (count, sum) = self.priced.entry(card).or_default();
                (*count, *sum) = (*count + 1, *sum + u128::from(micro));
                self.fact(index, id, Says::Contribution { micro, units, score, currency });
            }
            PublicEntry::Payout { id, cause, currency, minor, of } => {
                let [of] = of[..] else {
                    let sentence = "does not name one contribution".to_owned();
                    return self.flag(Invariant::OneEntry, index, sentence);
                };
                if of >= index {
                    let sentence = format!("pays for entry {of}, which is not before it");
                    self.flag(Invariant::MoneyAddsUp, index, sentence);
                } else if !self.paid_for(&cause).set(of) {
                    let sentence = format!("pays for entry {of} a second time");
                    self.flag(Invariant::OnePayment, index, sentence);
                }
                self.fact(index, id, Says::Payout { minor, of, currency });
            }
            PublicEntry::Withdrawal { id, of } => {
                let [of] = of[..] else {
                    let sentence = "does not name one contribution".to_owned();
                    return self.flag(Invariant::OneEntry, index, sentence);
                };
                self.fact(index, id, Says::Withdrawal { of });
            }
        }
    }

    fn price(&mut self, index: u64, entry: &ContributionEntry<'_>) {
        self.findings.checked(Invariant::Reproducible, 1);
        let known = if entry.card < index { self.card(entry.card) } else { Known::Nothing };
        let verdict = match known {
            Known::Card(_, card) => card.judge(&Priced::of_entry(entry)),
            Known::Nothing => Err(format!("no rate card stands at {}", entry.card)),
            Known::Missing => {
                self.cardless.insert(entry.card);
                Ok(())
            }
            Known::Flagged => Ok(()),
        };
        if let Err(sentence) = verdict {
            self.flag(Invariant::Reproducible, index, sentence);
        }
    }

    fn fact(&mut self, index: u64, id: PublicId, says: Says) {
        if let Err(known) = self.facts.insert(index, &id, says) {
            let sentence = format!("is the entry {known} again");
            self.flag(Invariant::OneEntry, index, sentence);
        }
    }

    fn paid_for(&mut self, cause: &str) -> &mut Bits {
        let known = self.causes.iter().position(|known| *known == cause);
        let place = known.unwrap_or_else(|| {
            self.causes.push(cause.to_owned());
            self.paid_for.push(Bits::default());
            self.causes.len() - 1
        });
        &mut self.paid_for[place]
    }

    /// Notes a violation of one entry, once.
    pub(super) fn flag(&mut self, invariant: Invariant, index: u64, sentence: String) {
        if self.flagged.insert(index) {
            self.findings.entry(invariant, index, sentence);
        }
    }

    /// Roots are held against the entries read so far; a hole makes the rest unknowable.
    fn compare_root(&mut self) {
        let Some(roots) = self.published.get(&self.next) else { return };
        self.findings.checked(Invariant::AppendOnly, roots.len() as u64);
        let root = self.frontier.root();
        if roots.iter().any(|published| published != root.as_bytes()) {
            self.bad_roots.insert(self.next);
        }
    }

    /// The rate card at an index, for a journey or entry that names it.
    pub(super) fn card(&self, index: u64) -> Known<'_> {
        match self.cards.get(&index) {
            _ if self.flagged.contains(&index) => Known::Flagged,
            Some((program, card)) => Known::Card(program, card),
            None if index >= self.next => Known::Missing,
            None if self.missing.iter().any(|hole| hole.contains(&index)) => Known::Missing,
            None => Known::Nothing,
        }
    }

    /// How many contributions each program has by the cards that they name, and their value in
    /// micro-units.
    pub fn programs(&self) -> BTreeMap<&str, (u64, u128)> {
        let mut programs: BTreeMap<&str, (u64, u128)> = BTreeMap::new();
        for (card, (count, micro)) in &self.priced {
            // An entry that names no card was told.
            let Some((program, _)) = self.cards.get(card) else { continue };
            let sum = programs.entry(program).or_default();
            *sum = (sum.0 + count, sum.1 + micro);
        }
        programs
    }

    /// The currency of every program that has a card here.
    pub(super) fn currencies(&self) -> BTreeMap<String, Currency> {
        self.cards.values().map(|(program, card)| (program.clone(), card.currency)).collect()
    }

    /// Everything was read: what checkpoints cover and is not there is missing.
    pub(super) fn close(&mut self) {
        let largest = self.published.keys().next_back().copied().unwrap_or(0);
        if largest > self.next {
            self.missing.push(self.next..largest);
        }
    }

    /// Checkpoints whose root differs though every entry below them is whole.
    pub(super) fn report_roots(&self, findings: &mut Findings) {
        let first_hole = self.missing.first().map(|hole| hole.start);
        let first_flag = self.flagged.first().copied();
        let first_damage = first_hole.into_iter().chain(first_flag).min().unwrap_or(u64::MAX);
        for size in self.bad_roots.iter().filter(|size| **size <= first_damage) {
            let sentence = "a published root is not the root of the entries below it".to_owned();
            findings.add(Invariant::AppendOnly, size.to_string(), sentence);
        }
    }
}

/// What stands where a rate card should.
pub(super) enum Known<'a> {
    Card(&'a str, &'a Card),
    Flagged,
    Missing,
    Nothing,
}

/// A public id as bytes.
pub(super) fn public_id(key: &IdKey, kind: &str, internal: &str) -> PublicId {
    crate::id::unhex(&key.public(kind, internal)).expect("a public id is 32 hex digits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{self, DataKey};

    const CARD: &[u8] = br#"{"bands":[],"currency":"KRW","demand_bp":1,"tasks":{}}"#;

    fn key() -> IdKey {
        IdKey::new([7; 32])
    }

    fn payout(id: &str, cause: &str) -> Vec<u8> {
        let (currency, rail) = ("KRW", "sandbox");
        let said =
            entry::Payout { id, cause, of: 1, minor: 1, currency, rail, account: "a", carry: 0 };
        entry::payout(&key(), &DataKey([3; 32]), &said)
    }

    /// A card, an entry that is none, and after a hole another one.
    fn with_a_hole() -> LogBook {
        let mut book = LogBook::new(key(), &[], None);
        book.entry(0, &entry::rate_card(&key(), "seoul", CARD), None);
        for index in [1, 3] {
            let id = key().contribution("kr-1", &index.to_string());
            book.entry(index, &entry::withdrawal(&key(), id, 0, "all"), None);
        }
        book
    }

    #[test]
    fn one_contribution_is_paid_once_for_each_cause() {
        let mut book = LogBook::new(key(), &[], None);
        let entries = [("p0", "acceptance"), ("p1", "bonus"), ("p2", "bonus")];
        for (index, (id, cause)) in (2..).zip(entries) {
            book.entry(index, &payout(id, cause), None);
        }
        let checks = book.findings.into_checks();
        let found: Vec<_> = checks.iter().flat_map(|check| &check.violations).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].id.as_str(), book.causes.len()), ("4", 2));
    }

    #[test]
    fn a_payout_for_what_is_not_before_it_is_flagged() {
        let mut book = LogBook::new(key(), &[], None);
        book.entry(1, &payout("p0", "acceptance"), None);
        assert!(book.flagged.contains(&1));
    }

    #[test]
    fn a_card_stands_is_missing_or_something_else_stands_in_its_place() {
        let book = with_a_hole();
        assert!(matches!(book.card(0), Known::Card("seoul", _)));
        assert!(matches!(book.card(1), Known::Nothing));
        assert!(matches!(book.card(2), Known::Missing), "in the hole");
        assert!(matches!(book.card(3), Known::Nothing));
        assert!(matches!(book.card(4), Known::Missing), "past the end");
        let won = Currency::try_from("KRW".to_owned()).unwrap();
        assert_eq!(book.currencies(), BTreeMap::from([("seoul".to_owned(), won)]));
    }
}
