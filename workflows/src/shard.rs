//! The shard: the unit of consistency. It takes the decisions that touch shared state one after
//! the other and assembles them into commits.
//!
//! Contribution actors run stages and *propose*; the shard decides against durable state plus the
//! commits in flight. Memory runs ahead of the store, so if a commit fails, this whole machine is
//! thrown away and rebuilt from the store under a new epoch: everything decided after the failed
//! commit falls with it. Effects leave only with [`Sealed::effects`], after their commit.

mod budget;
mod control;
mod decide;
mod log;
mod standing;

use crate::codec::{self, encode};
use crate::commit::{Admitted, Commit, Guard, OutboxRow, Place, ShardState};
use crate::contributor::Contributor;
use crate::definition::{Definition, WorkflowRef};
use crate::entry::DataKey;
use crate::id::{Arrival, ContributorKey, IdKey, ShardId};
use crate::inbox::{Item, Lane};
use crate::journey::{Journey, State};
use crate::program::Program;
use crate::request::{Failure, Reason, Request};
use crate::submission::Submission;
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

pub use control::Chain;

/// What does not change while a node runs.
#[derive(Debug)]
pub struct World {
    /// How many shards the store has.
    pub shards: u16,
    /// The secret for ids.
    pub key: IdKey,
    /// Programs by id.
    pub programs: BTreeMap<String, Program>,
    /// Workflows by pin.
    pub workflows: BTreeMap<WorkflowRef, Arc<Definition>>,
}

impl World {
    /// The newest version of a workflow by name.
    pub fn newest(&self, name: &str) -> Option<&Arc<Definition>> {
        let named = self.workflows.values().filter(|definition| definition.pin.name == name);
        named.max_by_key(|definition| definition.pin.version)
    }
}

/// What a contribution's actor says to its shard.
#[derive(Debug, Clone)]
pub enum Proposal {
    /// Stages up to `next` are done.
    Advance {
        /// Their outputs, by position.
        outputs: Vec<(u8, Vec<u8>)>,
        /// What they ask for, by position.
        requests: Vec<(u8, Request)>,
        /// The stage that is due next; the number of stages at the end.
        next: u8,
    },
    /// A stage rejects.
    Reject {
        /// Which.
        stage: u8,
        /// Why.
        reason: Reason,
    },
    /// A stage parks.
    Park {
        /// Which.
        stage: u8,
        /// What for.
        wait: crate::request::Wait,
        /// Until when.
        until: Option<Timestamp>,
        /// Or for which signal.
        signal: Option<String>,
    },
    /// An attempt failed.
    Failed {
        /// Which stage.
        stage: u8,
        /// How.
        failure: Failure,
    },
}

/// What may leave once the commit is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Offer an outbox row to the log.
    Offer {
        /// Position of the first entry.
        from: u64,
        /// The entries.
        entries: Vec<Vec<u8>>,
    },
    /// The journey's actor goes on.
    Run {
        /// Whose.
        arrival: Arrival,
    },
    /// The journey is terminal.
    Finished {
        /// Whose.
        arrival: Arrival,
    },
    /// The journey stands without an actor.
    Stands {
        /// Whose.
        arrival: Arrival,
        /// When it goes on by itself.
        until: Option<Timestamp>,
    },
    /// Put an item into another shard's inbox.
    Post {
        /// Which shard.
        shard: ShardId,
        /// What.
        item: Item,
    },
    /// Destroy a data key and what it encrypts.
    Erase {
        /// The key's slot.
        data_key: u64,
    },
}

/// A commit ready for the store, and what may leave after it.
#[derive(Debug)]
pub struct Sealed {
    /// The rows.
    pub commit: Commit,
    /// After the commit, in order.
    pub effects: Vec<Effect>,
}

#[derive(Debug, Default)]
struct Resident {
    row: Contributor,
    users: u32,
    /// The seal that holds its last change.
    changed: u64,
}

/// A journey in memory.
#[derive(Debug)]
struct Moving {
    journey: Journey,
    data_key: DataKey,
    /// An active row stands in the store.
    stored: bool,
    /// Its inbox item has to go with the next row.
    in_inbox: bool,
    /// A proposal that waits for budget.
    proposal: Option<Proposal>,
}

#[derive(Debug, Default)]
struct Draft {
    commit: Commit,
    journeys: BTreeSet<Arrival>,
    ended: Vec<Moving>,
    contributors: BTreeSet<ContributorKey>,
    entries: Vec<Vec<u8>>,
    effects: Vec<Effect>,
    touched: bool,
}

/// Who waits for the index of an outbox position.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Waiter {
    Journey(Arrival),
    Card(String),
}

/// The machine.
#[derive(Debug)]
pub struct Shard {
    /// Which shard.
    pub id: ShardId,
    world: Arc<World>,
    state: ShardState,
    contributors: HashMap<ContributorKey, Resident>,
    journeys: HashMap<Arrival, Moving>,
    log_waits: BTreeMap<u64, Waiter>,
    budget_waits: BTreeMap<String, VecDeque<Arrival>>,
    draft: Draft,
    seals: u64,
}

impl Shard {
    /// A shard with the state the store has, without any journey.
    pub fn new(id: ShardId, world: Arc<World>, state: ShardState) -> Self {
        let mut shard = Self {
            id,
            world,
            state,
            contributors: HashMap::new(),
            journeys: HashMap::new(),
            log_waits: BTreeMap::new(),
            budget_waits: BTreeMap::new(),
            draft: Draft::default(),
            seals: 0,
        };
        for (program, home) in &shard.state.homes {
            if let Some((_, position)) = home.card_due {
                shard.log_waits.insert(position, Waiter::Card(program.clone()));
            }
        }
        shard
    }

    /// The durable state as memory has it.
    pub fn state(&self) -> &ShardState {
        &self.state
    }

    /// `now` for decisions: the store's clock, never below the last committed now.
    pub fn now(&mut self, clock: Timestamp) -> Timestamp {
        self.state.now = self.state.now.max(clock);
        self.state.now
    }

    /// Journeys in memory.
    pub fn moving(&self) -> usize {
        self.journeys.len()
    }

    /// One journey in memory.
    pub fn journey(&self, arrival: Arrival) -> Option<&Journey> {
        self.journeys.get(&arrival).map(|moving| &moving.journey)
    }

    /// Whether a contributor's row is in memory.
    pub fn knows(&self, key: ContributorKey) -> bool {
        self.contributors.contains_key(&key)
    }

    /// Brings a contributor's row into memory, or counts one more user of it.
    pub fn retain(&mut self, key: ContributorKey, row: impl FnOnce() -> Contributor) {
        let fresh = || Resident { row: row(), users: 0, changed: 0 };
        self.contributors.entry(key).or_insert_with(fresh).users += 1;
    }

    /// One user less; the row stays until [`Self::evict`].
    pub fn release(&mut self, key: ContributorKey) {
        if let Some(resident) = self.contributors.get_mut(&key) {
            resident.users = resident.users.saturating_sub(1);
        }
    }

    /// Lets rows go that nobody uses and whose last change is durable: every seal up to
    /// `committed` is. Call it only while no read of contributors is under way, or a stale row
    /// could come back.
    pub fn evict(&mut self, committed: u64) {
        let dirty = &self.draft.contributors;
        self.contributors.retain(|key, resident| {
            resident.users > 0 || resident.changed > committed || dirty.contains(key)
        });
    }

    /// How many seals there were; the number of the last one.
    pub fn seals(&self) -> u64 {
        self.seals
    }

    /// A contributor's row in memory.
    pub fn contributor(&self, key: ContributorKey) -> Option<&Contributor> {
        self.contributors.get(&key).map(|resident| &resident.row)
    }

    /// Lets an inbox item in as a new journey. Its contributor must be retained for it.
    pub fn admit(&mut self, arrival: Arrival, submission: Submission, data_key: DataKey) {
        let workflow = self.pin(&submission);
        let journey = Journey::begin(arrival, submission, workflow);
        let moving =
            Moving { journey, data_key, stored: false, in_inbox: true, proposal: None };
        self.journeys.insert(arrival, moving);
    }

    /// Takes up a journey that has a row. Its contributor must be retained for it.
    pub fn resume(&mut self, journey: Journey, data_key: DataKey) {
        let arrival = journey.arrival;
        if let Some(accepted) = &journey.accepted
            && accepted.entry.index.is_none()
        {
            self.log_waits.insert(accepted.entry.position, Waiter::Journey(arrival));
        }
        let moving = Moving { journey, data_key, stored: true, in_inbox: false, proposal: None };
        self.journeys.insert(arrival, moving);
    }

    fn pin(&self, submission: &Submission) -> WorkflowRef {
        let program = self.world.programs.get(&submission.program);
        let workflow = program.and_then(|program| self.world.newest(&program.workflow));
        workflow.map_or_else(
            || WorkflowRef { name: String::new(), version: 0, hash: [0; 16] },
            |definition| definition.pin.clone(),
        )
    }

    /// Notes which ids are admitted; rides in the next commit.
    pub fn note_admitted(&mut self, admitted: &Admitted) -> Result<(), codec::Error> {
        self.draft.commit.admitted = Some(encode(admitted)?);
        self.draft.touched = true;
        Ok(())
    }

    /// A data key was destroyed.
    pub fn erased(&mut self, data_key: u64) {
        self.draft.commit.erasures_remove.push(data_key);
        self.draft.touched = true;
    }

    /// A timer that fired and is no longer needed.
    pub fn drop_timer(&mut self, due: Timestamp, arrival: Arrival) {
        self.draft.commit.timers_remove.push((due, arrival));
        self.draft.touched = true;
    }

    /// Whether something waits to be sealed.
    pub fn is_dirty(&self) -> bool {
        self.draft.touched
    }

    /// How many journeys the open commit changes.
    pub fn dirty(&self) -> usize {
        self.draft.journeys.len() + self.draft.ended.len()
    }

    /// Closes the open commit: rows encoded, effects in order.
    pub fn seal(&mut self) -> Result<Option<Sealed>, codec::Error> {
        if !self.draft.touched {
            return Ok(None);
        }
        let mut draft = std::mem::take(&mut self.draft);
        self.seals += 1;
        self.seal_entries(&mut draft)?;
        for arrival in &draft.journeys {
            let Some(moving) = self.journeys.get_mut(arrival) else { continue };
            seal_row(&mut draft.commit, moving, Place::Active)?;
            let standing = matches!(moving.journey.state, State::Parked { .. } | State::Paused { .. });
            if standing && let Some(gone) = self.journeys.remove(arrival) {
                self.release_of(&gone);
            }
        }
        for mut moving in std::mem::take(&mut draft.ended) {
            seal_row(&mut draft.commit, &mut moving, Place::Finished)?;
            self.release_of(&moving);
        }
        for key in &draft.contributors {
            if let Some(resident) = self.contributors.get_mut(key) {
                resident.changed = self.seals;
                draft.commit.contributors.push((*key, encode(&resident.row)?));
            }
        }
        draft.commit.state = encode(&self.state)?;
        Ok(Some(Sealed { commit: draft.commit, effects: draft.effects }))
    }

    fn release_of(&mut self, moving: &Moving) {
        self.release(self.world.key.contributor(&moving.journey.submission.contributor));
    }

    fn seal_entries(&mut self, draft: &mut Draft) -> Result<(), codec::Error> {
        if draft.entries.is_empty() {
            return Ok(());
        }
        let entries = std::mem::take(&mut draft.entries);
        let from = self.state.outbox_next - entries.len() as u64;
        draft.commit.outbox_put.push((from, encode(&OutboxRow(entries.clone()))?));
        draft.effects.insert(0, Effect::Offer { from, entries });
        Ok(())
    }

    /// Puts an entry at the next outbox position.
    fn log(&mut self, entry: Vec<u8>) -> u64 {
        let position = self.state.outbox_next;
        self.state.outbox_next += 1;
        self.draft.entries.push(entry);
        self.draft.touched = true;
        position
    }

    fn touch(&mut self, arrival: Arrival) {
        self.draft.journeys.insert(arrival);
        self.draft.touched = true;
    }

    fn effect(&mut self, effect: Effect) {
        self.draft.effects.push(effect);
        self.draft.touched = true;
    }

    fn guard(&mut self, key: ContributorKey, moving: &Moving) {
        if let Some(held) = &moving.journey.held {
            self.draft.commit.guards.push(Guard {
                contributor: key,
                arrival: moving.journey.arrival,
                grant: held.grant.clone(),
                program: moving.journey.submission.program.clone(),
                position: held.position,
            });
        }
    }
}

fn seal_row(commit: &mut Commit, moving: &mut Moving, place: Place) -> Result<(), codec::Error> {
    let arrival = moving.journey.arrival;
    commit.journeys.push((arrival, place, moving.stored, encode(&moving.journey)?));
    if std::mem::take(&mut moving.in_inbox) {
        commit.inbox_remove.push((Lane::Intake, arrival));
    }
    moving.stored = place == Place::Active;
    Ok(())
}

#[cfg(test)]
mod tests;
