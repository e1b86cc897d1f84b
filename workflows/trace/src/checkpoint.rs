//! Checkpoints: the signed size and root of a log (C2SP tlog-checkpoint).

use std::fmt;

use crate::hash::Hash;
use crate::key::{self, SigningKey, Verifier};
use crate::limits::MAX_LOG_SIZE;
use crate::note;

/// Why bytes are not a checkpoint, or not one of this log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text does not have exactly the three lines origin, size and root.
    #[error("checkpoint does not have exactly three lines")]
    Lines,
    /// The origin is not a valid key name, as the origin of a Trace log is.
    #[error("checkpoint origin is not valid")]
    Origin,
    /// The size is not a canonical decimal within the largest log.
    #[error("checkpoint size is not valid")]
    Size,
    /// The root is not a hash, or the size is 0 and it is not the empty root.
    #[error("checkpoint root is not valid")]
    Root,
    /// The origin is not the name of the key that signed.
    #[error("checkpoint origin is not the name of its key")]
    Mismatch,
    /// The note around it is malformed or not signed by the key.
    #[error(transparent)]
    Note(#[from] note::Error),
}

/// The state of a log that its key signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name; also the name of its key.
    pub origin: String,
    /// Entries in the log.
    pub size: u64,
    /// The Merkle tree hash of those entries.
    pub root: Hash,
}

impl fmt::Display for Checkpoint {
    /// The note text: origin, size and root, each with a newline.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}\n{}\n{}\n", self.origin, self.size, self.root)
    }
}

/// Whether a checkpoint's note speaks of fewer entries than another one, by their second lines alone:
/// signatures are not checked. False where one of them has no such line.
#[must_use]
pub fn is_behind(note: &[u8], other: &[u8]) -> bool {
    let size = |note: &[u8]| -> Option<u64> {
        let line = note.split(|byte| *byte == b'\n').nth(1)?;
        std::str::from_utf8(line).ok()?.parse().ok()
    };
    size(note).zip(size(other)).is_some_and(|(size, other)| size < other)
}

impl Checkpoint {
    /// Reads the note text that [`Checkpoint`] displays, and no other. Extension lines, which the
    /// specification advises against, are refused.
    ///
    /// # Errors
    /// [`Error`] names the line that is wrong.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.strip_suffix('\n').ok_or(Error::Lines)?;
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root), None) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(Error::Lines);
        };
        key::check_name(origin).map_err(|_| Error::Origin)?;
        let size = parse_decimal(size).filter(|size| *size <= MAX_LOG_SIZE).ok_or(Error::Size)?;
        let root = Hash::from_base64(root).map_err(|_| Error::Root)?;
        if size == 0 && root != Hash::EMPTY_ROOT {
            return Err(Error::Root);
        }
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// The checkpoint as a note signed by the log's key.
    ///
    /// # Errors
    /// [`Error`] when the checkpoint is not one that [`Checkpoint::open`] accepts.
    pub fn sign(&self, key: &SigningKey) -> Result<String, Error> {
        let text = self.to_string();
        Self::parse(&text)?;
        if self.origin != key.name() {
            return Err(Error::Mismatch);
        }
        Ok(note::sign(&text, key)?)
    }

    /// Opens a signed checkpoint of the log with this key.
    ///
    /// # Errors
    /// [`Error`] when the note is not signed by the key or its text is not a checkpoint of it.
    pub fn open(note: &[u8], verifier: &Verifier) -> Result<Self, Error> {
        let opened = note::open(note, std::slice::from_ref(verifier))?;
        let checkpoint = Self::parse(opened.text)?;
        if checkpoint.origin == verifier.name() { Ok(checkpoint) } else { Err(Error::Mismatch) }
    }
}

/// A decimal without sign or leading zeroes.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_log::key;

    const ROOT: &str = "zdbZhHbyqhi3Vw1NagHHY8DLZvQ0Weow3O9XB0YA9uE=";

    fn checkpoint() -> Checkpoint {
        let root = Hash::from_base64(ROOT).unwrap();
        Checkpoint { origin: "example.com/log".to_owned(), size: 300, root }
    }

    #[test]
    fn a_note_of_fewer_entries_is_behind_and_what_is_no_note_is_not() {
        assert!(is_behind(b"log\n9\n", b"log\n10\n"));
        assert!(!is_behind(b"log\n10\n", b"log\n10\n"));
        assert!(!is_behind(b"log\n11\n", b"log\n10\n"));
        assert!(!is_behind(b"log", b"log\n10\n") && !is_behind(b"log\n9\n", b"log\nx\n"));
    }

    #[test]
    fn a_checkpoint_is_signed_and_opened() {
        let note = checkpoint().sign(&key()).unwrap();
        assert!(note.starts_with(&format!("example.com/log\n300\n{ROOT}\n\n\u{2014} example.com")));
        assert_eq!(Checkpoint::open(note.as_bytes(), key().verifier()), Ok(checkpoint()));
        let empty = Checkpoint { size: 0, root: Hash::EMPTY_ROOT, ..checkpoint() };
        let note = empty.sign(&key()).unwrap();
        assert_eq!(Checkpoint::open(note.as_bytes(), key().verifier()), Ok(empty));
    }

    #[test]
    fn other_texts_are_refused() {
        let good = checkpoint().to_string();
        assert_eq!(Checkpoint::parse(&good), Ok(checkpoint()));
        let cases = [
            (String::new(), Error::Lines),
            (good.trim_end().to_owned(), Error::Lines),
            (format!("{good}extension\n"), Error::Lines),
            (format!("{good}\n"), Error::Lines),
            (good.replacen("example.com/log", "", 1), Error::Origin),
            (good.replacen("example.com/log", "go.sum database tree", 1), Error::Origin),
            (good.replacen("300", "0300", 1), Error::Size),
            (good.replacen("300", "+300", 1), Error::Size),
            (good.replacen("300", "-1", 1), Error::Size),
            (good.replacen("300", "", 1), Error::Size),
            (good.replacen("300", "4611686018427387905", 1), Error::Size),
            (good.replacen("300", "18446744073709551616", 1), Error::Size),
            (good.replacen("300", "0", 1), Error::Root),
            (good.replacen(ROOT, &ROOT[1..], 1), Error::Root),
        ];
        for (text, error) in cases {
            assert_eq!(Checkpoint::parse(&text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_checkpoint_of_another_log_is_refused() {
        let elsewhere = Checkpoint { origin: "elsewhere".to_owned(), ..checkpoint() };
        assert_eq!(elsewhere.sign(&key()), Err(Error::Mismatch));
        let note = note::sign(&elsewhere.to_string(), &key()).unwrap();
        assert_eq!(Checkpoint::open(note.as_bytes(), key().verifier()), Err(Error::Mismatch));
        let other = SigningKey::from_seed("example.com/log", &[8; 32]).unwrap();
        let note = checkpoint().sign(&other).unwrap();
        let unverified = Err(Error::Note(note::Error::Unverified));
        assert_eq!(Checkpoint::open(note.as_bytes(), key().verifier()), unverified);
        let impossible = Checkpoint { size: u64::MAX, ..checkpoint() };
        assert_eq!(impossible.sign(&key()), Err(Error::Size));
    }
}
