//! The data directory: its version, its lock, its keys and its folders.
//!
//! `VERSION` is written last at the first start, so a folder that has it has everything else, and
//! keys are made once only: keys missing from a folder that has a version are damage, not a reason
//! to make new ones.

mod error;

pub use error::Error;

use crate::durable_files::limits::{SMALL_FILE_BYTES_MAX, VERSION_SHOWN_CHARS};
use crate::durable_files::{Root, TEMPORARY, make_folder, read, sync_folder};
use gristmill_trace::key::{self, SigningKey};
use gristmill_workflows::id::{IdKey, hex, unhex};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// What `VERSION` holds.
pub const VERSION: &str = "gristmill 1\n";

const VERSION_FILE: &str = "VERSION";
const LOCK: &str = "lock";
const KEYS: &str = "keys";
const TRACE_KEY: &str = "keys/trace.key";
const ID_KEY: &str = "keys/id.key";
const VKEY: &str = "trace/vkey";
const TRACE: &str = "trace";
const STORE: &str = "store";
/// Folders of a data directory, in the order they are made in.
const FOLDERS: [&str; 6] = [KEYS, TRACE, "receipts", "media", STORE, "rail"];

/// An open data directory. It is locked for as long as this lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    trace_key: SigningKey,
    id_key: IdKey,
    /// The lock goes with this file.
    _lock: File,
}

impl DataDir {
    /// Opens a data directory; makes it if nothing stands there, or an empty folder. `origin` is
    /// the name that the log's key must have.
    ///
    /// # Errors
    /// [`Error`] says what stands in the way. Nothing that stood there was changed then, but for
    /// what an interrupted first start left, which is completed.
    pub fn open(path: &Path, origin: &str) -> Result<Self, Error> {
        key::check_name(origin).map_err(|_| Error::OriginName { origin: origin.to_owned() })?;
        match inspect(path)? {
            Found::Ours => Self::open_standing(path, origin),
            Found::Nothing => {
                fs::create_dir_all(path).map_err(|source| Error::io(path, source))?;
                Self::make(path, origin)
            }
            Found::Begun => Self::make(path, origin),
        }
    }

    /// Opens a data directory that stands.
    ///
    /// # Errors
    /// As [`DataDir::open`], and [`Error::Absent`].
    pub fn open_existing(path: &Path, origin: &str) -> Result<Self, Error> {
        match inspect(path)? {
            Found::Ours => Self::open_standing(path, origin),
            Found::Nothing | Found::Begun => Err(Error::Absent { path: path.to_owned() }),
        }
    }

    fn make(path: &Path, origin: &str) -> Result<Self, Error> {
        let lock = lock(path)?;
        // Another process may have been quicker up to the lock.
        if let Found::Ours = inspect(path)? {
            return Self::opened(path, origin, lock);
        }
        for folder in FOLDERS {
            let folder = path.join(folder);
            make_folder(&folder).map_err(|source| Error::io(&folder, source))?;
        }
        let root = Root::open(path).map_err(|source| Error::io(path, source))?;
        let trace_key = SigningKey::from_seed(origin, &random(path)?)
            .map_err(|_| Error::OriginName { origin: origin.to_owned() })?;
        create(&root, TRACE_KEY, &format!("{}\n", trace_key.to_private_text()), 0o600)?;
        create(&root, ID_KEY, &format!("{}\n", hex(&random(path)?)), 0o600)?;
        // The key that stands: an interrupted first start may have made another one before.
        let trace_key = read_trace_key(path)?;
        create(&root, VKEY, &format!("{}\n", trace_key.verifier()), 0o644)?;
        create(&root, VERSION_FILE, VERSION, 0o644)?;
        let parent = path.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned));
        if let Some(parent) = parent {
            sync_folder(&parent).map_err(|source| Error::io(&parent, source))?;
        }
        Self::opened(path, origin, lock)
    }

    fn open_standing(path: &Path, origin: &str) -> Result<Self, Error> {
        let lock = lock(path)?;
        Self::opened(path, origin, lock)
    }

    fn opened(path: &Path, origin: &str, lock: File) -> Result<Self, Error> {
        let trace_key = read_trace_key(path)?;
        if trace_key.name() != origin {
            let (stored, configured) = (trace_key.name().to_owned(), origin.to_owned());
            return Err(Error::Origin { path: path.join(TRACE_KEY), stored, configured });
        }
        let id_key = read_text(path, ID_KEY)?;
        let id_key = unhex(id_key.trim_end_matches('\n'))
            .ok_or_else(|| Error::corrupt(path, ID_KEY, "it is not 64 hex digits"))?;
        if read_text(path, VKEY)?.trim_end_matches('\n') != trace_key.verifier().to_string() {
            return Err(Error::corrupt(path, VKEY, "it is not the key of keys/trace.key"));
        }
        for folder in FOLDERS {
            let missing = !path.join(folder).is_dir();
            if missing && (folder == STORE || folder == TRACE) {
                return Err(Error::corrupt(path, folder, "it is missing"));
            }
            if missing {
                let folder = path.join(folder);
                make_folder(&folder).map_err(|source| Error::io(&folder, source))?;
            }
        }
        sync_folder(path).map_err(|source| Error::io(path, source))?;
        Ok(Self { path: path.to_owned(), trace_key, id_key: IdKey::new(id_key), _lock: lock })
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The log's key; its name is the origin.
    #[must_use]
    pub const fn trace_key(&self) -> &SigningKey {
        &self.trace_key
    }

    /// The node's secret for ids.
    #[must_use]
    pub const fn id_key(&self) -> &IdKey {
        &self.id_key
    }

    /// Where the public log is.
    #[must_use]
    pub fn trace(&self) -> PathBuf {
        self.path.join(TRACE)
    }

    /// Where the engine keeps its files.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.path.join(STORE)
    }

    /// Where data keys are, one file a shard.
    #[must_use]
    pub fn data_keys(&self) -> PathBuf {
        self.path.join("keys/data")
    }

    /// Where encrypted blobs are.
    #[must_use]
    pub fn media(&self) -> PathBuf {
        self.path.join("media")
    }

    /// Where receipts are written.
    #[must_use]
    pub fn receipts(&self) -> PathBuf {
        self.path.join("receipts")
    }

    /// Where the sandbox rail keeps its book.
    #[must_use]
    pub fn rail(&self) -> PathBuf {
        self.path.join("rail")
    }

    /// The report of the last `run`.
    #[must_use]
    pub fn report(&self) -> PathBuf {
        self.path.join("report.json")
    }
}

enum Found {
    /// No folder, or an empty one.
    Nothing,
    /// What an interrupted first start leaves.
    Begun,
    /// A data directory of this version.
    Ours,
}

/// Looks, and changes nothing.
fn inspect(path: &Path) -> Result<Found, Error> {
    match read_small(&path.join(VERSION_FILE))? {
        Some(version) if version == VERSION.as_bytes() => return Ok(Found::Ours),
        Some(version) => {
            let found = String::from_utf8_lossy(&version);
            let found = found.trim_end().chars().take(VERSION_SHOWN_CHARS).collect();
            return Err(Error::WrongVersion { path: path.to_owned(), found });
        }
        None => {}
    }
    let names = match names(path) {
        Ok(names) => names,
        Err(Error::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(Found::Nothing);
        }
        Err(error) => return Err(error),
    };
    if names.is_empty() {
        return Ok(Found::Nothing);
    }
    for name in names {
        let begun = match name.as_str() {
            LOCK | TEMPORARY => true,
            KEYS => only(&path.join(KEYS), &["trace.key", "id.key"])?,
            TRACE => only(&path.join(TRACE), &["vkey"])?,
            name if FOLDERS.contains(&name) => only(&path.join(name), &[])?,
            _ => false,
        };
        if !begun {
            return Err(Error::NotOurs { path: path.to_owned() });
        }
    }
    Ok(Found::Begun)
}

fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let failed = |source| Error::io(folder, source);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

fn only(folder: &Path, allowed: &[&str]) -> Result<bool, Error> {
    Ok(names(folder)?.iter().all(|name| allowed.contains(&name.as_str())))
}

fn lock(path: &Path) -> Result<File, Error> {
    let path = path.join(LOCK);
    let failed = |source| Error::io(&path, source);
    let mut options = OpenOptions::new();
    let opened = options.read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = opened.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // The holder may be about to write it: then it is not known.
            let read = file.take(SMALL_FILE_BYTES_MAX).read_to_string(&mut text);
            let pid = read.ok().and_then(|_| text.trim().parse().ok());
            return Err(Error::Locked { path, pid });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    file.set_len(0).map_err(failed)?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(file)
}

/// Creates a durable file, unless it stands.
fn create(root: &Root, name: &str, content: &str, mode: u32) -> Result<(), Error> {
    let path = root.path().join(name);
    let write = || {
        root.stage(&[content.as_bytes()], mode)?.link(&path)?;
        path.parent().map_or(Ok(()), sync_folder)
    };
    write().map_err(|source| Error::io(&path, source))
}

fn read_small(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    read(path, SMALL_FILE_BYTES_MAX).map_err(|source| Error::io(path, source))
}

fn read_text(path: &Path, name: &str) -> Result<String, Error> {
    let bytes = read_small(&path.join(name))?;
    let bytes = bytes.ok_or_else(|| Error::corrupt(path, name, "it is missing"))?;
    String::from_utf8(bytes).map_err(|_| Error::corrupt(path, name, "it is not text"))
}

fn read_trace_key(path: &Path) -> Result<SigningKey, Error> {
    let text = read_text(path, TRACE_KEY)?;
    SigningKey::parse(&text)
        .map_err(|source| Error::Corrupt { path: path.join(TRACE_KEY), why: source.to_string() })
}

fn random(path: &Path) -> Result<[u8; 32], Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|source| Error::io(path, io::Error::other(source.to_string())))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
