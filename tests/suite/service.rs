//! The story of a service over a real socket: consent, upload, submit, watch, receipt, statement,
//! withdraw; and what operators do.

use crate::scrape::Scrape;
use gristmill_tests::{DataDir, Gristmill, Service, poll_until, repository};
use serde_json::{Value, json};
use std::time::Duration;

pub const PATIENCE: Duration = Duration::from_secs(30);

/// A consent to the engine program.
pub fn consent(contributor: &str) -> Value {
    let sha256 = "6657d083d8a3761f00c0f0003fba4f61d66862a1fadc2af0e8d5ef3216c35d99";
    json!({"contributor": contributor, "program": "engine", "purposes": ["ai-training"],
        "modalities": ["none"],
        "terms": {"version": "engine-v1", "sha256": sha256, "uri": "terms/engine-v1.txt"}})
}

/// A contribution to the engine program.
pub fn contribution(contributor: &str, key: &str) -> Value {
    json!({"contributor": contributor, "idempotency_key": key, "program": "engine",
        "task": "none", "modality": "none"})
}

/// Gives consent and hands one contribution in; its id.
pub fn hand_in(service: &Service, contributor: &str, key: &str) -> String {
    service.post("/v1/consents", &consent(contributor)).expect(202);
    let answer = service.post("/v1/contributions", &contribution(contributor, key)).expect(202);
    answer.json()["id"].as_str().expect("an id").to_owned()
}

/// Pauses or resumes a stage.
pub fn say_of_stage(service: &Service, stage: &str, verb: &str) {
    let path = format!("/v1/admin/stages/{stage}/{verb}");
    let answer = service.post(&path, &json!({"reason": "a test"})).expect(200).json();
    assert_eq!(answer["paused"], verb == "pause");
}

/// The first clip of the shipped example, with its line and its consent.
pub fn voice() -> (Vec<u8>, Value, Value) {
    let examples = repository().join("workflows/examples");
    let manifest = std::fs::read_to_string(examples.join("seoul.ndjson")).unwrap();
    let lines: Vec<Value> =
        manifest.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let clip = lines.iter().find(|line| line["modality"] == "voice").unwrap().clone();
    let of_person = |line: &&Value| line["consent"]["contributor"] == clip["contributor"];
    let consent = lines.iter().find(of_person).unwrap()["consent"].clone();
    let bytes = std::fs::read(examples.join(clip["media"]["uri"].as_str().unwrap())).unwrap();
    (bytes, clip, consent)
}

#[test]
fn a_contributor_is_taken_from_consent_to_payout_and_back() {
    let dir = DataDir::new();
    let service = Service::start(&dir);
    let (bytes, mut clip, consent) = voice();
    let person = clip["contributor"].as_str().unwrap().to_owned();
    let given = service.post("/v1/consents", &consent).expect(202).json();
    assert_eq!(service.post("/v1/consents", &consent).expect(202).json(), given);
    let path = format!("/v1/media?contributor={person}");
    let upload = service.send("POST", &path, "audio/wav", &bytes).expect(201).json();
    assert_eq!(upload["bytes"], bytes.len());
    assert!(upload["mime"].as_str().unwrap().starts_with("audio/"), "{upload}");
    clip["media"] = json!({"sha256": upload["sha256"]});
    let answer = service.post("/v1/contributions", &clip).expect(202);
    let handed_in = answer.json();
    assert_eq!(handed_in["state"], "queued");
    assert_eq!(answer.header("location"), handed_in["status_url"].as_str());
    let id = handed_in["id"].as_str().unwrap();
    let shown = service.await_state(id, "settled");
    assert!(shown["why"].as_str().unwrap().starts_with("settled"), "{shown}");
    // The same again is the same; another body under the same key is not.
    let again = service.post("/v1/contributions", &clip).expect(202).json();
    assert_eq!((&again["id"], again["state"].as_str()), (&handed_in["id"], Some("settled")));
    let mut other = clip.clone();
    other["task"] = json!("other");
    assert_eq!(service.post("/v1/contributions", &other).status, 422);
    // Who names the same upload again hands the same content in.
    let mut copy = clip.clone();
    copy["idempotency_key"] = json!("the same clip under another key");
    let copy = service.post("/v1/contributions", &copy).expect(202).json();
    let shown = service.await_state(copy["id"].as_str().unwrap(), "rejected");
    assert_eq!(shown["reason"], "duplicate");
    let receipt = receipt(&service, &dir, id);
    assert!(receipt.contains(&person), "{receipt}");
    let statement = service.get(&format!("/v1/contributors/{person}/statement")).expect(200).json();
    assert_eq!(statement["totals"][0]["counted"], 1, "{statement}");
    assert_eq!(statement["items"][0]["id"], id);
    assert!(statement["items"][0]["trace_index"].is_u64(), "{statement}");
    let taken_back = json!({"contributor": person, "grant": given["grant"]});
    service.post("/v1/consents:withdraw", &taken_back).expect(202);
    poll_until(PATIENCE, "the withdrawal to reach the journey", || {
        let shown = service.get(&format!("/v1/contributions/{id}")).expect(200).json();
        shown["withdrawn_at"].is_string().then_some(())
    });
    poll_until(PATIENCE, "the receipt's openings to be gone", || {
        let answer = service.get(&format!("/v1/contributions/{id}/receipt"));
        (answer.status == 410).then(|| answer.problem(410, "erased"))
    });
    let grants = service.get(&format!("/v1/consents?contributor={person}")).expect(200).json();
    assert_eq!(grants["items"][0]["state"], "withdrawn", "{grants}");
    assert_eq!(service.stop().code, 0);
    let audit = Gristmill::command().run(["audit", &dir.flag(), "--output", "json"]).expect(0);
    assert_eq!(audit.json()["ok"], true);
}

/// Reads a receipt until its entry is published, and checks it with the public key alone.
fn receipt(service: &Service, dir: &DataDir, id: &str) -> String {
    let path = format!("/v1/contributions/{id}/receipt");
    let receipt = poll_until(PATIENCE, "the entry to be published", || {
        let answer = service.get(&path);
        (answer.status != 409).then_some(answer)
    });
    let file = dir.write("receipt", &receipt.expect(200).body);
    let vkey = dir.write("vkey", &service.get("/trace/vkey").expect(200).body);
    let arguments = ["receipt", "verify", file.to_str().unwrap(), "--key", vkey.to_str().unwrap()];
    Gristmill::command().run(arguments).expect(0).stdout
}

#[test]
fn a_batch_answers_a_line_a_line_in_order() {
    let dir = DataDir::new();
    let service = Service::start(&dir);
    let lines = [
        json!({"consent": consent("ana")}).to_string(),
        contribution("ana", "1").to_string(),
        "{\"contributor\": \"ana\", \"contributor\": \"bob\"}".to_owned(),
        String::new(),
        contribution("ana", "1").to_string(),
        "x".repeat(70_000),
        contribution("ana", "2").to_string(),
        json!({"withdraw": {"contributor": "zoe", "program": "engine"}}).to_string(),
        json!({"withdraw": {"contributor": "ana", "grant": "never"}}).to_string(),
        "\u{feff}{}".to_owned(),
        contribution("ana", "last, without an end of line").to_string(),
    ];
    let body = lines.join("\n");
    let answer = service
        .send("POST", "/v1/contributions:batch", "application/x-ndjson", body.as_bytes())
        .expect(200);
    let told = answer.lines();
    let numbers: Vec<u64> = told.iter().map(|one| one["line"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 5, 6, 7, 8, 9, 10, 11]);
    assert!(told[0]["grant"].is_string());
    assert_eq!(told[1]["id"], told[3]["id"]);
    let codes: Vec<(u64, &str)> = told
        .iter()
        .filter_map(|one| Some((one["line"].as_u64()?, one["problem"]["code"].as_str()?)))
        .collect();
    let expected =
        [(3, "invalid_field"), (6, "line_too_long"), (9, "unknown_grant"), (10, "malformed_json")];
    assert_eq!(codes, expected);
    assert_eq!(told[2]["problem"]["field"], "contributor");
    for line in [1, 5, 9] {
        service.await_state(told[line]["id"].as_str().unwrap(), "settled");
    }
    let listed = service.get("/v1/contributions?contributor=ana").expect(200).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 3);
}

#[test]
fn lists_come_in_pages_without_gap_or_repeat() {
    let dir = DataDir::new();
    let service = Service::start(&dir);
    let mut ids: Vec<String> =
        (0..7).map(|n| hand_in(&service, &format!("person {n}"), "k")).collect();
    for id in &ids {
        service.await_state(id, "settled");
    }
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/contributions?page_size=3&page_token={token}&state=settled");
        let page = service.get(&path).expect(200).json();
        let items = page["items"].as_array().unwrap();
        seen.extend(items.iter().map(|one| one["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_page_token"].as_str() else { break };
        token = next.to_owned();
    }
    ids.sort();
    seen.sort();
    assert_eq!(seen, ids);
    let path = format!("/v1/contributions?page_token=c{}", "0".repeat(36));
    service.get(&path).problem(400, "invalid_field");
}

#[test]
fn a_paused_stage_is_durable_seen_in_every_sentence_and_gone_when_resumed() {
    let dir = DataDir::new();
    let service = Service::start(&dir);
    say_of_stage(&service, "payout", "pause");
    let parked = hand_in(&service, "ana", "parked");
    let shown = service.await_state(&parked, "parked");
    assert_eq!((&shown["cause"], &shown["stage"]), (&json!("stage_paused"), &json!("payout")));
    assert!(shown["why"].as_str().unwrap().contains("an operator paused the stage"), "{shown}");
    say_of_stage(&service, "consent", "pause");
    let queued = hand_in(&service, "ana", "queued");
    let other = hand_in(&service, "bob", "queued");
    let service = {
        assert_eq!(service.stop().code, 0);
        Service::start(&dir)
    };
    let stages = service.get("/v1/admin/stages").expect(200).json();
    let paused: Vec<&str> = stages["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["paused"] == true)
        .map(|one| one["stage"].as_str().unwrap())
        .collect();
    assert_eq!(paused, ["consent", "payout"]);
    let metrics = Scrape::of(&service);
    let shown = |stage| metrics.sum("gristmill_stage_paused", &[("stage", stage)]);
    assert_eq!(["consent", "scoring", "payout"].map(shown), [1.0, 0.0, 1.0]);
    for id in [&queued, &other] {
        let shown = service.get(&format!("/v1/contributions/{id}")).expect(200).json();
        assert_eq!(shown["state"], "queued");
        assert!(shown["why"].as_str().unwrap().contains("stage `consent`"), "{shown}");
    }
    say_of_stage(&service, "consent", "resume");
    for id in [&queued, &other] {
        service.await_state(id, "parked");
    }
    say_of_stage(&service, "payout", "resume");
    for id in [&parked, &queued, &other] {
        service.await_state(id, "settled");
    }
    let changes = service.get("/v1/admin/audit").expect(200).json();
    let verbs: Vec<(&str, &str)> = changes["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["verb"].as_str().unwrap(), one["target"].as_str().unwrap()))
        .collect();
    let expected = [
        ("stage pause", "payout"),
        ("stage pause", "consent"),
        ("stage resume", "consent"),
        ("stage resume", "payout"),
    ];
    assert_eq!(verbs, expected);
}

#[test]
fn the_public_log_is_served_as_it_stands_and_checks_out() {
    let dir = DataDir::new();
    let service = Service::start(&dir);
    let id = hand_in(&service, "ana", "1");
    service.await_state(&id, "settled");
    receipt(&service, &dir, &id);
    let checkpoint = service.get("/trace/checkpoint").expect(200);
    assert_eq!(checkpoint.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(checkpoint.header("cache-control"), Some("public, max-age=1"));
    let size = checkpoint.text().lines().nth(1).unwrap().to_owned();
    let tile = service.get(&format!("/trace/tile/0/000.p/{size}")).expect(200);
    assert_eq!(tile.header("content-type"), Some("application/octet-stream"));
    assert!(tile.header("cache-control").unwrap().contains("immutable"));
    assert_eq!(tile.body.len(), size.parse::<usize>().unwrap() * 32);
    let log = format!("{}/trace/", service.url());
    let vkey = dir.write("vkey", &service.get("/trace/vkey").expect(200).body);
    let arguments = ["trace", "verify", &log, "--key", vkey.to_str().unwrap()];
    drop(Gristmill::command().run(arguments).expect(0));
}

#[test]
fn a_stop_answers_what_is_under_way_and_readiness_fails_at_once() {
    let dir = DataDir::new();
    let mut service = Service::start(&dir);
    service.get("/livez").expect(200);
    service.get("/readyz").expect(200);
    let ids: Vec<String> = (0..50).map(|n| hand_in(&service, &format!("p{n}"), "k")).collect();
    service.process().terminate();
    // Until the socket closes, the answers say that it drains.
    poll_until(PATIENCE, "readiness to fail or the socket to close", || {
        match service.try_send("GET", "/readyz", &[], &[]) {
            Err(_) => Some(()),
            Ok(answer) if answer.status == 503 => {
                answer.problem(503, "draining");
                Some(())
            }
            Ok(_) => None,
        }
    });
    assert_eq!(service.stop().code, 0);
    let service = Service::start(&dir);
    for id in &ids {
        service.await_state(id, "settled");
    }
}

#[test]
fn past_the_high_water_mark_contributions_are_refused_and_withdrawals_pass() {
    let dir = DataDir::new();
    let few = Gristmill::command()
        .env("GRISTMILL_STORE__HIGH_WATER", "3")
        .env("GRISTMILL_STORE__SHARDS", "1");
    let service = Service::start_with(&few, &dir, &[]);
    say_of_stage(&service, "consent", "pause");
    service.post("/v1/consents", &consent("ana")).expect(202);
    for n in 0..3 {
        service.post("/v1/contributions", &contribution("ana", &n.to_string())).expect(202);
    }
    let refused = service.post("/v1/contributions", &contribution("ana", "3"));
    assert_eq!(refused.problem(429, "inbox_full").header("retry-after"), Some("1"));
    let line = contribution("ana", "4").to_string();
    let told = service
        .send("POST", "/v1/contributions:batch", "application/x-ndjson", line.as_bytes())
        .expect(200)
        .lines();
    assert_eq!(told[0]["problem"]["code"], "inbox_full");
    let taken_back = json!({"contributor": "ana", "program": "engine"});
    service.post("/v1/consents:withdraw", &taken_back).expect(202);
    service.post("/v1/consents", &consent("bob")).expect(202);
    // What was taken is a repeat, not refused.
    service.post("/v1/contributions", &contribution("ana", "0")).expect(202);
    say_of_stage(&service, "consent", "resume");
    poll_until(PATIENCE, "room for the refused one", || {
        let answer = service.post("/v1/contributions", &contribution("ana", "3"));
        (answer.status == 202).then_some(())
    });
}

#[test]
fn told_to_end_the_moment_it_says_where_it_listens_a_service_ends_in_order() {
    let dir = DataDir::new();
    for _ in 0..10 {
        assert_eq!(Service::start(&dir).stop().code, 0);
    }
}
