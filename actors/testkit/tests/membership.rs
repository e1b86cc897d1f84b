//! Several nodes over one store in memory: who owns which shard.
#![cfg(test)]

use gristmill_actors::engine::Ports;
use gristmill_actors::membership::{Holdings, Place};
use gristmill_actors::node::{Node, Parts};
use gristmill_actors::ports::{Membership, ShardStore};
use gristmill_actors::rail::{KeyScope, RailProfile};
use gristmill_actors::registry::Registry;
use gristmill_actors::trace_log::TraceLog;
use gristmill_testkit::memory_keys::MemoryKeys;
use gristmill_testkit::memory_log::MemoryLog;
use gristmill_testkit::memory_media::MemoryMedia;
use gristmill_testkit::memory_register::MemoryRegister;
use gristmill_testkit::memory_store::{MemoryStore, Shape};
use gristmill_testkit::model_rail::ModelRail;
use gristmill_testkit::virtual_clock::VirtualClock;
use gristmill_trace::key::SigningKey;
use gristmill_workflows::id::{IdKey, ShardId};
use gristmill_workflows::shard::World;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;

const TTL_MS: u64 = 5_000;
const SHARDS: u16 = 16;

struct Town {
    store: MemoryStore,
    clock: Arc<VirtualClock>,
}

impl Town {
    fn new() -> Self {
        let clock = Arc::new(VirtualClock::new(1));
        let shape = Shape { shards: SHARDS, lease_ttl_ms: TTL_MS, ..Shape::default() };
        Self { store: MemoryStore::shared(shape, clock.clone()), clock }
    }

    async fn node(&self, owner: u128) -> Node {
        let ports = Ports {
            store: Arc::new(self.store.clone()),
            content: Arc::new(self.store.clone()),
            keys: Arc::new(MemoryKeys::new([1; 32])),
            media: Arc::new(MemoryMedia::new()),
            clock: self.clock.clone(),
            readers: None,
        };
        let world = World {
            shards: SHARDS,
            key: IdKey::new([2; 32]),
            programs: BTreeMap::new(),
            workflows: BTreeMap::new(),
        };
        let key = SigningKey::from_seed("example.com/log", &[7; 32]).unwrap();
        let members: Arc<dyn Membership> = Arc::new(self.store.clone());
        let (name, address) = (format!("n{owner}"), String::new());
        let register = Arc::new(MemoryRegister::default());
        let place = Place { members, register, name, address };
        let parts = Parts {
            world: Arc::new(world),
            registry: Registry::new(&[], Vec::new()).unwrap(),
            ports,
            log: TraceLog::open(Arc::new(MemoryLog::new()), key).await.unwrap(),
            payouts: Arc::new(OnceLock::new()),
            owner,
            window: 64,
            retention: None,
            pauses: std::sync::Arc::default(),
            place: Some(place),
        };
        let profile = RailProfile {
            name: "model".to_owned(),
            key_window: Duration::from_secs(60),
            settle_time: Duration::from_secs(1),
            max_batch: 10,
            key_scope: KeyScope::Item,
        };
        Node::start(parts, Arc::new(ModelRail::new(profile))).await.unwrap()
    }

    async fn owners(&self) -> BTreeMap<u128, usize> {
        let shards = (0..SHARDS).map(ShardId).collect();
        let mut owners = BTreeMap::new();
        for lease in self.store.leases(shards).await.unwrap() {
            *owners.entry(lease.owner).or_default() += 1;
        }
        owners
    }
}

async fn until(node: &Node, what: &str, holds: impl FnMut(&Holdings) -> bool) {
    let mut holdings = node.holdings().unwrap();
    let waited = tokio::time::timeout(Duration::from_secs(60), holdings.wait_for(holds)).await;
    assert!(waited.is_ok_and(|found| found.is_ok()), "{what}: {:?}", node.holdings().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_second_node_takes_its_share_and_gives_it_back_when_it_stops() {
    let town = Town::new();
    let first = town.node(1).await;
    until(&first, "alone", |it| it.held.len() == 16 && it.first).await;
    let began = Instant::now();
    let second = town.node(2).await;
    until(&second, "a share", |it| it.held.len() == 8).await;
    until(&first, "the rest", |it| it.held.len() == 8 && it.members.len() == 2).await;
    assert!(began.elapsed() < Duration::from_millis(TTL_MS), "{:?}", began.elapsed());
    first.rest(1_000).await.unwrap();
    assert_eq!(town.owners().await, BTreeMap::from([(1, 8), (2, 8)]));
    let began = Instant::now();
    assert!(second.stop(Duration::from_secs(10)).await);
    until(&first, "all again", |it| it.held.len() == 16 && it.members.len() == 1).await;
    first.rest(1_000).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(town.owners().await, BTreeMap::from([(1, 16)]));
    assert!(first.stop(Duration::from_secs(10)).await);
    assert_eq!(town.owners().await, BTreeMap::from([(0, 16)]));
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_node_held_moves_within_a_lease_and_a_second() {
    let town = Town::new();
    for shard in (0..4).map(ShardId) {
        ShardStore::claim(&town.store, shard, 99).await.unwrap();
    }
    let began = Instant::now();
    let node = town.node(1).await;
    until(&node, "what is free", |it| it.held.len() == 12).await;
    assert!(began.elapsed() < Duration::from_secs(1));
    until(&node, "the orphans", |it| it.held.len() == 16).await;
    assert!(began.elapsed() < Duration::from_millis(TTL_MS + 100), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_asked_to_drain_keeps_nothing() {
    let town = Town::new();
    let (first, second) = (town.node(1).await, town.node(2).await);
    until(&second, "a share", |it| it.held.len() == 8).await;
    assert!(town.store.ask_drain(1).await.unwrap());
    until(&first, "nothing", |it| it.held.is_empty() && it.draining).await;
    until(&second, "everything", |it| it.held.len() == 16 && it.first).await;
    second.rest(1_000).await.unwrap();
    assert_eq!(town.owners().await, BTreeMap::from([(2, 16)]));
}

#[tokio::test(start_paused = true)]
async fn a_shard_whose_lease_another_took_ends_and_comes_back_when_it_is_free() {
    let town = Town::new();
    let node = town.node(1).await;
    until(&node, "everything", |it| it.held.len() == 16).await;
    town.store.release(ShardId(3), 1).await.unwrap();
    ShardStore::claim(&town.store, ShardId(3), 99).await.unwrap();
    let began = Instant::now();
    until(&node, "lost", |it| it.held.len() == 15).await;
    until(&node, "back", |it| it.held.len() == 16).await;
    assert!(began.elapsed() < Duration::from_millis(TTL_MS + 1_000), "{:?}", began.elapsed());
    node.rest(1_000).await.unwrap();
    assert_eq!(town.owners().await, BTreeMap::from([(1, 16)]));
}
