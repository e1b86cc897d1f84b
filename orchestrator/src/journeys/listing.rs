//! Listings: shard by shard, first what has a row and is not done, then what is done, then what is
//! queued; each oldest first.

use super::{Definitions, Error, Found, ROWS_PAGE, find, queued, stage_name, stands};
use crate::limits::ROWS_READ_MAX;
use gristmill_actors::ports::ShardStore;
use gristmill_workflows::commit::Place;
use gristmill_workflows::id::{Arrival, ContributionId, ContributorKey, ShardId};
use gristmill_workflows::inbox::Lane;
use gristmill_workflows::journey::{Journey, State};
use gristmill_workflows::request::Cause;

/// A state of the contract, as a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateWord {
    /// `queued`
    Queued,
    /// `moving`
    Moving,
    /// `parked`
    Parked,
    /// `paused`
    Paused,
    /// `settled`
    Settled,
    /// `rejected`
    Rejected,
    /// `withdrawn`
    Withdrawn,
}

impl StateWord {
    /// The contract's word, read.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "queued" => Self::Queued,
            "moving" => Self::Moving,
            "parked" => Self::Parked,
            "paused" => Self::Paused,
            "settled" => Self::Settled,
            "rejected" => Self::Rejected,
            "withdrawn" => Self::Withdrawn,
            _ => return None,
        })
    }

    fn of(state: &State) -> Self {
        match state {
            State::Moving => Self::Moving,
            State::Parked { .. } => Self::Parked,
            State::Paused { .. } => Self::Paused,
            State::Settled => Self::Settled,
            State::Rejected(_) => Self::Rejected,
            State::Withdrawn => Self::Withdrawn,
        }
    }

    fn section(self) -> Section {
        match self {
            Self::Queued => Section::Queued,
            Self::Moving | Self::Parked | Self::Paused => Section::Active,
            Self::Settled | Self::Rejected | Self::Withdrawn => Section::Finished,
        }
    }
}

/// The causes that make up the quarantine: all but an operator's own pause.
pub const QUARANTINE: [Cause; 5] =
    [Cause::Exhausted, Cause::Permanent, Cause::Panic, Cause::KilledNode, Cause::RailWindowExpired];

/// What a listing shows; the default is everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only this state.
    pub state: Option<StateWord>,
    /// Only journeys paused for one of these; empty: all.
    pub causes: Vec<Cause>,
    /// Only this program.
    pub program: Option<String>,
    /// Only journeys at this stage.
    pub stage: Option<String>,
    /// Only what this person handed in.
    pub whose: Option<Whose>,
}

/// A person, and where what they handed in stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whose {
    /// The person.
    pub contributor: String,
    /// The same, as rows that expired have it.
    pub key: ContributorKey,
    /// Their shard.
    pub shard: ShardId,
}

impl Filter {
    fn shows(&self, definitions: &Definitions, found: &Found) -> bool {
        let program = self.program.as_ref();
        if program.is_some_and(|program| found.submission().program != *program) {
            return false;
        }
        let is_theirs = |whose: &Whose| match found {
            Found::Expired { contributor, .. } => *contributor == whose.key,
            _ => found.submission().contributor == whose.contributor,
        };
        if !self.whose.as_ref().is_none_or(is_theirs) {
            return false;
        }
        match found {
            Found::Journey { journey, .. } | Found::Expired { journey, .. } => {
                self.shows_journey(definitions, journey)
            }
            Found::Queued { .. } => self.stage.is_none(),
        }
    }

    fn shows_journey(&self, definitions: &Definitions, journey: &Journey) -> bool {
        let cause = match &journey.state {
            State::Paused { cause, .. } => self.causes.contains(cause),
            _ => false,
        };
        let stage = |wanted: &String| {
            stage_name(definitions, &journey.workflow, journey.stage) == Some(wanted.as_str())
        };
        (self.causes.is_empty() || cause)
            && self.state.is_none_or(|word| word == StateWord::of(&journey.state))
            && self.stage.as_ref().is_none_or(stage)
    }

    fn sections(&self) -> Vec<Section> {
        let only = if self.causes.is_empty() { self.state } else { Some(StateWord::Paused) };
        let all = [Section::Active, Section::Finished, Section::Queued];
        all.into_iter().filter(|one| only.is_none_or(|word| word.section() == *one)).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Section {
    Active,
    Finished,
    Queued,
}

/// A part of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// What it shows.
    pub items: Vec<Found>,
    /// The id to go on after, if there may be more.
    pub next: Option<ContributionId>,
}

/// Lists up to `limit` contributions that a filter shows, after the one that `after` names. A page
/// is shorter when the filter shows few of the rows read: it is given up after a bounded number.
///
/// # Errors
/// [`Error`] when a row cannot be read.
pub async fn list(
    store: &dyn ShardStore,
    definitions: &Definitions,
    filter: &Filter,
    after: Option<ContributionId>,
    limit: usize,
) -> Result<Page, Error> {
    let begin = match after {
        None => None,
        Some(id) => find(store, &[id]).await?.pop().flatten().map(|found| place_of(&found)),
    };
    let mut items: Vec<Found> = Vec::new();
    let mut read = 0;
    for shard in (0..store.shards()).map(ShardId) {
        if filter.whose.as_ref().is_some_and(|whose| whose.shard != shard) {
            continue;
        }
        for section in filter.sections() {
            let mut last = match begin {
                Some(begin) if (shard, section) < (begin.0, begin.1) => continue,
                Some(begin) if (shard, section) == (begin.0, begin.1) => Some(begin.2),
                _ => None,
            };
            loop {
                let rows = page(store, shard, section, last).await?;
                let Some((newest, _)) = rows.last() else { break };
                last = Some(*newest);
                read += rows.len();
                let seen = rows.iter().rev().find_map(|(_, found)| found.as_ref());
                let seen = seen.map(|found| found.submission().id);
                let shown = rows.into_iter().filter_map(|(_, found)| found);
                items.extend(shown.filter(|found| filter.shows(definitions, found)));
                if items.len() > limit {
                    items.truncate(limit);
                    let next = items.last().map(|found| found.submission().id);
                    return Ok(Page { items, next });
                }
                if read >= ROWS_READ_MAX && seen.is_some() {
                    return Ok(Page { items, next: seen });
                }
            }
        }
    }
    Ok(Page { items, next: None })
}

fn place_of(found: &Found) -> (ShardId, Section, Arrival) {
    match found {
        Found::Journey { shard, journey } | Found::Expired { shard, journey, .. } => {
            let done = journey.state.is_terminal();
            let section = if done { Section::Finished } else { Section::Active };
            (*shard, section, journey.arrival)
        }
        Found::Queued { shard, arrival, .. } => (*shard, Section::Queued, *arrival),
    }
}

/// Rows of a section; none for an item that is no contribution.
async fn page(
    store: &dyn ShardStore,
    shard: ShardId,
    section: Section,
    after: Option<Arrival>,
) -> Result<Vec<(Arrival, Option<Found>)>, Error> {
    let stored = match section {
        Section::Active => store.list(shard, Place::Active, after, ROWS_PAGE).await?,
        Section::Finished => store.list(shard, Place::Finished, after, ROWS_PAGE).await?,
        Section::Queued => store.inbox(shard, Lane::Intake, after, ROWS_PAGE).await?,
    };
    let read = |(arrival, bytes): (Arrival, Vec<u8>)| {
        let found = match section {
            Section::Queued => queued(shard, arrival, &bytes)?,
            Section::Active | Section::Finished => Some(stands(shard, arrival, &bytes)?),
        };
        Ok((arrival, found))
    };
    stored.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journeys::town::Town;

    #[tokio::test]
    async fn pages_follow_each_other_without_gap_or_repeat() {
        let town = Town::new();
        for person in ["a", "b", "c", "d", "e"] {
            town.journey(person, "1", |_| {}).await;
            town.journey(person, "2", |journey| journey.state = State::Settled).await;
            town.queue(person, "3").await;
        }
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page =
                list(&town.store, &Definitions::new(), &Filter::default(), after, 4).await.unwrap();
            seen.extend(page.items.iter().map(|found| found.submission().id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen.len(), 15);
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 15);
    }

    #[tokio::test]
    async fn filters_choose_by_state_cause_and_program() {
        let town = Town::new();
        town.journey("a", "1", |_| {}).await;
        let paused = |cause| {
            move |journey: &mut Journey| {
                journey.state = State::Paused { cause, detail: String::new() };
            }
        };
        let broken = town.journey("b", "1", paused(Cause::Panic)).await;
        let held = town.journey("c", "1", paused(Cause::Operator)).await;
        town.queue("d", "1").await;
        let shown = async |filter: Filter| -> Vec<ContributionId> {
            let page = list(&town.store, &Definitions::new(), &filter, None, 9).await.unwrap();
            page.items.iter().map(|found| found.submission().id).collect()
        };
        let quarantine = Filter { causes: QUARANTINE.to_vec(), ..Filter::default() };
        assert_eq!(shown(quarantine).await, [broken]);
        let mut all =
            shown(Filter { state: StateWord::parse("paused"), ..Filter::default() }).await;
        all.sort();
        let mut expected = [broken, held];
        expected.sort();
        assert_eq!(all, expected);
        let queued = Filter { state: Some(StateWord::Queued), ..Filter::default() };
        assert_eq!(shown(queued).await.len(), 1);
        let none = Filter { program: Some("other".to_owned()), ..Filter::default() };
        assert_eq!(shown(none).await, []);
        assert_eq!(StateWord::parse("done"), None);
    }
}
