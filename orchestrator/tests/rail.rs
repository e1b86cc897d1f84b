//! The sandbox rail and its client over real sockets.
#![expect(clippy::unwrap_used, reason = "a step that fails here fails the test")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use gristmill::http_rail::{HttpRail, sandbox_profile};
use gristmill::sandbox_rail::faults::Faults;
use gristmill::sandbox_rail::{self, Options, Running};
use gristmill_actors::rail::{
    Answer, BookState, BoxFuture, PayoutRequest, Rail, RailError, Unavailability,
};
use gristmill_testkit::rail_conformance::{self, Fault, Subject};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

struct Sandbox {
    running: Running,
    rail: HttpRail,
    plain: Client<HttpConnector, Full<Bytes>>,
}

impl Sandbox {
    fn start(book: &Path, faults: &str) -> Self {
        let options = Options {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            book: book.to_owned(),
            faults: Faults::parse(faults).unwrap(),
            seed: 7,
        };
        let running = sandbox_rail::serve(&options).unwrap();
        let rail = HttpRail::new(&running.url(), sandbox_profile()).unwrap();
        let plain = Client::builder(TokioExecutor::new()).build_http();
        Self { running, rail, plain }
    }

    async fn send(&self, method: &str, path: &str, body: &str) -> Response<Bytes> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.running.url()))
            .body(Full::new(Bytes::from(body.to_owned())))
            .unwrap();
        let (head, body) = self.plain.request(request).await.unwrap().into_parts();
        Response::from_parts(head, body.collect().await.unwrap().to_bytes())
    }

    async fn json(&self, method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
        let answer = self.send(method, path, body).await;
        (answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap())
    }

    async fn faults(&self, faults: &str) {
        assert_eq!(self.send("PUT", "/v1/faults", faults).await.status(), 204, "{faults}");
    }

    async fn book(&self) -> Vec<(String, BookState)> {
        let lines = self.rail.book(0).await.unwrap();
        lines.into_iter().map(|line| (line.key, line.state)).collect()
    }
}

impl Subject for Sandbox {
    fn rail(&self) -> &dyn Rail {
        &self.rail
    }

    fn inject(&self, fault: Option<Fault>) -> BoxFuture<'_, ()> {
        let settings = match fault {
            None => String::new(),
            Some(Fault::LostReply) => "lost_reply=1".to_owned(),
            Some(Fault::ServerError) => "http_500=1".to_owned(),
            Some(Fault::TooManyRequests) => "http_429=1".to_owned(),
            Some(Fault::LateApply) => "late_apply=1".to_owned(),
            Some(Fault::Duplicate) => "duplicate=1".to_owned(),
            Some(Fault::ConfirmedFailure) => "fail=1".to_owned(),
            Some(Fault::ForgottenKeys) => "forget_keys_after=0ms".to_owned(),
            Some(Fault::Down(lasts)) => format!("down={}ms@0s", lasts.as_millis()),
        };
        Box::pin(async move { self.faults(&settings).await })
    }
}

fn request(key: &str) -> PayoutRequest {
    let (account, currency) = ("a".to_owned(), "KRW".to_owned());
    PayoutRequest { key: key.to_owned(), account, currency, minor: 5 }
}

const BODY: &str = r#"{"account":"a","currency":"KRW","minor":5}"#;

#[tokio::test]
async fn the_sandbox_rail_over_http_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(dir.path(), "");
    rail_conformance::check_all(&sandbox).await;
    sandbox.running.stop().unwrap();
}

#[tokio::test]
async fn single_payouts_answer_as_the_contract_says() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(dir.path(), "");
    assert_eq!(sandbox.json("GET", "/v1/payouts/k%2F1", "").await.0, 404);
    let (status, body) = sandbox.json("PUT", "/v1/payouts/k%2F1", BODY).await;
    assert_eq!(status, 201);
    assert_eq!(body["state"], "paid");
    assert_eq!(body["key"], "k/1");
    assert_eq!(sandbox.json("PUT", "/v1/payouts/k%2F1", BODY).await.0, 200);
    let other = BODY.replace('5', "6");
    let (status, problem) = sandbox.json("PUT", "/v1/payouts/k%2F1", &other).await;
    assert_eq!((status, &problem["code"]), (409, &"idempotency_key_reused".into()));
    let (status, body) = sandbox.json("GET", "/v1/payouts/k%2F1", "").await;
    assert_eq!((status, &body["state"]), (200, &"paid".into()));
    assert_eq!(sandbox.book().await, [("k/1".to_owned(), BookState::Paid)]);
}

#[tokio::test]
async fn bad_requests_are_problems_that_name_the_place_and_apply_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(dir.path(), "");
    let line = r#"{"key":"k","account":"a","currency":"KRW","minor":5}"#;
    let many = format!("{line}\n").repeat(1_001);
    let large = "x".repeat(2 * 1024 * 1024 + 1);
    let long_key = format!("/v1/payouts/{}", "k".repeat(301));
    let put = "/v1/payouts/k";
    let batch = "/v1/payouts:batch";
    for (method, path, body, status, code) in [
        ("PUT", put, "{", 400, "malformed_json"),
        ("PUT", put, r#"{"account":"a","currency":"KRW","minor":5,"x":1}"#, 400, "malformed_json"),
        ("PUT", put, r#"{"account":"a","currency":"KRW"}"#, 400, "malformed_json"),
        ("PUT", put, r#"{"account":"a","currency":"KRW","minor":5.0}"#, 400, "malformed_json"),
        ("PUT", put, r#"{"account":"","currency":"KRW","minor":5}"#, 400, "invalid_account"),
        ("PUT", put, r#"{"account":"a","currency":"krw","minor":5}"#, 400, "invalid_currency"),
        ("PUT", put, r#"{"account":"a","currency":"KRW","minor":0}"#, 400, "invalid_minor"),
        ("PUT", &long_key, BODY, 400, "invalid_key"),
        ("PUT", "/v1/payouts/%ff", BODY, 400, "invalid_key"),
        ("PUT", put, &large, 413, "body_too_large"),
        ("DELETE", put, "", 405, "method_not_allowed"),
        ("GET", "/v1", "", 404, "no_such_path"),
        ("POST", batch, "", 400, "malformed_json"),
        ("POST", batch, &many, 400, "too_many_lines"),
        ("GET", "/v1/book?after=x", "", 400, "invalid_query"),
        ("PUT", "/v1/faults", "fail=2", 400, "invalid_fault"),
    ] {
        let (found, problem) = sandbox.json(method, path, body).await;
        assert_eq!((found, &problem["code"]), (status, &code.into()), "{method} {path} {problem}");
    }
    let second = format!("{line}\n{{}}\n");
    let (status, problem) = sandbox.json("POST", batch, &second).await;
    assert_eq!((status, &problem["line"]), (400, &2.into()));
    assert_eq!(sandbox.book().await, []);
}

#[tokio::test]
async fn the_book_outlives_a_restart_and_what_was_pending_is_applied() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(dir.path(), "");
    let batch: Vec<PayoutRequest> =
        (0..1_000).map(|number: u32| request(&number.to_string())).collect();
    for _ in 0..2 {
        sandbox.rail.submit(batch.clone()).await.unwrap();
    }
    sandbox.faults(r#"{"late_apply": 1}"#).await;
    let late = sandbox.rail.submit(vec![request("late")]).await.unwrap();
    assert!(matches!(late[..], [Answer::Pending | Answer::Unknown]));
    let again = Options {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        book: dir.path().to_owned(),
        faults: Faults::default(),
        seed: 7,
    };
    assert!(matches!(
        sandbox_rail::serve(&again),
        Err(sandbox_rail::Error::Book(sandbox_rail::book::Error::Locked { .. }))
    ));
    sandbox.running.stop().unwrap();

    let sandbox = Sandbox::start(dir.path(), "");
    let answers = sandbox.rail.submit(batch).await.unwrap();
    assert!(answers.iter().all(|answer| *answer == Answer::Paid { minor: 5 }));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    while sandbox.rail.ask(vec!["late".to_owned()]).await != Ok(vec![Answer::Paid { minor: 5 }]) {
        assert!(tokio::time::Instant::now() < deadline, "not applied after the restart");
        pace.tick().await;
    }
    let book = sandbox.book().await;
    assert_eq!(book.len(), 1_002);
    assert_eq!(
        book[1_000..],
        [("late".to_owned(), BookState::Pending), ("late".to_owned(), BookState::Paid),]
    );
    let tail = sandbox.rail.book(1_000).await.unwrap();
    assert_eq!(tail.iter().map(|line| line.seq).collect::<Vec<_>>(), [1_001, 1_002]);
    sandbox.running.stop().unwrap();
    let lines = sandbox_rail::book::Lines::open(dir.path()).unwrap();
    assert_eq!(lines.map(Result::unwrap).count(), 1_002);
}

#[tokio::test]
async fn an_answer_line_comes_twice_for_a_duplicate_in_a_batch() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(dir.path(), "duplicate=1");
    let line = r#"{"key":"k","account":"a","currency":"KRW","minor":5}"#;
    let answer = sandbox.send("POST", "/v1/payouts:batch", line).await;
    let statuses: Vec<u64> = answer
        .body()
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice::<serde_json::Value>(line).unwrap())
        .map(|line| line["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [201, 200]);
    assert_eq!(sandbox.book().await.len(), 1);
    assert_eq!(sandbox.json("PUT", "/v1/payouts/single", BODY).await.0, 200);
    assert_eq!(sandbox.book().await.len(), 2);
}

#[tokio::test]
async fn faults_by_chance_are_passed_by_resending_and_strike_the_same_in_every_run() {
    let mut outcomes = Vec::new();
    for _ in 0..2 {
        let dir = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::start(dir.path(), "lost_reply=0.3,http_500=0.3,http_429=0.3");
        let mut outcome = Vec::new();
        for key in 0..30 {
            while let Err(error) = sandbox.rail.submit(vec![request(&key.to_string())]).await {
                assert!(error.is_retryable(), "{error}");
                outcome.push((key, error.is_unavailable()));
            }
        }
        assert!(outcome.len() > 20, "{outcome:?}");
        sandbox.faults("").await;
        assert_eq!(sandbox.book().await.len(), 30);
        outcomes.push(outcome);
    }
    assert_eq!(outcomes[0], outcomes[1]);
}

#[tokio::test]
async fn a_slow_rail_times_out_ambiguously_and_has_paid() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(dir.path(), "slow_ms=60000");
    let hasty = sandbox.rail.clone().with_answer_timeout(Duration::from_millis(200));
    let error = hasty.submit(vec![request("k")]).await.unwrap_err();
    assert!(error.is_ambiguous(), "{error}");
    sandbox.faults("").await;
    let asked = sandbox.rail.ask(vec!["k".to_owned()]).await;
    assert_eq!(asked, Ok(vec![Answer::Paid { minor: 5 }]));
}

#[tokio::test]
async fn a_rail_that_is_not_there_is_unavailable() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(dir.path(), "");
    sandbox.rail.submit(vec![request("k")]).await.unwrap();
    sandbox.running.stop().unwrap();
    let fresh = sandbox.rail.clone();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        let error = fresh.submit(vec![request("l")]).await.unwrap_err();
        if error.is_unavailable() {
            let cause = Unavailability::NoConnection;
            assert_eq!(error, RailError::Unavailable { cause, retry_after: None });
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{error}");
    }
    let error = fresh.ask(vec!["k".to_owned(), "l".to_owned()]).await.unwrap_err();
    assert!(error.is_unavailable());
}
