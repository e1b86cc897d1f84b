//! Stages that an operator paused, and lets go on.

use crate::town::Town;
use gristmill_testkit::faults::{Call, Fault};
use std::collections::BTreeSet;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn parks(call: &Call<'_>) -> bool {
    call.commit.is_some_and(|commit| !commit.timers_put.is_empty())
}

#[tokio::test(start_paused = true)]
async fn what_waits_at_a_paused_stage_goes_on_with_it() {
    let mut town = Town::new();
    town.start().await;
    town.consent().await;
    town.engine().pause(BTreeSet::from(["gate".to_owned()]));
    for name in ["a", "b", "c"] {
        town.hand_in(name).await;
    }
    town.pass(60 * SECOND).await;
    assert_eq!((town.rows().active.len(), town.ended()), (3, (0, 0)));
    town.engine().pause(BTreeSet::new());
    town.settled(3).await;
    town.rest().await;
    town.stop().await;
    town.audited();
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_to_wait_at_a_stage_that_goes_on_goes_on() {
    let mut town = Town::new();
    town.start().await;
    town.consent().await;
    town.rest().await;
    town.engine().pause(BTreeSet::from(["gate".to_owned()]));
    town.faults.when(1, Fault::Hang, parks);
    town.hand_in("a").await;
    town.pass(SECOND).await;
    assert_eq!(town.faults.met().len(), 1, "it does not park");
    town.engine().pause(BTreeSet::new());
    town.pass(SECOND).await;
    town.faults.release();
    town.settled(1).await;
    town.rest().await;
    town.stop().await;
    town.audited();
}
