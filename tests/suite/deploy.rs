//! The systemd unit, as systemd itself reads it.

use gristmill_tests::{DataDir, built, has_program, repository};
use std::fs;
use std::process::{Command, Output};

/// Exposure by `systemd-analyze security`, in tenths: 0 is none, 100 is all.
const EXPOSURE: &str = "--threshold=15";

fn analyze(arguments: &[&str]) -> Output {
    Command::new("systemd-analyze").args(arguments).output().unwrap()
}

fn assert_fine(output: &Output, what: &str) {
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {said}");
}

/// The unit with the program of this build, which is not installed.
fn unit(dir: &DataDir) -> String {
    let text = fs::read_to_string(repository().join("deploy/gristmill.service")).unwrap();
    let program = built("gristmill").display().to_string();
    assert!(text.contains("/usr/bin/gristmill"));
    let text = text.replace("/usr/bin/gristmill", &program);
    dir.write("gristmill.service", text.as_bytes()).display().to_string()
}

#[test]
fn systemd_understands_the_unit() {
    if !has_program("systemd-analyze") {
        return;
    }
    let dir = DataDir::new();
    let output = analyze(&["verify", "--man=no", "--recursive-errors=no", &unit(&dir)]);
    assert_fine(&output, "verify");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "a word of warning");
}

#[test]
fn the_unit_is_exposed_to_little() {
    if !has_program("systemd-analyze") {
        return;
    }
    let dir = DataDir::new();
    let arguments = ["security", "--offline=true", "--no-pager", EXPOSURE, &unit(&dir)];
    assert_fine(&analyze(&arguments), "security");
}

#[test]
fn the_unit_leaves_the_node_the_time_that_its_stop_takes() {
    let text = fs::read_to_string(repository().join("deploy/gristmill.service")).unwrap();
    let number = |text: &str, key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim_start_matches([' ', '=']).parse::<u64>().unwrap()
    };
    let example = fs::read_to_string(repository().join("config.example.toml")).unwrap();
    let deadline = number(&example, "stop_deadline_ms");
    assert!(number(&text, "TimeoutStopSec=") * 1_000 > deadline + 10_000);
}
