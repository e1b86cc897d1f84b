//! One shard with its store, and the little of a shell that reads inboxes and rows.

use super::super::{Chain, Effect, Sealed, Shard, World};
use super::store::Store;
use crate::entry::DataKey;
use crate::id::{Arrival, ContributorKey, ShardId};
use crate::inbox::{Item, Verb};
use crate::journey::Journey;
use crate::submission::{Mark, Submission, Withdrawal};
use crate::time::Timestamp;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

pub(super) struct Node {
    pub(super) shard: Shard,
    pub(super) store: Store,
    /// Inbox items that memory has taken up.
    pub(super) taken: BTreeSet<Arrival>,
    pub(super) in_flight: VecDeque<(u64, Sealed)>,
    pub(super) effects: Vec<Effect>,
}

pub(super) fn data_key(submission: &Submission) -> DataKey {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&submission.data_key.to_be_bytes());
    DataKey(bytes)
}

impl Node {
    pub(super) fn new(shard: u16, world: &Arc<World>) -> Self {
        let store = Store::new(world.key.clone());
        Self {
            shard: Shard::new(ShardId(shard), world.clone(), store.state.clone()),
            store,
            taken: BTreeSet::new(),
            in_flight: VecDeque::new(),
            effects: Vec::new(),
        }
    }

    pub(super) fn retain(&mut self, key: ContributorKey) {
        let store = &self.store;
        self.shard.retain(key, || store.contributor(key));
    }

    /// True if it was new.
    pub(super) fn read_control(
        &mut self,
        world: &World,
        arrival: Arrival,
        item: &Item,
        now: Timestamp,
    ) -> bool {
        if !self.taken.insert(arrival) {
            return false;
        }
        match item {
            Item::Consent(consent) => {
                let key = world.key.contributor(&consent.contributor);
                self.retain(key);
                self.shard.consent(key, consent.clone(), arrival);
                self.shard.release(key);
            }
            Item::Withdrawal(Withdrawal { contributor, scope, at }) => {
                let key = world.key.contributor(contributor);
                let mark = Mark { scope: scope.clone(), position: arrival, at: *at };
                if !self.walk(key, &mark, now) {
                    self.taken.remove(&arrival);
                    return false;
                }
            }
            Item::Transfer(transfer) => self.shard.transfer(transfer, now, 7),
            Item::Command { id, verb } => {
                let row = self.store.journeys().find(|row| row.submission.id == *id);
                if let Some(of) = row.map(|row| row.arrival) {
                    self.command(world, of, verb, now);
                }
            }
            Item::Contribution(_) => {}
        }
        self.shard.done(arrival);
        true
    }

    /// False if the log has to say an index first.
    fn walk(&mut self, key: ContributorKey, mark: &Mark, now: Timestamp) -> bool {
        self.retain(key);
        let first = self.shard.withdraw(key, mark, now);
        let mut step = first.map_or(Chain::Done, Chain::Next);
        while let Chain::Next(arrival) = step {
            let known = self.shard.journey(arrival).cloned();
            let journey = known.or_else(|| self.store.read(arrival)).expect("the chain holds");
            step = self.shard.withdraw_standing(journey, mark, now);
        }
        self.shard.release(key);
        step == Chain::Done
    }

    fn command(&mut self, world: &World, arrival: Arrival, verb: &Verb, now: Timestamp) -> bool {
        self.taken_up(world, arrival, |shard, journey, key| shard.command(journey, key, verb, now))
    }

    pub(super) fn wake(&mut self, world: &World, arrival: Arrival, now: Timestamp) -> bool {
        self.taken_up(world, arrival, |shard, journey, key| shard.wake(journey, key, now))
    }

    fn taken_up(
        &mut self,
        world: &World,
        arrival: Arrival,
        step: impl FnOnce(&mut Shard, Journey, DataKey) -> bool,
    ) -> bool {
        let Some(journey) = self.store.read(arrival) else { return false };
        let key = world.key.contributor(&journey.submission.contributor);
        let data_key = data_key(&journey.submission);
        self.retain(key);
        let taken = step(&mut self.shard, journey, data_key);
        if !taken {
            self.shard.release(key);
        }
        taken
    }
}
