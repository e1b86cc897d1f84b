//! What is said of one journey: signals, and an operator's verbs.

use super::standing::{admitted, cause, say};
use crate::inbox::Verb;
use crate::limits;
use crate::request::{Cause, Failure};

#[test]
fn a_signal_is_kept_whenever_it_comes() {
    // While it waits for it; while it waits for another; while it moves; while it is paused.
    let (mut town, arrival) = admitted("usual");
    town.park_for(arrival, 0, "ready");
    town.settle();
    say(&mut town, Verb::Signal("other".into()));
    assert_eq!(town.state("ana", "clip"), "parked");
    assert_eq!(town.journey("ana", "clip").signals, ["other"]);
    say(&mut town, Verb::Signal("ready".into()));
    assert_eq!(town.state("ana", "clip"), "settled");

    let (mut town, arrival) = admitted("usual");
    town.park_for(arrival, 0, "other");
    town.settle();
    say(&mut town, Verb::Signal("ready".into()));
    town.say("ana", "clip", Verb::Signal("other".into()));
    town.read_inboxes();
    town.commit(0);
    town.runs.clear();
    town.park_for(arrival, 0, "ready");
    town.settle();
    assert_eq!(town.state("ana", "clip"), "settled");

    let (mut town, arrival) = admitted("usual");
    town.fail(arrival, 0, Failure::Permanent { detail: "odd".into() });
    town.settle();
    say(&mut town, Verb::Signal("ready".into()));
    assert_eq!(town.journey("ana", "clip").signals, ["ready"]);
    assert_eq!(town.state("ana", "clip"), "paused");
}

#[test]
fn signals_have_a_bound_and_are_kept_once() {
    let (mut town, arrival) = admitted("usual");
    town.park_for(arrival, 0, "ready");
    town.settle();
    for n in 0..limits::SIGNALS_MAX + 5 {
        town.say("ana", "clip", Verb::Signal(format!("s{}", n / 2)));
        town.say("ana", "clip", Verb::Signal(format!("t{n}")));
    }
    town.settle();
    assert_eq!(town.journey("ana", "clip").signals.len(), limits::SIGNALS_MAX);
}

#[test]
fn an_operator_pauses_a_parked_journey_and_rejects_or_retries_a_paused_one() {
    for (verb, state) in [(Verb::Reject, "operator"), (Verb::Retry, "settled")] {
        let (mut town, arrival) = admitted("usual");
        town.park_until(arrival, 0, town.now.plus_ms(500));
        town.settle();
        say(&mut town, Verb::Pause);
        assert_eq!(cause(&town), Cause::Operator);
        town.now = town.now.plus_ms(1000);
        town.settle();
        assert_eq!(town.state("ana", "clip"), "paused");
        say(&mut town, verb);
        assert_eq!(town.state("ana", "clip"), state);
        assert!(town.nodes[0].store.timers.is_empty());
    }
}

#[test]
fn a_word_on_a_finished_journey_changes_nothing() {
    let (mut town, _) = admitted("usual");
    town.crash(0);
    town.settle();
    let before = town.journey("ana", "clip").clone();
    for verb in [Verb::Retry, Verb::Reject, Verb::Pause, Verb::Signal("x".into())] {
        say(&mut town, verb);
    }
    assert_eq!(town.journey("ana", "clip"), &before);
}

#[test]
fn a_word_that_comes_before_the_commit_finds_what_memory_has() {
    let (mut town, arrival) = admitted("usual");
    town.park_for(arrival, 0, "ready");
    town.commit(0);
    let failed = Failure::Permanent { detail: "odd".into() };
    town.say("ana", "clip", Verb::Signal("ready".into()));
    town.read_inboxes();
    town.fail(arrival, 0, failed);
    assert!(town.seal(0));
    // The store still has it parked; the pause is in flight.
    town.say("ana", "clip", Verb::Retry);
    town.read_inboxes();
    assert_eq!(town.nodes[0].shard.moving(), 1);
    town.settle();
    assert_eq!(town.state("ana", "clip"), "settled");
}
