//! Finished journeys expire: what is left still answers, adds up, and can be withdrawn.

use crate::town::Town;
use gristmill_testkit::faults::{Call, Fault};
use gristmill_testkit::memory_store::ShardRows;
use gristmill_workflows::journey::State;
use gristmill_workflows::submission::Scope;
use gristmill_workflows::tombstone::{Finished, Tombstone};
use std::time::Duration;

const RETENTION: Duration = Duration::from_secs(3_600);
/// Passes begin that often, and the sweep that begins them a little later.
const BY_THEN: Duration = Duration::from_secs(3_600 + 700);

fn tombstones(rows: &ShardRows) -> Vec<Tombstone> {
    let read = |row: &Vec<u8>| match Finished::read(row).unwrap() {
        Finished::Expired(tombstone) => Some(*tombstone),
        Finished::Journey(_) => None,
    };
    rows.finished.values().filter_map(read).collect()
}

/// Two settled contributions whose time is over.
async fn expired(town: &mut Town) {
    town.retention = Some(RETENTION);
    town.start().await;
    town.consent().await;
    town.rest().await;
    for name in ["first", "second"] {
        town.hand_in(name).await;
    }
    town.rest().await;
    town.pass(BY_THEN).await;
    town.rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_finished_journey_stays_whole_for_its_time_and_no_longer() {
    let mut town = Town::new();
    town.retention = Some(RETENTION);
    town.start().await;
    town.consent().await;
    town.hand_in("first").await;
    town.rest().await;
    town.pass(RETENTION - Duration::from_secs(60)).await;
    town.rest().await;
    assert_eq!(tombstones(&town.rows()), []);
    town.pass(Duration::from_secs(760)).await;
    town.rest().await;
    town.stop().await;
    let rows = town.audited();
    let left = tombstones(&rows);
    assert_eq!((left.len(), rows.finished.len()), (1, 1));
    let kept = left[0].accepted.as_ref().unwrap();
    assert_eq!((&left[0].state, kept.micro), (&State::Settled, 7_000_000));
    assert!(kept.entry.index.is_some() && kept.payout.unwrap().minor == 7);
    let bytes = rows.finished.values().next().unwrap();
    assert!(bytes.len() <= 160, "a tombstone has {} bytes", bytes.len());
    assert!(!bytes.windows(6).any(|part| part == b"person"), "it names the person");
}

#[tokio::test(start_paused = true)]
async fn nothing_expires_unless_it_is_configured() {
    let mut town = Town::new();
    town.start().await;
    town.consent().await;
    town.hand_in("first").await;
    town.rest().await;
    town.pass(Duration::from_secs(86_400)).await;
    town.rest().await;
    town.stop().await;
    assert_eq!(tombstones(&town.audited()), []);
}

#[tokio::test(start_paused = true)]
async fn what_expired_is_not_taken_a_second_time() {
    let mut town = Town::new();
    expired(&mut town).await;
    town.hand_in_again("first").await;
    town.rest().await;
    town.stop().await;
    assert_eq!(tombstones(&town.audited()).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_reaches_what_expired() {
    let mut town = Town::new();
    expired(&mut town).await;
    town.hand_in("third").await;
    town.rest().await;
    town.withdraw().await;
    town.rest().await;
    town.stop().await;
    let left = tombstones(&town.audited());
    let withdrawn = |one: &Tombstone| {
        let withdrawn = one.accepted.as_ref().unwrap().withdrawn.as_ref().unwrap();
        withdrawn.entry.is_some()
    };
    assert_eq!(left.iter().filter(|one| withdrawn(one)).count(), 2);
}

/// Both begin before either has changed a row. Found by the simulator, seed 1650.
#[tokio::test(start_paused = true)]
async fn two_withdrawals_at_once_say_once_that_what_expired_is_withdrawn() {
    let mut town = Town::new();
    expired(&mut town).await;
    let entries = town.published().await.0;
    let program = Scope::Program("plain".to_owned());
    let both = vec![town.withdrawal(Scope::All), town.withdrawal(program)];
    town.put(both).await;
    town.rest().await;
    assert_eq!(town.published().await.0, entries + 2, "one for each of two contributions");
    town.stop().await;
    town.audited();
}

fn expires(call: &Call<'_>) -> bool {
    let is_expired = |row: &[u8]| matches!(Finished::read(row), Ok(Finished::Expired(_)));
    call.commit.is_some_and(|commit| commit.journeys.iter().any(|(.., row)| is_expired(row)))
}

#[tokio::test(start_paused = true)]
async fn a_commit_of_tombstones_may_fail_persist_unseen_come_late_or_be_the_last() {
    let faults = [
        (Fault::Failed, 1),
        (Fault::Failed, 30),
        (Fault::FailedButPersisted, 1),
        (Fault::AppliedLate(1), 1),
        (Fault::AppliedLate(3), 1),
        (Fault::Die, 1),
        (Fault::DieApplied, 1),
    ];
    for (fault, times) in faults {
        let mut town = Town::new();
        town.faults.when(times, fault, expires);
        expired(&mut town).await;
        town.pass(BY_THEN).await;
        town.rest().await;
        assert!(!town.faults.met().is_empty(), "nothing met {fault:?}");
        town.stop().await;
        assert_eq!(tombstones(&town.audited()).len(), 2, "{fault:?}");
    }
}
