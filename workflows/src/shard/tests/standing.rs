//! Journeys that stand: backoff, parking, signals, quarantine, an operator's word.

use super::programs::{RATE, program};
use super::stages::{accepting, retryable};
use super::town::Town;
use crate::inbox::Verb;
use crate::journey::{EventKind, State};
use crate::limits;
use crate::request::{Cause, Failure, Request, Wait};
use crate::shard::Proposal;
use crate::time::Timestamp;

pub(super) fn admitted(workflow: &str) -> (Town, u64) {
    let mut town = Town::of(1, vec![program("p", workflow, 100 * RATE)]);
    town.consent("bo", "p", "g0");
    town.hand_in("bo", "p", "first");
    town.settle();
    town.consent("ana", "p", "g1");
    let arrival = town.hand_in("ana", "p", "clip");
    town.admit();
    (town, arrival)
}

pub(super) fn say(town: &mut Town, verb: Verb) {
    town.say("ana", "clip", verb);
    town.settle();
}

pub(super) fn cause(town: &Town) -> Cause {
    match &town.journey("ana", "clip").state {
        State::Paused { cause, .. } => *cause,
        state => panic!("{state:?}"),
    }
}

/// Fails one attempt and lets the backoff pass, up to the next start of the stage.
fn fail_once(town: &mut Town, arrival: u64, stage: u8) {
    town.fail(arrival, stage, retryable());
    town.commit(0);
    town.now = town.now.plus_ms(60_000);
    town.read_inboxes();
    town.commit(0);
    town.runs.clear();
}

/// Stage 0 held the grant and said something, and `then` became of stage 1.
fn after_consent(then: Proposal) -> Proposal {
    let (outputs, requests) = (vec![(0, b"{\"x\":1}".to_vec())], vec![(0, Request::Hold)]);
    Proposal::After { outputs, requests, then: Box::new(then) }
}

#[test]
fn what_stages_before_a_failed_or_parked_one_came_to_is_kept() {
    let failed = Proposal::Failed { stage: 1, failure: retryable() };
    let until = Some(Timestamp(u64::MAX / 2));
    let parked = Proposal::Park { stage: 1, wait: Wait::Timer, until, signal: None };
    for then in [failed, parked] {
        let (mut town, arrival) = admitted("usual");
        town.propose(0, arrival, after_consent(then));
        town.commit(0);
        let journey = town.journey("ana", "clip");
        assert!(matches!(journey.state, State::Parked { .. }), "{:?}", journey.state);
        assert_eq!((journey.stage, journey.held.is_some(), journey.outputs.len()), (1, true, 1));
    }
}

#[test]
fn a_stage_that_failed_after_one_that_is_refused_is_not_tried_again() {
    let (mut town, _) = admitted("usual");
    let arrival = town.hand_in("eve", "p", "clip");
    town.admit();
    let failed = Proposal::Failed { stage: 1, failure: retryable() };
    town.propose(0, arrival, after_consent(failed));
    town.commit(0);
    assert_eq!(town.state("eve", "clip"), "no_grant");
}

#[test]
fn attempts_back_off_and_the_last_one_pauses_until_a_retry() {
    let (mut town, arrival) = admitted("usual");
    fail_once(&mut town, arrival, 1);
    fail_once(&mut town, arrival, 1);
    assert_eq!(town.journey("ana", "clip").attempts, 2);
    town.fail(arrival, 1, retryable());
    town.settle();
    let journey = town.journey("ana", "clip");
    assert_eq!((cause(&town), journey.failed_attempts, journey.stage), (Cause::Exhausted, 3, 1));
    assert!(town.nodes[0].store.timers.is_empty());
    let backoff = |e: &&crate::journey::Event| e.kind == EventKind::Parked(Wait::Backoff);
    assert_eq!(journey.timeline.iter().filter(backoff).count(), 2);
    town.say("ana", "clip", Verb::Retry);
    town.read_inboxes();
    town.commit(0);
    assert_eq!(town.journey("ana", "clip").attempts, 0);
    // The stages before were never committed as done, so the journey is valued from there.
    town.runs.clear();
    town.advance(arrival, accepting(), 3);
    town.settle();
    assert_eq!(town.state("ana", "clip"), "settled");
}

#[test]
fn a_policy_may_reject_when_attempts_run_out_but_never_after_acceptance() {
    let (mut town, arrival) = admitted("strict");
    fail_once(&mut town, arrival, 0);
    town.fail(arrival, 0, retryable());
    town.settle();
    assert_eq!(town.state("ana", "clip"), "consent_exhausted");

    let (mut town, arrival) = admitted("strict");
    town.advance(arrival, accepting(), 3);
    town.commit(0);
    town.sequence();
    town.commit(0);
    town.runs.clear();
    fail_once(&mut town, arrival, 3);
    town.fail(arrival, 3, retryable());
    town.settle();
    assert_eq!(cause(&town), Cause::Exhausted);
    say(&mut town, Verb::Reject);
    assert_eq!(town.state("ana", "clip"), "paused");
    say(&mut town, Verb::Retry);
    assert_eq!(town.state("ana", "clip"), "settled");
}

#[test]
fn a_rejection_after_acceptance_pauses_since_the_money_is_owed() {
    let (mut town, arrival) = admitted("late");
    town.advance(arrival, accepting(), 3);
    let reason = crate::request::Reason::own("think", "no");
    town.propose(0, arrival, crate::shard::Proposal::Reject { stage: 3, reason });
    town.settle();
    assert_eq!(cause(&town), Cause::Permanent);
    say(&mut town, Verb::Retry);
    assert_eq!(town.state("ana", "clip"), "settled");
}

#[test]
fn a_downstream_that_is_down_burns_no_attempts() {
    let (mut town, arrival) = admitted("usual");
    for _ in 0..20 {
        town.fail(arrival, 1, Failure::Unavailable { detail: "down".into(), after_ms: None });
        town.commit(0);
        town.now = town.now.plus_ms(60_000);
        town.read_inboxes();
        town.commit(0);
        town.runs.clear();
    }
    let journey = town.journey("ana", "clip");
    assert_eq!((journey.attempts, journey.state.as_str()), (0, "moving"));
}

#[test]
fn each_way_to_fail_for_good_has_its_cause() {
    let detail = || "detail".to_owned();
    let failures = [
        (Failure::Permanent { detail: detail() }, 1, Cause::Permanent),
        (Failure::Panic { detail: detail() }, 3, Cause::Panic),
        (Failure::Timeout, 3, Cause::Exhausted),
    ];
    for (failure, times, expected) in failures {
        let (mut town, arrival) = admitted("usual");
        for _ in 0..times {
            town.fail(arrival, 1, failure.clone());
            town.commit(0);
            town.now = town.now.plus_ms(60_000);
            town.read_inboxes();
            town.commit(0);
            town.runs.clear();
        }
        town.settle();
        assert_eq!(cause(&town), expected);
    }
}

#[test]
fn time_in_the_queue_is_not_the_first_stages() {
    let mut town = Town::new(1, 100 * RATE);
    town.consent("ana", "p", "g1");
    let arrival = town.hand_in("ana", "p", "clip");
    town.now = town.now.plus_ms(100_000_000);
    town.admit();
    town.fail(arrival, 0, retryable());
    town.commit(0);
    assert_eq!(town.state("ana", "clip"), "parked");
    town.now = town.now.plus_ms(100_000_000);
    town.read_inboxes();
    town.fail(arrival, 0, retryable());
    town.commit(0);
    assert_eq!(cause(&town), Cause::Exhausted);
}

#[test]
fn a_timer_wakes_a_parked_journey_when_it_is_due_and_not_before() {
    let (mut town, arrival) = admitted("usual");
    let due = town.now.plus_ms(500);
    town.park_until(arrival, 0, due);
    town.settle();
    assert_eq!((town.state("ana", "clip"), town.nodes[0].shard.moving()), ("parked".into(), 0));
    town.now = town.now.plus_ms(499);
    town.settle();
    assert_eq!(town.state("ana", "clip"), "parked");
    town.now = due;
    town.settle();
    assert_eq!(town.state("ana", "clip"), "settled");
    assert!(town.nodes[0].store.timers.is_empty());
}

#[test]
fn a_quarantined_journey_says_that_its_node_was_killed() {
    let (mut town, arrival) = admitted("usual");
    town.nodes[0].shard.quarantine(arrival, town.now);
    town.settle();
    assert_eq!(cause(&town), Cause::KilledNode);
    say(&mut town, Verb::Retry);
    assert_eq!(town.state("ana", "clip"), "settled");
}

#[test]
fn a_timeline_keeps_its_first_event_and_its_bound() {
    let (mut town, arrival) = admitted("usual");
    for _ in 0..50 {
        town.park_until(arrival, 0, town.now.plus_ms(1));
        town.commit(0);
        town.now = town.now.plus_ms(1);
        town.read_inboxes();
        town.commit(0);
        town.runs.clear();
    }
    let timeline = &town.journey("ana", "clip").timeline;
    assert_eq!(timeline.len(), limits::TIMELINE_MAX);
    assert_eq!(timeline[0].kind, EventKind::Parked(Wait::Timer));
    assert!(timeline[0].at < timeline[1].at);
    assert_eq!(timeline.last().unwrap().at, town.now);
}

#[test]
fn outputs_that_are_too_large_together_pause_and_are_not_kept() {
    let (mut town, arrival) = admitted("usual");
    let outputs = (0..9).map(|n| (n, vec![b' '; limits::OUTPUT_BYTES_MAX])).collect();
    let requests = Vec::new();
    let proposal = crate::shard::Proposal::Advance { outputs, requests, next: 1 };
    town.propose(0, arrival, proposal);
    town.settle();
    assert_eq!((cause(&town), town.journey("ana", "clip").outputs.len()), (Cause::Permanent, 0));
}

#[test]
fn a_stage_is_given_up_at_the_end_of_its_total_time_and_not_before() {
    let total_ms = crate::policy::Policy::default().total_ms;
    for (left_ms, state) in [(1, "parked"), (0, "paused")] {
        let (mut town, arrival) = admitted("usual");
        town.fail(arrival, 0, Failure::Unavailable { detail: "down".into(), after_ms: None });
        town.commit(0);
        let since = town.journey("ana", "clip").since;
        town.now = since.plus_ms(total_ms - left_ms);
        town.read_inboxes();
        town.fail(arrival, 0, retryable());
        town.commit(0);
        assert_eq!(town.state("ana", "clip"), state);
    }
}

#[test]
fn a_commit_counts_the_journeys_that_it_changes() {
    let (mut town, arrival) = admitted("usual");
    town.commit(0);
    assert_eq!((town.nodes[0].shard.dirty(), town.nodes[0].shard.is_dirty()), (0, false));
    town.park_for(arrival, 0, "ready");
    assert_eq!((town.nodes[0].shard.dirty(), town.nodes[0].shard.is_dirty()), (1, true));
    town.commit(0);
    assert_eq!((town.nodes[0].shard.dirty(), town.nodes[0].shard.is_dirty()), (0, false));
}

#[test]
fn what_moves_is_shown_with_where_it_still_stands() {
    let (mut town, arrival) = admitted("usual");
    let shown = |town: &Town| {
        let all = town.nodes[0].shard.in_memory();
        all.map(|(journey, inbox, waits)| (journey.arrival, inbox, waits)).collect::<Vec<_>>()
    };
    assert_eq!(shown(&town), [(arrival, true, false)]);
    town.park_for(arrival, 0, "ready");
    town.settle();
    assert_eq!(shown(&town), []);
}
