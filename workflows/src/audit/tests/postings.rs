//! Which postings a journey's state tells.

use super::super::postings::judge;
use super::paid;
use super::world::World;
use crate::journey::{Journey, PayoutState, State};
use crate::ledger::Account::{Allotment, Carry, InFlight, Paid, Payable, Reserved, Suspense};
use crate::ledger::{Account, Posting};

/// From where, to where.
type Movement = (Account, Account);

/// One won in micro-units.
const WON: u64 = 1_000_000;

fn posts(journey: &mut Journey, movements: &[(Account, Account, u64)]) {
    let posting = |(from, to, micro): &(Account, Account, u64)| Posting {
        from: *from,
        to: *to,
        micro: *micro,
    };
    journey.postings = movements.iter().map(posting).filter(|posting| posting.micro > 0).collect();
}

/// A settled journey of `micro` that was paid `minor` won and left `carry`.
fn settled(micro: u64, minor: u64, carry: u64) -> Journey {
    let world = World::honest();
    let mut journey = world.journeys[paid(&world, 0).0].2.clone();
    journey.price.as_mut().unwrap().1.micro = micro;
    (journey.payouts[0].minor, journey.payouts[0].carry) = (minor, carry);
    let paid = minor * WON;
    posts(
        &mut journey,
        &[
            (Allotment, Reserved, micro),
            (Reserved, Payable, micro),
            (Payable, Carry, micro),
            (Carry, Payable, paid),
            (Payable, InFlight, paid),
            (InFlight, Paid, paid),
        ],
    );
    journey
}

#[test]
fn a_payout_takes_whole_units_of_what_was_carried_and_what_came() {
    for (micro, minor, carry) in [(500_000, 1, 0), (WON, 1, 0), (WON, 1, 999_999), (3, 1, 2)] {
        assert_eq!(judge(&settled(micro, minor, carry)), Ok(()), "{micro} {minor} {carry}");
    }
    let wrong = [
        (WON, 2, 0, "a whole unit was carried before"),
        (1_500_000, 1, WON, "a whole unit is carried on"),
        (500_000, 0, 600_000, "nothing is paid"),
        (3 * WON, 1, 0, "less than what came"),
    ];
    for (micro, minor, carry, why) in wrong {
        assert!(judge(&settled(micro, minor, carry)).is_err(), "{why}");
    }
}

#[test]
fn without_a_price_nothing_is_accepted_or_paid_and_what_was_reserved_went_back() {
    let bare = || {
        let mut journey = settled(WON, 1, 0);
        (journey.price, journey.accepted) = (None, None);
        journey.payouts.clear();
        journey.postings.clear();
        journey
    };
    assert_eq!(judge(&bare()), Ok(()));
    let mut journey = bare();
    posts(&mut journey, &[(Allotment, Reserved, 5), (Reserved, Allotment, 5)]);
    assert_eq!(judge(&journey), Ok(()));
    journey.postings.truncate(1);
    assert!(judge(&journey).is_err(), "it never went back");
    let (accepted, payouts) = (settled(WON, 1, 0).accepted, settled(WON, 1, 0).payouts);
    assert!(judge(&Journey { accepted, ..bare() }).is_err());
    assert!(judge(&Journey { payouts, ..bare() }).is_err());
}

#[test]
fn what_is_not_accepted_keeps_its_money_reserved_and_moves() {
    let reserved = |state| {
        let mut journey = settled(WON, 1, 0);
        journey.accepted = None;
        journey.state = state;
        posts(&mut journey, &[(Allotment, Reserved, WON)]);
        journey
    };
    let payouts = reserved(State::Moving).payouts;
    let unpaid = |state| Journey { payouts: Vec::new(), ..reserved(state) };
    assert_eq!(judge(&unpaid(State::Moving)), Ok(()));
    assert!(judge(&unpaid(State::Withdrawn)).is_err());
    assert!(judge(&Journey { payouts, ..unpaid(State::Moving) }).is_err());
}

#[test]
fn a_further_try_is_the_same_payout_again_after_a_failure() {
    let twice = || {
        let mut journey = settled(WON, 1, 0);
        let mut second = journey.payouts[0].clone();
        journey.payouts[0].state = PayoutState::Failed;
        second.number = 2;
        journey.payouts.push(second);
        let last = journey.postings.split_off(4);
        let failed = [(Payable, InFlight, WON), (InFlight, Payable, WON)];
        let failed = failed.map(|(from, to, micro)| Posting { from, to, micro });
        journey.postings.extend(failed);
        journey.postings.extend(last);
        journey
    };
    assert_eq!(judge(&twice()), Ok(()));
    let wrong: [fn(&mut Journey); 5] = [
        |journey| journey.payouts[0].state = PayoutState::Paid,
        |journey| journey.payouts[1].number = 3,
        |journey| journey.payouts[1].minor = 2,
        |journey| journey.payouts[1].carry = 1,
        |journey| journey.payouts[1].account = "a0".to_owned(),
    ];
    for (nth, change) in wrong.into_iter().enumerate() {
        let mut journey = twice();
        change(&mut journey);
        assert!(judge(&journey).is_err(), "{nth}");
    }
}

#[test]
fn a_payout_stands_where_its_postings_left_it() {
    let in_flight = (Payable, InFlight);
    let cases: [(PayoutState, &[Movement], bool); 9] = [
        (PayoutState::Fixed, &[], true),
        (PayoutState::Fixed, &[in_flight], false),
        (PayoutState::InFlight, &[in_flight], true),
        (PayoutState::InFlight, &[in_flight, (InFlight, Suspense)], false),
        (PayoutState::Suspense, &[in_flight, (InFlight, Suspense)], true),
        (PayoutState::Suspense, &[in_flight], false),
        (PayoutState::Paid, &[in_flight, (InFlight, Suspense), (Suspense, Paid)], true),
        (PayoutState::Failed, &[in_flight, (InFlight, Suspense), (Suspense, Payable)], true),
        (PayoutState::Failed, &[in_flight], false),
    ];
    for (state, movements, holds) in cases {
        let mut journey = settled(WON, 1, 0);
        journey.state = State::Moving;
        journey.payouts[0].state = state;
        journey.postings.truncate(4);
        let posting =
            |(from, to): &(Account, Account)| Posting { from: *from, to: *to, micro: WON };
        journey.postings.extend(movements.iter().map(posting));
        assert_eq!(judge(&journey).is_ok(), holds, "{state:?} {movements:?}");
        let ends = matches!(state, PayoutState::Fixed | PayoutState::Paid);
        journey.state = State::Settled;
        assert_eq!(judge(&journey).is_ok(), holds && ends, "settled, {state:?} {movements:?}");
    }
}

#[test]
fn a_movement_of_nothing_is_not_recorded() {
    let mut journey = settled(WON, 1, 0);
    let before = journey.postings.len();
    journey.post(Carry, Payable, 0);
    assert_eq!(journey.postings.len(), before);
    journey.post(Carry, Payable, 1);
    assert_eq!(journey.postings.len(), before + 1);
}
