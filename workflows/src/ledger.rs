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
