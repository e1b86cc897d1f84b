//! The walls of the design: which crate may use which, what the pure domain may not touch, and
//! that the engine knows no stage by name.

use crate::source::{File, Finding, files, line_of, parts, words};
use gristmill_tests::repository;
use serde_json::Value;
use std::process::Command;

/// Which of our own crates each crate may depend on (build and run; tests may use the testkit).
const MAY_USE: [(&str, &[&str]); 10] = [
    ("gristmill-trace", &[]),
    ("gristmill-media", &[]),
    ("gristmill-workflows", &["gristmill-trace"]),
    ("gristmill-actors", &["gristmill-trace", "gristmill-workflows"]),
    ("gristmill-testkit", &["gristmill-actors", "gristmill-trace", "gristmill-workflows"]),
    (
        "gristmill",
        &[
            "gristmill-actors",
            "gristmill-media",
            // For simulations in virtual time.
            "gristmill-testkit",
            "gristmill-trace",
            "gristmill-workflows",
        ],
    ),
    ("gristmill-author", &["gristmill", "gristmill-actors"]),
    ("gristmill-compare", &["gristmill", "gristmill-actors", "gristmill-workflows"]),
    (
        "gristmill-fuzz",
        &[
            "gristmill",
            "gristmill-actors",
            "gristmill-media",
            "gristmill-trace",
            "gristmill-workflows",
        ],
    ),
    ("gristmill-tests", &[]),
];

/// Packages that only some crates may name, for tests too.
const ONLY_FOR: [(&str, &[&str]); 5] = [
    ("redis", &["gristmill"]),
    ("axum", &["gristmill"]),
    ("ractor", &["gristmill-actors", "gristmill"]),
    // Counting belongs where things happen; the service only hands the text out.
    ("prometheus", &["gristmill-actors"]),
    ("bincode", &["gristmill-workflows"]),
];

/// Crates without a runtime, randomness or I/O below them.
const PURE: [&str; 2] = ["gristmill-workflows", "gristmill-trace"];
const IMPURE_PACKAGES: [&str; 8] =
    ["tokio", "async-std", "smol", "rand", "fastrand", "mio", "hyper", "ractor"];

/// What production code of the pure crates may not name.
const PURE_FILES: [&str; 2] = ["workflows/src/", "workflows/trace/src/"];
const IMPURE_WORDS: [&str; 14] = [
    "tokio",
    "async",
    "await",
    "SystemTime",
    "Instant",
    "now_utc",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "rand",
    "getrandom",
    "OsRng",
];

/// The engine: files that begin with one of these, without those that begin with one of `STAGES`.
const ENGINE: [&str; 3] = ["actors/src/", "workflows/src/journey", "workflows/src/shard"];
const STAGES: [&str; 2] = ["actors/src/stages/", "actors/src/stages.rs"];
const STAGE_NAMES: [&str; 5] = ["consent", "scoring", "valuation", "trace", "payout"];

fn cargo(arguments: &[&str]) -> String {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program)
        .current_dir(repository())
        .args(arguments)
        .args(["--offline", "--locked"])
        .output()
        .expect("cargo runs this test");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

/// Each direct dependency as (crate, what it depends on, whether for tests only).
fn dependencies(metadata: &Value) -> Vec<(String, String, bool)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let for_tests = dependency["kind"] == "dev";
            found.push((text(&package["name"]), text(&dependency["name"]), for_tests));
        }
    }
    found
}

fn crossed_walls(dependencies: &[(String, String, bool)]) -> Vec<String> {
    let mut found = Vec::new();
    for (from, to, for_tests) in dependencies {
        let crossing = format!("{from} depends on {to}");
        let ours = to == "gristmill" || to.starts_with("gristmill-");
        let allowed = MAY_USE.iter().find(|(name, _)| name == from).map(|(_, allowed)| *allowed);
        if ours && !for_tests && !allowed.is_some_and(|list| list.contains(&to.as_str())) {
            found.push(crossing.clone());
        }
        let only = ONLY_FOR.iter().find(|(name, _)| name == to);
        if only.is_some_and(|(_, list)| !list.contains(&from.as_str())) {
            found.push(crossing.clone());
        }
        if PURE.contains(&from.as_str()) && IMPURE_PACKAGES.contains(&to.as_str()) {
            found.push(crossing);
        }
    }
    found
}

fn impure(code: &str) -> Vec<Finding> {
    let named = |word: &'static str| {
        words(code, word)
            .map(move |at| Finding::new(line_of(code, at), format!("the pure domain names {word}")))
    };
    IMPURE_WORDS.into_iter().flat_map(named).collect()
}

fn stage_named(production: &str) -> Vec<Finding> {
    parts(production)
        .strings
        .into_iter()
        .filter(|(_, literal)| STAGE_NAMES.contains(&literal.trim_matches('"')))
        .map(|(line, literal)| Finding::new(line, format!("the engine names the stage {literal}")))
        .collect()
}

fn begins(file: &File, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| file.path.starts_with(prefix))
}

fn findings(select: impl Fn(&File) -> bool, rule: impl Fn(&str) -> Vec<Finding>) -> Vec<String> {
    let chosen: Vec<File> =
        files().into_iter().filter(|file| file.is_rust() && select(file)).collect();
    assert!(!chosen.is_empty(), "the rule saw no file");
    let named =
        |file: &File, finding: Finding| format!("{}:{}: {}", file.path, finding.line, finding.what);
    chosen
        .iter()
        .flat_map(|file| rule(file.production()).into_iter().map(|it| named(file, it)))
        .collect()
}

#[test]
fn crates_keep_to_their_walls() {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let dependencies = dependencies(&metadata);
    assert!(dependencies.len() > 20, "cargo names the dependencies");
    let crossed = crossed_walls(&dependencies);
    assert!(crossed.is_empty(), "\n{}", crossed.join("\n"));
}

/// Deliberate bugs are built by those who ask for them, and never into the product.
#[test]
fn no_default_feature_has_teeth() {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let mut toothed = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap_or_default();
        let default = package["features"]["default"].to_string();
        assert!(!default.contains("teeth"), "{name}");
        for dependency in package["dependencies"].as_array().unwrap() {
            assert!(!dependency["features"].to_string().contains("teeth"), "{name}");
        }
        if package["features"].get("teeth").is_some() {
            toothed.push(name.to_owned());
        }
    }
    toothed.sort_unstable();
    assert_eq!(toothed, ["gristmill-actors", "gristmill-testkit", "gristmill-workflows"]);
}

#[test]
fn nothing_below_the_pure_crates_has_a_runtime_or_randomness() {
    for pure in PURE {
        let tree = cargo(&["tree", "-p", pure, "-e", "normal", "--prefix", "none"]);
        let found: Vec<&str> = tree
            .lines()
            .filter(|line| IMPURE_PACKAGES.contains(&line.split(' ').next().unwrap_or_default()))
            .collect();
        assert!(found.is_empty(), "{pure} stands on {found:?}");
    }
}

#[test]
fn the_pure_domain_has_no_async_clock_randomness_or_files() {
    let broken = findings(|file| begins(file, &PURE_FILES), |text| impure(&parts(text).code));
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn the_engine_knows_no_stage_by_name() {
    let broken = findings(|file| begins(file, &ENGINE) && !begins(file, &STAGES), stage_named);
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn a_crossed_wall_is_found() {
    let one = |from: &str, to: &str, for_tests| {
        crossed_walls(&[(from.to_owned(), to.to_owned(), for_tests)]).len()
    };
    assert_eq!(one("gristmill-workflows", "gristmill-trace", false), 0);
    assert_eq!(one("gristmill-workflows", "gristmill-actors", false), 1);
    assert_eq!(one("gristmill", "gristmill-testkit", true), 0);
    assert_eq!(one("gristmill-actors", "gristmill-testkit", false), 1);
    assert_eq!(one("gristmill-actors", "redis", true), 1);
    assert_eq!(one("gristmill", "axum", false), 0);
    assert_eq!(one("gristmill-trace", "tokio", true), 1);
    assert_eq!(one("gristmill-new", "gristmill", false), 1);
}

#[test]
fn an_impure_word_is_found() {
    assert_eq!(impure("let instant = at.operand();"), []);
    assert_eq!(impure("use a;\nuse std::time::Instant;")[0].line, 2);
    assert_eq!(impure("async fn f() {}").len(), 1);
}

#[test]
fn a_named_stage_is_found() {
    assert_eq!(stage_named("// \"payout\"\nlet key = \"payout-key\";"), []);
    assert_eq!(stage_named("let a = 1;\nif name == \"payout\" {}")[0].line, 2);
}
