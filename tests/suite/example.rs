//! The shipped example from consent to payout: what each line comes to, the report's exact shape,
//! the receipts, the log, and the verbs that look at what a run left.

use gristmill_tests::{DataDir, Gristmill, Journey, assert_audited, repository, run_arguments};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

const REPORT: [&str; 6] =
    ["journeys", "repeated_lines", "rejected_lines", "totals", "money", "trace"];
const JOURNEY: [&str; 17] = [
    "line",
    "id",
    "contributor",
    "idempotency_key",
    "program",
    "workflow",
    "state",
    "reason",
    "cause",
    "stage",
    "attempts",
    "score",
    "amount",
    "trace_index",
    "payouts",
    "withdrawn_at",
    "receipts",
];
const ACCOUNTS: [&str; 5] = ["valued", "carry", "payable", "in_flight", "paid"];
/// Ends that are not `settled`, by idempotency key: state and reason.
const SPECIAL: [(&str, &str, Option<&str>); 7] = [
    ("kr-0003-below-floor", "rejected", Some("below_floor")),
    ("kr-0004-duplicate", "rejected", Some("duplicate")),
    ("kr-0005-corrupt", "rejected", Some("undecodable")),
    ("kr-0006-wrong-modality", "rejected", Some("wrong_modality")),
    ("kr-0010-withdrawn", "withdrawn", None),
    ("kr-0011-consent-expired", "rejected", Some("grant_expired")),
    ("kr-0012-no-consent", "rejected", Some("no_grant")),
];

fn example() -> PathBuf {
    repository().join("workflows/examples/seoul.ndjson")
}

/// A data directory in which the example was run.
fn ran() -> DataDir {
    let dir = DataDir::new();
    let output = Gristmill::command().run(run_arguments(&dir, &example())).expect(0);
    for verb in ["gristmill audit ", "gristmill trace verify ", "gristmill show "] {
        assert!(output.stdout.contains(verb), "{}", output.stdout);
    }
    dir
}

fn report_value(dir: &DataDir) -> Value {
    let bytes = fs::read(dir.path().join("report.json")).expect("a run leaves a report");
    serde_json::from_slice(&bytes).expect("the report is JSON")
}

fn keys(object: &Value) -> BTreeSet<&str> {
    let object = object.as_object().unwrap_or_else(|| panic!("not an object: {object}"));
    object.keys().map(String::as_str).collect()
}

fn settled(dir: &DataDir) -> Vec<Journey> {
    let journeys = dir.report().journeys.into_iter();
    journeys.filter(|journey| journey.state == "settled").collect()
}

#[test]
fn every_line_of_the_example_ends_as_its_key_says() {
    let dir = ran();
    let report = dir.report();
    for (key, state, reason) in SPECIAL {
        let journey = report.journey(key);
        assert_eq!((journey.state.as_str(), journey.reason.as_deref()), (state, reason), "{key}");
        assert_eq!((&journey.amount, journey.trace_index), (&None, None), "{key}");
        assert!(journey.payouts.is_empty() && journey.receipts.is_empty(), "{key}");
    }
    let special: BTreeSet<&str> = SPECIAL.iter().map(|(key, ..)| *key).collect();
    let others =
        report.journeys.iter().filter(|journey| !special.contains(&*journey.idempotency_key));
    let mut count = 0;
    for journey in others {
        let key = &journey.idempotency_key;
        assert_eq!(
            (journey.state.as_str(), &journey.reason, &journey.cause),
            ("settled", &None, &None),
            "{key}"
        );
        assert!(journey.score.is_some_and(|score| (5000..=10_000).contains(&score)), "{key}");
        assert!(journey.trace_index.is_some() && journey.payouts.len() == 1, "{key}");
        assert_eq!(journey.payouts[0].state, "paid", "{key}");
        count += 1;
    }
    assert_eq!((count, report.journeys.len()), (27, 34));
    assert_eq!((report.total("settled"), report.total("rejected")), (27, 6));
    assert_eq!(report.total("withdrawn"), 1);
    assert!(report.repeated_lines.is_empty() && report.rejected_lines.is_empty());
}

#[test]
fn the_report_has_the_fields_of_the_contract_and_no_others() {
    let dir = ran();
    let report = report_value(&dir);
    assert_eq!(keys(&report), BTreeSet::from(REPORT));
    for journey in report["journeys"].as_array().expect("journeys are a list") {
        assert_eq!(keys(journey), BTreeSet::from(JOURNEY));
        if !journey["amount"].is_null() {
            assert_eq!(keys(&journey["amount"]), BTreeSet::from(["currency", "micro"]));
        }
        for payout in journey["payouts"].as_array().expect("payouts are a list") {
            assert_eq!(keys(payout), BTreeSet::from(["id", "minor", "state", "trace_index"]));
        }
    }
    for (currency, accounts) in report["money"].as_object().expect("money is by currency") {
        assert_eq!(keys(accounts), BTreeSet::from(ACCOUNTS), "{currency}");
    }
    let trace = &report["trace"];
    assert_eq!(keys(trace), BTreeSet::from(["dir", "vkey", "origin", "size", "root"]));
    assert_eq!(trace["origin"], "gristmill.local/trace");
    let dir_of_log = dir.path().join(trace["dir"].as_str().expect("a path"));
    assert!(dir_of_log.join("checkpoint").is_file());
}

#[test]
fn money_adds_up_in_micro_won() {
    let dir = ran();
    let report = dir.report();
    let amounts = report.journeys.iter().filter_map(|journey| journey.amount.as_ref());
    assert!(amounts.clone().all(|amount| amount.currency == "KRW"));
    let valued: u64 = amounts.map(|amount| amount.micro).sum();
    let payouts = report.journeys.iter().flat_map(|journey| &journey.payouts);
    let paid: u64 = payouts.map(|payout| payout.minor * 1_000_000).sum();
    let money = &report.money["KRW"];
    assert_eq!(money["valued"], i64::try_from(valued).expect("less than 2^63"));
    assert_eq!(money["paid"], i64::try_from(paid).expect("less than 2^63"));
    let held = money["carry"] + money["payable"] + money["in_flight"] + money["paid"];
    assert_eq!(money["valued"], held);
    assert_eq!((money["payable"], money["in_flight"]), (0, 0));
}

#[test]
fn every_receipt_the_log_and_the_audit_hold() {
    let dir = ran();
    let gristmill = Gristmill::command();
    let vkey = dir.path().join("trace/vkey").display().to_string();
    for journey in settled(&dir) {
        assert_eq!(journey.receipts.len(), 2, "{}", journey.idempotency_key);
        for receipt in &journey.receipts {
            let file = dir.path().join(receipt).display().to_string();
            let check = ["receipt", "verify", &file, "--key", &vkey, "--output", "json"];
            let told = gristmill.run(check).expect(0).json();
            let index = if receipt.contains(".payout.") {
                journey.payouts[0].trace_index
            } else {
                journey.trace_index
            };
            assert_eq!(told["index"].as_u64(), index, "{told:#}");
        }
    }
    let size = dir.report().trace["size"].clone();
    let log = dir.path().join("trace").display().to_string();
    let check = ["trace", "verify", &log, "--key", &vkey, "--output", "json"];
    let verdict = gristmill.run(check).expect(0).json();
    assert_eq!((&verdict["ok"], &verdict["size"]), (&Value::Bool(true), &size));
    assert_audited(&gristmill, &dir, None);
}

#[test]
fn a_receipt_for_another_log_or_with_another_entry_fails_with_code_1() {
    let (dir, other) = (ran(), ran());
    let gristmill = Gristmill::command();
    let first = settled(&dir).remove(0);
    let file = dir.path().join(&first.receipts[0]);
    let key = |dir: &DataDir| dir.path().join("trace/vkey").display().to_string();
    let verify = |path: &std::path::Path, key: &str| {
        gristmill.run(["receipt", "verify", &path.display().to_string(), "--key", key]).code
    };
    assert_eq!(verify(&file, &key(&other)), 1);
    let text = fs::read_to_string(&file).expect("a receipt is text");
    let broken = dir.write("broken", text.replacen("index ", "index 1", 1).as_bytes());
    assert_eq!(verify(&broken, &key(&dir)), 1);
}

#[test]
fn a_second_run_gives_the_same_answers_and_report_copies_them() {
    let dir = ran();
    let before = report_value(&dir);
    let copy = dir.outside().join("copy.json");
    let flag = format!("--report={}", copy.display());
    let arguments = run_arguments(&dir, &example()).into_iter().chain([flag]);
    drop(Gristmill::command().run(arguments).expect(0));
    assert_eq!(report_value(&dir), before);
    let copied = fs::read(copy).expect("--report writes a file");
    let stored = fs::read(dir.path().join("report.json")).expect("report.json is always written");
    assert_eq!(copied, stored);
}

#[test]
fn a_strict_run_with_one_bad_line_submits_nothing() {
    let dir = DataDir::new();
    let text = fs::read_to_string(example()).expect("the example is text");
    let manifest = dir.write("m.ndjson", format!("{text}{{\"nonsense\": 1}}\n").as_bytes());
    let root = format!("--media-root={}", repository().join("workflows/examples").display());
    let arguments = run_arguments(&dir, &manifest).into_iter().chain([root]);
    let strict: Vec<String> = arguments.clone().chain(["--strict".to_owned()]).collect();
    let output = Gristmill::command().run(&strict).expect(2);
    assert!(output.stderr.contains("line 47"), "{}", output.stderr);
    let list = Gristmill::command().run(["list", &dir.flag(), "--output=json"]).expect(0).json();
    assert_eq!(list, serde_json::json!([]));
    // Without the flag the same line is one rejected line, and all others go on.
    drop(Gristmill::command().run(arguments).expect(0));
    let report = dir.report();
    assert_eq!((report.journeys.len(), report.rejected_lines.len()), (34, 1));
}

#[test]
fn show_and_list_tell_what_the_report_tells() {
    let dir = ran();
    let gristmill = Gristmill::command();
    for journey in &dir.report().journeys {
        let show = ["show", &journey.id, &dir.flag(), "--output=json"];
        let shown = gristmill.run(show).expect(0).json();
        assert_eq!(shown["id"], *journey.id);
        assert_eq!(shown["state"], *journey.state);
        assert_eq!(shown["score"].as_u64(), journey.score.map(u64::from));
        assert!(shown["timeline"].as_array().is_some_and(|events| !events.is_empty()));
        assert!(shown["why"].as_str().is_some_and(|why| !why.is_empty()));
    }
    let rejected =
        gristmill.run(["list", &dir.flag(), "--state=rejected", "--output=json"]).expect(0).json();
    assert_eq!(rejected.as_array().map(Vec::len), Some(6));
    let unknown = "c".to_owned() + &"0".repeat(36);
    assert_ne!(gristmill.run(["show", &unknown, &dir.flag()]).code, 0);
}

#[test]
fn the_configuration_and_the_workflows_of_the_binary_pass_their_checks() {
    let gristmill = Gristmill::command();
    let checked = gristmill.run(["config", "check"]).expect(0);
    assert!(checked.stdout.contains("program seoul"), "{}", checked.stdout);
    let workflows = gristmill.run(["workflow", "check"]).expect(0);
    assert!(workflows.stdout.contains("contribution version 1"), "{}", workflows.stdout);
    let printed = gristmill.run(["config", "print"]).expect(0).stdout;
    let example = fs::read_to_string(repository().join("config.example.toml")).expect("is there");
    let table = |text: &str| toml::from_str::<toml::Table>(text).expect("TOML");
    assert_eq!(table(&printed), table(&example));
    let dir = DataDir::new();
    let wrong = dir.write("wrong.toml", b"[trace]\norigins = 1\n").display().to_string();
    let refused = gristmill.run(["config", "check", "--config", &wrong]);
    assert!([1, 2].contains(&refused.code), "{}", refused.code);
    assert!(refused.stderr.contains("origins"), "{}", refused.stderr);
    let broken = dir.write("w.toml", b"name = \"w\"\nversion = 1\nstages = [\"none\"]\n");
    let refused = gristmill.run(["workflow", "check", &broken.display().to_string()]).expect(1);
    assert!(refused.stderr.contains("w.toml"), "{}", refused.stderr);
}
