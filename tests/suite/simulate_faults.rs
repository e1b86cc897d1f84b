//! A simulation starts nodes, a rail and a server itself, and lets them go wrong on a schedule: at its
//! end everything is accounted for all the same.

use gristmill_tests::{DataDir, Gristmill, has_program};
use serde_json::Value;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(180);

fn simulate(dir: &DataDir, more: &[&str]) -> Value {
    let first = ["simulate", &dir.flag(), "--output=json", "--session=500ms", "--rate=100"];
    let arguments = [&first[..], more].concat();
    let output = Gristmill::command().deadline(DEADLINE).run(arguments);
    // A whole report is too long to be read in a log.
    let told = output.json();
    assert_eq!(output.code, 0, "{}\n{}", told["audited"], output.stderr);
    told
}

fn went_wrong(told: &Value) -> Vec<String> {
    let faults = told["faults"].as_array().expect("faults").iter();
    faults.map(|mark| mark["what"].as_str().expect("what").to_owned()).collect()
}

/// Everything that the auditor of a data directory looks at was looked at.
fn is_whole(told: &Value) {
    assert_eq!(told["ok"], Value::Bool(true), "{told}");
    let engine = &told["audited"]["programs"]["engine"];
    assert_eq!(engine["store"], engine["log"]);
    assert!(told["audited"]["tally"]["settled"].as_u64() > Some(0), "{told}");
    assert_eq!(told["audited"]["invariants"]["ok"], Value::Bool(true));
}

#[test]
fn a_node_that_is_killed_under_load_loses_nothing_and_pays_nothing_twice() {
    let dir = DataDir::new();
    let faults = ["--fault=kill-node@1500ms", "--fault=rail-down=1s@500ms"];
    let told = simulate(&dir, &[&["--nodes=1", "--duration=4s"][..], &faults].concat());
    assert_eq!(went_wrong(&told), ["rail down for 1 s", "node 0 killed"]);
    is_whole(&told);
    let data = dir.flag();
    let again = Gristmill::command().run(["simulate", "audit", &data, "--output=json"]);
    assert_eq!(again.expect(0).json()["tally"], told["audited"]["tally"]);
}

/// Nothing goes wrong: what the nodes say of themselves is held against store and log, too.
#[test]
fn nodes_of_its_own_are_watched_and_what_they_use_counts() {
    let dir = DataDir::new();
    let told = simulate(&dir, &["--nodes=1", "--duration=3s", "--fault=kill-node@1h"]);
    is_whole(&told);
    assert_eq!(went_wrong(&told), Vec::<String>::new());
    assert_eq!(told["faults_missed"], serde_json::json!(["kill-node@3600s"]));
    let of = |pointer: &str| told.pointer(pointer).and_then(Value::as_u64).expect("a count");
    assert!(of("/started/cpu_ms") > 0 && of("/started/memory_peak_kib") > 1024, "{told}");
    let intervals = told["intervals"].as_array().expect("intervals");
    assert!(intervals.iter().any(|one| one["under_way"].as_u64() > Some(0)), "{intervals:?}");
    let stages = told["stages"].as_array().expect("stages");
    assert!(stages.iter().any(|stage| stage["stage"] == "payout"), "{stages:?}");
}

#[test]
fn two_nodes_over_a_server_that_goes_away_lose_nothing() {
    if !has_program("redis-server") {
        return;
    }
    let dir = DataDir::new();
    let faults = ["--fault=kill-node@1s", "--fault=stop-redis=1s@3s"];
    let nodes = ["--nodes=2", "--redis=always", "--duration=5s"];
    let told = simulate(&dir, &[&nodes[..], &faults].concat());
    assert_eq!(went_wrong(&told), ["node 0 killed", "Redis away for 1 s"]);
    is_whole(&told);
}

#[test]
fn the_rail_of_a_node_in_this_process_goes_away_too() {
    let dir = DataDir::new();
    let told = simulate(&dir, &["--embedded", "--duration=3s", "--fault=rail-down=1s@1s"]);
    assert_eq!(went_wrong(&told), ["rail down for 1 s"]);
    is_whole(&told);
}

#[test]
fn what_is_not_there_cannot_go_wrong() {
    let dir = DataDir::new();
    for wrong in [
        &["--embedded", "--fault=kill-node@1s"][..],
        &["--nodes=1", "--fault=stop-redis@1s"],
        &["--nodes=2"],
        &["--embedded", "--fault=kill-node"],
    ] {
        let data = dir.flag();
        let arguments = [&["simulate", &data][..], wrong].concat();
        drop(Gristmill::command().run(arguments).expect(2));
    }
}
