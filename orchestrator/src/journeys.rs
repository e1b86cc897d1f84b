//! Reading journeys of a store: by id, by listing, and where their entries stand in the log.

mod listing;

pub use listing::{After, Filter, Page, QUARANTINE, StateWord, Whose, list};

use crate::limits::{AHEAD_MAX, ROWS_PAGE};
use gristmill_actors::ports::{ShardStore, StoreError};
use gristmill_workflows::codec::{self, Record, decode};
use gristmill_workflows::commit::SequencedRow;
use gristmill_workflows::definition::{Definition, WorkflowRef};
use gristmill_workflows::id::{Arrival, ContributionId, ContributorKey, ShardId};
use gristmill_workflows::inbox::{Item, Lane};
use gristmill_workflows::journey::{Journey, Logged};
use gristmill_workflows::submission::Submission;
use gristmill_workflows::tombstone::Finished;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Checked workflows by pin, as a registry hands them out.
pub type Definitions = BTreeMap<WorkflowRef, Arc<Definition>>;

/// Why journeys could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A listing is to go on after what nobody handed in.
    #[error("{id}: no such contribution here")]
    After {
        /// The id.
        id: ContributionId,
    },
    /// A row of a journey or inbox item does not decode.
    #[error("the row of item {arrival} in shard {shard}: {source}")]
    Row {
        /// Whose shard.
        shard: ShardId,
        /// Its arrival number.
        arrival: Arrival,
        /// What is wrong.
        source: codec::Error,
    },
    /// A row that says where entries stand does not decode.
    #[error("the row of log positions from {from} in shard {shard}: {source}")]
    Positions {
        /// Whose shard.
        shard: ShardId,
        /// Its first position.
        from: u64,
        /// What is wrong.
        source: codec::Error,
    },
}

/// A contribution as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It has a row.
    Journey {
        /// Whose shard.
        shard: ShardId,
        /// Its row.
        journey: Box<Journey>,
    },
    /// It finished, and its time of retention is over.
    Expired {
        /// Whose shard.
        shard: ShardId,
        /// Whose it was.
        contributor: ContributorKey,
        /// What is still known; what is gone is empty.
        journey: Box<Journey>,
    },
    /// It is an item in an inbox.
    Queued {
        /// Whose shard.
        shard: ShardId,
        /// Its arrival number.
        arrival: Arrival,
        /// As handed in.
        submission: Box<Submission>,
    },
}

impl Found {
    /// As handed in.
    #[must_use]
    pub fn submission(&self) -> &Submission {
        match self {
            Self::Journey { journey, .. } | Self::Expired { journey, .. } => &journey.submission,
            Self::Queued { submission, .. } => submission,
        }
    }
}

/// The name of a workflow's stage at a position; none past the end, or if this binary lacks the
/// workflow's version.
#[must_use]
pub fn stage_name(definitions: &Definitions, pin: &WorkflowRef, stage: u8) -> Option<&'static str> {
    definitions.get(pin)?.stage(stage).map(|stage| stage.signature.name)
}

/// Looks contributions up, one answer an id; none for an id that was never acknowledged here.
///
/// # Errors
/// [`Error`] when a row cannot be read.
pub async fn find(
    store: &dyn ShardStore,
    ids: &[ContributionId],
) -> Result<Vec<Option<Found>>, Error> {
    let mut by_shard: BTreeMap<ShardId, Vec<usize>> = BTreeMap::new();
    for (nth, id) in ids.iter().enumerate() {
        by_shard.entry(id.bucket.shard(store.shards())).or_default().push(nth);
    }
    let mut found: Vec<Option<Found>> = ids.iter().map(|_| None).collect();
    for (shard, places) in by_shard {
        for places in places.chunks(ROWS_PAGE) {
            let identities = places.iter().map(|nth| ids[*nth].mac).collect();
            let known = store.find(shard, identities).await?;
            let known = places.iter().zip(known);
            let known: Vec<(usize, Arrival)> =
                known.filter_map(|(nth, known)| Some((*nth, known?.0))).collect();
            let arrivals = known.iter().map(|(_, arrival)| *arrival).collect();
            for ((nth, _), one) in known.iter().zip(rows(store, shard, arrivals).await?) {
                found[*nth] = one.filter(|one| one.submission().id == ids[*nth]);
            }
        }
    }
    Ok(found)
}

/// Journeys by arrival number; those without a row are looked for in the inbox.
async fn rows(
    store: &dyn ShardStore,
    shard: ShardId,
    arrivals: Vec<Arrival>,
) -> Result<Vec<Option<Found>>, Error> {
    let stored = store.journeys(shard, arrivals.clone()).await?;
    let absent = arrivals.iter().zip(&stored).filter(|(_, stored)| stored.is_none());
    let absent: Vec<Arrival> = absent.map(|(arrival, _)| *arrival).collect();
    let items =
        if absent.is_empty() { Vec::new() } else { store.inbox_items(shard, absent).await? };
    let mut items = items.into_iter();
    let mut rows = Vec::with_capacity(arrivals.len());
    for (arrival, stored) in arrivals.into_iter().zip(stored) {
        rows.push(match stored {
            Some(stored) => Some(stands(shard, arrival, &stored.row)?),
            None => match items.next().flatten() {
                Some(item) => queued(shard, arrival, &item)?,
                // It left the inbox after its row was looked for: by now it has one.
                None => match store.journeys(shard, vec![arrival]).await?.pop().flatten() {
                    Some(stored) => Some(stands(shard, arrival, &stored.row)?),
                    None => None,
                },
            },
        });
    }
    Ok(rows)
}

fn row<R: Record>(shard: ShardId, arrival: Arrival, bytes: &[u8]) -> Result<R, Error> {
    decode(bytes).map_err(|source| Error::Row { shard, arrival, source })
}

/// A journey's row, expired or not.
///
/// # Errors
/// [`Error::Row`] when it is neither.
pub(crate) fn stands(shard: ShardId, arrival: Arrival, bytes: &[u8]) -> Result<Found, Error> {
    let read = Finished::read(bytes).map_err(|source| Error::Row { shard, arrival, source })?;
    Ok(match read {
        Finished::Journey(journey) => Found::Journey { shard, journey },
        Finished::Expired(tombstone) => {
            let (contributor, journey) = (tombstone.contributor, Box::new(tombstone.journey()));
            Found::Expired { shard, contributor, journey }
        }
    })
}

fn queued(shard: ShardId, arrival: Arrival, item: &[u8]) -> Result<Option<Found>, Error> {
    Ok(match row(shard, arrival, item)? {
        Item::Contribution(submission) => {
            Some(Found::Queued { shard, arrival, submission: Box::new(submission) })
        }
        Item::Consent(_) | Item::Withdrawal(_) | Item::Transfer(_) | Item::Command { .. } => None,
    })
}

/// How many contributions wait in front of a queued one, counted up to [`AHEAD_MAX`].
///
/// # Errors
/// [`Error::Store`].
pub async fn ahead(
    store: &dyn ShardStore,
    shard: ShardId,
    arrival: Arrival,
) -> Result<usize, Error> {
    // Counted from its back, as long as there are few behind it: a store may have to pass what is
    // left of every item that was ever taken before it meets the first.
    let behind = store.inbox(shard, Lane::Intake, Some(arrival), AHEAD_MAX).await?.len();
    if behind < AHEAD_MAX {
        let others = usize::try_from(store.queued(shard).await?).unwrap_or(usize::MAX);
        return Ok(others.saturating_sub(behind + 1).min(AHEAD_MAX));
    }
    let (mut count, mut after) = (0, None);
    while count < AHEAD_MAX {
        let page = store.inbox(shard, Lane::Intake, after, ROWS_PAGE).await?;
        let before = page.iter().take_while(|(other, _)| *other < arrival).count();
        count += before;
        after = page.last().map(|(last, _)| *last);
        if before < ROWS_PAGE {
            break;
        }
    }
    Ok(count.min(AHEAD_MAX))
}

/// Tells where entries stand in the log; keeps the last row of each shard.
pub struct Indices<'a> {
    store: &'a dyn ShardStore,
    rows: BTreeMap<ShardId, (u64, SequencedRow)>,
}

impl std::fmt::Debug for Indices<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Indices").finish_non_exhaustive()
    }
}

impl<'a> Indices<'a> {
    /// Of one store.
    #[must_use]
    pub fn new(store: &'a dyn ShardStore) -> Self {
        Self { store, rows: BTreeMap::new() }
    }

    /// The index of an entry; none while the log has not said it.
    ///
    /// # Errors
    /// [`Error`] when the row that says it cannot be read.
    pub async fn of(&mut self, shard: ShardId, entry: Logged) -> Result<Option<u64>, Error> {
        let Logged { position, index } = entry;
        if index.is_some() {
            return Ok(index);
        }
        let known = |row: &(u64, SequencedRow)| row.1.index(position.checked_sub(row.0)?);
        if let Some(index) = self.rows.get(&shard).and_then(known) {
            return Ok(Some(index));
        }
        let Some((from, bytes)) = self.store.sequenced(shard, position).await? else {
            return Ok(None);
        };
        let row = decode(&bytes).map_err(|source| Error::Positions { shard, from, source })?;
        let row = (from, row);
        let index = known(&row);
        self.rows.insert(shard, row);
        Ok(index)
    }
}

#[cfg(test)]
pub(crate) mod town;

#[cfg(test)]
mod tests {
    use super::town::Town;
    use super::*;
    use gristmill_workflows::journey::State;

    #[tokio::test]
    async fn an_id_is_found_as_a_journey_or_queued_or_not_at_all() {
        let town = Town::new();
        let moving = town.journey("a", "1", |_| {}).await;
        let queued = town.queue("b", "1").await;
        let never = town.key.contribution("a", "2");
        let found = find(&town.store, &[moving, never, queued]).await.unwrap();
        let [Some(Found::Journey { journey, .. }), None, Some(Found::Queued { submission, .. })] =
            &found[..]
        else {
            panic!("{found:?}")
        };
        assert_eq!((journey.submission.id, &journey.state), (moving, &State::Moving));
        assert_eq!(submission.id, queued);
    }

    #[tokio::test]
    async fn items_in_front_are_counted_in_their_own_shard() {
        let town = Town::new();
        for key in ["1", "2", "3"] {
            town.queue("b", key).await;
        }
        let last = town.key.contribution("b", "3");
        let found = find(&town.store, &[last]).await.unwrap();
        let Some(Found::Queued { shard, arrival, .. }) = &found[0] else { panic!("{found:?}") };
        assert_eq!(ahead(&town.store, *shard, *arrival).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn an_index_comes_from_the_row_that_holds_the_position() {
        let town = Town::new();
        let shard = ShardId(0);
        town.sequenced(shard, 5, &[40, 41, 90]).await;
        let mut indices = Indices::new(&town.store);
        let logged = |position| Logged { position, index: None };
        for (position, index) in [(4, None), (5, Some(40)), (7, Some(90)), (8, None)] {
            assert_eq!(indices.of(shard, logged(position)).await.unwrap(), index, "{position}");
        }
        let known = Logged { position: 4, index: Some(3) };
        assert_eq!(indices.of(shard, known).await.unwrap(), Some(3));
    }
}
