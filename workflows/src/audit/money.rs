//! Sums: ledgers against postings, homes and allotments against ledgers, ledgers against the log.

use super::entries::Entries;
use super::findings::Findings;
use super::postings;
use crate::commit::ShardState;
use crate::contributor::Contributor;
use crate::id::{ContributorKey, IdKey, ShardId, hex};
use crate::invariant::Invariant;
use crate::journey::{Journey, PayoutState};
use crate::ledger::{Account, Posting};
use crate::money::Currency;
use crate::tombstone::Tombstone;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Accounts that only journeys move money through.
const OF_JOURNEYS: [Account; 6] = [
    Account::Reserved,
    Account::Carry,
    Account::Payable,
    Account::InFlight,
    Account::Paid,
    Account::Suspense,
];

type Balances = BTreeMap<(ShardId, Currency, Account), i128>;

#[derive(Debug, Default)]
pub(super) struct Money {
    ledger: Balances,
    /// Currencies of any ledger.
    currencies: BTreeSet<Currency>,
    /// The same accounts, from journeys, homes and allotments.
    found: Balances,
    shards: BTreeSet<ShardId>,
    /// Shards with programs whose currency no card says yet.
    unknown: BTreeSet<ShardId>,
    carries: HashMap<(ContributorKey, Currency), (ShardId, i128)>,
    carries_off: Vec<(ShardId, ContributorKey, String)>,
}

impl Money {
    pub(super) fn state(
        &mut self,
        shard: ShardId,
        state: &ShardState,
        currencies: &BTreeMap<String, Currency>,
    ) {
        self.shards.insert(shard);
        for (currency, account, micro) in state.ledger.balances() {
            self.ledger.insert((shard, currency, account), micro);
            self.currencies.insert(currency);
        }
        for (program, home) in &state.homes {
            let Some(currency) = currencies.get(program) else {
                self.unknown.insert(shard);
                continue;
            };
            self.count(shard, *currency, Account::Home, i128::from(home.balance));
            self.count(shard, *currency, Account::Deposits, -i128::from(home.deposited));
        }
        for (program, allotment) in &state.allotments {
            match currencies.get(program) {
                Some(currency) => {
                    let balance = i128::from(allotment.balance);
                    self.count(shard, *currency, Account::Allotment, balance);
                }
                None if allotment.balance == 0 => {}
                None => {
                    self.unknown.insert(shard);
                }
            }
        }
    }

    fn count(&mut self, shard: ShardId, currency: Currency, account: Account, micro: i128) {
        *self.found.entry((shard, currency, account)).or_default() += micro;
    }

    /// Adds a journey's postings up; true if they are the ones its state tells.
    pub(super) fn journey(
        &mut self,
        shard: ShardId,
        key: &IdKey,
        journey: &Journey,
        findings: &mut Findings,
    ) -> bool {
        findings.checked(Invariant::MoneyAddsUp, 1);
        let contributor = &journey.submission.contributor;
        if let Some((currency, _)) = &journey.price {
            let mut carried = 0;
            for account in OF_JOURNEYS {
                let left = left_in(account, &journey.postings);
                if left != 0 {
                    self.count(shard, *currency, account, left);
                }
                carried += if account == Account::Carry { left } else { 0 };
            }
            if carried != 0 {
                let whose = (key.contributor(contributor), *currency);
                self.carries.entry(whose).or_insert((shard, 0)).1 += carried;
            }
        }
        let id = journey.submission.id;
        let derived = journey.payouts.iter().all(|payout| {
            payout.id == key.payout(id, "acceptance", payout.number)
                && payout.account == key.account(contributor)
        });
        let verdict = if derived {
            postings::judge(journey)
        } else {
            Err("a payout's id or account is not derived from the contribution".to_owned())
        };
        let Err(sentence) = verdict else { return true };
        findings.damaged(Invariant::MoneyAddsUp, shard, id.to_string(), sentence);
        false
    }

    /// Adds up what a tombstone keeps; true if that is what an acceptance and its payout leave.
    pub(super) fn tombstone(
        &mut self,
        shard: ShardId,
        tombstone: &Tombstone,
        findings: &mut Findings,
    ) -> bool {
        findings.checked(Invariant::MoneyAddsUp, 1);
        let Some(kept) = &tombstone.accepted else { return true };
        for (account, micro) in &kept.balances {
            let micro = i128::from(*micro);
            if OF_JOURNEYS.contains(account) {
                self.count(shard, kept.currency, *account, micro);
            }
            if *account == Account::Carry {
                let whose = (tombstone.contributor, kept.currency);
                self.carries.entry(whose).or_insert((shard, 0)).1 += micro;
            }
        }
        let of = |account| kept.balances.iter().filter(move |(of, _)| *of == account);
        let sum = |account| of(account).map(|(_, micro)| i128::from(*micro)).sum::<i128>();
        let paid = kept.payout.filter(|payout| payout.state == PayoutState::Paid);
        let paid = paid.map_or(0, |payout| payout.minor);
        let paid = i128::from(paid) * i128::from(kept.currency.minor_micro());
        let micro = i128::from(kept.micro);
        let all = sum(Account::Carry) + sum(Account::Payable) + sum(Account::Paid);
        if (sum(Account::Allotment), all, sum(Account::Paid)) == (-micro, micro, paid) {
            return true;
        }
        let sentence = "its tombstone does not keep what it was valued at and paid".to_owned();
        findings.damaged(Invariant::MoneyAddsUp, shard, tombstone.id.to_string(), sentence);
        false
    }

    /// A contributor's carry must be what the journeys left.
    pub(super) fn contributor(&mut self, shard: ShardId, key: ContributorKey, row: &Contributor) {
        for currency in self.currencies.iter().copied() {
            let said = i128::from(row.carry(currency));
            let left = self.carries.get(&(key, currency)).map_or(0, |(_, left)| *left);
            if said != left {
                let sentence = format!("carries {said} {currency}, where the journeys left {left}");
                self.carries_off.push((shard, key, sentence));
            }
        }
    }

    /// Journeys and contributors of every shard so far were all seen: what is kept of each goes.
    pub(super) fn settle(&mut self) {
        for ((key, currency), (shard, left)) in self.carries.drain() {
            if !(0..i128::from(currency.minor_micro())).contains(&left) {
                let sentence = format!("the journeys leave a carry of {left} {currency}");
                self.carries_off.push((shard, key, sentence));
            }
        }
    }

    pub(super) fn finish(&mut self, entries: &Entries, findings: &mut Findings) {
        self.settle();
        for (shard, key, sentence) in std::mem::take(&mut self.carries_off) {
            if !findings.is_damaged(shard) {
                let id = format!("contributor {}", hex(&key.0));
                findings.add(Invariant::MoneyAddsUp, id, sentence);
            }
        }
        self.shards(findings);
        if !findings.explains_sums() {
            self.all(entries, findings);
        }
    }

    fn shards(&self, findings: &mut Findings) {
        let keys: BTreeSet<_> = self.ledger.keys().chain(self.found.keys()).collect();
        for key in keys {
            let (shard, currency, account) = *key;
            let off_home =
                matches!(account, Account::Home | Account::Deposits | Account::Allotment)
                    && self.unknown.contains(&shard);
            if account == Account::Transit || off_home || findings.is_damaged(shard) {
                continue;
            }
            let ledger = self.ledger.get(key).copied().unwrap_or(0);
            let found = self.found.get(key).copied().unwrap_or(0);
            if ledger != found {
                let id = format!("shard {shard} {currency} {}", word(account));
                let sentence = format!("the ledger says {ledger}, and the rows make {found}");
                findings.add(Invariant::MoneyAddsUp, id, sentence);
            }
        }
    }

    fn all(&self, entries: &Entries, findings: &mut Findings) {
        use Account::{Allotment, Carry, Deposits, Home, InFlight, Paid, Payable};
        use Account::{Reserved, Suspense, Transit};
        let mut sums: BTreeMap<(Currency, Account), i128> = BTreeMap::new();
        for ((_, currency, account), micro) in &self.ledger {
            *sums.entry((*currency, *account)).or_default() += micro;
        }
        let logged = entries.sums();
        let mut currencies: BTreeSet<Currency> =
            sums.keys().map(|(currency, _)| *currency).collect();
        currencies.extend(logged.keys());
        for currency in currencies {
            let of = |account| sums.get(&(currency, account)).copied().unwrap_or(0);
            let all = |accounts: &[Account]| accounts.iter().map(|account| of(*account)).sum();
            let valued: i128 = all(&[Carry, Payable, InFlight, Paid, Suspense]);
            let spent: i128 = all(&[Home, Transit, Allotment, Reserved]);
            let (micro, minor) = logged.get(&currency).copied().unwrap_or_default();
            let paid = i128::from(currency.minor_micro())
                .saturating_mul(i128::try_from(minor).unwrap_or(i128::MAX));
            let equal = [
                ("deposits", -of(Deposits), spent + valued),
                ("valued", i128::try_from(micro).unwrap_or(i128::MAX), valued),
                ("paid", paid, of(Paid)),
                ("transit", of(Transit).max(0), of(Transit)),
            ];
            for (name, one, other) in equal {
                if one != other {
                    let sentence = format!("{one} on one side, {other} on the other");
                    findings.add(Invariant::MoneyAddsUp, format!("{currency} {name}"), sentence);
                }
            }
        }
    }
}

/// What postings leave in an account.
fn left_in(account: Account, postings: &[Posting]) -> i128 {
    let of = |posting: &Posting| {
        let micro = i128::from(posting.micro);
        let came = if posting.to == account { micro } else { 0 };
        let went = if posting.from == account { micro } else { 0 };
        came - went
    };
    postings.iter().map(of).sum()
}

const fn word(account: Account) -> &'static str {
    match account {
        Account::Deposits => "deposits",
        Account::Home => "home",
        Account::Transit => "transit",
        Account::Allotment => "allotment",
        Account::Reserved => "reserved",
        Account::Carry => "carry",
        Account::Payable => "payable",
        Account::InFlight => "in_flight",
        Account::Paid => "paid",
        Account::Suspense => "suspense",
    }
}
