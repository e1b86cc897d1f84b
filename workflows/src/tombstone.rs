//! What is left of a finished journey once its time of retention is over.
//!
//! A tombstone stands where the journey's row stood. It keeps what others still need: the outcome for
//! whoever asks, money and entries for statements and the audit, its place in the contributor's chain
//! and its grant for a withdrawal that comes later. It names nobody: who handed in what, the history,
//! and the key that opens the public commitments are gone. That the same contribution is not taken a
//! second time is up to its identity, which never goes.

use crate::codec::{self, Record, decode};
use crate::definition::WorkflowRef;
use crate::id::{Arrival, ContributionId, ContributorKey, IdKey, hex, unhex};
use crate::journey::{
    Accepted, Event, EventKind, Journey, Logged, Payout, PayoutState, State, WithdrawnAt,
};
use crate::ledger::Account;
use crate::money::Currency;
use crate::price::{Capped, Price};
use crate::submission::{Modality, Submission};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A finished journey that expired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// Its place in the shard's order.
    pub arrival: Arrival,
    /// The contribution.
    pub id: ContributionId,
    /// Whose it was.
    pub contributor: ContributorKey,
    /// The paying side.
    pub program: String,
    /// How it ended.
    pub state: State,
    /// When it ended.
    pub ended: Timestamp,
    /// The contributor's journey before it.
    pub previous: Option<Arrival>,
    /// What was accepted.
    pub accepted: Option<Kept>,
}

/// What is kept of an acceptance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The contribution's entry.
    pub entry: Logged,
    /// The currency of every amount.
    pub currency: Currency,
    /// What it was valued at.
    pub micro: u64,
    /// What its rate counted.
    pub units: u64,
    /// 0 to 10,000.
    pub score: u16,
    /// Place of the grant it was accepted under, which the contributor's row holds; none for a
    /// workflow that asks for no grant.
    pub grant: Option<Arrival>,
    /// Its last payout.
    pub payout: Option<KeptPayout>,
    /// What its postings leave in each account, in micro-units; accounts without a change are left
    /// out.
    pub balances: Vec<(Account, i64)>,
    /// A withdrawal after acceptance.
    pub withdrawn: Option<WithdrawnAt>,
}

/// What is kept of a payout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptPayout {
    /// 1 for the first try.
    pub number: u16,
    /// Its id without the bucket, which is the contribution's.
    pub mac: [u8; 16],
    /// Whole minor units.
    pub minor: u64,
    /// Where it stands.
    pub state: PayoutState,
    /// Its entry.
    pub entry: Option<Logged>,
}

impl Record for Tombstone {
    const SCHEMA: u8 = 14;
    const VERSION: u8 = 1;
    const BYTES_USUAL: usize = 160;
}

impl Tombstone {
    /// What stays of a journey: none if it has not ended, or its entry has no index yet.
    #[must_use]
    pub fn of(journey: &Journey, key: &IdKey) -> Option<Self> {
        let submission = &journey.submission;
        if !journey.state.is_terminal() || journey.waits_for_log() {
            return None;
        }
        let accepted = match &journey.accepted {
            Some(accepted) => Some(kept(journey, accepted.entry)?),
            None => None,
        };
        Some(Self {
            arrival: journey.arrival,
            id: submission.id,
            contributor: key.contributor(&submission.contributor),
            program: submission.program.clone(),
            state: journey.state.clone(),
            ended: ended(journey),
            previous: journey.previous,
            accepted,
        })
    }

    /// A journey of what is still known: what is gone is empty, or zero.
    #[must_use]
    pub fn journey(&self) -> Journey {
        let submission = Submission {
            id: self.id,
            contributor: String::new(),
            idempotency_key: String::new(),
            program: self.program.clone(),
            task: String::new(),
            modality: Modality::None,
            language: None,
            media: None,
            transcript: None,
            captured_at: None,
            data_key: 0,
            at: self.ended,
        };
        let mut journey = Journey::begin(self.arrival, submission, WorkflowRef::none());
        journey.state = self.state.clone();
        journey.previous = self.previous;
        let Some(kept) = &self.accepted else { return journey };
        let price = Price {
            units: kept.units,
            score: kept.score,
            rate_micro: 0,
            quality_bp: 0,
            demand_bp: 0,
            capped: Capped::None,
            micro: kept.micro,
        };
        journey.price = Some((kept.currency, price));
        let (scorer, entry) = (String::new(), kept.entry);
        journey.accepted = Some(Accepted { at: self.ended, card: 0, scorer, entry });
        journey.withdrawn = kept.withdrawn.clone();
        journey.payouts.extend(kept.payout.map(|payout| Payout {
            id: format!("p{:04x}{}", self.id.bucket.0, hex(&payout.mac)),
            number: payout.number,
            account: String::new(),
            minor: payout.minor,
            carry: 0,
            state: payout.state,
            sent: None,
            entry: payout.entry,
        }));
        journey
    }
}

fn kept(journey: &Journey, entry: Logged) -> Option<Kept> {
    let (currency, price) = journey.price.as_ref()?;
    let payout = match journey.payouts.last() {
        Some(last) => Some(KeptPayout {
            number: last.number,
            mac: unhex(last.id.get(5..)?)?,
            minor: last.minor,
            state: last.state,
            entry: last.entry,
        }),
        None => None,
    };
    Some(Kept {
        entry,
        currency: *currency,
        micro: price.micro,
        units: price.units,
        score: price.score,
        grant: journey.held.as_ref().map(|held| held.position),
        payout,
        balances: balances(journey)?,
        withdrawn: journey.withdrawn.clone(),
    })
}

/// None if an amount is beyond what is kept: then the journey keeps its row.
fn balances(journey: &Journey) -> Option<Vec<(Account, i64)>> {
    let mut sums: BTreeMap<Account, i64> = BTreeMap::new();
    for posting in &journey.postings {
        let micro = i64::try_from(posting.micro).ok()?;
        for (account, micro) in [(posting.from, micro.checked_neg()?), (posting.to, micro)] {
            let sum = sums.entry(account).or_default();
            *sum = sum.checked_add(micro)?;
        }
    }
    Some(sums.into_iter().filter(|(_, micro)| *micro != 0).collect())
}

/// When a journey ended: a withdrawal may have been noted since.
fn ended(journey: &Journey) -> Timestamp {
    let is_end = |event: &&Event| {
        matches!(event.kind, EventKind::Settled | EventKind::Rejected)
            || (event.kind == EventKind::Withdrawn && journey.state == State::Withdrawn)
    };
    let end = journey.timeline.iter().rev().find(is_end).or(journey.timeline.last());
    end.map_or(journey.submission.at, |event| event.at)
}

/// A row among the finished ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finished {
    /// Whole.
    Journey(Box<Journey>),
    /// Expired.
    Expired(Box<Tombstone>),
}

impl Finished {
    /// Reads a journey's row, expired or not.
    ///
    /// # Errors
    /// [`codec::Error`] when it is neither.
    pub fn read(bytes: &[u8]) -> Result<Self, codec::Error> {
        if codec::schema(bytes) == Some(Tombstone::SCHEMA) {
            return decode(bytes).map(|tombstone| Self::Expired(Box::new(tombstone)));
        }
        decode(bytes).map(|journey| Self::Journey(Box::new(journey)))
    }
}

/// When a journey that stands whole in this row ended; none for one that has not.
#[must_use]
pub fn ended_at(journey: &Journey) -> Option<Timestamp> {
    journey.state.is_terminal().then(|| ended(journey))
}
