//! How far a manifest was handed to a node: a small file beside the manifest, one for each node
//! (told apart by the key of its log). It stays when the manifest is through, so that the same
//! manifest again changes nothing, and a longer one only by what is new.

use crate::limits::{PROGRESS_BYTES_MAX, REJECTED_KEPT};
use crate::manifest;
use gristmill_workflows::id::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// Why it is not known how far a manifest went.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The file, or the manifest.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was met.
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error("{}: says not how far a manifest went: {source}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The file was written for another node.
    #[error("{}: is of another node", path.display())]
    OtherNode {
        /// Which.
        path: PathBuf,
    },
    /// The manifest was changed where it is through.
    #[error(
        "the first {lines} lines are others than those that went in earlier; without {} the \
         manifest goes in from its start",
        path.display()
    )]
    OtherLines {
        /// The file.
        path: PathBuf,
        /// Lines that went in.
        lines: u64,
    },
}

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Noted {
    /// The node's log.
    vkey: String,
    /// Lines that are through.
    lines: u64,
    /// SHA-256 of all of them.
    sha256: String,
    /// Those among them that were rejected: the next submit hands them in again.
    rejected: BTreeSet<u64>,
}

/// How far a manifest was handed in.
#[derive(Debug)]
pub(super) struct Progress {
    path: PathBuf,
    noted: Noted,
    /// Lines that were through before.
    before: u64,
    lines: Lines,
    /// Up to the last line that needs nothing more but its batch.
    handled: Lines,
}

/// Lines of a manifest, counted and hashed.
#[derive(Debug, Clone, Default)]
struct Lines {
    count: u64,
    hash: Sha256,
}

impl Lines {
    fn add(&mut self, line: Option<&[u8]>) {
        self.count += 1;
        self.hash.update(b"\n");
        self.hash.update(line.unwrap_or(b"too long"));
    }

    fn sha256(&self) -> String {
        let hash: [u8; 32] = self.hash.clone().finalize().into();
        hex(&hash)
    }
}

impl Progress {
    /// What is noted of this manifest and this node.
    pub(super) fn open(manifest: &Path, path: Option<&Path>, vkey: &str) -> Result<Self, Error> {
        let vkey = vkey.trim().to_owned();
        let node: [u8; 32] = Sha256::digest(vkey.as_bytes()).into();
        let beside = || {
            let mut name = manifest.as_os_str().to_owned();
            name.push(format!(".submitted-{}", &hex(&node)[..8]));
            PathBuf::from(name)
        };
        let path = path.map_or_else(beside, Path::to_owned);
        let sha256 = Lines::default().sha256();
        let none = Noted { vkey: vkey.clone(), lines: 0, sha256, rejected: BTreeSet::new() };
        let noted = read(&path)?.unwrap_or(none);
        if noted.vkey != vkey {
            return Err(Error::OtherNode { path });
        }
        if !begins_with(manifest, &noted)? {
            return Err(Error::OtherLines { path, lines: noted.lines });
        }
        let before = noted.lines;
        let (lines, handled) = (Lines::default(), Lines::default());
        Ok(Self { path, noted, before, lines, handled })
    }

    /// Lines that an earlier submit has handed in.
    pub(super) fn before(&self) -> u64 {
        self.before
    }

    /// Counts a line, none if it is too long; true if it went in earlier.
    pub(super) fn read(&mut self, line: Option<&[u8]>) -> bool {
        self.lines.add(line);
        let number = self.lines.count;
        number <= self.before && !self.noted.rejected.contains(&number)
    }

    /// The line that was read last needs nothing more, or stands in the batch that goes next.
    pub(super) fn handled(&mut self) {
        self.handled = self.lines.clone();
    }

    /// A line was rejected.
    pub(super) fn rejected(&mut self, line: u64) {
        if self.noted.rejected.len() < REJECTED_KEPT {
            self.noted.rejected.insert(line);
        }
    }

    /// A line is durable.
    pub(super) fn taken(&mut self, line: u64) {
        self.noted.rejected.remove(&line);
    }

    /// Everything that was handled is durable: writes it down.
    pub(super) fn durable(&mut self) -> Result<(), Error> {
        if self.handled.count > self.noted.lines {
            self.noted.lines = self.handled.count;
            self.noted.sha256 = self.handled.sha256();
        }
        let failed = |source| Error::File { path: self.path.clone(), source };
        let text = serde_json::to_vec(&self.noted)
            .map_err(|source| Error::Content { path: self.path.clone(), source })?;
        let mut name = self.path.as_os_str().to_owned();
        name.push(".new");
        let mut file = File::create(&name).map_err(failed)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
        std::fs::rename(&name, &self.path).map_err(failed)
    }
}

fn read(path: &Path) -> Result<Option<Noted>, Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    let mut text = Vec::new();
    file.take(PROGRESS_BYTES_MAX).read_to_end(&mut text).map_err(failed)?;
    let noted = serde_json::from_slice(&text);
    noted.map(Some).map_err(|source| Error::Content { path: path.to_owned(), source })
}

fn begins_with(manifest: &Path, noted: &Noted) -> Result<bool, Error> {
    let failed = |source| Error::File { path: manifest.to_owned(), source };
    let mut reader = BufReader::with_capacity(1 << 20, File::open(manifest).map_err(failed)?);
    let mut lines = Lines::default();
    while lines.count < noted.lines {
        let Some(line) = manifest::next_line(&mut reader).map_err(failed)? else {
            return Ok(false);
        };
        lines.add(line.as_deref().ok());
    }
    Ok(lines.sha256() == noted.sha256)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(progress: &mut Progress, text: &str) -> Vec<bool> {
        let known = text.lines().map(|line| {
            let known = progress.read(Some(line.as_bytes()));
            progress.handled();
            known
        });
        known.collect()
    }

    #[test]
    fn what_went_in_is_skipped_and_what_was_rejected_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("m");
        std::fs::write(&manifest, "a\nb\nc\n").unwrap();
        let open = || Progress::open(&manifest, None, "log+1\n");
        let mut progress = open().unwrap();
        assert_eq!(all(&mut progress, "a\nb"), [false, false]);
        progress.rejected(2);
        progress.durable().unwrap();
        let mut progress = open().unwrap();
        assert_eq!(progress.before(), 2);
        assert_eq!(all(&mut progress, "a\nb\nc"), [true, false, false]);
        progress.taken(2);
        progress.durable().unwrap();
        let mut progress = open().unwrap();
        assert_eq!(all(&mut progress, "a\nb\nc"), [true, true, true]);
        // Another node has another file; another beginning is an error.
        assert_eq!(Progress::open(&manifest, None, "log+2").unwrap().before(), 0);
        std::fs::write(&manifest, "a\nB\nc\nd\n").unwrap();
        assert!(matches!(open(), Err(Error::OtherLines { lines: 3, .. })));
        std::fs::write(&manifest, "a\n").unwrap();
        assert!(matches!(open(), Err(Error::OtherLines { lines: 3, .. })));
    }

    #[test]
    fn a_file_of_another_node_or_of_something_else_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (manifest, path) = (folder.path().join("m"), folder.path().join("p"));
        std::fs::write(&manifest, "a\n").unwrap();
        let open = |vkey| Progress::open(&manifest, Some(&path), vkey);
        open("log+1").unwrap().durable().unwrap();
        assert!(matches!(open("log+2"), Err(Error::OtherNode { .. })));
        std::fs::write(&path, "{}").unwrap();
        assert!(matches!(open("log+1"), Err(Error::Content { .. })));
    }
}
