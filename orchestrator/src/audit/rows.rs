//! The rows of every shard, and what the last report acknowledged.

use super::{Error, Found, file};
use crate::journeys::ROWS_PAGE;
use gristmill_actors::ports::ShardStore;
use gristmill_workflows::audit::Audit;
use gristmill_workflows::codec::decode;
use gristmill_workflows::commit::{OutboxRow, Place, SequencedRow, ShardState};
use gristmill_workflows::contributor::Contributor;
use gristmill_workflows::id::{Arrival, ContributionId, ContributorKey, IdKey, ShardId, hex};
use gristmill_workflows::inbox::{Item, Lane};
use gristmill_workflows::invariant::Invariant;
use gristmill_workflows::submission::Submission;
use gristmill_workflows::tombstone::Finished;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{BufReader, ErrorKind};
use std::path::Path;

/// What the last run's report says.
#[derive(Debug, Default)]
pub(super) struct Reported {
    /// Every contribution it has a row of.
    pub(super) ids: Vec<ContributionId>,
    /// Entries that were published when it was written.
    pub(super) size: u64,
}

/// Reads a report as far as the audit needs it. One that does not stand, or was not finished, says
/// nothing: it is a copy for people, and no part of what is audited.
pub(super) fn reported(path: &Path) -> Result<Reported, Error> {
    #[derive(Deserialize)]
    struct Report {
        journeys: Vec<Row>,
        trace: Trace,
    }
    #[derive(Deserialize)]
    struct Row {
        id: String,
    }
    #[derive(Deserialize)]
    struct Trace {
        size: u64,
    }
    let opened = match std::fs::File::open(path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Reported::default()),
        Err(error) => return Err(file(path)(error)),
    };
    let read: Result<Report, serde_json::Error> = serde_json::from_reader(BufReader::new(opened));
    let Ok(report) = read else { return Ok(Reported::default()) };
    let ids = report.journeys.iter().filter_map(|row| ContributionId::parse(&row.id).ok());
    Ok(Reported { ids: ids.collect(), size: report.trace.size })
}

/// What the rows of one shard said, until they are held against identities.
#[derive(Default)]
struct Said {
    contributors: HashSet<ContributorKey>,
    ids: Vec<(Arrival, ContributionId)>,
    /// Journeys that a later one or the contributor's row names.
    named: BTreeSet<Arrival>,
    /// Rows that do not decode, with what is wrong.
    unread: BTreeMap<Arrival, String>,
}

impl Said {
    fn submission(&mut self, key: &IdKey, arrival: Arrival, submission: &Submission) {
        self.contributors.insert(key.contributor(&submission.contributor));
        self.ids.push((arrival, submission.id));
    }
}

/// Feeds every row, and everything that was acknowledged.
pub(super) async fn feed(
    store: &dyn ShardStore,
    key: &IdKey,
    reported: &[ContributionId],
    audit: &mut Audit,
    found: &mut Vec<Found>,
) -> Result<(), Error> {
    let shards = || (0..store.shards()).map(ShardId);
    for shard in shards() {
        state(store, shard, audit, found).await?;
        sequenced(store, shard, audit, found).await?;
    }
    let mut reported = by_shard(store, reported);
    // One shard after the other, so that what is in memory is one shard's.
    for shard in shards() {
        let mut said = Said::default();
        inbox(store, key, shard, audit, &mut said).await?;
        for place in [Place::Active, Place::Finished] {
            journeys(store, key, (shard, place), audit, &mut said).await?;
        }
        contributors(store, shard, audit, &mut said, found).await?;
        identities(store, shard, &said.ids, audit).await?;
        let reported = reported.remove(&shard).unwrap_or_default();
        lost(store, shard, reported, audit, said, found).await?;
        audit.shard_ends();
    }
    Ok(())
}

fn unread(shard: ShardId, what: &str, number: u64) -> String {
    format!("shard {shard} {what} {number}")
}

async fn state(
    store: &dyn ShardStore,
    shard: ShardId,
    audit: &mut Audit,
    found: &mut Vec<Found>,
) -> Result<(), Error> {
    let loaded = store.load(shard).await?;
    match loaded.state.map(|bytes| decode::<ShardState>(&bytes)) {
        None => {}
        Some(Ok(state)) => audit.shard_state(shard, &state),
        Some(Err(error)) => {
            let id = format!("shard {shard} state");
            found.push(Found::new(Invariant::MoneyAddsUp, id, error.to_string()));
        }
    }
    for (from, bytes) in loaded.outbox {
        match decode::<OutboxRow>(&bytes) {
            Ok(row) => audit.outbox(shard, from, &row),
            Err(error) => {
                let id = unread(shard, "outbox", from);
                found.push(Found::new(Invariant::OneEntry, id, error.to_string()));
            }
        }
    }
    Ok(())
}

/// Newest first, since the port finds the row at or below a position.
async fn sequenced(
    store: &dyn ShardStore,
    shard: ShardId,
    audit: &mut Audit,
    found: &mut Vec<Found>,
) -> Result<(), Error> {
    let mut below = Some(u64::MAX);
    while let Some(position) = below {
        let Some((from, bytes)) = store.sequenced(shard, position).await? else { break };
        match decode::<SequencedRow>(&bytes) {
            Ok(row) => audit.sequenced(shard, from, row),
            Err(error) => {
                let id = unread(shard, "sequenced", from);
                found.push(Found::new(Invariant::OneEntry, id, error.to_string()));
            }
        }
        below = from.checked_sub(1);
    }
    Ok(())
}

async fn inbox(
    store: &dyn ShardStore,
    key: &IdKey,
    shard: ShardId,
    audit: &mut Audit,
    said: &mut Said,
) -> Result<(), Error> {
    for lane in [Lane::Control, Lane::Intake] {
        let mut after = None;
        loop {
            let page = store.inbox(shard, lane, after, ROWS_PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            for (arrival, bytes) in page {
                match decode::<Item>(&bytes) {
                    Ok(item) => {
                        if let Item::Contribution(submission) = &item {
                            said.submission(key, arrival, submission);
                        }
                        audit.inbox(shard, arrival, &item);
                    }
                    Err(error) => drop(said.unread.insert(arrival, error.to_string())),
                }
            }
        }
    }
    Ok(())
}

async fn journeys(
    store: &dyn ShardStore,
    key: &IdKey,
    (shard, place): (ShardId, Place),
    audit: &mut Audit,
    said: &mut Said,
) -> Result<(), Error> {
    let mut after = None;
    loop {
        let page = store.list(shard, place, after, ROWS_PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(*last);
        for (arrival, bytes) in page {
            match Finished::read(&bytes) {
                Ok(Finished::Expired(tombstone)) => {
                    said.contributors.insert(tombstone.contributor);
                    said.ids.push((arrival, tombstone.id));
                    said.named.extend(tombstone.previous);
                    audit.tombstone(shard, &tombstone);
                }
                Ok(Finished::Journey(journey)) => {
                    said.submission(key, arrival, &journey.submission);
                    said.named.extend(journey.previous);
                    audit.journey(shard, place, &journey);
                }
                Err(error) => drop(said.unread.insert(arrival, error.to_string())),
            }
        }
    }
}

async fn contributors(
    store: &dyn ShardStore,
    shard: ShardId,
    audit: &mut Audit,
    said: &mut Said,
    found: &mut Vec<Found>,
) -> Result<(), Error> {
    let keys: Vec<ContributorKey> = said.contributors.drain().collect();
    for keys in keys.chunks(ROWS_PAGE) {
        let stored = store.contributors(shard, keys.to_vec()).await?;
        for (key, stored) in keys.iter().zip(stored) {
            match stored.row.map(|bytes| decode::<Contributor>(&bytes)) {
                None => {}
                Some(Ok(row)) => {
                    said.named.extend(row.latest);
                    audit.contributor(shard, *key, &row);
                }
                Some(Err(error)) => {
                    let id = format!("shard {shard} contributor {}", hex(&key.0));
                    found.push(Found::new(Invariant::MoneyAddsUp, id, error.to_string()));
                }
            }
        }
    }
    Ok(())
}

/// What stands must have an identity, or it could be handed in and accepted again.
async fn identities(
    store: &dyn ShardStore,
    shard: ShardId,
    ids: &[(Arrival, ContributionId)],
    audit: &mut Audit,
) -> Result<(), Error> {
    for ids in ids.chunks(ROWS_PAGE) {
        let macs = ids.iter().map(|(_, id)| id.mac).collect();
        for ((_, id), known) in ids.iter().zip(store.find(shard, macs).await?) {
            if let Some((arrival, _)) = known {
                audit.acknowledged(shard, arrival, *id);
            }
        }
    }
    Ok(())
}

/// Reported contributions by the shard they belong to.
fn by_shard(
    store: &dyn ShardStore,
    reported: &[ContributionId],
) -> BTreeMap<ShardId, Vec<ContributionId>> {
    let mut shards: BTreeMap<ShardId, Vec<ContributionId>> = BTreeMap::new();
    for id in reported {
        shards.entry(id.bucket.shard(store.shards())).or_default().push(*id);
    }
    shards
}

/// What was acknowledged, or is named by others, and has no row that reads.
async fn lost(
    store: &dyn ShardStore,
    shard: ShardId,
    reported: Vec<ContributionId>,
    audit: &mut Audit,
    said: Said,
    found: &mut Vec<Found>,
) -> Result<(), Error> {
    let mut told: BTreeSet<Arrival> = said.ids.iter().map(|(arrival, _)| *arrival).collect();
    let seen: HashSet<ContributionId> = match reported.is_empty() {
        true => HashSet::new(),
        false => said.ids.iter().map(|(_, id)| *id).collect(),
    };
    let missing: Vec<ContributionId> =
        reported.into_iter().filter(|id| !seen.contains(id)).collect();
    for ids in missing.chunks(ROWS_PAGE) {
        let macs = ids.iter().map(|id| id.mac).collect();
        for (id, known) in ids.iter().zip(store.find(shard, macs).await?) {
            // Arrival numbers begin at 1: an identity that is gone too has none.
            let arrival = known.map_or(0, |(arrival, _)| arrival);
            told.insert(arrival);
            audit.acknowledged(shard, arrival, *id);
        }
    }
    for (arrival, sentence) in said.unread {
        if told.insert(arrival) {
            let id = unread(shard, "item", arrival);
            found.push(Found::new(Invariant::NothingLost, id, sentence));
        }
    }
    for arrival in said.named.difference(&told) {
        let sentence = "other rows name it, and it is neither queued nor a journey";
        let id = unread(shard, "item", *arrival);
        found.push(Found::new(Invariant::NothingLost, id, sentence));
    }
    Ok(())
}
