//! Consent taken back: before acceptance, around it, and after.

use super::programs::{RATE, program};
use super::stages::accepting;
use super::town::Town;
use crate::inbox::Verb;
use crate::journey::{State, WithdrawnAt};
use crate::ledger::Account;
use crate::request::Request;
use crate::shard::Chain;
use crate::submission::Scope;
use crate::tombstone::Tombstone;

fn town(workflow: &str) -> (Town, u64) {
    let mut town = Town::of(1, vec![program("p", workflow, 100 * RATE)]);
    // So that the card is in force and the shard has an allotment.
    town.consent("bo", "p", "g0");
    town.hand_in("bo", "p", "first");
    town.settle();
    town.consent("ana", "p", "g1");
    let arrival = town.hand_in("ana", "p", "clip");
    (town, arrival)
}

fn withdraw(town: &mut Town) {
    town.withdraw("ana", Scope::Program("p".into()));
}

fn nothing_happened(town: &Town) {
    let journey = town.journey("ana", "clip");
    assert_eq!(journey.state, State::Withdrawn);
    assert_eq!((&journey.accepted, journey.payouts.len()), (&None, 0));
    assert!(town.erased(journey.submission.data_key));
    assert_eq!((town.entries("contribution"), town.entries("withdrawal")), (1, 0));
    assert_eq!(town.micro(Account::Reserved), 0);
    assert!(town.nodes[0].store.timers.is_empty() && town.nodes[0].store.inbox.is_empty());
}

fn paid_and_withdrawn(town: &Town) {
    let journey = town.journey("ana", "clip");
    assert_eq!(journey.state, State::Settled);
    assert!(journey.withdrawn.as_ref().unwrap().entry.is_some());
    assert!(town.erased(journey.submission.data_key));
    assert_eq!((town.entries("contribution"), town.entries("withdrawal")), (2, 1));
    assert_eq!((town.entries("payout"), town.rail.len()), (2, 2));
    assert!(town.nodes[0].store.inbox.is_empty());
}

#[test]
fn a_mark_that_is_durable_before_anything_moves_beats_acceptance() {
    for scope in [Scope::Program("p".into()), Scope::Grant("g1".into()), Scope::All] {
        let (mut town, _) = town("usual");
        town.withdraw("ana", scope);
        town.settle();
        nothing_happened(&town);
    }
}

#[test]
fn a_stage_at_work_comes_too_late() {
    let (mut town, arrival) = town("usual");
    town.admit();
    withdraw(&mut town);
    town.read_inboxes();
    town.advance(arrival, accepting(), 3);
    town.settle();
    nothing_happened(&town);
}

#[test]
fn a_mark_between_the_decision_and_its_commit_breaks_the_commit() {
    let (mut town, arrival) = town("usual");
    town.admit();
    town.advance(arrival, accepting(), 3);
    assert!(town.seal(0));
    withdraw(&mut town);
    town.apply(0);
    town.settle();
    nothing_happened(&town);
}

#[test]
fn after_acceptance_and_before_the_log_the_entry_comes_first_then_the_withdrawal() {
    let (mut town, arrival) = town("usual");
    town.admit();
    town.advance(arrival, accepting(), 3);
    town.commit(0);
    withdraw(&mut town);
    town.read_inboxes();
    town.commit(0);
    assert!(town.erased(town.journey("ana", "clip").submission.data_key));
    town.settle();
    paid_and_withdrawn(&town);
}

#[test]
fn a_settled_contribution_stays_settled_and_says_when_it_was_withdrawn() {
    let (mut town, _) = town("usual");
    town.settle();
    withdraw(&mut town);
    town.settle();
    paid_and_withdrawn(&town);
}

#[test]
fn a_second_withdrawal_adds_no_second_entry() {
    let (mut town, _) = town("usual");
    town.settle();
    withdraw(&mut town);
    town.withdraw("ana", Scope::All);
    town.settle();
    town.withdraw("ana", Scope::Grant("g1".into()));
    town.settle();
    paid_and_withdrawn(&town);
    assert!(matches!(
        town.journey("ana", "clip").withdrawn.as_ref().unwrap().scope,
        Scope::Program(_)
    ));
}

#[test]
fn what_memory_has_is_newer_than_the_row_that_the_walk_reads() {
    for in_flight in [true, false] {
        let (mut town, _) = town("usual");
        while town.rail.len() < 2 {
            town.deliver();
            town.read_inboxes();
            town.act();
            if town.rail.len() < 2 {
                town.commit(0);
                town.sequence();
            }
        }
        // It has settled; the store does not know yet.
        assert_eq!(town.nodes[0].shard.moving(), 0);
        if in_flight {
            assert!(town.seal(0));
        }
        withdraw(&mut town);
        town.withdraw("ana", Scope::All);
        town.read_inboxes();
        town.settle();
        paid_and_withdrawn(&town);
    }
}

#[test]
fn what_is_parked_or_paused_and_not_accepted_ends() {
    for durable in [true, false] {
        for how in 0..3 {
            let (mut town, arrival) = town("usual");
            town.admit();
            let reserve = Request::Reserve { units: 1, score: 1 };
            town.advance(arrival, vec![(0, Request::Hold), (1, reserve)], 2);
            match how {
                0 => town.park_until(arrival, 2, town.now.plus_ms(99)),
                1 => town.park_for(arrival, 2, "ready"),
                _ => town.nodes[0].shard.quarantine(arrival, town.now),
            }
            if durable {
                town.settle();
            }
            withdraw(&mut town);
            town.settle();
            nothing_happened(&town);
        }
    }
}

#[test]
fn what_killed_its_node_after_it_was_taken_back_ends_instead_of_standing() {
    let (mut town, arrival) = town("usual");
    town.admit();
    withdraw(&mut town);
    town.read_inboxes();
    assert_eq!(town.nodes[0].shard.moving(), 1, "its stage is at work");
    town.nodes[0].shard.quarantine(arrival, town.now);
    town.settle();
    nothing_happened(&town);
}

#[test]
fn what_waits_for_budget_ends() {
    let mut town = Town::new(1, 100 * RATE);
    town.consent("ana", "p", "g1");
    town.hand_in("ana", "p", "clip");
    town.read_inboxes();
    town.act();
    assert_eq!(town.nodes[0].shard.moving(), 1);
    withdraw(&mut town);
    town.read_inboxes();
    assert_eq!(town.nodes[0].shard.moving(), 0);
    town.settle();
    assert_eq!(town.state("ana", "clip"), "withdrawn");
}

#[test]
fn what_is_accepted_and_parked_is_marked_and_paid_once_it_goes_on() {
    for waits_for_log in [true, false] {
        let (mut town, arrival) = town("late");
        town.admit();
        town.advance(arrival, accepting(), 3);
        town.park_for(arrival, 3, "ready");
        town.commit(0);
        if !waits_for_log {
            town.settle();
        }
        withdraw(&mut town);
        town.settle();
        assert_eq!((town.state("ana", "clip"), town.entries("withdrawal")), ("parked".into(), 1));
        town.say("ana", "clip", Verb::Signal("ready".into()));
        town.settle();
        paid_and_withdrawn(&town);
    }
}

#[test]
fn after_a_crash_the_walk_waits_for_an_index_that_the_log_has_not_said() {
    let (mut town, arrival) = town("late");
    town.admit();
    town.advance(arrival, accepting(), 3);
    town.park_for(arrival, 3, "ready");
    town.commit(0);
    town.crash(0);
    withdraw(&mut town);
    town.read_inboxes();
    assert_eq!(town.nodes[0].store.inbox.len(), 1);
    town.settle();
    assert_eq!((town.state("ana", "clip"), town.entries("withdrawal")), ("parked".into(), 1));
    town.say("ana", "clip", Verb::Signal("ready".into()));
    town.settle();
    paid_and_withdrawn(&town);
}

/// Accepted and durable, but not in the log; then marked as withdrawn, and that is durable, too.
fn marked_before_the_log(workflow: &str, parks: bool) -> (Town, u64) {
    let (mut town, arrival) = town(workflow);
    town.admit();
    town.advance(arrival, accepting(), 3);
    if parks {
        town.park_for(arrival, 3, "ready");
    }
    town.commit(0);
    withdraw(&mut town);
    town.read_inboxes();
    town.commit(0);
    let marked = town.nodes[0].store.active[&arrival].withdrawn.as_ref().unwrap();
    assert_eq!(marked.entry, None);
    assert!(town.erased(town.journey("ana", "clip").submission.data_key));
    (town, arrival)
}

#[test]
fn a_crash_between_the_mark_and_the_index_costs_a_parked_journey_no_withdrawal_entry() {
    let (mut town, _) = marked_before_the_log("late", true);
    town.crash(0);
    town.settle();
    assert_eq!((town.state("ana", "clip"), town.entries("withdrawal")), ("parked".into(), 1));
    assert!(town.nodes[0].store.inbox.is_empty());
    town.say("ana", "clip", Verb::Signal("ready".into()));
    town.settle();
    paid_and_withdrawn(&town);
}

#[test]
fn a_journey_that_is_taken_up_after_its_index_came_says_first_that_it_was_withdrawn() {
    for durable in [true, false] {
        let (mut town, arrival) = marked_before_the_log("usual", false);
        // The log has the entry; the commit with its index and what follows from it is lost.
        town.sequence();
        town.seal(0);
        town.lose_memory(0);
        town.sequence();
        if durable {
            town.commit(0);
        }
        town.resume(0);
        let journey = town.nodes[0].shard.journey(arrival).unwrap();
        assert!(journey.withdrawn.as_ref().unwrap().entry.is_some(), "{durable}");
        town.settle();
        paid_and_withdrawn(&town);
    }
}

#[test]
fn what_ended_without_its_withdrawal_entry_gets_it_when_a_walk_comes_by() {
    let (mut town, arrival) = town("usual");
    town.settle();
    withdraw(&mut town);
    let left = WithdrawnAt { at: town.now, scope: Scope::All, entry: None };
    town.nodes[0].store.finished.get_mut(&arrival).unwrap().withdrawn = Some(left);
    town.settle();
    let withdrawn = town.journey("ana", "clip").withdrawn.as_ref().unwrap();
    assert!(withdrawn.entry.is_some() && withdrawn.scope == Scope::All);
    assert_eq!((town.state("ana", "clip"), town.entries("withdrawal")), ("settled".into(), 1));
}

#[test]
fn what_waits_for_its_index_keeps_the_walk_from_its_end_but_not_from_what_is_older() {
    let (mut town, _) = town("usual");
    town.settle();
    let newest = town.hand_in("ana", "p", "newest");
    town.admit();
    town.advance(newest, accepting(), 3);
    town.commit(0);
    withdraw(&mut town);
    town.read_inboxes();
    town.commit(0);
    assert!(town.journey("ana", "clip").withdrawn.as_ref().unwrap().entry.is_some());
    assert!(town.erased(town.journey("ana", "clip").submission.data_key));
    assert_eq!(town.nodes[0].store.inbox.len(), 1, "the walk is not over");
    // Nor is it where what is oldest has expired.
    let oldest = Tombstone::of(town.journey("ana", "clip"), &town.world.key).unwrap();
    let mark = town.nodes[0].store.marks[0].1.clone();
    let key = town.key("ana");
    let walked = town.nodes[0].shard.withdraw_expired(key, oldest, &mark).unwrap();
    assert_eq!(walked, Chain::NotYet);
    town.crash(0);
    town.settle();
    assert_eq!(town.entries("withdrawal"), 2);
    assert!(town.nodes[0].store.inbox.is_empty());
}

#[test]
fn a_walk_reaches_every_journey_of_the_contributor_and_no_one_elses() {
    let (mut town, _) = town("usual");
    for name in ["b", "c", "d"] {
        town.hand_in("ana", "p", name);
    }
    town.settle();
    let parked = town.hand_in("ana", "p", "e");
    town.admit();
    town.park_for(parked, 0, "ready");
    town.settle();
    withdraw(&mut town);
    town.crash(0);
    town.settle();
    for name in ["clip", "b", "c", "d"] {
        assert!(town.journey("ana", name).withdrawn.is_some(), "{name}");
    }
    assert_eq!(town.state("ana", "e"), "withdrawn");
    assert_eq!((town.entries("withdrawal"), &town.journey("bo", "first").withdrawn), (4, &None));
}

#[test]
fn a_crash_amid_a_withdrawal_does_it_again_and_logs_it_once() {
    let (mut town, _) = town("usual");
    town.settle();
    withdraw(&mut town);
    town.read_inboxes();
    town.seal(0);
    town.crash(0);
    town.settle();
    paid_and_withdrawn(&town);
}

#[test]
fn a_withdrawal_of_something_else_marks_nothing_and_leaves_nothing_in_memory() {
    for scope in [Scope::Grant("g1".into()), Scope::Program("p".into()), Scope::All] {
        let mut town = Town::new(1, 100 * RATE);
        town.consent("ana", "p", "g1");
        town.hand_in("ana", "p", "clip");
        let parked = town.hand_in("ana", "p", "later");
        town.read_inboxes();
        town.park_for(parked, 0, "ready");
        town.settle();
        town.withdraw("ana", Scope::Program("q".into()));
        town.withdraw("ana", Scope::Grant("g9".into()));
        town.settle();
        assert_eq!((town.entries("withdrawal"), town.nodes[0].shard.moving()), (0, 0));
        assert_eq!(town.state("ana", "later"), "parked");
        town.withdraw("ana", scope);
        town.settle();
        assert_eq!(town.entries("withdrawal"), 1);
        assert_eq!(town.state("ana", "later"), "withdrawn");
    }
}
