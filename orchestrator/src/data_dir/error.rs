//! Why a data directory cannot be used.

use crate::durable_files::is_full;
use std::io;
use std::path::{Path, PathBuf};

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A running node holds it.
    #[error("{} is held by {}", path.display(), pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, if that process said so.
        pid: Option<u32>,
    },
    /// Another version of this program made it.
    #[error("{} has version {found:?}, this program reads \"gristmill 1\"", path.display())]
    WrongVersion {
        /// The directory.
        path: PathBuf,
        /// What its `VERSION` says, cut short.
        found: String,
    },
    /// It has no `VERSION` and is not empty.
    #[error("{} is not empty and not a data directory of this program", path.display())]
    NotOurs {
        /// The directory.
        path: PathBuf,
    },
    /// Nothing stands there.
    #[error("{} is not there, or was never used", path.display())]
    Absent {
        /// The directory.
        path: PathBuf,
    },
    /// The file system refuses.
    #[error("{} cannot be used: {source}", path.display())]
    Unreadable {
        /// Which file or folder.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// A file is not what was written.
    #[error("{} is corrupt: {why}", path.display())]
    Corrupt {
        /// Which file or folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The disk is full.
    #[error("{} cannot be written: the disk is full", path.display())]
    Full {
        /// Which file or folder.
        path: PathBuf,
    },
    /// It belongs to a log of another name.
    #[error("{} is the key of {stored:?}, but trace.origin is {configured:?}", path.display())]
    Origin {
        /// The key file.
        path: PathBuf,
        /// The name that the key has.
        stored: String,
        /// The name that the configuration wants.
        configured: String,
    },
    /// No log can have this name.
    #[error("trace.origin {origin:?} is not a key name")]
    OriginName {
        /// The name.
        origin: String,
    },
}

impl Error {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if is_full(&source) { Self::Full { path } } else { Self::Unreadable { path, source } }
    }

    pub(super) fn corrupt(path: &Path, name: &str, why: &str) -> Self {
        Self::Corrupt { path: path.join(name), why: why.to_owned() }
    }

    /// The exit code of a command that ends by this error: 2 for the caller's own choice of
    /// directory or origin, otherwise 4.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Absent { .. } | Self::Origin { .. } | Self::OriginName { .. } => 2,
            _ => 4,
        }
    }
}
