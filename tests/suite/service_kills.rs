//! Acknowledged means durable: SIGKILL under a load of submissions, at any moment. Every id that a
//! client was told is there after the restart, and none twice. `GRISTMILL_TEST_SERVICE_KILLS` is
//! the number of kills.

use crate::service::{consent, contribution};
use gristmill_tests::{DataDir, Gristmill, Random, Service, poll_until, size};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const CLIENTS: u64 = 4;
const BATCH: u64 = 100;
const PATIENCE: Duration = Duration::from_secs(120);

/// What clients were told: ids by contributor and key.
type Told = Mutex<BTreeMap<(String, String), String>>;

fn note(told: &Told, contributor: &str, key: &str, id: &Value) {
    let id = id.as_str().expect("an id").to_owned();
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    let known = told.entry((contributor.to_owned(), key.to_owned())).or_insert_with(|| id.clone());
    assert_eq!(*known, id, "one hand-in has one id");
}

/// Hands contributions in, one by one and in batches, until the service is gone.
fn load(service: &Service, client: u64, round: u32, told: &Told) {
    let person = format!("person {client}");
    if service
        .try_send("POST", "/v1/consents", JSON, consent(&person).to_string().as_bytes())
        .is_err()
    {
        return;
    }
    for n in 0.. {
        // Every third is a repeat of what an earlier round may have handed in.
        let round = if n % 3 == 0 { round.saturating_sub(1) } else { round };
        if client.is_multiple_of(2) {
            let key = format!("{round}-{n}");
            let body = contribution(&person, &key).to_string();
            let sent = service.try_send("POST", "/v1/contributions", JSON, body.as_bytes());
            let Ok(answer) = sent else { return };
            note(told, &person, &key, &answer.expect(202).json()["id"]);
            continue;
        }
        let keys: Vec<String> = (0..BATCH).map(|one| format!("{round}-{n}-{one}")).collect();
        let lines: Vec<String> =
            keys.iter().map(|key| contribution(&person, key).to_string()).collect();
        let body = lines.join("\n");
        let path = "/v1/contributions:batch";
        let Ok(answer) = service.try_send("POST", path, NDJSON, body.as_bytes()) else { return };
        for line in answer.lines() {
            let nth = usize::try_from(line["line"].as_u64().expect("a line") - 1).unwrap();
            note(told, &person, &keys[nth], &line["id"]);
        }
    }
}

/// Every contribution that the service lists, by id, while nothing moves; none is listed twice.
fn listed(service: &Service) -> BTreeMap<String, Value> {
    let (mut all, mut token) = (BTreeMap::new(), String::new());
    loop {
        let path = format!("/v1/contributions?page_size={PAGE}{token}");
        let page = service.get(&path).expect(200).json();
        for one in page["items"].as_array().expect("items") {
            let id = one["id"].as_str().expect("an id").to_owned();
            assert_eq!(all.insert(id.clone(), one.clone()), None, "{id} is listed twice");
        }
        match page["next_page_token"].as_str() {
            Some(next) => token = format!("&page_token={next}"),
            None => return all,
        }
    }
}

const PAGE: usize = 1_000;
const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
const NDJSON: &[(&str, &str)] = &[("content-type", "application/x-ndjson")];

#[test]
fn what_was_acknowledged_is_there_after_a_kill_and_nothing_is_there_twice() {
    let kills = size("GRISTMILL_TEST_SERVICE_KILLS", 5);
    let dir = DataDir::new();
    let told = Told::default();
    let mut random = Random::seeded("service kills");
    for round in 0..kills {
        let mut service = Service::start(&dir);
        let moment = random.between(Duration::from_millis(30), Duration::from_millis(700));
        let killed = AtomicBool::new(false);
        let pid = i32::try_from(service.process().id()).ok().and_then(Pid::from_raw);
        let pid = pid.expect("a process has a number");
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (service, told) = (&service, &told);
                scope.spawn(move || load(service, client, round, told));
            }
            let end = std::time::Instant::now() + moment;
            while let Some(left) = end.checked_duration_since(std::time::Instant::now()) {
                std::thread::park_timeout(left);
            }
            kill_process(pid, Signal::KILL).expect("it runs");
            killed.store(true, Ordering::Relaxed);
        });
        assert_eq!(service.kill().code, 137);
    }
    let told = told.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(!told.is_empty(), "no kill came late enough for an answer");
    let service = Service::start(&dir);
    // One contribution a hand-in, one entry a contribution.
    poll_until(PATIENCE, "everything to settle", || {
        let moving = ["queued", "moving", "parked"].iter().any(|state| {
            let path = format!("/v1/contributions?state={state}&page_size=1");
            let page = service.get(&path).expect(200).json();
            page["items"].as_array().is_some_and(|items| !items.is_empty())
        });
        (!moving).then_some(())
    });
    let all = listed(&service);
    let lost: Vec<&String> = told.values().filter(|id| !all.contains_key(*id)).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:.200?}", lost.len(), told.len());
    let mut indices = BTreeMap::new();
    for (id, shown) in all {
        assert_eq!(shown["state"], "settled", "{shown}");
        let index = shown["trace_index"].as_u64().expect("an index");
        let other = indices.insert(index, id.clone());
        assert_eq!(other, None, "{id} is at index {index} too");
    }
    eprintln!("{} acknowledged over {kills} kills", told.len());
    assert_eq!(service.stop().code, 0);
    let audit = Gristmill::command().run(["audit", &dir.flag(), "--output", "json"]).expect(0);
    assert_eq!(audit.json()["ok"], json!(true));
}
