//! The simulator itself: the same seed is the same run, and seeds reach everything they should.
#![cfg(test)]

use gristmill_testkit::simulator::{Options, Report, simulate};

fn run(seed: u64) -> Report {
    let report = simulate(seed, Options::default()).unwrap();
    assert_eq!(report.breaches, Vec::<String>::new(), "./tests/run sim {seed}");
    report
}

#[test]
fn the_same_seed_is_the_same_run_to_the_last_event() {
    for seed in [2, 5, 9, 11, 22] {
        let (first, second) = (run(seed), run(seed));
        assert_eq!(first.events, second.events, "seed {seed}");
        assert_eq!(first.digest, second.digest, "seed {seed}");
    }
    assert_ne!(run(2).digest, run(3).digest);
}

#[test]
fn what_people_do_alone_breaks_nothing() {
    let calm = Options { without_faults: true };
    for seed in 1..=40 {
        let report = simulate(seed, calm).unwrap();
        assert_eq!(report.breaches, Vec::<String>::new(), "seed {seed}");
        assert!(report.faults.is_empty(), "{:?}", report.faults);
    }
}

/// Transitions that a run of seeds takes at least once; `./tests/run sim` counts all of them.
const TAKEN: [&str; 88] = [
    "event: Accepted",
    "event: Advanced",
    "event: Paid",
    "event: Parked(Backoff)",
    "event: Parked(ContentClaim)",
    "event: Parked(Signal)",
    "event: Parked(StagePaused)",
    "event: Parked(Timer)",
    "event: Paused(Exhausted)",
    "event: Paused(KilledNode)",
    "event: Paused(Operator)",
    "event: Paused(Panic)",
    "event: Paused(Permanent)",
    "event: Paused(RailWindowExpired)",
    "event: PayoutFailed",
    "event: Rejected",
    "event: Released",
    "event: Resumed",
    "event: Retried",
    "event: Settled",
    "event: Withdrawn",
    "journey: moving -> moving",
    "journey: moving -> parked:backoff",
    "journey: moving -> parked:content_claim",
    "journey: moving -> parked:stage_paused",
    "journey: moving -> paused:exhausted",
    "journey: moving -> paused:killed_node",
    "journey: moving -> paused:panic",
    "journey: moving -> paused:permanent",
    "journey: moving -> paused:rail_window_expired",
    "journey: moving -> rejected",
    "journey: moving -> settled",
    "journey: moving -> withdrawn",
    "journey: parked:backoff -> moving",
    "journey: parked:backoff -> withdrawn",
    "journey: parked:content_claim -> moving",
    "journey: parked:signal -> moving",
    "journey: parked:signal -> withdrawn",
    "journey: parked:stage_paused -> moving",
    "journey: parked:stage_paused -> withdrawn",
    "journey: parked:timer -> moving",
    "journey: parked:timer -> withdrawn",
    "journey: paused:exhausted -> moving",
    "journey: paused:exhausted -> rejected",
    "journey: paused:exhausted -> withdrawn",
    "journey: paused:killed_node -> moving",
    "journey: paused:killed_node -> rejected",
    "journey: paused:killed_node -> withdrawn",
    "journey: paused:panic -> moving",
    "journey: paused:panic -> rejected",
    "journey: paused:panic -> withdrawn",
    "journey: paused:permanent -> moving",
    "journey: paused:permanent -> paused:permanent",
    "journey: paused:permanent -> rejected",
    "journey: paused:permanent -> withdrawn",
    "journey: paused:rail_window_expired -> moving",
    "journey: paused:rail_window_expired -> paused:rail_window_expired",
    "journey: queued -> moving",
    "journey: queued -> parked:backoff",
    "journey: queued -> parked:content_claim",
    "journey: queued -> parked:signal",
    "journey: queued -> parked:stage_paused",
    "journey: queued -> parked:timer",
    "journey: queued -> paused:killed_node",
    "journey: queued -> paused:permanent",
    "journey: queued -> rejected",
    "journey: queued -> withdrawn",
    "journey: rejected -> expired",
    "journey: settled -> expired",
    "journey: settled -> settled",
    "journey: withdrawn -> expired",
    "lease claimed: another's",
    "lease claimed: free",
    "lease claimed: own",
    "lease commit: another's",
    "lease commit: applied",
    "lease commit: older epoch",
    "lease commit: repeated",
    "lease released",
    "lease renewed: lost",
    "lease renewed: prolonged",
    "payout: Failed",
    "payout: InFlight",
    "payout: Paid",
    "payout: Suspense",
    "sequencer: another was first",
    "sequencer: created",
    "sequencer: taken away",
];

#[test]
fn seeds_take_every_transition_of_the_table() {
    let mut taken = std::collections::BTreeSet::new();
    for seed in 1..=250 {
        taken.extend(run(seed).transitions.into_keys());
    }
    let missing: Vec<&str> = TAKEN.into_iter().filter(|which| !taken.contains(*which)).collect();
    assert_eq!(missing, Vec::<&str>::new());
}
