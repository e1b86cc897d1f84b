//! What of the store is in memory: journeys and contributors come in, and leave once their last
//! change is durable.

use super::residents::Resident;
use super::{Moving, Shard, Waiter};
use crate::contributor::Contributor;
use crate::definition::WorkflowRef;
use crate::entry::DataKey;
use crate::id::{Arrival, ContributorKey};
use crate::inbox::Lane;
use crate::journey::{Journey, State};
use crate::submission::Submission;
use crate::teeth::{Tooth, bites};
use std::collections::HashSet;
use std::sync::Arc;

impl Shard {
    /// Journeys that move.
    pub fn moving(&self) -> usize {
        self.journeys.len()
    }

    /// One journey in memory: it moves, or it stands or ended with a seal that may not be durable
    /// yet. What the store has of it may be older.
    pub fn journey(&self, arrival: Arrival) -> Option<&Journey> {
        self.known(arrival).map(|moving| &*moving.journey)
    }

    /// The same, shared, with its contributor's row.
    pub fn standing(&self, arrival: Arrival) -> Option<(Arc<Journey>, Arc<Contributor>)> {
        let moving = self.known(arrival)?;
        let contributor = self.contributor(moving.contributor).cloned().unwrap_or_default();
        Some((moving.journey.clone(), contributor))
    }

    fn known(&self, arrival: Arrival) -> Option<&Moving> {
        let leaving = || self.leaving.get(&arrival).map(|(_, moving)| moving);
        let ended = || self.draft.ended.iter().find(|moving| moving.journey.arrival == arrival);
        self.journeys.get(&arrival).or_else(leaving).or_else(ended)
    }

    /// Every journey that moves; whether it is still an item of the inbox, and whether it waits
    /// for budget.
    pub fn in_memory(&self) -> impl Iterator<Item = (&Journey, bool, bool)> {
        let moves = self.journeys.values().filter(|m| m.journey.state == State::Moving);
        moves.map(|moving| (&*moving.journey, moving.in_inbox, moving.proposal.is_some()))
    }

    /// Brings a contributor's row into memory, or counts one more user of it.
    pub fn retain(&mut self, key: ContributorKey, row: impl FnOnce() -> Contributor) {
        self.contributors.retain(key, row);
    }

    /// Whose rows are in memory. They stay until [`Self::evict`].
    pub fn residents(&self) -> Arc<HashSet<ContributorKey>> {
        Arc::clone(self.contributors.keys())
    }

    /// One user less; the row stays until [`Self::evict`].
    pub fn release(&mut self, key: ContributorKey) {
        self.contributors.release(key);
    }

    /// Lets rows go that nobody uses and whose last change is durable: every seal up to
    /// `committed` is; of contributors those of the last `keep` uses stay. What is being read must
    /// have begun when `committed` was durable, or a stale row could come back; nobody may be reading
    /// for [`Self::residents`].
    pub fn evict(&mut self, committed: u64, keep: usize) {
        let waits = |moving: &Moving| moving.journey.waits_for_log();
        let gone = self.leaving.extract_if(.., |_, (seal, m)| *seal <= committed && !waits(m));
        let gone: Vec<Moving> = gone.map(|(_, (_, moving))| moving).collect();
        for moving in &gone {
            self.release_of(moving);
        }
        self.indices.retain(|_, (seal, _)| *seal > committed);
        let dirty = &self.draft.contributors;
        let is_durable =
            |key, resident: &Resident| resident.changed <= committed && !dirty.contains(&key);
        self.contributors.forget(keep, is_durable);
    }

    /// How many seals there were; the number of the last one.
    pub fn seals(&self) -> u64 {
        self.seals
    }

    /// The seal that holds a contributor's last change.
    pub fn changed(&self, key: ContributorKey) -> u64 {
        match self.draft.contributors.contains(&key) {
            true => self.seals + 1,
            false => self.contributors.get(key).map_or(0, |resident| resident.changed),
        }
    }

    /// Whose a journey is, if it moves and is not accepted.
    pub fn unaccepted(&self, arrival: Arrival) -> Option<ContributorKey> {
        let moving = self.journeys.get(&arrival);
        moving.filter(|moving| moving.journey.accepted.is_none()).map(|moving| moving.contributor)
    }

    /// A contributor's row in memory.
    pub fn contributor(&self, key: ContributorKey) -> Option<&Arc<Contributor>> {
        self.contributors.get(key).map(|resident| &resident.row)
    }

    /// Whether a commit that was lost had accepted a journey: a rail may know of it.
    pub fn is_again(&self, arrival: Arrival) -> bool {
        self.journeys.get(&arrival).is_some_and(|moving| moving.again)
    }

    /// Lets an inbox item in as a new journey. Its contributor must be retained for it.
    pub fn admit(
        &mut self,
        arrival: Arrival,
        contributor: ContributorKey,
        submission: Submission,
        data_key: DataKey,
    ) {
        let workflow = self.pin(&submission);
        let mut journey = Journey::begin(arrival, submission, workflow);
        // Time in the queue is not the first stage's.
        journey.since = journey.since.max(self.state.now);
        let early = bites(Tooth::InboxItemRemovedEarly);
        if early {
            self.draft.commit.inbox_remove.push((Lane::Intake, arrival));
        }
        let moving = Moving {
            journey: Arc::new(journey),
            contributor,
            data_key,
            stored: false,
            in_inbox: !early,
            proposal: None,
            cleared: false,
            again: false,
        };
        self.journeys.insert(arrival, moving);
    }

    /// Takes up a journey that has a row. Its contributor must be retained for it, and an index
    /// that stands in a sequenced row filled in. What memory has of it goes before the row.
    pub fn resume(&mut self, journey: Journey, data_key: DataKey) {
        let key = self.world.key.contributor(&journey.submission.contributor);
        if !self.take_up(journey, data_key) {
            self.release(key);
        }
    }

    fn insert_row(&mut self, mut journey: Journey, contributor: ContributorKey, data_key: DataKey) {
        let arrival = journey.arrival;
        if journey.workflow == WorkflowRef::none() {
            // It has not begun; by now its program may be known.
            journey.workflow = self.pin(&journey.submission);
        }
        if let Some(accepted) = &mut journey.accepted
            && accepted.entry.index.is_none()
        {
            let position = accepted.entry.position;
            accepted.entry.index = self.indices.get(&position).map(|(_, index)| *index);
            if accepted.entry.index.is_none() {
                self.log_waits.insert(position, Waiter::Journey(arrival));
            }
        }
        if journey.owes_withdrawal() && !journey.waits_for_log() {
            // Whoever waited for its index was lost. It must not end before the log is told.
            self.log_withdrawal(&mut journey);
            self.touch(arrival);
        }
        let moving = Moving {
            journey: Arc::new(journey),
            contributor,
            data_key,
            stored: true,
            in_inbox: false,
            proposal: None,
            cleared: false,
            again: false,
        };
        self.journeys.insert(arrival, moving);
    }

    /// Takes up a journey that its caller retained: as memory has it, else by its row. False if
    /// it has ended since the row was read.
    pub(super) fn take_up(&mut self, journey: Journey, data_key: DataKey) -> bool {
        let arrival = journey.arrival;
        let known = self.journey(arrival).map(|journey| journey.state.is_terminal());
        let key = self.world.key.contributor(&journey.submission.contributor);
        match known {
            Some(true) => return false,
            Some(false) => self.release(key),
            None => self.insert_row(journey, key, data_key),
        }
        if let Some((_, moving)) = self.leaving.remove(&arrival) {
            self.journeys.insert(arrival, moving);
        }
        true
    }

    fn pin(&self, submission: &Submission) -> WorkflowRef {
        let program = self.world.programs.get(&submission.program);
        let workflow = program.and_then(|program| self.world.newest(&program.workflow));
        workflow.map_or_else(WorkflowRef::none, |definition| definition.pin.clone())
    }

    fn release_of(&mut self, moving: &Moving) {
        self.release(moving.contributor);
    }
}
