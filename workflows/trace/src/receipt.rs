//! Receipts: an entry's inclusion proof with its checkpoint, checked offline (C2SP tlog-proof).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{self, Checkpoint, parse_decimal};
use crate::hash::{self, Hash};
use crate::key::Verifier;
use crate::limits::{MAX_PROOF_HASHES, MAX_RECEIPT_BYTES};
use crate::proof;

/// The first line of a receipt.
const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// Why bytes are not a receipt, or not one of this entry in this log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The receipt is longer than [`MAX_RECEIPT_BYTES`].
    #[error("receipt of {bytes} bytes is too long")]
    TooLong {
        /// Length of the receipt.
        bytes: usize,
    },
    /// The receipt is not UTF-8.
    #[error("receipt is not utf-8")]
    Utf8,
    /// The first line is not that of tlog-proof version 1.
    #[error("receipt does not start with {HEADER}")]
    Header,
    /// The extra line is empty or not canonical base64.
    #[error("receipt extra data is not base64")]
    Extra,
    /// The index line is missing or not a canonical decimal.
    #[error("receipt index is missing or not a decimal")]
    Index,
    /// A line of the proof is not a hash.
    #[error("receipt proof hash {position}: {source}")]
    Hash {
        /// Position of the hash in the proof, from 0.
        position: usize,
        /// What is wrong with it.
        source: hash::Error,
    },
    /// The proof has more hashes than any log needs.
    #[error("receipt proof has too many hashes")]
    TooManyHashes,
    /// No empty line ends the proof, or nothing follows it.
    #[error("receipt has no checkpoint")]
    NoCheckpoint,
    /// The checkpoint is malformed or not signed by the log's key.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// The proof does not lead from the entry to the checkpoint's root.
    #[error(transparent)]
    Proof(#[from] proof::Error),
}

/// A proof that an entry is in a log, with the checkpoint that it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// What the holder needs besides; nothing authenticates it. Empty when there is none.
    pub extra: Vec<u8>,
    /// Index of the entry in the log.
    pub index: u64,
    /// The inclusion proof, from the leaf's sibling up to the root's child.
    pub path: Vec<Hash>,
    /// The signed checkpoint, verbatim.
    pub checkpoint: String,
}

impl Receipt {
    /// The bytes of a `.tlog-proof` file.
    #[must_use]
    pub fn format(&self) -> String {
        let mut text = format!("{HEADER}\n");
        if !self.extra.is_empty() {
            text.push_str("extra ");
            STANDARD.encode_string(&self.extra, &mut text);
            text.push('\n');
        }
        text.push_str(&format!("index {}\n", self.index));
        for hash in &self.path {
            text.push_str(&format!("{hash}\n"));
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// Reads the form that [`Receipt::format`] writes, and no other. The checkpoint is not opened.
    ///
    /// # Errors
    /// [`Error`] names the line that is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_RECEIPT_BYTES {
            return Err(Error::TooLong { bytes: bytes.len() });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Error::Utf8)?;
        let mut rest = text;
        if next_line(&mut rest) != Some(HEADER) {
            return Err(Error::Header);
        }
        let mut line = next_line(&mut rest).ok_or(Error::Index)?;
        let mut extra = Vec::new();
        if let Some(encoded) = line.strip_prefix("extra ") {
            extra = STANDARD.decode(encoded).map_err(|_| Error::Extra)?;
            if extra.is_empty() {
                return Err(Error::Extra);
            }
            line = next_line(&mut rest).ok_or(Error::Index)?;
        }
        let index = line.strip_prefix("index ").and_then(parse_decimal).ok_or(Error::Index)?;
        let mut path = Vec::new();
        loop {
            let line = next_line(&mut rest).ok_or(Error::NoCheckpoint)?;
            if line.is_empty() {
                break;
            }
            if path.len() == MAX_PROOF_HASHES {
                return Err(Error::TooManyHashes);
            }
            let position = path.len();
            path.push(Hash::from_base64(line).map_err(|source| Error::Hash { position, source })?);
        }
        if rest.is_empty() {
            return Err(Error::NoCheckpoint);
        }
        Ok(Self { extra, index, path, checkpoint: rest.to_owned() })
    }

    /// Checks that `entry` is in the log with this key, and returns the checkpoint that says so.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] or [`Error::Proof`] when the checkpoint or the proof does not hold.
    pub fn verify(&self, entry: &[u8], verifier: &Verifier) -> Result<Checkpoint, Error> {
        let checkpoint = Checkpoint::open(self.checkpoint.as_bytes(), verifier)?;
        let Checkpoint { size, root, .. } = checkpoint;
        proof::verify_inclusion(Hash::leaf(entry), self.index, size, root, &self.path)?;
        Ok(checkpoint)
    }
}

/// Takes one line, which must end with a newline, off the front of `rest`.
fn next_line<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let (line, after) = rest.split_once('\n')?;
    *rest = after;
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_log::{MemoryLog, key};
    use crate::reader::TileReader;

    fn receipt(size: usize, index: u64) -> Receipt {
        let log = MemoryLog::with_entries(size);
        let path = TileReader::new(size as u64, &mut log.fetch()).inclusion(index).unwrap();
        let checkpoint = String::from_utf8(log.0["checkpoint"].clone()).unwrap();
        Receipt { extra: b"opening".to_vec(), index, path, checkpoint }
    }

    #[test]
    fn a_receipt_comes_back_from_its_text_and_holds() {
        for size in [1, 2, 7, 256, 300] {
            for index in [0, size / 2, size - 1] {
                let mut receipt = receipt(size, index as u64);
                let entry = format!("e{index}");
                let parsed = Receipt::parse(receipt.format().as_bytes()).unwrap();
                assert_eq!(parsed, receipt);
                let checkpoint = parsed.verify(entry.as_bytes(), key().verifier()).unwrap();
                assert_eq!(checkpoint.size, size as u64);
                receipt.extra.clear();
                assert!(!receipt.format().contains("extra"));
                assert_eq!(Receipt::parse(receipt.format().as_bytes()), Ok(receipt));
            }
        }
    }

    #[test]
    fn a_receipt_does_not_hold_for_anything_else() {
        let receipt = receipt(300, 42);
        let verify = |receipt: &Receipt, entry: &str| {
            receipt.verify(entry.as_bytes(), key().verifier()).map(|_| ()).unwrap_err()
        };
        assert_eq!(verify(&receipt, "e43"), Error::Proof(proof::Error::Root));
        let moved = Receipt { index: 43, ..receipt.clone() };
        assert_eq!(verify(&moved, "e42"), Error::Proof(proof::Error::Root));
        let outside = Receipt { index: 300, ..receipt.clone() };
        assert!(matches!(verify(&outside, "e42"), Error::Proof(proof::Error::Index { .. })));
        let grown = Receipt { checkpoint: receipt.checkpoint.replace("300", "301"), ..receipt };
        assert!(matches!(verify(&grown, "e42"), Error::Checkpoint(_)));
    }

    #[test]
    fn malformed_receipts_are_refused() {
        let good = receipt(3, 1).format();
        let first = receipt(3, 1).path[0].to_base64();
        let refused = |text: &str| Receipt::parse(text.as_bytes()).unwrap_err();
        assert_eq!(refused(""), Error::Header);
        assert_eq!(refused(HEADER), Error::Header);
        assert_eq!(refused(&good.replace("@v1", "@v2")), Error::Header);
        assert_eq!(refused(&good.replacen('\n', "\r\n", 1)), Error::Header);
        assert_eq!(refused(&format!("{HEADER}\n")), Error::Index);
        assert_eq!(refused(&good.replace("extra b3", "extra b")), Error::Extra);
        assert_eq!(refused(&good.replace("b3BlbmluZw==", "")), Error::Extra);
        assert_eq!(refused(&good.replace("index 1", "index 01")), Error::Index);
        assert_eq!(refused(&good.replace("index 1", "index")), Error::Index);
        assert_eq!(refused(&good.replace("index 1", "index 18446744073709551616")), Error::Index);
        assert_eq!(refused(&good.replace("index 1\n", "")), Error::Index);
        let source = hash::Error::Length;
        let short = good.replace(&first, &first[4..]);
        assert_eq!(refused(&short), Error::Hash { position: 0, source });
        let many =
            good.replace("index 1\n", &format!("index 1\n{}", format!("{first}\n").repeat(64)));
        assert_eq!(refused(&many), Error::TooManyHashes);
        let head = good.split_once("\n\n").unwrap().0;
        assert_eq!(refused(&format!("{head}\n")), Error::NoCheckpoint);
        assert_eq!(refused(&format!("{head}\n\n")), Error::NoCheckpoint);
        assert_eq!(Receipt::parse(b"\xff"), Err(Error::Utf8));
        let bytes = MAX_RECEIPT_BYTES + 1;
        assert_eq!(Receipt::parse(&vec![0; bytes]), Err(Error::TooLong { bytes }));
        for cut in 0..good.len() {
            if let Ok(receipt) = Receipt::parse(&good.as_bytes()[..cut]) {
                assert!(receipt.verify(b"e1", key().verifier()).is_err());
            }
        }
    }
}
