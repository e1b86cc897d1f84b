//! What must hold after every commit of any shard, by the stores alone.

use super::programs::won;
use super::town::Town;
use crate::journey::{Journey, PayoutState};
use crate::ledger::{Account, Ledger};
use std::collections::{BTreeMap, BTreeSet};

impl Town {
    pub(super) fn check(&self) {
        self.money_adds_up();
        self.one_entry();
        self.one_payment();
    }

    /// Every balance of all shards together.
    pub(super) fn ledger(&self) -> Ledger {
        let mut all = Ledger::default();
        for node in &self.nodes {
            all.add(&node.store.state.ledger);
        }
        all
    }

    fn journeys(&self) -> impl Iterator<Item = &Journey> {
        self.nodes.iter().flat_map(|node| node.store.journeys())
    }

    /// I4: the ledger, the journeys, the contributors, the budgets and the rail say the same.
    fn money_adds_up(&self) {
        let sum = |parts: &mut dyn Iterator<Item = u64>| parts.map(i128::from).sum::<i128>();
        for node in &self.nodes {
            let state = &node.store.state;
            let at = |account| state.ledger.balance(won(), account);
            let total: i128 = state.ledger.balances().map(|(_, _, micro)| micro).sum();
            assert_eq!(total, 0, "debits and credits of {}", node.shard.id);
            assert_eq!(sum(&mut state.homes.values().map(|h| h.balance)), at(Account::Home));
            let allotted = sum(&mut state.allotments.values().map(|a| a.balance));
            assert_eq!(allotted, at(Account::Allotment), "allotments of {}", node.shard.id);
            let carried = node.store.contributors.values().map(|c| c.carry(won()));
            assert_eq!(sum(&mut { carried }), at(Account::Carry), "carry of {}", node.shard.id);
            let mut posted: BTreeMap<Account, i128> = BTreeMap::new();
            for posting in node.store.journeys().flat_map(|journey| &journey.postings) {
                *posted.entry(posting.from).or_default() -= i128::from(posting.micro);
                *posted.entry(posting.to).or_default() += i128::from(posting.micro);
            }
            for account in OF_JOURNEYS {
                let posted = posted.get(&account).copied().unwrap_or(0);
                assert_eq!(posted, at(account), "{account:?} of {}", node.shard.id);
                assert!(posted >= 0, "{account:?} of {}", node.shard.id);
            }
        }
        let all = self.ledger();
        let at = |account| all.balance(won(), account);
        let accepted = self.journeys().filter(|journey| journey.accepted.is_some());
        let prices = accepted.filter_map(|j| j.price.as_ref().map(|(_, price)| price.micro));
        let valued: i128 = VALUED.into_iter().map(at).sum();
        assert_eq!(valued, sum(&mut { prices }), "valued");
        let spent = at(Account::Home) + at(Account::Transit) + at(Account::Allotment);
        assert_eq!(-at(Account::Deposits), spent + at(Account::Reserved) + valued, "deposits");
        assert!(at(Account::Transit) >= 0, "money in transit");
        let book: i128 = self.rail.values().map(|minor| i128::from(*minor) * 1_000_000).sum();
        let paid = at(Account::Paid);
        let forgot = self.nodes.iter().any(|node| node.store.forgot);
        let most = paid + at(Account::InFlight) + at(Account::Suspense);
        assert!(book >= paid && (book <= most || forgot));
    }

    /// I2: no public id stands twice in the log.
    fn one_entry(&self) {
        let mut ids = BTreeSet::new();
        for entry in &self.log {
            let entry: serde_json::Value = serde_json::from_slice(entry).unwrap();
            assert!(ids.insert(entry["id"].as_str().unwrap().to_owned()), "twice: {entry}");
        }
    }

    /// I3: of one journey the rail paid one payout at the most.
    fn one_payment(&self) {
        for journey in self.journeys() {
            let on_the_rail = journey.payouts.iter().filter(|p| self.rail.contains_key(&p.id));
            assert!(on_the_rail.count() <= 1, "{} was paid twice", journey.submission.id);
            let paid = journey.payouts.iter().filter(|p| p.state == PayoutState::Paid);
            assert!(paid.count() <= 1);
        }
    }

    /// How many entries of a kind the log has.
    pub(super) fn entries(&self, kind: &str) -> usize {
        let kind = format!("\"kind\":\"{kind}\"");
        self.log.iter().filter(|entry| String::from_utf8_lossy(entry).contains(&kind)).count()
    }

    pub(super) fn micro(&self, account: Account) -> i128 {
        self.ledger().balance(won(), account)
    }
}

const VALUED: [Account; 5] =
    [Account::Carry, Account::Payable, Account::InFlight, Account::Paid, Account::Suspense];

const OF_JOURNEYS: [Account; 5] =
    [Account::Reserved, Account::Payable, Account::InFlight, Account::Paid, Account::Suspense];
