//! The marker structure of a JPEG file, to tell a whole one from a cut one: the decoder fills what
//! is missing with grey (ITU-T T.81, annex B).

use crate::error::{Error, Flaw};

const START_OF_SCAN: u8 = 0xda;
const END_OF_IMAGE: u8 = 0xd9;
const TRUNCATED: Error = Error::Undecodable { flaw: Flaw::Truncated };
const MALFORMED: Error = Error::Undecodable { flaw: Flaw::Malformed };

/// Walks the segments and scans up to the end-of-image marker. What follows it is ignored.
pub(super) fn check(bytes: &[u8]) -> Result<(), Error> {
    let mut at = 2;
    let mut scanned = false;
    // Each turn consumes at least a marker of two bytes.
    loop {
        let marker = marker_at(bytes, &mut at)?;
        match marker {
            END_OF_IMAGE if scanned => return Ok(()),
            END_OF_IMAGE => return Err(MALFORMED),
            // Restart markers and TEM stand alone.
            0x01 | 0xd0..=0xd7 => continue,
            _ => {}
        }
        let length = bytes
            .get(at..at + 2)
            .and_then(|length| length.try_into().ok())
            .map(u16::from_be_bytes)
            .ok_or(TRUNCATED)?;
        if length < 2 {
            return Err(MALFORMED);
        }
        at += usize::from(length);
        if marker == START_OF_SCAN {
            scanned = true;
            at = end_of_scan(bytes, at)?;
        }
    }
}

/// Reads a marker, past any fill bytes.
fn marker_at(bytes: &[u8], at: &mut usize) -> Result<u8, Error> {
    if *bytes.get(*at).ok_or(TRUNCATED)? != 0xff {
        return Err(MALFORMED);
    }
    loop {
        *at += 1;
        match *bytes.get(*at).ok_or(TRUNCATED)? {
            0xff => {}
            marker => {
                *at += 1;
                return Ok(marker);
            }
        }
    }
}

/// The offset of the marker that ends the coded data: stuffed zeros and restarts belong to it.
fn end_of_scan(bytes: &[u8], from: usize) -> Result<usize, Error> {
    let data = bytes.get(from..).ok_or(TRUNCATED)?;
    data.windows(2)
        .position(|pair| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xff | 0xd0..=0xd7))
        .map(|position| from + position)
        .ok_or(TRUNCATED)
}
