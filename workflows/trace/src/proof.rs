//! Inclusion and consistency proofs: making them from stored nodes, and checking them
//! (RFC 6962 sections 2.1.1 and 2.1.2; the checks as RFC 9162 sections 2.1.3.2 and 2.1.4.2).

use crate::hash::Hash;
use crate::limits::MAX_LOG_SIZE;

/// Why a proof cannot be made or does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The log has no entry of this index.
    #[error("index {index} is not below the log size {size}")]
    Index {
        /// The index asked for.
        index: u64,
        /// The size of the log.
        size: u64,
    },
    /// The older size is above the newer one, or one is above [`MAX_LOG_SIZE`].
    #[error("log sizes {old} and {new} are not in order or too large")]
    Sizes {
        /// The older size.
        old: u64,
        /// The newer size.
        new: u64,
    },
    /// The proof has more or fewer hashes than this position needs.
    #[error("proof has the wrong number of hashes")]
    Length,
    /// The proof leads to another root than the given one.
    #[error("proof does not lead to the root")]
    Root,
    /// The proof leads to another older root than the given one.
    #[error("proof does not lead to the older root")]
    OldRoot,
}

/// Makes the proof that entry `index` is in the log of `size` entries: the hashes from the leaf's
/// sibling up to the root's child. `node(level, n)` gives the stored root of the complete subtree
/// over leaves `n * 2^level` to `(n + 1) * 2^level`.
///
/// # Errors
/// [`Error::Index`], [`Error::Sizes`], and whatever `node` fails with.
pub fn inclusion<E: From<Error>>(
    index: u64,
    size: u64,
    mut node: impl FnMut(u8, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    if size > MAX_LOG_SIZE {
        return Err(Error::Sizes { old: size, new: size }.into());
    }
    if index >= size {
        return Err(Error::Index { index, size }.into());
    }
    let mut path = Vec::new();
    let (mut low, mut high) = (0, size);
    while high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            path.push(range(middle, high, &mut node)?);
            high = middle;
        } else {
            path.push(range(low, middle, &mut node)?);
            low = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// Makes the proof that the log of `old` entries is a prefix of the log of `new` entries; empty
/// when `old` is 0 or `new`. `node` as in [`inclusion`].
///
/// # Errors
/// [`Error::Sizes`], and whatever `node` fails with.
pub fn consistency<E: From<Error>>(
    old: u64,
    new: u64,
    mut node: impl FnMut(u8, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    if old > new || new > MAX_LOG_SIZE {
        return Err(Error::Sizes { old, new }.into());
    }
    let mut path = Vec::new();
    if old == 0 {
        return Ok(path);
    }
    let (mut low, mut high) = (0, new);
    while old < high {
        let middle = low + split(high - low);
        if old <= middle {
            path.push(range(middle, high, &mut node)?);
            high = middle;
        } else {
            path.push(range(low, middle, &mut node)?);
            low = middle;
        }
    }
    if low > 0 {
        path.push(range(low, high, &mut node)?);
    }
    path.reverse();
    Ok(path)
}

/// The largest power of two below `size`, which is at least 2.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// The Merkle tree hash of leaves `low` to `high`, a range that a tree of RFC 6962 has as a node.
fn range<E>(
    low: u64,
    high: u64,
    node: &mut impl FnMut(u8, u64) -> Result<Hash, E>,
) -> Result<Hash, E> {
    let mut subtrees = Vec::new();
    let mut start = low;
    while start < high {
        let level = (high - start).ilog2();
        subtrees.push(node(level as u8, start >> level)?);
        start += 1 << level;
    }
    let from_the_right = subtrees.into_iter().rev();
    Ok(from_the_right.reduce(|right, left| Hash::node(&left, &right)).unwrap_or(Hash::EMPTY_ROOT))
}

/// Checks that the entry with hash `leaf` is at `index` of the log with `size` entries and `root`.
///
/// # Errors
/// [`Error`] says what does not hold.
pub fn verify_inclusion(
    leaf: Hash,
    index: u64,
    size: u64,
    root: Hash,
    path: &[Hash],
) -> Result<(), Error> {
    if index >= size {
        return Err(Error::Index { index, size });
    }
    let (mut position, mut last) = (index, size - 1);
    let mut hash = leaf;
    for sibling in path {
        if last == 0 {
            return Err(Error::Length);
        }
        if position & 1 == 1 || position == last {
            hash = Hash::node(sibling, &hash);
            // A node without a right sibling moves up unchanged until it is one.
            let skip = position.trailing_zeros();
            position >>= skip;
            last >>= skip;
        } else {
            hash = Hash::node(&hash, sibling);
        }
        position >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(Error::Length);
    }
    if hash == root { Ok(()) } else { Err(Error::Root) }
}

/// Checks that the log with `old` entries and `old_root` is a prefix of the log with `new` entries
/// and `new_root`.
///
/// # Errors
/// [`Error`] says what does not hold.
pub fn verify_consistency(
    old: u64,
    new: u64,
    old_root: Hash,
    new_root: Hash,
    path: &[Hash],
) -> Result<(), Error> {
    if old > new {
        return Err(Error::Sizes { old, new });
    }
    if old == 0 || old == new {
        if !path.is_empty() {
            return Err(Error::Length);
        }
        let expected = if old == 0 { Hash::EMPTY_ROOT } else { new_root };
        return if old_root == expected { Ok(()) } else { Err(Error::OldRoot) };
    }
    let (mut position, mut last) = (old - 1, new - 1);
    let skip = position.trailing_ones();
    position >>= skip;
    last >>= skip;
    // The root of a complete older tree is not repeated in the proof.
    let (seed, rest) = if old.is_power_of_two() {
        (old_root, path)
    } else {
        let (first, rest) = path.split_first().ok_or(Error::Length)?;
        (*first, rest)
    };
    let (mut old_hash, mut new_hash) = (seed, seed);
    for sibling in rest {
        if last == 0 {
            return Err(Error::Length);
        }
        if position & 1 == 1 || position == last {
            old_hash = Hash::node(sibling, &old_hash);
            new_hash = Hash::node(sibling, &new_hash);
            let skip = position.trailing_zeros();
            position >>= skip;
            last >>= skip;
        } else {
            new_hash = Hash::node(&new_hash, sibling);
        }
        position >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(Error::Length);
    }
    if old_hash != old_root {
        return Err(Error::OldRoot);
    }
    if new_hash == new_root { Ok(()) } else { Err(Error::Root) }
}

#[cfg(test)]
mod tests;
