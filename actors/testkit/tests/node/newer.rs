//! A node among newer ones: what it does not understand stays as it is.

use crate::town::{SHARD, Town};
use gristmill_workflows::codec::decode;
use gristmill_workflows::journey::{Journey, State};
use gristmill_workflows::limits::LEFT_ALONE_MS;
use std::time::Duration;
use tokio::time::Instant;

/// The byte of a record that says its version.
const VERSION: usize = 3;

/// A town where one contribution stands in quarantine and no node runs.
async fn with_one_that_stands(version: u32) -> Town {
    let mut town = Town::among_others();
    town.version = version;
    town.start().await;
    town.holds(1).await;
    town.consent().await;
    town.hand_in("stuck").await;
    town.rest().await;
    town.stop().await;
    assert!(matches!(the_journey(&town).state, State::Paused { .. }));
    town.gate.lock().unwrap().open = true;
    town
}

fn the_journey(town: &Town) -> Journey {
    let rows = town.store.rows(SHARD).unwrap();
    decode(rows.active.values().next().expect("a journey that is not over")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_shard_with_a_newer_record_is_left_alone_and_the_node_goes_on() {
    let mut town = with_one_that_stands(1).await;
    town.change_rows(|rows| rows.active.values_mut().for_each(|row| row[VERSION] += 1));
    let before = town.store.rows(SHARD).unwrap();
    town.start().await;
    town.holds(1).await;
    town.retry("stuck").await;
    town.holds(0).await;
    let began = Instant::now();
    let after = town.store.rows(SHARD).unwrap();
    assert_eq!((&after.active, &after.contributors), (&before.active, &before.contributors));
    assert_eq!(after.control.len(), 1, "the word on it waits");
    // The newer node has had it, and is gone.
    town.change_rows(|rows| rows.active.values_mut().for_each(|row| row[VERSION] -= 1));
    town.holds(1).await;
    assert!(began.elapsed() >= Duration::from_millis(LEFT_ALONE_MS), "{:?}", began.elapsed());
    town.rest().await;
    town.stop().await;
    assert_eq!(town.audited().finished.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_shard_with_a_newer_item_in_its_inbox_is_left_alone() {
    let mut town = with_one_that_stands(1).await;
    town.start().await;
    town.holds(1).await;
    town.rest().await;
    town.stop().await;
    town.change_rows(|rows| {
        let mut item = rows.active.values().next().expect("a row").clone();
        item[VERSION] += 1;
        // The version is looked at before what it says.
        item[2] = <gristmill_workflows::inbox::Item as gristmill_workflows::codec::Record>::SCHEMA;
        rows.arrived += 1;
        rows.intake.insert(rows.arrived, item);
    });
    let before = town.store.rows(SHARD).unwrap();
    town.start().await;
    let epoch = || town.store.rows(SHARD).unwrap().lease.epoch;
    while epoch() == before.lease.epoch {
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    town.holds(0).await;
    let after = town.store.rows(SHARD).unwrap();
    assert_eq!((&after.intake, &after.active), (&before.intake, &before.active));
}

#[tokio::test(start_paused = true)]
async fn a_journey_of_a_newer_workflow_waits_for_a_node_that_has_it() {
    let mut town = with_one_that_stands(2).await;
    town.version = 1;
    town.start().await;
    town.holds(1).await;
    town.retry("stuck").await;
    town.holds(0).await;
    town.stop().await;
    assert!(matches!(the_journey(&town).state, State::Paused { .. }));
    town.version = 2;
    town.start().await;
    town.holds(1).await;
    town.rest().await;
    town.stop().await;
    assert_eq!(town.audited().finished.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_contribution_to_a_program_that_only_another_node_has_is_not_rejected() {
    let mut town = Town::among_others();
    town.start().await;
    town.holds(1).await;
    town.consent().await;
    town.rest().await;
    town.stop().await;
    town.has_program = false;
    town.start().await;
    town.holds(1).await;
    town.hand_in("a").await;
    town.rest().await;
    town.stop().await;
    assert!(matches!(the_journey(&town).state, State::Paused { .. }), "{:?}", the_journey(&town));
    town.has_program = true;
    town.start().await;
    town.holds(1).await;
    town.retry("a").await;
    town.rest().await;
    town.stop().await;
    assert_eq!(town.audited().finished.len(), 1);
}
