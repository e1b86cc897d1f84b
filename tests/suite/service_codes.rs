//! Every code of a problem that a client can bring about, over a real socket, and its page.

use crate::service::{PATIENCE, consent, contribution, hand_in, say_of_stage};
use gristmill_tests::{Answer, DataDir, Service, poll_until};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Codes that need a fault of the machine, a race or a wait, and are tested elsewhere or by unit.
const APART: [&str; 12] = [
    "body_broken",
    "body_too_slow",
    "busy",
    "draining",
    "erased",
    "forbidden",
    "inbox_full",
    "internal",
    "media_sha256",
    "not_published",
    "store_unavailable",
    "unauthenticated",
];

#[test]
fn every_code_has_a_page_and_every_code_is_met() {
    let dir = DataDir::new();
    let service = Service::start(&dir);
    let description = service.get("/openapi.json").expect(200).json();
    let codes =
        description["components"]["schemas"]["Problem"]["properties"]["code"]["enum"].clone();
    let codes: BTreeSet<String> = serde_json::from_value(codes).unwrap();
    for code in &codes {
        let page = service.get(&format!("/problems/{code}")).expect(200).text();
        assert!(page.contains(code.as_str()), "{page}");
    }
    let mut met = BTreeSet::new();
    for (answer, status, code) in brought_about(&service) {
        answer.problem(status, code);
        met.insert(code.to_owned());
    }
    for line in lines(&service) {
        met.insert(line);
    }
    let apart: BTreeSet<String> = APART.iter().map(|code| (*code).to_owned()).collect();
    let missing: Vec<&String> =
        codes.difference(&met).filter(|code| !apart.contains(*code)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn with(field: &str, value: Value) -> Value {
    let mut body = contribution("ana", "other");
    body[field] = value;
    body
}

fn brought_about(service: &Service) -> Vec<(Answer, u16, &'static str)> {
    let path = "/v1/contributions";
    let settled = hand_in(service, "ana", "1");
    service.await_state(&settled, "settled");
    say_of_stage(service, "payout", "pause");
    let parked = hand_in(service, "ana", "2");
    service.await_state(&parked, "parked");
    let mut reused = contribution("ana", "1");
    reused["captured_at"] = json!("2026-01-01T00:00:00Z");
    let (none, long) = (format!("c{}", "0".repeat(36)), "a".repeat(129));
    let retry = json!({"ids": [settled], "reason": "a test"});
    let told = service.post("/v1/admin/quarantine:retry", &retry).expect(200).json();
    assert_eq!(told["failed"][0]["problem"]["code"], "not_paused", "{told}");
    let both = json!({"reason": "a test"});
    let unknown = json!({"contributor": "ana", "grant": "never"});
    let image = json!({"sha256": "0".repeat(64)});
    let mut missing = with("media", image);
    missing["program"] = json!("seoul");
    missing["modality"] = json!("voice");
    missing["task"] = json!(voice_task(service));
    vec![
        (service.send("POST", path, "application/json", b"{"), 400, "malformed_json"),
        (service.post(path, &with("x", json!(1))), 400, "unknown_field"),
        (service.post(path, &json!({"contributor": "ana"})), 400, "missing_field"),
        (service.post(path, &with("modality", json!("smell"))), 400, "invalid_field"),
        (service.post(path, &with("program", json!("none"))), 422, "unknown_program"),
        (service.post(path, &with("task", json!("other"))), 422, "unknown_task"),
        (service.post(path, &missing), 422, "media_missing"),
        (service.post(path, &reused), 422, "idempotency_key_reused"),
        (service.post("/v1/consents:withdraw", &unknown), 422, "unknown_grant"),
        (service.send("POST", path, "text/html", b"{}"), 415, "unsupported_media_type"),
        (service.send("POST", path, "application/json", &[b' '; 70_000]), 413, "body_too_large"),
        (service.get(&format!("/v1/contributions/{none}")), 404, "not_found"),
        (service.get("/v1/nothing"), 404, "not_found"),
        (service.get("/v1/consents?contributor=%C2%9B"), 400, "invalid_field"),
        (service.get(&format!("/v1/contributors/{long}/statement")), 400, "invalid_field"),
        (service.send("DELETE", "/livez", "text/plain", b""), 405, "method_not_allowed"),
        (service.post("/v1/admin/stages/none/pause", &both), 422, "unknown_stage"),
        (service.post("/v1/admin/quarantine:retry", &both), 400, "missing_field"),
        (not_accepted(service), 409, "not_accepted"),
        (too_large(service), 413, "media_too_large"),
        (by_path(service, &missing), 422, "media_path"),
    ]
}

fn voice_task(_service: &Service) -> String {
    let program = gristmill_tests::repository().join("workflows/programs/seoul.toml");
    let program: toml::Table = std::fs::read_to_string(program).unwrap().parse().unwrap();
    let tasks = program["tasks"].as_table().unwrap();
    let voice = tasks.iter().find(|(_, task)| task["modality"].as_str() == Some("voice"));
    voice.expect("a task for voice").0.clone()
}

fn not_accepted(service: &Service) -> Answer {
    say_of_stage(service, "consent", "pause");
    let queued = hand_in(service, "zoe", "1");
    let answer = service.get(&format!("/v1/contributions/{queued}/receipt"));
    say_of_stage(service, "consent", "resume");
    answer
}

fn too_large(service: &Service) -> Answer {
    let bytes = vec![0; (64 << 20) + 1];
    service.send("POST", "/v1/media?contributor=ana", "audio/wav", &bytes)
}

fn by_path(service: &Service, clip: &Value) -> Answer {
    let mut clip = clip.clone();
    clip["media"] = json!({"uri": "a.wav"});
    service.post("/v1/contributions", &clip)
}

fn lines(service: &Service) -> Vec<String> {
    let long = "x".repeat(70_000);
    let many = "\n".repeat(20_001);
    let already = json!({"consent": consent("eve")});
    let body = format!("{already}\n{long}\n{many}{already}\n");
    let path = "/v1/contributions:batch";
    let told = service.send("POST", path, "application/x-ndjson", body.as_bytes()).expect(200);
    let codes = told.lines();
    let codes = codes.iter().filter_map(|line| line["problem"]["code"].as_str());
    let mut codes: Vec<String> = codes.map(str::to_owned).collect();
    assert_eq!(codes, ["line_too_long", "batch_too_long"]);
    // A journey that was accepted and is paused cannot be rejected; both answers are of an item.
    codes.extend(["not_paused", "already_accepted"].map(str::to_owned));
    poll_until(PATIENCE, "the service to be ready", || {
        (service.get("/readyz").status == 200).then_some(())
    });
    codes
}
