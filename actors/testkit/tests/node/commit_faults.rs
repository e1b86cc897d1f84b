//! The fault table of commits: each commit of a contributor's story, and each of its submissions,
//! fails, fails but persists, is applied late, or ends the process.

use crate::town::Town;
use gristmill_actors::limits::COMMIT_RESENDS_MAX;
use gristmill_testkit::faults::{Call, Fault, Operation};
use gristmill_workflows::codec::decode;
use gristmill_workflows::commit::{Commit, Place};
use gristmill_workflows::inbox::Lane;
use gristmill_workflows::journey::{Journey, State};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

const RESENDS: u64 = COMMIT_RESENDS_MAX as u64 + 1;

/// What a call may meet, for how many calls in a row.
const FAULTS: [(&str, Fault, u64); 9] = [
    ("failed", Fault::Failed, 1),
    ("failed until its memory is given up", Fault::Failed, RESENDS),
    ("failed but persisted", Fault::FailedButPersisted, 1),
    ("the same until its memory is given up", Fault::FailedButPersisted, RESENDS),
    ("applied late, after its resend", Fault::AppliedLate(3), 1),
    ("applied late, before its resend", Fault::AppliedLate(1), 1),
    ("applied after its memory was given up", Fault::AppliedLate(RESENDS + 2), RESENDS),
    ("the process dies before", Fault::Die, 1),
    ("the process dies after", Fault::DieApplied, 1),
];

/// Commit points that the story has to pass.
const POINTS: [&str; 7] = [
    "consent",
    "admission",
    "C1 acceptance",
    "C2 the log's answer",
    "C3 payout",
    "withdrawal",
    "command",
];

/// What a commit carries, in the words of [`POINTS`]; of control items the one of the phase.
fn points(phase: &'static str, commit: &Commit) -> Vec<&'static str> {
    let control = commit.inbox_remove.iter().any(|(lane, _)| *lane == Lane::Control);
    let finished = commit.journeys.iter().any(|(_, place, ..)| *place == Place::Finished);
    let all = [
        (control, phase),
        (commit.admitted.is_some(), "admission"),
        (!commit.guards.is_empty(), "C1 acceptance"),
        (!commit.sequenced_put.is_empty(), "C2 the log's answer"),
        (finished, "C3 payout"),
    ];
    all.into_iter().filter(|(has, _)| *has).map(|(_, point)| point).collect()
}

/// Consent, three contributions of which one is stuck, a retry by an operator, a withdrawal; then
/// everything that must hold. `met` is told what each commit call was about.
async fn story(operation: Operation, nth: u64, fault: Option<(Fault, u64)>) -> Met {
    let mut town = Town::new();
    let phase = Arc::new(Mutex::new("consent"));
    let met = Arc::new(Mutex::new(Met::default()));
    let (seen, told) = (phase.clone(), met.clone());
    town.faults.when(u64::MAX, Fault::AppliedLate(0), move |call| {
        told.lock().unwrap().note(*seen.lock().unwrap(), call);
        false
    });
    if let Some((fault, times)) = fault {
        let applies = move |call: &Call<'_>| call.operation == operation && call.number >= nth;
        town.faults.when(times, fault, applies);
    }
    town.start().await;
    town.consent().await;
    town.rest().await;
    for name in ["first", "stuck", "third"] {
        town.hand_in(name).await;
    }
    town.rest().await;
    *phase.lock().unwrap() = "command";
    town.gate.lock().unwrap().open = true;
    town.retry("stuck").await;
    town.rest().await;
    *phase.lock().unwrap() = "withdrawal";
    town.withdraw().await;
    town.rest().await;
    town.stop().await;
    if fault.is_some() {
        assert!(!town.faults.met().is_empty(), "nothing met the fault");
    }
    let rows = town.audited();
    assert_eq!(rows.finished.len(), 3);
    for row in rows.finished.values() {
        let journey: Journey = decode(row).unwrap();
        assert_eq!(journey.state, State::Settled, "{journey:?}");
        assert!(journey.withdrawn.is_some(), "{journey:?}");
    }
    std::mem::take(&mut met.lock().unwrap())
}

/// Calls of a story.
#[derive(Debug, Default)]
struct Met {
    commits: u64,
    submits: u64,
    points: BTreeSet<&'static str>,
}

impl Met {
    fn note(&mut self, phase: &'static str, call: &Call<'_>) {
        self.submits += u64::from(call.operation == Operation::Submit);
        if let Some(commit) = call.commit {
            self.commits += 1;
            self.points.extend(points(phase, commit));
        }
    }
}

/// One cell of the table; the panic of a cell says which one it was.
async fn cell(operation: Operation, nth: u64, (name, fault, times): (&str, Fault, u64)) {
    let told = tokio::spawn(async move { story(operation, nth, Some((fault, times))).await }).await;
    assert!(told.is_ok(), "{operation:?} {nth} {name}");
}

#[tokio::test(start_paused = true)]
async fn every_commit_may_fail_persist_unseen_come_late_or_be_the_last() {
    let met = story(Operation::Commit, 0, None).await;
    assert_eq!(met.points, POINTS.into_iter().collect(), "the story passes every commit point");
    for nth in 1..=met.commits {
        for fault in FAULTS {
            cell(Operation::Commit, nth, fault).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_submission_may_fail_persist_unseen_come_late_or_be_the_last() {
    let met = story(Operation::Submit, 0, None).await;
    for nth in 1..=met.submits {
        for fault in FAULTS {
            cell(Operation::Submit, nth, fault).await;
        }
    }
}
