//! Several nodes over one Redis, under load, while something dies: every acknowledged contribution
//! settles once, is paid once, and the audit finds nothing.
//!
//! `GRISTMILL_TEST_CLUSTER_ROUNDS` is how often each scenario does its harm.

mod bucket;
mod servers;
mod town;

use gristmill_tests::{Gristmill, has_program, poll_until, size, skip};
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
fn nodes_reach_a_server_over_tls_that_they_trust() {
    if !has_program("openssl") {
        return skip("openssl is not installed");
    }
    let mut folder = None;
    let make = || {
        let (server, url, dir) = servers::over_tls();
        folder = Some(dir);
        (vec![server], url)
    };
    let Some(mut town) = Town::empty(2, make, &[]) else { return };
    let refused = Gristmill::command().run(["nodes", "--store", town.url()]);
    assert_ne!(refused.code, 0, "a server that nobody vouches for");
    town.trusts(folder.as_ref().unwrap().path().join("ca.pem"));
    town.up_all();
    let load = Load::start(&town, "t");
    a_moment(1_000);
    let _gone = town.take_down(0).kill();
    town.until_without(0);
    town.up(0);
    a_moment(500);
    let (ids, _) = load.stop();
    town.ends_well(&ids);
}

/// The replica is cut off, the master acknowledges for a while, dies, and the replica is promoted.
#[test]
fn a_failover_that_forgets_pays_nobody_twice_and_forks_no_log() {
    let mut proxy = None;
    let make = || {
        let servers = servers::replicated();
        let between = Proxy::start(servers[0].port);
        let url = format!("redis://127.0.0.1:{}", between.port);
        proxy = Some(between);
        (servers, url)
    };
    let Some(mut town) = Town::empty(2, make, &[]) else { return };
    let proxy = proxy.unwrap();
    town.up_all();
    let load = Load::start(&town, "g");
    a_moment(1_500);
    assert_eq!(town.servers[1].ask(&["REPLICAOF", "NO", "ONE"]), "OK");
    a_moment(1_000);
    town.servers[0].kill();
    proxy.leads_to(town.servers[1].port);
    a_moment(2_500);
    let batches = load.acknowledged();
    let (ids, _) = load.stop();
    let node = town.addresses.lock().unwrap()[0].unwrap();
    let lost = town.lost(node, &ids);
    let (paid, keys) = town.paid();
    eprintln!("{} of {} acknowledged were lost, {paid} payments", lost.len(), ids.len());
    assert!(!lost.is_empty(), "nothing was lost, so nothing was tried");
    assert_eq!(paid, keys, "one payment a key");
    // What the log and the rail know, and no journey any more, is listed one by one.
    town.end_all();
    let audit = town.audit_now().expect(1).json();
    let listed = |promise: &str| {
        let checks = audit["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["promise"] == promise).unwrap();
        assert_eq!(check["unlisted"], 0);
        check["violations"].as_array().unwrap().len()
    };
    let (entries, payments) = (listed("one entry"), listed("money adds up"));
    eprintln!("{entries} entries and {payments} payments without a journey");
    assert_eq!(payments, paid - (ids.len() - lost.len()));
    assert!(entries >= payments, "who was paid has an entry");
    town.up_all();
    let node = town.addresses.lock().unwrap()[0].unwrap();
    // The driver says again what was acknowledged and is gone.
    for (batch, _) in batches.iter().filter(|(_, of)| of.iter().any(|id| lost.contains(id))) {
        poll_until(SETTLE, "an acknowledgement", || town::hand_in(node, batch));
    }
    poll_until(SETTLE, "all of them settle", || {
        ids.iter().all(|id| state(node, id).as_deref() == Some("settled")).then_some(())
    });
    assert_eq!(town.paid(), (ids.len(), ids.len()), "each is paid once");
    town.ends_well(&ids);
}

#[test]
fn a_stages_rate_holds_for_all_nodes_together() {
    const RATE: usize = 60;
    let Some(mut town) = Town::empty(2, one_server, &[]) else { return };
    town.pay_slowly(RATE);
    town.up_all();
    let load = Load::start(&town, "t");
    poll_until(SETTLE, "more than can be paid at once", || {
        (load.acknowledged().len() * BATCH >= 10 * RATE).then_some(())
    });
    let (ids, _) = load.stop();
    let (began, before) = (Instant::now(), town.paid().0);
    a_moment(5_000);
    let (after, took) = (town.paid().0, began.elapsed());
    let due = RATE * usize::try_from(took.as_millis()).unwrap() / 1_000;
    eprintln!("{} paid in {took:?}, {due} by the rate", after - before);
    // Two nodes at the rate each would have paid twice as many.
    assert!(after - before <= due + RATE && after - before >= due / 2);
    town.ends_well(&ids);
}

#[test]
fn two_days_later_finished_journeys_are_tombstones_that_still_answer() {
    let Some(mut town) = Town::empty(2, one_server, &[]) else { return };
    town.configure("GRISTMILL_RETENTION__FINISHED_DAYS", "1");
    town.up_all();
    let load = Load::start(&town, "x");
    a_moment(2_000);
    let batches = load.acknowledged();
    let (ids, _) = load.stop();
    let node = town.addresses.lock().unwrap()[0].unwrap();
    assert_eq!(town.lost(node, &ids).len(), 0);
    town.end_all();
    let whole = town.servers[0].memory();
    town.servers[0].kill();
    town.servers[0].sleeps_for_two_days();
    town.servers[0].again();
    town.up_all();
    let node = town.addresses.lock().unwrap()[0].unwrap();
    let expired = |id: &String| {
        let shown = request(node, &format!("GET /v1/contributions/{id}"), b"");
        shown.is_some_and(|(status, body)| status == 200 && body.contains("expired"))
    };
    poll_until(SETTLE, "all of them expire", || ids.iter().all(expired).then_some(()));
    let left = town.servers[0].memory();
    let a_journey = |bytes: u64| bytes / ids.len() as u64;
    eprintln!("{} expired: {} of {} bytes each", ids.len(), a_journey(left), a_journey(whole));
    let again = |(batch, of): &town::Acknowledged| town::hand_in(node, batch).as_ref() == Some(of);
    assert!(batches.iter().all(again), "the same ids");
    let (paid, keys) = town.paid();
    assert_eq!((paid, keys), (ids.len(), ids.len()), "each was paid once");
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
