//! The right edge of a tiled log: the hashes of its partial tiles, and the tiles that fill up.

use crate::hash::{Hash, subtree_root};
use crate::limits::{MAX_LOG_SIZE, TILE_WIDTH};
use crate::tile::{self, Kind, Tile};
use crate::tree::{self, Frontier};

/// A hash tile with its contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashTile {
    /// Where it belongs.
    pub tile: Tile,
    /// Its hashes, left to right, as many as the tile is wide.
    pub hashes: Vec<Hash>,
}

impl HashTile {
    /// The body of the tile: its hashes one after the other.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.tile.hash_bytes());
        for hash in &self.hashes {
            bytes.extend_from_slice(hash.as_bytes());
        }
        bytes
    }
}

/// The hashes of the partial tile of every level, from which the log can grow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    levels: Vec<Vec<Hash>>,
}

impl Edge {
    /// The edge of the empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The edge of a stored log: `levels[l]` holds the hashes of its partial tile at level `l`.
    ///
    /// # Errors
    /// [`tree::Error`] when the size is too large or the number of hashes does not fit it.
    pub fn from_levels(size: u64, levels: Vec<Vec<Hash>>) -> Result<Self, tree::Error> {
        if size > MAX_LOG_SIZE {
            return Err(tree::Error::TooLarge { size });
        }
        let mut widths: Vec<usize> =
            (0..tile::levels(size)).map(|level| tile::partial_width(level, size)).collect();
        widths.resize(widths.len().max(levels.len()), 0);
        let actual: Vec<usize> = levels.iter().map(Vec::len).collect();
        if widths != actual {
            let (expected, actual) = (widths.iter().sum(), actual.iter().sum());
            return Err(tree::Error::Nodes { size, expected, actual });
        }
        Ok(Self { size, levels })
    }

    /// Appends the hash of the next leaf; returns the tiles that it filled, lowest level first.
    pub fn push(&mut self, leaf: Hash) -> Vec<HashTile> {
        let mut filled = Vec::new();
        self.size += 1;
        let mut hash = leaf;
        for level in 0..u8::MAX {
            if self.levels.len() == usize::from(level) {
                self.levels.push(Vec::with_capacity(TILE_WIDTH));
            }
            let hashes = &mut self.levels[usize::from(level)];
            hashes.push(hash);
            if hashes.len() < TILE_WIDTH {
                break;
            }
            let hashes = std::mem::replace(hashes, Vec::with_capacity(TILE_WIDTH));
            hash = subtree_root(&hashes);
            let index = tile::hashes_at(level, self.size) / TILE_WIDTH as u64 - 1;
            if let Some(tile) = Tile::in_log(Kind::Hashes { level }, index, self.size) {
                filled.push(HashTile { tile, hashes });
            }
        }
        filled
    }

    /// Entries in the log.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Hashes of the partial tile of each level, from level 0; empty where there is none.
    #[must_use]
    pub fn levels(&self) -> &[Vec<Hash>] {
        &self.levels
    }

    /// The partial hash tiles with their contents, lowest level first.
    pub fn partials(&self) -> impl Iterator<Item = HashTile> {
        tile::partials(self.size).filter_map(|tile| match tile.kind() {
            Kind::Entries => None,
            Kind::Hashes { level } => {
                Some(HashTile { tile, hashes: self.levels[usize::from(level)].clone() })
            }
        })
    }

    /// The same log as a compact range.
    #[must_use]
    pub fn frontier(&self) -> Frontier {
        let mut nodes = Vec::new();
        for hashes in self.levels.iter().rev() {
            let mut rest = hashes.as_slice();
            while !rest.is_empty() {
                let (subtree, after) = rest.split_at(1 << rest.len().ilog2());
                nodes.push(subtree_root(subtree));
                rest = after;
            }
        }
        Frontier::from_nodes(self.size, nodes)
            .expect("the widths of the partial tiles have the one bits of the size")
    }

    /// The Merkle tree hash of the log.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.frontier().root()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_log::entries;

    #[test]
    fn the_edge_has_the_root_of_the_tree_at_every_size() {
        let (mut edge, mut tree) = (Edge::new(), Frontier::new());
        for (position, entry) in entries(70_000).iter().enumerate() {
            let leaf = Hash::leaf(entry);
            edge.push(leaf);
            tree.push(leaf);
            if position < 300 || position % 997 == 0 || (65_530..65_540).contains(&position) {
                assert_eq!(edge.frontier(), tree);
                let stored = Edge::from_levels(edge.size(), edge.levels().to_vec());
                assert_eq!(stored, Ok(edge.clone()));
            }
        }
        assert_eq!(edge.root(), tree.root());
    }

    #[test]
    fn filled_tiles_come_out_once_at_their_place() {
        let mut edge = Edge::new();
        let filled: Vec<String> = entries(65_536)
            .iter()
            .flat_map(|entry| edge.push(Hash::leaf(entry)))
            .map(|filled| filled.tile.path())
            .collect();
        assert_eq!(filled.len(), 257);
        assert_eq!(filled[0], "tile/0/000");
        assert_eq!(filled[255..], ["tile/0/255", "tile/1/000"]);
    }

    #[test]
    fn levels_that_do_not_fit_the_size_are_refused() {
        let hash = Hash::EMPTY_ROOT;
        assert!(Edge::from_levels(257, vec![vec![hash], vec![hash]]).is_ok());
        assert!(Edge::from_levels(257, vec![vec![hash; 2], vec![]]).is_err());
        assert!(Edge::from_levels(257, vec![vec![hash]]).is_err());
        assert!(Edge::from_levels(1, vec![vec![hash], vec![hash]]).is_err());
        assert!(Edge::from_levels(u64::MAX, vec![]).is_err());
    }
}
