//! Tells the program which commit it is built from: `GRISTMILL_COMMIT`, or what git says. Without
//! either, and in a development build, which each commit would make anew, it is not told.

use std::path::Path;
use std::process::Command;

const VARIABLE: &str = "GRISTMILL_COMMIT";

fn main() {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    println!("cargo::rerun-if-changed=build.rs");
    let told = std::env::var_os(VARIABLE).is_some_and(|commit| !commit.is_empty());
    if told || std::env::var_os("PROFILE").is_none_or(|profile| profile != "release") {
        return;
    }
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    // Where the branch points to now; a worktree has a folder of its own for it.
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", name]);
        if let Some(path) = path.filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    if let Some(commit) = git(&["rev-parse", "HEAD"]) {
        println!("cargo::rustc-env={VARIABLE}={commit}");
    }
}
