//! Payouts: failed, unknown, different, tried again.

use super::programs::RATE;
use super::town::Town;
use crate::inbox::Verb;
use crate::journey::{PayoutState, State};
use crate::ledger::Account;
use crate::request::{Cause, PayoutVerdict};

fn told(verdict: PayoutVerdict) -> Town {
    let mut town = Town::new(1, 100 * RATE);
    town.rail_says.insert("clip".into(), verdict);
    town.consent("ana", "p", "g1");
    town.hand_in("ana", "p", "clip");
    town.settle();
    town
}

fn retry(town: &mut Town) {
    town.say("ana", "clip", Verb::Retry);
    town.settle();
}

fn cause(town: &Town) -> Cause {
    match &town.journey("ana", "clip").state {
        State::Paused { cause, .. } => *cause,
        state => panic!("{state:?}"),
    }
}

#[test]
fn a_confirmed_failure_stays_payable_and_a_retry_is_a_new_payout() {
    let mut town = told(PayoutVerdict::Failed { code: "closed".into() });
    assert_eq!(cause(&town), Cause::Permanent);
    assert_eq!(town.micro(Account::Payable), 1_000_000);
    retry(&mut town);
    assert_eq!(town.journey("ana", "clip").payouts.len(), 2);
    town.rail_says.clear();
    retry(&mut town);
    let journey = town.journey("ana", "clip");
    let states: Vec<PayoutState> = journey.payouts.iter().map(|payout| payout.state).collect();
    assert_eq!(states, [PayoutState::Failed, PayoutState::Failed, PayoutState::Paid]);
    assert_eq!(town.rail.keys().collect::<Vec<_>>(), [&journey.payouts[2].id]);
    assert_eq!((town.micro(Account::Payable), town.micro(Account::Paid)), (0, 1_000_000));
    assert_eq!(town.entries("payout"), 1);
}

#[test]
fn retries_of_a_failure_end_at_their_bound_and_post_nothing_more() {
    let mut town = told(PayoutVerdict::Failed { code: "closed".into() });
    for _ in 0..crate::limits::PAYOUTS_MAX - 1 {
        retry(&mut town);
    }
    let before = town.journey("ana", "clip").postings.len();
    town.say("ana", "clip", Verb::Retry);
    town.read_inboxes();
    town.commit(0);
    town.runs.clear();
    let arrival = town.journey("ana", "clip").arrival;
    let verdict = PayoutVerdict::Failed { code: "again".into() };
    town.fail(arrival, 3, crate::request::Failure::Payout(verdict));
    town.settle();
    let journey = town.journey("ana", "clip");
    assert_eq!(journey.payouts.len(), crate::limits::PAYOUTS_MAX);
    assert_eq!((journey.postings.len(), cause(&town)), (before, Cause::Permanent));
}

#[test]
fn after_the_window_a_retry_only_asks_under_the_same_key() {
    let mut town = told(PayoutVerdict::WindowExpired);
    assert_eq!(cause(&town), Cause::RailWindowExpired);
    let sent = town.journey("ana", "clip").payout().unwrap().sent;
    assert_eq!(town.micro(Account::InFlight), 1_000_000);
    town.now = town.now.plus_ms(1000);
    retry(&mut town);
    assert_eq!(town.journey("ana", "clip").payout().unwrap().sent, sent);
    town.rail_says.clear();
    retry(&mut town);
    let journey = town.journey("ana", "clip");
    assert_eq!((journey.payouts.len(), &journey.state), (1, &State::Settled));
    assert_eq!(journey.payout().unwrap().sent, sent);
}

#[test]
fn another_amount_goes_to_suspense_once_however_often_it_is_said() {
    let mut town = told(PayoutVerdict::Differs { minor: 9 });
    for _ in 0..3 {
        assert_eq!((town.micro(Account::Suspense), town.micro(Account::InFlight)), (1_000_000, 0));
        retry(&mut town);
    }
    town.rail_says.clear();
    retry(&mut town);
    assert_eq!((town.micro(Account::Suspense), town.micro(Account::Paid)), (0, 1_000_000));
    assert_eq!((town.state("ana", "clip"), town.entries("payout")), ("settled".into(), 1));
}

#[test]
fn a_crash_after_the_rail_paid_asks_under_the_same_key() {
    let mut town = Town::new(1, 100 * RATE);
    town.consent("ana", "p", "g1");
    town.hand_in("ana", "p", "clip");
    while town.rail.is_empty() {
        town.deliver();
        town.read_inboxes();
        town.act();
        if town.rail.is_empty() {
            town.commit(0);
            town.sequence();
        }
    }
    town.crash(0);
    town.settle();
    assert_eq!((town.state("ana", "clip"), town.rail.len()), ("settled".into(), 1));
    assert_eq!(town.entries("payout"), 1);
}

#[test]
fn paying_twice_in_one_go_moves_the_money_once() {
    let mut town = Town::new(1, 100 * RATE);
    town.consent("bo", "p", "g1");
    town.hand_in("bo", "p", "first");
    town.settle();
    town.consent("ana", "p", "g1");
    let arrival = town.hand_in("ana", "p", "clip");
    town.admit();
    let mut requests = super::stages::accepting();
    requests.push((2, crate::request::Request::Pay));
    town.advance(arrival, requests, 3);
    town.settle();
    assert_eq!(town.journey("ana", "clip").payouts.len(), 1);
    assert_eq!((town.micro(Account::Carry), town.micro(Account::Paid)), (1_000_000, 2_000_000));
}

#[test]
fn a_new_payout_has_a_window_of_its_own() {
    let mut town = told(PayoutVerdict::Failed { code: "closed".into() });
    town.now = town.now.plus_ms(7_000);
    retry(&mut town);
    let [first, second] = &town.journey("ana", "clip").payouts[..] else { panic!("two payouts") };
    assert_eq!(second.sent, first.sent.map(|sent| sent.plus_ms(7_000)));
    assert_ne!(second.id, first.id);
}
