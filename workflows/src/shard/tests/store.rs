//! The store of one shard, in maps: what a commit leaves behind.

use crate::codec::{decode, encode};
use crate::commit::{Commit, Place, SequencedRow, ShardState};
use crate::contributor::Contributor;
use crate::id::{Arrival, ContributorKey, IdKey};
use crate::inbox::{Item, Lane};
use crate::journey::Journey;
use crate::submission::{Mark, Scope};
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone)]
pub(super) struct Store {
    key: IdKey,
    pub(super) inbox: BTreeMap<Arrival, Item>,
    pub(super) active: BTreeMap<Arrival, Journey>,
    pub(super) finished: BTreeMap<Arrival, Journey>,
    pub(super) contributors: BTreeMap<ContributorKey, Contributor>,
    pub(super) marks: Vec<(ContributorKey, Mark)>,
    pub(super) timers: BTreeSet<(Timestamp, Arrival)>,
    pub(super) outbox: BTreeMap<u64, Vec<Vec<u8>>>,
    pub(super) sequenced: BTreeMap<u64, SequencedRow>,
    pub(super) erasures: BTreeSet<u64>,
    pub(super) state: ShardState,
    pub(super) arrivals: Arrival,
    pub(super) commits: u64,
    /// It has failed over to an older state.
    pub(super) forgot: bool,
}

impl Store {
    pub(super) fn new(key: IdKey) -> Self {
        Self {
            key,
            inbox: BTreeMap::new(),
            active: BTreeMap::new(),
            finished: BTreeMap::new(),
            contributors: BTreeMap::new(),
            marks: Vec::new(),
            timers: BTreeSet::new(),
            outbox: BTreeMap::new(),
            sequenced: BTreeMap::new(),
            erasures: BTreeSet::new(),
            state: ShardState::default(),
            arrivals: 0,
            commits: 0,
            forgot: false,
        }
    }

    pub(super) fn submit(&mut self, item: Item) -> Arrival {
        self.arrivals += 1;
        self.inbox.insert(self.arrivals, item);
        self.arrivals
    }

    /// Applies all of a commit or, if a guard is broken, nothing.
    pub(super) fn apply(&mut self, commit: &Commit) -> bool {
        let broken = commit.guards.iter().any(|guard| {
            let mut marks = self.marks.iter();
            marks.any(|(key, mark)| *key == guard.contributor && guard.is_broken_by(mark))
        });
        if broken {
            return false;
        }
        self.commits += 1;
        for (lane, arrival) in &commit.inbox_remove {
            let item = self.inbox.remove(arrival).expect("an item goes once");
            assert_eq!(item.lane(), *lane);
        }
        for (arrival, place, stored, bytes) in &commit.journeys {
            let journey: Journey = decode(bytes).unwrap();
            assert_eq!(*stored, self.active.contains_key(arrival), "the flag of {arrival}");
            assert_eq!(journey.state.is_terminal(), *place == Place::Finished);
            self.no_entry_under_a_mark(&journey);
            match place {
                Place::Active => self.active.insert(*arrival, journey),
                Place::Finished => {
                    self.active.remove(arrival);
                    self.finished.insert(*arrival, journey)
                }
            };
        }
        for (key, bytes) in &commit.contributors {
            self.contributors.insert(*key, decode(bytes).unwrap());
        }
        self.timers.extend(&commit.timers_put);
        for timer in &commit.timers_remove {
            self.timers.remove(timer);
        }
        for (from, bytes) in &commit.outbox_put {
            let row: crate::commit::OutboxRow = decode(bytes).unwrap();
            let adopted = row.clone().into_parts().0.is_some();
            assert!(self.outbox.insert(*from, row.0).is_none() || adopted || self.forgot);
        }
        for from in &commit.outbox_remove {
            let stood = self.outbox.remove(from).is_some();
            assert!(stood || self.forgot, "row {from} was not in the outbox");
        }
        for (from, bytes) in &commit.sequenced_put {
            self.sequenced.insert(*from, decode(bytes).unwrap());
        }
        self.erasures.extend(&commit.erasures_put);
        for slot in &commit.erasures_remove {
            self.erasures.remove(slot);
        }
        self.state = decode(&commit.state).unwrap();
        true
    }

    /// I5, without trusting the guards of the commit.
    fn no_entry_under_a_mark(&self, journey: &Journey) {
        if self.forgot {
            return;
        }
        let arrival = journey.arrival;
        let before = self.active.get(&arrival).or_else(|| self.finished.get(&arrival));
        let accepted_before = before.is_some_and(|before| before.accepted.is_some());
        let (Some(_), Some(held), false) = (&journey.accepted, &journey.held, accepted_before)
        else {
            return;
        };
        let owner = self.key.contributor(&journey.submission.contributor);
        for (_, mark) in self.marks.iter().filter(|(key, _)| *key == owner) {
            let since = mark.position > held.position;
            let broken = match &mark.scope {
                Scope::Grant(grant) => *grant == held.grant,
                Scope::Program(name) => *name == journey.submission.program && since,
                Scope::All => since,
            };
            assert!(!broken, "I5: {arrival} was accepted under {mark:?}");
        }
    }

    /// A journey as a shell reads it: with the index its sequenced row has.
    pub(super) fn read(&self, arrival: Arrival) -> Option<Journey> {
        let row = self.active.get(&arrival).or_else(|| self.finished.get(&arrival))?;
        let mut journey: Journey = decode(&encode(row).unwrap()).unwrap();
        if let Some(accepted) = &mut journey.accepted
            && accepted.entry.index.is_none()
        {
            let row = self.sequenced.range(..=accepted.entry.position).next_back();
            accepted.entry.index =
                row.and_then(|(from, row)| row.index(accepted.entry.position - from));
        }
        Some(journey)
    }

    /// A contributor as a shell reads it: with every mark, dealt with or not.
    pub(super) fn contributor(&self, key: ContributorKey) -> Contributor {
        let mut row = self.contributors.get(&key).cloned().unwrap_or_default();
        for (_, mark) in self.marks.iter().filter(|(whose, _)| *whose == key) {
            row.withdraw(mark.clone());
        }
        row
    }

    pub(super) fn control(&self) -> Vec<(Arrival, Item)> {
        self.lane(Lane::Control)
    }

    pub(super) fn lane(&self, lane: Lane) -> Vec<(Arrival, Item)> {
        let of = self.inbox.iter().filter(|(_, item)| item.lane() == lane);
        of.map(|(arrival, item)| (*arrival, item.clone())).collect()
    }

    pub(super) fn journeys(&self) -> impl Iterator<Item = &Journey> {
        self.active.values().chain(self.finished.values())
    }
}
