//! Why the store did not open. Nothing of it may be retried by this process; a person must look.

use std::io;

/// Why the store did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the store is in use by another process")]
    Locked,
    /// What stands there is not what was written.
    #[error("the store is damaged: {detail}")]
    Damaged {
        /// What was found.
        detail: String,
    },
    /// Written by another version of this program, or of its engine.
    #[error("the store has a format that this version does not read: {detail}")]
    WrongVersion {
        /// What was found.
        detail: String,
    },
    /// The disk is full.
    #[error("the disk of the store is full: {0}")]
    Full(#[source] io::Error),
    /// The disk or directory could not be read or written.
    #[error("the store could not be read or written: {0}")]
    Io(#[source] io::Error),
}

/// Whether an error of the system means that the disk or the quota is full.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        if is_full(&error) { Self::Full(error) } else { Self::Io(error) }
    }
}

impl From<fjall::Error> for OpenError {
    fn from(error: fjall::Error) -> Self {
        use fjall::{Error, LsmError};
        match error {
            Error::Locked => Self::Locked,
            Error::InvalidVersion(_) | Error::Storage(LsmError::InvalidVersion(_)) => {
                Self::WrongVersion { detail: error.to_string() }
            }
            Error::Io(error) | Error::Storage(LsmError::Io(error)) => match error.kind() {
                io::ErrorKind::NotFound
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::InvalidData => Self::Damaged { detail: error.to_string() },
                _ => Self::from(error),
            },
            _ => Self::Damaged { detail: error.to_string() },
        }
    }
}
