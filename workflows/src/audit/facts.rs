//! What the entries of the log say that belong to journeys: some 30 bytes an entry, since a nation's
//! log has tens of millions.

use super::compact::{Bits, Numbered, Segments, Short};
use super::public_entry::PublicId;
use crate::money::Currency;
use std::collections::HashMap;

/// Entries are told apart by so many bytes of their public ids. They are of a MAC under a secret key:
/// that two of 10^8 have them in common happens in one of 10^8 logs.
const ID_BYTES: usize = 10;

/// What an entry says that a journey says too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    Contribution { micro: u64, units: u64, score: u64, currency: Currency },
    Payout { minor: u64, of: u64, currency: Currency },
    Withdrawal { of: u64 },
}

/// The same without what is different in every entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Contribution { micro: u64, units: u64, score: u64, currency: Currency },
    Payout { minor: u64, currency: Currency },
    Withdrawal,
}

#[derive(Debug, Clone, Copy)]
struct Said {
    kind: [u8; 4],
    of: Short,
}

/// An entry that belongs to a journey.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fact {
    /// Its number among such entries.
    number: u64,
    pub(super) index: u64,
    pub(super) says: Says,
}

/// All of them, in the order of the log.
#[derive(Debug, Default)]
pub(super) struct Facts {
    ids: Numbered<ID_BYTES>,
    said: Segments<Said>,
    kinds: Vec<Kind>,
    known: HashMap<Kind, u32>,
    /// How far indices are ahead of numbers, from a number on.
    ahead: Vec<(u64, u64)>,
    matched: Bits,
}

fn short(id: &PublicId) -> [u8; ID_BYTES] {
    let mut short = [0; ID_BYTES];
    short.copy_from_slice(&id[..ID_BYTES]);
    short
}

impl Facts {
    /// With room for so many.
    pub(super) fn with_room(entries: u64) -> Self {
        Self { ids: Numbered::with_room(entries), ..Self::default() }
    }

    /// Takes the entry at an index in, which is above those before it; as an error the index that the
    /// same id has already.
    pub(super) fn insert(&mut self, index: u64, id: &PublicId, says: Says) -> Result<(), u64> {
        let number = self.ids.insert(short(id)).map_err(|known| self.index(known))?;
        let ahead = index.saturating_sub(number);
        if self.ahead.last().is_none_or(|(_, last)| *last != ahead) {
            self.ahead.push((number, ahead));
        }
        let (kind, of) = match says {
            Says::Contribution { micro, units, score, currency } => {
                (Kind::Contribution { micro, units, score, currency }, 0)
            }
            Says::Payout { minor, of, currency } => (Kind::Payout { minor, currency }, of),
            Says::Withdrawal { of } => (Kind::Withdrawal, of),
        };
        let next = u32::try_from(self.kinds.len()).expect("fewer kinds than entries");
        let kind = *self.known.entry(kind).or_insert_with(|| {
            self.kinds.push(kind);
            next
        });
        self.said.push(Said { kind: kind.to_le_bytes(), of: Short::of(of) });
        Ok(())
    }

    fn index(&self, number: u64) -> u64 {
        let from = self.ahead.partition_point(|(from, _)| *from <= number);
        let ahead = from.checked_sub(1).and_then(|place| self.ahead.get(place));
        number + ahead.map_or(0, |(_, ahead)| *ahead)
    }

    fn says(&self, number: u64) -> Option<Says> {
        let said = self.said.get(number)?;
        let kind = self.kinds.get(u32::from_le_bytes(said.kind) as usize)?;
        let of = said.of.get();
        Some(match *kind {
            Kind::Contribution { micro, units, score, currency } => {
                Says::Contribution { micro, units, score, currency }
            }
            Kind::Payout { minor, currency } => Says::Payout { minor, of, currency },
            Kind::Withdrawal => Says::Withdrawal { of },
        })
    }

    /// The entry of a public id.
    pub(super) fn find(&self, id: &PublicId) -> Option<Fact> {
        let number = self.ids.find(&short(id))?;
        Some(Fact { number, index: self.index(number), says: self.says(number)? })
    }

    /// A journey has this entry.
    pub(super) fn matched(&mut self, fact: &Fact) {
        self.matched.set(fact.number);
    }

    /// Indices of entries that no journey has, rising.
    pub(super) fn strangers(&self) -> impl Iterator<Item = u64> {
        let numbers = (0..self.ids.len()).filter(|number| !self.matched.has(*number));
        numbers.map(|number| self.index(number))
    }

    /// What each of them says.
    pub(super) fn all(&self) -> impl Iterator<Item = Says> {
        (0..self.ids.len()).filter_map(|number| self.says(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> PublicId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        id
    }

    #[test]
    fn entries_are_found_with_their_indices_and_what_they_say() {
        let currency = Currency::try_from("KRW".to_owned()).unwrap();
        let contribution = Says::Contribution { micro: 7, units: 1, score: 9, currency };
        let payout = Says::Payout { minor: 3, of: 2, currency };
        let withdrawal = Says::Withdrawal { of: (1 << 40) - 1 };
        let mut facts = Facts::default();
        // A rate card stands at 0, another one at 3.
        let all = [(1, contribution), (2, contribution), (4, payout), (5, withdrawal)];
        for (index, says) in all {
            assert_eq!(facts.insert(index, &id(index), says), Ok(()));
        }
        assert_eq!(facts.insert(6, &id(4), payout), Err(4));
        for (index, says) in all {
            let fact = facts.find(&id(index)).unwrap();
            assert_eq!((fact.index, fact.says), (index, says));
        }
        assert!(facts.find(&id(6)).is_none());
        assert!(facts.all().eq(all.map(|(_, says)| says)));
        let fact = facts.find(&id(4)).unwrap();
        facts.matched(&fact);
        assert!(facts.strangers().eq([1, 2, 5]));
    }
}
