//! `/metrics` of a live node against the contract's list, and against what the store has.

use crate::scrape::{PATIENCE, Scrape};
use gristmill_tests::{
    DataDir, Gristmill, Manifest, Service, assert_audited, paid_once, poll_until,
};
use serde_json::Value;
use std::collections::BTreeSet;

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";
const HISTOGRAM: &str = "histogram";

/// The contract's list: name, type, labels.
#[rustfmt::skip]
pub const CONTRACT: [(&str, &str, &[&str]); 26] = [
    ("journeys", GAUGE, &["state"]),
    ("journeys_finished_total", COUNTER, &["workflow", "outcome"]),
    ("journey_seconds", HISTOGRAM, &["workflow", "outcome"]),
    ("stage_attempts_total", COUNTER, &["stage", "result"]),
    ("stage_wait_seconds", HISTOGRAM, &["stage"]),
    ("stage_run_seconds", HISTOGRAM, &["stage"]),
    ("stage_oldest_timestamp_seconds", GAUGE, &["stage"]),
    ("wait_seconds_total", COUNTER, &["stage", "cause"]),
    ("stage_paused", GAUGE, &["stage"]),
    ("circuit_open", GAUGE, &["stage"]),
    ("quarantined", GAUGE, &["stage", "cause"]),
    ("actor_restarts_total", COUNTER, &["kind", "reason"]),
    ("commit_seconds", HISTOGRAM, &[]),
    ("commit_items", HISTOGRAM, &[]),
    ("store_errors_total", COUNTER, &["op", "kind"]),
    ("fenced_writes_total", COUNTER, &[]),
    ("shards_owned", GAUGE, &[]),
    ("trace_entries", GAUGE, &["which"]),
    ("trace_published_timestamp_seconds", GAUGE, &[]),
    ("payouts_total", COUNTER, &["rail", "result"]),
    ("payouts_unknown", GAUGE, &["rail"]),
    ("money_micro", GAUGE, &["currency", "account"]),
    ("withdrawals_total", COUNTER, &["phase"]),
    ("admission_refused_total", COUNTER, &["reason"]),
    ("invariant_violations_total", COUNTER, &["invariant"]),
    ("build_info", GAUGE, &["version"]),
];

const STAGES: [&str; 6] = ["consent", "scoring", "fixed_score", "valuation", "trace", "payout"];

/// Words that a label takes; every one stands from the start.
#[rustfmt::skip]
const WORDS: [(&str, &str, &[&str]); 13] = [
    ("journeys", "state",
        &["queued", "moving", "parked", "paused", "settled", "rejected", "withdrawn"]),
    ("journeys_finished_total", "outcome", &["settled", "rejected", "withdrawn"]),
    ("journeys_finished_total", "workflow", &["contribution", "engine", "unknown"]),
    ("stage_attempts_total", "result", &["done", "rejected", "parked", "retryable", "permanent",
        "unavailable", "timeout", "panic"]),
    ("wait_seconds_total", "cause", &["timer", "signal", "budget", "content_claim", "backoff",
        "slots", "rate", "circuit", "stage_paused", "shard_moving", "store"]),
    ("quarantined", "cause",
        &["exhausted", "permanent", "panic", "killed_node", "rail_window_expired"]),
    ("trace_entries", "which", &["sequenced", "published"]),
    ("payouts_total", "result", &["paid", "failed", "differs", "expired", "unavailable"]),
    ("money_micro", "account", &["deposits", "home", "transit", "allotment", "reserved", "carry",
        "payable", "in_flight", "paid", "suspense"]),
    ("withdrawals_total", "phase", &["begun", "done"]),
    ("admission_refused_total", "reason",
        &["inbox_full", "busy", "draining", "store_unavailable"]),
    ("store_errors_total", "kind", &["fenced", "unavailable", "ambiguous", "damaged", "failed"]),
    ("invariant_violations_total", "invariant", &["I1 nothing lost", "I2 one entry",
        "I3 one payment", "I4 money adds up", "I5 consent wins", "I6 fenced", "I7 append-only",
        "I8 reproducible", "I9 private", "I10 bounded", "I11 contained", "I12 visible"]),
];

/// What an idle node has that is not zero.
const LIVE: [&str; 8] = [
    "gristmill_build_info",
    "gristmill_shards_owned",
    "gristmill_money_micro",
    "gristmill_trace_published_timestamp_seconds",
    "gristmill_trace_entries",
    "gristmill_commit_seconds",
    "gristmill_commit_items",
    "gristmill_wait_seconds_total",
];

fn words_of(scrape: &Scrape, family: &str, label: &str) -> BTreeSet<String> {
    let samples = &scrape.families[&format!("gristmill_{family}")].samples;
    samples.iter().map(|sample| sample.labels[label].clone()).collect()
}

fn words<'a>(all: impl IntoIterator<Item = &'a &'a str>) -> BTreeSet<String> {
    all.into_iter().map(|word| (*word).to_owned()).collect()
}

/// Names, types and labels; what differs is in the message.
fn assert_is_the_list(scrape: &Scrape) {
    let names = CONTRACT.iter().map(|(name, ..)| format!("gristmill_{name}"));
    let names: BTreeSet<String> = names.collect();
    assert_eq!(scrape.families.keys().cloned().collect::<BTreeSet<_>>(), names);
    for (name, kind, labels) in &CONTRACT {
        let family = &scrape.families[&format!("gristmill_{name}")];
        assert_eq!(&family.kind, kind, "{name}");
        assert!(!family.help.is_empty() && !family.samples.is_empty(), "{name}");
        assert_eq!(*kind == COUNTER, name.ends_with("_total"), "{name}");
        for sample in &family.samples {
            let own = sample.labels.keys().filter(|label| *label != "le").cloned();
            assert_eq!(own.collect::<BTreeSet<_>>(), words(*labels), "{sample:?}");
        }
    }
    for (name, label, all) in WORDS {
        assert_eq!(words_of(scrape, name, label), words(all), "{name}");
    }
    let stages = STAGES.iter();
    for name in ["stage_attempts_total", "stage_run_seconds", "wait_seconds_total", "quarantined"] {
        assert_eq!(words_of(scrape, name, "stage"), words(stages.clone()), "{name}");
    }
    let attempts = scrape.families["gristmill_stage_attempts_total"].samples.len();
    assert_eq!(attempts, STAGES.len() * 8, "every stage with every result");
}

#[test]
fn metrics_are_the_contracts_list_and_begin_at_zero() {
    let dir = DataDir::new();
    let service = Service::start(&dir);
    let scrape = Scrape::of(&service);
    assert_is_the_list(&scrape);
    for (name, family) in scrape.families.iter().filter(|(name, _)| !LIVE.contains(&name.as_str()))
    {
        for sample in &family.samples {
            assert_eq!(sample.value, 0.0, "{name} {sample:?}");
        }
    }
    let version = words_of(&scrape, "build_info", "version");
    assert_eq!(version, words(&[env!("CARGO_PKG_VERSION")]));
    // A later survey shows the shards, and the budgets that were deposited.
    let surveyed = poll_until(PATIENCE, "a survey", || {
        let scrape = Scrape::of(&service);
        (scrape.sum("gristmill_money_micro", &[("account", "home")]) > 0.0).then_some(scrape)
    });
    assert!(surveyed.sum("gristmill_shards_owned", &[]) > 0.0);
    assert_eq!(surveyed.sum("gristmill_money_micro", &[]), 0.0, "every currency adds up");
    let _ended = service.stop().expect(0);
}

/// Thirty people: some withdraw before, one never consents; `count` contributions.
fn manifest(count: usize) -> Manifest {
    let mut manifest = Manifest::engine("watched", count, 30);
    manifest.contribution("stranger-without-consent", "watched-stranger");
    manifest.withdraw("watched-p0");
    manifest
}

/// The `key` of the listing of a data directory without a node, for one state.
fn listed(dir: &DataDir, state: &str) -> usize {
    let arguments =
        ["list", &dir.flag(), "--output=json", "--limit=100000", &format!("--state={state}")];
    let rows = Gristmill::command().run(arguments).expect(0).json();
    rows.as_array().map_or_else(|| rows["items"].as_array().unwrap().len(), Vec::len)
}

#[test]
fn counters_agree_with_the_store_the_log_and_the_rails_book() {
    let dir = DataDir::new();
    let service = Service::start(&dir);
    let before = poll_until(PATIENCE, "a survey", || {
        let scrape = Scrape::of(&service);
        (scrape.sum("gristmill_shards_owned", &[]) > 0.0).then_some(scrape)
    });
    let count = 600;
    service.hand_in_all(manifest(count).as_bytes());
    let all = count as f64 + 1.0;
    let settled = poll_until(PATIENCE, "every journey to end and a survey to see it", || {
        let scrape = Scrape::of(&service);
        let ended = scrape.sum("gristmill_journeys_finished_total", &[]);
        let state = |state| scrape.sum("gristmill_journeys", &[("state", state)]);
        let seen = state("settled") + state("rejected") + state("withdrawn");
        let entries = |which| scrape.sum("gristmill_trace_entries", &[("which", which)]);
        let published = entries("published") == entries("sequenced");
        let walked = scrape.sum("gristmill_withdrawals_total", &[("phase", "done")]) > 0.0;
        (ended == all && seen == all && published && walked).then_some(scrape)
    });
    assert_is_the_list(&settled);
    assert_eq!(settled.series(), before.series(), "series do not grow with people");
    let text = format!("{settled:?}");
    assert!(!text.contains("watched-") && !text.contains("stranger"), "a person's name");
    let sum =
        |name: &str, labels: &[(&str, &str)]| settled.sum(&format!("gristmill_{name}"), labels);
    assert_eq!(sum("invariant_violations_total", &[]), 0.0);
    assert_eq!(sum("store_errors_total", &[]), 0.0);
    assert_eq!(sum("journeys", &[]), all);
    assert!(sum("stage_attempts_total", &[("stage", "consent"), ("result", "done")]) >= 500.0);
    assert!(sum("commit_seconds_count", &[]) > 0.0);
    assert_eq!(sum("commit_seconds_count", &[]), sum("commit_items_count", &[]));
    assert_eq!(sum("journey_seconds_count", &[]), all);
    let _ended = service.stop().expect(0);
    let _verdict = assert_audited(&Gristmill::command(), &dir, None);
    for outcome in ["settled", "rejected", "withdrawn"] {
        let counted = sum("journeys_finished_total", &[("outcome", outcome)]);
        assert_eq!(counted, listed(&dir, outcome) as f64, "{outcome}");
        assert_eq!(counted, sum("journeys", &[("state", outcome)]), "{outcome}");
    }
    let book = paid_once(&dir.path().join("rail"));
    assert_eq!(sum("payouts_total", &[("result", "paid")]), book.len() as f64);
    let paid: u64 = book.values().sum();
    assert_eq!(sum("money_micro", &[("account", "paid")]), paid as f64 * 1_000_000.0);
    let checkpoint = std::fs::read_to_string(dir.path().join("trace/checkpoint")).unwrap();
    let size: f64 = checkpoint.lines().nth(1).unwrap().parse().unwrap();
    assert_eq!(sum("trace_entries", &[("which", "published")]), size);
}

#[test]
fn what_the_rail_refuses_is_seen_where_it_stands() {
    let dir = DataDir::new();
    let book = format!("--book={}", dir.outside().join("book").display());
    let arguments = ["sandbox-rail", "--listen=127.0.0.1:0", &book, "--fault=fail=1"];
    let mut rail = Gristmill::command().spawn(arguments);
    let line: Value = serde_json::from_str(&rail.first_line(PATIENCE)).unwrap();
    let service = Service::start_with(
        &Gristmill::command(),
        &dir,
        &["--rail", line["listening"].as_str().unwrap()],
    );
    let count = 20;
    service.hand_in_all(Manifest::engine("refused", count, 4).as_bytes());
    let seen = poll_until(PATIENCE, "the quarantine to be surveyed", || {
        let scrape = Scrape::of(&service);
        (scrape.sum("gristmill_quarantined", &[]) == count as f64).then_some(scrape)
    });
    let at_payout = [("stage", "payout"), ("cause", "permanent")];
    assert_eq!(seen.sum("gristmill_quarantined", &at_payout), count as f64);
    assert_eq!(seen.sum("gristmill_journeys", &[("state", "paused")]), count as f64);
    assert_eq!(seen.sum("gristmill_payouts_total", &[("result", "failed")]), count as f64);
    assert_eq!(seen.sum("gristmill_payouts_total", &[("result", "paid")]), 0.0);
    assert_eq!(seen.sum("gristmill_payouts_unknown", &[]), 0.0);
    // What waits for a person is no stage's backlog.
    assert_eq!(seen.sum("gristmill_stage_oldest_timestamp_seconds", &[]), 0.0);
    assert_eq!(seen.sum("gristmill_journeys_finished_total", &[]), 0.0);
    let _ended = service.stop().expect(0);
    assert_eq!(listed(&dir, "paused"), count);
}
