//! Durable records: bincode inside our own envelope. This is the only module that knows bincode.
//!
//! Envelope: magic `GM` (2 bytes), schema (1), version (1), payload length (4, big endian), CRC-32C
//! of the payload (4, big endian), payload. Decoding is exact: a wrong magic, an unknown schema or
//! version, a length or checksum that does not match, a trailing byte, or a payload over the limit
//! is an error. Another version is told apart: what a newer binary wrote is left alone, and what an older
//! one wrote is no damage.

use crate::limits::{RECORD_BYTES_MAX, SEQUENCED_BYTES_MAX};
use serde::Serialize;
use serde::de::DeserializeOwned;

const MAGIC: [u8; 2] = *b"GM";
const HEADER: usize = 12;

/// A kind of durable record with its current version.
pub trait Record: Serialize + DeserializeOwned {
    /// Tells the kinds apart; never reused.
    const SCHEMA: u8;
    /// Rises with every change of the shape.
    const VERSION: u8;
    /// Bytes of the longest payload.
    const BYTES_MAX: usize = RECORD_BYTES_MAX;
    /// Bytes that most records do not exceed with their envelope.
    const BYTES_USUAL: usize = 512;
}

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No envelope, or another schema.
    #[error("not a record of schema {schema}")]
    Foreign {
        /// The expected schema.
        schema: u8,
    },
    /// Written by a newer binary.
    #[error("schema {schema} has version {version}, newer than this binary's {known}")]
    Newer {
        /// The schema.
        schema: u8,
        /// The record's version.
        version: u8,
        /// The newest version known here.
        known: u8,
    },
    /// Written by an older binary, in a shape that this one does not read.
    #[error("schema {schema} has version {version}, this binary reads {known}")]
    Older {
        /// The schema.
        schema: u8,
        /// The record's version.
        version: u8,
        /// The version known here.
        known: u8,
    },
    /// The checksum or the length does not match.
    #[error("a record of schema {schema} is damaged")]
    Damaged {
        /// The expected schema.
        schema: u8,
    },
    /// The payload does not decode, or not exactly.
    #[error("a record of schema {schema} does not decode")]
    Malformed {
        /// The expected schema.
        schema: u8,
    },
    /// More bytes than a record may have.
    #[error("a record of schema {schema} is longer than it may be")]
    TooLarge {
        /// The schema.
        schema: u8,
    },
}

// The limit keeps a damaged length from allocating; it is a constant of the type, so there are two.
fn options() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<RECORD_BYTES_MAX>()
}

fn large_options() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<SEQUENCED_BYTES_MAX>()
}

/// The bytes of a record.
pub fn encode<R: Record>(record: &R) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(R::BYTES_USUAL);
    bytes.resize(HEADER, 0);
    bincode::serde::encode_into_std_write(record, &mut bytes, options())
        .map_err(|_| Error::TooLarge { schema: R::SCHEMA })?;
    let payload = bytes.len() - HEADER;
    if payload > R::BYTES_MAX {
        return Err(Error::TooLarge { schema: R::SCHEMA });
    }
    let crc = crc32c::crc32c(&bytes[HEADER..]);
    let length = u32::try_from(payload).map_err(|_| Error::TooLarge { schema: R::SCHEMA })?;
    bytes[..2].copy_from_slice(&MAGIC);
    bytes[2] = R::SCHEMA;
    bytes[3] = R::VERSION;
    bytes[4..8].copy_from_slice(&length.to_be_bytes());
    bytes[8..12].copy_from_slice(&crc.to_be_bytes());
    Ok(bytes)
}

/// The schema that some bytes say they are of, unchecked.
#[must_use]
pub fn schema(bytes: &[u8]) -> Option<u8> {
    let (header, _) = bytes.split_at_checked(HEADER)?;
    (header[..2] == MAGIC).then_some(header[2])
}

/// The record of some bytes, exactly.
pub fn decode<R: Record>(bytes: &[u8]) -> Result<R, Error> {
    let schema = R::SCHEMA;
    let (header, payload) = bytes.split_at_checked(HEADER).ok_or(Error::Foreign { schema })?;
    if header[..2] != MAGIC || header[2] != schema {
        return Err(Error::Foreign { schema });
    }
    let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    let crc = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    if payload.len() != length as usize || crc32c::crc32c(payload) != crc {
        return Err(Error::Damaged { schema });
    }
    if header[3] > R::VERSION {
        return Err(Error::Newer { schema, version: header[3], known: R::VERSION });
    }
    if header[3] < R::VERSION {
        return Err(Error::Older { schema, version: header[3], known: R::VERSION });
    }
    if payload.len() > R::BYTES_MAX {
        return Err(Error::TooLarge { schema });
    }
    let malformed = Error::Malformed { schema };
    let decoded = if R::BYTES_MAX <= RECORD_BYTES_MAX {
        bincode::serde::decode_from_slice(payload, options())
    } else {
        bincode::serde::decode_from_slice(payload, large_options())
    };
    let (record, used) = decoded.map_err(|_| malformed)?;
    if used == payload.len() { Ok(record) } else { Err(malformed) }
}

pub(crate) mod byte_strings;

#[cfg(test)]
mod records;

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sample(u64, String);
    impl Record for Sample {
        const SCHEMA: u8 = 250;
        const VERSION: u8 = 2;
    }

    #[test]
    fn a_record_comes_back_and_every_flipped_bit_is_noticed() {
        let bytes = encode(&Sample(9, "a".into())).unwrap();
        assert_eq!(decode::<Sample>(&bytes), Ok(Sample(9, "a".into())));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode::<Sample>(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn every_shorter_and_longer_text_is_refused() {
        let bytes = encode(&Sample(9, "abc".into())).unwrap();
        for end in 0..bytes.len() {
            assert!(decode::<Sample>(&bytes[..end]).is_err());
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(decode::<Sample>(&longer), Err(Error::Damaged { schema: 250 }));
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Short(String);
    impl Record for Short {
        const SCHEMA: u8 = 251;
        const VERSION: u8 = 1;
        const BYTES_MAX: usize = 4;
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Longer(String);
    impl Record for Longer {
        const SCHEMA: u8 = 251;
        const VERSION: u8 = 1;
    }

    #[test]
    fn a_payload_at_its_bound_passes_and_every_longer_one_is_refused() {
        let text = |bytes: usize| "a".repeat(bytes - 1);
        let bytes = encode(&Short(text(4))).unwrap();
        assert_eq!(decode::<Short>(&bytes), Ok(Short(text(4))));
        for longer in [5, 6] {
            let too_large = Error::TooLarge { schema: 251 };
            assert_eq!(encode(&Short(text(longer))), Err(too_large));
            let bytes = encode(&Longer(text(longer))).unwrap();
            assert_eq!(decode::<Short>(&bytes), Err(too_large));
        }
    }

    #[test]
    fn newer_and_older_versions_are_told_apart() {
        let mut bytes = encode(&Sample(9, "a".into())).unwrap();
        bytes[3] = 3;
        let newer = Error::Newer { schema: 250, version: 3, known: 2 };
        assert_eq!(decode::<Sample>(&bytes), Err(newer));
        bytes[3] = 1;
        let older = Error::Older { schema: 250, version: 1, known: 2 };
        assert_eq!(decode::<Sample>(&bytes), Err(older));
    }

    #[test]
    fn a_length_from_hell_allocates_nothing() {
        let mut bytes = encode(&Sample(9, "a".into())).unwrap();
        let payload = [0, 253, 255, 255, 255, 255, 255, 255, 255, 127];
        bytes.truncate(HEADER);
        bytes.extend_from_slice(&payload);
        bytes[4..8].copy_from_slice(&10u32.to_be_bytes());
        bytes[8..12].copy_from_slice(&crc32c::crc32c(&payload).to_be_bytes());
        assert_eq!(decode::<Sample>(&bytes), Err(Error::Malformed { schema: 250 }));
    }
}
