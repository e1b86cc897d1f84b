//! The Redis store keeps the contracts of its ports, on one server and on a cluster of three
//! masters. Skipped where there is no `redis-server`.
#![cfg(test)]

#[path = "redis/server.rs"]
mod server;

use gristmill::redis_store::{Address, Durability, OpenError, Options, RedisStore};
use gristmill_actors::rail::BoxFuture;
use gristmill_testkit::store_conformance::{self, Maker, Shape};
use gristmill_testkit::{keys_conformance, register_conformance};
use server::Server;
use std::sync::Mutex;
use std::time::Duration;

/// Empty stores, one after the other, on one server or cluster.
struct Emptied<'s> {
    servers: &'s [Server],
    url: String,
    shape: Mutex<Shape>,
}

impl<'s> Emptied<'s> {
    fn new(servers: &'s [Server]) -> Self {
        let url = match servers {
            [server] => server.url(),
            [first, ..] => format!("redis+cluster://127.0.0.1:{}", first.port),
            [] => String::new(),
        };
        Self { servers, url, shape: Mutex::default() }
    }

    async fn open(&self, shape: Shape) -> RedisStore {
        let options = Options {
            shards: shape.shards,
            intake_max: shape.intake_high_water as u64,
            lease_ttl: Duration::from_millis(shape.lease_ttl_ms),
            ..Options::default()
        };
        RedisStore::open(Address::parse(&self.url).unwrap(), options).await.unwrap()
    }
}

impl Maker<RedisStore> for Emptied<'_> {
    fn make(&self, shape: Shape) -> BoxFuture<'_, RedisStore> {
        *self.shape.lock().unwrap() = shape;
        self.servers.iter().for_each(|server| server.command(&["FLUSHALL", "SYNC"]));
        Box::pin(self.open(shape))
    }

    fn reopen(&self, store: RedisStore) -> BoxFuture<'_, Option<RedisStore>> {
        drop(store);
        let shape = *self.shape.lock().unwrap();
        Box::pin(async move { Some(self.open(shape).await) })
    }
}

async fn keeps_every_contract(servers: &[Server]) {
    let maker = Emptied::new(servers);
    store_conformance::run(&maker).await;
    store_conformance::run_content_index(&maker).await;
    store_conformance::run_shared(&maker).await;
    let make = async || maker.make(Shape::default()).await;
    keys_conformance::run(&make, async |store| maker.reopen(store).await.unwrap()).await;
    register_conformance::run(&make, async |store| maker.reopen(store).await.unwrap()).await;
}

#[tokio::test]
async fn one_server_keeps_the_contracts_of_all_ports() {
    let Some(server) = Server::start() else { return };
    keeps_every_contract(&[server]).await;
}

#[tokio::test]
async fn a_cluster_of_three_masters_keeps_the_contracts_of_all_ports() {
    let Some(servers) = server::cluster(3) else { return };
    keeps_every_contract(&servers).await;
}

#[tokio::test]
async fn what_was_written_stands_after_the_server_was_killed() {
    use gristmill_actors::ports::{KeyStore, ShardStore};
    use gristmill_workflows::id::ShardId;
    let Some(mut server) = Server::start() else { return };
    let open = async |url: String| {
        RedisStore::open(Address::parse(&url).unwrap(), Options::default()).await.unwrap()
    };
    let store = open(server.url()).await;
    let lease = store.claim(ShardId(1), 7).await.unwrap();
    let slots = store.allocate(ShardId(1), 3).await.unwrap();
    let before = store.keys(slots.clone()).await.unwrap();
    server.kill_and_start();
    let again = open(server.url()).await;
    assert_eq!(again.keys(slots.clone()).await.unwrap(), before);
    assert_eq!(again.leases(vec![ShardId(1)]).await.unwrap()[0].epoch, lease.epoch);
    // The connection of before finds its server again, too.
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while store.leases(vec![ShardId(1)]).await.is_err() {
        assert!(std::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_weaker_server_is_refused_unless_that_is_accepted() {
    let Some(server) = Server::start() else { return };
    server.command(&["CONFIG", "SET", "appendfsync", "no"]);
    let open = async |options: Options| {
        RedisStore::open(Address::parse(&server.url()).unwrap(), options).await
    };
    let refused = open(Options::default()).await.unwrap_err();
    assert_eq!(refused.to_string(), "appendfsync is no: CONFIG SET appendfsync always");
    let accepted = Options { accept_weaker: true, ..Options::default() };
    assert!(open(accepted).await.is_ok());
    server.command(&["CONFIG", "SET", "appendfsync", "always"]);
    let replicated = Options { durability: Durability::Replicated(1), ..Options::default() };
    assert!(matches!(open(replicated).await.unwrap_err(), OpenError::Weaker(_)));
    let with = |key: &str| Options {
        fingerprints: vec![("trace key", key.to_owned())],
        ..Options::default()
    };
    assert!(open(with("a")).await.is_ok());
    assert!(open(with("a")).await.is_ok());
    let error = open(with("b")).await.unwrap_err();
    assert_eq!(error.to_string(), "the store's trace key is a, this node's is b");
}

#[tokio::test]
async fn a_full_server_refuses_intake_and_takes_commits_and_withdrawals() {
    use gristmill_actors::ports::{Intake, Reads, ShardStore, StoreError, Submitted};
    use gristmill_workflows::commit::Commit;
    use gristmill_workflows::id::ShardId;
    use gristmill_workflows::inbox::Lane;
    use gristmill_workflows::lease::Fence;
    use std::sync::Arc;
    let Some(server) = Server::start() else { return };
    let address = Address::parse(&server.url()).unwrap();
    let store = RedisStore::open(address, Options::default()).await.unwrap();
    let shard = ShardId(0);
    let item = |lane| Intake {
        shard,
        lane,
        item: vec![7; 100],
        identity: None,
        mark: None,
        reads: Reads::default(),
    };
    let submit = async |lane| store.submit(vec![item(lane)]).await;
    let arrival = match submit(Lane::Intake).await.unwrap()[..] {
        [Submitted::Accepted(arrival)] => arrival,
        ref other => panic!("{other:?}"),
    };
    let lease = store.claim(shard, 1).await.unwrap();
    server.command(&["CONFIG", "SET", "maxmemory", "1000"]);
    let refused = submit(Lane::Intake).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    assert!(matches!(submit(Lane::Control).await.unwrap()[..], [Submitted::Accepted(_)]));
    let fence = Fence { owner: 1, epoch: lease.epoch, seq: 1 };
    let done = Commit {
        inbox_remove: vec![(Lane::Intake, arrival)],
        state: b"s".to_vec(),
        ..Commit::default()
    };
    assert!(store.commit(shard, fence, Arc::new(done)).await.is_ok());
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert!(matches!(submit(Lane::Intake).await.unwrap()[..], [Submitted::Accepted(_)]));
}

#[tokio::test]
async fn an_item_is_not_taken_out_under_the_number_of_one_that_a_failover_forgot() {
    use gristmill_actors::ports::{Fetch, Intake, Reads, ShardStore, StoreError, Submitted};
    use gristmill_workflows::commit::Commit;
    use gristmill_workflows::id::ShardId;
    use gristmill_workflows::inbox::Lane;
    use gristmill_workflows::lease::Fence;
    use std::sync::Arc;
    let Some(server) = Server::start() else { return };
    let address = Address::parse(&server.url()).unwrap();
    let store = RedisStore::open(address, Options::default()).await.unwrap();
    let shard = ShardId(0);
    let submit = async |lane, item: &[u8]| {
        let item = item.to_vec();
        let (identity, mark, reads) = (None, None, Reads::default());
        let intake = Intake { shard, lane, item, identity, mark, reads };
        match store.submit(vec![intake]).await.unwrap()[..] {
            [Submitted::Accepted(arrival)] => arrival,
            ref other => panic!("{other:?}"),
        }
    };
    let fetch = async |epoch| {
        let (control, intake) = ((None, 9), (None, 9));
        store.fetch(shard, Fetch { owner: 1, epoch, notes: true, control, intake }).await
    };
    let done = async |epoch, seq, gone: Vec<(Lane, u64)>| {
        let commit = Commit { inbox_remove: gone, state: b"s".to_vec(), ..Commit::default() };
        store.commit(shard, Fence { owner: 1, epoch, seq }, Arc::new(commit)).await
    };
    let fenced = StoreError::Fenced { shard };
    for lane in [Lane::Control, Lane::Intake] {
        let epoch = store.claim(shard, 1).await.unwrap().epoch;
        server.remember();
        let forgotten = submit(lane, b"forgotten").await;
        fetch(epoch).await.unwrap();
        server.forget();
        let arrival = submit(lane, b"later").await;
        assert_eq!(arrival, forgotten, "its number is given out again");
        let early = fetch(epoch).await;
        assert_eq!(early.err(), Some(fenced.clone()), "its owner reads from above that number on");
        assert_eq!(done(epoch, 1, vec![(lane, forgotten)]).await, Err(fenced.clone()));
        let epoch = store.claim(shard, 1).await.unwrap().epoch;
        let lanes = fetch(epoch).await.unwrap();
        let items = [lanes.control, lanes.intake].concat();
        assert_eq!(items, [(arrival, b"later".to_vec())]);
        done(epoch, 1, vec![(lane, arrival)]).await.unwrap();
        server.remember();
        done(epoch, 2, Vec::new()).await.unwrap();
        server.forget();
        assert_eq!(fetch(epoch).await.err(), Some(fenced.clone()), "its last commit is gone");
    }
}
