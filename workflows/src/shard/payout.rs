//! Payouts: fixed, handed to a rail, paid, or failed.

use super::decide::{Denied, Trial};
use super::{Moving, Shard};
use crate::entry;
use crate::journey::{EventKind, Journey, Payout, PayoutState};
use crate::ledger::Account;
use crate::limits;
use crate::money::{Currency, WholeUnits, whole_units};
use crate::request::{Cause, PayoutVerdict};
use crate::time::Timestamp;
use std::sync::Arc;

impl Shard {
    /// Fixes the payout: whole minor units, the rest is carried. Once fixed it stays.
    pub(super) fn grant_pay(&self, moving: &mut Moving, trial: &mut Trial) -> Result<(), Denied> {
        let journey = Arc::make_mut(&mut moving.journey);
        let (Some(_), Some((currency, price))) = (&journey.accepted, &journey.price) else {
            return Err(Denied::Impossible("paid without acceptance"));
        };
        let (currency, micro) = (*currency, price.micro);
        if journey.postings.iter().any(|posting| posting.to == Account::Carry) {
            return Ok(());
        }
        let old_carry = trial.contributor.carry(currency);
        let whole = self.units(journey, currency, old_carry)?;
        trial.postings.push(journey.post(Account::Payable, Account::Carry, micro));
        let paid = whole.minor * currency.minor_micro();
        if old_carry != whole.carry {
            Arc::make_mut(&mut trial.contributor).set_carry(currency, whole.carry);
            trial.contributor_changed = true;
        }
        if whole.minor > 0 {
            trial.postings.push(journey.post(Account::Carry, Account::Payable, paid));
            let id = self.world.key.payout(journey.submission.id, "acceptance", 1);
            journey.payouts.push(Payout {
                id,
                number: 1,
                account: self.world.key.account(&journey.submission.contributor),
                minor: whole.minor,
                carry: whole.carry,
                state: PayoutState::Fixed,
                sent: None,
                entry: None,
            });
        }
        Ok(())
    }

    /// What the payout comes to. It depends on the order of the contributor's contributions, and after
    /// a failover that forgot, they may be accepted again in another one. So what the log has of the
    /// payout is decided once it fits: what came before it is accepted again. And as long as the log
    /// has a payout that nobody has claimed, others with a rest wait once, since it may be theirs.
    fn units(
        &self,
        journey: &Journey,
        currency: Currency,
        carry: u64,
    ) -> Result<WholeUnits, Denied> {
        let micro = journey.price.as_ref().map_or(0, |(_, price)| price.micro);
        let whole = whole_units(currency, carry, micro);
        if !self.owes_payouts() {
            return Ok(whole);
        }
        let id = |number| self.world.key.payout(journey.submission.id, "acceptance", number);
        let numbers = 1..=limits::PAYOUTS_MAX as u16;
        match numbers.map(id).find_map(|id| self.logged_payout(&id)) {
            Some(minor) if minor != whole.minor => {
                let detail = "the log has its payout at another amount";
                Err(Denied::Early(detail, limits::PAYOUT_WAITS_MS / 2))
            }
            None if journey.attempts == 0 && !micro.is_multiple_of(currency.minor_micro()) => {
                let detail = "the log has payouts that nobody has claimed";
                Err(Denied::Early(detail, limits::PAYOUT_WAITS_MS))
            }
            Some(_) | None => Ok(whole),
        }
    }

    pub(super) fn grant_paid(
        &self,
        moving: &mut Moving,
        trial: &mut Trial,
        rail: &str,
        now: Timestamp,
    ) -> Result<(), Denied> {
        let journey = Arc::make_mut(&mut moving.journey);
        let of = journey.accepted.as_ref().and_then(|accepted| accepted.entry.index);
        let currency = journey.price.as_ref().map(|(currency, _)| *currency);
        let payout = journey.payouts.last_mut();
        let (Some(of), Some(currency), Some(payout)) = (of, currency, payout) else {
            return Err(Denied::Impossible("a payout was logged that was never fixed"));
        };
        let Some(from) = at_the_rail(payout.state) else {
            return Err(Denied::Impossible("a payout was logged that is not in flight"));
        };
        payout.state = PayoutState::Paid;
        let micro = payout.minor * currency.minor_micro();
        let entry = entry::Payout {
            id: &payout.id,
            cause: "acceptance",
            of,
            minor: payout.minor,
            currency: currency.as_str(),
            rail,
            account: &payout.account,
            carry: payout.carry,
        };
        trial.entry = Some(entry::payout(&self.world.key, &moving.data_key, &entry));
        trial.postings.push(journey.post(from, Account::Paid, micro));
        journey.note(now, EventKind::Paid);
        Ok(())
    }

    /// After a confirmed failure a new try is a new payout.
    pub(super) fn fresh_payout(&self, journey: &mut Journey) {
        let id = journey.submission.id;
        let Some(last) = journey.payouts.last() else {
            return;
        };
        if last.state != PayoutState::Failed || journey.payouts.len() >= limits::PAYOUTS_MAX {
            return;
        }
        let number = last.number + 1;
        let payout = Payout {
            id: self.world.key.payout(id, "acceptance", number),
            number,
            state: PayoutState::Fixed,
            sent: None,
            entry: None,
            ..last.clone()
        };
        journey.payouts.push(payout);
    }

    /// The fixed payout is about to be handed to a rail.
    pub(super) fn release_payout(&mut self, moving: &mut Moving, now: Timestamp) {
        let journey = Arc::make_mut(&mut moving.journey);
        let Some((currency, _)) = journey.price else { return };
        let Some(payout) = journey.payouts.last_mut() else { return };
        if payout.state != PayoutState::Fixed {
            return;
        }
        payout.state = PayoutState::InFlight;
        payout.sent = Some(now);
        let micro = payout.minor * currency.minor_micro();
        let posting = journey.post(Account::Payable, Account::InFlight, micro);
        self.state.ledger.post(currency, posting);
        journey.note(now, EventKind::Released);
    }

    /// The log took long over a payout that was released and never handed over: the time for which
    /// the rail knows its key counts from now. True if that has to be committed first.
    pub(super) fn release_again(moving: &mut Moving, now: Timestamp) -> bool {
        let sent = moving.journey.payouts.last().and_then(|payout| payout.sent);
        if sent.is_none_or(|sent| sent.plus_ms(limits::RELEASED_STALE_MS) > now) {
            return false;
        }
        if let Some(payout) = Arc::make_mut(&mut moving.journey).payouts.last_mut() {
            payout.sent = Some(now);
        }
        true
    }

    /// The rail's final word was not "paid".
    pub(super) fn payout_failed(
        &mut self,
        mut moving: Moving,
        verdict: &PayoutVerdict,
        now: Timestamp,
    ) {
        let journey = Arc::make_mut(&mut moving.journey);
        let Some((currency, _)) = journey.price else {
            return self.stray(moving, now);
        };
        let Some(payout) = journey.payouts.last_mut() else {
            return self.stray(moving, now);
        };
        let Some(from) = at_the_rail(payout.state) else {
            return self.stray(moving, now);
        };
        let micro = payout.minor * currency.minor_micro();
        let (to, state, cause, detail) = match verdict {
            PayoutVerdict::Failed { code } => {
                let detail = format!("the rail confirmed that the payout failed: {code}");
                (Account::Payable, PayoutState::Failed, Cause::Permanent, detail)
            }
            PayoutVerdict::Differs { minor } => {
                let detail = format!("the rail says {minor}, not {}", payout.minor);
                (Account::Suspense, PayoutState::Suspense, Cause::Permanent, detail)
            }
            PayoutVerdict::WindowExpired => {
                let detail = "no answer within the time the rail knows the key".to_owned();
                (from, payout.state, Cause::RailWindowExpired, detail)
            }
        };
        payout.state = state;
        if to != from {
            let posting = journey.post(from, to, micro);
            self.state.ledger.post(currency, posting);
            journey.note(now, EventKind::PayoutFailed);
        }
        self.pause(moving, cause, detail, now);
    }

    fn stray(&mut self, moving: Moving, now: Timestamp) {
        let detail = "the rail spoke of a payout that is not in flight".to_owned();
        self.pause(moving, Cause::Permanent, detail, now);
    }
}

/// Where the money of a payout stands that the rail may still speak of.
fn at_the_rail(state: PayoutState) -> Option<Account> {
    match state {
        PayoutState::InFlight => Some(Account::InFlight),
        PayoutState::Suspense => Some(Account::Suspense),
        PayoutState::Fixed | PayoutState::Paid | PayoutState::Failed => None,
    }
}
