//! One atomic, fenced change to one shard, as rows. A store applies all of it or nothing.

use crate::allotment::{Allotment, Home};
use crate::codec::Record;
use crate::contributor::Contributor;
use crate::id::{Arrival, ContributorKey};
use crate::inbox::Lane;
use crate::ledger::Ledger;
use crate::submission::Mark;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A grant that a commit relies on; the store checks its marks, not anyone's memory (I5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// Whose.
    pub contributor: ContributorKey,
    /// Which journey relies on it.
    pub arrival: Arrival,
    /// The grant's id.
    pub grant: String,
    /// The grant's program.
    pub program: String,
    /// The grant's place in the shard's order.
    pub position: Arrival,
}

impl Guard {
    /// Whether a mark takes this grant back.
    pub fn is_broken_by(&self, mark: &Mark) -> bool {
        use crate::submission::Scope;
        match &mark.scope {
            Scope::Grant(grant) => *grant == self.grant,
            Scope::Program(program) => *program == self.program && mark.position > self.position,
            Scope::All => mark.position > self.position,
        }
    }
}

/// Where a journey's row goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Not terminal.
    Active,
    /// Terminal; a row among the active ones is taken away.
    Finished,
}

/// Rows of one commit. Keys are shard-relative.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Commit {
    /// What must still hold.
    pub guards: Vec<Guard>,
    /// Inbox items that are dealt with.
    pub inbox_remove: Vec<(Lane, Arrival)>,
    /// Journeys, encoded; the flag says whether an active row stands already.
    pub journeys: Vec<(Arrival, Place, bool, Vec<u8>)>,
    /// Contributors, encoded.
    pub contributors: Vec<(ContributorKey, Vec<u8>)>,
    /// Timers to set: when due, whose.
    pub timers_put: Vec<(Timestamp, Arrival)>,
    /// Timers to take away.
    pub timers_remove: Vec<(Timestamp, Arrival)>,
    /// Entries due to the log, by their first outbox position.
    pub outbox_put: Vec<(u64, Vec<u8>)>,
    /// Outbox rows whose entries are sequenced.
    pub outbox_remove: Vec<u64>,
    /// Where those entries stand in the log, by their first outbox position.
    pub sequenced_put: Vec<(u64, Vec<u8>)>,
    /// Data keys to destroy.
    pub erasures_put: Vec<u64>,
    /// Data keys that are destroyed.
    pub erasures_remove: Vec<u64>,
    /// The ids that are admitted, encoded.
    pub admitted: Option<Vec<u8>>,
    /// The shard's own state, encoded; written with every commit.
    pub state: Vec<u8>,
}

/// Entries of one commit, in outbox order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxRow(#[serde(with = "crate::codec::byte_strings")] pub Vec<Vec<u8>>);

/// What an adopted row begins with, in place of an entry: an entry is JSON.
const ADOPTED: u8 = 0;

impl OutboxRow {
    /// A row of entries that stand in the log already, from this index on, and whose journeys do
    /// not know it.
    #[must_use]
    pub fn adopted(first: u64, entries: Vec<Vec<u8>>) -> Self {
        let mut mark = vec![ADOPTED];
        mark.extend_from_slice(&first.to_be_bytes());
        let mut row = vec![mark];
        row.extend(entries);
        Self(row)
    }

    /// The entries, and for an adopted row the index of the first.
    #[must_use]
    pub fn into_parts(mut self) -> (Option<u64>, Vec<Vec<u8>>) {
        let marked = self.0.first().and_then(|mark| mark.split_first_chunk());
        let first = marked.filter(|([kind], _)| *kind == ADOPTED);
        let first = first.and_then(|(_, index)| index.try_into().ok()).map(u64::from_be_bytes);
        if first.is_some() {
            self.0.remove(0);
        }
        (first, self.0)
    }
}

impl Record for OutboxRow {
    const SCHEMA: u8 = 3;
    const VERSION: u8 = 1;
}

/// Where the entries of one outbox row stand in the log: one index an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequencedRow(pub Vec<SequencedRange>);

/// `count` entries stand at `first` and on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequencedRange {
    /// How many.
    pub count: u64,
    /// Index of the first.
    pub first: u64,
}

impl Record for SequencedRow {
    const SCHEMA: u8 = 4;
    const VERSION: u8 = 1;
}

impl SequencedRow {
    /// The index of the `nth` entry of the row.
    pub fn index(&self, nth: u64) -> Option<u64> {
        let mut left = nth;
        for range in &self.0 {
            if left < range.count {
                return Some(range.first + left);
            }
            left -= range.count;
        }
        None
    }

    /// Packs indices into ranges.
    pub fn pack(indices: &[u64]) -> Self {
        let mut ranges: Vec<SequencedRange> = Vec::new();
        for index in indices {
            match ranges.last_mut() {
                Some(range) if range.first + range.count == *index => range.count += 1,
                _ => ranges.push(SequencedRange { count: 1, first: *index }),
            }
        }
        Self(ranges)
    }
}

/// Ids that were let in, each with the number of unclean ends it was found after.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Admitted {
    /// Those that may run: arrival numbers and counts.
    pub ids: Vec<(Arrival, u8)>,
    /// Those that wait to run alone.
    pub waiting: Vec<(Arrival, u8)>,
    /// The node ended in order after this was written.
    pub clean: bool,
}

impl Record for Admitted {
    const SCHEMA: u8 = 5;
    const VERSION: u8 = 1;
}

/// What one shard keeps besides journeys and contributors.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ShardState {
    /// Every balance.
    pub ledger: Ledger,
    /// What may be spent, by program.
    pub allotments: BTreeMap<String, Allotment>,
    /// Budgets of programs at home here.
    pub homes: BTreeMap<String, Home>,
    /// The next outbox position.
    pub outbox_next: u64,
    /// The last committed now; decisions never go back behind it.
    pub now: Timestamp,
    /// Finished journeys by outcome.
    pub finished: BTreeMap<String, u64>,
}

impl Record for ShardState {
    const SCHEMA: u8 = 6;
    const VERSION: u8 = 1;
}

impl Record for Contributor {
    const SCHEMA: u8 = 7;
    const VERSION: u8 = 1;
}

impl Record for Mark {
    const SCHEMA: u8 = 8;
    const VERSION: u8 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submission::Scope;

    #[test]
    fn a_guard_is_broken_by_a_mark_on_its_grant_or_by_a_later_wide_one() {
        let guard = Guard {
            contributor: ContributorKey([0; 16]),
            arrival: 9,
            grant: "g".into(),
            program: "p".into(),
            position: 5,
        };
        let broken =
            |scope, position| guard.is_broken_by(&Mark { scope, position, at: Timestamp(0) });
        let program = |name: &str| Scope::Program(name.into());
        assert!(broken(Scope::Grant("g".into()), 1));
        assert!(!broken(Scope::Grant("h".into()), 9));
        assert!(broken(program("p"), 6) && broken(Scope::All, 6));
        assert!(!broken(program("p"), 4) && !broken(Scope::All, 4) && !broken(program("q"), 6));
        assert!(!broken(program("p"), 5) && !broken(Scope::All, 5), "its own place is not later");
    }

    #[test]
    fn an_adopted_row_says_so_and_where_it_stands() {
        let entries = vec![b"{}".to_vec(), Vec::new()];
        let row = OutboxRow::adopted(1 << 40, entries.clone());
        assert_eq!(row.into_parts(), (Some(1 << 40), entries.clone()));
        assert_eq!(OutboxRow(entries.clone()).into_parts(), (None, entries));
        assert_eq!(OutboxRow(Vec::new()).into_parts(), (None, Vec::new()));
    }

    #[test]
    fn indices_are_packed_into_ranges_and_found_again() {
        let indices = [7, 8, 9, 20, 3, 4];
        let row = SequencedRow::pack(&indices);
        assert_eq!(row.0.len(), 3);
        let back: Vec<u64> = (0..).map_while(|nth| row.index(nth)).collect();
        assert_eq!(back, indices);
        assert_eq!(SequencedRow::pack(&[]).index(0), None);
    }
}
