//! Deliberate bugs: each is switched on, and seeds of the simulator have to find it.
//!
//! A suite that finds none of them is not a suite. The feature `teeth` builds the bugs in.
#![cfg(test)]

use gristmill_testkit::simulator::{Options, simulate};
use gristmill_workflows::teeth::{Tooth, switch};

/// Each bug is found within as many seeds.
const SEEDS: u64 = 600;

// One test for all: the switch is one for the whole process.
#[test]
fn every_deliberate_bug_is_found() {
    // The panics of stages are wanted, and the runner shows what else there is.
    std::panic::set_hook(Box::new(|_| {}));
    let mut escaped = Vec::new();
    for tooth in Tooth::ALL {
        switch(Some(tooth));
        let found = (1..=SEEDS).find_map(|seed| {
            let report = simulate(seed, Options::default()).unwrap();
            report.breaches.into_iter().next().map(|breach| (seed, breach))
        });
        match found {
            Some((seed, breach)) => println!("{tooth:?} by seed {seed}: {breach}"),
            None => escaped.push(tooth),
        }
    }
    switch(None);
    drop(std::panic::take_hook());
    assert_eq!(escaped, []);
}
