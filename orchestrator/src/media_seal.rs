//! How a blob is sealed: a random nonce of 12 bytes, then AES-256-GCM (NIST SP 800-38D) under the
//! contribution's data key, with the slot's number (8 bytes, big-endian) as associated data.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use gristmill_workflows::entry::DataKey;
use gristmill_workflows::id::ShardId;
use std::io;

/// Bytes in front of the ciphertext.
pub(crate) const NONCE_BYTES: usize = 12;

/// Seals bytes in place; what belongs in front of them.
///
/// # Errors
/// No randomness, or more bytes than the cipher takes.
pub(crate) fn seal(slot: u64, key: DataKey, bytes: &mut Vec<u8>) -> io::Result<[u8; NONCE_BYTES]> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|error| io::Error::other(error.to_string()))?;
    let cipher = Aes256Gcm::new(&key.0.into());
    let sealed = cipher.encrypt_in_place(&nonce.into(), &slot.to_be_bytes(), bytes);
    sealed.map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    Ok(nonce)
}

/// Opens what stands in a slot; none if it does not decrypt under this key.
pub(crate) fn open(slot: u64, key: DataKey, mut stored: Vec<u8>) -> Option<Vec<u8>> {
    let nonce = stored.first_chunk::<NONCE_BYTES>().copied()?;
    stored.drain(..NONCE_BYTES);
    let cipher = Aes256Gcm::new(&key.0.into());
    let opened = cipher.decrypt_in_place(&nonce.into(), &slot.to_be_bytes(), &mut stored);
    opened.is_ok().then_some(stored)
}

/// The folder of a slot's shard, and the name in it.
pub(crate) fn place(slot: u64) -> (String, String) {
    // A slot's upper 16 bits are its shard.
    (ShardId((slot >> 48) as u16).to_string(), format!("{slot:016x}"))
}
