//! Checking a whole log, and that one checkpoint extends another.

mod blame;

use crate::checkpoint::{self, Checkpoint};
use crate::edge::{Edge, HashTile};
use crate::hash::Hash;
use crate::key::Verifier;
use crate::limits::{MAX_FAULTS, MAX_SUSPECTS, TILE_WIDTH};
use crate::proof;
use crate::reader::{self, Fetch, TileReader, fetch_bundle, fetch_hashes};
use crate::tile::{Kind, Tile};

use blame::{Suspect, blame};

/// Path of the newest checkpoint below the log's prefix.
pub const CHECKPOINT_PATH: &str = "checkpoint";

/// Why a log cannot be checked, or does not extend another.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The checkpoint at this path is missing.
    #[error("{path}: missing")]
    NoCheckpoint {
        /// Path of the checkpoint.
        path: &'static str,
    },
    /// The checkpoint at this path is malformed or not signed by the key.
    #[error("{path}: {source}")]
    Checkpoint {
        /// Path of the checkpoint.
        path: &'static str,
        /// What is wrong with it.
        source: checkpoint::Error,
    },
    /// An object could not be fetched, or a tile that a proof needs cannot be used.
    #[error(transparent)]
    Stored(#[from] reader::Error),
    /// The two checkpoints are of different logs.
    #[error("checkpoints have different origins")]
    Origins,
    /// The newer checkpoint does not extend the older one.
    #[error("checkpoint of size {new} does not extend that of size {old}: {source}")]
    Consistency {
        /// Size of the older checkpoint.
        old: u64,
        /// Size of the newer checkpoint.
        new: u64,
        /// What does not hold.
        source: proof::Error,
    },
}

/// An object that is not what the checkpoint commits to.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The object is missing or malformed.
    #[error(transparent)]
    Stored(reader::Error),
    /// The hashes of a tile are not those of the signed log.
    #[error("{path}: hashes are not those of the signed log")]
    Tile {
        /// Path of the tile.
        path: String,
    },
    /// An entry is not the one of the signed log.
    #[error("{path}: entry {index} is not the one of the signed log")]
    Entry {
        /// Path of the bundle.
        path: String,
        /// Index of the entry in the log.
        index: u64,
    },
    /// A bundle holds entries that are not those of the signed log; which ones cannot be told.
    #[error("{path}: entries are not those of the signed log")]
    Entries {
        /// Path of the bundle.
        path: String,
    },
    /// The entries have another root than the checkpoint.
    #[error("checkpoint: root {expected} at size {size}, but the entries have root {actual}")]
    Root {
        /// Size of the checkpoint.
        size: u64,
        /// Root of the checkpoint.
        expected: Hash,
        /// Root of the stored entries.
        actual: Hash,
    },
}

/// What the check of a whole log found.
#[derive(Debug)]
pub struct Report {
    /// The signed checkpoint.
    pub checkpoint: Checkpoint,
    /// Entries read.
    pub entries: u64,
    /// Tiles and bundles asked for.
    pub objects: u64,
    /// What is wrong, in no particular order; empty when the log is whole.
    pub faults: Vec<Fault>,
    /// Whether there may be more faults than are listed.
    pub truncated: bool,
}

impl Report {
    /// Whether every entry and tile is what the checkpoint commits to.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.faults.is_empty() && !self.truncated
    }

    fn add(&mut self, fault: Fault) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(fault);
        } else {
            self.truncated = true;
        }
    }
}

/// An entry as it is read from its bundle. It is of the signed log only if the report is whole.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Index in the log.
    pub index: u64,
    /// RFC 6962 hash of the entry.
    pub leaf: Hash,
    /// The entry itself.
    pub bytes: &'a [u8],
}

/// Fetches and opens the newest checkpoint.
///
/// # Errors
/// [`Error`] when it is missing, malformed or not signed by the key.
pub fn checkpoint(fetch: &mut Fetch<'_>, verifier: &Verifier) -> Result<Checkpoint, Error> {
    let path = CHECKPOINT_PATH;
    let note = fetch(path)
        .map_err(|source| reader::Error::Fetch { path: path.to_owned(), source })?
        .ok_or(Error::NoCheckpoint { path })?;
    Checkpoint::open(&note, verifier).map_err(|source| Error::Checkpoint { path, source })
}

/// Checks a whole log: its newest checkpoint, and every bundle and hash tile down to the root at
/// the checkpoint's size. Each entry goes to `visit` in order. Memory does not grow with the log;
/// a damaged log takes more, bounded by [`MAX_SUSPECTS`] tiles.
///
/// # Errors
/// [`Error`] when there is no checkpoint to check against or an object cannot be fetched. What is
/// missing or wrong in the log is in the report instead.
pub fn log(
    fetch: &mut Fetch<'_>,
    verifier: &Verifier,
    mut visit: impl FnMut(Entry<'_>),
) -> Result<Report, Error> {
    let checkpoint = checkpoint(fetch, verifier)?;
    let mut pass = Pass {
        fetch,
        edge: Edge::new(),
        suspects: Vec::new(),
        report: Report { checkpoint, entries: 0, objects: 0, faults: Vec::new(), truncated: false },
    };
    let size = pass.report.checkpoint.size;
    for index in 0..size.div_ceil(TILE_WIDTH as u64) {
        let Some(tile) = Tile::in_log(Kind::Entries, index, size) else {
            break;
        };
        if !pass.read_bundle(tile, &mut visit)? {
            pass.report.truncated = true;
            return Ok(pass.report);
        }
    }
    let partials: Vec<HashTile> = pass.edge.partials().collect();
    for derived in partials {
        pass.compare(derived)?;
    }
    let Pass { edge, suspects, mut report, .. } = pass;
    blame(&edge, suspects, &mut report);
    Ok(report)
}

/// Checks that `newer` extends `older` by a consistency proof from the stored hash tiles.
///
/// # Errors
/// [`Error`] when it does not, or a tile that the proof needs cannot be used.
pub fn extends(fetch: &mut Fetch<'_>, older: &Checkpoint, newer: &Checkpoint) -> Result<(), Error> {
    if older.origin != newer.origin {
        return Err(Error::Origins);
    }
    let (old, new) = (older.size, newer.size);
    let inconsistent = |source| Error::Consistency { old, new, source };
    let path = match TileReader::new(new, fetch).consistency(old) {
        Err(reader::Error::Proof(source)) => return Err(inconsistent(source)),
        other => other?,
    };
    proof::verify_consistency(old, new, older.root, newer.root, &path).map_err(inconsistent)
}

/// One walk over the entries that derives every tile and compares it with the stored one.
struct Pass<'f, 'g> {
    fetch: &'f mut Fetch<'g>,
    edge: Edge,
    suspects: Vec<Suspect>,
    report: Report,
}

impl Pass<'_, '_> {
    /// Appends the entries of one bundle; false when neither they nor their hashes can be read.
    fn read_bundle(
        &mut self,
        tile: Tile,
        visit: &mut impl FnMut(Entry<'_>),
    ) -> Result<bool, Error> {
        self.report.objects += 1;
        let mut leaves = Vec::with_capacity(tile.width());
        match fault_of(fetch_bundle(self.fetch, tile))? {
            Ok(bundle) => {
                for bytes in bundle.entries() {
                    let leaf = Hash::leaf(bytes);
                    visit(Entry { index: self.report.entries, leaf, bytes });
                    self.report.entries += 1;
                    leaves.push(leaf);
                }
            }
            Err(fault) => {
                self.report.add(fault);
                // The hash tile says what the entries were; the root tells whether it is right.
                let hashes = Tile::in_log(Kind::Hashes { level: 0 }, tile.index(), self.size());
                let Some(hashes) = hashes else {
                    return Ok(false);
                };
                match fault_of(fetch_hashes(self.fetch, hashes))? {
                    Ok(stored) => leaves = stored,
                    Err(fault) => {
                        self.report.add(fault);
                        return Ok(false);
                    }
                }
            }
        }
        for leaf in leaves {
            for derived in self.edge.push(leaf) {
                self.compare(derived)?;
            }
        }
        Ok(true)
    }

    fn compare(&mut self, derived: HashTile) -> Result<(), Error> {
        self.report.objects += 1;
        match fault_of(fetch_hashes(self.fetch, derived.tile))? {
            Err(fault) => self.report.add(fault),
            Ok(stored) if stored == derived.hashes => {}
            Ok(_) if self.suspects.len() == MAX_SUSPECTS => self.report.truncated = true,
            Ok(stored) => self.suspects.extend(Suspect::new(derived, stored)),
        }
        Ok(())
    }

    const fn size(&self) -> u64 {
        self.report.checkpoint.size
    }
}

/// What is wrong with the log is a fault; that an object cannot be fetched is an error.
fn fault_of<T>(result: Result<T, reader::Error>) -> Result<Result<T, Fault>, Error> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) if error.is_retryable() => Err(error.into()),
        Err(error) => Ok(Err(Fault::Stored(error))),
    }
}

#[cfg(test)]
mod tests;
