//! The audit over what a test left behind: a stopped store, the log, the rail's book.
//!
//! The checks themselves are `gristmill_workflows::audit`, the same that the product's audit runs.

use gristmill_actors::rail::{BookLine, BookState};
use gristmill_actors::trace_log::{self, TraceLog};
use gristmill_workflows::audit::{Audit, LogBook, RailBook, RailLine};
use gristmill_workflows::codec::{self, decode};
use gristmill_workflows::commit::Place;
use gristmill_workflows::id::{Arrival, ContributionId, IdKey, ShardId};
use gristmill_workflows::tombstone::Finished;

use crate::memory_store::{MemoryStore, ShardRows};

pub use gristmill_workflows::audit::{Check, Published, Violation};

/// What is left when every node has stopped.
#[derive(Debug)]
pub struct Remains<'a> {
    /// The nodes' secret for ids.
    pub key: IdKey,
    /// The store.
    pub store: &'a MemoryStore,
    /// Entries by index, those included that are sequenced and not published.
    pub entries: &'a [Vec<u8>],
    /// Checkpoints that were ever seen published.
    pub published: &'a [Published],
    /// The checkpoint that is served now.
    pub current: Option<Published>,
    /// The rail's book.
    pub rail: &'a [BookLine],
    /// Every contribution that was acknowledged, and where. If there is none, lost ones show only by
    /// what they left behind.
    pub acknowledged: &'a [(ShardId, Arrival, ContributionId)],
}

/// Every entry of a log that was just opened, published or not.
///
/// # Errors
/// [`trace_log::Error`] when a bundle cannot be used.
pub async fn entries(log: &mut TraceLog) -> Result<Vec<Vec<u8>>, trace_log::Error> {
    let mut entries = Vec::new();
    for index in 0..log.sequenced_size() {
        entries.push(log.entry(index).await?);
    }
    Ok(entries)
}

/// Runs every check over what is left; one check an invariant.
///
/// # Errors
/// [`codec::Error`] when a row does not decode.
pub fn check(remains: &Remains<'_>) -> Result<Vec<Check>, codec::Error> {
    let mut log = LogBook::new(remains.key.clone(), remains.published, remains.current);
    for (index, entry) in (0..).zip(remains.entries) {
        log.entry(index, entry, None);
    }
    let mut rail = RailBook::default();
    for line in remains.rail {
        let BookLine { key, account, currency, minor, state, .. } = line;
        let paid = *state == BookState::Paid;
        rail.line(&RailLine { key, account, currency, minor: *minor, paid });
    }
    let shards = gristmill_actors::ports::ShardStore::shards(remains.store);
    let mut audit = Audit::new(remains.key.clone(), shards, log, Some(rail));
    let all = (0..shards).map(ShardId);
    let rows: Vec<(ShardId, ShardRows)> =
        all.filter_map(|shard| Some((shard, remains.store.rows(shard)?))).collect();
    for (shard, rows) in &rows {
        outboxes(&mut audit, *shard, rows)?;
    }
    for (shard, rows) in &rows {
        journeys(&mut audit, *shard, rows)?;
    }
    for (shard, rows) in &rows {
        for (key, row) in &rows.contributors {
            audit.contributor(*shard, *key, &decode(row)?);
        }
    }
    for (shard, arrival, id) in remains.acknowledged {
        audit.acknowledged(*shard, *arrival, *id);
    }
    Ok(audit.finish())
}

fn outboxes(audit: &mut Audit, shard: ShardId, rows: &ShardRows) -> Result<(), codec::Error> {
    if let Some(state) = &rows.state {
        audit.shard_state(shard, &decode(state)?);
    }
    for (from, row) in &rows.outbox {
        audit.outbox(shard, *from, &decode(row)?);
    }
    for (from, row) in &rows.sequenced {
        audit.sequenced(shard, *from, decode(row)?);
    }
    Ok(())
}

fn journeys(audit: &mut Audit, shard: ShardId, rows: &ShardRows) -> Result<(), codec::Error> {
    for (arrival, item) in rows.control.iter().chain(&rows.intake) {
        audit.inbox(shard, *arrival, &decode(item)?);
    }
    for (place, rows) in [(Place::Active, &rows.active), (Place::Finished, &rows.finished)] {
        for row in rows.values() {
            match Finished::read(row)? {
                Finished::Journey(journey) => audit.journey(shard, place, &journey),
                Finished::Expired(tombstone) => audit.tombstone(shard, &tombstone),
            }
        }
    }
    Ok(())
}

/// Violations as lines for a failed test: invariant, id, sentence.
#[must_use]
pub fn lines(checks: &[Check]) -> Vec<String> {
    let of = |check: &Check| {
        let invariant = check.invariant;
        let line = move |v: &Violation| format!("{invariant:?} {}: {}", v.id, v.sentence);
        check.violations.iter().map(line).collect::<Vec<_>>()
    };
    checks.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_store::Shape;
    use gristmill_actors::ports::{Intake, Reads, ShardStore};
    use gristmill_workflows::codec::encode;
    use gristmill_workflows::commit::{Commit, ShardState};
    use gristmill_workflows::definition::WorkflowRef;
    use gristmill_workflows::inbox::{Item, Lane};
    use gristmill_workflows::journey::{Journey, State};
    use gristmill_workflows::lease::Fence;
    use gristmill_workflows::request::Reason;
    use gristmill_workflows::submission::{Modality, Submission};
    use gristmill_workflows::time::Timestamp;
    use std::sync::Arc;

    fn submission(key: &IdKey, name: &str) -> Submission {
        Submission {
            id: key.contribution("kr-1", name),
            contributor: "kr-1".into(),
            idempotency_key: name.into(),
            program: "seoul".into(),
            task: "none".into(),
            modality: Modality::None,
            language: None,
            media: None,
            transcript: None,
            captured_at: None,
            data_key: 0,
            at: Timestamp(1),
        }
    }

    /// A rejected journey and a queued contribution of one person.
    async fn stopped(key: &IdKey) -> (MemoryStore, Vec<(ShardId, Arrival, ContributionId)>) {
        let store = MemoryStore::new(Shape::default());
        let done = submission(key, "done");
        let shard = done.id.bucket.shard(4);
        let mut acknowledged = Vec::new();
        for (arrival, submission) in (1..).zip([done.clone(), submission(key, "queued")]) {
            acknowledged.push((shard, arrival, submission.id));
            let item = encode(&Item::Contribution(submission)).unwrap();
            let lane = Lane::Intake;
            store
                .submit(vec![Intake {
                    shard,
                    lane,
                    item,
                    identity: None,
                    mark: None,
                    reads: Reads::default(),
                }])
                .await
                .unwrap();
        }
        let workflow = WorkflowRef { name: "w".into(), version: 1, hash: [0; 16] };
        let mut journey = Journey::begin(1, done, workflow);
        journey.state = State::Rejected(Reason::known("no_grant"));
        let mut state = ShardState::default();
        state.finished.insert("rejected:no_grant".into(), 1);
        let commit = Commit {
            inbox_remove: vec![(Lane::Intake, 1)],
            journeys: vec![(1, Place::Finished, false, encode(&journey).unwrap())],
            state: encode(&state).unwrap(),
            ..Commit::default()
        };
        let lease = store.claim(shard, 1).await.unwrap();
        let fence = Fence { owner: 1, epoch: lease.epoch, seq: 1 };
        store.commit(shard, fence, Arc::new(commit)).await.unwrap();
        (store, acknowledged)
    }

    #[tokio::test]
    async fn a_dropped_row_of_a_stopped_store_is_found_by_its_id() {
        let key = IdKey::new([7; 32]);
        let (store, acknowledged) = stopped(&key).await;
        let remains = Remains {
            key,
            store: &store,
            entries: &[],
            published: &[],
            current: None,
            rail: &[],
            acknowledged: &acknowledged,
        };
        assert_eq!(lines(&check(&remains).unwrap()), Vec::<String>::new());
        let (shard, _, done) = acknowledged[0];
        let mut rows = store.rows(shard).unwrap();
        let dropped = rows.finished.remove(&1).unwrap();
        store.replace_rows(shard, rows.clone());
        let checks = check(&remains).unwrap();
        assert!(matches!(&lines(&checks)[..], [line] if line.contains(&done.to_string())));
        rows.finished.insert(1, dropped[1..].to_vec());
        store.replace_rows(shard, rows);
        assert!(check(&remains).is_err());
    }
}
