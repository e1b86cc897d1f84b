//! What must hold in every data directory once no process works in it.

use crate::data_dir::DataDir;
use crate::process::{Gristmill, Output};
use crate::report::Report;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The arguments of `gristmill run` over a manifest in a data directory.
pub fn run_arguments(dir: &DataDir, manifest: &Path) -> Vec<String> {
    vec!["run".to_owned(), manifest.display().to_string(), dir.flag()]
}

/// Audits a data directory, against a running rail if one is named, and returns the verdict.
///
/// # Panics
/// When anything is violated, or there is no verdict.
pub fn assert_audited(gristmill: &Gristmill, dir: &DataDir, rail: Option<&str>) -> Value {
    let mut arguments = vec!["audit".to_owned(), dir.flag(), "--output=json".to_owned()];
    arguments.extend(rail.map(|url| format!("--rail={url}")));
    let verdict = gristmill.run(arguments).expect(0).json();
    assert_eq!(verdict["ok"], true, "{verdict:#}");
    verdict
}

/// Checks the whole public log of a data directory against the key that its report names.
///
/// # Panics
/// When the log does not hold.
pub fn assert_log_verified(gristmill: &Gristmill, dir: &DataDir) -> Output {
    let report = dir.report();
    let key = report.trace["vkey"].as_str().expect("the report names the log's key");
    let log = dir.path().join("trace").display().to_string();
    gristmill.run(["trace", "verify", &log, "--key", key]).expect(0)
}

/// Minor units by payout id that a rail's book paid.
///
/// # Panics
/// When a key was paid twice, or the book cannot be read.
pub fn paid_once(book: &Path) -> BTreeMap<String, u64> {
    let file = book.join("book.ndjson");
    let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let mut paid = BTreeMap::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        if line["state"] == "paid" {
            let key = line["key"].as_str().expect("a line has a key").to_owned();
            let minor = line["minor"].as_u64().expect("a line has an amount");
            assert!(paid.insert(key, minor).is_none(), "paid twice: {line}");
        }
    }
    paid
}

/// Holds the report's paid payouts against the rail's book: the same ids, the same amounts.
///
/// # Panics
/// When they differ.
pub fn assert_paid_as_reported(report: &Report, book: &Path) {
    let payouts = report.journeys.iter().flat_map(|journey| &journey.payouts);
    let reported: BTreeMap<String, u64> = payouts
        .filter(|payout| payout.state == "paid")
        .map(|payout| (payout.id.clone(), payout.minor))
        .collect();
    assert_eq!(reported, paid_once(book));
}
