//! A program's budget: an account on its home shard, spent only from allotments.
//!
//! No transaction spans two shards, so money crosses by numbered transfers. A shard *asks* its
//! program's home under a number; the home *grants* once per number and repeats the same answer
//! to the same number. Before the home says "exhausted" it *recalls* what lies idle elsewhere; a
//! shard *returns* under a number of its own, and the home takes each number once. Every message
//! may be lost, doubled or late: the numbers and the records on both sides make the sums right.

use crate::id::ShardId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A message between a program's home and another shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Which program.
    pub program: String,
    /// The shard that sent it.
    pub from: ShardId,
    /// What it says.
    pub message: Message,
}

/// What a transfer says; amounts in micro-units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// To the home: at least `want` more is needed.
    Ask {
        /// One more than the last ask.
        number: u64,
        /// The least that helps.
        want: u64,
    },
    /// From the home: the answer to that ask.
    Grant {
        /// The ask's number.
        number: u64,
        /// How much; zero with `exhausted`.
        micro: u64,
        /// The rate card in force.
        card: Card,
        /// The home's word that `want` is not to be had.
        exhausted: bool,
    },
    /// From the home: return what is idle.
    Recall,
    /// To the home: this much comes back.
    Return {
        /// One more than the last return.
        number: u64,
        /// How much, zero included.
        micro: u64,
    },
    /// From the home: that return was booked.
    Returned {
        /// The return's number.
        number: u64,
    },
}

/// The rate card in force: its hash, and the index of its entry in the public log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// [`crate::program::Program::card_hash`]
    pub hash: [u8; 16],
    /// Where the card's entry stands.
    pub index: u64,
}

/// A shard's side.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Allotment {
    /// What may be spent, in micro-units.
    pub balance: u64,
    /// The card to price by.
    pub card: Option<Card>,
    /// The number of the last ask, and what it wanted while no answer came.
    pub ask: (u64, Option<u64>),
    /// The number of the last return, and its amount while it is not booked.
    pub give_back: (u64, Option<u64>),
    /// The home has said that this much is not to be had.
    pub exhausted_at: Option<u64>,
}

impl Allotment {
    /// Asks for `want` unless an ask is under way; the message to send, if any.
    pub fn ask(&mut self, want: u64) -> Option<Message> {
        if self.ask.1.is_some() {
            return None;
        }
        self.ask = (self.ask.0 + 1, Some(want));
        Some(Message::Ask { number: self.ask.0, want })
    }

    /// What must be said again after a restart or a long silence.
    pub fn unanswered(&self) -> Vec<Message> {
        let ask = self.ask.1.map(|want| Message::Ask { number: self.ask.0, want });
        let back = self.give_back;
        let back = back.1.map(|micro| Message::Return { number: back.0, micro });
        ask.into_iter().chain(back).collect()
    }

    /// Takes a grant in; true if it is the answer to the ask under way. One to a later ask tells that
    /// this shard's store forgot asks. What they were granted stays where it is, since it may have come
    /// back to the home before it was forgotten: the ask is said again under a number that is new.
    pub fn granted(&mut self, number: u64, micro: u64, card: Card, exhausted: bool) -> bool {
        let (asked, Some(want)) = self.ask else {
            return false;
        };
        if number != asked {
            if number > asked {
                self.ask.0 = number + 1;
            }
            return false;
        }
        self.ask.1 = None;
        self.balance += micro;
        self.card = Some(card);
        self.exhausted_at = exhausted.then_some(want);
        true
    }

    /// Gives all of the balance back unless a return is under way; the message to send.
    pub fn recall(&mut self) -> Message {
        if self.give_back.1.is_none() {
            self.give_back = (self.give_back.0 + 1, Some(std::mem::take(&mut self.balance)));
        }
        Message::Return { number: self.give_back.0, micro: self.give_back.1.unwrap_or(0) }
    }

    /// The home booked a return.
    pub fn returned(&mut self, number: u64) {
        if number == self.give_back.0 {
            self.give_back.1 = None;
        }
    }
}

/// What the home knows of one other shard.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Peer {
    /// The last ask that was answered, and the answer.
    pub answered: Option<(u64, u64, bool)>,
    /// All that was ever granted.
    pub granted: u64,
    /// The last return that was booked.
    pub return_number: u64,
    /// All that ever came back.
    pub returned: u64,
}

/// A program's budget on its home shard.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Home {
    /// Not granted to anyone, in micro-units.
    pub balance: u64,
    /// All that was ever deposited.
    pub deposited: u64,
    /// The newest card, and its place in the outbox until its index is known.
    pub card: Option<Card>,
    /// A newer card that is on its way to the log: its hash and outbox position.
    pub card_due: Option<([u8; 16], u64)>,
    /// The other shards, and the home's own.
    pub peers: BTreeMap<ShardId, Peer>,
    /// Asks without an answer, in the order they came.
    pub waiting: Vec<(ShardId, u64, u64)>,
    /// Shards whose idle allotments were recalled and did not come back yet.
    pub recalled: Vec<ShardId>,
    /// All idle allotments came back since the first waiting ask arrived.
    pub swept: bool,
}

/// Money that moved on the home's side, for the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// From home to a shard.
    Granted(u64),
    /// Back to the home.
    Returned(u64),
}

/// Messages to send and money that moved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// Whom to tell what.
    pub send: Vec<(ShardId, Message)>,
    /// For the ledger.
    pub moved: Vec<Moved>,
}

impl Home {
    /// Takes an ask in. The last answer is said again, also to an earlier ask: either that comes late and
    /// nobody waits for it, or whoever asks has forgotten the asks since and learns where to go on.
    pub fn asked(&mut self, from: ShardId, number: u64, want: u64, slices: u64) -> Answer {
        let peer = self.peers.entry(from).or_default();
        if let Some((last, micro, exhausted)) = peer.answered
            && number <= last
        {
            let grant = |card| Message::Grant { number: last, micro, card, exhausted };
            let again = self.card.map(|card| (from, grant(card)));
            return Answer { send: again.into_iter().collect(), moved: Vec::new() };
        }
        let waiting = self.waiting.iter_mut().find(|(shard, n, _)| (*shard, *n) == (from, number));
        match waiting {
            // Who forgot what it asked for may want something else by now.
            Some((.., wanted)) => *wanted = want,
            None => self.waiting.push((from, number, want)),
        }
        self.settle(slices)
    }

    /// Takes a return in.
    pub fn returned(&mut self, from: ShardId, number: u64, micro: u64, slices: u64) -> Answer {
        let mut answer = Answer::default();
        let peer = self.peers.entry(from).or_default();
        if number > peer.return_number {
            peer.return_number = number;
            peer.returned += micro;
            self.balance += micro;
            answer.moved.push(Moved::Returned(micro));
            self.recalled.retain(|shard| *shard != from);
        }
        answer.send.push((from, Message::Returned { number }));
        // A return of before the recall is no answer to it.
        if self.recalled.contains(&from) {
            answer.send.push((from, Message::Recall));
        }
        let rest = self.settle(slices);
        answer.send.extend(rest.send);
        answer.moved.extend(rest.moved);
        answer
    }

    /// Answers what can be answered. Slices shrink with what is left: a `slices`-th of it, or
    /// what is wanted if that is more.
    pub fn settle(&mut self, slices: u64) -> Answer {
        let mut answer = Answer::default();
        let Some(card) = self.card.filter(|_| self.card_due.is_none()) else {
            return answer;
        };
        while let Some((shard, number, want)) = self.waiting.first().copied() {
            let exhausted = want > self.balance;
            if exhausted && !self.swept {
                self.recall(shard, &mut answer);
            }
            if exhausted && !self.recalled.is_empty() {
                return answer;
            }
            let slice = (self.balance / slices.max(1)).max(want);
            let micro = if exhausted { 0 } else { slice.min(self.balance) };
            self.waiting.remove(0);
            self.balance -= micro;
            self.swept = self.swept && !self.waiting.is_empty();
            let peer = self.peers.entry(shard).or_default();
            peer.answered = Some((number, micro, exhausted));
            peer.granted += micro;
            if micro > 0 {
                answer.moved.push(Moved::Granted(micro));
            }
            answer.send.push((shard, Message::Grant { number, micro, card, exhausted }));
        }
        answer
    }

    fn recall(&mut self, asking: ShardId, answer: &mut Answer) {
        if !self.recalled.is_empty() {
            return;
        }
        let holds = |peer: &Peer| peer.granted > peer.returned;
        let others = self.peers.iter().filter(|(shard, peer)| **shard != asking && holds(peer));
        self.recalled = others.map(|(shard, _)| *shard).collect();
        self.swept = true;
        answer.send.extend(self.recalled.iter().map(|shard| (*shard, Message::Recall)));
    }

    /// What must be said again after a restart.
    pub fn unanswered(&self) -> Vec<(ShardId, Message)> {
        self.recalled.iter().map(|shard| (*shard, Message::Recall)).collect()
    }
}

#[cfg(test)]
mod tests;
