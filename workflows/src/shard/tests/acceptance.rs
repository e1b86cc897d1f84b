//! The straight way: consent, value, trace, payout; and workflows that lack some of them.

use super::programs::{RATE, program, won};
use super::stages::accepting;
use super::town::Town;
use crate::journey::EventKind::{Accepted, Paid, Released, Settled};
use crate::journey::{EventKind, State};
use crate::ledger::Account;
use crate::request::{Reason, Request};
use crate::shard::Proposal;

#[test]
fn a_contribution_goes_from_consent_to_payout() {
    let mut town = Town::new(1, 100 * RATE);
    town.consent("ana", "p", "g1");
    town.hand_in("ana", "p", "clip");
    town.settle();
    let journey = town.journey("ana", "clip");
    assert_eq!(journey.state, State::Settled);
    let payout = journey.payout().unwrap();
    assert_eq!((payout.minor, payout.carry, town.rail[&payout.id]), (1, 500_000, 1));
    let kinds: Vec<&EventKind> = journey.timeline.iter().map(|event| &event.kind).collect();
    assert_eq!(kinds, [&Accepted, &Released, &Paid, &Settled]);
    assert_eq!(journey.timeline[0].stage, 2);
    assert_eq!([town.entries("contribution"), town.entries("payout"), town.log.len()], [1, 1, 3]);
    assert_eq!((town.micro(Account::Paid), town.micro(Account::Carry)), (1_000_000, 500_000));
    assert!(town.nodes[0].store.inbox.is_empty());
}

#[test]
fn less_than_one_won_is_carried_and_settles_without_a_payout() {
    let mut program = program("p", "usual", 100 * RATE);
    program.tasks.get_mut("read").unwrap().rate_micro = 400_000;
    let mut town = Town::of(1, vec![program]);
    town.consent("ana", "p", "g1");
    for name in ["a", "b", "c"] {
        town.hand_in("ana", "p", name);
        town.settle();
    }
    assert_eq!(
        (town.journey("ana", "b").payouts.len(), town.state("ana", "b")),
        (0, "settled".into())
    );
    assert_eq!(town.journey("ana", "c").payout().unwrap().minor, 1);
    assert_eq!((town.micro(Account::Paid), town.micro(Account::Carry)), (1_000_000, 200_000));
    assert_eq!(town.entries("payout"), 1);
}

#[test]
fn a_price_of_zero_is_accepted_and_settles() {
    let mut town = Town::new(1, 0);
    town.units.insert("clip".into(), 0);
    town.consent("ana", "p", "g1");
    town.hand_in("ana", "p", "clip");
    town.settle();
    assert_eq!((town.state("ana", "clip"), town.entries("contribution")), ("settled".into(), 1));
    assert!(town.rail.is_empty());
}

#[test]
fn a_workflow_that_ends_with_the_log_settles_when_its_entry_has_its_index() {
    let mut town = Town::of(1, vec![program("p", "short", 100 * RATE)]);
    town.consent("ana", "p", "g1");
    let arrival = town.hand_in("ana", "p", "clip");
    for _ in 0..4 {
        town.deliver();
        town.read_inboxes();
        town.act();
        town.commit(0);
    }
    assert_eq!((town.state("ana", "clip"), town.offers.len()), ("moving".into(), 1));
    assert!(town.nodes[0].shard.journey(arrival).is_some());
    town.settle();
    let journey = town.journey("ana", "clip");
    assert_eq!(journey.state, State::Settled);
    assert_eq!(journey.accepted.as_ref().unwrap().entry.index, Some(1));
    assert_eq!(town.micro(Account::Payable) + town.micro(Account::Carry), i128::from(RATE));
}

#[test]
fn a_workflow_without_log_and_payout_touches_no_money() {
    let mut town = Town::of(1, vec![program("p", "none", 100 * RATE)]);
    town.consent("ana", "p", "g1");
    town.hand_in("ana", "p", "clip");
    town.settle();
    assert_eq!((town.state("ana", "clip"), town.log.len()), ("settled".into(), 1));
    assert_eq!(town.micro(Account::Home), i128::from(100 * RATE));
}

#[test]
fn a_quick_stage_after_trace_does_not_wait_for_the_log_and_the_payout_does() {
    let mut town = Town::of(1, vec![program("p", "late", 100 * RATE)]);
    town.consent("ana", "p", "g1");
    let arrival = town.hand_in("ana", "p", "clip");
    for _ in 0..6 {
        town.deliver();
        town.read_inboxes();
        town.act();
        town.commit(0);
    }
    let journey = town.nodes[0].shard.journey(arrival).unwrap();
    assert_eq!((journey.stage, journey.waits_for_log()), (4, true));
    assert!(town.rail.is_empty());
    town.settle();
    assert_eq!((town.state("ana", "clip"), town.rail.len()), ("settled".into(), 1));
}

#[test]
fn a_crash_between_acceptance_and_a_quick_stage_leaves_nobody_behind() {
    let mut town = Town::of(1, vec![program("p", "late", 100 * RATE)]);
    town.consent("ana", "p", "g1");
    town.hand_in("ana", "p", "clip");
    while town.nodes[0].store.active.is_empty() {
        town.deliver();
        town.read_inboxes();
        town.act();
        town.commit(0);
    }
    town.crash(0);
    town.settle();
    assert_eq!((town.state("ana", "clip"), town.rail.len()), ("settled".into(), 1));
}

#[test]
fn the_entries_of_a_large_commit_make_several_outbox_rows() {
    let mut town = Town::new(1, 1000 * RATE);
    for n in 0..400 {
        town.consent(&format!("c{n}"), "p", "g");
        town.hand_in(&format!("c{n}"), "p", "clip");
    }
    let mut most = 0;
    for _ in 0..8 {
        town.deliver();
        town.read_inboxes();
        town.act();
        town.commit(0);
        most = most.max(town.nodes[0].store.outbox.len());
    }
    assert!(most > 1, "{most} outbox rows");
    town.settle();
    assert_eq!((town.entries("contribution"), town.rail.len()), (400, 400));
}

#[test]
fn a_late_proposal_about_a_stage_that_is_done_changes_nothing() {
    let mut town = Town::new(1, 100 * RATE);
    town.consent("ana", "p", "g1");
    let arrival = town.hand_in("ana", "p", "clip");
    town.admit();
    town.advance(arrival, vec![(0, Request::Hold)], 1);
    let journey = town.nodes[0].shard.journey(arrival).unwrap().clone();
    town.advance(arrival, vec![(0, Request::Hold)], 1);
    let reason = Reason::known("below_floor");
    town.propose(0, arrival, Proposal::Reject { stage: 0, reason });
    assert_eq!(town.nodes[0].shard.journey(arrival), Some(&journey));
}

#[test]
fn what_stages_cannot_ask_for_pauses_the_journey_and_moves_no_money() {
    let reserve = || (1, Request::Reserve { units: 1, score: 1 });
    let cases = [
        vec![(2, Request::LogContribution { scorer: "s".into() })],
        vec![(3, Request::Pay)],
        vec![(3, Request::LogPayout { rail: "r".into() })],
        vec![(0, Request::Hold), reserve(), reserve()],
        vec![(1, Request::Reserve { units: u64::MAX, score: 1 })],
        accepting().into_iter().chain([(3, Request::LogPayout { rail: "r".into() })]).collect(),
    ];
    for requests in cases {
        let mut town = Town::new(1, 100 * RATE);
        town.consent("bo", "p", "g0");
        town.hand_in("bo", "p", "first");
        town.settle();
        let paid = town.micro(Account::Paid);
        town.consent("ana", "p", "g1");
        let arrival = town.hand_in("ana", "p", "clip");
        town.admit();
        town.advance(arrival, requests.clone(), 4);
        town.settle();
        assert_eq!(town.state("ana", "clip"), "paused", "{requests:?}");
        assert_eq!((town.micro(Account::Reserved), town.micro(Account::Paid)), (0, paid));
    }
}

#[test]
fn a_day_cap_cuts_then_rejects_and_a_rejected_price_counts_no_more() {
    let mut program = program("p", "usual", 100 * RATE);
    program.day_cap_micro = Some(2_000_000);
    let mut town = Town::of(1, vec![program]);
    town.consent("ana", "p", "g1");
    town.hand_in("ana", "p", "first");
    town.settle();
    let refused = town.hand_in("ana", "p", "refused");
    town.admit();
    let reserve = Request::Reserve { units: 1, score: 9000 };
    town.advance(refused, vec![(0, Request::Hold), (1, reserve)], 2);
    town.commit(0);
    assert_eq!(town.micro(Account::Reserved), 500_000);
    let reason = Reason::own("think", "odd");
    town.propose(0, refused, Proposal::Reject { stage: 2, reason });
    town.settle();
    assert_eq!(
        (town.state("ana", "refused"), town.micro(Account::Reserved)),
        ("think_odd".into(), 0)
    );
    for (name, outcome) in [("second", "settled"), ("third", "cap_reached")] {
        town.hand_in("ana", "p", name);
        town.settle();
        assert_eq!(town.state("ana", name), outcome, "{name}");
    }
    let valued = |town: &Town| town.micro(Account::Paid) + town.micro(Account::Carry);
    assert_eq!(valued(&town), 2_000_000);
    town.now = town.now.plus_ms(86_400_000);
    town.hand_in("ana", "p", "next day");
    town.settle();
    assert_eq!(valued(&town), 2_000_000 + i128::from(RATE));
    assert_eq!(town.ledger().balance(won(), Account::Payable), 0);
}
