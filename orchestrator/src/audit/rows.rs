//! The rows of every shard, and what the last report acknowledged.

use super::{Error, Found, Onlooker, file};
use crate::limits::{AUDIT_PAGE, AUDIT_PAGES_AHEAD};
use futures_util::future::join;
use futures_util::stream::{StreamExt, iter};
use gristmill_actors::ports::{Numbered, ShardStore};
use gristmill_workflows::audit::Audit;
use gristmill_workflows::codec::{self, decode};
use gristmill_workflows::commit::{OutboxRow, Place, SequencedRow, ShardState};
use gristmill_workflows::contributor::Contributor;
use gristmill_workflows::id::{Arrival, ContributionId, ContributorKey, IdKey, ShardId, hex};
use gristmill_workflows::inbox::{Item, Lane};
use gristmill_workflows::invariant::Invariant;
use gristmill_workflows::tombstone::Finished;
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet};
use std::io::{BufReader, ErrorKind};
use std::path::Path;
use std::pin::pin;

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
    let report = match read {
        Ok(report) => report,
        Err(error) if error.is_io() => return Err(file(path)(error.into())),
        Err(_) => return Ok(Reported::default()),
    };
    let ids = report.journeys.iter().filter_map(|row| ContributionId::parse(&row.id).ok());
    Ok(Reported { ids: ids.collect(), size: report.trace.size })
}

/// Who decodes rows, and who looks on.
pub(super) struct Looked<O> {
    pub(super) key: IdKey,
    pub(super) onlooker: O,
}

/// A row, read, and whose it is.
type Row = Result<(Finished, ContributorKey), codec::Error>;

impl<O: Onlooker> Looked<O> {
    fn read(&mut self, page: Vec<Numbered>) -> Vec<(Arrival, Row)> {
        let read = |(arrival, bytes): Numbered| {
            let row = Finished::read(&bytes).map(|row| {
                self.onlooker.row(&row);
                let whose = match &row {
                    Finished::Journey(journey) => {
                        self.key.contributor(&journey.submission.contributor)
                    }
                    Finished::Expired(tombstone) => tombstone.contributor,
                };
                (row, whose)
            });
            (arrival, row)
        };
        page.into_iter().map(read).collect()
    }
}

/// What the rows of one shard said, until they are held against identities.
#[derive(Default)]
struct Said {
    contributors: Vec<ContributorKey>,
    ids: Vec<(Arrival, ContributionId)>,
    /// Journeys that a later one or the contributor's row names.
    named: Vec<Arrival>,
    /// Rows that do not decode, with what is wrong.
    unread: BTreeMap<Arrival, String>,
}

impl Said {
    fn rows(&mut self, shard: ShardId, place: Place, rows: Vec<(Arrival, Row)>, audit: &mut Audit) {
        for (arrival, row) in rows {
            let (row, whose) = match row {
                Ok(row) => row,
                Err(error) => {
                    self.unread.insert(arrival, error.to_string());
                    continue;
                }
            };
            self.contributors.push(whose);
            match row {
                Finished::Expired(tombstone) => {
                    self.ids.push((arrival, tombstone.id));
                    self.named.extend(tombstone.previous);
                    audit.tombstone(shard, &tombstone);
                }
                Finished::Journey(journey) => {
                    self.ids.push((arrival, journey.submission.id));
                    self.named.extend(journey.previous);
                    audit.journey(shard, place, &journey);
                }
            }
        }
    }
}

/// Feeds every row, and everything that was acknowledged.
pub(super) async fn feed<O: Onlooker>(
    store: &dyn ShardStore,
    mut looked: Looked<O>,
    reported: &[ContributionId],
    audit: &mut Audit,
    found: &mut Vec<Found>,
) -> Result<Looked<O>, Error> {
    let shards = || (0..store.shards()).map(ShardId);
    for shard in shards() {
        state(store, shard, audit, found).await?;
    }
    let mut reported = by_shard(store, reported);
    // One shard after the other, so that what is in memory is one shard's.
    for shard in shards() {
        let mut said = Said::default();
        sequenced(store, shard, audit, found).await?;
        inbox(store, shard, audit, &mut looked, &mut said).await?;
        for place in [Place::Active, Place::Finished] {
            looked = journeys(store, (shard, place), audit, looked, &mut said).await?;
        }
        contributors(store, shard, audit, &mut said, found).await?;
        identities(store, shard, &mut said.ids, audit).await?;
        let reported = reported.remove(&shard).unwrap_or_default();
        lost(store, shard, reported, audit, said, found).await?;
        audit.shard_ends();
    }
    Ok(looked)
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

async fn sequenced(
    store: &dyn ShardStore,
    shard: ShardId,
    audit: &mut Audit,
    found: &mut Vec<Found>,
) -> Result<(), Error> {
    let mut below = Some(u64::MAX);
    while let Some(position) = below {
        let page = store.sequenced_down(shard, position, AUDIT_PAGE).await?;
        below = page.last().and_then(|(from, _)| from.checked_sub(1));
        for (from, bytes) in page {
            match decode::<SequencedRow>(&bytes) {
                Ok(row) => audit.sequenced(shard, from, row),
                Err(error) => {
                    let id = unread(shard, "sequenced", from);
                    found.push(Found::new(Invariant::OneEntry, id, error.to_string()));
                }
            }
        }
    }
    Ok(())
}

async fn inbox<O: Onlooker>(
    store: &dyn ShardStore,
    shard: ShardId,
    audit: &mut Audit,
    looked: &mut Looked<O>,
    said: &mut Said,
) -> Result<(), Error> {
    for lane in [Lane::Control, Lane::Intake] {
        let mut after = None;
        loop {
            let page = store.inbox(shard, lane, after, AUDIT_PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            for (arrival, bytes) in page {
                match decode::<Item>(&bytes) {
                    Ok(item) => {
                        if let Item::Contribution(submission) = &item {
                            looked.onlooker.queued(submission);
                            said.contributors.push(looked.key.contributor(&submission.contributor));
                            said.ids.push((arrival, submission.id));
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

/// While one page is held against everything, the next one is decoded and the one after it read.
async fn journeys<O: Onlooker>(
    store: &dyn ShardStore,
    (shard, place): (ShardId, Place),
    audit: &mut Audit,
    mut looked: Looked<O>,
    said: &mut Said,
) -> Result<Looked<O>, Error> {
    let mut rows = Vec::new();
    let mut page = store.list(shard, place, None, AUDIT_PAGE).await?;
    while let Some(after) = page.last().map(|(last, _)| *last) {
        let reading = tokio::task::spawn_blocking(move || {
            let rows = looked.read(page);
            (looked, rows)
        });
        let taken = async { said.rows(shard, place, rows, audit) };
        let (next, ()) = join(store.list(shard, place, Some(after), AUDIT_PAGE), taken).await;
        page = next?;
        (looked, rows) = reading.await?;
    }
    said.rows(shard, place, rows, audit);
    Ok(looked)
}

/// In the order of their keys, as the store has them.
async fn contributors(
    store: &dyn ShardStore,
    shard: ShardId,
    audit: &mut Audit,
    said: &mut Said,
    found: &mut Vec<Found>,
) -> Result<(), Error> {
    let mut keys = std::mem::take(&mut said.contributors);
    keys.sort_unstable();
    keys.dedup();
    let ask = |keys: &'_ [ContributorKey]| {
        let (keys, asked) = (keys.to_vec(), keys.to_vec());
        async move { (keys, store.contributors(shard, asked).await) }
    };
    let mut answers = pin!(iter(keys.chunks(AUDIT_PAGE)).map(ask).buffered(AUDIT_PAGES_AHEAD));
    while let Some((keys, stored)) = answers.next().await {
        for (key, stored) in keys.iter().zip(stored?) {
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

/// What stands must have an identity, or it could be handed in and accepted again. They are asked
/// for in the order in which the store has them.
async fn identities(
    store: &dyn ShardStore,
    shard: ShardId,
    ids: &mut [(Arrival, ContributionId)],
    audit: &mut Audit,
) -> Result<(), Error> {
    ids.sort_unstable_by_key(|(_, id)| id.mac);
    let ask = |ids: &'_ [(Arrival, ContributionId)]| {
        let ids: Vec<ContributionId> = ids.iter().map(|(_, id)| *id).collect();
        let macs = ids.iter().map(|id| id.mac).collect();
        async move { (ids, store.find(shard, macs).await) }
    };
    let mut answers = pin!(iter(ids.chunks(AUDIT_PAGE)).map(ask).buffered(AUDIT_PAGES_AHEAD));
    while let Some((ids, known)) = answers.next().await {
        for (id, known) in ids.into_iter().zip(known?) {
            if let Some((arrival, _)) = known {
                audit.acknowledged(shard, arrival, id);
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
    let mut told: Vec<Arrival> = said.ids.iter().map(|(arrival, _)| *arrival).collect();
    let seen: HashSet<ContributionId> = match reported.is_empty() {
        true => HashSet::new(),
        false => said.ids.iter().map(|(_, id)| *id).collect(),
    };
    let missing: Vec<ContributionId> =
        reported.into_iter().filter(|id| !seen.contains(id)).collect();
    for ids in missing.chunks(AUDIT_PAGE) {
        let macs = ids.iter().map(|id| id.mac).collect();
        for (id, known) in ids.iter().zip(store.find(shard, macs).await?) {
            // Arrival numbers begin at 1: an identity that is gone too has none.
            let arrival = known.map_or(0, |(arrival, _)| arrival);
            told.push(arrival);
            audit.acknowledged(shard, arrival, *id);
        }
    }
    told.sort_unstable();
    for (arrival, sentence) in &said.unread {
        if told.binary_search(arrival).is_err() {
            let id = unread(shard, "item", *arrival);
            found.push(Found::new(Invariant::NothingLost, id, sentence.clone()));
        }
    }
    let mut named = said.named;
    named.sort_unstable();
    named.dedup();
    let stands = |arrival| told.binary_search(arrival).is_ok() || said.unread.contains_key(arrival);
    for arrival in named.iter().filter(|arrival| !stands(arrival)) {
        let sentence = "other rows name it, and it is neither queued nor a journey";
        let id = unread(shard, "item", *arrival);
        found.push(Found::new(Invariant::NothingLost, id, sentence));
    }
    Ok(())
}
