//! What a scenario does when something it needs is not there, and how large it is.

use crate::data_dir::repository;
use crate::limits::SIZE_MAX;
use std::io::Write;
use std::path::PathBuf;

/// Says on standard error that the calling test is skipped; the runner counts these lines.
///
/// Written past the capture of the test runner, which hides what a passing test prints.
pub fn skip(reason: &str) {
    writeln!(std::io::stderr(), "skipped: {reason}").expect("standard error is open");
}

/// Whether a program is on the search path. If not, the test is skipped, or failed where
/// `CI=true`: there a missing program must not pass unseen.
pub fn has_program(name: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()));
    if !found {
        let reason = format!("the program {name} is not installed");
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{reason}");
        skip(&reason);
    }
    found
}

/// A path below the folder `shared` beside the repository, where larger material may lie; without
/// it the test is skipped.
pub fn shared(path: &str) -> Option<PathBuf> {
    let found = repository().join("../shared").join(path);
    if found.exists() {
        return Some(found);
    }
    skip(&format!("../shared/{path} is absent"));
    None
}

/// How large a slow scenario is: the number in the environment variable `name`, else `default`.
///
/// # Panics
/// When the variable is not a number from 1 to [`SIZE_MAX`].
pub fn size(name: &str, default: u32) -> u32 {
    let Ok(text) = std::env::var(name) else {
        return default;
    };
    match text.parse() {
        Ok(number) if (1..=SIZE_MAX).contains(&number) => number,
        _ => panic!("{name}: {text:?} is not a number from 1 to {SIZE_MAX}"),
    }
}
