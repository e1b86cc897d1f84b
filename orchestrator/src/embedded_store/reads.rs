//! Reads; they may touch the disk and so run on blocking threads.

use super::engine::{Space, View};
use super::keys::{self, Tag};
use super::memory::{Marked, ShardRow};
use gristmill_actors::ports::{Fetch, Lanes, Loaded, StoreError, StoredContributor, StoredJourney};
use gristmill_workflows::codec;
use gristmill_workflows::commit::Place;
use gristmill_workflows::id::{Arrival, ContributorKey, ShardId};
use gristmill_workflows::inbox::Lane;
use gristmill_workflows::submission::Mark;
use gristmill_workflows::time::Timestamp;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

/// Rows by their number.
pub(super) type Numbered = Vec<(u64, Vec<u8>)>;

/// Found damage.
pub(super) fn damaged(detail: impl Into<String>) -> StoreError {
    StoreError::Damaged { detail: detail.into() }
}

/// A shard that the store does not have.
pub(super) fn no_shard(shard: ShardId, shards: usize) -> StoreError {
    damaged(format!("no shard {shard} in a store of {shards}"))
}

/// `ShardStore::load`.
pub(super) fn load(view: &View<'_>, shard: ShardId) -> Result<Loaded, StoreError> {
    let outbox = page(view, shard, Tag::Outbox, None, usize::MAX)?;
    let erasures = page(view, shard, Tag::Erasure, None, usize::MAX)?;
    Ok(Loaded {
        state: row(view, Space::Queue, &keys::only(shard, Tag::State))?,
        admitted: row(view, Space::Queue, &keys::only(shard, Tag::Admitted))?,
        outbox,
        erasures: erasures.into_iter().map(|(slot, _)| slot).collect(),
        noted: noted(view, shard)?,
    })
}

/// Intake items that were noted as let in when they came.
fn noted(view: &View<'_>, shard: ShardId) -> Result<Vec<Arrival>, StoreError> {
    let up_to = noted_up_to(view, shard)?;
    let first = keys::numbered(shard, Tag::Intake, 0);
    let items = view.range(Space::Queue, first..=keys::numbered(shard, Tag::Intake, up_to));
    items.map(|row| row.and_then(|(key, _)| number(&key))).collect()
}

fn noted_up_to(view: &View<'_>, shard: ShardId) -> Result<Arrival, StoreError> {
    let row = view.get(Space::Queue, &keys::only(shard, Tag::Noted))?;
    let number = row.map(|row| keys::bytes_at(&row, 0).map(u64::from_be_bytes));
    number.unwrap_or(Some(0)).ok_or_else(|| damaged("the number of what is noted is cut off"))
}

/// `ShardStore::fetch`. What came while the reader had room is noted already; more may be, up to
/// `ahead`, if there is room for more than was found.
pub(super) fn fetch(
    view: &View<'_>,
    ahead: &AtomicU64,
    shard: ShardId,
    fetch: Fetch,
) -> Result<Lanes, StoreError> {
    let row = shard_row(view, shard)?.unwrap_or_default();
    if (row.lease.owner, row.lease.epoch) != (fetch.owner, fetch.epoch) {
        return Err(StoreError::Fenced { shard });
    }
    let ((control_after, control_max), (after, max)) = (fetch.control, fetch.intake);
    let control = page(view, shard, Tag::Control, control_after, control_max)?;
    let intake = match max {
        0 => Vec::new(),
        max => page(view, shard, Tag::Intake, after, max)?,
    };
    let mut noted = false;
    if fetch.notes && max > 0 {
        let up_to = noted_up_to(view, shard)?;
        noted = intake.last().is_some_and(|(last, _)| *last <= up_to);
        ahead.store(row.arrived + (max - intake.len()) as u64, Ordering::Relaxed);
    }
    Ok(Lanes { control, intake, noted, arrived: Some(row.arrived), ..Lanes::default() })
}

fn shard_row(view: &View<'_>, shard: ShardId) -> Result<Option<ShardRow>, StoreError> {
    let row = view.get(Space::Queue, &keys::only(shard, Tag::Shard))?;
    let row = row.map(|row| codec::decode(&row)).transpose();
    row.map_err(|error| damaged(format!("the row of shard {shard}: {error}")))
}

/// Rows of the queue with numbers above `after`, in order.
pub(super) fn page(
    view: &View<'_>,
    shard: ShardId,
    tag: Tag,
    after: Option<u64>,
    limit: usize,
) -> Result<Numbered, StoreError> {
    let Some(from) = after.map_or(Some(0), |after| after.checked_add(1)) else {
        return Ok(Vec::new());
    };
    let range = keys::numbered(shard, tag, from)..=keys::numbered(shard, tag, u64::MAX);
    let rows = view.range(Space::Queue, range).take(limit);
    rows.map(|row| row.and_then(|(key, row)| Ok((number(&key)?, row.to_vec())))).collect()
}

/// Finished journeys with arrival numbers above `after`, in order: stretch by stretch.
pub(super) fn finished(
    view: &View<'_>,
    shard: ShardId,
    after: Option<Arrival>,
    limit: usize,
) -> Result<Numbered, StoreError> {
    let mut found = Numbered::new();
    let mut next = after.map_or(Some(0), |after| after.checked_add(1));
    while let Some(from) = next {
        let last = keys::stretch_end(from);
        let range = keys::finished(shard, from)..=keys::finished(shard, last);
        for row in view.range(Space::Finished, range).take(limit - found.len()) {
            let (key, row) = row?;
            found.push((finished_arrival(&key)?, row.to_vec()));
        }
        if found.len() == limit {
            break;
        }
        next = match last.checked_add(1) {
            Some(later) => first_finished(view, later)?,
            None => None,
        };
    }
    Ok(found)
}

/// The first arrival number of the first stretch from this one on that holds a row of any shard.
fn first_finished(view: &View<'_>, from: Arrival) -> Result<Option<Arrival>, StoreError> {
    let mut rows =
        view.range(Space::Finished, keys::finished(ShardId(0), from)..=keys::finished_last());
    let row = rows.next().transpose()?;
    row.map(|(key, _)| Ok(keys::stretch_start(finished_arrival(&key)?))).transpose()
}

fn finished_arrival(key: &[u8]) -> Result<Arrival, StoreError> {
    keys::finished_arrival(key).ok_or_else(|| damaged("the key of a finished journey is cut off"))
}

/// `ShardStore::inbox_items`.
pub(super) fn inbox_items(
    view: &View<'_>,
    shard: ShardId,
    arrivals: &[Arrival],
) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
    let item = |arrival: &Arrival| {
        let of = |lane| row(view, Space::Queue, &keys::numbered(shard, keys::lane(lane), *arrival));
        Ok(of(Lane::Intake)?.or(of(Lane::Control)?))
    };
    arrivals.iter().map(item).collect()
}

/// `ShardStore::queued`.
pub(super) fn queued(view: &View<'_>, shard: ShardId) -> Result<u64, StoreError> {
    Ok(shard_row(view, shard)?.map_or(0, |row| row.intake))
}

/// `ShardStore::contributors`.
pub(super) fn contributors(
    view: &View<'_>,
    marked: &RwLock<Marked>,
    shard: ShardId,
    contributors: &[ContributorKey],
) -> Result<Vec<StoredContributor>, StoreError> {
    let is_marked: Vec<bool> = {
        let marked = marked.read().unwrap_or_else(PoisonError::into_inner);
        contributors.iter().map(|key| marked.contains(&(shard, *key))).collect()
    };
    let contributor = |(key, is_marked): (&ContributorKey, bool)| {
        let marks = if is_marked { marks(view, shard, *key)? } else { Vec::new() };
        let key = keys::named(shard, Tag::Contributor, key.0);
        Ok(StoredContributor { row: row(view, Space::Random, &key)?, marks })
    };
    contributors.iter().zip(is_marked).map(contributor).collect()
}

/// All marks of a contributor, oldest first.
pub(super) fn marks(
    view: &View<'_>,
    shard: ShardId,
    contributor: ContributorKey,
) -> Result<Vec<Mark>, StoreError> {
    let prefix = keys::named(shard, Tag::Mark, contributor.0);
    let rows = view.prefix(Space::Random, &prefix);
    let mark = |row: &[u8]| codec::decode(row).map_err(|error| damaged(error.to_string()));
    rows.map(|row| row.and_then(|(_, row)| mark(&row))).collect()
}

/// `ShardStore::journeys`. Both looks are at one moment, so none is missed that moves from the active to
/// the finished ones.
pub(super) fn journeys(
    view: &View<'_>,
    shard: ShardId,
    arrivals: &[Arrival],
) -> Result<Vec<Option<StoredJourney>>, StoreError> {
    // Finished first: while a keyspace takes over what it flushed, its readers wait for the disk, and
    // the queue flushes most often. A finished one is read without it.
    let journey = |arrival: &Arrival| {
        let finished = keys::finished(shard, *arrival);
        if let Some(row) = row(view, Space::Finished, &finished)? {
            return Ok(Some(StoredJourney { place: Place::Finished, row }));
        }
        let active = keys::numbered(shard, Tag::Active, *arrival);
        let row = row(view, Space::Queue, &active)?;
        Ok(row.map(|row| StoredJourney { place: Place::Active, row }))
    };
    arrivals.iter().map(journey).collect()
}

/// The arrival number and the body hash that an identity stands for.
pub(super) type Handed = (Arrival, [u8; 16]);

/// `ShardStore::find`.
pub(super) fn find(
    view: &View<'_>,
    shard: ShardId,
    identities: &[[u8; 16]],
) -> Result<Vec<Option<Handed>>, StoreError> {
    let find = |name: &[u8; 16]| {
        let row = view.get(Space::Random, &keys::named(shard, Tag::Identity, *name))?;
        row.map(|row| identity(&row)).transpose()
    };
    identities.iter().map(find).collect()
}

/// An identity's row: arrival number (8 bytes), body hash (16).
pub(super) fn identity(row: &[u8]) -> Result<Handed, StoreError> {
    let arrival = keys::bytes_at(row, 0).map(u64::from_be_bytes);
    arrival.zip(keys::bytes_at(row, 8)).ok_or_else(|| damaged("the row of an identity is cut off"))
}

/// `ShardStore::timers`.
pub(super) fn timers(
    view: &View<'_>,
    shard: ShardId,
    until: Timestamp,
    limit: usize,
) -> Result<Vec<(Timestamp, Arrival)>, StoreError> {
    let range = keys::timer(shard, Timestamp(0), 0)..=keys::timer(shard, until, Arrival::MAX);
    let timer = |row: Result<(fjall::UserKey, _), StoreError>| {
        let (key, _) = row?;
        let whose = keys::bytes_at(&key, 11).map(u64::from_be_bytes);
        let whose = whose.ok_or_else(|| damaged("the key of a timer is cut off"))?;
        Ok((Timestamp(number(&key)?), whose))
    };
    view.range(Space::Queue, range).take(limit).map(timer).collect()
}

/// `ShardStore::sequenced`.
pub(super) fn sequenced(
    view: &View<'_>,
    shard: ShardId,
    position: u64,
) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
    Ok(sequenced_down(view, shard, position, 1)?.pop())
}

/// `ShardStore::sequenced_down`.
pub(super) fn sequenced_down(
    view: &View<'_>,
    shard: ShardId,
    position: u64,
    limit: usize,
) -> Result<Numbered, StoreError> {
    let first = keys::numbered(shard, Tag::Sequenced, 0);
    let last = keys::numbered(shard, Tag::Sequenced, position);
    let rows = view.range(Space::Random, first..=last).rev().take(limit);
    rows.map(|row| row.and_then(|(key, row)| Ok((number(&key)?, row.to_vec())))).collect()
}

fn row(view: &View<'_>, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(view.get(space, key)?.map(|row| row.to_vec()))
}

fn number(key: &[u8]) -> Result<u64, StoreError> {
    keys::number_of(key).ok_or_else(|| damaged("a key is cut off"))
}
