//! The publisher machine: new entries in, tiles to create out.

use crate::bundle;
use crate::edge::{Edge, HashTile};
use crate::hash::Hash;
use crate::limits::MAX_LOG_SIZE;
use crate::reader::{self, Fetch, fetch_bundle, fetch_hashes};
use crate::tile::{self, Kind, Tile};
use crate::tree;

/// Why entries cannot be appended or a stored log cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An entry does not fit a bundle. Nothing was appended.
    #[error("entry {index}: {source}")]
    Entry {
        /// The index that the entry would have had.
        index: u64,
        /// What is wrong with it.
        source: bundle::Error,
    },
    /// The log would be, or is said to be, too large. Nothing was appended.
    #[error(transparent)]
    Size(#[from] tree::Error),
    /// A tile of the right edge cannot be used.
    #[error(transparent)]
    Stored(#[from] reader::Error),
    /// The right edge does not have the root that the log has at this size.
    #[error("right edge tiles have root {actual} at size {size}, not {expected}")]
    Root {
        /// Size of the stored log.
        size: u64,
        /// The root given.
        expected: Hash,
        /// The root of the stored tiles.
        actual: Hash,
    },
    /// An entry of the last bundle does not have its hash in the tile.
    #[error("{path}: entry {index} does not have the hash in its tile")]
    Bundle {
        /// Path of the bundle.
        path: String,
        /// Index of the entry in the log.
        index: u64,
    },
}

/// A tile or bundle to create; its bytes follow from the entries alone, so creating it again gives
/// the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Where it belongs; [`Tile::path`] is the path below the log's prefix.
    pub tile: Tile,
    /// Its body.
    pub bytes: Vec<u8>,
}

impl From<HashTile> for Object {
    fn from(hashes: HashTile) -> Self {
        Self { tile: hashes.tile, bytes: hashes.bytes() }
    }
}

/// The state of a log that grows: its right edge and its last, partial entry bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Publisher {
    edge: Edge,
    bundle: Vec<u8>,
}

impl Publisher {
    /// The publisher of an empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over the stored log of `size` entries with `root`, reading its partial tiles only.
    ///
    /// # Errors
    /// [`Error`] names the tile that is missing, malformed or does not fit the root.
    pub fn restore(size: u64, root: Hash, fetch: &mut Fetch<'_>) -> Result<Self, Error> {
        if size > MAX_LOG_SIZE {
            return Err(tree::Error::TooLarge { size }.into());
        }
        let mut levels = vec![Vec::new(); usize::from(tile::levels(size))];
        let mut last_bundle = None;
        for tile in tile::partials(size) {
            match tile.kind() {
                Kind::Entries => last_bundle = Some((tile, fetch_bundle(fetch, tile)?)),
                Kind::Hashes { level } => levels[usize::from(level)] = fetch_hashes(fetch, tile)?,
            }
        }
        let edge = Edge::from_levels(size, levels)?;
        let actual = edge.root();
        if actual != root {
            return Err(Error::Root { size, expected: root, actual });
        }
        let mut bundle = Vec::new();
        if let Some((tile, stored)) = last_bundle {
            let first = size - tile.width() as u64;
            for (index, (entry, hash)) in
                (first..).zip(stored.entries().iter().zip(&edge.levels()[0]))
            {
                if Hash::leaf(entry) != *hash {
                    return Err(Error::Bundle { path: tile.path(), index });
                }
            }
            bundle = stored.into_bytes();
        }
        Ok(Self { edge, bundle })
    }

    /// Appends entries; returns the bundles and tiles that they filled, each bundle before its
    /// tiles. All or nothing: on an error the publisher is unchanged.
    ///
    /// # Errors
    /// [`Error::Entry`] when an entry is too long, [`Error::Size`] when the log is full.
    pub fn append<E: AsRef<[u8]>>(&mut self, entries: &[E]) -> Result<Vec<Object>, Error> {
        let first = self.edge.size();
        let size = first.saturating_add(entries.len() as u64);
        if size > MAX_LOG_SIZE {
            return Err(tree::Error::TooLarge { size }.into());
        }
        for (index, entry) in (first..).zip(entries) {
            bundle::check_length(entry.as_ref())
                .map_err(|source| Error::Entry { index, source })?;
        }
        let mut objects = Vec::new();
        for (index, entry) in (first..).zip(entries) {
            let entry = entry.as_ref();
            bundle::push(&mut self.bundle, entry)
                .map_err(|source| Error::Entry { index, source })?;
            let filled = self.edge.push(Hash::leaf(entry));
            if let Some(HashTile { tile, .. }) = filled.first() {
                let tile = Tile::in_log(Kind::Entries, tile.index(), self.edge.size());
                let bytes = std::mem::take(&mut self.bundle);
                objects.extend(tile.map(|tile| Object { tile, bytes }));
            }
            objects.extend(filled.into_iter().map(Object::from));
        }
        Ok(objects)
    }

    /// The partial bundle and tiles that a checkpoint of the present size needs, bundle first.
    #[must_use]
    pub fn partials(&self) -> Vec<Object> {
        let bundle = tile::partials(self.size())
            .find(|tile| tile.kind() == Kind::Entries)
            .map(|tile| Object { tile, bytes: self.bundle.clone() });
        bundle.into_iter().chain(self.edge.partials().map(Object::from)).collect()
    }

    /// Appends entries and returns everything to create before a checkpoint of the new size is
    /// published: what [`Publisher::append`] returns, then [`Publisher::partials`].
    ///
    /// # Errors
    /// As [`Publisher::append`].
    pub fn publish<E: AsRef<[u8]>>(&mut self, entries: &[E]) -> Result<Vec<Object>, Error> {
        let mut objects = self.append(entries)?;
        objects.extend(self.partials());
        Ok(objects)
    }

    /// Entries in the log; the index of the next one.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.edge.size()
    }

    /// The root of the log at its present size.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.edge.root()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_ENTRY_BYTES;
    use crate::memory_log::{MemoryLog, XorShift, entries};

    #[test]
    fn the_golden_log_has_the_golden_sizes() {
        let log = MemoryLog::with_entries(300);
        let sizes: Vec<(&str, usize)> =
            log.0.iter().map(|(path, bytes)| (path.as_str(), bytes.len())).skip(1).collect();
        let golden = [
            ("tile/0/000", 8192),
            ("tile/0/001.p/44", 1408),
            ("tile/1/000.p/1", 32),
            ("tile/entries/000", 1426),
            ("tile/entries/001.p/44", 264),
        ];
        assert_eq!(sizes, golden);
    }

    #[test]
    fn a_log_grown_in_any_steps_is_the_log_written_at_once() {
        let all = entries(70_000);
        let whole = MemoryLog::with_entries(all.len());
        let mut random = XorShift(0x9e37_79b9_7f4a_7c15);
        for round in 0..6 {
            let (mut log, mut publisher) = (MemoryLog::default(), Publisher::new());
            let mut size = 0;
            while size < all.len() {
                let step = random.below([3, 300, 5_000, 20_000, 40_000, 70_000][round]);
                // Small steps need no more rounds than show the first tiles.
                let end = if size > 2_000 && round == 0 { all.len() } else { size + step };
                let end = end.min(all.len());
                let objects = publisher.publish(&all[size..end]).unwrap();
                let changed: Vec<Tile> = tile::changed(size as u64, end as u64).collect();
                for tile in &changed {
                    assert!(objects.iter().any(|object| object.tile == *tile), "{tile}");
                }
                log.create(objects);
                size = end;
                assert_eq!(publisher.size(), size as u64);
                let mut fetch = log.fetch();
                let restored =
                    Publisher::restore(publisher.size(), publisher.root(), &mut fetch).unwrap();
                drop(fetch);
                assert_eq!(restored, publisher);
                publisher = restored;
            }
            log.sign(&publisher);
            for (path, bytes) in &whole.0 {
                assert_eq!(log.0.get(path), Some(bytes), "{path}");
            }
        }
    }

    #[test]
    fn an_entry_too_long_appends_nothing() {
        let mut publisher = Publisher::new();
        let long = vec![0; MAX_ENTRY_BYTES + 1];
        let error = publisher.publish(&[b"e0".to_vec(), long]).unwrap_err();
        assert_eq!(error.to_string(), "entry 1: entry of 65536 bytes is longer than 65535");
        assert_eq!(publisher, Publisher::new());
    }

    #[test]
    fn a_damaged_right_edge_is_not_taken_over() {
        let log = MemoryLog::with_entries(300);
        let mut publisher = Publisher::new();
        publisher.append(&entries(300)).unwrap();
        let root = publisher.root();
        let restore = |damage: &dyn Fn(&mut MemoryLog), size| {
            let mut log = log.clone();
            damage(&mut log);
            Publisher::restore(size, root, &mut log.fetch()).map_err(|error| error.to_string())
        };
        assert_eq!(restore(&|_| {}, 300), Ok(publisher));
        let refused = |damage: &dyn Fn(&mut MemoryLog), size| restore(damage, size).unwrap_err();
        let missing = refused(&|log| drop(log.0.remove("tile/1/000.p/1")), 300);
        assert_eq!(missing, "tile/1/000.p/1: missing");
        let flip = |path: &'static str| {
            move |log: &mut MemoryLog| *log.0.get_mut(path).unwrap().last_mut().unwrap() ^= 1
        };
        assert!(refused(&flip("tile/0/001.p/44"), 300).starts_with("right edge tiles have root"));
        let entry = refused(&flip("tile/entries/001.p/44"), 300);
        assert_eq!(entry, "tile/entries/001.p/44: entry 299 does not have the hash in its tile");
        assert!(refused(&|_| {}, 256).starts_with("right edge tiles have root"));
        assert!(refused(&|_| {}, u64::MAX).contains("above the largest"));
    }
}
