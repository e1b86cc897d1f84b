//! Entries that stand in the log while the commits that wrote them were lost: a failover of the
//! store forgot what it had acknowledged.
//!
//! The log is right. The shard takes their outbox positions as used, numbers on above, and keeps the
//! entries until whoever they speak of comes by again: then what was logged is what is decided, at
//! the price that stands there, and no second entry is written (I2). A payout may have been sent
//! then, so its rail is asked first (I3).

use super::Shard;
use crate::codec::{self, encode};
use crate::commit::{OutboxRow, SequencedRow};
use crate::entry;
use crate::id::ContributionId;
use crate::journey::{Journey, Logged};
use crate::price::{Capped, Price};
use crate::time::Timestamp;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// The entries of one offer, found in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Outbox position of the first.
    pub from: u64,
    /// Index of the first.
    pub first: u64,
    /// Their exact bytes.
    pub entries: Vec<Vec<u8>>,
}

/// A row of the outbox that has no index yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Its position.
    pub from: u64,
    /// The position that it is offered to the log at.
    pub at: u64,
    /// Its entries.
    pub entries: Vec<Vec<u8>>,
}

/// What is adopted and was not claimed yet.
#[derive(Debug, Default)]
pub(super) struct Adopted {
    /// Which row, and which of its entries, by public id.
    entries: BTreeMap<String, (u64, usize)>,
    /// By the first outbox position.
    rows: BTreeMap<u64, Row>,
    /// Minor units of the payouts among the entries, by public id.
    payouts: BTreeMap<String, u64>,
    /// Rows that were claimed from since the last commit was closed.
    changed: BTreeSet<u64>,
}

/// One row; what was claimed of it is empty.
#[derive(Debug)]
struct Row {
    first: u64,
    entries: Vec<Vec<u8>>,
}

/// The part of an entry that says which it is, and of a payout's what it came to.
#[derive(Deserialize)]
struct Named {
    id: String,
    minor: Option<u64>,
}

/// What a `contribution` entry says of its price.
#[derive(Deserialize)]
struct Priced {
    card: u64,
    units: u64,
    score: u16,
    quality_bp: u32,
    demand_bp: u32,
    capped: Capped,
    micro: u64,
}

fn name_of(entry: &[u8]) -> Option<String> {
    serde_json::from_slice(entry).ok().map(|Named { id, .. }| id)
}

impl Shard {
    /// Holds the outbox against all that the log has from its first waiting row on; `known` are
    /// indices that the store has. What the log has and the store has not is taken up. An owner of
    /// before may have offered it when this one had given its positions to `rows` of its own: then
    /// those move, and what the log has of them has its index. What is to be offered is answered.
    ///
    /// # Errors
    /// If a row does not encode.
    pub fn reconcile(
        &mut self,
        rows: Vec<(u64, Vec<Vec<u8>>)>,
        found: &[Found],
        known: &BTreeSet<u64>,
        now: Timestamp,
    ) -> Result<Vec<Due>, codec::Error> {
        let all = found.iter().flat_map(|of| (of.first..).zip(&of.entries));
        let logged: BTreeMap<String, u64> =
            all.clone().filter_map(|(index, entry)| Some((name_of(entry)?, index))).collect();
        let ends = found.iter().map(|of| of.from + of.entries.len() as u64);
        let mut at = ends.max().unwrap_or(self.state.outbox_next);
        let (mut due, mut known) = (Vec::new(), known.clone());
        for (mut from, entries) in rows {
            let index_of = |entry: &Vec<u8>| logged.get(&name_of(entry)?).copied();
            for part in entries.chunk_by(|a, b| index_of(a).is_some() == index_of(b).is_some()) {
                let indices: Vec<u64> = part.iter().filter_map(index_of).collect();
                if indices.is_empty() {
                    if part.len() < entries.len() {
                        let row = encode(&OutboxRow(part.to_vec()))?;
                        self.draft.commit.outbox_put.push((from, row));
                    }
                    due.push(Due { from, at, entries: part.to_vec() });
                    at += part.len() as u64;
                } else {
                    self.sequenced(from, &indices, now)?;
                    known.extend(indices);
                }
                from += part.len() as u64;
            }
        }
        let late: Vec<(u64, &Vec<u8>)> = all.filter(|(index, _)| !known.contains(index)).collect();
        let mut from = self.state.outbox_next;
        let mut lost = Vec::new();
        for part in late.chunk_by(|(before, _), (after, _)| before + 1 == *after) {
            let entries: Vec<Vec<u8>> = part.iter().map(|(_, entry)| (*entry).clone()).collect();
            let count = entries.len() as u64;
            lost.push(Found { from, first: part[0].0, entries });
            from += count;
        }
        self.adopt(lost)?;
        self.state.outbox_next = self.state.outbox_next.max(at);
        Ok(due)
    }

    /// How many entries are taken up and wait for whoever they speak of.
    pub fn unclaimed(&self) -> usize {
        self.adopted.entries.len()
    }

    /// Takes up entries that the log has and the store has not; durable with the next commit.
    fn adopt(&mut self, found: Vec<Found>) -> Result<(), codec::Error> {
        for Found { from, first, entries } in found {
            let end = from + entries.len() as u64;
            self.state.outbox_next = self.state.outbox_next.max(end);
            let indices: Vec<u64> = (first..first + entries.len() as u64).collect();
            let row = encode(&SequencedRow::pack(&indices))?;
            self.draft.commit.sequenced_put.push((from, row));
            self.draft.touched = true;
            self.adopted(from, first, entries);
            self.adopted.changed.insert(from);
        }
        Ok(())
    }

    /// What is left of the rows that the open commit claims from.
    pub(super) fn seal_adopted(&mut self) -> Result<(), codec::Error> {
        for from in std::mem::take(&mut self.adopted.changed) {
            self.keep_row(from)?;
        }
        Ok(())
    }

    /// Takes up an outbox row of adopted entries, after a restart.
    pub fn adopted(&mut self, from: u64, first: u64, entries: Vec<Vec<u8>>) {
        for (nth, bytes) in entries.iter().enumerate() {
            // What does not say its name is claimed by nobody, or was.
            if let Ok(Named { id, minor }) = serde_json::from_slice(bytes) {
                self.adopted.payouts.extend(minor.map(|minor| (id.clone(), minor)));
                self.adopted.entries.insert(id, (from, nth));
            }
        }
        self.adopted.rows.insert(from, Row { first, entries });
    }

    /// A row of the open commit: what was not claimed of it, or nothing any more.
    fn keep_row(&mut self, from: u64) -> Result<(), codec::Error> {
        let Some(Row { first, entries }) = self.adopted.rows.get(&from) else { return Ok(()) };
        if entries.iter().any(|entry| !entry.is_empty()) {
            let row = encode(&OutboxRow::adopted(*first, entries.clone()))?;
            self.draft.commit.outbox_put.push((from, row));
        } else {
            let count = entries.len();
            self.adopted.rows.remove(&from);
            self.clear(from, count);
        }
        Ok(())
    }

    /// The entry of this kind and name, if it is in the log already; it is claimed by that.
    pub(super) fn claim_adopted(&mut self, kind: &str, internal: &str) -> Option<Logged> {
        if self.adopted.entries.is_empty() {
            return None;
        }
        let id = self.world.key.public(kind, internal);
        let (from, nth) = self.adopted.entries.remove(&id)?;
        self.adopted.payouts.remove(&id);
        let row = self.adopted.rows.get_mut(&from)?;
        row.entries[nth].clear();
        let (position, index) = (from + nth as u64, row.first + nth as u64);
        self.adopted.changed.insert(from);
        Some(Logged { position, index: Some(index) })
    }

    /// Whether the log has payouts that nobody has claimed.
    pub(super) fn owes_payouts(&self) -> bool {
        !self.adopted.payouts.is_empty()
    }

    /// What the log has of a payout that nobody has claimed: minor units.
    pub(super) fn logged_payout(&self, internal: &str) -> Option<u64> {
        let id = self.world.key.public(entry::PAYOUT, internal);
        self.adopted.payouts.get(&id).copied()
    }

    /// Whether a contribution was accepted by a commit that was lost.
    pub(super) fn was_accepted(&self, id: ContributionId) -> bool {
        self.entry_of(id).is_some()
    }

    /// The price that the log has for a contribution, and the index of its card.
    pub(super) fn logged_price(&self, journey: &Journey, rate_micro: u64) -> Option<(Price, u64)> {
        let entry = self.entry_of(journey.submission.id)?;
        let Priced { card, units, score, quality_bp, demand_bp, capped, micro } =
            serde_json::from_slice(entry).ok()?;
        let price = Price { units, score, rate_micro, quality_bp, demand_bp, capped, micro };
        Some((price, card))
    }

    fn entry_of(&self, id: ContributionId) -> Option<&Vec<u8>> {
        if self.adopted.entries.is_empty() {
            return None;
        }
        let id = self.world.key.public("contribution", &id.to_string());
        let (from, nth) = self.adopted.entries.get(&id)?;
        self.adopted.rows.get(from)?.entries.get(*nth)
    }
}
