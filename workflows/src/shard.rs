//! The shard: the unit of consistency. It takes the decisions that touch shared state one after
//! the other and assembles them into commits.
//!
//! Contribution actors run stages and *propose*; the shard decides against durable state plus the
//! commits in flight. Memory runs ahead of the store, so if a commit fails, this whole machine is
//! thrown away and rebuilt from the store under a new epoch: everything decided after the failed
//! commit falls with it. Effects leave only with [`Sealed::effects`], after their commit.

mod adoption;
mod budget;
mod check;
mod control;
mod decide;
mod expiry;
mod log;
mod memory;
mod payout;
mod residents;
mod standing;

use crate::codec::{self, encode};
use crate::commit::{Admitted, Commit, Guard, OutboxRow, Place, ShardState};
use crate::definition::{Definition, WorkflowRef};
use crate::entry::DataKey;
use crate::id::{Arrival, ContributorKey, IdKey, ShardId};
use crate::inbox::{Item, Lane};
use crate::invariant::Breach;
use crate::journey::{Journey, State};
use crate::limits;
use crate::program::Program;
use crate::request::{Failure, Reason, Request};
use crate::teeth::{Tooth, bites};
use crate::time::Timestamp;
use residents::Residents;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

pub use adoption::{Due, Found};
pub use control::Chain;
pub use decide::refusal_reason;

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
        let named = self.workflows.values().filter(|definition| &*definition.pin.name == name);
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
    /// Stages are done, and the one after them parks or failed: what they ask for is granted
    /// before it stands, for it is that stage where the journey goes on.
    After {
        /// Their outputs, by position.
        outputs: Vec<(u8, Vec<u8>)>,
        /// What they ask for, by position.
        requests: Vec<(u8, Request)>,
        /// What became of the stage after them.
        then: Box<Proposal>,
    },
}

impl Proposal {
    /// Whether it is about a stage that is done: said by an actor of before a restart.
    fn is_stale(&self, stage: u8) -> bool {
        match self {
            Self::Advance { next, .. } => *next <= stage,
            Self::Reject { stage: at, .. }
            | Self::Park { stage: at, .. }
            | Self::Failed { stage: at, .. } => *at < stage,
            Self::After { then, .. } => then.is_stale(stage),
        }
    }
}

/// What may leave once the commit is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "effects leave at once; few are ever kept")]
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
    /// Outbox positions below have their indices with it; none if it brings no new ones.
    pub logged: Option<u64>,
}

/// Why a commit cannot be closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// A row does not encode.
    #[error(transparent)]
    Codec(#[from] codec::Error),
    /// An invariant would not hold any more. Nothing may be committed.
    #[error(transparent)]
    Breach(#[from] Breach),
}

/// A journey in memory.
#[derive(Debug)]
struct Moving {
    /// Shared with whoever drives it; what is decided is changed in a copy of its own.
    journey: Arc<Journey>,
    contributor: ContributorKey,
    data_key: DataKey,
    /// An active row stands in the store.
    stored: bool,
    /// Its inbox item has to go with the next row.
    in_inbox: bool,
    /// A proposal that waits for budget.
    proposal: Option<Proposal>,
    /// All that its keyed stage needs is in the commit of its entry: it waits for the index alone.
    cleared: bool,
    /// A commit that was lost had accepted it.
    again: bool,
}

#[derive(Debug, Default)]
struct Draft {
    commit: Commit,
    journeys: BTreeSet<Arrival>,
    ended: Vec<Moving>,
    contributors: BTreeSet<ContributorKey>,
    entries: Vec<Vec<u8>>,
    effects: Vec<Effect>,
    /// The end of the last outbox row that goes.
    logged: Option<u64>,
    touched: bool,
    /// It holds what nothing waits for: indices, which the log says again.
    lazy: bool,
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
    contributors: Residents,
    journeys: HashMap<Arrival, Moving>,
    /// Journeys that stand or ended with a seal that may not be durable yet, and those that stand
    /// while their entry waits for its index.
    leaving: BTreeMap<Arrival, (u64, Moving)>,
    /// Indices that nobody in memory waited for, by outbox position, with the seal they ride in.
    indices: BTreeMap<u64, (u64, u64)>,
    card_hashes: BTreeMap<String, [u8; 16]>,
    log_waits: BTreeMap<u64, Waiter>,
    budget_waits: BTreeMap<String, VecDeque<Arrival>>,
    /// Journeys that go on without another commit.
    ready: Vec<Arrival>,
    adopted: adoption::Adopted,
    draft: Draft,
    seals: u64,
}

impl Shard {
    /// A shard with the state the store has, without any journey.
    pub fn new(id: ShardId, world: Arc<World>, state: ShardState) -> Self {
        let hash = |(id, program): (&String, &Program)| (id.clone(), program.card_hash());
        let mut shard = Self {
            id,
            card_hashes: world.programs.iter().map(hash).collect(),
            leaving: BTreeMap::new(),
            indices: BTreeMap::new(),
            world,
            state,
            contributors: Residents::default(),
            journeys: HashMap::new(),
            log_waits: BTreeMap::new(),
            budget_waits: BTreeMap::new(),
            ready: Vec::new(),
            adopted: adoption::Adopted::default(),
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

    /// Notes which ids are admitted; rides in the next commit.
    pub fn note_admitted(&mut self, admitted: &Admitted) -> Result<(), codec::Error> {
        if !bites(Tooth::AttemptCountedAtTheEnd) {
            self.draft.commit.admitted = Some(encode(admitted)?);
        }
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
        self.draft.touched || self.draft.lazy
    }

    /// Whether somebody waits for what is to be sealed. Indices alone can wait for the next commit:
    /// were they lost, the log would say them again.
    pub fn is_urgent(&self) -> bool {
        self.draft.touched
    }

    /// Journeys whose actors go on at once: what they rely on is durable.
    pub fn take_ready(&mut self) -> Vec<Arrival> {
        std::mem::take(&mut self.ready)
    }

    /// How many journeys the open commit changes.
    pub fn dirty(&self) -> usize {
        self.draft.journeys.len() + self.draft.ended.len()
    }

    /// Closes the open commit: rows encoded, effects in order.
    ///
    /// # Errors
    /// [`SealError::Breach`] if an invariant would not hold any more: the whole machine must be
    /// thrown away, since what it decided is wrong.
    pub fn seal(&mut self) -> Result<Option<Sealed>, SealError> {
        if !self.is_dirty() {
            return Ok(None);
        }
        self.check()?;
        self.seal_adopted()?;
        let mut draft = std::mem::take(&mut self.draft);
        self.seals += 1;
        self.seal_entries(&mut draft)?;
        for arrival in &draft.journeys {
            let Some(moving) = self.journeys.get_mut(arrival) else {
                continue;
            };
            seal_row(&mut draft.commit, moving, Place::Active)?;
            let standing =
                matches!(moving.journey.state, State::Parked { .. } | State::Paused { .. });
            if standing && let Some(gone) = self.journeys.remove(arrival) {
                self.leaving.insert(*arrival, (self.seals, gone));
            }
        }
        for mut moving in std::mem::take(&mut draft.ended) {
            seal_row(&mut draft.commit, &mut moving, Place::Finished)?;
            self.leaving.insert(moving.journey.arrival, (self.seals, moving));
        }
        for key in &draft.contributors {
            if let Some(resident) = self.contributors.get_mut(*key) {
                resident.changed = self.seals;
                draft.commit.contributors.push((*key, encode(&*resident.row)?));
            }
        }
        draft.commit.state = encode(&self.state)?;
        let Draft { commit, effects, logged, .. } = draft;
        Ok(Some(Sealed { commit, effects, logged }))
    }

    /// Entries become outbox rows, in order, none longer than a row may be.
    fn seal_entries(&mut self, draft: &mut Draft) -> Result<(), codec::Error> {
        let mut from = self.state.outbox_next - draft.entries.len() as u64;
        let mut rows: Vec<OutboxRow> = Vec::new();
        let mut bytes = 0;
        for entry in std::mem::take(&mut draft.entries) {
            bytes += entry.len();
            match rows.last_mut() {
                Some(row) if bytes <= limits::OUTBOX_ROW_BYTES_MAX => row.0.push(entry),
                _ => {
                    bytes = entry.len();
                    rows.push(OutboxRow(vec![entry]));
                }
            }
        }
        let mut offers = Vec::with_capacity(rows.len());
        for row in rows {
            draft.commit.outbox_put.push((from, encode(&row)?));
            let after = from + row.0.len() as u64;
            offers.push(Effect::Offer { from, entries: row.0 });
            from = after;
        }
        draft.effects.splice(0..0, offers);
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

    /// An outbox row has all its indices.
    fn clear(&mut self, from: u64, entries: usize) {
        self.draft.commit.outbox_remove.push(from);
        self.draft.logged = self.draft.logged.max(Some(from + entries as u64));
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
        if let Some(held) = &moving.journey.held
            && !bites(Tooth::ConsentMarkNotChecked)
            && !moving.again
        {
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
    commit.journeys.push((arrival, place, moving.stored, encode(&*moving.journey)?));
    if std::mem::take(&mut moving.in_inbox) {
        commit.inbox_remove.push((Lane::Intake, arrival));
    }
    moving.stored = place == Place::Active;
    Ok(())
}

#[cfg(test)]
mod tests;
