//! A store that forgot commits which the log has seen.

use super::super::Proposal;
use super::programs::RATE;
use super::store::Store;
use super::town::Town;
use crate::journey::State;
use crate::ledger::Account;
use crate::request::{Cause, Reason};

/// A town that was at rest once, and what its store was then.
fn town() -> (Town, Store) {
    let mut town = Town::new(1, 100 * RATE);
    town.consent("ana", "p", "g1");
    town.consent("ben", "p", "g2");
    town.settle();
    let store = town.nodes[0].store.clone();
    (town, store)
}

/// The store fails over to what it was before.
fn fail_over(town: &mut Town, mut before: Store) {
    before.forgot = true;
    town.nodes[0].store = before;
    town.crash(0);
}

fn check(town: &Town, settled: usize) {
    assert_eq!(town.entries("contribution"), settled, "one entry each");
    assert_eq!(town.entries("payout"), settled);
    assert_eq!(town.rail.len(), settled, "one payment each");
    assert_eq!(town.entries("rate_card"), 1);
    assert_eq!(town.micro(Account::InFlight), 0);
}

#[test]
fn what_was_accepted_and_paid_is_not_again() {
    for commits in 0..4 {
        let (mut town, mut before) = town();
        town.hand_in("ana", "p", "clip");
        town.hand_in("ben", "p", "song");
        for _ in 0..commits {
            town.read_inboxes();
            town.act();
            town.sequence();
            town.commit(0);
            before = town.nodes[0].store.clone();
        }
        town.settle();
        let log = town.log.clone();
        fail_over(&mut town, before);
        if commits == 0 {
            // Their inbox items are forgotten, too: they are handed in again.
            town.hand_in("ben", "p", "song");
            town.settle();
            town.crash(0);
            town.hand_in("ana", "p", "clip");
        }
        town.settle();
        assert_eq!(town.log, log, "nothing was written again");
        for (person, clip) in [("ana", "clip"), ("ben", "song")] {
            assert_eq!(town.journey(person, clip).state, State::Settled);
        }
        check(&town, 2);
        assert!(town.nodes[0].store.outbox.is_empty());
    }
}

#[test]
fn what_comes_after_a_failover_is_numbered_above_what_the_log_has() {
    let (mut town, before) = town();
    town.hand_in("ana", "p", "clip");
    town.settle();
    fail_over(&mut town, before);
    town.hand_in("ben", "p", "song");
    town.settle();
    check(&town, 2);
    assert!(!town.nodes[0].store.outbox.is_empty(), "what is not claimed is kept");
    town.hand_in("ana", "p", "clip");
    town.settle();
    check(&town, 2);
}

#[test]
fn consent_that_was_taken_back_since_does_not_undo_what_the_log_says() {
    let (mut town, before) = town();
    town.hand_in("ana", "p", "clip");
    town.settle();
    fail_over(&mut town, before);
    town.hand_in("ana", "p", "clip");
    town.withdraw("ana", crate::submission::Scope::Grant("g1".into()));
    town.settle();
    assert_eq!(town.journey("ana", "clip").state, State::Settled);
    check(&town, 1);
    let withdrawn = town.journey("ana", "clip").withdrawn.as_ref().unwrap();
    assert!(withdrawn.entry.is_some());
    assert_eq!(town.entries("withdrawal"), 1);
}

#[test]
fn a_withdrawal_that_the_log_has_stays_one_when_its_contribution_is_accepted_again() {
    let (mut town, before) = town();
    town.hand_in("ana", "p", "clip");
    town.settle();
    town.withdraw("ana", crate::submission::Scope::Grant("g1".into()));
    town.settle();
    assert_eq!(town.entries("withdrawal"), 1);
    fail_over(&mut town, before);
    town.withdraw("ana", crate::submission::Scope::Grant("g1".into()));
    town.settle();
    town.hand_in("ana", "p", "clip");
    town.settle();
    assert!(town.journey("ana", "clip").withdrawn.is_some());
    assert_eq!(town.entries("withdrawal"), 1);
    check(&town, 1);
}

#[test]
fn what_the_log_has_is_not_rejected_but_left_to_an_operator() {
    let (mut town, before) = town();
    town.hand_in("ana", "p", "clip");
    town.settle();
    fail_over(&mut town, before);
    let arrival = town.hand_in("ana", "p", "clip");
    town.admit();
    let reason = Reason::known("budget_exhausted");
    town.propose(0, arrival, Proposal::Reject { stage: 1, reason });
    town.settle();
    let state = &town.journey("ana", "clip").state;
    assert!(matches!(state, State::Paused { cause: Cause::Permanent, .. }), "{state:?}");
}
