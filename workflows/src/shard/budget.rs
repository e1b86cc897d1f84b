//! Programs at home here, and allotments of programs at home elsewhere.

use super::{Effect, Proposal, Shard, Waiter};
use crate::allotment::{Answer, Card, Home, Message, Moved, Transfer};
use crate::entry;
use crate::id::{Arrival, Bucket, ContributorKey, ShardId};
use crate::inbox::Item;
use crate::journey::Logged;
use crate::ledger::{Account, Posting};
use crate::money::Currency;
use crate::time::Timestamp;
use std::collections::VecDeque;

/// An ask is answered with this part of what is left, per shard of the store.
const SLICES_PER_SHARD: u64 = 4;

impl Shard {
    /// Deposits budgets at first sight, and logs rate cards that the log does not have yet.
    pub fn open_programs(&mut self) {
        let world = self.world.clone();
        let here = |id: &&String| Bucket::of_program(id).shard(world.shards) == self.id;
        let ids: Vec<String> = world.programs.keys().filter(here).cloned().collect();
        for id in ids {
            let program = &world.programs[&id];
            let hash = self.card_hashes[&id];
            if !self.state.homes.contains_key(&id) {
                let micro = program.budget_micro;
                let home = Home { balance: micro, deposited: micro, ..Home::default() };
                self.state.homes.insert(id.clone(), home);
                self.book(program.currency, Account::Deposits, Account::Home, micro);
            }
            let due = self.state.homes.get(&id).is_some_and(|home| {
                let newest = home.card_due.map(|(hash, _)| hash).or(home.card.map(|c| c.hash));
                newest != Some(hash)
            });
            if due {
                let card = program.card_json();
                let internal = entry::rate_card_id(&id, &card);
                if let Some(Logged { index: Some(index), .. }) =
                    self.claim_adopted("rate_card", &internal)
                {
                    if let Some(home) = self.state.homes.get_mut(&id) {
                        home.card_due = Some((hash, 0));
                    }
                    self.card_logged(&id, index);
                    continue;
                }
                let position = self.log(entry::rate_card(&world.key, &id, &card));
                self.log_waits.insert(position, Waiter::Card(id.clone()));
                if let Some(home) = self.state.homes.get_mut(&id) {
                    home.card_due = Some((hash, position));
                }
            }
        }
    }

    /// Says again what was not answered: after a restart, and on the sweep.
    pub fn repeat_unanswered(&mut self) {
        let asks: Vec<(String, Message)> = self
            .state
            .allotments
            .iter()
            .flat_map(|(id, a)| a.unanswered().into_iter().map(|m| (id.clone(), m)))
            .collect();
        let recalls: Vec<(String, ShardId, Message)> = self
            .state
            .homes
            .iter()
            .flat_map(|(id, h)| h.unanswered().into_iter().map(|(s, m)| (id.clone(), s, m)))
            .collect();
        for (program, message) in asks {
            self.send_home(&program, message);
        }
        for (program, shard, message) in recalls {
            self.send(shard, &program, message);
        }
    }

    /// The card's entry has its index: the card is in force, and asks are answered.
    pub(super) fn card_logged(&mut self, program: &str, index: u64) {
        let slices = self.slices();
        let Some(home) = self.state.homes.get_mut(program) else {
            return;
        };
        let Some((hash, _)) = home.card_due.take() else {
            return;
        };
        home.card = Some(Card { hash, index });
        let answer = home.settle(slices);
        self.answer(program, answer);
        self.draft.touched = true;
    }

    pub(super) fn send_home(&mut self, program: &str, message: Message) {
        let home = Bucket::of_program(program).shard(self.world.shards);
        self.send(home, program, message);
    }

    fn send(&mut self, to: ShardId, program: &str, message: Message) {
        let transfer = Transfer { program: program.to_owned(), from: self.id, message };
        self.effect(Effect::Post { shard: to, item: Item::Transfer(transfer) });
    }

    /// Takes a transfer in; proposals that it lets go on are decided again.
    pub fn transfer(&mut self, transfer: &Transfer, now: Timestamp, random: u64) {
        let slices = self.slices();
        let Transfer { program, from, message } = transfer;
        if !self.world.programs.contains_key(program) {
            // Nothing moves and nothing is answered: the sender says it again.
            return;
        }
        match message {
            Message::Ask { number, want } => {
                if let Some(home) = self.state.homes.get_mut(program) {
                    let answer = home.asked(*from, *number, *want, slices);
                    self.answer(program, answer);
                }
            }
            Message::Return { number, micro } => {
                if let Some(home) = self.state.homes.get_mut(program) {
                    let answer = home.returned(*from, *number, *micro, slices);
                    self.answer(program, answer);
                }
            }
            Message::Grant { number, micro, card, exhausted } => {
                self.granted(program, (*number, *micro), *card, *exhausted, now, random);
            }
            Message::Recall => {
                let allotment = self.state.allotments.entry(program.clone()).or_default();
                let before = allotment.balance;
                let message = allotment.recall();
                let returned = before - allotment.balance;
                self.book_program(program, Account::Allotment, Account::Transit, returned);
                self.send_home(program, message);
            }
            Message::Returned { number } => {
                let allotment = self.state.allotments.entry(program.clone()).or_default();
                allotment.returned(*number);
            }
        }
        self.draft.touched = true;
    }

    fn granted(
        &mut self,
        program: &str,
        (number, micro): (u64, u64),
        card: Card,
        exhausted: bool,
        now: Timestamp,
        random: u64,
    ) {
        let allotment = self.state.allotments.entry(program.to_owned()).or_default();
        if !allotment.granted(number, micro, card, exhausted) {
            return;
        }
        self.book_program(program, Account::Transit, Account::Allotment, micro);
        let waiting = self.budget_waits.remove(program).unwrap_or_default();
        self.decide_again(program, waiting, now, random);
    }

    /// In the order they came, until one has to wait again: what it asked for comes first.
    fn decide_again(
        &mut self,
        program: &str,
        mut waiting: VecDeque<Arrival>,
        now: Timestamp,
        random: u64,
    ) {
        while let Some(arrival) = waiting.pop_front() {
            let moving = self.journeys.get_mut(&arrival);
            if let Some(proposal) = moving.and_then(|moving| moving.proposal.take()) {
                self.propose(arrival, proposal, now, random);
            }
            if let Some(again) = self.budget_waits.get_mut(program) {
                again.append(&mut waiting);
            }
        }
    }

    /// Takes back the proposals of one contributor that wait for budget, in the order in which they came.
    /// Whoever takes them proposes them again.
    pub fn take_waiting(&mut self, key: ContributorKey) -> Vec<(Arrival, Proposal)> {
        let (mut taken, journeys) = (Vec::new(), &mut self.journeys);
        self.budget_waits.retain(|_, waiting| {
            waiting.retain(|arrival| {
                let moving = journeys.get_mut(arrival).filter(|moving| moving.contributor == key);
                let proposal = moving.and_then(|moving| moving.proposal.take());
                let stays = proposal.is_none();
                taken.extend(proposal.map(|proposal| (*arrival, proposal)));
                stays
            });
            !waiting.is_empty()
        });
        taken
    }

    fn answer(&mut self, program: &str, answer: Answer) {
        for moved in answer.moved {
            match moved {
                Moved::Granted(micro) => {
                    self.book_program(program, Account::Home, Account::Transit, micro);
                }
                Moved::Returned(micro) => {
                    self.book_program(program, Account::Transit, Account::Home, micro);
                }
            }
        }
        for (shard, message) in answer.send {
            self.send(shard, program, message);
        }
    }

    fn book_program(&mut self, program: &str, from: Account, to: Account, micro: u64) {
        if let Some(currency) = self.world.programs.get(program).map(|p| p.currency) {
            self.book(currency, from, to, micro);
        }
    }

    fn book(&mut self, currency: Currency, from: Account, to: Account, micro: u64) {
        if micro > 0 {
            self.state.ledger.post(currency, Posting { from, to, micro });
        }
        self.draft.touched = true;
    }

    fn slices(&self) -> u64 {
        u64::from(self.world.shards) * SLICES_PER_SHARD
    }
}
