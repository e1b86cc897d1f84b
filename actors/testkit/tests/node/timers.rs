//! Timers of parked journeys: they cost what is due, and nothing else.

use crate::town::Town;
use gristmill_testkit::faults::{Fault, Operation};
use gristmill_workflows::time::Timestamp;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;

const SECOND: Duration = Duration::from_secs(1);
/// Journeys that one shard of the town lets move at once.
const WINDOW: usize = 16;

async fn consented() -> Town {
    let mut town = Town::new();
    town.start().await;
    town.consent().await;
    town.rest().await;
    town
}

#[tokio::test(start_paused = true)]
async fn one_task_waits_for_timers_however_often_journeys_park() {
    let mut town = consented().await;
    let mut naps = 0;
    town.gate.lock().unwrap().naps = Some(Box::new(move |_, now| {
        naps += 1;
        Some(now.plus_ms(1_000 + naps * 7_919 % 9_000))
    }));
    for nth in 0..8 {
        town.hand_in(&format!("nap {nth}")).await;
    }
    town.pass(60 * SECOND).await;
    let before = Handle::current().metrics().num_alive_tasks();
    town.pass(3_600 * SECOND).await;
    let after = Handle::current().metrics().num_alive_tasks();
    assert!(after <= before + 8, "{before} tasks have become {after}");
    town.gate.lock().unwrap().naps = None;
    town.rest().await;
    town.stop().await;
    town.audited();
}

#[tokio::test(start_paused = true)]
async fn what_is_due_moves_as_far_as_permits_reach() {
    let mut town = consented().await;
    let due = town.now().plus_ms(50_000);
    let sleeps = move |now: Timestamp| (now < due).then_some(due);
    town.gate.lock().unwrap().naps = Some(Box::new(move |_, now| sleeps(now)));
    for nth in 0..100 {
        town.hand_in(&format!("nap {nth}")).await;
    }
    town.pass(10 * SECOND).await;
    assert_eq!((town.rows().timers.len(), town.moving()), (100, 0));
    // Its rows come late; by then all the others are due as well. What moves then stays.
    town.faults.when(1, Fault::Hang, |call| call.operation == Operation::Journeys);
    town.pass(45 * SECOND).await;
    town.faults.when(1, Fault::Hang, |call| call.operation == Operation::Commit);
    town.faults.release();
    town.pass(SECOND).await;
    assert_eq!(town.faults.met().len(), 2, "{:?}", town.faults.met());
    assert_eq!(town.moving(), WINDOW);
    town.faults.release();
    town.rest().await;
    town.stop().await;
    assert_eq!(town.audited().finished.len(), 100);
}

/// Longer sleeps stand in the store only. Those that are always short must not keep the shard from
/// reading them.
#[tokio::test(start_paused = true)]
async fn long_sleeps_end_in_time_while_others_park_again_and_again() {
    let mut town = consented().await;
    let due = town.now().plus_ms(200_000);
    let late = Arc::new(Mutex::new(BTreeSet::new()));
    let awake = late.clone();
    let mut naps = 0;
    town.gate.lock().unwrap().naps = Some(Box::new(move |name, now| {
        if name.starts_with("short") {
            naps += 1;
            return Some(now.plus_ms(200 + naps * 7_919 % 900));
        }
        if now < due {
            return Some(due);
        }
        awake.lock().unwrap().insert(name.to_owned());
        Some(now.plus_ms(1_000_000))
    }));
    for nth in 0..1_000 {
        town.hand_in(&format!("long {nth}")).await;
    }
    for nth in 0..4 {
        town.hand_in(&format!("short {nth}")).await;
    }
    town.pass(198 * SECOND).await;
    assert_eq!(late.lock().unwrap().len(), 0);
    town.pass(4 * SECOND).await;
    assert_eq!(late.lock().unwrap().len(), 1_000);
    town.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_timer_of_a_journey_that_waits_no_more_costs_no_commit() {
    let mut town = consented().await;
    town.gate.lock().unwrap().naps = Some(Box::new(|_, now| Some(now.plus_ms(5_000))));
    town.hand_in("a").await;
    town.pass(SECOND).await;
    town.pause("a").await;
    town.pass(SECOND).await;
    assert_eq!(town.rows().timers.len(), 0, "it was taken back");
    let commits = || town.engine().counters.commits.load(Ordering::Relaxed);
    let (before, read) = (commits(), town.faults.calls(Operation::Journeys));
    town.pass(30 * SECOND).await;
    assert!(town.faults.calls(Operation::Journeys) > read, "it was due");
    assert_eq!(commits(), before);
    town.stop().await;
}
