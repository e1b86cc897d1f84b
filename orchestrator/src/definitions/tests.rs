use super::*;
use crate::checks::stage_types;
use gristmill_workflows::definition::Effect;
use gristmill_workflows::id::hex;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const SMALL: &str = "name = \"small\"\nversion = 1\nstages = [\n    \"consent\",\n]\n";

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// What loading and checking a folder's workflows says, without the folder's own path.
fn workflow_refusal(files: &[(&str, &str)]) -> String {
    let folder = folder(files);
    let checked = load_workflows(Some(folder.path()))
        .and_then(|files| check(&stage_types(&[]), &files, &BTreeMap::new()));
    plain(&folder, &checked.unwrap_err())
}

fn program_refusal(name: &str, text: &str) -> String {
    let folder = folder(&[(name, text)]);
    plain(&folder, &load_programs(Some(folder.path())).unwrap_err())
}

fn plain(folder: &TempDir, error: &Error) -> String {
    error.to_string().replace(&format!("{}/", folder.path().display()), "")
}

fn seoul() -> &'static str {
    PROGRAMS.iter().find(|(id, _)| *id == "seoul").unwrap().1
}

#[test]
fn what_is_shipped_holds_together() {
    let programs = load_programs(None).unwrap();
    let files = load_workflows(None).unwrap();
    let registry = check(&stage_types(&[]), &files, &programs).unwrap();
    let mut names: Vec<&str> = registry.workflows().map(|w| &*w.pin.name).collect();
    names.sort_unstable();
    assert_eq!(names, ["contribution", "engine"]);
    for workflow in registry.workflows() {
        let effects = workflow.stages.iter().map(|stage| stage.signature.effect);
        assert_eq!(effects.filter(|effect| *effect == Effect::Keyed).count(), 1);
        assert_eq!(workflow.end(), 5);
    }
    assert_eq!(programs.keys().collect::<Vec<_>>(), ["engine", "seoul"]);
}

#[test]
fn shipped_terms_have_the_hash_that_their_program_names() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../workflows/programs");
    for (id, program) in load_programs(None).unwrap() {
        let text = std::fs::read(root.join(&program.terms.uri)).unwrap();
        assert_eq!(hex(&Sha256::digest(text)), program.terms.sha256, "{id}");
    }
}

#[test]
fn every_shipped_file_is_compiled_in() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../workflows");
    assert_eq!(toml_files(&root.join("programs"), 100).unwrap().len(), PROGRAMS.len());
    let workflows = toml_files(&root, 100).unwrap();
    let crates = workflows.iter().filter(|path| path.ends_with("Cargo.toml")).count();
    assert_eq!(workflows.len() - crates, WORKFLOWS.len());
}

#[test]
fn a_folder_adds_workflows_and_stands_in_for_shipped_ones() {
    let own_engine = SMALL.replace("small", "engine");
    let folder = folder(&[("a.toml", SMALL), ("b.toml", &own_engine), ("README.md", "no")]);
    let files = load_workflows(Some(folder.path())).unwrap();
    let names: Vec<&str> = files.iter().map(|file| file.file.name.as_str()).collect();
    assert_eq!(names, ["small", "engine", "contribution"]);
    assert_eq!(files[1].file.stages, ["consent"]);
}

#[test]
fn a_workflow_that_does_not_fit_names_file_line_and_stage() {
    let unknown = SMALL.replace("consent", "consnt");
    let cases = [
        (unknown.as_str(), "w.toml:3: workflow `small`: stages: this binary has no stage `consnt`"),
        (
            &format!("{SMALL}[stage.consent]\n[stage.consent.policy]\nattempts = 0\n"),
            "w.toml:8: workflow `small`: stage.consent.policy.attempts: must be 1 to 1000",
        ),
        (
            &format!("{SMALL}\n[stage.consent.settings]\nstrict = true\n"),
            "w.toml:7: workflow `small`: stage.consent.settings: this stage has none",
        ),
        (
            &format!("{SMALL}[stage.consent.policy]\ntimeout = 0\n"),
            "w.toml:7: stage.consent.policy.timeout: unknown field `timeout`",
        ),
        (
            &format!("{SMALL}[stage.consent]\nrequests = [\"held\"]\n"),
            "w.toml:7: stage.consent.requests: unknown variant `held`",
        ),
        (&format!("nam = 1\n{SMALL}"), "w.toml:1: nam: unknown field `nam`"),
    ];
    for (text, message) in cases {
        let refused = workflow_refusal(&[("w.toml", text)]);
        assert!(refused.starts_with(message), "{refused}");
    }
}

#[test]
fn a_payout_that_the_file_does_not_allow_is_refused() {
    let shipped = WORKFLOWS[1].1;
    let text = shipped.replace("[\"log\", \"pay\"]", "[\"log\"]");
    assert_ne!(shipped, text);
    let refused = workflow_refusal(&[("w.toml", &text)]);
    assert!(refused.contains("stage.payout.settings"), "{refused}");
    assert!(refused.ends_with("must allow this stage to Pay"), "{refused}");
}

#[test]
fn the_same_workflow_in_two_files_is_refused() {
    let refused = workflow_refusal(&[("a.toml", SMALL), ("b.toml", SMALL)]);
    assert_eq!(refused, "b.toml:1: workflow `small` version 1 stands in two files");
}

#[test]
fn a_program_is_called_after_its_file_and_names_what_is_off() {
    let wrong_name = program_refusal("busan.toml", seoul());
    assert_eq!(
        wrong_name,
        "busan.toml:2: id: `seoul` stands in a file that is not called seoul.toml"
    );
    for (from, to, message) in [
        ("demand_bp = 10000", "demand_bp = 100001", "rates.demand_bp: 100001 is outside"),
        ("floor = 5000", "floor = 10001", "tasks.street-photo.floor: 10001 is outside"),
        ("unit = \"item\"", "unit = \"ms\"", "tasks.street-photo.unit: "),
        ("purpose =", "purpos =", "purpos: unknown field `purpos`"),
        ("\"KRW\"", "\"won\"", "currency: "),
    ] {
        let text = seoul().replace(from, to);
        assert_ne!(text, seoul());
        let mut pairs = text.lines().zip(seoul().lines());
        let line = 1 + pairs.position(|(new, old)| new != old).unwrap();
        let refused = program_refusal("seoul.toml", &text);
        assert!(refused.contains(message), "{refused}");
        // `floor` changes in all three tasks; the first in the order of ids is told.
        if !from.starts_with("floor") {
            assert!(refused.starts_with(&format!("seoul.toml:{line}: ")), "{refused}");
        }
    }
}

#[test]
fn a_program_without_its_workflow_is_named() {
    let text = seoul().replace("\"contribution\"", "\"other\"");
    let folder = folder(&[("seoul.toml", &text)]);
    let programs = load_programs(Some(folder.path())).unwrap();
    let files = load_workflows(None).unwrap();
    let error = check(&stage_types(&[]), &files, &programs).unwrap_err().to_string();
    assert_eq!(error, "program `seoul`: workflow: there is no workflow `other`");
}

#[test]
fn folders_that_are_absent_or_empty_are_named() {
    let empty = folder(&[]);
    assert!(matches!(load_programs(Some(empty.path())), Err(Error::Empty { .. })));
    assert_eq!(load_workflows(Some(empty.path())).unwrap().len(), WORKFLOWS.len());
    let absent = empty.path().join("absent");
    assert!(matches!(load_programs(Some(&absent)), Err(Error::Folder { .. })));
    assert!(matches!(load_workflows(Some(&absent)), Err(Error::Folder { .. })));
}

#[test]
fn a_folder_with_too_many_files_is_refused() {
    let two = folder(&[("a.toml", ""), ("b.toml", "")]);
    assert!(matches!(toml_files(two.path(), 1), Err(Error::TooMany { bound: 1, .. })));
}
