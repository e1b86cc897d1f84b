//! The audit: what a stopped store, the public log and the rail's book say, held against each
//! other and against the invariants I1, I2, I3, I4, I7 and I8.
//!
//! It shares decoding and the derivation of ids with the engine, and none of its decisions: prices
//! are recomputed from public entries, payouts and postings from their own arithmetic.
//!
//! Rows are fed one by one, since journeys may be millions; what is kept for one is small. The
//! order: the log ([`LogBook`]) and the rail's book ([`RailBook`]) first; then shard states and
//! outboxes; then sequenced rows; then inbox items and journeys; then contributors and acknowledged
//! ids. The last three may come shard by shard, each with [`Audit::shard_ends`] behind it: then only
//! what the log and the rail say, and one shard's rows, are in memory.
//!
//! A damage is reported once, under the id it happened to. What follows from it elsewhere (a sum
//! that is off, a root that differs, an entry without its journey) is not reported again; a sum
//! that is off without any such id is reported under its shard and account.

mod compact;
mod entries;
mod facts;
mod findings;
mod log_book;
mod money;
mod postings;
mod public_entry;
mod public_price;
mod rail_book;

use crate::commit::{OutboxRow, Place, SequencedRow, ShardState};
use crate::contributor::Contributor;
use crate::id::{Arrival, ContributionId, ContributorKey, IdKey, ShardId};
use crate::inbox::Item;
use crate::invariant::Invariant;
use crate::journey::{Journey, State};
use crate::tombstone::Tombstone;
use entries::Entries;
use money::Money;
use std::collections::{BTreeMap, HashMap};

pub use findings::{Check, Violation};
pub use log_book::{LogBook, Published};
pub use rail_book::{RailBook, RailLine};

use findings::Findings;

/// Where a contribution was seen.
#[derive(Debug, Clone, Copy)]
struct Seen {
    shard: ShardId,
    arrival: Arrival,
    bucket: u16,
    acknowledged: bool,
}

/// The audit of one store.
#[derive(Debug)]
pub struct Audit {
    key: IdKey,
    shards: u16,
    findings: Findings,
    entries: Entries,
    rail: Option<RailBook>,
    money: Money,
    seen: HashMap<[u8; 16], Seen>,
    /// Contributions of shards that have ended.
    looked_at: u64,
    acknowledged: u64,
    lost: Vec<ContributionId>,
    finished: BTreeMap<(ShardId, String), u64>,
    finished_said: BTreeMap<(ShardId, String), u64>,
}

impl Audit {
    /// Begins with the whole log and, if there is one, the whole book of the rail. `key` is the
    /// node's secret for ids, `shards` the number of shards of the store.
    pub fn new(key: IdKey, shards: u16, mut log: LogBook, rail: Option<RailBook>) -> Self {
        let mut findings = std::mem::take(&mut log.findings);
        if let Some(rail) = &rail {
            rail.report_doubles(&mut findings);
        }
        let entries = Entries::new(log);
        Self {
            key,
            shards,
            findings,
            entries,
            rail,
            money: Money::default(),
            seen: HashMap::new(),
            looked_at: 0,
            acknowledged: 0,
            lost: Vec::new(),
            finished: BTreeMap::new(),
            finished_said: BTreeMap::new(),
        }
    }

    /// The state of one shard.
    pub fn shard_state(&mut self, shard: ShardId, state: &ShardState) {
        self.findings.checked(Invariant::MoneyAddsUp, 1);
        self.money.state(shard, state, self.entries.currencies());
        for (outcome, count) in &state.finished {
            self.finished_said.insert((shard, outcome.clone()), *count);
        }
    }

    /// One outbox row: entries that the store does not know to be sequenced yet.
    pub fn outbox(&mut self, shard: ShardId, from: u64, row: &OutboxRow) {
        self.entries.outbox(shard, from, row, &mut self.findings);
    }

    /// One sequenced row.
    pub fn sequenced(&mut self, shard: ShardId, from: u64, row: SequencedRow) {
        self.entries.sequenced(shard, from, row);
    }

    /// One inbox item, of either lane.
    pub fn inbox(&mut self, shard: ShardId, arrival: Arrival, item: &Item) {
        if let Item::Contribution(submission) = item {
            self.see(shard, arrival, submission.id);
        }
    }

    /// One journey, active or finished.
    pub fn journey(&mut self, shard: ShardId, place: Place, journey: &Journey) {
        let id = journey.submission.id;
        self.see(shard, journey.arrival, id);
        if let Some(sentence) = self.misplaced(shard, place, journey) {
            self.findings.damaged(Invariant::NothingLost, shard, id.to_string(), sentence);
        }
        if place == Place::Finished {
            *self.finished.entry((shard, outcome(&journey.state))).or_default() += 1;
        }
        let findings = &mut self.findings;
        let sound = self.money.journey(shard, &self.key, journey, findings)
            & self.entries.price(shard, journey, findings);
        if let Some(rail) = &mut self.rail {
            rail.journey(shard, journey, findings);
        }
        self.entries.journey(shard, &self.key, journey, sound, findings);
    }

    /// What is left of a finished journey that expired.
    pub fn tombstone(&mut self, shard: ShardId, tombstone: &Tombstone) {
        let id = tombstone.id;
        self.see(shard, tombstone.arrival, id);
        let at_home = id.bucket.shard(self.shards) == shard;
        if !at_home || !tombstone.state.is_terminal() {
            let sentence = "a tombstone of what has not ended, or of another shard".to_owned();
            self.findings.damaged(Invariant::NothingLost, shard, id.to_string(), sentence);
        }
        *self.finished.entry((shard, outcome(&tombstone.state))).or_default() += 1;
        let findings = &mut self.findings;
        let sound = self.money.tombstone(shard, tombstone, findings);
        if let Some(rail) = &mut self.rail {
            rail.tombstone(shard, &self.key, tombstone, findings);
        }
        self.entries.tombstone(shard, &self.key, tombstone, sound, findings);
    }

    /// One contributor.
    pub fn contributor(&mut self, shard: ShardId, key: ContributorKey, row: &Contributor) {
        self.money.contributor(shard, key, row);
    }

    /// One id that was ever acknowledged: what an identity that the store keeps stands for.
    pub fn acknowledged(&mut self, shard: ShardId, arrival: Arrival, id: ContributionId) {
        self.acknowledged += 1;
        let seen = self.seen.get_mut(&id.mac).filter(|seen| seen.bucket == id.bucket.0);
        let sentence = match seen {
            None => format!("acknowledged as item {arrival}, and neither queued nor a journey"),
            Some(seen) if (seen.shard, seen.arrival) == (shard, arrival) => {
                seen.acknowledged = true;
                return;
            }
            Some(seen) => {
                seen.acknowledged = true;
                format!("acknowledged as item {arrival} of shard {shard}, and stands elsewhere")
            }
        };
        self.lost.push(id);
        self.findings.damaged(Invariant::NothingLost, shard, id.to_string(), sentence);
    }

    /// Every row of one shard was seen, its identities and whom they acknowledge included: what is
    /// kept of its journeys goes.
    pub fn shard_ends(&mut self) {
        self.looked_at += self.seen.len() as u64;
        self.unacknowledged();
        self.money.settle();
        self.entries.shard_ends();
    }

    /// One check an invariant, in their order.
    pub fn finish(mut self) -> Vec<Check> {
        let looked_at = self.looked_at + self.seen.len() as u64;
        self.findings.checked(Invariant::NothingLost, looked_at);
        for id in &self.lost {
            self.entries.explain(&self.key, *id);
            if let Some(rail) = &mut self.rail {
                rail.explain(&self.key, *id);
            }
        }
        if self.acknowledged > 0 {
            self.unacknowledged();
        }
        self.entries.finish(&mut self.findings);
        if let Some(rail) = &self.rail {
            rail.finish(&mut self.findings);
        }
        self.outcomes();
        self.money.finish(&self.entries, &mut self.findings);
        self.findings.into_checks()
    }

    fn see(&mut self, shard: ShardId, arrival: Arrival, id: ContributionId) {
        let seen = Seen { shard, arrival, bucket: id.bucket.0, acknowledged: false };
        if let Some(other) = self.seen.insert(id.mac, seen) {
            let sentence = format!(
                "stands twice: as {} of shard {} and as {arrival}",
                other.arrival, other.shard
            );
            self.findings.damaged(Invariant::NothingLost, shard, id.to_string(), sentence);
        }
    }

    fn misplaced(&self, shard: ShardId, place: Place, journey: &Journey) -> Option<String> {
        let submission = &journey.submission;
        let id = submission.id;
        if self.key.contribution(&submission.contributor, &submission.idempotency_key) != id {
            return Some("its id is not derived from its contributor and key".to_owned());
        }
        if id.bucket.shard(self.shards) != shard {
            return Some(format!("stands in shard {shard}, where its bucket is not at home"));
        }
        let terminal = journey.state.is_terminal();
        let fits = terminal == (place == Place::Finished);
        let among = if place == Place::Finished { "finished" } else { "active" };
        (!fits).then(|| format!("is {} and stands among the {among}", journey.state.as_str()))
    }

    /// What has no identity any more could be accepted a second time.
    fn unacknowledged(&mut self) {
        for (mac, seen) in self.seen.drain().filter(|(_, seen)| !seen.acknowledged) {
            let id = ContributionId { bucket: crate::id::Bucket(seen.bucket), mac };
            let sentence = "its identity is gone: handed in again, it would run again".to_owned();
            self.findings.damaged(Invariant::OnePayment, seen.shard, id.to_string(), sentence);
        }
    }

    fn outcomes(&mut self) {
        let all = self.finished.keys().chain(self.finished_said.keys());
        let all: std::collections::BTreeSet<_> = all.cloned().collect();
        for key in all {
            let counted = self.finished.get(&key).copied().unwrap_or(0);
            let said = self.finished_said.get(&key).copied().unwrap_or(0);
            let (shard, outcome) = key;
            if counted != said && !self.findings.is_damaged(shard) {
                let sentence = format!("{said} journeys ended so, and {counted} are found");
                let id = format!("shard {shard} {outcome}");
                self.findings.add(Invariant::NothingLost, id, sentence);
            }
        }
    }
}

/// The word that a shard counts a finished journey under.
fn outcome(state: &State) -> String {
    match state {
        State::Rejected(reason) => format!("rejected:{}", reason.as_str()),
        other => other.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests;
