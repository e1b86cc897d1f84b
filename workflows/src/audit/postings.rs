//! One journey's money: its postings must be the ones its state tells, no more and no fewer.

use crate::journey::{Journey, Payout, PayoutState};
use crate::ledger::{Account, Posting};
use crate::money::Currency;

/// The postings of a journey, taken one after the other.
struct Walk<'a> {
    rest: &'a [Posting],
}

impl Walk<'_> {
    /// The next posting has to be this one; nothing is posted for zero.
    fn expect(&mut self, from: Account, to: Account, micro: u64) -> Result<(), String> {
        if micro == 0 {
            return Ok(());
        }
        match self.rest.split_first() {
            Some((next, rest)) if *next == (Posting { from, to, micro }) => {
                self.rest = rest;
                Ok(())
            }
            Some((next, _)) => {
                let Posting { from: a, to: b, micro: n } = next;
                Err(format!("posts {n} from {a:?} to {b:?}, not {micro} from {from:?} to {to:?}"))
            }
            None => Err(format!("does not post {micro} from {from:?} to {to:?}")),
        }
    }

    fn is_next(&self, from: Account, to: Account) -> bool {
        self.rest.first().is_some_and(|next| next.from == from && next.to == to)
    }

    fn end(&self) -> Result<(), String> {
        match self.rest.first() {
            Some(Posting { from, to, micro }) => {
                Err(format!("posts {micro} from {from:?} to {to:?} for no reason"))
            }
            None => Ok(()),
        }
    }
}

/// Says what is wrong with a journey's money.
pub(super) fn judge(journey: &Journey) -> Result<(), String> {
    use Account::{Allotment, Carry, Payable, Reserved};
    let mut walk = Walk { rest: &journey.postings };
    let Some((currency, price)) = &journey.price else {
        if journey.accepted.is_some() || !journey.payouts.is_empty() {
            return Err("is accepted or paid without a price".to_owned());
        }
        if let Some(first) = walk.rest.first().copied() {
            walk.expect(Allotment, Reserved, first.micro)?;
            walk.expect(Reserved, Allotment, first.micro)?;
        }
        return walk.end();
    };
    let micro = price.micro;
    walk.expect(Allotment, Reserved, micro)?;
    if journey.accepted.is_none() {
        if journey.state.is_terminal() || !journey.payouts.is_empty() {
            return Err("ended or was paid with money still reserved".to_owned());
        }
        return walk.end();
    }
    walk.expect(Reserved, Payable, micro)?;
    if walk.is_next(Payable, Carry) || !journey.payouts.is_empty() {
        walk.expect(Payable, Carry, micro)?;
    }
    let Some(first) = journey.payouts.first() else { return walk.end() };
    let paid = fixed(journey, first, *currency, micro)?;
    walk.expect(Carry, Payable, paid)?;
    for payout in &journey.payouts {
        tried(&mut walk, payout.state, paid)?;
    }
    walk.end()
}

/// What the payout takes from the contributor, in micro-units, if its own arithmetic holds.
fn fixed(journey: &Journey, first: &Payout, currency: Currency, micro: u64) -> Result<u64, String> {
    let unit = u128::from(currency.minor_micro());
    let total = u128::from(first.minor) * unit + u128::from(first.carry);
    let old = total.checked_sub(u128::from(micro));
    let whole = first.minor > 0 && u128::from(first.carry) < unit;
    if !whole || old.is_none_or(|old| old >= unit) {
        return Err(format!(
            "{} minor and {} carried cannot come of {micro} micro",
            first.minor, first.carry
        ));
    }
    for (n, payout) in (1u16..).zip(&journey.payouts) {
        let same = (payout.minor, payout.carry, &payout.account)
            == (first.minor, first.carry, &first.account);
        let last = usize::from(n) == journey.payouts.len();
        if !same || payout.number != n || !(last || payout.state == PayoutState::Failed) {
            return Err(format!("try {n} is not the same payout again after a failure"));
        }
        let settled = journey.state == crate::journey::State::Settled;
        // A workflow without a payout stage settles with a payout that no rail ever saw.
        if settled && last && !matches!(payout.state, PayoutState::Paid | PayoutState::Fixed) {
            return Err("is settled, and its payout is still under way".to_owned());
        }
    }
    u64::try_from(u128::from(first.minor) * unit).map_err(|_| "pays more than there is".to_owned())
}

fn tried(walk: &mut Walk<'_>, state: PayoutState, paid: u64) -> Result<(), String> {
    use Account::{InFlight, Paid, Payable, Suspense};
    if state == PayoutState::Fixed {
        return Ok(());
    }
    walk.expect(Payable, InFlight, paid)?;
    let mut at = InFlight;
    if walk.is_next(InFlight, Suspense) {
        walk.expect(InFlight, Suspense, paid)?;
        at = Suspense;
    }
    match state {
        PayoutState::Paid => walk.expect(at, Paid, paid),
        PayoutState::Failed => walk.expect(at, Payable, paid),
        PayoutState::InFlight if at == InFlight => Ok(()),
        PayoutState::Suspense if at == Suspense => Ok(()),
        PayoutState::InFlight | PayoutState::Suspense | PayoutState::Fixed => {
            Err(format!("stands in {at:?}, and its payout is {state:?}"))
        }
    }
}
