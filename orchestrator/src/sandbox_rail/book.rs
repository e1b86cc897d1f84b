//! The book: one NDJSON file of `BookLine`s to which lines are only ever added.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use gristmill_actors::rail::BookLine;

use super::limits::{MAX_BOOK_LINE, MAX_BOOK_WRITE};

/// Name of the book's file in its directory.
pub const BOOK_FILE: &str = "book.ndjson";
/// Name of the file whose lock keeps a second server away.
const LOCK_FILE: &str = "lock";
/// The offset of one line in so many is kept in memory.
pub(super) const INDEX_STEP: u64 = 1_024;

/// Why a book cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// Another server has this book open.
    #[error("{} is in use by another rail", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A line that a crash cannot explain.
    #[error("{} line {line} is corrupt: {corruption}", path.display())]
    Corrupt {
        /// The book's file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: u64,
        /// What is wrong.
        corruption: Corruption,
    },
}

/// What is wrong with a line of the book.
#[derive(Debug, thiserror::Error)]
pub enum Corruption {
    /// Not a book line.
    #[error("{0}")]
    Malformed(#[from] serde_json::Error),
    /// Longer than any line the rail writes.
    #[error("longer than {MAX_BOOK_LINE} bytes")]
    TooLong,
    /// The sequence numbers have a gap or a repetition.
    #[error("sequence number {found} where {expected} belongs")]
    Sequence {
        /// What belongs here.
        expected: u64,
        /// What stands here.
        found: u64,
    },
}

/// An open book, positioned at its end.
pub(super) struct Book {
    pub(super) file: File,
    pub(super) path: PathBuf,
    /// Bytes of whole lines.
    pub(super) bytes: u64,
    /// Sequence number of the last line, 0 for an empty book.
    pub(super) last: u64,
    /// Offsets of the lines 1, 1 + `INDEX_STEP`, …
    pub(super) index: Vec<u64>,
    /// Held for as long as the book is open.
    pub(super) lock: File,
}

impl Book {
    /// Opens or creates the book in `dir`, shows each line to `replay` and cuts off a torn end.
    pub(super) fn open(dir: &Path, mut replay: impl FnMut(&BookLine)) -> Result<Self, Error> {
        std::fs::create_dir_all(dir).map_err(failed("create", dir))?;
        let lock = lock(&dir.join(LOCK_FILE))?;
        let path = dir.join(BOOK_FILE);
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(failed("open", &path))?;
        let mut lines = Lines::new(&file, &path)?;
        let (mut last, mut index) = (0, Vec::new());
        loop {
            let offset = lines.bytes;
            let Some(line) = lines.next() else { break };
            let line = line?;
            if line.seq != last + 1 {
                let corruption = Corruption::Sequence { expected: last + 1, found: line.seq };
                return Err(lines.corrupt(corruption));
            }
            if last.is_multiple_of(INDEX_STEP) {
                index.push(offset);
            }
            last = line.seq;
            replay(&line);
        }
        let (bytes, torn) = (lines.bytes, lines.length.saturating_sub(lines.bytes));
        if torn > 0 {
            tracing::warn!(bytes = torn, "the book had a torn end, never answered for: cut off");
        }
        file.set_len(bytes).map_err(failed("cut", &path))?;
        file.sync_all().map_err(failed("sync", &path))?;
        let directory = File::open(dir).map_err(failed("open", dir))?;
        directory.sync_all().map_err(failed("sync", dir))?;
        Ok(Self { file, path, bytes, last, index, lock })
    }
}

fn lock(path: &Path) -> Result<File, Error> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(failed("open", path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed("lock", path)(source)),
    }
}

pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}

/// The lines of a book's file in the order of the file, for the auditor and for replay.
///
/// A torn end was never answered for and ends the iteration: a last line without its newline, or
/// what a power loss leaves of the last write, sectors of which are missing and read as zeros (a
/// line holds none). The sequence numbers are not judged here.
pub struct Lines {
    reader: BufReader<File>,
    path: PathBuf,
    buffer: Vec<u8>,
    number: u64,
    /// Bytes of the whole lines read so far.
    bytes: u64,
    /// Bytes of the file when it was opened.
    length: u64,
}

impl Lines {
    /// Opens the book in `dir` for reading, without its lock.
    ///
    /// # Errors
    /// `Io` when the book cannot be opened.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(BOOK_FILE);
        let file = File::open(&path).map_err(failed("open", &path))?;
        Self::new(&file, &path)
    }

    fn new(file: &File, path: &Path) -> Result<Self, Error> {
        let file = file.try_clone().map_err(failed("read", path))?;
        let length = file.metadata().map_err(failed("read", path))?.len();
        let reader = BufReader::with_capacity(256 * 1024, file);
        let path = path.to_owned();
        Ok(Self { reader, path, buffer: Vec::new(), number: 0, bytes: 0, length })
    }

    /// Bytes of the file when it was opened.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    fn corrupt(&self, corruption: Corruption) -> Error {
        Error::Corrupt { path: self.path.clone(), line: self.number, corruption }
    }

    /// Whether the line that was read lies in what a power loss may leave of the last write.
    fn is_torn(&self) -> bool {
        let longest = (MAX_BOOK_WRITE + MAX_BOOK_LINE) as u64;
        self.buffer.contains(&0) && self.length.saturating_sub(self.bytes) <= longest
    }

    fn read(&mut self) -> Result<Option<BookLine>, Error> {
        self.buffer.clear();
        let limit = MAX_BOOK_LINE as u64;
        let read = self
            .reader
            .by_ref()
            .take(limit)
            .read_until(b'\n', &mut self.buffer)
            .map_err(failed("read", &self.path))?;
        self.number += 1;
        if self.is_torn() {
            return Ok(None);
        }
        if self.buffer.last() != Some(&b'\n') {
            let whole = read < MAX_BOOK_LINE;
            return if whole { Ok(None) } else { Err(self.corrupt(Corruption::TooLong)) };
        }
        let line = serde_json::from_slice(&self.buffer)
            .map_err(|error| self.corrupt(Corruption::Malformed(error)))?;
        self.bytes += read as u64;
        Ok(Some(line))
    }
}

impl Iterator for Lines {
    /// A line, or why the file cannot be read on.
    type Item = Result<BookLine, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const FIRST: &str =
        r#"{"seq":1,"key":"a","account":"x","currency":"KRW","minor":5,"state":"paid","at_ms":1}"#;
    const SECOND: &str = r#"{"seq":2,"key":"b","account":"x","currency":"KRW","minor":6,"state":"failed","at_ms":2}"#;

    fn written(text: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        File::create(dir.path().join(BOOK_FILE)).unwrap().write_all(text.as_bytes()).unwrap();
        dir
    }

    fn open(dir: &Path) -> Result<(Book, Vec<String>), Error> {
        let mut keys = Vec::new();
        let book = Book::open(dir, |line| keys.push(line.key.clone()))?;
        Ok((book, keys))
    }

    #[test]
    fn a_torn_last_line_is_dropped() {
        let dir = written(&format!("{FIRST}\n{SECOND}\n{{\"seq\":3,\"ke"));
        let (book, keys) = open(dir.path()).unwrap();
        assert_eq!((book.last, keys), (2, vec!["a".to_owned(), "b".to_owned()]));
        drop(book);
        let left = std::fs::read_to_string(dir.path().join(BOOK_FILE)).unwrap();
        assert_eq!(left, format!("{FIRST}\n{SECOND}\n"));
    }

    #[test]
    fn an_end_with_a_hole_in_it_is_dropped_with_all_that_follows() {
        let hole = "\0".repeat(6_000);
        for end in [
            format!("\0\0\0d\"}}\n{SECOND}\n"),
            format!("{{\"seq\":2,\0\0\n{SECOND}\n"),
            format!("{hole}{SECOND}\n{SECOND}\n{{\"seq"),
            hole,
        ] {
            let dir = written(&format!("{FIRST}\n{end}"));
            let read: Result<Vec<BookLine>, Error> = Lines::open(dir.path()).unwrap().collect();
            assert_eq!(read.unwrap().len(), 1);
            let (book, keys) = open(dir.path()).unwrap();
            assert_eq!((book.last, keys), (1, vec!["a".to_owned()]));
            drop(book);
            let left = std::fs::read_to_string(dir.path().join(BOOK_FILE)).unwrap();
            assert_eq!(left, format!("{FIRST}\n"));
        }
    }

    #[test]
    fn a_hole_that_more_than_one_write_follows_is_corruption() {
        let line = format!("{SECOND}\n");
        let many = line.repeat((MAX_BOOK_WRITE + MAX_BOOK_LINE) / line.len() + 1);
        let text = format!("{FIRST}\n\0\0\0\n{many}");
        let dir = written(&text);
        let error = open(dir.path()).err().unwrap().to_string();
        assert!(error.contains("line 2 is corrupt"), "{error}");
        assert_eq!(std::fs::read_to_string(dir.path().join(BOOK_FILE)).unwrap(), text);
    }

    #[test]
    fn a_corrupt_line_is_refused_by_number_and_left_alone() {
        for (text, expected) in [
            (format!("{FIRST}\nx{SECOND}\n"), "line 2 is corrupt: expected value"),
            (format!("{FIRST}\n{FIRST}\n"), "line 2 is corrupt: sequence number 1 where 2 belongs"),
            (format!("{SECOND}\n"), "line 1 is corrupt: sequence number 2 where 1 belongs"),
            (format!("{FIRST}\n{}", "x".repeat(5_000)), "line 2 is corrupt: longer than 4096"),
        ] {
            let dir = written(&text);
            let error = open(dir.path()).err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
            assert_eq!(std::fs::read_to_string(dir.path().join(BOOK_FILE)).unwrap(), text);
        }
    }

    #[test]
    fn a_second_server_is_kept_away() {
        let dir = tempfile::tempdir().unwrap();
        let (book, _) = open(dir.path()).unwrap();
        assert!(matches!(open(dir.path()), Err(Error::Locked { .. })));
        drop(book);
        assert!(open(dir.path()).is_ok());
    }

    #[test]
    fn the_auditor_reads_repeated_lines_too() {
        let dir = written(&format!("{FIRST}\n{FIRST}\n"));
        let lines: Vec<BookLine> = Lines::open(dir.path()).unwrap().map(Result::unwrap).collect();
        assert_eq!(lines.len(), 2);
    }
}
