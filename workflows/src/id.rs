//! Ids. All but the client's own names are derived under the node's secret `id.key`, so that no id
//! tells who a contributor is, and the same hand-in always gets the same id.

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// The arrival number of an inbox item: its place in the order of its shard.
pub type Arrival = u64;

/// A fixed slice of contributors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardId(pub u16);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}", self.0)
    }
}

/// A contributor's 16-bit bucket; every id of theirs carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Bucket(pub u16);

impl Bucket {
    /// The bucket's shard among `shards`: `bucket * shards / 65536`.
    pub fn shard(self, shards: u16) -> ShardId {
        let shard = u32::from(self.0) * u32::from(shards) / 65_536;
        ShardId(u16::try_from(shard).expect("a 16-bit bucket times shards over 2^16 is below 2^16"))
    }

    /// The bucket of a program's home, from its name alone.
    pub fn of_program(program: &str) -> Self {
        let digest = Sha256::digest(program.as_bytes());
        Self(u16::from_be_bytes([digest[0], digest[1]]))
    }
}

/// A text that is not an id of the expected form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id: a letter, 4 hex digits of bucket and 32 hex digits")]
pub struct Error;

/// Bucket and 16 bytes of a keyed hash; printed as a letter and 36 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContributionId {
    /// The contributor's bucket.
    pub bucket: Bucket,
    /// HMAC-SHA256(id.key, contributor 0x00 idempotency_key), its first 16 bytes.
    pub mac: [u8; 16],
}

impl ContributionId {
    /// Parses `c` + bucket (4 hex) + 32 hex, lower case.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let hex_digits = text.strip_prefix('c').ok_or(Error)?;
        let bytes: [u8; 18] = unhex(hex_digits).ok_or(Error)?;
        let mut mac = [0; 16];
        mac.copy_from_slice(&bytes[2..]);
        Ok(Self { bucket: Bucket(u16::from_be_bytes([bytes[0], bytes[1]])), mac })
    }
}

impl fmt::Display for ContributionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{:04x}{}", self.bucket.0, hex(&self.mac))
    }
}

impl fmt::Debug for ContributionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A contributor's row in its shard: 16 bytes of a keyed hash of the contributor's own id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContributorKey(pub [u8; 16]);

/// The node's secret for ids (`keys/id.key`, 32 bytes).
#[derive(Clone)]
pub struct IdKey {
    /// The key, taken in: that is half of the work of a short message.
    keyed: Hmac<Sha256>,
}

impl fmt::Debug for IdKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdKey(secret)")
    }
}

impl IdKey {
    /// Wraps the 32 secret bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self { keyed: keyed(&bytes) }
    }

    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        finish(self.keyed.clone(), parts)
    }

    /// The contributor's bucket.
    pub fn bucket(&self, contributor: &str) -> Bucket {
        let mac = self.mac(&[b"bucket\0", contributor.as_bytes()]);
        Bucket(u16::from_be_bytes([mac[0], mac[1]]))
    }

    /// The contribution id of (contributor, idempotency key): contract.md, Trace.
    pub fn contribution(&self, contributor: &str, idempotency_key: &str) -> ContributionId {
        let mac = self.mac(&[contributor.as_bytes(), b"\0", idempotency_key.as_bytes()]);
        ContributionId { bucket: self.bucket(contributor), mac: first16(&mac) }
    }

    /// The key of the contributor's row.
    pub fn contributor(&self, contributor: &str) -> ContributorKey {
        ContributorKey(first16(&self.mac(&[b"contributor\0", contributor.as_bytes()])))
    }

    /// The id of a payout: from (contribution, cause, try), never from an attempt of a stage.
    pub fn payout(&self, contribution: ContributionId, cause: &str, number: u16) -> String {
        let name = contribution.to_string();
        let number = number.to_be_bytes();
        let parts: [&[u8]; 6] =
            [b"payout\0", name.as_bytes(), b"\0", cause.as_bytes(), b"\0", &number];
        format!("p{:04x}{}", contribution.bucket.0, hex(&first16(&self.mac(&parts))))
    }

    /// The account at the rail that stands for a contributor.
    pub fn account(&self, contributor: &str) -> String {
        format!("a{}", hex(&first16(&self.mac(&[b"account\0", contributor.as_bytes()]))))
    }

    /// A secret that stands in for a destroyed data key.
    pub fn blind(&self, contribution: ContributionId) -> [u8; 32] {
        self.mac(&[b"blind\0", contribution.to_string().as_bytes()])
    }

    /// The public id of an entry: 32 hex of HMAC-SHA256(id.key, "trace" 0x00 kind 0x00 id).
    pub fn public(&self, kind: &str, internal: &str) -> String {
        let parts: [&[u8]; 4] = [b"trace\0", kind.as_bytes(), b"\0", internal.as_bytes()];
        hex(&first16(&self.mac(&parts)))
    }
}

/// HMAC-SHA256 (RFC 2104) over the parts, one after the other.
pub fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    finish(keyed(key), parts)
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

fn finish(mut mac: Hmac<Sha256>, parts: &[&[u8]]) -> [u8; 32] {
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn first16(mac: &[u8; 32]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&mac[..16]);
    bytes
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// The bytes of lower-case hex of exactly this length, or nothing.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(digits.as_chunks().0) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(bytes)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_same_for_the_same_hand_in_and_parses_back() {
        let key = IdKey::new([7; 32]);
        let id = key.contribution("kr-1", "a");
        assert_eq!(id, key.contribution("kr-1", "a"));
        assert_ne!(id, key.contribution("kr-1", "b"));
        assert_ne!(id, IdKey::new([8; 32]).contribution("kr-1", "a"));
        assert_eq!(ContributionId::parse(&id.to_string()), Ok(id));
        assert_eq!(id.bucket, key.bucket("kr-1"));
    }

    #[test]
    fn shards_share_the_buckets_evenly() {
        assert_eq!(Bucket(0).shard(64), ShardId(0));
        assert_eq!(Bucket(65_535).shard(64), ShardId(63));
        assert_eq!(Bucket(32_768).shard(2), ShardId(1));
    }

    #[test]
    fn foreign_texts_are_no_ids() {
        for text in ["", "c", "c12", "x000000000000000000000000000000000000", "c00zz"] {
            assert_eq!(ContributionId::parse(text), Err(Error));
        }
    }

    /// Worked out with another HMAC, so that no release gives anything another id.
    #[test]
    fn every_id_stands_as_the_contract_derives_it() {
        let key = IdKey::new([7; 32]);
        let id = key.contribution("kr-1", "a");
        assert_eq!(id.to_string(), "c7bde2c5638124d46890697bb4d5fb8165768");
        assert_eq!(hex(&key.contributor("kr-1").0), "e91f3f2938a44b2ebb50d3642f2918bf");
        assert_eq!(key.payout(id, "acceptance", 2), "p7bde050da3b777dcddc010f20de618c54e13");
        assert_eq!(key.account("kr-1"), "a76d12adc45c584d601f0c7cc16c8b561");
        let blind = "9ea30a9087bbc4145b17d48837a4d3e180670183e0b68b9c6fdd5606e6eb2755";
        assert_eq!(hex(&key.blind(id)), blind);
        let public = key.public("contribution", &id.to_string());
        assert_eq!(public, "1329f6476f321f70186a365e6372d53b");
    }

    #[test]
    fn a_shard_is_written_with_four_digits_and_a_key_not_at_all() {
        assert_eq!(ShardId(7).to_string(), "0007");
        assert_eq!(format!("{:?}", IdKey::new([7; 32])), "IdKey(secret)");
        let id = IdKey::new([7; 32]).contribution("kr-1", "a");
        assert_eq!(format!("{id:?}"), id.to_string());
    }

    #[test]
    fn hex_of_another_length_or_with_capitals_is_none() {
        assert_eq!(unhex::<3>("00af9b"), Some([0, 0xaf, 0x9b]));
        for text in ["00af9", "00af9b0", "00AF9B", "00ag9b", "00a/9b", "00a:9b", "00a`9b"] {
            assert_eq!(unhex::<3>(text), None, "{text}");
        }
    }
}
