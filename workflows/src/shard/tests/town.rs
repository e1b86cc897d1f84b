//! What stands around the shards: stores, the log, a rail, the posts, and the stages' outcomes.

use super::super::{Due, Effect, Found, Shard, World};
use super::node::{Node, data_key};
use super::programs::{program, workflow};
use super::store::Store;
use crate::commit::OutboxRow;
use crate::id::{Arrival, ContributorKey, IdKey, ShardId};
use crate::inbox::{Item, Lane};
use crate::journey::State;
use crate::program::Program;
use crate::request::PayoutVerdict;
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub(super) struct Town {
    pub(super) world: Arc<World>,
    pub(super) nodes: Vec<Node>,
    pub(super) now: Timestamp,
    pub(super) log: Vec<Vec<u8>>,
    pub(super) sequenced: BTreeMap<(u16, u64), Vec<u64>>,
    /// Rows that stand at another position in the log.
    moved: BTreeMap<(u16, u64), u64>,
    pub(super) offers: VecDeque<(u16, u64, Vec<Vec<u8>>)>,
    pub(super) posts: VecDeque<(ShardId, Item)>,
    pub(super) runs: VecDeque<(u16, Arrival)>,
    /// What the rail paid, by key.
    pub(super) rail: BTreeMap<String, u64>,
    /// What the rail says instead of paying, by contribution.
    pub(super) rail_says: BTreeMap<String, PayoutVerdict>,
    /// Units handed in, by idempotency key; one unless told.
    pub(super) units: BTreeMap<String, u64>,
    pub(super) random: u64,
    /// Commits that the store refused, since a guard was broken.
    pub(super) broken: u32,
}

impl Town {
    /// A town of `shards` with one program `p` of the usual stages.
    pub(super) fn new(shards: u16, budget_micro: u64) -> Self {
        Self::of(shards, vec![program("p", "usual", budget_micro)])
    }

    pub(super) fn of(shards: u16, programs: Vec<Program>) -> Self {
        let policy = serde_json::json!({"policy": {"attempts": 3}});
        let usual = workflow("usual", &["consent", "value", "trace", "payout"], &policy);
        let late = workflow("late", &["consent", "value", "trace", "think", "payout"], &policy);
        let short = workflow("short", &["consent", "value", "trace"], &policy);
        let none = workflow("none", &["consent", "think"], &policy);
        let strict = serde_json::json!({"policy": {"attempts": 2, "exhausted": "reject"}});
        let strict = workflow("strict", &["consent", "value", "trace", "payout"], &strict);
        let all = [usual, late, short, none, strict];
        let world = World {
            shards,
            key: IdKey::new([7; 32]),
            programs: programs.into_iter().map(|p| (p.id.clone(), p)).collect(),
            workflows: all.into_iter().map(|w| (w.pin.clone(), Arc::new(w))).collect(),
        };
        let world = Arc::new(world);
        let nodes = (0..shards).map(|n| Node::new(n, &world)).collect();
        let mut town = Self {
            world,
            nodes,
            now: Timestamp(1_700_000_000_000),
            log: Vec::new(),
            sequenced: BTreeMap::new(),
            moved: BTreeMap::new(),
            offers: VecDeque::new(),
            posts: VecDeque::new(),
            runs: VecDeque::new(),
            rail: BTreeMap::new(),
            rail_says: BTreeMap::new(),
            units: BTreeMap::new(),
            random: 0x9e37_79b9_7f4a_7c15,
            broken: 0,
        };
        for node in 0..shards {
            town.nodes[usize::from(node)].shard.open_programs();
        }
        town.settle();
        town
    }

    pub(super) fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    pub(super) fn node(&mut self, of: u16) -> &mut Node {
        &mut self.nodes[usize::from(of)]
    }

    /// Everything until nothing moves by itself.
    pub(super) fn settle(&mut self) {
        for _ in 0..100_000 {
            let moved = self.deliver() | self.read_inboxes() | self.act() | self.sequence();
            let committed = (0..self.nodes.len()).map(|n| self.commit(n)).fold(false, |a, b| a | b);
            if !moved && !committed {
                self.nobody_lingers();
                return;
            }
        }
        panic!("the town never comes to rest");
    }

    pub(super) fn deliver(&mut self) -> bool {
        let mut moved = false;
        while let Some((shard, item)) = self.posts.pop_front() {
            self.node(shard.0).store.submit(item);
            moved = true;
        }
        moved
    }

    /// Control first, then contributions, then timers.
    pub(super) fn read_inboxes(&mut self) -> bool {
        let now = self.now;
        let mut moved = false;
        for node in &mut self.nodes {
            node.shard.now(now);
            for (arrival, item) in node.store.control() {
                moved |= node.read_control(&self.world, arrival, &item, now);
            }
            for (arrival, item) in node.store.lane(Lane::Intake) {
                if let Item::Contribution(submission) = item
                    && node.taken.insert(arrival)
                {
                    node.retain(self.world.key.contributor(&submission.contributor));
                    let key = data_key(&submission);
                    let whose = self.world.key.contributor(&submission.contributor);
                    node.shard.admit(arrival, whose, submission, key);
                    self.runs.push_back((node.shard.id.0, arrival));
                    moved = true;
                }
            }
            for (due, arrival) in node.store.timers.clone() {
                if due <= now && node.store.active.contains_key(&arrival) {
                    moved |= node.wake(&self.world, arrival, now);
                }
            }
        }
        moved
    }

    /// The log answers every offer; the same offer again gets the same answer.
    pub(super) fn sequence(&mut self) -> bool {
        let mut moved = false;
        while let Some((shard, at, entries)) = self.offers.pop_front() {
            let log = &mut self.log;
            let before = self.sequenced.range((shard, 0)..(shard, at)).next_back();
            let next = before.map_or(0, |((_, from), indices)| from + indices.len() as u64);
            assert_eq!(at, next, "the log takes no gap");
            let indices = self.sequenced.entry((shard, at)).or_insert_with(|| {
                let first = log.len() as u64;
                log.extend(entries.iter().cloned());
                (first..log.len() as u64).collect()
            });
            let (now, indices) = (self.now, indices.clone());
            let from = self.moved.remove(&(shard, at)).unwrap_or(at);
            assert_eq!(indices.len(), entries.len(), "a row never changes its length");
            let machine = &mut self.node(shard).shard;
            machine.sequenced(from, &indices, now).unwrap();
            let ready = machine.take_ready();
            self.runs.extend(ready.into_iter().map(|arrival| (shard, arrival)));
            moved = true;
        }
        moved
    }

    /// Seals, applies and lets the effects go, at once.
    pub(super) fn commit(&mut self, nth: usize) -> bool {
        let sealed = self.seal(nth);
        let applied = self.apply(nth);
        sealed | applied
    }

    pub(super) fn seal(&mut self, nth: usize) -> bool {
        let node = &mut self.nodes[nth];
        let Some(sealed) = node.shard.seal().unwrap() else { return false };
        node.in_flight.push_back((node.shard.seals(), sealed));
        true
    }

    /// Applies all that is in flight; false if nothing was.
    pub(super) fn apply(&mut self, nth: usize) -> bool {
        let mut moved = false;
        while let Some((seal, sealed)) = self.nodes[nth].in_flight.pop_front() {
            moved = true;
            if !self.nodes[nth].store.apply(&sealed.commit) {
                self.broken += 1;
                self.crash(nth);
                break;
            }
            self.nodes[nth].shard.evict(seal, 0);
            self.leave(nth, sealed.effects);
            self.check();
        }
        moved
    }

    /// All that is in flight becomes durable, and the node ends before any effect leaves.
    pub(super) fn die_after_commit(&mut self, nth: usize) {
        self.seal(nth);
        let node = &mut self.nodes[nth];
        while let Some((_, sealed)) = node.in_flight.pop_front() {
            if !node.store.apply(&sealed.commit) {
                break;
            }
        }
        self.crash(nth);
        self.check();
    }

    fn leave(&mut self, nth: usize, effects: Vec<Effect>) {
        let shard = self.nodes[nth].shard.id.0;
        for effect in effects {
            self.nodes[nth].effects.push(effect.clone());
            match effect {
                Effect::Offer { from, entries } => self.offers.push_back((shard, from, entries)),
                Effect::Run { arrival } => self.runs.push_back((shard, arrival)),
                Effect::Post { shard, item } => self.posts.push_back((shard, item)),
                Effect::Erase { data_key } => self.nodes[nth].shard.erased(data_key),
                Effect::Finished { .. } | Effect::Stands { .. } => {}
            }
        }
    }

    /// Memory is lost with all that is in flight, and built anew from the store.
    pub(super) fn crash(&mut self, nth: usize) {
        self.lose_memory(nth);
        self.resume(nth);
    }

    /// The same, up to where the journeys that were moving are taken up.
    pub(super) fn lose_memory(&mut self, nth: usize) {
        let shard = self.nodes[nth].shard.id.0;
        self.runs.retain(|(of, _)| *of != shard);
        self.offers.retain(|(of, _, _)| *of != shard);
        self.moved.retain(|(of, _), _| *of != shard);
        let now = self.now;
        let store =
            std::mem::replace(&mut self.nodes[nth].store, Store::new(self.world.key.clone()));
        let mut node = Node::new(shard, &self.world);
        node.shard = Shard::new(ShardId(shard), self.world.clone(), store.state.clone());
        node.store = store;
        // What has left is not taken back.
        node.effects = std::mem::take(&mut self.nodes[nth].effects);
        node.shard.now(now);
        let mut rows = Vec::new();
        for (from, entries) in node.store.outbox.clone() {
            match OutboxRow(entries).into_parts() {
                (Some(first), entries) => node.shard.adopted(from, first, entries),
                (None, entries) => rows.push((from, entries)),
            }
        }
        for Due { from, at, entries } in self.ask_the_log(&mut node, rows) {
            self.moved.insert((shard, at), from);
            self.offers.push_back((shard, at, entries));
        }
        for slot in node.store.erasures.clone() {
            node.shard.erased(slot);
        }
        node.shard.open_programs();
        node.shard.repeat_unanswered();
        self.nodes[nth] = node;
    }

    /// What was moving when memory was lost goes on from its row.
    pub(super) fn resume(&mut self, nth: usize) {
        let (now, node) = (self.now, &mut self.nodes[nth]);
        for arrival in node.store.active.keys().copied().collect::<Vec<_>>() {
            let journey = node.store.read(arrival).unwrap();
            if journey.state == State::Moving {
                node.retain(self.world.key.contributor(&journey.submission.contributor));
                let key = data_key(&journey.submission);
                node.shard.resume(journey, key);
                node.shard.restart(arrival, now);
            }
        }
    }

    /// What the log has of a shard's outbox stands; what is to be offered.
    fn ask_the_log(&self, node: &mut Node, rows: Vec<(u64, Vec<Vec<u8>>)>) -> Vec<Due> {
        let (shard, next) = (node.shard.id.0, node.store.state.outbox_next);
        let pending = rows.first().map_or(next, |(from, _)| *from);
        let logged = self.sequenced.range((shard, pending)..=(shard, u64::MAX));
        let found = logged.map(|((_, from), indices)| Found {
            from: *from,
            first: indices[0],
            entries: indices.iter().map(|index| self.log[*index as usize].clone()).collect(),
        });
        let found: Vec<Found> = found.collect();
        let stands = |(from, entries): &(u64, Vec<Vec<u8>>)| {
            found.iter().all(|found| found.from != *from || found.entries == *entries)
        };
        if rows.iter().all(stands) && found.iter().all(|found| found.from < next) {
            let as_it_is = |(from, entries)| Due { from, at: from, entries };
            return rows.into_iter().map(as_it_is).collect();
        }
        let rows_of = node.store.sequenced.values();
        let known = rows_of.flat_map(|row| (0..).map_while(|nth| row.index(nth))).collect();
        node.shard.reconcile(rows, &found, &known, self.now).unwrap()
    }

    /// Once all is quiet and durable, only what moves is in memory.
    fn nobody_lingers(&self) {
        for node in &self.nodes {
            let shard = &node.shard;
            let moving: BTreeSet<ContributorKey> = shard
                .journeys
                .values()
                .map(|m| self.world.key.contributor(&m.journey.submission.contributor))
                .collect();
            let resident: BTreeSet<ContributorKey> = shard.residents().iter().copied().collect();
            assert_eq!(resident, moving, "contributors in memory");
            assert!(shard.leaving.is_empty(), "journeys in memory");
            assert!(shard.indices.is_empty(), "indices in memory");
            let users = shard.contributors.users() as usize;
            assert_eq!(users, shard.journeys.len(), "users");
        }
    }
}
