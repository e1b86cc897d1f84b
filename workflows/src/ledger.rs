//! Double entry in integer micro-units. Every change of money is a posting from one account to
//! another; postings ride in the commit that decides them (I4).

use crate::money::Currency;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An account of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    /// The outside that deposits came from; its balance is what was deposited, negative.
    Deposits,
    /// A program's budget on its home shard.
    Home,
    /// On its way between shards: negative where it arrived, positive where it left.
    Transit,
    /// What a shard may spend.
    Allotment,
    /// Priced, not yet accepted.
    Reserved,
    /// Owed, less than one minor unit.
    Carry,
    /// Owed, not yet handed to a rail.
    Payable,
    /// Handed to a rail, or about to be.
    InFlight,
    /// Paid.
    Paid,
    /// A rail said something that does not fit; a person must look.
    Suspense,
}

impl Account {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Deposits,
        Self::Home,
        Self::Transit,
        Self::Allotment,
        Self::Reserved,
        Self::Carry,
        Self::Payable,
        Self::InFlight,
        Self::Paid,
        Self::Suspense,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deposits => "deposits",
            Self::Home => "home",
            Self::Transit => "transit",
            Self::Allotment => "allotment",
            Self::Reserved => "reserved",
            Self::Carry => "carry",
            Self::Payable => "payable",
            Self::InFlight => "in_flight",
            Self::Paid => "paid",
            Self::Suspense => "suspense",
        }
    }
}

/// One movement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting {
    /// Where it is taken.
    pub from: Account,
    /// Where it is put.
    pub to: Account,
    /// How much.
    pub micro: u64,
}

/// All balances of one shard. The sum over all accounts of a currency is always zero.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ledger {
    balances: BTreeMap<(Currency, Account), i128>,
}

impl Ledger {
    /// Applies one posting.
    pub fn post(&mut self, currency: Currency, posting: Posting) {
        let micro = i128::from(posting.micro);
        *self.balances.entry((currency, posting.from)).or_default() -= micro;
        *self.balances.entry((currency, posting.to)).or_default() += micro;
    }

    /// The balance of an account, in micro-units.
    pub fn balance(&self, currency: Currency, account: Account) -> i128 {
        self.balances.get(&(currency, account)).copied().unwrap_or(0)
    }

    /// Every balance that was ever touched.
    pub fn balances(&self) -> impl Iterator<Item = (Currency, Account, i128)> + '_ {
        self.balances.iter().map(|((currency, account), micro)| (*currency, *account, *micro))
    }

    /// Adds another shard's balances to these.
    pub fn add(&mut self, other: &Ledger) {
        for (currency, account, micro) in other.balances() {
            *self.balances.entry((currency, account)).or_default() += micro;
        }
    }

    /// Every currency in use.
    pub fn currencies(&self) -> Vec<Currency> {
        let mut all: Vec<Currency> = self.balances.keys().map(|(currency, _)| *currency).collect();
        all.dedup();
        all
    }
}

impl Ledger {
    /// The first currency whose balances do not add up to zero.
    pub fn unbalanced(&self) -> Option<Currency> {
        let mut sums: BTreeMap<Currency, i128> = BTreeMap::new();
        for (currency, _, micro) in self.balances() {
            *sums.entry(currency).or_default() += micro;
        }
        sums.into_iter().find(|(_, sum)| *sum != 0).map(|(currency, _)| currency)
    }

    /// The first account that owes what it cannot owe: all but deposits and transit are never
    /// below zero, and deposits never above.
    pub fn overdrawn(&self) -> Option<(Currency, Account)> {
        let is_off = |account, micro: i128| match account {
            Account::Transit => false,
            Account::Deposits => micro > 0,
            _ => micro < 0,
        };
        let mut balances = self.balances();
        let found = balances.find(|(_, account, micro)| is_off(*account, *micro));
        found.map(|(currency, account, _)| (currency, account))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_posting_keeps_the_balance_and_anything_else_breaks_it() {
        let won = Currency::try_from("KRW".to_owned()).unwrap();
        let mut ledger = Ledger::default();
        let post = Posting { from: Account::Deposits, to: Account::Home, micro: 5 };
        ledger.post(won, post);
        assert_eq!((ledger.unbalanced(), ledger.overdrawn()), (None, None));
        *ledger.balances.get_mut(&(won, Account::Home)).unwrap() += 1;
        assert_eq!(ledger.unbalanced(), Some(won));
    }

    #[test]
    fn an_account_below_zero_is_told_and_deposits_above() {
        let won = Currency::try_from("KRW".to_owned()).unwrap();
        let after = |from, to| {
            let mut ledger = Ledger::default();
            ledger.post(won, Posting { from, to, micro: 5 });
            ledger.overdrawn().map(|(_, account)| account)
        };
        assert_eq!(after(Account::Transit, Account::Allotment), None);
        assert_eq!(after(Account::Allotment, Account::Reserved), Some(Account::Allotment));
        assert_eq!(after(Account::Transit, Account::Deposits), Some(Account::Deposits));
        assert_eq!(after(Account::Deposits, Account::Deposits), None, "nothing is owed");
    }

    #[test]
    fn accounts_are_shown_by_the_word_they_are_written_with() {
        for account in Account::ALL {
            assert_eq!(serde_json::to_value(account).unwrap(), account.as_str());
        }
    }
}
