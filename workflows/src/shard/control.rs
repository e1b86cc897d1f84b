//! The control lane: consents, withdrawals, and words on one journey.

use super::{Moving, Shard};
use crate::entry::DataKey;
use crate::id::{Arrival, ContributorKey};
use crate::inbox::Lane;
use crate::journey::{EventKind, Journey, State, WithdrawnAt};
use crate::submission::{Consent, Mark, Scope};
use crate::time::Timestamp;
use std::sync::Arc;

/// Where a withdrawal's walk along a contributor's journeys goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chain {
    /// With this one.
    Next(Arrival),
    /// It is over.
    Done,
    /// An entry has no index yet, this journey's or that of one before: come back when the log has
    /// said it.
    NotYet,
}

impl Shard {
    /// An inbox item of the control lane is dealt with: it goes with the open commit.
    pub fn done(&mut self, arrival: Arrival) {
        self.draft.commit.inbox_remove.push((Lane::Control, arrival));
        self.draft.touched = true;
    }

    /// Takes a consent in. The contributor must be retained. Says how many older grants that covered
    /// something made room for it.
    pub fn consent(&mut self, key: ContributorKey, consent: Consent, position: Arrival) -> usize {
        let Some(resident) = self.contributors.get_mut(key) else {
            return 0;
        };
        let lapsed = Arc::make_mut(&mut resident.row).give(consent, position);
        self.draft.contributors.insert(key);
        self.draft.touched = true;
        lapsed
    }

    /// Takes a withdrawal in, whose mark the store has already: from now on nothing is accepted against
    /// it. Says where the walk along the contributor's journeys begins, if they have any; it may begin
    /// once all that is decided by now is durable. The contributor must be retained.
    pub fn withdraw(
        &mut self,
        key: ContributorKey,
        mark: &Mark,
        now: Timestamp,
    ) -> Option<Arrival> {
        let resident = self.contributors.get_mut(key)?;
        Arc::make_mut(&mut resident.row).withdraw(mark.clone());
        let latest = resident.row.latest;
        self.draft.contributors.insert(key);
        self.draft.touched = true;
        let mine = |moving: &&Moving| moving.contributor == key;
        let mut arrivals: Vec<Arrival> =
            self.journeys.values().filter(mine).map(|moving| moving.journey.arrival).collect();
        arrivals.sort_unstable();
        for arrival in arrivals {
            self.withdraw_moving(arrival, mark, false, now);
        }
        latest
    }

    /// A journey that was accepted is marked; one that stands, or waits for budget, ends. Where a
    /// stage is at work, its outcome comes too late and ends it then.
    fn withdraw_moving(&mut self, arrival: Arrival, mark: &Mark, idle: bool, now: Timestamp) {
        let Some(mut moving) = self.journeys.remove(&arrival) else {
            return;
        };
        let idle = idle || moving.journey.state != State::Moving || moving.proposal.is_some();
        if idle && self.is_withdrawn(&moving, now) {
            self.journeys.insert(arrival, moving);
            self.cancel_standing(arrival);
            if let Some(moving) = self.journeys.remove(&arrival) {
                self.end(moving, State::Withdrawn, now);
            }
            return;
        }
        if self.mark_withdrawn(&mut moving, mark, now) {
            self.touch(arrival);
        }
        self.journeys.insert(arrival, moving);
    }

    /// One step of the walk, over a journey that was just read from the store, or that
    /// [`Shard::journey`] has. What memory has of it goes before the row. An index that stands in
    /// a sequenced row must be filled in.
    pub fn withdraw_standing(&mut self, journey: Journey, mark: &Mark, now: Timestamp) -> Chain {
        let key = self.world.key.contributor(&journey.submission.contributor);
        let next = self.withdraw_link(key, journey, mark, now);
        self.walk_on(key, next)
    }

    /// The inbox item is what makes a walk come again after a crash. So the walk is not over, and the
    /// item stays, while a journey that is marked waits for its index and the log is not told.
    pub fn walk_on(&self, key: ContributorKey, next: Chain) -> Chain {
        let leaving = self.leaving.values().map(|(_, moving)| moving);
        let mut in_memory = self.journeys.values().chain(leaving);
        let owes = |m: &Moving| m.contributor == key && m.journey.owes_withdrawal();
        match next {
            Chain::Done if in_memory.any(owes) => Chain::NotYet,
            next => next,
        }
    }

    fn withdraw_link(
        &mut self,
        key: ContributorKey,
        journey: Journey,
        mark: &Mark,
        now: Timestamp,
    ) -> Chain {
        let arrival = journey.arrival;
        let known = self.journey(arrival);
        let current = known.unwrap_or(&journey);
        let next = current.previous.map_or(Chain::Done, Chain::Next);
        let (in_memory, ended) = (known.is_some(), current.state.is_terminal());
        if !in_memory && journey.waits_for_log() {
            return Chain::NotYet;
        }
        let ended_now = |moving: &Moving| moving.journey.arrival == arrival;
        if let Some(nth) = self.draft.ended.iter().position(ended_now) {
            let mut moving = self.draft.ended.swap_remove(nth);
            self.mark_withdrawn(&mut moving, mark, now);
            self.draft.ended.push(moving);
            self.draft.touched = true;
            return next;
        }
        if !in_memory {
            if ended && !self.is_broken(&journey, mark) && !journey.owes_withdrawal() {
                return next;
            }
            // It is in memory until its change is durable, under a user of its own.
            self.retain(key, crate::contributor::Contributor::default);
            let data_key = DataKey::blind(&self.world.key, journey.submission.id);
            let moving = Moving {
                journey: Arc::new(journey),
                contributor: key,
                data_key,
                stored: !ended,
                in_inbox: false,
                proposal: None,
                cleared: false,
                again: false,
            };
            self.leaving.insert(arrival, (self.seals, moving));
        }
        if let Some((seal, mut moving)) = self.leaving.remove(&arrival) {
            if !ended {
                self.journeys.insert(arrival, moving);
            } else if self.mark_withdrawn(&mut moving, mark, now) {
                self.draft.ended.push(moving);
            } else {
                self.leaving.insert(arrival, (seal, moving));
            }
        }
        self.withdraw_moving(arrival, mark, !in_memory, now);
        self.stand_again(arrival);
        next
    }

    /// A journey that was only looked at goes where standing journeys go.
    fn stand_again(&mut self, arrival: Arrival) {
        let stands = self.journeys.get(&arrival).is_some_and(|m| m.journey.state != State::Moving);
        if stands
            && !self.draft.journeys.contains(&arrival)
            && let Some(moving) = self.journeys.remove(&arrival)
        {
            self.leaving.insert(arrival, (self.seals, moving));
        }
    }

    /// Whether a mark takes back the grant that an accepted journey pinned.
    fn is_broken(&self, journey: &Journey, mark: &Mark) -> bool {
        let Some(held) = &journey.held else {
            return false;
        };
        let program = &journey.submission.program;
        let broken = match &mark.scope {
            Scope::Grant(grant) => *grant == held.grant,
            Scope::Program(name) => name == program && mark.position > held.position,
            Scope::All => mark.position > held.position,
        };
        broken && journey.accepted.is_some() && journey.withdrawn.is_none()
    }

    /// What was taken back before a journey was accepted again has no walk that comes by any more.
    pub(super) fn take_back(&mut self, moving: &mut Moving, now: Timestamp) {
        let journey = &moving.journey;
        let mark = journey.held.as_ref().and_then(|held| {
            let row = self.contributor(moving.contributor)?;
            row.mark_on(&held.grant, &journey.submission.program, held.position).cloned()
        });
        if let Some(mark) = mark {
            self.mark_withdrawn(moving, &mark, now);
        }
    }

    /// Marks an accepted journey: the entry follows, key and blob go at once. One that was marked before
    /// its index was known may have lost whoever waited for it: then the entry follows now.
    fn mark_withdrawn(&mut self, moving: &mut Moving, mark: &Mark, now: Timestamp) -> bool {
        if moving.journey.owes_withdrawal() && !moving.journey.waits_for_log() {
            self.log_withdrawal(Arc::make_mut(&mut moving.journey));
            return true;
        }
        if !self.is_broken(&moving.journey, mark) {
            return false;
        }
        let journey = Arc::make_mut(&mut moving.journey);
        let scope = mark.scope.clone();
        journey.withdrawn = Some(WithdrawnAt { at: mark.at, scope, entry: None });
        journey.note(now, EventKind::Withdrawn);
        self.log_withdrawal(journey);
        self.erase(journey.submission.data_key);
        moving.data_key = DataKey::blind(&self.world.key, journey.submission.id);
        true
    }
}
