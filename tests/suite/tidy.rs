//! The repository's own rules. Each rule is a function from a text to findings, tried on a snippet
//! that breaks it and one that does not, and then applied to every file.

use crate::source::{File, Finding, files, line_of, parts, split_at_tests, words};
use gristmill_tests::repository;

mod markdown;
mod tests;

/// Most lines of production code in one file.
const PRODUCTION_LINES_MAX: usize = 500;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 8] =
    ["util", "utils", "common", "helper", "helpers", "manager", "managers", "misc"];

/// What the root holds, apart from plain files and hidden folders. The last two may be absent.
const FOLDERS: [&str; 6] = ["workflows", "actors", "orchestrator", "tests", "dashboards", "deploy"];

/// The one module that knows how records are encoded.
const CODEC: [&str; 2] = ["workflows/src/codec.rs", "workflows/src/codec/"];

fn at(text: &str, positions: impl IntoIterator<Item = usize>, what: &str) -> Vec<Finding> {
    positions.into_iter().map(|at| Finding::new(line_of(text, at), what)).collect()
}

fn file_length(production: &str) -> Vec<Finding> {
    let lines = production.lines().count();
    let what = format!("{lines} production lines, more than {PRODUCTION_LINES_MAX}");
    (lines > PRODUCTION_LINES_MAX).then(|| Finding::new(0, what)).into_iter().collect()
}

fn file_name(path: &str) -> Vec<Finding> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let segments = path.split('/').map(|part| part.split('.').next().unwrap_or(part));
    let mut found: Vec<Finding> = segments
        .filter(|segment| EMPTY_NAMES.contains(segment))
        .map(|segment| Finding::new(0, format!("the name {segment} says nothing")))
        .collect();
    if name == "mod.rs" {
        found.push(Finding::new(0, "a module foo is foo.rs beside foo/"));
    }
    found
}

fn module_name(code: &str) -> Vec<Finding> {
    let named = |name: &str| {
        let pattern = format!("mod {name}");
        let found: Vec<usize> = words(code, &pattern).collect();
        at(code, found, &format!("the module name {name} says nothing"))
    };
    EMPTY_NAMES.iter().flat_map(|name| named(name)).collect()
}

fn module_documentation(text: &str) -> Vec<Finding> {
    let missing = !text.starts_with("//!");
    missing.then(|| Finding::new(1, "does not start with //!")).into_iter().collect()
}

fn unfinished(text: &str) -> Vec<Finding> {
    [concat!("TO", "DO"), concat!("FIX", "ME")]
        .iter()
        .flat_map(|word| at(text, words(text, word), "a note of unfinished work: do it or file it"))
        .collect()
}

fn allow_attribute(code: &str) -> Vec<Finding> {
    let found = ["#[allow(", "#![allow("].iter().flat_map(|it| code.match_indices(it));
    at(code, found.map(|(at, _)| at), "`allow` hides; `expect` with a reason says why")
}

fn unbounded(code: &str) -> Vec<Finding> {
    at(code, words(code, "unbounded_channel"), "every queue has a bound")
}

fn sleeping(test_code: &str) -> Vec<Finding> {
    at(test_code, words(test_code, "sleep("), "a test waits for what happens, not for time")
}

fn ignored(code: &str) -> Vec<Finding> {
    let found = code.match_indices("#[ignore").map(|(at, _)| at);
    at(code, found, "an ignored test tests nothing; size it by the environment")
}

fn test_prefix(code: &str) -> Vec<Finding> {
    // Above the function stand its attributes, with nothing between.
    let is_test = |at: &usize| {
        let above = code[..*at].rsplit('\n').skip(1).map(str::trim);
        above.take_while(|line| line.starts_with("#[")).any(|line| line.contains("test"))
    };
    let found = code.match_indices("fn test_").map(|(at, _)| at).filter(is_test);
    at(code, found, "a test's name is a sentence, without the prefix")
}

fn encoder_named(code: &str) -> Vec<Finding> {
    at(code, words(code, "bincode"), "only the codec module of workflows encodes records")
}

/// A constant that bounds something and says its number, which belongs in a `limits.rs`.
fn stray_limit(code: &str) -> Vec<Finding> {
    let bounding = |name: &str| {
        name.split('_').any(|word| ["MAX", "LIMIT", "LIMITS", "CAPACITY"].contains(&word))
    };
    let mut found = Vec::new();
    for start in words(code, "const") {
        let declaration = code[start..].split(';').next().unwrap_or_default();
        let Some((head, value)) = declaration.split_once('=') else {
            continue;
        };
        let name = head["const".len()..].split(':').next().unwrap_or_default().trim();
        if bounding(name) && value.contains(|c: char| c.is_ascii_digit()) {
            found.push(Finding::new(line_of(code, start), format!("{name} belongs in limits.rs")));
        }
    }
    found
}

/// What stands behind the first tests of a file and is none: the rules of production code do not see it.
fn hidden_behind_tests(text: &str) -> Vec<Finding> {
    let (production, tests) = split_at_tests(text);
    let above = production.matches('\n').count();
    // At the margin; what is inside of a module of tests is indented, and such a module is no `pub `.
    let starts =
        ["pub ", "use ", "fn ", "async fn ", "const ", "static ", "struct ", "enum ", "impl"];
    let is_item = |line: &str| starts.iter().any(|start| line.starts_with(start));
    let items = tests.lines().enumerate().filter(|(_, line)| is_item(line));
    let what = "stands behind tests: they come last in a file";
    items.map(|(line, _)| Finding::new(above + line + 1, what)).collect()
}

/// Constants of a file of limits.
fn constants(code: &str) -> Vec<(usize, String)> {
    let named = |start: usize| {
        let name = code[start + "const".len()..].split(':').next()?.trim();
        let is_name = !name.is_empty() && name != "_" && !name.contains(' ');
        is_name.then(|| (line_of(code, start), name.to_owned()))
    };
    words(code, "const").filter_map(named).collect()
}

/// Paths of the machine where this was written, and hosts of package registries.
fn foreign_place(text: &str) -> Vec<Finding> {
    let machine = concat!("/wo", "rk/");
    let from_root = |at: &usize| {
        let before = text[..*at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-/})*".contains(c))
    };
    let paths = text.match_indices(machine).map(|(at, _)| at).filter(from_root);
    let mut found = at(text, paths, "a path of one machine");
    let hosts = [
        concat!("crates", ".io"),
        concat!("proxy.gol", "ang.org"),
        concat!("registry.np", "mjs.org"),
        concat!("py", "pi.org"),
        concat!("deb.deb", "ian.org"),
    ];
    for host in hosts {
        let positions = text.match_indices(host).map(|(at, _)| at);
        found.extend(at(text, positions, "the host of a registry"));
    }
    found
}

/// Applies a rule to what `select` takes from each file, and fails with every finding.
fn hold(rule: fn(&str) -> Vec<Finding>, select: impl Fn(&File) -> Option<String>) {
    let mut broken = Vec::new();
    let mut looked = 0;
    for file in files() {
        let Some(text) = select(&file) else { continue };
        looked += 1;
        for finding in rule(&text) {
            broken.push(format!("{}:{}: {}", file.path, finding.line, finding.what));
        }
    }
    assert!(looked > 0, "the rule saw no file");
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

fn code(file: &File) -> Option<String> {
    file.is_rust().then(|| parts(&file.text).code)
}

fn production_code(file: &File) -> Option<String> {
    (file.is_rust() && !file.is_test).then(|| parts(file.production()).code)
}

/// Code of tests, with the lines before them blank.
fn test_code(file: &File) -> Option<String> {
    if !file.is_rust() {
        return None;
    }
    if file.is_test {
        return code(file);
    }
    let (production, tests) = split_at_tests(&file.text);
    Some("\n".repeat(production.matches('\n').count()) + &parts(tests).code)
}

#[test]
fn files_hold_one_concept() {
    hold(file_length, |file| {
        (file.is_rust() && !file.is_test).then(|| file.production().to_owned())
    });
}

#[test]
fn names_say_what_is_inside() {
    hold(file_name, |file| Some(file.path.clone()));
    hold(module_name, code);
}

#[test]
fn every_module_says_what_it_is() {
    hold(module_documentation, |file| (file.is_rust() && !file.is_test).then(|| file.text.clone()));
}

#[test]
fn nothing_is_left_for_later() {
    hold(unfinished, |file| {
        if file.is_rust() { Some(parts(&file.text).comments) } else { Some(file.text.clone()) }
    });
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() {
    hold(allow_attribute, code);
}

#[test]
fn every_queue_has_a_bound() {
    hold(unbounded, code);
}

#[test]
fn tests_do_not_wait_for_time() {
    hold(sleeping, test_code);
}

#[test]
fn no_test_is_ignored() {
    hold(ignored, code);
}

#[test]
fn names_of_tests_are_sentences() {
    hold(test_prefix, test_code);
}

#[test]
fn one_module_encodes_records() {
    hold(encoder_named, |file| {
        code(file).filter(|_| !CODEC.iter().any(|codec| file.path.starts_with(codec)))
    });
    hold(encoder_named, |file| {
        let elsewhere = !["Cargo.toml", "workflows/Cargo.toml"].contains(&file.path.as_str());
        (file.path.ends_with("Cargo.toml") && elsewhere).then(|| file.text.clone())
    });
}

#[test]
fn limits_stand_in_one_place_a_crate() {
    hold(stray_limit, |file| production_code(file).filter(|_| !file.path.ends_with("/limits.rs")));
}

#[test]
fn tests_come_last_in_a_file() {
    hold(hidden_behind_tests, |file| code(file).filter(|_| !file.is_test));
}

#[test]
fn every_limit_is_one() {
    let files = files();
    let sources: Vec<(&File, String)> =
        files.iter().filter_map(|file| Some((file, production_code(file)?))).collect();
    let is_limits = |file: &File| file.path.ends_with("limits.rs");
    let mut unused = Vec::new();
    for (file, code) in sources.iter().filter(|(file, _)| is_limits(file)) {
        for (line, name) in constants(code) {
            // In its own file it may bound another constant.
            let here = words(code, &name).count() > 1;
            let others = sources.iter().filter(|(other, _)| other.path != file.path);
            let elsewhere = || others.clone().any(|(_, code)| words(code, &name).next().is_some());
            if !here && !elsewhere() {
                unused.push(format!("{}:{line}: nothing keeps to {name}", file.path));
            }
        }
    }
    assert!(unused.is_empty(), "\n{}", unused.join("\n"));
}

#[test]
fn no_file_names_a_machine_or_a_registry() {
    hold(foreign_place, |file| (!file.path.ends_with("Cargo.lock")).then(|| file.text.clone()));
}

#[test]
fn the_root_holds_six_folders_and_plain_files() {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(repository()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() && !name.starts_with('.') && name != "target" {
            names.push(name);
        }
    }
    let strange: Vec<&String> =
        names.iter().filter(|name| !FOLDERS.contains(&name.as_str())).collect();
    assert!(strange.is_empty(), "folders that the design does not know: {strange:?}");
    for name in &FOLDERS[..4] {
        assert!(names.iter().any(|found| found == name), "{name} is missing");
    }
}

#[test]
fn documents_have_one_title_and_name_what_exists() {
    hold(markdown::one_title, |file| file.has_extension("md").then(|| file.text.clone()));
    let mut broken = Vec::new();
    for file in files().iter().filter(|file| file.has_extension("md")) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for finding in
            markdown::missing_paths(&file.text, folder, |path| repository().join(path).exists())
        {
            broken.push(format!("{}:{}: {}", file.path, finding.line, finding.what));
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}
