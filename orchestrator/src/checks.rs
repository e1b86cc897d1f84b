//! `config check` and `workflow check`: what a node would use, looked at without a node.

use crate::config::Config;
use crate::definitions::{self, WorkflowFile};
use gristmill_actors::stage::StageType;
use gristmill_actors::stages;
use gristmill_workflows::definition::{Definition, Effect, Stage};
use gristmill_workflows::request::RequestKind;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The shipped stage types and an author's, for checks alone: what they make cannot run.
#[must_use]
pub fn stage_types(own: &[StageType]) -> Vec<StageType> {
    let mut types = stages::unattached();
    types.extend_from_slice(own);
    types
}

/// Checks the programs and workflows of a configuration that was loaded, and says what it found.
///
/// # Errors
/// The first thing wrong, with file and line where there is one.
pub fn config(config: &Config, own: &[StageType]) -> Result<String, definitions::Error> {
    let programs = definitions::load_programs(config.programs_dir())?;
    let files = definitions::load_workflows(config.workflows_dir())?;
    let registry = definitions::check(&stage_types(own), &files, &programs)?;
    let mut text = String::from("configuration: ok\n");
    for program in programs.values() {
        let tasks: Vec<&str> = program.tasks.keys().map(String::as_str).collect();
        let (id, workflow, tasks) = (&program.id, &program.workflow, tasks.join(", "));
        line(&mut text, format_args!("program {id}: workflow {workflow}; tasks {tasks}"));
    }
    for workflow in registry.workflows() {
        let (name, version) = (&workflow.pin.name, workflow.pin.version);
        line(&mut text, format_args!("workflow {name} version {version}: ok"));
    }
    Ok(text)
}

/// Checks workflow files, each by itself, or without one those of `dir` and the shipped ones
/// together. Tells each one's hash and a table of its stages.
///
/// # Errors
/// The first thing wrong, with file and line.
pub fn workflows(
    files: &[PathBuf],
    dir: Option<&Path>,
    own: &[StageType],
) -> Result<String, definitions::Error> {
    let types = stage_types(own);
    let mut text = String::new();
    if files.is_empty() {
        let all = definitions::load_workflows(dir)?;
        let registry = definitions::check(&types, &all, &BTreeMap::new())?;
        registry.workflows().for_each(|workflow| tell(&mut text, workflow));
    }
    for path in files {
        let file: WorkflowFile = definitions::load_workflow(path)?;
        let registry = definitions::check_one(&types, &file)?;
        registry.workflows().for_each(|workflow| tell(&mut text, workflow));
    }
    Ok(text)
}

fn tell(text: &mut String, workflow: &Definition) {
    let pin = &workflow.pin;
    line(text, format_args!("{} version {}, hash {}", pin.name, pin.version, pin.hash_hex()));
    let head = ["stage", "version", "effect", "attempts", "timeout", "at once", "may ask to"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(workflow.stages.iter().map(row));
    let widths: [usize; 7] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].len()).max().unwrap_or_default()
    });
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let cells: Vec<String> = cells.collect();
        line(text, format_args!("  {}", cells.join("  ").trim_end()));
    }
}

fn row(stage: &Stage) -> [String; 7] {
    let (signature, policy) = (&stage.signature, &stage.policy);
    let requests: Vec<&str> = stage.requests.iter().map(|kind| word(*kind)).collect();
    [
        signature.name.to_owned(),
        signature.version.to_string(),
        effect(signature.effect).to_owned(),
        policy.attempts.to_string(),
        format!("{} ms", policy.timeout_ms),
        policy.concurrency.to_string(),
        requests.join(", "),
    ]
}

fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Pure => "pure",
        Effect::Idempotent => "idempotent",
        Effect::Keyed => "keyed",
    }
}

fn word(kind: RequestKind) -> &'static str {
    match kind {
        RequestKind::Hold => "hold",
        RequestKind::Count => "count",
        RequestKind::Claim => "claim",
        RequestKind::Reserve => "reserve",
        RequestKind::Log => "log",
        RequestKind::Pay => "pay",
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a String takes all that is written to it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_pass_and_name_programs_and_workflows() {
        let text = config(&Config::default(), &[]).unwrap();
        for expected in ["program engine: workflow engine; tasks none", "workflow contribution"] {
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn a_workflow_is_told_by_its_hash_and_its_stages() {
        let text = workflows(&[], None, &[]).unwrap();
        let head = text.lines().next().unwrap();
        let (name, hash) = head.split_once(", hash ").unwrap();
        assert_eq!((name, hash.len()), ("contribution version 1", 32));
        let scoring = text.lines().find(|line| line.trim().starts_with("scoring")).unwrap();
        let cells: Vec<&str> = scoring.split_whitespace().collect();
        assert_eq!(cells, ["scoring", "1", "idempotent", "8", "60000", "ms", "8", "claim"]);
    }

    #[test]
    fn a_file_is_checked_alone_and_its_error_names_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.toml");
        std::fs::write(&path, "name = \"w\"\nversion = 1\nstages = [\"trace\"]\n").unwrap();
        let error = workflows(&[path], None, &[]).unwrap_err().to_string();
        assert!(error.contains("stage `trace` reads `scorer: String`"), "{error}");
        assert!(error.contains("w.toml: workflow `w`"), "{error}");
    }

    #[test]
    fn an_absent_folder_of_the_configuration_is_named() {
        let mut absent = Config::default();
        absent.programs.dir = "/nonexistent/programs".to_owned();
        let error = config(&absent, &[]).unwrap_err().to_string();
        assert!(error.starts_with("/nonexistent/programs: "), "{error}");
    }
}
