//! Listings: shard by shard, first what has a row and is not done, then what is done, then what is
//! queued; each oldest first. What stands still is listed once. What moves from one part to another
//! between two pages may be listed twice or not at all.

use super::{Definitions, Error, Found, find, queued, stage_name, stands};
use crate::limits::ROWS_PAGE;
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

impl Section {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Active, "active"), (Self::Finished, "finished"), (Self::Queued, "queued")];
}

/// Where a listing goes on: after this contribution, in the part where it was listed, wherever it
/// has moved since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct After {
    /// The last one listed.
    pub id: ContributionId,
    /// Its part then; none: where it is now.
    section: Option<Section>,
}

impl After {
    /// Reads `ID`, or `ID.PART` as a listing says it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (id, word) = text.split_once('.').map_or((text, None), |(id, it)| (id, Some(it)));
        let named = |word| Section::ALL.into_iter().find(|(_, name)| *name == word);
        let section = match word {
            Some(word) => Some(named(word)?.0),
            None => None,
        };
        Some(Self { id: ContributionId::parse(id).ok()?, section })
    }

    fn of(found: &Found) -> Self {
        let (_, section, _) = place_of(found);
        Self { id: found.submission().id, section: Some(section) }
    }
}

impl std::fmt::Display for After {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = Section::ALL.into_iter().find(|(section, _)| Some(*section) == self.section);
        match word {
            Some((_, word)) => write!(f, "{}.{word}", self.id),
            None => write!(f, "{}", self.id),
        }
    }
}

/// A part of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// What it shows.
    pub items: Vec<Found>,
    /// Where to go on, if there may be more.
    pub next: Option<After>,
}

/// Lists up to `limit` contributions that a filter shows, after the one that `after` names. A page
/// is shorter when the filter shows few of the rows read: it is given up after a bounded number.
///
/// # Errors
/// [`Error`] when a row cannot be read, or nothing is known of `after`.
pub async fn list(
    store: &dyn ShardStore,
    definitions: &Definitions,
    filter: &Filter,
    after: Option<After>,
    limit: usize,
) -> Result<Page, Error> {
    let begin = match after {
        None => None,
        Some(After { id, section }) => {
            // Of nothing, it would begin the listing anew, for ever.
            let found = find(store, &[id]).await?.pop().flatten().ok_or(Error::After { id })?;
            let (shard, now, arrival) = place_of(&found);
            Some((shard, section.unwrap_or(now), arrival))
        }
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
                let seen = rows.iter().rev().find_map(|(_, found)| found.as_ref()).map(After::of);
                let shown = rows.into_iter().filter_map(|(_, found)| found);
                items.extend(shown.filter(|found| filter.shows(definitions, found)));
                if items.len() > limit {
                    items.truncate(limit);
                    let next = items.last().map(After::of);
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
    async fn what_stands_is_listed_once_however_the_last_one_listed_moved() {
        let town = Town::new();
        let person = "a";
        let mut standing = Vec::new();
        for key in ["1", "2", "3", "4"] {
            standing.push(town.journey(person, key, |_| {}).await);
        }
        let listed = async |after: Option<After>, limit: usize| {
            let filter = Filter::default();
            list(&town.store, &Definitions::new(), &filter, after, limit).await
        };
        let first = listed(None, 2).await.unwrap();
        let ids: Vec<_> = first.items.iter().map(|found| found.submission().id).collect();
        assert_eq!(ids, standing[..2]);
        // It is done before the next page is asked for.
        town.finish(standing[1]).await;
        let token = first.next.unwrap().to_string();
        assert_eq!(token, format!("{}.active", standing[1]));
        let second = listed(After::parse(&token), 2).await.unwrap();
        let ids: Vec<_> = second.items.iter().map(|found| found.submission().id).collect();
        assert_eq!(ids, standing[2..]);
        let unknown = After::parse(&format!("c{}", "0".repeat(36))).unwrap();
        assert!(matches!(listed(Some(unknown), 2).await, Err(Error::After { .. })));
        assert_eq!(After::parse(&format!("{}.elsewhere", standing[1])), None);
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
