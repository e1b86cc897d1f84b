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
