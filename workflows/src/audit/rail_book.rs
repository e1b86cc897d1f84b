//! The rail's book against the payouts of the journeys.

use super::findings::Findings;
use crate::id::{ContributionId, IdKey, ShardId, unhex};
use crate::invariant::Invariant;
use crate::journey::{Journey, PayoutState};
use crate::limits;
use crate::money::Currency;
use std::collections::HashMap;

/// One line of a rail's book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RailLine<'a> {
    /// The payout's key: its id.
    pub key: &'a str,
    /// Where the money went.
    pub account: &'a str,
    /// ISO 4217.
    pub currency: &'a str,
    /// Whole minor units.
    pub minor: u64,
    /// Money moved; other states move none.
    pub paid: bool,
}

#[derive(Debug, Clone, Copy)]
struct Paid {
    account: Option<[u8; 16]>,
    currency: Option<Currency>,
    minor: u64,
    times: u32,
    explained: bool,
}

/// What a rail paid, by payout.
#[derive(Debug, Default)]
pub struct RailBook {
    lines: u64,
    paid: HashMap<[u8; 18], Paid>,
    foreign: Vec<String>,
}

impl RailBook {
    /// Takes the next line in.
    pub fn line(&mut self, line: &RailLine<'_>) {
        self.lines += 1;
        if !line.paid {
            return;
        }
        let Some(key) = payout_key(line.key) else {
            if self.foreign.len() < limits::AUDIT_VIOLATIONS_MAX {
                self.foreign.push(line.key.to_owned());
            }
            return;
        };
        let paid = Paid {
            account: account(line.account),
            currency: Currency::try_from(line.currency.to_owned()).ok(),
            minor: line.minor,
            times: 0,
            explained: false,
        };
        self.paid.entry(key).or_insert(paid).times += 1;
    }

    pub(super) fn report_doubles(&self, findings: &mut Findings) {
        findings.checked(Invariant::OnePayment, self.lines);
        for (key, paid) in self.paid.iter().filter(|(_, paid)| paid.times > 1) {
            let sentence = format!("the rail paid it {} times", paid.times);
            findings.add(Invariant::OnePayment, payout_id(key), sentence);
        }
    }

    pub(super) fn journey(&mut self, shard: ShardId, journey: &Journey, findings: &mut Findings) {
        let currency = journey.price.as_ref().map(|(currency, _)| *currency);
        let mut movements = 0;
        for payout in &journey.payouts {
            findings.checked(Invariant::OnePayment, 1);
            let paid = payout_key(&payout.id).and_then(|key| self.paid.get_mut(&key));
            let sentence = match (payout.state, paid) {
                (PayoutState::Paid, None) => "is paid, and the rail knows nothing of it".to_owned(),
                (_, None) => continue,
                (state, Some(paid)) => {
                    paid.explained = true;
                    movements += 1;
                    let equal = paid.minor == payout.minor
                        && paid.currency == currency
                        && paid.account == account(&payout.account);
                    match state {
                        PayoutState::Paid | PayoutState::InFlight if equal => continue,
                        PayoutState::Suspense => continue,
                        PayoutState::Paid | PayoutState::InFlight => {
                            format!("the rail paid {} minor, not {}", paid.minor, payout.minor)
                        }
                        PayoutState::Fixed => "the rail paid it before it was sent".to_owned(),
                        PayoutState::Failed => "the rail paid it, and it is failed here".to_owned(),
                    }
                }
            };
            findings.damaged(Invariant::MoneyAddsUp, shard, payout.id.clone(), sentence);
        }
        if movements > 1 {
            let id = journey.submission.id.to_string();
            let sentence = format!("the rail moved money {movements} times for one acceptance");
            findings.damaged(Invariant::OnePayment, shard, id, sentence);
        }
    }

    /// A lost journey's payouts are no strangers.
    pub(super) fn explain(&mut self, key: &IdKey, id: ContributionId) {
        for number in 1..=limits::PAYOUTS_MAX {
            let number = u16::try_from(number).unwrap_or(u16::MAX);
            let payout = payout_key(&key.payout(id, "acceptance", number));
            if let Some(paid) = payout.and_then(|payout| self.paid.get_mut(&payout)) {
                paid.explained = true;
            }
        }
    }

    pub(super) fn finish(&self, findings: &mut Findings) {
        let strangers = self.paid.iter().filter(|(_, paid)| !paid.explained);
        let strangers = strangers.map(|(key, _)| payout_id(key));
        for id in strangers.chain(self.foreign.iter().cloned()) {
            let sentence = "the rail paid it, and no journey has such a payout".to_owned();
            findings.add(Invariant::MoneyAddsUp, id, sentence);
        }
    }
}

fn payout_key(id: &str) -> Option<[u8; 18]> {
    unhex(id.strip_prefix('p')?)
}

fn payout_id(key: &[u8; 18]) -> String {
    format!("p{}", crate::id::hex(key))
}

fn account(id: &str) -> Option<[u8; 16]> {
    unhex(id.strip_prefix('a')?)
}
