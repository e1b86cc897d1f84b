//! Clients that mean no good: slow, broken, huge, many, curious. Answers stay clear, memory stays
//! bounded, others are served.

use crate::service::{PATIENCE, consent, contribution, hand_in};
use gristmill_tests::{DataDir, Gristmill, Service, poll_until, size};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;

const MEBIBYTE: u64 = 1 << 20;

/// Sends bytes as they are and reads all that comes back.
fn raw(service: &Service, bytes: &[u8]) -> String {
    let mut stream = service.connect();
    // The service may answer and close before everything is sent.
    let sent = stream.write_all(bytes);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    assert!(!answer.is_empty() || sent.is_err() || read.is_ok());
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> Option<u16> {
    answer.split(' ').nth(1)?.parse().ok()
}

fn is_unharmed(service: &Service) {
    service.get("/readyz").expect(200);
}

#[test]
fn heads_that_are_too_large_too_many_or_none_get_a_clear_answer() {
    let dir = DataDir::new();
    let service = Service::start(&dir);
    let huge = format!("GET /livez HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(200_000));
    assert_eq!(status(&raw(&service, huge.as_bytes())), Some(431));
    let many: String = (0..500).map(|n| format!("x{n}: y\r\n")).collect();
    let many = format!("GET /livez HTTP/1.1\r\nhost: a\r\n{many}\r\n");
    assert_eq!(status(&raw(&service, many.as_bytes())), Some(431));
    for nonsense in [&b"\xff\xfe\x00\x01\r\n\r\n"[..], b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"]
    {
        let answer = raw(&service, nonsense);
        assert!(matches!(status(&answer), None | Some(400)), "{answer}");
    }
    let long =
        format!("GET /v1/{} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "a/".repeat(9000));
    assert!(matches!(status(&raw(&service, long.as_bytes())), Some(404 | 414 | 431)));
    is_unharmed(&service);
}

#[test]
fn paths_that_lead_out_of_the_log_lead_nowhere() {
    let dir = DataDir::new();
    let service = Service::start(&dir);
    let id = hand_in(&service, "ana", "1");
    service.await_state(&id, "settled");
    for path in [
        "/trace/",
        "/trace/..",
        "/trace/../keys/trace.key",
        "/trace/%2e%2e/keys/trace.key",
        "/trace/..%2fkeys%2fid.key",
        "/trace/tile/../../keys/trace.key",
        "/trace/tile/0/%2e%2e/%2e%2e/%2e%2e/keys/id.key",
        "/trace//etc/passwd",
        "/trace/sequenced/0",
        "/trace/checkpoints",
        "/trace/.tmp/1",
        "/trace/tile/0/000%00",
        "/trace/%ff",
        "/trace/tile/0/x001",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let answer = raw(&service, request.as_bytes());
        assert_eq!(status(&answer), Some(404), "{path}: {answer}");
        assert!(!answer.contains("PRIVATE"), "{path}: {answer}");
    }
    is_unharmed(&service);
}

#[test]
fn bodies_that_break_off_drip_or_lie_take_nothing_in() {
    let dir = DataDir::new();
    let service = Service::start(&dir);
    let head = "POST /v1/contributions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
    let half = format!("{head}content-length: 500\r\n\r\n{}", contribution("ana", "half"));
    let mut broken = service.connect();
    broken.write_all(half.as_bytes()).unwrap();
    broken.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    // The connection may break before or after the answer.
    drop(broken.read_to_string(&mut answer));
    assert!(matches!(status(&answer), None | Some(400)), "{answer}");
    let large = format!("{head}content-length: 99999999\r\n\r\n{}", "x".repeat(70_000));
    assert_eq!(status(&raw(&service, large.as_bytes())), Some(413));
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\n");
    assert!(matches!(status(&raw(&service, chunked.as_bytes())), None | Some(400)));
    // A body that drips is given up; meanwhile others are served.
    let mut dripping = service.connect();
    dripping.write_all(format!("{head}content-length: 500\r\n\r\n{{").as_bytes()).unwrap();
    is_unharmed(&service);
    let mut answer = String::new();
    drop(dripping.read_to_string(&mut answer));
    assert_eq!(status(&answer), Some(408), "{answer}");
    assert!(answer.contains("body_too_slow"), "{answer}");
    for (body, code) in [
        (&b"\xff\xfe"[..], "malformed_json"),
        (b"[]", "malformed_json"),
        (b"{\"a\": 1}", "missing_field"),
        (b"{\"contributor\": \"a\", \"contributor\": \"b\"}", "invalid_field"),
        (b"{\"contributor\": \"a\\u0000b\"}", "invalid_field"),
    ] {
        service.send("POST", "/v1/contributions", "application/json", body).problem(400, code);
    }
    let deep = "[".repeat(30_000);
    service
        .send("POST", "/v1/contributions", "application/json", deep.as_bytes())
        .problem(400, "malformed_json");
    let listed = service.get("/v1/contributions?contributor=ana").expect(200).json();
    assert_eq!(listed["items"], json!([]));
}

#[test]
fn thousands_of_idle_connections_harm_nobody() {
    let count = size("GRISTMILL_TEST_SERVICE_CONNECTIONS", 2000) as usize;
    let dir = DataDir::new();
    let places = Gristmill::command().env("GRISTMILL_SERVICE__CONNECTIONS", "500");
    let service = Service::start_with(&places, &dir, &[]);
    is_unharmed(&service);
    let before = service.memory();
    let mut idle: Vec<TcpStream> = Vec::new();
    for n in 0..count {
        let mut stream = service.connect();
        if n % 2 == 0 {
            // Half a request.
            stream.write_all(b"POST /v1/contributions HTTP/1.1\r\nhost: a\r\n").unwrap();
        }
        idle.push(stream);
    }
    // Newcomers are served: who has been idle for longest gave way.
    let id = hand_in(&service, "ana", "1");
    service.await_state(&id, "settled");
    let grown = service.memory().saturating_sub(before);
    assert!(grown < 64 * MEBIBYTE, "{} MiB for idle connections", grown / MEBIBYTE);
    let mut first = &idle[0];
    let mut answer = Vec::new();
    let gone = first.read_to_end(&mut answer);
    assert!(
        gone.is_err()
            || answer.is_empty()
            || status(&String::from_utf8_lossy(&answer)) == Some(408)
    );
}

#[test]
fn uploads_are_bounded_and_of_their_own_contributor() {
    let dir = DataDir::new();
    let small = Gristmill::command().env("GRISTMILL_MEDIA__MAX_BYTES", "100000");
    let service = Service::start_with(&small, &dir, &[]);
    let upload = |person: &str, bytes: &[u8]| {
        let path = format!("/v1/media?contributor={person}");
        service.send("POST", &path, "application/octet-stream", bytes)
    };
    upload("ana", &vec![7; 100_001]).problem(413, "media_too_large");
    upload("ana", b"").problem(400, "invalid_field");
    upload("", b"x").problem(400, "invalid_field");
    service.send("POST", "/v1/media", "audio/wav", b"x").problem(400, "missing_field");
    let sha256 = upload("ana", b"not a clip").expect(201).json()["sha256"].clone();
    assert_eq!(upload("ana", b"not a clip").expect(201).json()["sha256"], sha256);
    let clip = |person: &str, media: serde_json::Value| {
        json!({"contributor": person, "idempotency_key": "1", "program": "seoul",
            "task": "voice", "modality": "voice", "language": "ko", "media": media})
    };
    let path = "/v1/contributions";
    let programs = service.post(path, &clip("bob", json!({"sha256": sha256})));
    assert_eq!(programs.status, 422, "{}", programs.text());
    let uri = service.post(path, &clip("ana", json!({"uri": "../../etc/passwd"})));
    assert_eq!(uri.status, 422, "{}", uri.text());
    // What was uploaded stands nowhere in the clear.
    let found = std::process::Command::new("grep")
        .args(["-rlF", "not a clip"])
        .arg(dir.path())
        .output()
        .expect("grep is there");
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    // A withdrawal destroys what was uploaded and not handed in.
    service.post("/v1/consents", &consent("ana")).expect(202);
    let taken_back = json!({"contributor": "ana", "program": "engine"});
    service.post("/v1/consents:withdraw", &taken_back).expect(202);
    let blobs = || {
        let media = dir.path().join("media");
        let folders = std::fs::read_dir(media).unwrap().flatten();
        let folders = folders.filter(|one| one.path().is_dir());
        folders.map(|one| std::fs::read_dir(one.path()).unwrap().count()).sum::<usize>()
    };
    poll_until(PATIENCE, "the upload to be destroyed", || (blobs() == 0).then_some(()));
}

#[test]
fn no_secret_and_no_personal_data_stands_in_the_logs_under_load() {
    let dir = DataDir::new();
    let loud =
        Gristmill::command().env("GRISTMILL_LOG__FILTER", "debug,hyper=trace,gristmill=trace");
    let made =
        loud.run(["keys", "new", "--role=operator", "--reason=a test", &dir.flag()]).expect(0);
    let operator = made.stdout.trim().to_owned();
    let made =
        loud.run(["keys", "new", "--role=submitter", "--reason=a test", &dir.flag()]).expect(0);
    let submitter = made.stdout.trim().to_owned();
    let mut service = Service::start_with(&loud, &dir, &[]);
    service.use_key(Some(&submitter));
    let person = "kim-minji-860101";
    let ids: Vec<String> =
        (0..20).map(|n| hand_in(&service, person, &format!("secret-{n}"))).collect();
    for id in &ids {
        service.await_state(id, "settled");
    }
    let wrong = format!("{{\"contributor\": \"{person}\", \"transcript\": 7}}");
    service.send("POST", "/v1/contributions", "application/json", wrong.as_bytes());
    service.get(&format!("/v1/contributors/{person}/statement"));
    service.get(&format!("/v1/consents?contributor={person}&x=1"));
    service.use_key(Some(&format!("{submitter}x")));
    service.get("/v1/contributions").problem(401, "unauthenticated");
    service.use_key(Some(&operator));
    let taken_back = json!({"contributor": person, "program": "engine", "reason": "a test"});
    service.post("/v1/admin/withdrawals", &taken_back).expect(202);
    let output = service.stop();
    assert_eq!(output.code, 0);
    for secret in [person, "860101", "secret-", &operator[20..], &submitter[20..]] {
        assert!(!output.stderr.contains(secret), "{secret} stands in the log");
        assert!(!output.stdout.contains(secret), "{secret} stands in the output");
    }
}
