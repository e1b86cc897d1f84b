//! The control lane: consents, withdrawals, and words on one journey.

use super::{Moving, Shard};
use crate::codec::{self, encode};
use crate::commit::Place;
use crate::contributor::TooManyGrants;
use crate::entry::DataKey;
use crate::id::{Arrival, ContributorKey};
use crate::inbox::Lane;
use crate::journey::{Journey, State, WithdrawnAt};
use crate::submission::{Consent, Mark, Scope};
use crate::time::Timestamp;

/// Where a withdrawal's walk along a contributor's journeys goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chain {
    /// With this one.
    Next(Arrival),
    /// It is over.
    Done,
    /// This journey's entry has no index yet: come back when the log has said it.
    NotYet,
}

impl Shard {
    /// An inbox item of the control lane is dealt with: it goes with the open commit.
    pub fn done(&mut self, arrival: Arrival) {
        self.draft.commit.inbox_remove.push((Lane::Control, arrival));
        self.draft.touched = true;
    }

    /// Takes a consent in. The contributor must be retained.
    pub fn consent(
        &mut self,
        key: ContributorKey,
        consent: Consent,
        position: Arrival,
    ) -> Result<(), TooManyGrants> {
        if let Some(resident) = self.contributors.get_mut(&key) {
            resident.row.give(consent, position)?;
            self.draft.contributors.insert(key);
            self.draft.touched = true;
        }
        Ok(())
    }

    /// Takes a withdrawal in; says where the walk along the contributor's journeys begins. The
    /// contributor must be retained.
    pub fn withdraw(&mut self, key: ContributorKey, mark: &Mark, now: Timestamp) -> Chain {
        let Some(resident) = self.contributors.get_mut(&key) else { return Chain::Done };
        resident.row.withdraw(mark.clone());
        let latest = resident.row.latest;
        self.draft.contributors.insert(key);
        self.draft.touched = true;
        let mine = |moving: &&Moving| {
            self.world.key.contributor(&moving.journey.submission.contributor) == key
        };
        let arrivals: Vec<Arrival> =
            self.journeys.values().filter(mine).map(|moving| moving.journey.arrival).collect();
        for arrival in arrivals {
            self.withdraw_moving(arrival, mark, now);
        }
        latest.map_or(Chain::Done, Chain::Next)
    }

    fn withdraw_moving(&mut self, arrival: Arrival, mark: &Mark, now: Timestamp) {
        let Some(mut moving) = self.journeys.remove(&arrival) else { return };
        if self.mark_withdrawn(&mut moving.journey, mark, now) {
            moving.data_key = DataKey::blind(&self.world.key, moving.journey.submission.id);
            self.touch(arrival);
        }
        self.journeys.insert(arrival, moving);
    }

    /// One step of the walk, over a journey that was just read from the store. In memory it was
    /// dealt with already.
    pub fn withdraw_standing(
        &mut self,
        mut journey: Journey,
        mark: &Mark,
        now: Timestamp,
    ) -> Result<Chain, codec::Error> {
        let next = journey.previous.map_or(Chain::Done, Chain::Next);
        if self.journeys.contains_key(&journey.arrival) {
            return Ok(next);
        }
        if journey.accepted.is_none() {
            if !journey.state.is_terminal() && self.takes_back(mark, &journey) {
                self.end_standing(journey, now);
            }
            return Ok(next);
        }
        if journey.waits_for_log() {
            return Ok(Chain::NotYet);
        }
        if self.mark_withdrawn(&mut journey, mark, now) {
            let terminal = journey.state.is_terminal();
            let place = if terminal { Place::Finished } else { Place::Active };
            let row = (journey.arrival, place, !terminal, encode(&journey)?);
            self.draft.commit.journeys.push(row);
        }
        Ok(next)
    }

    fn end_standing(&mut self, journey: Journey, now: Timestamp) {
        if let State::Parked { until: Some(due), .. } = journey.state {
            self.draft.commit.timers_remove.push((due, journey.arrival));
        }
        let key = self.world.key.contributor(&journey.submission.contributor);
        let data_key = DataKey::blind(&self.world.key, journey.submission.id);
        self.retain(key, crate::contributor::Contributor::default);
        let moving = Moving { journey, data_key, stored: true, in_inbox: false, proposal: None };
        self.end(moving, State::Withdrawn, now);
    }

    /// Whether a mark takes back what a journey stands on that has not been accepted.
    fn takes_back(&self, mark: &Mark, journey: &Journey) -> bool {
        let key = self.world.key.contributor(&journey.submission.contributor);
        let program = &journey.submission.program;
        let Some(contributor) = self.contributor(key) else { return false };
        contributor.grants.iter().any(|grant| {
            grant.consent.program == *program
                && grant.position < journey.arrival
                && contributor.mark_of(grant) == Some(mark)
        }) && mark.position > journey.arrival
    }

    /// Marks an accepted journey: the entry follows, key and blob go at once.
    fn mark_withdrawn(&mut self, journey: &mut Journey, mark: &Mark, now: Timestamp) -> bool {
        let Some(held) = &journey.held else { return false };
        let program = &journey.submission.program;
        let broken = match &mark.scope {
            Scope::Grant(grant) => *grant == held.grant,
            Scope::Program(name) => name == program && mark.position > held.position,
            Scope::All => mark.position > held.position,
        };
        if !broken || journey.accepted.is_none() || journey.withdrawn.is_some() {
            return false;
        }
        let scope = mark.scope.clone();
        journey.withdrawn = Some(WithdrawnAt { at: mark.at, scope, entry: None });
        journey.note(now, crate::journey::EventKind::Withdrawn);
        self.log_withdrawal(journey);
        self.erase(journey.submission.data_key);
        true
    }
}
