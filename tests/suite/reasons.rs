//! Reasons of consent and of valuation, with programs of the scenario's own: what was not granted,
//! what the budget does not hold, what a day's cap cuts.

use gristmill_tests::{
    DataDir, Gristmill, Journey, Manifest, assert_audited, repository, run_arguments,
};
use serde_json::json;
use std::path::PathBuf;

const WON: u64 = 1_000_000;
/// A photo of the best quality: 400 won by 12000 basis points.
const PHOTO: u64 = 480 * WON;

/// The shipped program with another id, budget and cap of a day, in a folder of its own.
fn program(dir: &DataDir, id: &str, budget: u64, day_cap: u64) -> PathBuf {
    let shipped = repository().join("workflows/programs/seoul.toml");
    let text = std::fs::read_to_string(shipped).expect("the program is shipped");
    let mut table: toml::Table = text.parse().expect("the program is TOML");
    table.insert("id".to_owned(), id.into());
    let number = |micro: u64| toml::Value::from(i64::try_from(micro).expect("below 2^63"));
    table.insert("budget_micro".to_owned(), number(budget));
    table.insert("day_cap_micro".to_owned(), number(day_cap));
    let file = dir.write(&format!("programs/{id}.toml"), table.to_string().as_bytes());
    file.parent().expect("a file is in a folder").to_owned()
}

fn run(dir: &DataDir, manifest: &Manifest) -> Vec<Journey> {
    let path = dir.write("m.ndjson", manifest.as_bytes());
    let programs = format!("--programs={}", dir.outside().join("programs").display());
    let root = format!("--media-root={}", repository().join("workflows/examples").display());
    let arguments = run_arguments(dir, &path).into_iter().chain([programs, root]);
    drop(Gristmill::command().run(arguments).expect(0));
    dir.report().journeys
}

/// Four photos of the best quality.
fn photos(manifest: &mut Manifest, people: [&str; 4]) {
    let files = ["photo-01.jpg", "photo-02.jpg", "photo-03.jpg", "photo-04.jpg"];
    for (person, file) in people.into_iter().zip(files) {
        manifest.media(person, file, "street-photo", "image", &format!("media/{file}"));
    }
}

fn with_reason(journeys: &[Journey], reason: &str) -> usize {
    journeys.iter().filter(|row| row.reason.as_deref() == Some(reason)).count()
}

#[test]
fn a_budget_pays_what_it_holds_and_the_rest_is_told_so() {
    let dir = DataDir::new();
    let programs = program(&dir, "small", 2 * PHOTO + 1, 100 * PHOTO);
    let mut manifest = Manifest::of(&programs, "small");
    for person in ["a", "b", "c", "d"] {
        manifest.consent(person, "g");
    }
    photos(&mut manifest, ["a", "b", "c", "d"]);
    let journeys = run(&dir, &manifest);
    assert_eq!(with_reason(&journeys, "budget_exhausted"), 2);
    assert_eq!(dir.report().total("settled"), 2);
    assert_eq!(dir.report().money["KRW"]["valued"], 960_000_000);
    assert_audited(&Gristmill::command(), &dir, None);
}

#[test]
fn a_days_cap_cuts_one_price_and_refuses_the_rest() {
    let dir = DataDir::new();
    let programs = program(&dir, "capped", 100 * PHOTO, PHOTO + 20 * WON);
    let mut manifest = Manifest::of(&programs, "capped");
    manifest.consent("a", "g");
    photos(&mut manifest, ["a"; 4]);
    let journeys = run(&dir, &manifest);
    assert_eq!(with_reason(&journeys, "cap_reached"), 2);
    let amounts = journeys.iter().filter_map(|row| row.amount.as_ref());
    let mut micro: Vec<u64> = amounts.map(|amount| amount.micro).collect();
    micro.sort_unstable();
    assert_eq!(micro, [20 * WON, PHOTO]);
    assert_audited(&Gristmill::command(), &dir, None);
}

#[test]
fn consent_covers_a_purpose_a_modality_and_terms_or_nothing() {
    let dir = DataDir::new();
    let programs = program(&dir, "seoul", 100 * PHOTO, 100 * PHOTO);
    let mut manifest = Manifest::of(&programs, "seoul");
    let changes = [
        ("a", "purposes", json!(["research"])),
        ("b", "modalities", json!(["voice", "video"])),
        ("c", "terms", json!({"version": "seoul-v0", "sha256": "0".repeat(64), "uri": "x"})),
    ];
    for (person, field, value) in changes {
        let mut consent = manifest.consent_object(person, "g");
        consent["consent"][field] = value;
        manifest.line(&consent);
    }
    manifest.consent("d", "g");
    photos(&mut manifest, ["a", "b", "c", "d"]);
    let journeys = run(&dir, &manifest);
    let reasons: Vec<Option<&str>> = journeys.iter().map(|row| row.reason.as_deref()).collect();
    let expected = ["purpose_not_granted", "modality_not_granted", "terms_mismatch"];
    assert_eq!(reasons, expected.map(Some).into_iter().chain([None]).collect::<Vec<_>>());
    assert_eq!(journeys[3].state, "settled");
}

#[test]
fn a_fixed_score_is_for_what_the_task_asks_for_only() {
    let dir = DataDir::new();
    let mut manifest = Manifest::engine("k", 1, 1);
    manifest.media("k-p0", "clip", "none", "voice", "media/voice-01.wav");
    let path = dir.write("m.ndjson", manifest.as_bytes());
    let root = format!("--media-root={}", repository().join("workflows/examples").display());
    let arguments = run_arguments(&dir, &path).into_iter().chain([root]);
    drop(Gristmill::command().run(arguments).expect(0));
    let report = dir.report();
    assert_eq!(report.journey("clip").reason.as_deref(), Some("wrong_modality"));
    assert_eq!(report.journey("k-1").state, "settled");
}

#[test]
fn a_folder_of_programs_that_is_off_is_a_usage_error_that_names_the_file() {
    let dir = DataDir::new();
    let manifest = dir.write("m.ndjson", Manifest::engine("k", 1, 1).as_bytes());
    let cases = [
        ("none", None, "none"),
        ("empty", Some(("empty/readme.md", "")), "empty"),
        ("syntax", Some(("syntax/p.toml", "id = ")), "p.toml"),
        ("unknown", Some(("unknown/p.toml", "id = \"p\"\ncolour = 1\n")), "p.toml"),
    ];
    for (folder, file, named) in cases {
        if let Some((name, text)) = file {
            dir.write(name, text.as_bytes());
        }
        let programs = format!("--programs={}", dir.outside().join(folder).display());
        let arguments = run_arguments(&dir, &manifest).into_iter().chain([programs]);
        let output = Gristmill::command().run(arguments).expect(2);
        assert!(output.stderr.contains(named), "{folder}: {}", output.stderr);
    }
}
