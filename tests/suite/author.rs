//! What a workflow author writes, from outside: the author's own binary with a stage between
//! scoring and valuation, and with one that misbehaves on demand among neighbours that do not.

use gristmill_tests::{
    DataDir, Gristmill, Manifest, Output, assert_audited, repository, run_arguments,
};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const CONFIG: &str = "--config=gristmill.toml";
/// A process that was aborted, as a shell says it (SIGABRT).
const ABORTED: i32 = 128 + 6;
/// An item that ends the process is quarantined the third time; one more start shows the rest.
const STARTS_MAX: usize = 5;
const NEIGHBOURS: usize = 20;

fn folder() -> PathBuf {
    repository().join("tests/author")
}

/// The author's binary, in the folder of its configuration.
fn author() -> Gristmill {
    Gristmill::binary("gristmill-author").in_folder(&folder())
}

fn run(gristmill: &Gristmill, dir: &DataDir, manifest: &Path) -> Output {
    gristmill.run(run_arguments(dir, manifest).into_iter().chain([CONFIG.to_owned()]))
}

fn show(dir: &DataDir, id: &str) -> Value {
    author().run(["show", id, &dir.flag(), CONFIG, "--output=json"]).expect(0).json()
}

/// Contributions to the trial program, one a person, with neighbours between and after them.
fn trial(keys: &[&str]) -> Manifest {
    let mut manifest = Manifest::of(&folder().join("programs"), "trial");
    let mut add = |key: &str| {
        manifest.consent(&format!("person-{key}"), &format!("grant-{key}"));
        manifest.contribution(&format!("person-{key}"), key);
    };
    for number in 0..NEIGHBOURS.max(keys.len()) {
        add(&format!("fine-{number}"));
        if let Some(key) = keys.get(number) {
            add(key);
        }
    }
    manifest
}

fn assert_neighbours_settled(dir: &DataDir) {
    let report = dir.report();
    let fine = report.journeys.iter().filter(|row| row.idempotency_key.starts_with("fine-"));
    let states: Vec<&str> = fine.map(|row| row.state.as_str()).collect();
    assert!(states.len() >= NEIGHBOURS && states.iter().all(|state| *state == "settled"));
}

#[test]
fn a_stage_between_scoring_and_valuation_is_run_and_seen() {
    let dir = DataDir::new();
    let example = repository().join("workflows/examples/seoul.ndjson");
    drop(run(&author(), &dir, &example).expect(0));
    let report = dir.report();
    assert_eq!((report.total("settled"), report.total("rejected")), (27, 6));
    let shown = show(&dir, &report.journey("kr-0001-01").id);
    assert_eq!(shown["workflow_version"]["version"], 2);
    let outputs = shown["outputs"].as_array().expect("outputs are a list");
    let stages: Vec<&str> = outputs.iter().filter_map(|output| output["stage"].as_str()).collect();
    assert_eq!(stages, ["scoring", "fraud_check"]);
    assert_eq!(outputs[1]["output"]["risk"], 0);
    assert_audited(&Gristmill::command(), &dir, None);
}

#[test]
fn a_stage_of_an_author_rejects_in_its_own_name() {
    let dir = DataDir::new();
    let mut manifest = Manifest::new("seoul");
    manifest.consent("kr-1", "g1");
    manifest.media("kr-1", "fraud-1", "street-photo", "image", "media/photo-01.jpg");
    manifest.media("kr-1", "honest-1", "street-photo", "image", "media/photo-02.jpg");
    // Refused content is free again for whoever hands it in honestly.
    manifest.media("kr-1", "honest-2", "street-photo", "image", "media/photo-01.jpg");
    let path = dir.write("m.ndjson", manifest.as_bytes());
    let root = format!("--media-root={}", repository().join("workflows/examples").display());
    let arguments = run_arguments(&dir, &path).into_iter().chain([CONFIG.to_owned(), root]);
    drop(author().run(arguments).expect(0));
    let report = dir.report();
    let refused = report.journey("fraud-1");
    assert_eq!(refused.state, "rejected");
    assert_eq!(refused.reason.as_deref(), Some("fraud_check_known_pattern"));
    assert_eq!((refused.stage.as_deref(), &refused.amount), (Some("fraud_check"), &None));
    assert_eq!(report.journey("honest-1").state, "settled");
    assert_eq!(report.journey("honest-2").state, "settled");
}

/// The author's folder with trouble between the claim of content and the fraud check.
fn troubled_after_the_claim(outside: &DataDir) -> PathBuf {
    let copy = outside.outside().join("author");
    for name in ["programs/seoul.toml", "programs/trial.toml", "workflows/trial.toml"] {
        write(&copy.join(name), &fs::read_to_string(folder().join(name)).unwrap());
    }
    write(
        &copy.join("gristmill.toml"),
        &fs::read_to_string(folder().join("gristmill.toml")).unwrap(),
    );
    let workflow = fs::read_to_string(folder().join("workflows/contribution.toml")).unwrap();
    let altered = workflow.replacen("\"fraud_check\",", "\"trouble\", \"fraud_check\",", 1);
    assert_ne!(altered, workflow);
    write(&copy.join("workflows/contribution.toml"), &altered);
    copy
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn a_copy_of_what_stands_waits_for_it_without_keeping_the_run_busy() {
    let dir = DataDir::new();
    let troubled = Gristmill::binary("gristmill-author").in_folder(&troubled_after_the_claim(&dir));
    let root = format!("--media-root={}", repository().join("workflows/examples").display());
    let run = |gristmill: &Gristmill, path: &Path| {
        let more = [CONFIG.to_owned(), root.clone()];
        gristmill.run(run_arguments(&dir, path).into_iter().chain(more))
    };
    let mut manifest = Manifest::new("seoul");
    manifest.consent("kr-1", "g1");
    manifest.media("kr-1", "permanent-1", "street-photo", "image", "media/photo-01.jpg");
    drop(run(&troubled, &dir.write("first.ndjson", manifest.as_bytes())).expect(3));
    manifest.consent("kr-2", "g2");
    manifest.media("kr-2", "copy-1", "street-photo", "image", "media/photo-01.jpg");
    let path = dir.write("m.ndjson", manifest.as_bytes());
    drop(run(&troubled, &path).expect(3));
    let report = dir.report();
    assert_eq!(report.journey("permanent-1").state, "paused");
    assert_eq!(report.journey("copy-1").state, "parked");
    let why = troubled.run(["show", &report.journey("copy-1").id, &dir.flag(), CONFIG]).expect(0);
    assert!(why.stdout.contains("claimed by another"), "{}", why.stdout);
    let mended = troubled.env("TROUBLE_MENDED", "1");
    drop(mended.run(["quarantine", "retry", "--all", &dir.flag(), CONFIG]).expect(0));
    drop(run(&mended, &path).expect(0));
    let report = dir.report();
    assert_eq!(report.journey("permanent-1").state, "settled");
    assert_eq!(report.journey("copy-1").reason.as_deref(), Some("duplicate"));
}

#[test]
fn trouble_of_every_kind_is_contained_and_named() {
    let dir = DataDir::new();
    let cases = [
        ("retry-1", "settled", None, None),
        ("park-1", "settled", None, None),
        ("exhaust-1", "paused", Some("exhausted"), None),
        ("permanent-1", "paused", Some("permanent"), None),
        ("hang-1", "paused", Some("exhausted"), None),
        ("panic-1", "paused", Some("panic"), None),
        ("signal-1", "parked", Some("signal"), None),
        ("reject-1", "rejected", None, Some("trouble_unwanted")),
    ];
    let keys: Vec<&str> = cases.iter().map(|(key, ..)| *key).collect();
    let manifest = dir.write("m.ndjson", trial(&keys).as_bytes());
    let output = run(&author(), &dir, &manifest).expect(3);
    let report = dir.report();
    for (key, state, cause, reason) in cases {
        let row = report.journey(key);
        let found = (row.state.as_str(), row.cause.as_deref(), row.reason.as_deref());
        assert_eq!(found, (state, cause, reason), "{key}\n{}", output.stdout);
        if state != "settled" {
            assert_eq!(row.stage.as_deref(), Some("trouble"), "{key}");
        }
    }
    assert_eq!(report.journey("exhaust-1").attempts, 3);
    assert_neighbours_settled(&dir);
    let shown = show(&dir, &report.journey("panic-1").id);
    let why = shown["why"].as_str().expect("a sentence");
    assert!(why.contains("trouble was asked for"), "{why}");
    let list = ["quarantine", "list", &dir.flag(), CONFIG, "--output=json"];
    let quarantined = author().run(list).expect(0).json();
    assert_eq!(quarantined.as_array().map(Vec::len), Some(4));
    let only = ["quarantine", "reject", "--cause=panic", &dir.flag(), CONFIG, "--output=json"];
    let counted = author().run(only.into_iter().chain(["--dry-run"])).expect(0).json();
    assert_eq!((&counted["count"], &counted["dry_run"]), (&json!(1), &json!(true)), "{counted}");
    let told = author().run(only.into_iter().chain(["--reason=a test"])).expect(0).json();
    assert_eq!(told["journeys"][0]["state"], "rejected", "{told}");
    assert_eq!(told["told"], json!([report.journey("panic-1").id]));
    let unknown = ["retry", &report.journey("park-1").id, &dir.flag(), CONFIG, "--output=json"];
    let refused = author().run(unknown).expect(1).json();
    assert_eq!(refused["failed"][0]["problem"]["code"], "not_paused", "{refused}");
}

#[test]
fn what_was_quarantined_settles_once_it_is_mended_and_retried() {
    let dir = DataDir::new();
    let keys = ["exhaust-1", "permanent-1", "panic-1"];
    let manifest = dir.write("m.ndjson", trial(&keys).as_bytes());
    drop(run(&author(), &dir, &manifest).expect(3));
    let retry = ["quarantine", "retry", "--all", &dir.flag(), CONFIG];
    // Not mended: it stands again, for the same causes.
    drop(author().run(retry).expect(3));
    drop(author().env("TROUBLE_MENDED", "1").run(retry).expect(0));
    drop(run(&author(), &dir, &manifest).expect(0));
    let report = dir.report();
    assert_eq!(report.total("settled"), report.journeys.len() as u64);
    assert_audited(&Gristmill::command(), &dir, None);
}

#[test]
fn an_item_that_ends_the_process_is_quarantined_and_all_others_settle() {
    let dir = DataDir::new();
    let manifest = dir.write("m.ndjson", trial(&["crash-1"]).as_bytes());
    let mut codes = Vec::new();
    for _ in 0..STARTS_MAX {
        codes.push(run(&author(), &dir, &manifest).code);
        if codes.last() != Some(&ABORTED) {
            break;
        }
    }
    assert_eq!((codes[0], codes.last()), (ABORTED, Some(&3)), "{codes:?}");
    let report = dir.report();
    let poison = report.journey("crash-1");
    assert_eq!(poison.state, "paused");
    assert_eq!(poison.cause.as_deref(), Some("killed_node"));
    assert_neighbours_settled(&dir);
    assert_eq!((report.total("paused"), report.repeated_lines.len()), (1, 0));
    let retry = ["quarantine", "retry", "--cause=killed_node", &dir.flag(), CONFIG];
    drop(author().env("TROUBLE_MENDED", "1").run(retry).expect(0));
}
