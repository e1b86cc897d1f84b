//! What a shard decides while a commit hangs stays within bounds, however much waits.

use crate::town::Town;
use gristmill_testkit::faults::{Call, Fault, Operation};
use gristmill_workflows::commit::Place;
use gristmill_workflows::limits::COMMIT_JOURNEYS_MAX;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const MANY: usize = COMMIT_JOURNEYS_MAX + 200;

/// Most journeys in one commit so far.
fn watched(town: &Town) -> Arc<AtomicUsize> {
    let most = Arc::new(AtomicUsize::new(0));
    let seen = most.clone();
    town.faults.when(u64::MAX, Fault::AppliedLate(0), move |call| {
        let journeys = call.commit.map_or(0, |commit| commit.journeys.len());
        seen.fetch_max(journeys, Ordering::Relaxed);
        false
    });
    most
}

fn ends(call: &Call<'_>) -> bool {
    let ended = |(_, place, ..): &(_, Place, _, _)| *place == Place::Finished;
    call.commit.is_some_and(|commit| commit.journeys.iter().any(ended))
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_walks_no_further_than_one_commit_may_hold() {
    let mut town = Town::new();
    town.start().await;
    town.consent().await;
    town.rest().await;
    for nth in 0..MANY {
        town.hand_in(&format!("stuck {nth}")).await;
    }
    town.rest().await;
    assert_eq!(town.rows().active.len(), MANY);
    let most = watched(&town);
    town.faults.when(1, Fault::Hang, ends);
    town.withdraw().await;
    town.pass(Duration::from_secs(60)).await;
    all_end_within_the_bound(town, &most).await;
}

#[tokio::test(start_paused = true)]
async fn no_more_is_let_in_and_refused_than_one_commit_may_hold() {
    let mut town = Town::new();
    town.start().await;
    town.rest().await;
    let most = watched(&town);
    town.faults.when(1, Fault::Hang, |call| call.operation == Operation::Commit);
    // Nobody has consented.
    for nth in 0..MANY {
        town.hand_in(&nth.to_string()).await;
    }
    town.pass(Duration::from_secs(60)).await;
    all_end_within_the_bound(town, &most).await;
}

/// The one commit that hangs goes on, and everything ends: in no commit more than one may hold.
async fn all_end_within_the_bound(mut town: Town, most: &AtomicUsize) {
    assert_eq!(town.faults.met().len(), 1, "nothing ended meanwhile");
    town.faults.release();
    town.rest().await;
    let most = most.load(Ordering::Relaxed);
    assert!((1..=COMMIT_JOURNEYS_MAX).contains(&most), "{most} journeys in one commit");
    assert_eq!(town.ended(), (0, MANY as u64));
    town.stop().await;
}
