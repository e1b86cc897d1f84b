//! Entry bundles: up to 256 entries, each behind a big-endian 16-bit length (C2SP tlog-tiles).

use crate::limits::{MAX_ENTRY_BYTES, TILE_WIDTH};

/// Why bytes are not an entry bundle, or an entry does not fit one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The entry is longer than 65,535 bytes.
    #[error("entry of {bytes} bytes is longer than 65535")]
    EntryTooLong {
        /// Length of the entry.
        bytes: usize,
    },
    /// The bytes end within an entry or before the expected number of entries.
    #[error("bundle ends within entry {position} of {expected}")]
    Truncated {
        /// Position in the bundle of the entry that is cut.
        position: usize,
        /// Entries that the bundle should have.
        expected: usize,
    },
    /// Bytes follow the last expected entry.
    #[error("bundle has {bytes} bytes after its {expected} entries")]
    Trailing {
        /// Bytes too many.
        bytes: usize,
        /// Entries that the bundle should have.
        expected: usize,
    },
}

/// Appends one entry to the bytes of a bundle.
///
/// # Errors
/// [`Error::EntryTooLong`]; the bundle is unchanged then.
pub fn push(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), Error> {
    let Ok(length) = u16::try_from(entry.len()) else {
        return Err(Error::EntryTooLong { bytes: entry.len() });
    };
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// Encodes entries as one bundle.
///
/// # Errors
/// [`Error::EntryTooLong`] when an entry is longer than 65,535 bytes.
pub fn encode<E: AsRef<[u8]>>(entries: &[E]) -> Result<Vec<u8>, Error> {
    let mut bundle = Vec::new();
    for entry in entries {
        push(&mut bundle, entry.as_ref())?;
    }
    Ok(bundle)
}

/// Checks that an entry fits a bundle.
///
/// # Errors
/// [`Error::EntryTooLong`] when it is longer than 65,535 bytes.
pub fn check_length(entry: &[u8]) -> Result<(), Error> {
    if entry.len() > MAX_ENTRY_BYTES {
        return Err(Error::EntryTooLong { bytes: entry.len() });
    }
    Ok(())
}

/// Splits a bundle of exactly `width` entries (at most 256 are ever read).
///
/// # Errors
/// [`Error`] when the bytes hold fewer entries, more of them, or a part of one.
pub fn decode(bytes: &[u8], width: usize) -> Result<Vec<&[u8]>, Error> {
    let expected = width.min(TILE_WIDTH);
    let mut entries = Vec::with_capacity(expected);
    let mut rest = bytes;
    for position in 0..expected {
        let (entry, after) = split_entry(rest).ok_or(Error::Truncated { position, expected })?;
        entries.push(entry);
        rest = after;
    }
    if rest.is_empty() { Ok(entries) } else { Err(Error::Trailing { bytes: rest.len(), expected }) }
}

fn split_entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_as_they_went_in() {
        let longest = vec![7; MAX_ENTRY_BYTES];
        let entries: [&[u8]; 4] = [b"e0", b"", &longest, b"\x00\x01"];
        let bytes = encode(&entries).unwrap();
        assert_eq!(bytes[..4], *b"\x00\x02e0");
        assert_eq!(decode(&bytes, 4), Ok(entries.to_vec()));
        assert_eq!(decode(b"", 0), Ok(vec![]));
    }

    #[test]
    fn an_entry_over_the_limit_is_refused() {
        let bytes = MAX_ENTRY_BYTES + 1;
        let entry = vec![0; bytes];
        assert_eq!(encode(&[&entry]), Err(Error::EntryTooLong { bytes }));
        assert_eq!(check_length(&entry), Err(Error::EntryTooLong { bytes }));
        assert_eq!(check_length(&entry[1..]), Ok(()));
    }

    #[test]
    fn a_bundle_of_another_width_is_refused() {
        let bytes = encode(&["e0", "e1"]).unwrap();
        assert_eq!(decode(&bytes, 1), Err(Error::Trailing { bytes: 4, expected: 1 }));
        let truncated = |position, expected| Err(Error::Truncated { position, expected });
        assert_eq!(decode(&bytes, 3), truncated(2, 3));
        assert_eq!(decode(&bytes[..7], 2), truncated(1, 2));
        assert_eq!(decode(&bytes[..5], 2), truncated(1, 2));
        assert_eq!(decode(&[0xff, 0xff], 1), truncated(0, 1));
        assert_eq!(decode(&[], usize::MAX), truncated(0, 256));
    }
}
