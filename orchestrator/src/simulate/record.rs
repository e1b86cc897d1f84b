//! What was simulated on a data directory: `simulation.json` in it, so that the auditor can be asked
//! again at any time.

use super::driver::Driven;
use super::limits::RECORD_BYTES_MAX;
use super::measured::Counts;
use super::plan::Plan;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The file's name.
pub const RECORD_FILE: &str = "simulation.json";

/// Why it could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was met.
        source: std::io::Error,
    },
    /// It holds something else.
    #[error("{}: says not what was simulated: {source}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// There is none.
    #[error("{}: no simulation ended here", path.display())]
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// There is one already.
    #[error(
        "{}: a simulation was run here already; name another data directory, or audit it again \
         with `gristmill simulate audit`",
        path.display()
    )]
    Stands {
        /// The file.
        path: PathBuf,
    },
}

/// What was simulated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What everything follows from.
    pub plan: Plan,
    /// What was handed in; none while it is.
    pub driven: Option<Driven>,
    /// What lines came to.
    pub counts: Counts,
}

impl Record {
    /// Refuses a data directory with a record.
    ///
    /// # Errors
    /// [`Error::Stands`].
    pub fn refuse(data_dir: &Path) -> Result<(), Error> {
        let path = data_dir.join(RECORD_FILE);
        if path.exists() { Err(Error::Stands { path }) } else { Ok(()) }
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`Error`].
    pub fn read(data_dir: &Path) -> Result<Self, Error> {
        let path = data_dir.join(RECORD_FILE);
        match crate::durable_files::read(&path, RECORD_BYTES_MAX) {
            Ok(Some(bytes)) => {
                serde_json::from_slice(&bytes).map_err(|source| Error::Content { path, source })
            }
            Ok(None) => Err(Error::Absent { path }),
            Err(source) => Err(Error::File { path, source }),
        }
    }

    /// Writes it in place of what stands.
    ///
    /// # Errors
    /// [`Error`].
    pub fn write(&self, data_dir: &Path) -> Result<(), Error> {
        let path = data_dir.join(RECORD_FILE);
        write_json(&path, self)
    }
}

/// Writes a value as a JSON file, whole or not at all.
///
/// # Errors
/// [`Error`].
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let content = |source| Error::Content { path: path.to_owned(), source };
    write_text(path, &serde_json::to_vec_pretty(value).map_err(content)?)
}

/// Writes a file, whole or not at all.
///
/// # Errors
/// [`Error::File`].
pub fn write_text(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let mut file = File::create(&name).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&name, path).map_err(failed)
}
