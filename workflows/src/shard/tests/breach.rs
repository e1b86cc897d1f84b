//! What would break an invariant is not committed.

use super::super::{Moving, SealError, Shard};
use super::node::data_key;
use super::programs::{RATE, won};
use super::town::Town;
use crate::invariant::Invariant;
use crate::journey::{Journey, PayoutState};
use crate::ledger::{Account, Posting};
use std::sync::Arc;

/// A town with one settled contribution, and its journey.
fn town() -> (Town, Journey) {
    let mut town = Town::new(1, 100 * RATE);
    town.consent("ana", "p", "g1");
    town.hand_in("ana", "p", "clip");
    town.settle();
    let journey = town.journey("ana", "clip").clone();
    (town, journey)
}

fn change(shard: &mut Shard, journey: Journey) {
    let data_key = data_key(&journey.submission);
    let moving = Moving {
        contributor: shard.world.key.contributor(&journey.submission.contributor),
        journey: Arc::new(journey),
        data_key,
        stored: true,
        in_inbox: false,
        proposal: None,
        cleared: false,
        again: false,
    };
    shard.draft.ended.push(moving);
    shard.draft.touched = true;
}

/// The invariant that the next commit is refused for.
fn refused(town: &mut Town) -> Option<Invariant> {
    let shard = &mut town.nodes[0].shard;
    shard.draft.touched = true;
    match shard.seal() {
        Ok(_) => None,
        Err(SealError::Breach(breach)) => {
            assert!(breach.to_string().starts_with(breach.invariant.code()), "{breach}");
            Some(breach.invariant)
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_sound_change_is_committed() {
    let (mut town, journey) = self::town();
    let shard = &mut town.nodes[0].shard;
    change(shard, journey.clone());
    change(shard, journey);
    assert_eq!(shard.dirty(), 2, "what ended counts, too");
    assert_eq!(refused(&mut town), None);
}

#[test]
fn a_budget_that_is_not_what_the_ledger_says_is_refused() {
    for micro in [1, RATE] {
        let (mut town, _) = self::town();
        town.nodes[0].shard.state.homes.get_mut("p").unwrap().balance += micro;
        assert_eq!(refused(&mut town), Some(Invariant::MoneyAddsUp));
    }
    let (mut town, _) = self::town();
    town.nodes[0].shard.state.allotments.get_mut("p").unwrap().balance += 1;
    assert_eq!(refused(&mut town), Some(Invariant::MoneyAddsUp));
}

#[test]
fn an_account_that_is_overdrawn_is_refused() {
    let (mut town, _) = self::town();
    let posting = Posting { from: Account::InFlight, to: Account::Paid, micro: 1 };
    town.nodes[0].shard.state.ledger.post(won(), posting);
    assert_eq!(refused(&mut town), Some(Invariant::MoneyAddsUp));
}

#[test]
fn a_price_that_is_not_what_was_posted_is_refused_and_so_is_more_paid_than_in_flight() {
    let (mut town, mut journey) = self::town();
    journey.price.as_mut().unwrap().1.micro += 1;
    change(&mut town.nodes[0].shard, journey.clone());
    let told = town.nodes[0].shard.seal().unwrap_err().to_string();
    assert!(told.ends_with(&journey.submission.id.to_string()), "{told}");
    assert_eq!(refused(&mut town), Some(Invariant::MoneyAddsUp));
    let (mut town, mut journey) = self::town();
    let paid = journey.postings.iter().find(|posting| posting.to == Account::Paid).copied();
    journey.postings.extend(paid);
    change(&mut town.nodes[0].shard, journey);
    assert_eq!(refused(&mut town), Some(Invariant::MoneyAddsUp));
}

#[test]
fn a_further_try_is_refused_unless_the_one_before_failed_for_certain() {
    for state in [PayoutState::Paid, PayoutState::InFlight, PayoutState::Suspense] {
        let (mut town, mut journey) = self::town();
        let mut again = journey.payouts[0].clone();
        journey.payouts[0].state = state;
        again.entry = None;
        journey.payouts.push(again);
        change(&mut town.nodes[0].shard, journey);
        assert_eq!(refused(&mut town), Some(Invariant::OnePayment), "{state:?}");
    }
    let (mut town, mut journey) = self::town();
    journey.payouts.insert(0, journey.payouts[0].clone());
    journey.payouts[0].state = PayoutState::Failed;
    journey.payouts[0].entry = None;
    change(&mut town.nodes[0].shard, journey);
    assert_eq!(refused(&mut town), None);
}

#[test]
fn an_entry_of_two_journeys_or_of_none_is_refused() {
    let (mut town, journey) = self::town();
    let shard = &mut town.nodes[0].shard;
    let position = shard.log(b"entry".to_vec());
    for _ in 0..2 {
        let mut journey = journey.clone();
        journey.accepted.as_mut().unwrap().entry.position = position;
        change(shard, journey);
    }
    assert_eq!(refused(&mut town), Some(Invariant::OneEntry));
    let (mut town, mut journey) = self::town();
    journey.accepted.as_mut().unwrap().entry.position = u64::MAX;
    change(&mut town.nodes[0].shard, journey);
    assert_eq!(refused(&mut town), Some(Invariant::OneEntry));
}
