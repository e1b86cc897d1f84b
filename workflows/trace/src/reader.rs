//! Reading stored tiles back through a fetch closure.

use std::collections::VecDeque;

use crate::bundle;
use crate::hash::{Hash, parents};
use crate::limits::{
    HASH_BYTES, MAX_BUNDLE_BYTES, MAX_CACHED_TILES, MAX_LOG_SIZE, TILE_HEIGHT, TILE_WIDTH,
};
use crate::proof;
use crate::tile::{Kind, Tile};

/// What kept an object from being fetched; "there is no such object" is not an error.
pub type FetchError = Box<dyn std::error::Error + Send + Sync>;

/// Gives the bytes of the object at a path below the log's prefix, or `None` when there is none.
/// It should refuse to load more than [`MAX_BUNDLE_BYTES`].
pub type Fetch<'a> = dyn FnMut(&str) -> Result<Option<Vec<u8>>, FetchError> + 'a;

/// Why a stored tile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The fetch closure failed.
    #[error("{path}: cannot be fetched")]
    Fetch {
        /// Path of the object.
        path: String,
        /// What the closure failed with.
        source: FetchError,
    },
    /// Neither the tile nor, for a partial one, the full tile at its place exists.
    #[error("{path}: missing")]
    Missing {
        /// Path of the tile as the log's size needs it.
        path: String,
    },
    /// The object does not have the length of its width.
    #[error("{path}: {actual} bytes, expected {expected}")]
    Length {
        /// Path of the object.
        path: String,
        /// Bytes found.
        actual: usize,
        /// Bytes that the tile has (for a bundle: at most has).
        expected: usize,
    },
    /// The object is not an entry bundle of its width.
    #[error("{path}: {source}")]
    Bundle {
        /// Path of the object.
        path: String,
        /// What is wrong with it.
        source: bundle::Error,
    },
    /// A node outside the log was asked for.
    #[error("log of {size} entries has no node {index} at level {level}")]
    Node {
        /// Binary tree level of the node, 0 for leaves.
        level: u8,
        /// Position of the node in its level.
        index: u64,
        /// Size of the log.
        size: u64,
    },
    /// A proof was asked for that the log does not have.
    #[error(transparent)]
    Proof(#[from] proof::Error),
}

impl Error {
    /// Whether the closure failed to answer, so that the same call may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Fetch { .. })
    }
}

/// The object that holds a tile: the tile itself, or the full tile that replaced a partial one.
fn fetch_object(fetch: &mut Fetch<'_>, tile: Tile) -> Result<(Tile, Vec<u8>), Error> {
    for candidate in [tile, tile.full()] {
        let path = candidate.path();
        match fetch(&path) {
            Ok(Some(bytes)) => return Ok((candidate, bytes)),
            Ok(None) => {}
            Err(source) => return Err(Error::Fetch { path, source }),
        }
    }
    Err(Error::Missing { path: tile.path() })
}

/// Fetches the hashes of a hash tile. Nothing authenticates them yet.
///
/// # Errors
/// [`Error`] names the object that is missing or has another length.
pub fn fetch_hashes(fetch: &mut Fetch<'_>, tile: Tile) -> Result<Vec<Hash>, Error> {
    let (found, bytes) = fetch_object(fetch, tile)?;
    if bytes.len() != found.hash_bytes() {
        let (path, actual) = (found.path(), bytes.len());
        return Err(Error::Length { path, actual, expected: found.hash_bytes() });
    }
    let (hashes, _) = bytes.as_chunks::<HASH_BYTES>();
    Ok(hashes[..tile.width()].iter().copied().map(Hash::new).collect())
}

/// A fetched entry bundle, checked to have its entries.
#[derive(Debug)]
pub struct Bundle {
    bytes: Vec<u8>,
    stored_width: usize,
    width: usize,
}

impl Bundle {
    /// The entries, as many as the tile asked for is wide.
    #[must_use]
    pub fn entries(&self) -> Vec<&[u8]> {
        let mut entries = bundle::decode(&self.bytes, self.stored_width)
            .expect("the bytes were decoded with this width when they were fetched");
        entries.truncate(self.width);
        entries
    }

    /// The encoded form of exactly these entries.
    #[must_use]
    pub fn into_bytes(mut self) -> Vec<u8> {
        let length = self.entries().iter().map(|entry| 2 + entry.len()).sum();
        self.bytes.truncate(length);
        self.bytes
    }
}

/// Fetches an entry bundle. Nothing authenticates the entries yet.
///
/// # Errors
/// [`Error`] names the object that is missing or is not a bundle of its width.
pub fn fetch_bundle(fetch: &mut Fetch<'_>, tile: Tile) -> Result<Bundle, Error> {
    let (found, bytes) = fetch_object(fetch, tile)?;
    if bytes.len() > MAX_BUNDLE_BYTES {
        let (path, actual) = (found.path(), bytes.len());
        return Err(Error::Length { path, actual, expected: MAX_BUNDLE_BYTES });
    }
    if let Err(source) = bundle::decode(&bytes, found.width()) {
        return Err(Error::Bundle { path: found.path(), source });
    }
    Ok(Bundle { bytes, stored_width: found.width(), width: tile.width() })
}

/// Reads nodes of the Merkle tree out of the tiles of a log, keeping the last tiles it used.
/// Nothing authenticates the nodes: check the proofs made from them.
pub struct TileReader<'a> {
    size: u64,
    fetch: &'a mut Fetch<'a>,
    // Newest first; each tile as its row of hashes and the rows of nodes above it.
    cache: VecDeque<(Tile, Vec<Vec<Hash>>)>,
}

impl<'a> TileReader<'a> {
    /// Reads the log as it was with `size` entries.
    pub fn new(size: u64, fetch: &'a mut Fetch<'a>) -> Self {
        Self { size, fetch, cache: VecDeque::new() }
    }

    /// The root of the complete subtree over leaves `index * 2^level` to `(index + 1) * 2^level`.
    ///
    /// # Errors
    /// [`Error`] when the subtree is not within the log or its tile cannot be used.
    pub fn node(&mut self, level: u8, index: u64) -> Result<Hash, Error> {
        let outside = Error::Node { level, index, size: self.size };
        let complete = self.size.checked_shr(u32::from(level)).unwrap_or(0);
        if index >= complete || self.size > MAX_LOG_SIZE {
            return Err(outside);
        }
        let (tile_level, row) = (level / TILE_HEIGHT as u8, level % TILE_HEIGHT as u8);
        let row_width = TILE_WIDTH as u64 >> row;
        let kind = Kind::Hashes { level: tile_level };
        let tile = Tile::in_log(kind, index / row_width, self.size);
        let Some(tile) = tile else {
            return Err(outside);
        };
        let rows = self.rows(tile)?;
        let node = rows.get(usize::from(row)).and_then(|row| row.get((index % row_width) as usize));
        node.copied().ok_or(outside)
    }

    /// The inclusion proof of entry `index`, see [`proof::inclusion`].
    ///
    /// # Errors
    /// [`Error`] when the entry is not in the log or a tile cannot be used.
    pub fn inclusion(&mut self, index: u64) -> Result<Vec<Hash>, Error> {
        proof::inclusion(index, self.size, |level, n| self.node(level, n))
    }

    /// The proof that this log extends the one of `old` entries, see [`proof::consistency`].
    ///
    /// # Errors
    /// [`Error`] when the log is shorter than that or a tile cannot be used.
    pub fn consistency(&mut self, old: u64) -> Result<Vec<Hash>, Error> {
        proof::consistency(old, self.size, |level, n| self.node(level, n))
    }

    fn rows(&mut self, tile: Tile) -> Result<&[Vec<Hash>], Error> {
        if let Some(position) = self.cache.iter().position(|(cached, _)| *cached == tile) {
            self.cache.swap(0, position);
        } else {
            let mut rows = vec![fetch_hashes(self.fetch, tile)?];
            for row in 0..TILE_HEIGHT as usize {
                rows.push(parents(&rows[row]));
            }
            self.cache.push_front((tile, rows));
            self.cache.truncate(MAX_CACHED_TILES);
        }
        Ok(&self.cache[0].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_log::{MemoryLog, entries};

    fn tile(path: &str) -> Tile {
        Tile::parse_path(path).unwrap()
    }

    #[test]
    fn a_full_tile_stands_in_for_a_deleted_partial_one() {
        let log = MemoryLog::with_entries(256);
        let hashes = fetch_hashes(&mut log.fetch(), tile("tile/0/000.p/3")).unwrap();
        let expected: Vec<Hash> = entries(3).iter().map(|entry| Hash::leaf(entry)).collect();
        assert_eq!(hashes, expected);
        let bundle = fetch_bundle(&mut log.fetch(), tile("tile/entries/000.p/2")).unwrap();
        assert_eq!(bundle.entries(), [b"e0", b"e1"]);
        assert_eq!(bundle.into_bytes(), b"\x00\x02e0\x00\x02e1");
    }

    #[test]
    fn errors_name_the_path() {
        let mut log = MemoryLog::with_entries(3);
        log.0.insert("tile/0/000.p/3".to_owned(), vec![0; 95]);
        log.0.get_mut("tile/entries/000.p/3").unwrap().push(0);
        let text = |error: Error| error.to_string();
        let hashes = |path| fetch_hashes(&mut log.fetch(), tile(path)).map_err(text);
        assert_eq!(hashes("tile/0/001.p/1"), Err("tile/0/001.p/1: missing".to_owned()));
        let expected = "tile/0/000.p/3: 95 bytes, expected 96";
        assert_eq!(hashes("tile/0/000.p/3"), Err(expected.to_owned()));
        let bundle = fetch_bundle(&mut log.fetch(), tile("tile/entries/000.p/3")).map_err(text);
        let expected = "tile/entries/000.p/3: bundle has 1 bytes after its 3 entries";
        assert_eq!(bundle.map(|_| ()), Err(expected.to_owned()));
        let mut broken = |_: &str| Err::<Option<Vec<u8>>, FetchError>("disk".into());
        let error = fetch_hashes(&mut broken, tile("tile/0/000")).unwrap_err();
        assert!(error.is_retryable());
        assert_eq!(error.to_string(), "tile/0/000: cannot be fetched");
    }

    #[test]
    fn nodes_outside_the_log_are_refused() {
        let log = MemoryLog::with_entries(300);
        let mut fetch = log.fetch();
        let mut tiles = TileReader::new(300, &mut fetch);
        assert!(tiles.node(0, 299).is_ok());
        assert!(tiles.node(8, 0).is_ok());
        for (level, index) in [(0, 300), (1, 150), (8, 1), (9, 0), (64, 0), (255, u64::MAX)] {
            assert!(matches!(tiles.node(level, index), Err(Error::Node { .. })));
        }
    }
}
