//! The whole table of endpoints and roles over a real socket.

use crate::service::{PATIENCE, consent, contribution, hand_in};
use gristmill_tests::{DataDir, Gristmill, Service};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const ROLES: [&str; 4] = ["submitter", "contributor", "operator", "auditor"];

/// Every operation and the roles that may call it; `*` stands for no key at all.
const TABLE: &[(&str, &str, &str)] = &[
    ("GET", "/livez", "*"),
    ("GET", "/readyz", "*"),
    ("GET", "/openapi.json", "*"),
    ("GET", "/problems/{code}", "*"),
    ("GET", "/trace/{path}", "*"),
    ("GET", "/metrics", "operator auditor"),
    ("POST", "/v1/consents", "submitter contributor"),
    ("GET", "/v1/consents", "submitter contributor operator auditor"),
    ("POST", "/v1/consents:withdraw", "submitter contributor"),
    ("POST", "/v1/media", "submitter"),
    ("POST", "/v1/contributions", "submitter"),
    ("POST", "/v1/contributions:batch", "submitter"),
    ("GET", "/v1/contributions", "submitter contributor operator auditor"),
    ("GET", "/v1/contributions/{id}", "submitter contributor operator auditor"),
    ("GET", "/v1/contributions/{id}/receipt", "submitter contributor operator auditor"),
    ("POST", "/v1/contributions/{id}/signals/{name}", "submitter operator"),
    ("GET", "/v1/contributors/{contributor}/statement", "submitter contributor operator auditor"),
    ("GET", "/v1/admin/stages", "operator auditor"),
    ("POST", "/v1/admin/stages/{stage}/pause", "operator"),
    ("POST", "/v1/admin/stages/{stage}/resume", "operator"),
    ("GET", "/v1/admin/quarantine", "operator auditor"),
    ("POST", "/v1/admin/quarantine:retry", "operator"),
    ("POST", "/v1/admin/quarantine:reject", "operator"),
    ("POST", "/v1/admin/withdrawals", "operator"),
    ("GET", "/v1/admin/audit", "operator auditor"),
    ("GET", "/v1/admin/keys", "operator auditor"),
    ("POST", "/v1/admin/keys", "operator"),
    ("POST", "/v1/admin/keys/{key}/revoke", "operator"),
];

fn new_key(dir: &DataDir, arguments: &[&str]) -> String {
    let flag = dir.flag();
    let mut all = vec!["keys", "new", &flag, "--reason=a test", "--output=json"];
    all.extend_from_slice(arguments);
    let made = Gristmill::command().run(all).expect(0).json();
    made["secret"].as_str().expect("a secret").to_owned()
}

fn keys(dir: &DataDir) -> Vec<(&'static str, String)> {
    let key = |role: &'static str| {
        let role_flag = format!("--role={role}");
        let mut arguments = vec![role_flag.as_str()];
        if role == "contributor" {
            arguments.push("--contributor=ana");
        }
        (role, new_key(dir, &arguments))
    };
    ROLES.into_iter().map(key).collect()
}

/// A path with something at each parameter that belongs to ana.
fn filled(path: &str) -> String {
    let path = path
        .replace("{id}", &format!("c{}", "0".repeat(36)))
        .replace("{code}", "busy")
        .replace("{path}", "vkey")
        .replace("{name}", "go")
        .replace("{contributor}", "ana")
        .replace("{stage}", "nothing")
        .replace("{key}", "nothing");
    match path.as_str() {
        "/v1/consents" | "/v1/media" => format!("{path}?contributor=ana"),
        _ => path,
    }
}

#[test]
fn every_operation_answers_its_roles_and_nobody_else() {
    let dir = DataDir::new();
    let keys = keys(&dir);
    let mut service = Service::start(&dir);
    let description = service.get("/openapi.json").expect(200).json();
    let mut described = BTreeSet::new();
    for (path, operations) in description["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            described.insert((method.to_uppercase(), path.clone()));
        }
    }
    let table: BTreeSet<(String, String)> =
        TABLE.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(described, table);
    for (method, path, roles) in TABLE {
        let target = filled(path);
        let send = |service: &Service| {
            let kind = if *path == "/v1/media" { "audio/wav" } else { "application/json" };
            service.send(method, &target, kind, b"{}")
        };
        for (role, key) in &keys {
            service.use_key(Some(key));
            let status = send(&service).status;
            let allowed = *roles == "*" || roles.split(' ').any(|one| one == *role);
            assert_eq!(status != 403, allowed, "{method} {path} as {role}: {status}");
            assert!(status != 401 && status < 500, "{method} {path} as {role}: {status}");
        }
        for wrong in [None, Some("gm_0000000000000000_00"), Some("x"), Some("")] {
            service.use_key(wrong);
            let status = send(&service).status;
            assert_eq!(status != 401, *roles == "*", "{method} {path} with {wrong:?}: {status}");
        }
    }
}

#[test]
fn a_contributors_key_sees_and_moves_its_own_alone() {
    let dir = DataDir::new();
    let keys = keys(&dir);
    let key = |role: &str| keys.iter().find(|(name, _)| *name == role).map(|(_, key)| key.as_str());
    let mut service = Service::start(&dir);
    service.use_key(key("submitter"));
    let own = hand_in(&service, "ana", "1");
    let foreign = hand_in(&service, "bob", "1");
    let grants = service.get("/v1/consents?contributor=bob").expect(200).json();
    let grant = grants["items"][0]["grant"].as_str().unwrap().to_owned();
    for id in [&own, &foreign] {
        service.await_state(id, "settled");
    }
    service.use_key(key("contributor"));
    service.get(&format!("/v1/contributions/{own}")).expect(200);
    for tail in ["", "/receipt"] {
        service.get(&format!("/v1/contributions/{foreign}{tail}")).problem(404, "not_found");
    }
    for path in ["/v1/consents?contributor=bob", "/v1/contributors/bob/statement"] {
        service.get(path).problem(403, "forbidden");
    }
    service.get("/v1/contributions?contributor=bob").problem(403, "forbidden");
    let listed = service.get("/v1/contributions").expect(200).json();
    let ids: Vec<&Value> =
        listed["items"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!(ids, [&json!(own)]);
    service.post("/v1/consents", &consent("bob")).problem(403, "forbidden");
    let theirs = json!({"contributor": "bob", "grant": grant});
    service.post("/v1/consents:withdraw", &theirs).problem(403, "forbidden");
    // Another's grant under one's own name is not seen.
    let theirs = json!({"contributor": "ana", "grant": grant});
    service.post("/v1/consents:withdraw", &theirs).problem(422, "unknown_grant");
    let own_grant = json!({"contributor": "ana", "program": "engine"});
    service.post("/v1/consents:withdraw", &own_grant).expect(202);
    service.post("/v1/contributions", &contribution("ana", "2")).problem(403, "forbidden");
}

#[test]
fn keys_are_shown_once_expire_and_are_revoked_at_once() {
    let dir = DataDir::new();
    let operator = new_key(&dir, &["--role=operator"]);
    let old = new_key(&dir, &["--role=auditor", "--expires=2020-01-01T00:00:00Z"]);
    let listed = Gristmill::command().run(["keys", "list", &dir.flag()]).expect(0).stdout;
    let secret = operator.rsplit('_').next().unwrap();
    assert!(!listed.contains(secret) && listed.contains("operator"), "{listed}");
    let mut service = Service::start(&dir);
    service.get("/v1/admin/keys").problem(401, "unauthenticated");
    service.use_key(Some(&old));
    service.get("/v1/admin/keys").problem(401, "unauthenticated");
    service.use_key(Some(&operator));
    let wanted = json!({"role": "auditor", "reason": "a test"});
    let made = service.post("/v1/admin/keys", &wanted).expect(201).json();
    let auditor = made["secret"].as_str().unwrap().to_owned();
    service.post("/v1/admin/keys", &json!({"role": "auditor"})).problem(400, "missing_field");
    let wrong = json!({"role": "contributor", "reason": "no person"});
    service.post("/v1/admin/keys", &wrong).problem(400, "invalid_field");
    service.use_key(Some(&auditor));
    let keys = service.get("/v1/admin/keys").expect(200);
    assert!(!keys.text().contains(secret));
    service.use_key(Some(&operator));
    let path = format!("/v1/admin/keys/{}/revoke", made["key"].as_str().unwrap());
    service.post(&path, &json!({"reason": "a test"})).expect(200);
    service.use_key(Some(&auditor));
    service.get("/v1/admin/keys").problem(401, "unauthenticated");
    // Nothing that was ever secret stands in the data directory.
    drop(service.stop().expect(0));
    let found = std::process::Command::new("grep")
        .args(["-rlF", secret])
        .arg(dir.path())
        .output()
        .expect("grep is there");
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

#[test]
fn an_address_that_others_reach_is_refused_without_keys() {
    let dir = DataDir::new();
    let flag = dir.flag();
    let arguments = ["serve", &flag, "--listen=0.0.0.0:0"];
    let refused = Gristmill::command().run(arguments).expect(2);
    assert!(refused.stderr.contains("gristmill keys new"), "{}", refused.stderr);
    let _ = new_key(&dir, &["--role=operator"]);
    let mut process = Gristmill::command().spawn(arguments);
    let line = process.first_line(PATIENCE);
    assert!(line.contains("listening"), "{line}");
    process.terminate();
    assert_eq!(process.wait(PATIENCE).code, 0);
}
