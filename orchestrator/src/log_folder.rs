//! A published log as a folder, read without its node; and the key that checks it.

use crate::durable_files::{limits::OBJECT_BYTES_MAX, read};
use crate::limits::KEY_FILE_BYTES_MAX;
use gristmill_trace::key::{self, Verifier};
use gristmill_trace::reader::FetchError;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Why no verifier key could be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Neither a key nor a file.
    #[error("{given:?} is neither a verifier key ({source}) nor a file")]
    Neither {
        /// What was given.
        given: String,
        /// Why it is no key.
        source: key::Error,
    },
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was met.
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error("{}: {source}", path.display())]
    NotAKey {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: key::Error,
    },
}

/// Reads a verifier key, or the file that holds it.
///
/// # Errors
/// [`KeyError`] when it is neither.
pub fn verifier(given: &str) -> Result<Verifier, KeyError> {
    let source = match Verifier::parse(given) {
        Ok(verifier) => return Ok(verifier),
        Err(source) => source,
    };
    let path = PathBuf::from(given);
    match read(&path, KEY_FILE_BYTES_MAX) {
        Ok(Some(bytes)) => Verifier::parse(&String::from_utf8_lossy(&bytes))
            .map_err(|source| KeyError::NotAKey { path, source }),
        Ok(None) => Err(KeyError::Neither { given: given.to_owned(), source }),
        // A mistyped key may be too long for a file name.
        Err(error) if error.kind() == ErrorKind::InvalidFilename => {
            Err(KeyError::Neither { given: given.to_owned(), source })
        }
        Err(source) => Err(KeyError::File { path, source }),
    }
}

/// The folder of a log.
#[derive(Debug, Clone)]
pub struct LogFolder(PathBuf);

impl LogFolder {
    /// Of this folder; nothing is read yet.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self(root.to_owned())
    }

    /// Bytes of an object; none if it does not stand.
    ///
    /// # Errors
    /// What the file system says.
    pub fn object(&self, path: &str) -> std::io::Result<Option<Vec<u8>>> {
        read(&self.0.join(path), OBJECT_BYTES_MAX)
    }

    /// What readers of the log fetch objects by.
    pub fn fetch(&self) -> impl FnMut(&str) -> Result<Option<Vec<u8>>, FetchError> + '_ {
        |path| self.object(path).map_err(FetchError::from)
    }

    /// Names and numbers of the objects in a folder of numbered ones, in order; other names are
    /// left out.
    ///
    /// # Errors
    /// What the file system says.
    pub fn numbered(&self, folder: &str) -> std::io::Result<Vec<(u64, String)>> {
        let entries = match std::fs::read_dir(self.0.join(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if let Ok(number) = name.parse() {
                found.push((number, format!("{folder}/{name}")));
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    #[test]
    fn a_key_is_read_from_the_argument_or_from_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vkey");
        std::fs::write(&path, format!("{VKEY}\n")).unwrap();
        let named = verifier(path.to_str().unwrap()).unwrap();
        assert_eq!(verifier(VKEY).unwrap(), named);
        std::fs::write(&path, "other").unwrap();
        let error = verifier(path.to_str().unwrap()).unwrap_err();
        assert!(matches!(error, KeyError::NotAKey { .. }), "{error}");
        for given in ["", "nothing+here", &VKEY[..VKEY.len() - 2], &"x".repeat(5000)] {
            assert!(verifier(given).is_err(), "{given}");
        }
    }

    #[test]
    fn numbered_objects_come_in_order_and_foreign_names_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("checkpoints")).unwrap();
        for name in ["00000000000000000010", "00000000000000000002", "readme"] {
            std::fs::write(dir.path().join("checkpoints").join(name), "").unwrap();
        }
        let folder = LogFolder::new(dir.path());
        let numbers = folder.numbered("checkpoints").unwrap();
        assert_eq!(numbers.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2, 10]);
        assert_eq!(folder.numbered("nothing").unwrap(), []);
        assert_eq!(folder.object("checkpoint").unwrap(), None);
    }
}
