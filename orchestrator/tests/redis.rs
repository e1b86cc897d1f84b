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

async fn keeps_every_contract(maker: Emptied<'_>) {
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
    keeps_every_contract(Emptied::new(&[server])).await;
}

#[tokio::test]
async fn a_cluster_of_three_masters_keeps_the_contracts_of_all_ports() {
    let Some(servers) = server::cluster(3) else { return };
    keeps_every_contract(Emptied::new(&servers)).await;
}

#[tokio::test]
async fn a_server_that_a_sentinel_names_keeps_the_contracts_of_all_ports() {
    let Some(server) = Server::start() else { return };
    let sentinel = server::Sentinel::of(&server);
    let url = format!("redis+sentinel://127.0.0.1:{}/gm", sentinel.port);
    let servers = [server];
    keeps_every_contract(Emptied { url, ..Emptied::new(&servers) }).await;
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

/// Keys of two slots in each of these shards; the first of each is destroyed by [`destroy_first`].
async fn keys_in(store: &RedisStore, shards: u16) -> Vec<(u64, [u8; 32])> {
    use gristmill_actors::ports::KeyStore;
    use gristmill_workflows::id::ShardId;
    let mut found = Vec::new();
    for shard in 0..shards {
        let slots = store.allocate(ShardId(shard), 2).await.unwrap();
        let keys = store.keys(slots.clone()).await.unwrap();
        found.extend(slots.into_iter().zip(keys.into_iter().map(|key| key.unwrap().0)));
    }
    found
}

async fn destroy_first(store: &RedisStore, keys: &[(u64, [u8; 32])]) -> Vec<[u8; 32]> {
    use gristmill_actors::ports::KeyStore;
    let doomed: Vec<_> = keys.iter().step_by(2).copied().collect();
    store.destroy(doomed.iter().map(|(slot, _)| *slot).collect()).await.unwrap();
    doomed.into_iter().map(|(_, key)| key).collect()
}

/// Looks as two nodes do, until no shard waits for a rewrite any more.
async fn look_until_erased(one: &RedisStore, other: &RedisStore, deadline: Duration) {
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while !one.unerased().await.unwrap().is_empty() {
        let looks = (one.look_at_erasures(deadline), other.look_at_erasures(deadline));
        let (one, other) = tokio::join!(looks.0, looks.1);
        one.and(other).unwrap();
        assert!(std::time::Instant::now() < end, "the append-only file is rewritten");
        tokio::task::yield_now().await;
    }
}

fn rewrites(server: &Server) -> String {
    let info = server.ask(&["INFO", "persistence"]);
    let line = info.lines().find(|line| line.starts_with("aof_rewrites:")).unwrap();
    line.trim_end().to_owned()
}

async fn leaves_the_files(servers: &mut [Server]) {
    let maker = Emptied::new(servers);
    let (one, other) = (maker.open(Shape::default()).await, maker.open(Shape::default()).await);
    let keys = keys_in(&one, Shape::default().shards).await;
    let deadline = Duration::from_secs(4);
    one.look_at_erasures(deadline).await.unwrap();
    assert!(servers.iter().all(|server| rewrites(server) == "aof_rewrites:0"), "nothing is erased");
    let doomed = destroy_first(&one, &keys).await;
    assert_eq!(one.unerased().await.unwrap().len(), usize::from(Shape::default().shards));
    let holds = |servers: &[Server], key: &[u8]| servers.iter().any(|it| it.file_holds(key));
    assert!(doomed.iter().all(|key| holds(servers, key)), "destroyed in memory alone");
    Box::pin(look_until_erased(&one, &other, deadline)).await;
    // The server unlinks the file of before in a thread of its own.
    server::until("destroyed keys leave the files", || {
        !doomed.iter().any(|key| holds(servers, key))
    });
    assert!(
        servers.iter().all(|server| rewrites(server) == "aof_rewrites:1"),
        "one node saw to it"
    );
    one.look_at_erasures(deadline).await.unwrap();
    assert!(
        servers.iter().all(|server| rewrites(server) == "aof_rewrites:1"),
        "it is not repeated"
    );
}

#[tokio::test]
async fn a_destroyed_key_leaves_the_append_only_file_and_the_others_stay() {
    use gristmill_actors::ports::KeyStore;
    let Some(server) = Server::start() else { return };
    let mut servers = [server];
    Box::pin(leaves_the_files(&mut servers)).await;
    let store = Emptied::new(&servers).open(Shape::default()).await;
    let keys = keys_in(&store, 1).await;
    let doomed = destroy_first(&store, &keys).await;
    // As a node does it.
    let store = std::sync::Arc::new(store);
    gristmill::redis_store::keep_erasure_deadline(&store, Duration::from_millis(500));
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while doomed.iter().any(|key| servers[0].file_holds(key)) {
        assert!(std::time::Instant::now() < end, "the node keeps the deadline");
        tokio::task::yield_now().await;
    }
    servers[0].kill_and_start();
    let again = Emptied::new(&servers).open(Shape::default()).await;
    let (slots, keys): (Vec<_>, Vec<_>) = keys.into_iter().unzip();
    let found = again.keys(slots).await.unwrap();
    assert_eq!(found[0], None);
    assert_eq!(found[1].as_ref().map(|key| key.0), Some(keys[1]));
}

#[tokio::test]
async fn destroyed_keys_leave_the_append_only_file_of_every_master() {
    let Some(mut servers) = server::cluster(3) else { return };
    Box::pin(leaves_the_files(&mut servers)).await;
}

#[tokio::test]
async fn a_server_that_forbids_the_rewrite_is_told_of_with_what_would_allow_it() {
    let Some(server) = Server::start() else { return };
    let servers = [server];
    let store = Emptied::new(&servers).open(Shape::default()).await;
    destroy_first(&store, &keys_in(&store, 1).await).await;
    let complaint = async || loop {
        if let Err(error) = store.look_at_erasures(Duration::from_millis(2)).await {
            return error.to_string();
        }
        tokio::task::yield_now().await;
    };
    servers[0].command(&["ACL", "SETUSER", "default", "-bgrewriteaof"]);
    let said = complaint().await;
    assert!(said.contains("NOPERM"), "{said}");
    assert!(said.contains("ACL SETUSER default +bgrewriteaof +info"), "{said}");
    servers[0].command(&["ACL", "SETUSER", "default", "+bgrewriteaof"]);
    servers[0].command(&["CONFIG", "SET", "appendonly", "no"]);
    let said = complaint().await;
    assert_eq!(said, "appendonly is no on a server: CONFIG SET appendonly yes");
    assert_eq!(store.unerased().await.unwrap().len(), 1);
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
