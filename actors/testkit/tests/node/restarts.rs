//! What a node that starts on what another one left says first.

use crate::town::Town;
use gristmill_testkit::faults::Fault;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn a_shard_that_was_loaded_tells_the_log_how_far_it_had_committed() {
    let mut town = Town::new();
    town.start().await;
    town.consent().await;
    town.hand_in("first").await;
    town.rest().await;
    town.stop().await;
    town.start().await;
    // From now on it commits no index.
    town.faults.when(1, Fault::Hang, |call| {
        call.commit.is_some_and(|commit| !commit.outbox_remove.is_empty())
    });
    town.hand_in("second").await;
    town.pass(Duration::from_secs(2)).await;
    assert_eq!(town.faults.met().len(), 1, "its entry has no index");
    assert_eq!(town.sequenced_objects(), 1, "the newest one stands");
    town.faults.release();
    town.rest().await;
    town.stop().await;
    assert_eq!(town.audited().finished.len(), 2);
}
