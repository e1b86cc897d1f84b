//! What fails is tried again, later and later; what is unavailable costs no attempt.

use crate::town::{FLAKY_TIMES, SHARD, Town};
use gristmill_actors::limits::{COMMIT_RESENDS_MAX, RELOAD_AFTER};
use gristmill_testkit::faults;
use gristmill_testkit::model_rail::Fault;
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn retries_back_off_with_jitter_up_to_their_ceiling() {
    let mut town = Town::new();
    town.start().await;
    town.consent().await;
    town.hand_in("flaky").await;
    town.rest().await;
    town.stop().await;
    assert_eq!(town.audited().finished.len(), 1);
    let attempts = std::mem::take(&mut town.gate.lock().unwrap().flaky);
    assert_eq!(attempts.len(), FLAKY_TIMES + 1);
    let waits: Vec<u64> = attempts.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    for (wait, ceiling) in waits.iter().zip([100, 200, 400, 800, 1_000]) {
        // A timer is as exact as a millisecond; commits take no time here.
        assert!((1..=ceiling + 5).contains(wait), "{waits:?}");
    }
    let halves = waits.iter().zip([50, 100, 200, 400, 500]);
    let above = halves.filter(|(wait, half)| *wait > half).count();
    assert!((1..FLAKY_TIMES).contains(&above), "no jitter: {waits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rail_that_is_down_for_long_costs_no_attempt() {
    let mut town = Town::new();
    town.start().await;
    town.consent().await;
    town.rest().await;
    let down = Duration::from_secs(3 * 3_600);
    town.rail.down_for(down);
    for name in ["a", "b", "c", "d"] {
        town.hand_in(name).await;
    }
    town.rest().await;
    town.stop().await;
    assert_eq!(town.audited().finished.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_rail_that_says_when_to_come_again_is_taken_at_its_word() {
    let mut town = Town::new();
    town.start().await;
    town.consent().await;
    town.rest().await;
    // The model asks for a second each time.
    let times = 20;
    town.rail.script((0..times).map(|_| Some(Fault::TooManyRequests)));
    let start = Instant::now();
    town.hand_in("a").await;
    town.rest().await;
    let took = start.elapsed();
    town.stop().await;
    assert_eq!(town.audited().finished.len(), 1);
    let asked = Duration::from_secs(times);
    assert!((asked..asked * 2).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_that_overtakes_an_acceptance_costs_its_shard_no_wait() {
    let mut town = Town::new();
    town.start().await;
    town.consent().await;
    town.rest().await;
    town.faults.when(1, faults::Fault::Hang, |call| {
        call.commit.is_some_and(|commit| !commit.guards.is_empty())
    });
    town.hand_in("a").await;
    while town.faults.met().is_empty() {
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    town.withdraw().await;
    let began = Instant::now();
    town.faults.release();
    town.rest().await;
    let took = began.elapsed();
    town.stop().await;
    let rows = town.store.rows(SHARD).unwrap();
    assert_eq!((rows.active.len(), rows.finished.len()), (0, 1));
    assert_eq!(town.rail.lines(), []);
    assert!(took < RELOAD_AFTER, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_is_back_makes_no_attempt_for_memory_that_was_given_up() {
    let mut town = Town::new();
    town.start().await;
    town.consent().await;
    town.rest().await;
    town.hand_in("away").await;
    town.pass(Duration::from_secs(1)).await;
    let resends = u64::from(COMMIT_RESENDS_MAX) + 1;
    let commits = |call: &faults::Call<'_>| call.operation == faults::Operation::Commit;
    town.faults.when(resends, faults::Fault::Failed, commits);
    // A word on something that nobody knows is committed, too.
    town.retry("nothing").await;
    town.pass(Duration::from_secs(60)).await;
    assert_eq!((town.restarts(), town.moving()), (1, 1), "its memory was given up");
    town.gate.lock().unwrap().open = true;
    town.rest().await;
    town.stop().await;
    assert_eq!(town.gate.lock().unwrap().away, 1);
    assert_eq!(town.audited().finished.len(), 1);
}
