//! A window that is smaller than the backlog.

use gristmill_tests::{DataDir, Gristmill, Manifest, run_arguments};
use std::time::Duration;

/// Found by the benchmark: with every permit taken by journeys that waited for their program's
/// budget, the shard did not read the grant in its control lane.
#[test]
fn a_full_window_that_waits_for_budget_still_hears_the_grant() {
    let dir = DataDir::new();
    let path = dir.write("m.ndjson", Manifest::engine("w", 2_000, 100).as_bytes());
    let gristmill = Gristmill::command()
        .env("GRISTMILL_NODE__WINDOW", "256")
        .deadline(Duration::from_secs(120));
    drop(gristmill.run(run_arguments(&dir, &path)).expect(0));
    assert_eq!(dir.report().total("settled"), 2_000);
}
