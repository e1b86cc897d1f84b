//! The journey: one contribution's way through one workflow, and the durable unit.
//!
//! Its row holds position, outputs, what was accepted, payouts, postings and a bounded timeline.
//! Nothing is replayed: where a journey stands is data.

use crate::codec::Record;
use crate::definition::WorkflowRef;
use crate::id::Arrival;
use crate::ledger::{Account, Posting};
use crate::limits;
use crate::money::Currency;
use crate::price::Price;
use crate::request::{Cause, Reason, Wait};
use crate::submission::{Scope, Submission, Terms};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Where a journey stands. `queued` has no row of its own: it is an item in an inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// An actor drives it.
    Moving,
    /// It waits for time or a signal, without an actor in memory.
    Parked {
        /// What for.
        wait: Wait,
        /// When it goes on by itself.
        until: Option<Timestamp>,
        /// Which signal lets it go on.
        signal: Option<String>,
    },
    /// It waits for an operator.
    Paused {
        /// Why.
        cause: Cause,
        /// What happened, without personal data.
        detail: String,
    },
    /// Done.
    Settled,
    /// Not accepted.
    Rejected(Reason),
    /// Consent was taken back before acceptance.
    Withdrawn,
}

impl State {
    /// The contract's word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Moving => "moving",
            Self::Parked { .. } => "parked",
            Self::Paused { .. } => "paused",
            Self::Settled => "settled",
            Self::Rejected(_) => "rejected",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// Whether nothing more will happen by itself or by an operator.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Settled | Self::Rejected(_) | Self::Withdrawn)
    }
}

/// A pinned grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its id.
    pub grant: String,
    /// Its place in the shard's order.
    pub position: Arrival,
    /// The terms it was given under.
    pub terms: Arc<Terms>,
}

/// An entry of the public log: its outbox position, and its index once the log has said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logged {
    /// Place in the shard's outbox.
    pub position: u64,
    /// Place in the log.
    pub index: Option<u64>,
}

/// What a price was locked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserved {
    /// Index of the rate card's entry it was priced by.
    pub card: u64,
    /// The program's day whose cap it counts against, if there is one.
    pub day: Option<u32>,
}

/// What was decided at acceptance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// When.
    pub at: Timestamp,
    /// Index of the rate card's entry.
    pub card: u64,
    /// The version of what scored it.
    pub scorer: String,
    /// The contribution's entry.
    pub entry: Logged,
}

/// Where a payout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayoutState {
    /// Decided, not handed to a rail.
    Fixed,
    /// Handed to a rail, or about to be.
    InFlight,
    /// Paid.
    Paid,
    /// The rail confirmed that no money moved.
    Failed,
    /// The rail said something that does not fit.
    Suspense,
}

/// One movement of money on a rail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payout {
    /// Derived from (contribution, cause, number); the key at the rail.
    pub id: String,
    /// 1 for the first try.
    pub number: u16,
    /// The account at the rail.
    pub account: String,
    /// Whole minor units.
    pub minor: u64,
    /// What stayed with the contributor, in micro-units.
    pub carry: u64,
    /// Where it stands.
    pub state: PayoutState,
    /// Since when the rail may know its key.
    pub sent: Option<Timestamp>,
    /// Its entry.
    pub entry: Option<Logged>,
}

/// A withdrawal that reached an accepted contribution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithdrawnAt {
    /// When.
    pub at: Timestamp,
    /// What was taken back.
    pub scope: Scope,
    /// Its entry, once the contribution's own index is known.
    pub entry: Option<Logged>,
}

/// One line of the timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When it was committed.
    pub at: Timestamp,
    /// The stage's position.
    pub stage: u8,
    /// What happened.
    pub kind: EventKind,
}

/// What can happen to a journey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// Price locked, budget reserved, entry in the outbox.
    Accepted,
    /// A stage's outcome was committed.
    Advanced,
    /// The entry's index was committed; a keyed stage starts.
    Released,
    /// The rail paid.
    Paid,
    /// A payout failed for certain.
    PayoutFailed,
    /// It waits.
    Parked(Wait),
    /// It waits for an operator.
    Paused(Cause),
    /// It goes on.
    Resumed,
    /// An operator lets it go on.
    Retried,
    /// Not accepted.
    Rejected,
    /// Consent was taken back.
    Withdrawn,
    /// The end.
    Settled,
}

/// One contribution's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journey {
    /// Its place in the shard's order.
    pub arrival: Arrival,
    /// As handed in; shared by the copies that a decision makes.
    pub submission: Arc<Submission>,
    /// What it runs.
    pub workflow: WorkflowRef,
    /// Where it stands.
    pub state: State,
    /// The position of the stage that is due.
    pub stage: u8,
    /// Failed attempts of that stage.
    pub attempts: u16,
    /// Attempts of all stages that failed, ever.
    pub failed_attempts: u32,
    /// When that stage was first tried, for its total time.
    pub since: Timestamp,
    /// Outputs of committed stages: position and JSON object.
    pub outputs: Vec<(u8, Vec<u8>)>,
    /// Signals that came in.
    pub signals: Vec<String>,
    /// The pinned grant.
    pub held: Option<Held>,
    /// The price, once locked, and its currency.
    pub price: Option<(Currency, Price)>,
    /// What the price was locked against: needed until acceptance.
    pub reserved: Option<Reserved>,
    /// What was decided at acceptance.
    pub accepted: Option<Accepted>,
    /// Payouts, the last one is current.
    pub payouts: Vec<Payout>,
    /// A withdrawal after acceptance.
    pub withdrawn: Option<WithdrawnAt>,
    /// The contributor's journey before this one.
    pub previous: Option<Arrival>,
    /// Whether this journey stands in the contributor's chain.
    pub chained: bool,
    /// What happened, bounded.
    pub timeline: Vec<Event>,
    /// Every movement of money it caused.
    pub postings: Vec<Posting>,
}

impl Record for Journey {
    const SCHEMA: u8 = 2;
    const VERSION: u8 = 1;
    const BYTES_USUAL: usize = 1024;
}

impl Journey {
    /// A journey that was just admitted.
    pub fn begin(arrival: Arrival, submission: Submission, workflow: WorkflowRef) -> Self {
        Self {
            arrival,
            since: submission.at,
            submission: Arc::new(submission),
            workflow,
            state: State::Moving,
            stage: 0,
            attempts: 0,
            failed_attempts: 0,
            outputs: Vec::new(),
            signals: Vec::new(),
            held: None,
            price: None,
            reserved: None,
            accepted: None,
            payouts: Vec::new(),
            withdrawn: None,
            previous: None,
            chained: false,
            timeline: Vec::new(),
            postings: Vec::new(),
        }
    }

    /// Adds to the timeline; when it is full, the oldest after the first makes room.
    pub fn note(&mut self, at: Timestamp, kind: EventKind) {
        if self.timeline.len() >= limits::TIMELINE_MAX {
            self.timeline.remove(1);
        }
        self.timeline.push(Event { at, stage: self.stage, kind });
    }

    /// Records a movement of money and hands it back for the ledger.
    pub fn post(&mut self, from: Account, to: Account, micro: u64) -> Posting {
        let posting = Posting { from, to, micro };
        if micro > 0 {
            self.postings.push(posting);
        }
        posting
    }

    /// The payout that is under way or done.
    pub fn payout(&self) -> Option<&Payout> {
        self.payouts.last()
    }

    /// Whether an entry of this journey has no index yet.
    pub fn waits_for_log(&self) -> bool {
        self.accepted.as_ref().is_some_and(|accepted| accepted.entry.index.is_none())
    }

    /// Whether it is marked as withdrawn, and the log is not told yet.
    pub fn owes_withdrawal(&self) -> bool {
        self.withdrawn.as_ref().is_some_and(|withdrawn| withdrawn.entry.is_none())
    }
}

/// Cuts a detail to its bound, at a character.
pub fn cut(mut detail: String) -> String {
    let mut end = limits::DETAIL_BYTES_MAX.min(detail.len());
    while !detail.is_char_boundary(end) {
        end -= 1;
    }
    detail.truncate(end);
    detail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_is_cut_at_a_character() {
        let detail = cut("가".repeat(limits::DETAIL_BYTES_MAX));
        assert_eq!(detail.len(), limits::DETAIL_BYTES_MAX / 3 * 3);
        let detail = cut(format!("a{}", "가".repeat(limits::DETAIL_BYTES_MAX)));
        assert_eq!(detail.len(), (limits::DETAIL_BYTES_MAX - 1) / 3 * 3 + 1);
        assert_eq!(cut("short".into()), "short");
    }

    #[test]
    fn only_three_states_are_the_end() {
        let reason = Reason::known("no_grant");
        for state in [State::Settled, State::Rejected(reason), State::Withdrawn] {
            assert!(state.is_terminal(), "{state:?}");
        }
        let paused = State::Paused { cause: Cause::Operator, detail: String::new() };
        let parked = State::Parked { wait: Wait::Timer, until: None, signal: None };
        for state in [State::Moving, paused, parked] {
            assert!(!state.is_terminal(), "{state:?}");
        }
    }

    #[test]
    fn states_are_shown_by_the_words_of_the_contract() {
        let paused = State::Paused { cause: Cause::Operator, detail: String::new() };
        let parked = State::Parked { wait: Wait::Timer, until: None, signal: None };
        let rejected = State::Rejected(Reason::known("no_grant"));
        let all = [State::Moving, parked, paused, State::Settled, rejected, State::Withdrawn];
        let words = ["moving", "parked", "paused", "settled", "rejected", "withdrawn"];
        assert_eq!(all.each_ref().map(State::as_str), words);
    }
}
