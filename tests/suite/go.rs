//! A second opinion on the public log: Go's own sumdb packages, which share no code with
//! Gristmill, check a whole log, its growth, and receipts of both kinds.

use gristmill_tests::{DataDir, Gristmill, Manifest, has_program, repository, run_arguments, skip};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian puts the sources of Go libraries.
const GOPATH: &str = "/usr/share/gocode";
const SUMDB: &str = "/usr/share/gocode/src/golang.org/x/mod/sumdb";

/// Builds the checker; none where Go or its packages are missing, and the test is skipped.
fn checker(folder: &Path) -> Option<PathBuf> {
    if !has_program("go") {
        return None;
    }
    if !Path::new(SUMDB).is_dir() {
        let reason = "golang.org/x/mod is not installed (golang-golang-x-mod-dev)";
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{reason}");
        skip(reason);
        return None;
    }
    let program = folder.join("verify");
    let built = Command::new("go")
        .args(["build", "-o"])
        .args([&program, &repository().join("tests/go/verify/main.go")])
        .envs([("GO111MODULE", "off"), ("GOPATH", GOPATH), ("GOFLAGS", "")])
        .output()
        .expect("go starts");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Some(program)
}

/// What the checker prints; none when it refuses.
fn check(program: &Path, arguments: &[String]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().expect("the checker starts");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(printed)
}

fn log(dir: &DataDir) -> String {
    dir.path().join("trace").display().to_string()
}

fn key(dir: &DataDir) -> String {
    dir.path().join("trace/vkey").display().to_string()
}

/// `ok SIZE ROOT`, as the report has it.
fn expected(dir: &DataDir) -> (u64, String) {
    let trace = dir.report().trace;
    let size = trace["size"].as_u64().expect("the report has the log's size");
    let root = trace["root"].as_str().expect("the report has the log's root");
    (size, format!("ok {size} {root}"))
}

#[test]
fn go_verifies_the_whole_log_its_growth_and_both_kinds_of_receipt() {
    let dir = DataDir::new();
    let Some(program) = checker(dir.outside()) else { return };
    let example = repository().join("workflows/examples/seoul.ndjson");
    let gristmill = Gristmill::command();
    drop(gristmill.run(run_arguments(&dir, &example)).expect(0));
    let (first, line) = expected(&dir);
    let printed = check(&program, &[log(&dir), key(&dir)]).expect("the log holds");
    assert_eq!(printed.trim(), line);
    for journey in dir.report().journeys {
        for receipt in journey.receipts {
            let file = dir.path().join(&receipt).display().to_string();
            let printed = check(&program, &["receipt".to_owned(), file, key(&dir)]);
            let index = if receipt.contains(".payout.") {
                journey.payouts[0].trace_index
            } else {
                journey.trace_index
            };
            let printed = printed.unwrap_or_else(|| panic!("{receipt} does not hold"));
            assert_eq!(printed.trim().rsplit(' ').next(), index.map(|n| n.to_string()).as_deref());
        }
    }
    // More entries than one tile has, in the same log: it only grew.
    let more = dir.write("more.ndjson", Manifest::engine("more", 150, 20).as_bytes());
    drop(gristmill.run(run_arguments(&dir, &more)).expect(0));
    let (second, line) = expected(&dir);
    assert!(second > 256, "{second} entries");
    let sizes = [first.to_string(), second.to_string()];
    let arguments: Vec<String> = [log(&dir), key(&dir)].into_iter().chain(sizes).collect();
    assert_eq!(check(&program, &arguments).expect("the log holds").trim(), line);
}

#[test]
fn go_refuses_a_log_with_one_changed_byte_and_another_key() {
    let dir = DataDir::new();
    let Some(program) = checker(dir.outside()) else { return };
    let manifest = dir.write("m.ndjson", Manifest::engine("k", 5, 1).as_bytes());
    drop(Gristmill::command().run(run_arguments(&dir, &manifest)).expect(0));
    assert!(check(&program, &[log(&dir), key(&dir)]).is_some());
    let other = DataDir::new();
    let manifest = other.write("m.ndjson", Manifest::engine("k", 1, 1).as_bytes());
    drop(Gristmill::command().run(run_arguments(&other, &manifest)).expect(0));
    assert_eq!(check(&program, &[log(&dir), key(&other)]), None);
    let (size, _) = expected(&dir);
    let tile = dir.path().join(format!("trace/tile/entries/000.p/{size}"));
    let mut bytes = std::fs::read(&tile).expect("the tile of all entries is there");
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    std::fs::write(&tile, bytes).expect("the tile is writable");
    assert_eq!(check(&program, &[log(&dir), key(&dir)]), None);
}
