//! SHA-256 hashes of the Merkle tree (RFC 6962 section 2.1) and their base64 text.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::limits::HASH_BYTES;

/// Why a text is not a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is not canonical standard base64 with padding (RFC 4648 section 4).
    #[error("hash is not base64")]
    Base64,
    /// The decoded value is not 32 bytes long.
    #[error("hash is not 32 bytes")]
    Length,
}

/// A SHA-256 hash of a leaf or node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; HASH_BYTES]);

impl Hash {
    /// The root of the empty log: SHA-256 of no bytes (RFC 6962 section 2.1).
    pub const EMPTY_ROOT: Self = Self([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9,
        0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52,
        0xb8, 0x55,
    ]);

    /// A hash of known bytes.
    #[must_use]
    pub const fn new(bytes: [u8; HASH_BYTES]) -> Self {
        Self(bytes)
    }

    /// The hash of a leaf: `SHA256(0x00 || entry)`.
    #[must_use]
    pub fn leaf(entry: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update([0x00]);
        hasher.update(entry);
        Self(hasher.finalize().into())
    }

    /// The hash of an inner node: `SHA256(0x01 || left || right)`.
    #[must_use]
    pub fn node(left: &Self, right: &Self) -> Self {
        let mut input = [0x01; 1 + 2 * HASH_BYTES];
        input[1..=HASH_BYTES].copy_from_slice(&left.0);
        input[1 + HASH_BYTES..].copy_from_slice(&right.0);
        Self(Sha256::digest(input).into())
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }

    /// Standard base64 with padding, 44 characters.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// Reads the form that [`Hash::to_base64`] writes, and no other.
    ///
    /// # Errors
    /// [`Error`] when the text is not canonical base64 of 32 bytes.
    pub fn from_base64(text: &str) -> Result<Self, Error> {
        if text.len() != HASH_BYTES.div_ceil(3) * 4 {
            return Err(Error::Length);
        }
        let bytes = STANDARD.decode(text).map_err(|_| Error::Base64)?;
        bytes.try_into().map(Self).map_err(|_| Error::Length)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.to_base64())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Hash({self})")
    }
}

/// The root of a complete subtree, from its hashes left to right.
///
/// # Panics
/// Never for a power of two of hashes; callers pass tiles and aligned parts of tiles only.
pub(crate) fn subtree_root(hashes: &[Hash]) -> Hash {
    debug_assert!(hashes.len().is_power_of_two());
    if let [only] = hashes {
        return *only;
    }
    let mut row = parents(hashes);
    while row.len() > 1 {
        row = parents(&row);
    }
    row[0]
}

/// The row of nodes above a row of hashes; a last odd hash has no parent.
pub(crate) fn parents(row: &[Hash]) -> Vec<Hash> {
    row.as_chunks().0.iter().map(|[left, right]| Hash::node(left, right)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_root_is_the_hash_of_nothing() {
        assert_eq!(Hash::EMPTY_ROOT.0, <[u8; 32]>::from(Sha256::digest(b"")));
        let text = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(Hash::EMPTY_ROOT.to_base64(), text);
        assert_eq!(Hash::from_base64(text), Ok(Hash::EMPTY_ROOT));
    }

    #[test]
    fn leaf_and_node_hashes_have_their_own_domains() {
        assert_eq!(Hash::leaf(b"").0, <[u8; 32]>::from(Sha256::digest([0])));
        let (left, right) = (Hash::leaf(b"l"), Hash::leaf(b"r"));
        let mut input = vec![1];
        input.extend(left.0);
        input.extend(right.0);
        assert_eq!(Hash::node(&left, &right).0, <[u8; 32]>::from(Sha256::digest(&input)));
    }

    #[test]
    fn text_that_is_not_canonical_base64_of_32_bytes_is_refused() {
        let good = Hash::EMPTY_ROOT.to_base64();
        assert_eq!(Hash::from_base64(""), Err(Error::Length));
        assert_eq!(Hash::from_base64(&good[..43]), Err(Error::Length));
        assert_eq!(Hash::from_base64(&format!("{good}\n")), Err(Error::Length));
        assert_eq!(Hash::from_base64(&"A".repeat(44)), Err(Error::Length));
        assert_eq!(Hash::from_base64(&good.replace("uFU=", "uFV=")), Err(Error::Base64));
        assert_eq!(Hash::from_base64(&good.replace('+', "-")), Err(Error::Base64));
    }
}
