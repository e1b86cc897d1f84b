//! Cheap checks of the invariants over every commit, before anything of it is durable: what they
//! look at is what the commit changes, and the balances of the shard.

use super::Shard;
use crate::invariant::{Breach, Invariant};
use crate::journey::{Journey, PayoutState};
use crate::ledger::{Account, Posting};
use crate::money::Currency;
use std::collections::{BTreeMap, BTreeSet};

impl Shard {
    /// Refuses what would break an invariant.
    pub(super) fn check(&self) -> Result<(), Breach> {
        self.check_ledger()?;
        self.check_programs()?;
        let touched = self.draft.journeys.iter().filter_map(|arrival| self.journeys.get(arrival));
        let mut positions = BTreeSet::new();
        for moving in touched.chain(&self.draft.ended) {
            one_payment(&moving.journey)?;
            accepted_money(&moving.journey)?;
            self.one_entry(&moving.journey, &mut positions)?;
        }
        Ok(())
    }

    fn check_ledger(&self) -> Result<(), Breach> {
        let ledger = &self.state.ledger;
        let wrong = |detail| Breach::new(Invariant::MoneyAddsUp, detail);
        if let Some(currency) = ledger.unbalanced() {
            return Err(wrong(format!("debits and credits differ in {currency}")));
        }
        match ledger.overdrawn() {
            Some((currency, account)) => {
                Err(wrong(format!("{account:?} in {currency} is overdrawn")))
            }
            None => Ok(()),
        }
    }

    /// Budgets and allotments are what the ledger says. A program that this node does not know any
    /// more has a currency that nobody knows here.
    fn check_programs(&self) -> Result<(), Breach> {
        let (allotments, homes) = (&self.state.allotments, &self.state.homes);
        let currency = |id: &String| self.world.programs.get(id).map(|program| program.currency);
        if allotments.keys().chain(homes.keys()).any(|id| currency(id).is_none()) {
            return Ok(());
        }
        let mut sums: BTreeMap<(Currency, Account), i128> = BTreeMap::new();
        let mut add = |id: &String, account, micro: u64| {
            if let Some(currency) = currency(id) {
                *sums.entry((currency, account)).or_default() += i128::from(micro);
            }
        };
        for (id, allotment) in allotments {
            add(id, Account::Allotment, allotment.balance);
        }
        for (id, home) in homes {
            add(id, Account::Home, home.balance);
        }
        for currency in self.state.ledger.currencies() {
            for account in [Account::Allotment, Account::Home] {
                let booked = self.state.ledger.balance(currency, account);
                let there = sums.get(&(currency, account)).copied().unwrap_or(0);
                if booked != there {
                    let detail =
                        format!("{account:?} in {currency}: {booked} booked, {there} there");
                    return Err(Breach::new(Invariant::MoneyAddsUp, detail));
                }
            }
        }
        Ok(())
    }

    /// Every entry that this commit puts into the outbox belongs to one journey, once.
    fn one_entry(&self, journey: &Journey, positions: &mut BTreeSet<u64>) -> Result<(), Breach> {
        let from = self.state.outbox_next - self.draft.entries.len() as u64;
        let own = journey.accepted.iter().map(|accepted| accepted.entry);
        let paid = journey.payouts.iter().filter_map(|payout| payout.entry);
        let back = journey.withdrawn.iter().filter_map(|withdrawn| withdrawn.entry);
        for logged in own.chain(paid).chain(back) {
            let foreign = logged.position >= self.state.outbox_next;
            if foreign || (logged.position >= from && !positions.insert(logged.position)) {
                let detail = format!("outbox position {} of {}", logged.position, name(journey));
                return Err(Breach::new(Invariant::OneEntry, detail));
            }
        }
        Ok(())
    }
}

/// A further try of a payout only after the one before failed for certain.
fn one_payment(journey: &Journey) -> Result<(), Breach> {
    let open = |payout: &&crate::journey::Payout| payout.state != PayoutState::Failed;
    let earlier = journey.payouts.split_last().map_or(&[][..], |(_, earlier)| earlier);
    match earlier.iter().find(open) {
        Some(payout) => {
            let detail = format!("{} has a further try after {:?}", name(journey), payout.state);
            Err(Breach::new(Invariant::OnePayment, detail))
        }
        None => Ok(()),
    }
}

/// What was accepted is the locked price, once, and what is paid was in flight.
fn accepted_money(journey: &Journey) -> Result<(), Breach> {
    let sum = |from, to| {
        let moved = |posting: &&Posting| posting.from == from && posting.to == to;
        journey.postings.iter().filter(moved).map(|posting| u128::from(posting.micro)).sum::<u128>()
    };
    let price = journey.price.as_ref().map_or(0, |(_, price)| u128::from(price.micro));
    let due = if journey.accepted.is_some() { price } else { 0 };
    let wrong = |what: &str| {
        Err(Breach::new(Invariant::MoneyAddsUp, format!("{what} of {}", name(journey))))
    };
    if sum(Account::Reserved, Account::Payable) != due {
        return wrong("not the locked price is accepted");
    }
    let paid = sum(Account::InFlight, Account::Paid) + sum(Account::Suspense, Account::Paid);
    if paid > sum(Account::Payable, Account::InFlight) {
        return wrong("more is paid than was in flight");
    }
    Ok(())
}

fn name(journey: &Journey) -> String {
    journey.submission.id.to_string()
}
