//! Bad input of every kind: each line gets the contract's code or reason, nothing is lost, nothing
//! crashes, nothing hangs, and neighbours settle.

use gristmill_tests::{
    DataDir, Gristmill, Manifest, Output, Report, assert_audited, assert_log_verified, repository,
    run_arguments, shared,
};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The contract's bound of a manifest line, in bytes.
const LINE_MAX: usize = 64 * 1024;
/// The default bound of one item, in bytes.
const MEDIA_MAX: u64 = 64 * 1024 * 1024;
const SCORING: [&str; 9] = [
    "undecodable",
    "wrong_modality",
    "wrong_language",
    "too_short",
    "too_long",
    "too_large",
    "below_floor",
    "duplicate",
    "decoder_limit",
];

/// What a line should come to.
#[derive(Debug, Clone, Copy)]
enum Ends {
    Settled,
    Rejected(&'static str),
    /// Code and field.
    Line(&'static str, &'static str),
    Repeated,
}
use Ends::{Line, Rejected, Repeated, Settled};

/// A folder of media, and a manifest over it with what each line should come to.
struct Table {
    dir: DataDir,
    manifest: Manifest,
    expected: Vec<(usize, Ends, String)>,
    photos: std::vec::IntoIter<PathBuf>,
}

impl Table {
    fn new() -> Self {
        let dir = DataDir::new();
        dir.write("root/text.png", b"no picture at all");
        let media = repository().join("workflows/examples/media");
        let copied = fs::copy(media.join("voice-01.wav"), dir.outside().join("root/v.wav"));
        copied.expect("the example has a clip");
        let photos: Vec<PathBuf> =
            ["jpg", "jpg", "jpg", "jpg", "png", "png", "webp", "webp", "webp"]
                .iter()
                .zip(1..)
                .map(|(ending, number)| media.join(format!("photo-{number:02}.{ending}")))
                .collect();
        let mut table = Self {
            dir,
            manifest: Manifest::new("seoul"),
            expected: Vec::new(),
            photos: photos.into_iter(),
        };
        table.manifest.consent("p", "g");
        table
    }

    fn root(&self) -> PathBuf {
        self.dir.outside().join("root")
    }

    /// Puts a photo that no line has used at a path below the media root.
    fn photo(&mut self, name: &str) {
        let from = self.photos.next().expect("the example has enough photos");
        let to = self.root().join(name);
        fs::create_dir_all(to.parent().expect("below the root")).expect("is writable");
        fs::copy(from, to).expect("the example has that photo");
    }

    fn raw(&mut self, ends: Ends, line: &str) {
        let number = self.manifest.raw(line);
        self.expected.push((number, ends, line.chars().take(160).collect()));
    }

    /// A contribution of person `p` with some fields set, or taken away by null.
    fn with(&mut self, ends: Ends, change: &Value) {
        let line = contribution(&format!("k{}", self.manifest.lines()), change).to_string();
        self.raw(ends, &line);
    }

    fn uri(&mut self, ends: Ends, uri: &str) {
        self.with(ends, &json!({"media": {"uri": uri}}));
    }

    /// Runs all of it and holds every line against the report.
    fn check(self) -> Report {
        let manifest = self.dir.write("m.ndjson", self.manifest.as_bytes());
        drop(run(&self.dir, &manifest, &self.root()).expect(0));
        let report = self.dir.report();
        for (line, ends, text) in &self.expected {
            assert_ends(&report, *line, *ends, text);
        }
        assert_nothing_lost(&report, &fs::read(&manifest).expect("was written"));
        assert_audited(&Gristmill::command(), &self.dir, None);
        report
    }
}

fn contribution(key: &str, change: &Value) -> Value {
    let mut line = json!({
        "contributor": "p",
        "idempotency_key": key,
        "program": "seoul",
        "task": "street-photo",
        "modality": "image",
        "media": {"uri": "text.png"},
    });
    for (field, value) in change.as_object().expect("changes are an object") {
        if value.is_null() {
            line.as_object_mut().expect("a line is an object").remove(field);
        } else {
            line[field] = value.clone();
        }
    }
    line
}

fn run(dir: &DataDir, manifest: &Path, root: &Path) -> Output {
    let root = format!("--media-root={}", root.display());
    Gristmill::command().run(run_arguments(dir, manifest).into_iter().chain([root]))
}

fn assert_ends(report: &Report, line: usize, ends: Ends, text: &str) {
    let number = line as u64;
    let row = report.journeys.iter().find(|row| row.line == number);
    match ends {
        Settled | Rejected(_) => {
            let row = row.unwrap_or_else(|| {
                let refused = report.rejected_lines.iter().find(|r| r.line == number);
                panic!("line {line} is no journey: {text}: {refused:?}")
            });
            let reason = if let Rejected(reason) = ends { Some(reason) } else { None };
            let state = if reason.is_some() { "rejected" } else { "settled" };
            let found = (row.state.as_str(), row.reason.as_deref());
            assert_eq!(found, (state, reason), "line {line}: {text}");
        }
        Line(code, field) => {
            assert!(row.is_none(), "line {line} became a journey: {text}");
            let rejected = report.rejected(line);
            let found = (rejected.code.as_str(), rejected.field.as_deref().unwrap_or_default());
            assert_eq!(found, (code, field), "line {line}: {text}: {}", rejected.detail);
            assert!(!rejected.detail.is_empty(), "line {line}");
        }
        Repeated => {
            assert!(row.is_none(), "line {line} became a journey: {text}");
            let repeated = report.repeated_lines.iter().find(|r| r["line"] == number);
            let id = repeated.map(|repeated| repeated["id"].clone());
            let known = report.journeys.iter().any(|row| Some(json!(row.id)) == id);
            assert!(known, "line {line} repeats no journey: {text}");
        }
    }
}

/// Every line that is not blank, and no consent or withdrawal that was taken, is accounted for once.
fn assert_nothing_lost(report: &Report, manifest: &[u8]) {
    let mut lines: Vec<u64> = report.journeys.iter().map(|row| row.line).collect();
    lines.extend(report.repeated_lines.iter().filter_map(|row| row["line"].as_u64()));
    lines.extend(report.rejected_lines.iter().map(|row| row.line));
    lines.sort_unstable();
    let mut expected = Vec::new();
    for (text, number) in manifest.split(|byte| *byte == b'\n').zip(1_u64..) {
        let object: Option<Value> = serde_json::from_slice(text).ok();
        let control = object.is_some_and(|o| o.get("consent").or(o.get("withdraw")).is_some());
        let taken = control && !report.rejected_lines.iter().any(|row| row.line == number);
        if !text.trim_ascii().is_empty() && !taken {
            expected.push(number);
        }
    }
    assert_eq!(lines, expected);
}

#[test]
fn lines_that_are_no_objects_of_the_contract_are_rejected_by_code_and_field() {
    let mut table = Table::new();
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    for text in ["{", "[]", "\"x\"", "null", "{}}", "not json", "{\"a\":NaN}", "{'a':1}", &deep] {
        table.raw(Line("malformed_json", ""), text);
    }
    table.raw(Line("malformed_json", ""), "{\"captured_at\": 1e999}");
    table.raw(Line("malformed_json", ""), "\u{feff}{\"contributor\": \"p\"}");
    table.raw(Line("missing_field", "contributor"), "{}");
    for field in ["contributor", "idempotency_key", "program", "task", "modality", "media"] {
        table.with(Line("missing_field", field), &json!({field: null}));
    }
    table.with(Line("missing_field", "media.uri"), &json!({"media": {}}));
    table.with(Line("unknown_field", "colour"), &json!({"colour": "red"}));
    table.with(Line("unknown_field", "media.url"), &json!({"media": {"uri": "a", "url": "b"}}));
    let mut consent = table.manifest.consent_object("q", "g");
    consent["consent"]["age"] = json!(7);
    table.raw(Line("unknown_field", "consent.age"), &consent.to_string());
    consent["consent"] = json!([]);
    table.raw(Line("invalid_field", "consent"), &consent.to_string());
    table.raw(Line("unknown_field", "x"), "{\"withdraw\": {\"contributor\": \"p\"}, \"x\": 1}");
    let line = "{\"withdraw\": {\"contributor\": \"p\"}}";
    table.raw(Line("missing_field", "withdraw.grant"), line);
    let line = "{\"withdraw\": {\"contributor\": \"p\", \"grant\": \"never\"}}";
    table.raw(Line("unknown_grant", "withdraw.grant"), line);
    table.check();
}

#[test]
fn fields_of_absurd_value_are_rejected_by_name() {
    let mut table = Table::new();
    let invalid = [
        ("contributor", json!("")),
        ("contributor", json!("a\u{0}b")),
        ("contributor", json!("line\nbreak")),
        ("contributor", json!("x".repeat(129))),
        ("contributor", json!(7)),
        ("idempotency_key", json!(123_456_789_012_345_678_901_234_567_890_f64)),
        ("idempotency_key", json!("k".repeat(129))),
        ("idempotency_key", json!({"a": [1, -1]})),
        ("program", json!("../seoul")),
        ("task", json!(-1)),
        ("modality", json!("smell")),
        ("modality", json!(["image"])),
        ("language", json!("한국어")),
        ("language", json!("k")),
        ("media", json!("text.png")),
        ("transcript", json!("가".repeat(1400))),
        ("transcript", json!(1e300)),
        ("captured_at", json!("yesterday")),
        ("captured_at", json!("1969-12-31T23:59:59Z")),
        ("captured_at", json!("2026-02-30T00:00:00Z")),
        ("captured_at", json!("9999-12-31T23:59:59Z")),
        ("captured_at", json!("-5000-01-01T00:00:00Z")),
        ("captured_at", json!(1_700_000_000)),
    ];
    for (field, value) in invalid {
        table.with(Line("invalid_field", field), &json!({field: value}));
    }
    let hash = "A".repeat(64);
    let media = json!({"media": {"uri": "text.png", "sha256": hash}});
    table.with(Line("invalid_field", "media.sha256"), &media);
    table.with(Line("invalid_field", "media.uri"), &json!({"media": {"uri": "a".repeat(1025)}}));
    table.with(Line("unknown_program", "program"), &json!({"program": "busan"}));
    table.with(Line("unknown_task", "task"), &json!({"task": "street-food"}));
    let long = json!({"transcript": "x".repeat(LINE_MAX)});
    table.with(Line("line_too_long", ""), &long);
    table.raw(Line("line_too_long", ""), &"z".repeat(10 * LINE_MAX));
    table.photo("a.jpg");
    let line = contribution("longest", &json!({"media": {"uri": "a.jpg"}})).to_string();
    let blanks = " ".repeat(LINE_MAX - line.len());
    table.raw(Settled, &format!("{blanks}{line}"));
    table.check();
}

#[test]
fn media_that_cannot_be_taken_is_rejected_and_what_is_not_its_modality_too() {
    let mut table = Table::new();
    let root = table.root();
    table.dir.write("secret.png", b"secret");
    table.dir.write("root/empty.png", b"");
    fs::create_dir(root.join("folder")).expect("is writable");
    symlink("../secret.png", root.join("out.png")).expect("links are allowed");
    symlink("..", root.join("up")).expect("links are allowed");
    symlink("/dev/zero", root.join("zero.png")).expect("links are allowed");
    symlink("loop.png", root.join("loop.png")).expect("links are allowed");
    symlink("nowhere.png", root.join("dangling.png")).expect("links are allowed");
    let made = std::process::Command::new("mkfifo").arg(root.join("fifo.wav")).status();
    assert!(made.expect("mkfifo starts").success());
    let huge = fs::File::create(root.join("huge.png")).expect("is writable");
    huge.set_len(MEDIA_MAX + 1).expect("a file may have holes");
    for uri in ["none.png", "folder/none.png", "dangling.png"] {
        table.uri(Line("media_missing", "media.uri"), uri);
    }
    let outside = table.dir.outside().join("secret.png").display().to_string();
    for uri in ["../secret.png", "./text.png", "", "/etc/passwd", &outside, "a\u{0}b", "out.png"] {
        table.uri(Line("media_path", "media.uri"), uri);
    }
    for uri in ["up/secret.png", "folder/../../secret.png", "zero.png", "loop.png", "folder"] {
        table.uri(Line("media_path", "media.uri"), uri);
    }
    table.uri(Line("media_path", "media.uri"), "fifo.wav");
    table.uri(Line("media_too_large", "media.uri"), "huge.png");
    let wrong = "0".repeat(64);
    let media = json!({"media": {"uri": "text.png", "sha256": wrong}});
    table.with(Line("media_sha256", "media.sha256"), &media);
    let media = json!({"media": {"sha256": wrong}});
    table.with(Line("media_missing", "media.sha256"), &media);
    table.uri(Rejected("undecodable"), "empty.png");
    table.uri(Rejected("undecodable"), "text.png");
    table.uri(Rejected("wrong_modality"), "v.wav");
    let voice = |language: Value| {
        json!({"task": "voice-ko", "modality": "voice", "language": language,
            "media": {"uri": "v.wav"}})
    };
    table.with(Rejected("wrong_language"), &voice(json!("en")));
    table.with(Rejected("wrong_language"), &voice(Value::Null));
    table.with(Rejected("wrong_modality"), &json!({"task": "voice-ko", "language": "ko"}));
    table.with(Settled, &voice(json!("ko-KR")));
    table.check();
}

#[test]
fn names_of_people_and_files_are_text_and_never_commands_or_paths() {
    let mut table = Table::new();
    let nfd = "\u{1100}\u{1175}\u{11b7}\u{110e}\u{1165}\u{11af}\u{1109}\u{116e}";
    let shell = "$(touch pwned); `touch pwned` | 'a' \"b\" & ../../x %s";
    for (person, file) in [(nfd, "nfd.jpg"), (shell, "shell.jpg"), ("../../etc", "up.jpg")] {
        table.photo(file);
        table.manifest.consent(person, "g");
        table.with(Settled, &json!({"contributor": person, "media": {"uri": file}}));
    }
    // Stored in one normal form and named in the other.
    table.photo("\u{1112}\u{1161}\u{11ab}.jpg");
    table.uri(Settled, "한.jpg");
    table.photo("$(touch pwned) 'a'.png");
    table.uri(Settled, "$(touch pwned) 'a'.png");
    table.photo("deep/er/x.png");
    symlink("deep/er/x.png", table.root().join("inside.png")).expect("links are allowed");
    table.uri(Settled, "inside.png");
    let outside = table.dir.outside().to_owned();
    let report = table.check();
    assert_eq!(report.journeys.iter().filter(|row| row.contributor == nfd).count(), 1);
    for folder in [outside.clone(), outside.join("root"), outside.join("data")] {
        assert!(!folder.join("pwned").exists(), "{}", folder.display());
    }
}

#[test]
fn a_key_means_one_body_and_a_line_that_was_refused_does_not_use_it_up() {
    let mut table = Table::new();
    table.photo("a.jpg");
    let first = contribution("key", &json!({"media": {"uri": "a.jpg"}}));
    table.raw(Settled, &first.to_string());
    table.raw(Repeated, &first.to_string());
    table.raw(Repeated, &format!("  {}\r", first.to_string().replace(',', " , ")));
    let mut other = first;
    other["transcript"] = json!("another body");
    table.raw(Line("idempotency_key_reused", "idempotency_key"), &other.to_string());
    let missing = contribution("late", &json!({"media": {"uri": "none.jpg"}}));
    table.raw(Line("media_missing", "media.uri"), &missing.to_string());
    table.raw(Line("media_missing", "media.uri"), &missing.to_string());
    table.photo("b.jpg");
    let mended = contribution("late", &json!({"media": {"uri": "b.jpg"}}));
    table.raw(Settled, &mended.to_string());
    table.raw(Repeated, &mended.to_string());
    table.raw(Line("idempotency_key_reused", "idempotency_key"), &missing.to_string());
    table.check();
}

#[test]
fn bytes_that_are_no_text_blank_lines_and_a_missing_last_newline_lose_nothing() {
    let dir = DataDir::new();
    let mut bytes = b"\n   \n\r\n\t\n".to_vec();
    bytes.extend_from_slice(&(0..=255).filter(|byte| *byte != b'\n').collect::<Vec<u8>>());
    bytes.extend_from_slice(b"\n{\"contributor\": \"\xff\xfe\"}\n\0\0\0\n");
    bytes.extend_from_slice(Manifest::engine("k", 3, 1).as_bytes());
    assert_eq!(bytes.pop(), Some(b'\n'));
    let manifest = dir.write("m.ndjson", &bytes);
    drop(run(&dir, &manifest, dir.outside()).expect(0));
    let report = dir.report();
    assert_nothing_lost(&report, &bytes);
    assert_eq!((report.total("settled"), report.rejected_lines.len()), (3, 3));
    assert!(report.rejected_lines.iter().all(|row| row.code == "malformed_json"));
}

#[test]
fn an_empty_manifest_is_fine_and_a_missing_one_is_a_usage_error() {
    let dir = DataDir::new();
    let empty = dir.write("empty.ndjson", b"");
    drop(run(&dir, &empty, dir.outside()).expect(0));
    let report = dir.report();
    assert!(report.journeys.is_empty() && report.totals.values().all(|count| *count == 0));
    assert_log_verified(&Gristmill::command(), &dir);
    let missing = run(&dir, &dir.outside().join("none.ndjson"), dir.outside()).expect(2);
    assert!(missing.stderr.contains("none.ndjson"), "{}", missing.stderr);
    drop(run(&dir, dir.outside(), dir.outside()).expect(2));
    let root = dir.outside().join("no-root");
    assert!(run(&dir, &empty, &root).expect(2).stderr.contains("no-root"));
    drop(Gristmill::command().run(["run"]).expect(2));
    drop(Gristmill::command().run(["run", "--nonsense"]).expect(2));
}

#[test]
fn every_hostile_file_gets_a_reason_of_the_contract_in_every_modality() {
    let (Some(hostile), Some(broken)) = (shared("media/hostile"), shared("media/video/broken"))
    else {
        return;
    };
    let root = hostile.parent().expect("below media").to_owned();
    let dir = DataDir::new();
    let mut manifest = Manifest::new("seoul");
    let mut files = Vec::new();
    files_below(&hostile, &mut files);
    files_below(&broken, &mut files);
    let tasks = [("voice-ko", "voice"), ("street-photo", "image"), ("street-video", "video")];
    for (file, number) in files.iter().zip(0..) {
        let uri = file.strip_prefix(&root).expect("below the root").display().to_string();
        for (task, modality) in tasks {
            let person = format!("p{number}-{modality}");
            manifest.consent(&person, "g");
            manifest.media(&person, &format!("{number}-{modality}"), task, modality, &uri);
        }
    }
    assert!(files.len() > 50, "{} files", files.len());
    let path = dir.write("m.ndjson", manifest.as_bytes());
    drop(run(&dir, &path, &root).expect(0));
    let report = dir.report();
    assert_nothing_lost(&report, manifest.as_bytes());
    assert_eq!(report.journeys.len(), files.len() * tasks.len());
    for row in &report.journeys {
        let key = &row.idempotency_key;
        let number: usize = key.split('-').next().and_then(|n| n.parse().ok()).expect("a number");
        let about = format!("{} as {key}: {:?}", files[number].display(), row.cause);
        match row.state.as_str() {
            "settled" => {}
            "rejected" => {
                assert!(SCORING.contains(&row.reason.as_deref().unwrap_or("")), "{about}")
            }
            state => panic!("{about}: {state}"),
        }
    }
    assert_audited(&Gristmill::command(), &dir, None);
}

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a folder can be read").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            files_below(&path, files);
        } else {
            files.push(path);
        }
    }
}
