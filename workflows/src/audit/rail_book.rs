//! The rail's book against the payouts of the journeys.

use super::compact::{Bits, Numbered, Segments};
use super::findings::Findings;
use crate::id::{ContributionId, IdKey, ShardId, unhex};
use crate::invariant::Invariant;
use crate::journey::{Journey, PayoutState};
use crate::limits;
use crate::money::Currency;
use crate::tombstone::Tombstone;
use sha2::{Digest, Sha256};
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

/// What a line says that many lines say.
type Amount = (Option<Currency>, u64);

/// What stands in the book under one payout's key.
#[derive(Debug, Clone, Copy)]
struct Paid {
    /// Of the account.
    fingerprint: [u8; 8],
    amount: [u8; 4],
    /// Up to 255.
    times: u8,
}

/// What a rail paid, by payout: some 40 bytes each, since a nation has tens of millions.
#[derive(Debug, Default)]
pub struct RailBook {
    lines: u64,
    keys: Numbered<18>,
    paid: Segments<Paid>,
    amounts: Vec<Amount>,
    known: HashMap<Amount, u32>,
    explained: Bits,
    foreign: Vec<String>,
}

impl RailBook {
    /// With room for so many payouts.
    #[must_use]
    pub fn with_room(payouts: u64) -> Self {
        Self { keys: Numbered::with_room(payouts), ..Self::default() }
    }

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
        match self.keys.insert(key) {
            Err(number) => {
                if let Some(paid) = self.paid.get_mut(number) {
                    paid.times = paid.times.saturating_add(1);
                }
            }
            Ok(_) => {
                let amount = self.amount(line);
                let fingerprint = fingerprint(line.account);
                self.paid.push(Paid { fingerprint, amount: amount.to_le_bytes(), times: 1 });
            }
        }
    }

    fn amount(&mut self, line: &RailLine<'_>) -> u32 {
        let amount = (Currency::try_from(line.currency.to_owned()).ok(), line.minor);
        let next = u32::try_from(self.amounts.len()).expect("fewer amounts than lines");
        *self.known.entry(amount).or_insert_with(|| {
            self.amounts.push(amount);
            next
        })
    }

    /// The number of a payout, what stands under it, and the amount.
    fn find(&self, id: &str) -> Option<(u64, Paid, Amount)> {
        let number = self.keys.find(&payout_key(id)?)?;
        let paid = *self.paid.get(number)?;
        let amount = *self.amounts.get(u32::from_le_bytes(paid.amount) as usize)?;
        Some((number, paid, amount))
    }

    pub(super) fn report_doubles(&self, findings: &mut Findings) {
        findings.checked(Invariant::OnePayment, self.lines);
        let doubles = (0..).zip(self.paid.iter()).filter(|(_, paid)| paid.times > 1);
        for (number, paid) in doubles {
            let Some(key) = self.keys.get(number) else { continue };
            let sentence = format!("the rail paid it {} times", paid.times);
            findings.add(Invariant::OnePayment, payout_id(key), sentence);
        }
    }

    pub(super) fn journey(&mut self, shard: ShardId, journey: &Journey, findings: &mut Findings) {
        let currency = journey.price.as_ref().map(|(currency, _)| *currency);
        let mut movements = 0;
        for payout in &journey.payouts {
            findings.checked(Invariant::OnePayment, 1);
            let paid = self.find(&payout.id);
            let sentence = match (payout.state, paid) {
                (PayoutState::Paid, None) => "is paid, and the rail knows nothing of it".to_owned(),
                (_, None) => continue,
                (state, Some((number, paid, (paid_in, minor)))) => {
                    self.explained.set(number);
                    movements += 1;
                    let equal = minor == payout.minor
                        && paid_in == currency
                        && paid.fingerprint == fingerprint(&payout.account);
                    match state {
                        PayoutState::Paid | PayoutState::InFlight if equal => continue,
                        PayoutState::Suspense => continue,
                        PayoutState::Paid | PayoutState::InFlight => {
                            format!("the rail paid {minor} minor, not {}", payout.minor)
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

    /// The account is derived from a name that is gone: only the amount is held against the book.
    pub(super) fn tombstone(
        &mut self,
        shard: ShardId,
        key: &IdKey,
        tombstone: &Tombstone,
        findings: &mut Findings,
    ) {
        let Some(kept) = &tombstone.accepted else { return };
        let Some(last) = &kept.payout else { return };
        let mut movements = 0;
        for number in 1..=last.number {
            findings.checked(Invariant::OnePayment, 1);
            let id = key.payout(tombstone.id, "acceptance", number);
            let due = number == last.number && last.state == PayoutState::Paid;
            let sentence = match self.find(&id) {
                None if due => "is paid, and the rail knows nothing of it".to_owned(),
                None => continue,
                Some((place, _, (currency, minor))) => {
                    self.explained.set(place);
                    movements += 1;
                    match (due, minor == last.minor && currency == Some(kept.currency)) {
                        (true, true) => continue,
                        (true, false) => format!("the rail paid {minor} minor, not {}", last.minor),
                        (false, _) => "the rail paid it, and it is not paid here".to_owned(),
                    }
                }
            };
            findings.damaged(Invariant::MoneyAddsUp, shard, id, sentence);
        }
        if movements > 1 {
            let sentence = format!("the rail moved money {movements} times for one acceptance");
            let id = tombstone.id.to_string();
            findings.damaged(Invariant::OnePayment, shard, id, sentence);
        }
    }

    /// A lost journey's payouts are no strangers.
    pub(super) fn explain(&mut self, key: &IdKey, id: ContributionId) {
        for number in 1..=limits::PAYOUTS_MAX {
            let number = u16::try_from(number).unwrap_or(u16::MAX);
            if let Some((number, ..)) = self.find(&key.payout(id, "acceptance", number)) {
                self.explained.set(number);
            }
        }
    }

    pub(super) fn finish(&self, findings: &mut Findings) {
        let strangers = (0..self.keys.len()).filter(|number| !self.explained.has(*number));
        let strangers = strangers.filter_map(|number| self.keys.get(number)).map(payout_id);
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

/// Of an account, however it is written.
fn fingerprint(account: &str) -> [u8; 8] {
    let digest = Sha256::digest(account);
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    first
}
