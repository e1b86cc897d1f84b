//! `gristmill trace verify`: checks a whole public log, of this node or another.
//!
//! Every bundle and tile down to the signed root, the shape of every entry, and, where the log is
//! a folder, that all its checkpoints are of one history.

use crate::entry_shape::{self, KINDS};
use crate::limits::WRONG_ENTRIES_MAX;
use crate::log_folder::LogFolder;
use crate::log_http::{self, LogHttp};
use gristmill_trace::checkpoint::Checkpoint;
use gristmill_trace::key::Verifier;
use gristmill_trace::reader::{Fetch, FetchError};
use gristmill_trace::verify::{self, CHECKPOINT_PATH, Fault};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// The folder of older checkpoints.
pub(crate) const CHECKPOINTS: &str = "checkpoints";

/// Why a log could not be checked at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its address.
    #[error(transparent)]
    Address(#[from] log_http::Error),
    /// The checking thread ended.
    #[error("the check ended: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Something wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Offence {
    /// Path of the object below the log's root.
    pub path: String,
    /// What is wrong.
    pub detail: String,
}

/// What the check found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checked {
    /// Whether everything holds.
    pub ok: bool,
    /// The log's name, if its checkpoint is signed by the key.
    pub origin: Option<String>,
    /// Entries that the checkpoint covers.
    pub size: Option<u64>,
    /// Their root, base64.
    pub root: Option<String>,
    /// Entries by kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Older checkpoints that the newest one extends.
    pub checkpoints: u64,
    /// Tiles and bundles looked at.
    pub objects: u64,
    /// What is wrong.
    pub offences: Vec<Offence>,
    /// Whether there may be more than is listed.
    pub truncated: bool,
    /// How long it took.
    pub seconds: f64,
}

/// Checks the log in a folder or behind an `http://` address.
///
/// # Errors
/// [`Error`] when the address is none. What is wrong with the log, or cannot be fetched, is in the
/// answer.
pub async fn check(log: &str, verifier: &Verifier) -> Result<Checked, Error> {
    let verifier = verifier.clone();
    if LogHttp::is_address(log) {
        let http = LogHttp::new(log)?;
        let runtime = tokio::runtime::Handle::current();
        let checked = tokio::task::spawn_blocking(move || {
            let mut fetch = |path: &str| {
                let object = runtime.block_on(http.object(path));
                object.map(|bytes| bytes.map(|b| b.to_vec())).map_err(FetchError::from)
            };
            check_with(&mut fetch, &verifier, Vec::new())
        });
        return Ok(checked.await?);
    }
    check_folder(LogFolder::new(Path::new(log)), &verifier).await
}

/// Checks the log in a folder of files or of a bucket.
///
/// # Errors
/// When the checking thread ended.
pub async fn check_folder(log: LogFolder, verifier: &Verifier) -> Result<Checked, Error> {
    let verifier = verifier.clone();
    Ok(tokio::task::spawn_blocking(move || check_objects(&log, &verifier)).await?)
}

fn check_objects(log: &LogFolder, verifier: &Verifier) -> Checked {
    let (older, unlisted) = match log.numbered(CHECKPOINTS) {
        Ok(numbered) => (numbered, None),
        Err(error) => (Vec::new(), Some(offence(CHECKPOINTS, &error))),
    };
    let mut checked = check_with(&mut log.fetch(), verifier, older);
    if let Some(offence) = unlisted {
        checked.offences.push(offence);
        checked.ok = false;
    }
    checked
}

fn check_with(fetch: &mut Fetch<'_>, verifier: &Verifier, older: Vec<(u64, String)>) -> Checked {
    let began = Instant::now();
    let mut counts = [0u64; KINDS.len()];
    let mut wrong: Vec<(u64, entry_shape::Error)> = Vec::new();
    let mut more_wrong = false;
    let report = verify::log(fetch, verifier, |entry| match entry_shape::check(entry.bytes) {
        Ok(kind) => counts[kind] += 1,
        Err(error) if wrong.len() < WRONG_ENTRIES_MAX => wrong.push((entry.index, error)),
        Err(_) => more_wrong = true,
    });
    let kinds = KINDS.into_iter().zip(counts).collect();
    let mut checked = Checked {
        ok: false,
        origin: None,
        size: None,
        root: None,
        kinds,
        checkpoints: 0,
        objects: 0,
        offences: Vec::new(),
        truncated: more_wrong,
        seconds: 0.0,
    };
    match report {
        Err(error) => checked.offences.push(offence(CHECKPOINT_PATH, &Causes(&error))),
        Ok(report) => {
            checked.origin = Some(report.checkpoint.origin.clone());
            checked.size = Some(report.checkpoint.size);
            checked.root = Some(report.checkpoint.root.to_base64());
            checked.objects = report.objects;
            checked.truncated |= report.truncated;
            checked.offences = report.faults.iter().map(fault).collect();
            let altered: Vec<u64> = report.faults.iter().filter_map(altered).collect();
            wrong.retain(|(index, _)| !altered.contains(index));
            checked.offences.extend(wrong.into_iter().map(|(index, error)| Offence {
                path: entry_path(index, report.checkpoint.size),
                detail: format!("entry {index} {error}"),
            }));
            // A proof from damaged tiles would only tell of the damage again.
            if report.is_whole() {
                history(fetch, verifier, &report.checkpoint, older, &mut checked);
            }
        }
    }
    checked.ok = checked.offences.is_empty() && !checked.truncated;
    checked.seconds = began.elapsed().as_secs_f64();
    checked
}

/// Holds other checkpoints against the one that is served: the larger must extend the smaller. One
/// larger one may stand already, since it is written first.
fn history(
    fetch: &mut Fetch<'_>,
    verifier: &Verifier,
    served: &Checkpoint,
    others: Vec<(u64, String)>,
    checked: &mut Checked,
) {
    let larger = others.iter().filter(|(size, _)| *size > served.size).count();
    if larger > 1 {
        let detail =
            format!("size {} is not the newest: {larger} larger were published", served.size);
        checked.offences.push(Offence { path: CHECKPOINT_PATH.to_owned(), detail });
    }
    for (size, path) in others {
        match of_history(fetch, verifier, served, size, &path) {
            Ok(()) => checked.checkpoints += 1,
            Err(detail) => checked.offences.push(Offence { path, detail }),
        }
    }
}

fn of_history(
    fetch: &mut Fetch<'_>,
    verifier: &Verifier,
    served: &Checkpoint,
    size: u64,
    path: &str,
) -> Result<(), String> {
    let note = fetch(path).map_err(|error| error.to_string())?;
    let note = note.ok_or_else(|| "missing".to_owned())?;
    let other = Checkpoint::open(&note, verifier).map_err(|error| error.to_string())?;
    if other.size != size {
        return Err(format!("is of size {}", other.size));
    }
    let (older, newer) = if size > served.size { (served, &other) } else { (&other, served) };
    verify::extends(fetch, older, newer).map_err(|error| error.to_string())
}

/// An error with what caused it, in one line.
struct Causes<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

fn offence(path: &str, error: &impl std::fmt::Display) -> Offence {
    Offence { path: path.to_owned(), detail: error.to_string() }
}

/// The index of an entry that was altered.
fn altered(fault: &Fault) -> Option<u64> {
    match fault {
        Fault::Entry { index, .. } => Some(*index),
        Fault::Stored(_) | Fault::Tile { .. } | Fault::Entries { .. } | Fault::Root { .. } => None,
    }
}

/// A fault of the log, by the path of its object.
pub(crate) fn fault(fault: &Fault) -> Offence {
    use gristmill_trace::reader::Error as Stored;
    let path = match fault {
        Fault::Tile { path } | Fault::Entry { path, .. } | Fault::Entries { path } => path.clone(),
        Fault::Stored(
            Stored::Fetch { path, .. }
            | Stored::Missing { path }
            | Stored::Length { path, .. }
            | Stored::Bundle { path, .. },
        ) => path.clone(),
        Fault::Stored(Stored::Node { .. } | Stored::Proof(_)) | Fault::Root { .. } => {
            CHECKPOINT_PATH.to_owned()
        }
    };
    Offence { path, detail: fault.to_string() }
}

/// The path of the bundle that holds an entry.
pub(crate) fn entry_path(index: u64, size: u64) -> String {
    use gristmill_trace::limits::TILE_WIDTH;
    use gristmill_trace::tile::{Kind, Tile};
    let tile = Tile::in_log(Kind::Entries, index / TILE_WIDTH as u64, size);
    tile.map_or_else(|| format!("entry {index}"), |tile| tile.path())
}

impl Checked {
    /// What was found, for people.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let (Some(origin), Some(size), Some(root)) = (&self.origin, self.size, &self.root) {
            lines.push(format!("origin   {origin}"));
            lines.push(format!("size     {size}"));
            lines.push(format!("root     {root}"));
            let kinds = self.kinds.iter().map(|(kind, count)| format!("{count} {kind}"));
            lines.push(format!("entries  {}", kinds.collect::<Vec<_>>().join(", ")));
            lines.push(format!("extends  {} other checkpoints", self.checkpoints));
        }
        lines.push(format!("seconds  {:.2}", self.seconds));
        lines.extend(
            self.offences.iter().map(|one| format!("WRONG    {}: {}", one.path, one.detail)),
        );
        if self.truncated {
            lines.push("WRONG    and there may be more that is not listed".to_owned());
        }
        lines.push(if self.ok { "the log holds" } else { "the log does NOT hold" }.to_owned());
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipts::tests::Published;
    use std::fs;

    async fn offences(log: &Published) -> Vec<String> {
        let trace = log.trace();
        let checked = check(trace.to_str().unwrap(), &log.verifier()).await.unwrap();
        assert_eq!(checked.ok, checked.offences.is_empty());
        checked.offences.into_iter().map(|one| one.path).collect()
    }

    #[tokio::test]
    async fn a_whole_log_holds() {
        let log = Published::new(3).await;
        let checked = check(log.trace().to_str().unwrap(), &log.verifier()).await.unwrap();
        assert!(checked.ok, "{checked:?}");
        assert_eq!((checked.size, checked.checkpoints), (Some(7), 2));
        assert_eq!((checked.kinds["contribution"], checked.kinds["rate_card"]), (3, 1));
        assert!(checked.lines().last().unwrap().contains("holds"));
    }

    #[tokio::test]
    async fn damage_is_told_by_path() {
        let log = Published::new(3).await;
        for (path, at) in [("tile/entries/000.p/7", 90), ("tile/0/000.p/7", 40), ("checkpoint", 3)]
        {
            let file = log.trace().join(path);
            let good = fs::read(&file).unwrap();
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&file, &bad).unwrap();
            assert_eq!(offences(&log).await, [path]);
            fs::write(&file, &good).unwrap();
        }
        fs::remove_file(log.trace().join("checkpoint")).unwrap();
        assert_eq!(offences(&log).await, ["checkpoint"]);
    }

    #[tokio::test]
    async fn checkpoints_of_another_history_are_told() {
        let log = Published::new(3).await;
        let other = Published::new(4).await;
        let note = fs::read(other.trace().join("checkpoints/00000000000000000009")).unwrap();
        fs::write(log.trace().join("checkpoints/00000000000000000005"), &note).unwrap();
        fs::write(log.trace().join("checkpoints/00000000000000000002"), b"x").unwrap();
        let expected = ["checkpoints/00000000000000000002", "checkpoints/00000000000000000005"];
        assert_eq!(offences(&log).await, expected);
    }

    #[tokio::test]
    async fn a_log_that_is_not_there_is_told() {
        let log = Published::new(1).await;
        let checked = check("http://127.0.0.1:1/trace", &log.verifier()).await.unwrap();
        assert!(!checked.ok && checked.offences[0].path == "checkpoint", "{checked:?}");
        let checked = check("/nowhere", &log.verifier()).await.unwrap();
        assert_eq!(checked.offences[0].path, "checkpoint");
    }

    #[test]
    fn a_million_entries_in_a_folder_are_checked_within_five_seconds() {
        if std::env::var_os("GRISTMILL_MEASURE").is_none() {
            eprintln!("skipped: a measurement, made with GRISTMILL_MEASURE=1");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let key = gristmill_trace::key::SigningKey::from_seed("example.com/log", &[7; 32]).unwrap();
        let mut publisher = gristmill_trace::publisher::Publisher::new();
        for batch in 0..100u64 {
            // About the length of a contribution entry.
            let entry = |item: u64| {
                let (id, commit) = (batch * 10_000 + item, "A".repeat(280));
                format!(
                    r#"{{"commit":"{commit}","id":"{id:032x}","kind":"contribution","micro":1,"v":1}}"#
                )
            };
            let entries: Vec<String> = (0..10_000).map(entry).collect();
            for object in publisher.publish(&entries).unwrap() {
                let path = dir.path().join(object.tile.path());
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, object.bytes).unwrap();
            }
        }
        let (size, root) = (publisher.size(), publisher.root());
        let note = Checkpoint { origin: key.name().to_owned(), size, root }.sign(&key).unwrap();
        fs::write(dir.path().join("checkpoint"), note).unwrap();
        let checked = check_objects(&LogFolder::new(dir.path()), key.verifier());
        eprintln!("{} entries checked in {:.2} s", size, checked.seconds);
        assert!(checked.ok, "{:?}", checked.offences.first());
        assert!(checked.seconds < 5.0, "{}", checked.seconds);
    }
}
