//! The append-only Merkle tree as a compact range: one hash a complete subtree.

use crate::hash::Hash;
use crate::limits::MAX_LOG_SIZE;

/// Why stored parts are not a frontier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The size is above [`MAX_LOG_SIZE`].
    #[error("log size {size} is above the largest supported")]
    TooLarge {
        /// The size given.
        size: u64,
    },
    /// The number of hashes is not the number of one bits of the size.
    #[error("a log of {size} entries has {expected} subtree hashes, not {actual}")]
    Nodes {
        /// The size given.
        size: u64,
        /// Hashes that a log of this size has.
        expected: usize,
        /// Hashes given.
        actual: usize,
    },
}

/// The right edge of a Merkle tree: enough to append leaves and to compute the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    nodes: Vec<Hash>,
}

impl Frontier {
    /// The frontier of the empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The frontier of a stored log: `nodes` are the roots of its complete subtrees, largest first.
    ///
    /// # Errors
    /// [`Error`] when the size is too large or the number of nodes does not fit it.
    pub fn from_nodes(size: u64, nodes: Vec<Hash>) -> Result<Self, Error> {
        if size > MAX_LOG_SIZE {
            return Err(Error::TooLarge { size });
        }
        let expected = size.count_ones() as usize;
        if nodes.len() != expected {
            return Err(Error::Nodes { size, expected, actual: nodes.len() });
        }
        Ok(Self { size, nodes })
    }

    /// Appends the hash of the next leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut node = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.nodes.pop() {
                node = Hash::node(&left, &node);
            }
        }
        self.nodes.push(node);
        self.size += 1;
    }

    /// Leaves appended so far.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Roots of the complete subtrees, largest first.
    #[must_use]
    pub fn nodes(&self) -> &[Hash] {
        &self.nodes
    }

    /// The Merkle tree hash of all leaves (RFC 6962 section 2.1).
    #[must_use]
    pub fn root(&self) -> Hash {
        let from_the_right = self.nodes.iter().rev().copied();
        from_the_right.reduce(|right, left| Hash::node(&left, &right)).unwrap_or(Hash::EMPTY_ROOT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_log::{entries, naive_root};

    #[test]
    fn the_golden_leaves_have_the_golden_root() {
        let mut tree = Frontier::new();
        assert_eq!(tree.root(), Hash::EMPTY_ROOT);
        for entry in entries(300) {
            tree.push(Hash::leaf(&entry));
        }
        assert_eq!(tree.root().to_base64(), "zdbZhHbyqhi3Vw1NagHHY8DLZvQ0Weow3O9XB0YA9uE=");
    }

    #[test]
    fn every_small_root_is_the_naive_merkle_tree_hash() {
        let leaves: Vec<Hash> = entries(130).iter().map(|entry| Hash::leaf(entry)).collect();
        let mut tree = Frontier::new();
        for size in 0..=leaves.len() {
            assert_eq!(tree.size(), size as u64);
            assert_eq!(tree.root(), naive_root(&leaves[..size]));
            let stored = Frontier::from_nodes(tree.size(), tree.nodes().to_vec());
            assert_eq!(stored, Ok(tree.clone()));
            if let Some(leaf) = leaves.get(size) {
                tree.push(*leaf);
            }
        }
    }

    #[test]
    fn parts_that_do_not_fit_the_size_are_refused() {
        let expected = Error::Nodes { size: 3, expected: 2, actual: 1 };
        assert_eq!(Frontier::from_nodes(3, vec![Hash::EMPTY_ROOT]), Err(expected));
        let too_large = Error::TooLarge { size: u64::MAX };
        assert_eq!(Frontier::from_nodes(u64::MAX, vec![]), Err(too_large));
    }
}
