//! A published log as a folder of files or of a bucket, read without its node; and the key that
//! checks it.

use crate::bucket::{Bucket, Unfit};
use crate::durable_files::{limits::OBJECT_BYTES_MAX, read};
use crate::limits::KEY_FILE_BYTES_MAX;
use gristmill_trace::key::{self, Verifier};
use gristmill_trace::reader::FetchError;
use std::collections::BTreeMap;
use std::io;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

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

/// The folder of a log. Reading it blocks.
#[derive(Debug, Clone)]
pub struct LogFolder(Place);

#[derive(Debug, Clone)]
enum Place {
    Files(PathBuf),
    Bucket(Bucket, Handle),
    /// Every object by its path below the root.
    Memory(Arc<BTreeMap<String, Vec<u8>>>),
}

impl LogFolder {
    /// Of this folder; nothing is read yet.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self(Place::Files(root.to_owned()))
    }

    /// Of this folder of a bucket; nothing is read yet. `runtime` has several threads, and its
    /// requests go out on them.
    #[must_use]
    pub const fn in_bucket(folder: Bucket, runtime: Handle) -> Self {
        Self(Place::Bucket(folder, runtime))
    }

    /// Of a log whose objects stand in memory, by path.
    #[must_use]
    pub fn in_memory(objects: BTreeMap<String, Vec<u8>>) -> Self {
        Self(Place::Memory(Arc::new(objects)))
    }

    /// Tries out whether a bucket is fit for a log that is written; a directory was when it was
    /// opened.
    ///
    /// # Errors
    /// [`Unfit`] says what it lacks.
    pub async fn probe(&self) -> Result<(), Unfit> {
        match &self.0 {
            Place::Files(_) | Place::Memory(_) => Ok(()),
            Place::Bucket(bucket, _) => bucket.probe().await,
        }
    }

    /// The path of an object, or of a folder of them, for people.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        match &self.0 {
            Place::Files(root) => root.join(path),
            Place::Bucket(..) | Place::Memory(_) => PathBuf::from(path),
        }
    }

    /// Bytes of an object; none if it does not stand.
    ///
    /// # Errors
    /// What the file system or the bucket says.
    pub fn object(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        match &self.0 {
            Place::Files(root) => read(&root.join(path), OBJECT_BYTES_MAX),
            Place::Bucket(bucket, runtime) => {
                let read = bucket.get(path, OBJECT_BYTES_MAX);
                let bytes = block_in_place(|| runtime.block_on(read)).map_err(io::Error::other)?;
                Ok(bytes.map(Vec::from))
            }
            Place::Memory(objects) => Ok(objects.get(path).cloned()),
        }
    }

    /// What readers of the log fetch objects by.
    pub fn fetch(&self) -> impl FnMut(&str) -> Result<Option<Vec<u8>>, FetchError> + '_ {
        |path| self.object(path).map_err(FetchError::from)
    }

    /// Names and numbers of the objects in a folder of numbered ones, in order; other names are
    /// left out.
    ///
    /// # Errors
    /// What the file system or the bucket says.
    pub fn numbered(&self, folder: &str) -> io::Result<Vec<(u64, String)>> {
        let numbered = |name: String| Some((name.parse().ok()?, format!("{folder}/{name}")));
        let names = self.names(folder)?;
        let mut found: Vec<(u64, String)> = names.into_iter().filter_map(numbered).collect();
        found.sort_unstable();
        Ok(found)
    }

    /// Names in a folder; none if there is no such folder.
    fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        match &self.0 {
            Place::Files(root) => file_names(&root.join(folder)),
            Place::Bucket(bucket, runtime) => {
                let listed = bucket.list(folder);
                block_in_place(|| runtime.block_on(listed)).map_err(io::Error::other)
            }
            Place::Memory(objects) => {
                let prefix = format!("{folder}/");
                let below = objects.range(prefix.clone()..).map(|(path, _)| path.as_str());
                let names = below.map_while(|path| path.strip_prefix(&prefix).map(str::to_owned));
                Ok(names.collect())
            }
        }
    }
}

fn file_names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_memory_holds_what_one_on_disk_does() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("checkpoints")).unwrap();
        let names = ["checkpoint", "checkpoints/0007", "checkpoints/0010", "checkpoints/new"];
        let objects = names.map(|name| (name.to_owned(), name.as_bytes().to_vec()));
        for (path, bytes) in &objects {
            std::fs::write(root.path().join(path), bytes).unwrap();
        }
        let on_disk = LogFolder::new(root.path());
        let in_memory = LogFolder::in_memory(objects.into());
        for folder in [&on_disk, &in_memory] {
            assert_eq!(folder.object("checkpoint").unwrap().unwrap(), b"checkpoint");
            assert_eq!(folder.object("other").unwrap(), None);
            let numbered = folder.numbered("checkpoints").unwrap();
            let ten = "checkpoints/0010".to_owned();
            assert_eq!(numbered, [(7, "checkpoints/0007".to_owned()), (10, ten)]);
            assert_eq!(folder.numbered("sequenced").unwrap(), []);
        }
    }

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
