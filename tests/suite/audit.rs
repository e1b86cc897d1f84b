//! The audit finds: copies of a settled data directory are damaged in one way each, and the verdict
//! names what was damaged and nothing else.

use gristmill_tests::{
    DataDir, Gristmill, Journey, Manifest, assert_audited, built, run_arguments,
};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const COUNT: usize = 40;

/// A settled data directory whose log was published twice.
fn settled() -> DataDir {
    let dir = DataDir::new();
    let mut manifest = Manifest::engine("found", COUNT, 8);
    for part in ["first.ndjson", "second.ndjson"] {
        let path = dir.write(part, manifest.as_bytes());
        let _settled = Gristmill::command().run(run_arguments(&dir, &path)).expect(0);
        manifest.contribution("found-p0", "found-late");
    }
    let _verdict = assert_audited(&Gristmill::command(), &dir, None);
    dir
}

/// Damages a copy, audits it, and returns what the verdict lists: invariant and id.
fn found(dir: &DataDir, damage: impl FnOnce(&Path)) -> Vec<(String, String)> {
    let copy = dir.copied();
    damage(&copy.path());
    let audit = ["audit", &copy.flag(), "--output=json"];
    let verdict = Gristmill::command().run(audit).expect(1).json();
    assert_eq!(verdict["ok"], false);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut found = Vec::new();
    for check in verdict["checks"].as_array().unwrap() {
        let ids = check["violations"].as_array().unwrap();
        found.extend(ids.iter().map(|id| (text(&check["invariant"]), text(id))));
    }
    found
}

fn of(invariant: &str, id: impl Into<String>) -> Vec<(String, String)> {
    vec![(invariant.to_owned(), id.into())]
}

fn damage_store(data: &Path, damage: &[&str]) {
    let mut command = Command::new(built("examples/damage_store"));
    let output = command.arg(data).args(damage).output().unwrap();
    assert!(output.status.success(), "{damage:?}: {output:?}");
}

/// A journey in the middle of the manifest that was paid.
fn paid(dir: &DataDir) -> Journey {
    let report = dir.report();
    let mut paid = report.journeys.into_iter().skip(COUNT / 2);
    paid.find(|journey| journey.payouts.iter().any(|payout| payout.state == "paid")).unwrap()
}

fn rewrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// The lines of the rail's book, those with a payout changed.
fn rewrite_book(data: &Path, payout: &str, change: impl Fn(&str) -> String) {
    rewrite(&data.join("rail/book.ndjson"), |bytes| {
        let text = std::str::from_utf8(bytes).unwrap();
        let line = |line: &str| match line.contains(payout) {
            true => change(line),
            false => format!("{line}\n"),
        };
        *bytes = text.lines().map(line).collect::<String>().into_bytes();
    });
}

/// The one file with the longest content below a folder of the log.
fn largest(folder: &Path) -> PathBuf {
    let mut largest = (0, folder.to_owned());
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                largest = largest.max((fs::metadata(&path).unwrap().len(), path));
            }
        }
    }
    largest.1
}

/// The path of a file of the log as the audit tells it.
fn told(data: &Path, path: &Path) -> String {
    path.strip_prefix(data.join("trace")).unwrap().display().to_string()
}

#[test]
fn a_lost_journey_is_told_by_its_id_and_without_a_report_by_what_names_it() {
    let dir = settled();
    let journey = paid(&dir);
    let lost = |data: &Path| damage_store(data, &["drop", &journey.id]);
    assert_eq!(found(&dir, lost), of("I1", &journey.id));
    let unreported = found(&dir, |data| {
        lost(data);
        fs::remove_file(data.join("report.json")).unwrap();
    });
    let entry = journey.trace_index.unwrap().to_string();
    let payout = &journey.payouts[0];
    for left in [("I2", &entry), ("I4", &payout.id)] {
        assert!(unreported.contains(&(left.0.to_owned(), left.1.clone())), "{unreported:?}");
    }
}

#[test]
fn a_changed_posting_or_price_is_told_by_its_contribution() {
    let dir = settled();
    let id = paid(&dir).id;
    for (what, invariant) in [("posting", "I4"), ("price", "I8")] {
        let changed = found(&dir, |data| damage_store(data, &[what, &id, "1000000"]));
        assert!(changed.contains(&(invariant.to_owned(), id.clone())), "{what}: {changed:?}");
        assert!(changed.iter().all(|(_, named)| *named == id), "{what}: {changed:?}");
    }
}

#[test]
fn a_line_of_the_rails_book_too_many_too_few_or_changed_is_told_by_its_payout() {
    let dir = settled();
    let payout = &paid(&dir).payouts[0].id;
    let twice = |data: &Path| rewrite_book(data, payout, |line| format!("{line}\n{line}\n"));
    assert_eq!(found(&dir, twice), of("I3", payout));
    let gone = |data: &Path| rewrite_book(data, payout, |_| String::new());
    assert_eq!(found(&dir, gone), of("I4", payout));
    let more = |data: &Path| {
        rewrite_book(data, payout, |line| line.replace("\"minor\":", "\"minor\":1") + "\n");
    };
    assert_eq!(found(&dir, more), of("I4", payout));
}

#[test]
fn a_changed_byte_or_amount_of_the_log_is_told_by_its_path() {
    let dir = settled();
    let tile = largest(&dir.path().join("trace/tile/0"));
    let tile = told(&dir.path(), &tile);
    let flipped = |data: &Path| rewrite(&data.join("trace").join(&tile), |bytes| bytes[40] ^= 1);
    assert_eq!(found(&dir, flipped), of("I7", &tile));
    let bundle = largest(&dir.path().join("trace/tile/entries"));
    let bundle = told(&dir.path(), &bundle);
    let amount = |data: &Path| {
        rewrite(&data.join("trace").join(&bundle), |bytes| {
            let micro = b"\"micro\":";
            let at = bytes.windows(micro.len()).position(|window| window == micro).unwrap();
            let digit = &mut bytes[at + micro.len()];
            *digit = if *digit == b'9' { b'8' } else { *digit + 1 };
        });
    };
    assert_eq!(found(&dir, amount), of("I7", &bundle));
}

#[test]
fn a_checkpoint_that_shrank_is_told_by_its_size() {
    let dir = settled();
    let mut sizes: Vec<PathBuf> = fs::read_dir(dir.path().join("trace/checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    sizes.sort();
    assert!(sizes.len() > 1, "{sizes:?}");
    let older = fs::read_to_string(&sizes[0]).unwrap();
    let size = older.lines().nth(1).unwrap();
    let shrunk = |data: &Path| fs::write(data.join("trace/checkpoint"), &older).unwrap();
    assert_eq!(found(&dir, shrunk), of("I7", size));
}

#[test]
fn a_node_whose_money_does_not_add_up_refuses_to_go_on() {
    let dir = settled();
    damage_store(&dir.path(), &["home", "engine", "1000000"]);
    let book = fs::read(dir.path().join("rail/book.ndjson")).unwrap();
    let late = dir.write("late.ndjson", Manifest::engine("wrong", 200, 40).as_bytes());
    let output = Gristmill::command().run(run_arguments(&dir, &late)).expect(4);
    assert!(output.stderr.contains("I4 money adds up"), "{}", output.stderr);
    // What other shards accepted under sound balances may have been paid; the audit stays exact.
    assert!(fs::read(dir.path().join("rail/book.ndjson")).unwrap().starts_with(&book));
    let audit = Gristmill::command().run(["audit", &dir.flag(), "--output=json"]);
    assert!(matches!(audit.code, 0 | 1), "{audit:?}");
}
