//! Several nodes over one Redis, under load, while something dies: every acknowledged contribution
//! settles once, is paid once, and the audit finds nothing.
//!
//! `GRISTMILL_TEST_CLUSTER_ROUNDS` is how often each scenario does its harm.

mod servers;
mod town;

use gristmill_tests::{poll_until, size, skip};
use servers::{Proxy, Redis, Weather};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use town::{Load, Town, faketime, request, state};

/// Short, so that a scenario waits for few seconds; the default is 5 s.
const LEASE_MS: u64 = 1_500;
const START: Duration = Duration::from_secs(60);
const SETTLE: Duration = Duration::from_secs(120);
const STOP: Duration = Duration::from_secs(60);
const ANSWER: Duration = Duration::from_secs(20);
const BATCH: usize = 40;
/// What a loaded machine may take on top of the lease; the aim is 1 s.
const ROOM: Duration = Duration::from_secs(3);

fn rounds() -> u32 {
    size("GRISTMILL_TEST_CLUSTER_ROUNDS", 3)
}

fn one_server() -> (Vec<Redis>, String) {
    let server = Redis::start();
    let url = format!("redis://127.0.0.1:{}", server.port);
    (vec![server], url)
}

/// Load for a while, so that harm meets work.
fn a_moment(milliseconds: u64) {
    let end = Instant::now() + Duration::from_millis(milliseconds);
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

#[test]
fn nodes_are_killed_again_and_again() {
    let Some(mut town) = Town::start(3) else { return };
    let load = Load::start(&town, "k");
    for round in 0..rounds() as usize {
        a_moment(700);
        let victim = round % 3;
        let _gone = town.take_down(victim).kill();
        let took = town.until_without(victim);
        eprintln!("its last shard moved {took:?} after the death of n{victim}");
        assert!(took < Duration::from_millis(LEASE_MS) + ROOM, "{took:?}");
        town.up(victim);
    }
    a_moment(500);
    let (ids, _) = load.stop();
    town.ends_well(&ids);
}

#[test]
fn a_node_that_sleeps_through_its_leases_changes_nothing_when_it_wakes() {
    let Some(mut town) = Town::start(2) else { return };
    let load = Load::start(&town, "z");
    for round in 0..rounds() as usize {
        a_moment(700);
        let sleeper = round % 2;
        let listens = town.addresses.lock().unwrap()[sleeper].take();
        town.node(sleeper).pause();
        town.until_without(sleeper);
        a_moment(500);
        town.node(sleeper).resume();
        town.addresses.lock().unwrap()[sleeper] = listens;
    }
    a_moment(500);
    let (ids, _) = load.stop();
    town.ends_well(&ids);
}

#[test]
fn redis_is_killed_and_comes_back_with_its_file() {
    let Some(mut town) = Town::start(2) else { return };
    let load = Load::start(&town, "r");
    for _ in 0..rounds() {
        a_moment(700);
        town.servers[0].kill();
        town.servers[0].again();
    }
    a_moment(500);
    let (ids, _) = load.stop();
    town.ends_well(&ids);
}

#[test]
fn all_nodes_are_restarted_one_after_the_other() {
    let Some(mut town) = Town::start(3) else { return };
    let load = Load::start(&town, "s");
    for number in 0..3 {
        a_moment(500);
        let mut process = town.take_down(number);
        process.terminate();
        let _ended = process.wait(STOP).expect(0);
        let took = town.until_without(number);
        eprintln!("its last shard moved {took:?} after n{number} ended in order");
        town.up(number);
    }
    a_moment(500);
    let (ids, longest) = load.stop();
    assert!(longest < Duration::from_secs(3), "a batch waited {longest:?}");
    town.ends_well(&ids);
}

#[test]
fn a_node_is_cut_off_from_redis_each_way_and_both_and_slowly() {
    let harm = [
        Weather::NothingOut,
        Weather::NothingBack,
        Weather::Nothing,
        Weather::AnswersLost,
        Weather::Slow,
    ];
    let Some(mut town) = Town::empty(2, one_server, &[]) else { return };
    let proxy = Proxy::start(town.servers[0].port);
    town.finds(1, proxy.port);
    town.up_all();
    let load = Load::start(&town, "p");
    for weather in harm {
        a_moment(500);
        proxy.set(weather);
        a_moment(LEASE_MS * 2);
        proxy.set(Weather::Fair);
    }
    a_moment(500);
    let (ids, _) = load.stop();
    town.ends_well(&ids);
}

#[test]
fn a_full_server_takes_nothing_in_and_recovers() {
    let Some(town) = Town::start(2) else { return };
    let load = Load::start(&town, "m");
    for _ in 0..rounds() {
        a_moment(500);
        assert_eq!(town.servers[0].ask(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
        a_moment(1_000);
        assert_eq!(town.servers[0].ask(&["CONFIG", "SET", "maxmemory", "0"]), "OK");
    }
    a_moment(500);
    let (ids, _) = load.stop();
    town.ends_well(&ids);
}

#[test]
fn a_node_whose_clock_is_an_hour_wrong_does_no_harm() {
    if faketime().is_none() {
        return skip("faketime is not installed");
    }
    for by in ["+1h", "-1h"] {
        let Some(mut town) = Town::empty(3, one_server, &[]) else { return };
        town.wrong_clock(1, by);
        town.up_all();
        let load = Load::start(&town, "h");
        // Shards come to the wrong clock, and leave it again.
        for victim in [0, 1] {
            a_moment(700);
            let _gone = town.take_down(victim).kill();
            let took = town.until_without(victim);
            assert!(took < Duration::from_millis(LEASE_MS) + ROOM, "{took:?}");
            town.up(victim);
        }
        a_moment(500);
        let (ids, _) = load.stop();
        town.ends_well(&ids);
    }
}

#[test]
fn a_stage_that_is_paused_on_one_node_is_paused_on_all() {
    let Some(town) = Town::start(2) else { return };
    let nodes: Vec<SocketAddr> =
        town.addresses.lock().unwrap().iter().map(|it| it.unwrap()).collect();
    let say = |node: SocketAddr, verb: &str| {
        let path = format!("POST /v1/admin/stages/valuation/{verb}");
        let answer = request(node, &path, br#"{"reason":"the suite asks"}"#);
        assert_eq!(answer.map(|(status, _)| status), Some(200));
    };
    say(nodes[0], "pause");
    // The other node looks every second.
    a_moment(2_500);
    let load = Load::start(&town, "q");
    a_moment(1_000);
    let (ids, _) = load.stop();
    poll_until(SETTLE, "all of them stand before the stage", || {
        let waits = |id: &String| state(nodes[1], id).as_deref() == Some("parked");
        ids.iter().all(waits).then_some(())
    });
    say(nodes[1], "resume");
    town.ends_well(&ids);
}

#[test]
fn withdrawals_race_dying_nodes() {
    let Some(mut town) = Town::start(3) else { return };
    let load = Load::of(&town, "w", |batch| {
        let text = std::str::from_utf8(batch.as_bytes()).unwrap();
        let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        let person = first["consent"]["contributor"].as_str().unwrap().to_owned();
        batch.withdraw(&person);
    });
    for round in 0..rounds() as usize {
        a_moment(700);
        let victim = round % 3;
        let _gone = town.take_down(victim).kill();
        town.until_without(victim);
        town.up(victim);
    }
    a_moment(500);
    let (ids, _) = load.stop();
    town.ends_well(&ids);
}

#[test]
fn a_sentinel_promotes_the_replica_of_a_dead_master() {
    let mut sentinel = None;
    let durable = ["--durability", "replicated(1)"];
    let make = || {
        let (servers, watcher) = servers::watched();
        let url = format!("redis+sentinel://127.0.0.1:{}/gm", watcher.port);
        sentinel = Some(watcher);
        (servers, url)
    };
    let Some(mut town) = Town::empty(2, make, &durable) else { return };
    let sentinel = sentinel.unwrap();
    town.up_all();
    let load = Load::start(&town, "f");
    a_moment(1_000);
    let before = sentinel.master();
    town.servers[0].kill();
    poll_until(START, "another master", || (sentinel.master() != before).then_some(()));
    town.servers[0].again();
    a_moment(3_000);
    let (ids, _) = load.stop();
    town.ends_well(&ids);
}

#[test]
fn a_master_of_a_redis_cluster_is_killed() {
    let durable = ["--durability", "replicated(1)"];
    let make = || {
        let servers = servers::cluster();
        let url = format!("redis+cluster://127.0.0.1:{}", servers[1].port);
        (servers, url)
    };
    let Some(mut town) = Town::empty(2, make, &durable) else { return };
    town.up_all();
    let load = Load::start(&town, "c");
    a_moment(1_000);
    town.servers[0].kill();
    poll_until(START, "a cluster that is whole", || {
        let info = town.servers[1].ask(&["CLUSTER", "INFO"]);
        info.contains("cluster_state:ok").then_some(())
    });
    a_moment(2_500);
    town.servers[0].again();
    a_moment(2_000);
    let (ids, _) = load.stop();
    town.ends_well(&ids);
}
