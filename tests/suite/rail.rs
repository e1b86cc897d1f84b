//! A rail that loses replies, stumbles, pays twice what it is asked twice, is down, or refuses:
//! every payout moves money exactly once.

use gristmill_tests::{
    DataDir, Gristmill, Journey, Manifest, Process, Random, Report, assert_audited,
    assert_log_verified, assert_paid_as_reported, free_port, paid_once, poll_until, run_arguments,
};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Waits add up where a request of two fails, and each comes out longer the more often it did.
const FAULTY: Duration = Duration::from_secs(300);
const START: Duration = Duration::from_secs(20);
/// What one contribution earns with the engine program: the score 8,000 pays ten won.
const MINOR: u64 = 10;

/// A running `gristmill sandbox-rail`.
pub struct Rail {
    process: Process,
    pub url: String,
    book: PathBuf,
}

impl Rail {
    pub fn start(book: &Path, faults: &str) -> Self {
        Self::listen("127.0.0.1:0", book, faults)
    }

    fn listen(address: &str, book: &Path, faults: &str) -> Self {
        let arguments = [
            "sandbox-rail".to_owned(),
            format!("--listen={address}"),
            format!("--book={}", book.display()),
            format!("--fault={faults}"),
        ];
        let mut process = Gristmill::command().spawn(arguments);
        let line: Value = serde_json::from_str(&process.first_line(START)).unwrap();
        let url = line["listening"].as_str().unwrap().to_owned();
        Self { process, url, book: book.to_owned() }
    }

    fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    /// Replaces the faults.
    pub fn faults(&self, faults: &Value) {
        let body = faults.to_string();
        let mut stream = TcpStream::connect(self.address()).unwrap();
        let length = body.len();
        write!(
            stream,
            "PUT /v1/faults HTTP/1.1\r\nHost: rail\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
    }
}

fn rail_arguments(dir: &DataDir, manifest: &Path, url: &str) -> Vec<String> {
    let mut arguments = run_arguments(dir, manifest);
    arguments.push(format!("--rail={url}"));
    arguments
}

fn engine_manifest(dir: &DataDir, prefix: &str, count: usize) -> PathBuf {
    let manifest = Manifest::engine(prefix, count, count.div_ceil(5));
    dir.write("manifest.ndjson", manifest.as_bytes())
}

/// All settled at the first attempt, paid once, and everything else that must hold.
fn assert_settled_once(dir: &DataDir, rail: &Rail, count: usize) -> Report {
    let report = dir.report();
    assert_eq!(report.total("settled"), count as u64, "{:?}", report.totals);
    for journey in &report.journeys {
        let minor: Vec<u64> = journey.payouts.iter().map(|payout| payout.minor).collect();
        assert_eq!(minor, [MINOR], "{journey:?}");
    }
    let gristmill = Gristmill::command();
    let _log = assert_log_verified(&gristmill, dir);
    let _verdict = assert_audited(&gristmill, dir, Some(&rail.url));
    assert_paid_as_reported(&report, &rail.book);
    assert_eq!(report.money["KRW"]["paid"], (count as u64 * MINOR * 1_000_000) as i64);
    assert_eq!(report.money["KRW"]["in_flight"], 0);
    report
}

fn assert_first_attempts(report: &Report) {
    let more: Vec<&Journey> =
        report.journeys.iter().filter(|journey| journey.attempts != 1).collect();
    assert!(more.is_empty(), "attempts were burnt: {more:#?}");
}

#[test]
fn over_a_rail_with_every_fault_but_refusal_all_is_paid_exactly_once() {
    for (faults, count) in [
        ("lost_reply=0.3", 300),
        ("http_500=0.3,http_429=0.3", 300),
        ("duplicate=0.3,slow_ms=50", 300),
        ("late_apply=0.3", 300),
        ("lost_reply=0.1,http_500=0.1,http_429=0.1,slow_ms=20,duplicate=0.1,late_apply=0.1", 600),
    ] {
        let dir = DataDir::new();
        let manifest = engine_manifest(&dir, "fault", count);
        let rail = Rail::start(&dir.outside().join("book"), faults);
        let start = Instant::now();
        let run = Gristmill::command().deadline(FAULTY);
        let _settled = run.run(rail_arguments(&dir, &manifest, &rail.url)).expect(0);
        eprintln!("{faults}: {count} settled in {:?}", start.elapsed());
        let report = assert_settled_once(&dir, &rail, count);
        assert_first_attempts(&report);
        let _again = Gristmill::command().run(rail_arguments(&dir, &manifest, &rail.url)).expect(0);
        assert_eq!(dir.report(), report, "{faults}");
        assert_eq!(paid_once(&rail.book).len(), count, "{faults}");
    }
}

#[test]
fn while_the_rail_is_down_payouts_wait_and_no_attempt_is_burnt() {
    let dir = DataDir::new();
    let manifest = engine_manifest(&dir, "down", 200);
    let rail = Rail::start(&dir.outside().join("book"), "down=3s@0s");
    let _settled = Gristmill::command().run(rail_arguments(&dir, &manifest, &rail.url)).expect(0);
    let report = assert_settled_once(&dir, &rail, 200);
    assert_first_attempts(&report);
}

#[test]
fn a_rail_killed_and_started_again_on_its_book_pays_the_rest_once() {
    let dir = DataDir::new();
    let count = 1000;
    let manifest = engine_manifest(&dir, "restart", count);
    let book = dir.outside().join("book");
    let address = format!("127.0.0.1:{}", free_port());
    let rail = Rail::listen(&address, &book, "slow_ms=100");
    let run = Gristmill::command().spawn(rail_arguments(&dir, &manifest, &rail.url));
    poll_until(Duration::from_secs(60), "a first paid payout", || {
        let text = std::fs::read_to_string(book.join("book.ndjson")).ok()?;
        (!text.is_empty()).then_some(())
    });
    let Rail { process, .. } = rail;
    let _killed = process.kill();
    let rail = Rail::listen(&address, &book, "");
    let _settled = run.wait(Duration::from_secs(110)).expect(0);
    let report = assert_settled_once(&dir, &rail, count);
    assert_first_attempts(&report);
}

#[test]
fn a_run_without_a_rail_stops_on_request_and_goes_on_when_there_is_one() {
    let dir = DataDir::new();
    let manifest = engine_manifest(&dir, "absent", 100);
    let address = format!("127.0.0.1:{}", free_port());
    let url = format!("http://{address}");
    let mut run = Gristmill::command().spawn(rail_arguments(&dir, &manifest, &url));
    poll_until(Duration::from_secs(60), "a published entry", || {
        let checkpoint = std::fs::read_to_string(dir.path().join("trace/checkpoint")).ok()?;
        let size: u64 = checkpoint.lines().nth(1)?.parse().ok()?;
        (size > 100).then_some(())
    });
    run.interrupt();
    let _interrupted = run.wait(Duration::from_secs(60)).expect(130);
    let rail = Rail::listen(&address, &dir.outside().join("book"), "");
    let _settled = Gristmill::command().run(rail_arguments(&dir, &manifest, &url)).expect(0);
    let report = assert_settled_once(&dir, &rail, 100);
    assert_first_attempts(&report);
}

#[test]
fn killed_again_and_again_while_its_rail_is_down_a_node_blames_no_journey() {
    let dir = DataDir::new();
    let manifest = engine_manifest(&dir, "again", 100);
    let address = format!("127.0.0.1:{}", free_port());
    let url = format!("http://{address}");
    for _ in 0..4 {
        let run = Gristmill::command().spawn(rail_arguments(&dir, &manifest, &url));
        poll_until(START, "accepted journeys that move", || {
            run.stderr().contains("moving 100").then_some(())
        });
        let _killed = run.kill();
    }
    let rail = Rail::listen(&address, &dir.outside().join("book"), "");
    let _settled = Gristmill::command().run(rail_arguments(&dir, &manifest, &url)).expect(0);
    let report = assert_settled_once(&dir, &rail, 100);
    assert_first_attempts(&report);
}

#[test]
fn killed_at_any_moment_over_a_rail_with_faults_a_node_pays_exactly_once() {
    let dir = DataDir::new();
    let count = 400;
    let manifest = engine_manifest(&dir, "both", count);
    let faults = "lost_reply=0.2,http_500=0.1,http_429=0.1,duplicate=0.1,late_apply=0.1,slow_ms=20";
    let rail = Rail::start(&dir.outside().join("book"), faults);
    let mut random = Random::seeded("kills over a rail with faults");
    for _ in 0..12 {
        let run = Gristmill::command().spawn(rail_arguments(&dir, &manifest, &rail.url));
        let moment = random.between(Duration::from_millis(100), Duration::from_millis(1500));
        let end = Instant::now() + moment;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            std::thread::park_timeout(left);
        }
        let _killed = run.kill();
    }
    let gristmill = Gristmill::command();
    let output = gristmill.run(rail_arguments(&dir, &manifest, &rail.url));
    if output.code == 3 {
        let paused = dir.report().journeys;
        let blamed = |journey: &&Journey| journey.cause.as_deref() == Some("killed_node");
        eprintln!("{} quarantined as killed_node", paused.iter().filter(blamed).count());
        let retry = ["quarantine", "retry", "--cause=killed_node", &dir.flag()];
        let rail_flag = format!("--rail={}", rail.url);
        let _retried = gristmill.run(retry.into_iter().chain([rail_flag.as_str()])).expect(0);
    }
    let _settled = gristmill.run(rail_arguments(&dir, &manifest, &rail.url)).expect(0);
    assert_settled_once(&dir, &rail, count);
}

#[test]
fn refused_payouts_stand_in_quarantine_and_a_retry_pays_them_as_new_payouts() {
    let dir = DataDir::new();
    let count = 100;
    let manifest = engine_manifest(&dir, "fail", count);
    let rail = Rail::start(&dir.outside().join("book"), "fail=0.2");
    let gristmill = Gristmill::command();
    let _stands = gristmill.run(rail_arguments(&dir, &manifest, &rail.url)).expect(3);
    let report = dir.report();
    let refused: Vec<&Journey> =
        report.journeys.iter().filter(|journey| journey.state == "paused").collect();
    assert!((5..50).contains(&refused.len()), "{} refused", refused.len());
    assert_eq!(report.total("settled") as usize, count - refused.len());
    for journey in &refused {
        assert_eq!(journey.cause.as_deref(), Some("permanent"), "{journey:?}");
        assert_eq!(journey.payouts.len(), 1, "{journey:?}");
        assert_eq!(journey.payouts[0].state, "failed", "{journey:?}");
    }
    let _verdict = assert_audited(&gristmill, &dir, Some(&rail.url));
    assert_paid_as_reported(&report, &rail.book);

    let list = ["quarantine", "list", &dir.flag(), "--output=json", "--limit=1000"];
    let listed = gristmill.run(list).expect(0).json();
    let mut listed: Vec<&str> =
        listed.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
    let mut expected: Vec<&str> = refused.iter().map(|journey| journey.id.as_str()).collect();
    listed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(listed, expected);

    rail.faults(&serde_json::json!({}));
    let rail_flag = format!("--rail={}", rail.url);
    let retry = ["quarantine", "retry", "--cause=permanent", &dir.flag(), &rail_flag];
    let _retried = gristmill.run(retry).expect(0);
    let _settled = gristmill.run(rail_arguments(&dir, &manifest, &rail.url)).expect(0);
    let settled = dir.report();
    assert_eq!(settled.total("settled") as usize, count, "{:?}", settled.totals);
    for journey in &refused {
        let now = settled.journey(&journey.idempotency_key);
        let states: Vec<&str> = now.payouts.iter().map(|payout| payout.state.as_str()).collect();
        assert_eq!(states, ["failed", "paid"], "{now:?}");
        assert_ne!(now.payouts[0].id, now.payouts[1].id);
        assert_eq!(now.payouts[0].id, journey.payouts[0].id);
    }
    let _verdict = assert_audited(&gristmill, &dir, Some(&rail.url));
    let _log = assert_log_verified(&gristmill, &dir);
    assert_paid_as_reported(&settled, &rail.book);
    assert_eq!(paid_once(&rail.book).len(), count);
}
