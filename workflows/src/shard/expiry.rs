//! Finished journeys whose time of retention is over, and withdrawals that reach them afterwards.

use super::Shard;
use super::control::Chain;
use crate::codec::{self, encode};
use crate::commit::Place;
use crate::id::ContributorKey;
use crate::journey::{Journey, State, WithdrawnAt};
use crate::submission::{Mark, Scope};
use crate::tombstone::Tombstone;

impl Shard {
    /// Puts a tombstone in the place of a finished journey that was just read, with its entry's
    /// index filled in; its data key and blob go. False if it has to stay: it is in memory, or
    /// something of it is on its way.
    ///
    /// # Errors
    /// If the tombstone does not encode.
    pub fn expire(&mut self, journey: &Journey) -> Result<bool, codec::Error> {
        if self.journey(journey.arrival).is_some() {
            return Ok(false);
        }
        // A tombstone cannot say later what the journey still owes the log.
        if journey.owes_withdrawal() {
            return Ok(false);
        }
        let Some(tombstone) = Tombstone::of(journey, &self.world.key) else { return Ok(false) };
        self.put_tombstone(&tombstone)?;
        let erased = journey.withdrawn.is_some()
            || (journey.state != State::Settled && journey.submission.media.is_some());
        if !erased {
            self.erase(journey.submission.data_key);
        }
        Ok(true)
    }

    /// One step of a withdrawal's walk, over a tombstone that was just read: what was accepted under
    /// the grant that is taken back is said to be withdrawn, in the log too. The contributor must
    /// be retained.
    ///
    /// # Errors
    /// If the tombstone does not encode.
    pub fn withdraw_expired(
        &mut self,
        key: ContributorKey,
        mut tombstone: Tombstone,
        mark: &Mark,
    ) -> Result<Chain, codec::Error> {
        let next = self.walk_on(key, tombstone.previous.map_or(Chain::Done, Chain::Next));
        let broken = self.takes_back(key, &tombstone, mark);
        let Some(kept) = tombstone.accepted.as_mut().filter(|_| broken) else { return Ok(next) };
        let Some(index) = kept.entry.index.filter(|_| kept.withdrawn.is_none()) else {
            return Ok(next);
        };
        let scope = mark.scope.clone();
        let entry = Some(self.withdrawal_entry(tombstone.id, index, &scope));
        kept.withdrawn = Some(WithdrawnAt { at: mark.at, scope, entry });
        self.put_tombstone(&tombstone)?;
        Ok(next)
    }

    /// Whether a mark takes back the grant that an expired contribution was accepted under.
    fn takes_back(&self, key: ContributorKey, tombstone: &Tombstone, mark: &Mark) -> bool {
        let position = tombstone.accepted.as_ref().and_then(|kept| kept.grant);
        let Some(position) = position else { return false };
        match &mark.scope {
            Scope::Grant(grant) => self.contributor(key).is_some_and(|row| {
                match row.grants.iter().find(|held| held.position == position) {
                    Some(held) => held.consent.grant == *grant,
                    // It made room for others. If the one that is taken back did too, it may be it.
                    None => !row.grants.iter().any(|held| held.consent.grant == *grant),
                }
            }),
            Scope::Program(name) => *name == tombstone.program && mark.position > position,
            Scope::All => mark.position > position,
        }
    }

    fn put_tombstone(&mut self, tombstone: &Tombstone) -> Result<(), codec::Error> {
        let row = encode(tombstone)?;
        self.draft.commit.journeys.push((tombstone.arrival, Place::Finished, false, row));
        self.draft.touched = true;
        Ok(())
    }
}
