//! Consents: which are there when it counts, and which grant is pinned.

use super::programs::{RATE, program};
use super::stages::accepting;
use super::town::Town;
use crate::limits;
use crate::request::Request;
use crate::submission::Scope;

fn grant(id: &str) -> Scope {
    Scope::Grant(id.to_owned())
}

#[test]
fn a_contribution_without_a_grant_before_it_is_rejected_and_erased() {
    let mut town = Town::new(1, 100 * RATE);
    town.hand_in("ana", "p", "clip");
    town.consent("ana", "p", "late");
    town.consent("bo", "q", "elsewhere");
    town.hand_in("bo", "p", "clip");
    town.settle();
    assert_eq!([town.state("ana", "clip"), town.state("bo", "clip")], ["no_grant", "no_grant"]);
    let slot = town.journey("ana", "clip").submission.data_key;
    assert!(town.erased(slot));
    assert_eq!(town.log.len(), 1);
}

#[test]
fn a_program_that_is_gone_closes_its_contributions() {
    let mut town = Town::of(1, vec![program("p", "usual", RATE)]);
    town.consent("ana", "p", "g1");
    let arrival = town.hand_in("ana", "q", "clip");
    town.admit();
    town.advance(arrival, vec![(0, Request::Hold)], 1);
    town.settle();
    assert_eq!(town.state("ana", "clip"), "program_closed");
}

#[test]
fn a_withdrawn_grant_never_revives_and_a_new_one_counts() {
    let mut town = Town::new(1, 100 * RATE);
    town.consent("ana", "p", "g1");
    town.withdraw("ana", Scope::Program("p".into()));
    town.consent("ana", "p", "g1");
    town.hand_in("ana", "p", "again");
    town.settle();
    assert_eq!(town.state("ana", "again"), "grant_withdrawn");
    town.consent("ana", "p", "g2");
    town.hand_in("ana", "p", "anew");
    town.settle();
    let journey = town.journey("ana", "anew");
    assert_eq!(journey.held.as_ref().unwrap().grant, "g2");
    assert_eq!(town.state("ana", "anew"), "settled");
    assert!(!town.erased(journey.submission.data_key), "what was paid for is kept");
}

#[test]
fn a_journey_whose_pinned_grant_was_taken_back_pins_another_that_covers_it() {
    let mut town = Town::new(1, 100 * RATE);
    town.consent("ana", "p", "older");
    town.now = town.now.plus_ms(1);
    town.consent("ana", "p", "newer");
    let arrival = town.hand_in("ana", "p", "clip");
    town.admit();
    town.advance(arrival, vec![(0, Request::Hold)], 1);
    town.commit(0);
    town.runs.clear();
    assert_eq!(town.journey("ana", "clip").held.as_ref().unwrap().grant, "newer");
    town.withdraw("ana", grant("newer"));
    town.read_inboxes();
    let rest = accepting().into_iter().filter(|(stage, _)| *stage > 0).collect();
    town.advance(arrival, rest, 3);
    town.settle();
    let journey = town.journey("ana", "clip");
    assert_eq!(journey.held.as_ref().unwrap().grant, "older");
    assert_eq!((town.state("ana", "clip"), &journey.withdrawn), ("settled".into(), &None));
}

/// As many further grants for a program as one may hold.
fn give_many(town: &mut Town, program: &str) {
    for n in 0..limits::GRANTS_MAX {
        town.consent("ana", program, &format!("more{n}"));
    }
}

#[test]
fn a_consent_beyond_the_bound_takes_effect_and_the_grants_of_other_programs_stay() {
    let both = ["p", "q"].map(|id| program(id, "usual", 100 * RATE));
    let mut town = Town::of(1, both.into());
    town.consent("ana", "q", "first");
    give_many(&mut town, "p");
    town.consent("bo", "p", "g");
    town.hand_in("ana", "p", "newest");
    town.hand_in("ana", "q", "oldest");
    town.settle();
    let held = |name| town.journey("ana", name).held.as_ref().unwrap().grant.clone();
    assert_eq!(held("newest"), format!("more{}", limits::GRANTS_MAX - 1));
    assert_eq!(held("oldest"), "first");
    assert_eq!([town.state("ana", "newest"), town.state("ana", "oldest")], ["settled", "settled"]);
}

#[test]
fn what_was_pinned_to_a_grant_that_was_taken_back_and_made_room_ends_withdrawn() {
    let mut town = Town::new(1, 100 * RATE);
    town.consent("ana", "p", "pinned");
    let arrival = town.hand_in("ana", "p", "clip");
    town.admit();
    town.advance(arrival, vec![(0, Request::Hold)], 1);
    town.commit(0);
    town.runs.clear();
    town.withdraw("ana", grant("pinned"));
    give_many(&mut town, "p");
    town.read_inboxes();
    let rest = accepting().into_iter().filter(|(stage, _)| *stage > 0).collect();
    town.advance(arrival, rest, 3);
    town.settle();
    assert_eq!(town.state("ana", "clip"), "withdrawn");
    assert_eq!(town.log.len(), 1);
}

#[test]
fn a_grant_that_ended_after_it_was_pinned_still_counts() {
    let mut town = Town::new(1, 100 * RATE);
    town.consent_until("ana", "p", "g1", town.now.plus_ms(1000));
    let arrival = town.hand_in("ana", "p", "clip");
    town.admit();
    town.advance(arrival, vec![(0, Request::Hold)], 1);
    town.commit(0);
    town.now = town.now.plus_ms(5000);
    town.settle();
    town.hand_in("ana", "p", "late");
    town.settle();
    assert_eq!(
        [town.state("ana", "clip"), town.state("ana", "late")],
        ["settled", "grant_expired"]
    );
}

#[test]
fn a_counter_lets_as_many_through_as_it_may() {
    let mut town = Town::new(1, 100 * RATE);
    town.consent("ana", "p", "g1");
    for (name, state) in [("a", "moving"), ("b", "moving"), ("c", "cap_reached")] {
        let arrival = town.hand_in("ana", "p", name);
        town.admit();
        let count = Request::Count { counter: "fraud".into(), limit: 2 };
        town.advance(arrival, vec![(0, Request::Hold), (0, count)], 1);
        town.commit(0);
        town.runs.clear();
        assert_eq!(town.state("ana", name), state);
    }
}

#[test]
fn a_changed_row_that_nobody_uses_stays_in_memory_until_its_change_is_durable() {
    let mut town = Town::new(1, 100 * RATE);
    let key = town.key("ana");
    town.consent("ana", "p", "g1");
    let before = town.node(0).shard.seals();
    town.read_inboxes();
    let resident = |town: &mut Town, committed: u64| {
        let shard = &mut town.node(0).shard;
        shard.evict(committed, 0);
        shard.contributor(key).is_some()
    };
    assert!(resident(&mut town, before), "it is only in the draft");
    assert!(town.seal(0));
    assert!(resident(&mut town, before), "it is only in flight");
    let sealed = town.node(0).shard.seals();
    assert!(!resident(&mut town, sealed), "it is durable");
}
