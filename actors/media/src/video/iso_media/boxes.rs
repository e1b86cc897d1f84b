//! Boxes of ISO base media: a size, a name, a content.

use super::{MALFORMED, TRUNCATED};
use crate::error::Error;

/// Iterates over the boxes side by side in a slice; stops after the first error.
pub(super) struct Boxes<'a> {
    rest: &'a [u8],
    /// What a box that reaches beyond the slice means.
    beyond: Error,
}

impl<'a> Boxes<'a> {
    /// The boxes of a file: one that reaches beyond the end was cut off.
    pub(super) fn top_level(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, beyond: TRUNCATED }
    }

    /// The boxes inside a box.
    pub(super) fn nested(content: &'a [u8]) -> Self {
        Self { rest: content, beyond: MALFORMED }
    }

    /// Reads one box and steps past it.
    fn read(&mut self) -> Result<([u8; 4], &'a [u8]), Error> {
        let size = u64::from(be32(self.rest, 0).ok_or(self.beyond.clone())?);
        let name = self.rest.get(4..8).and_then(|name| name.try_into().ok());
        let name: [u8; 4] = name.ok_or(self.beyond.clone())?;
        let (header, size) = match size {
            0 => (8, self.rest.len() as u64),
            1 => (16, be64(self.rest, 8).ok_or(self.beyond.clone())?),
            size => (8, size),
        };
        if size < header {
            return Err(MALFORMED);
        }
        let end = usize::try_from(size).map_err(|_| self.beyond.clone())?;
        let content = self.rest.get(header as usize..end).ok_or(self.beyond.clone())?;
        self.rest = &self.rest[end..];
        Ok((name, content))
    }
}

impl<'a> Iterator for Boxes<'a> {
    type Item = Result<([u8; 4], &'a [u8]), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        // QuickTime ends some lists with four zero bytes; what is shorter than a header is padding.
        if self.rest.len() < 8 {
            return None;
        }
        let item = self.read();
        if item.is_err() {
            self.rest = &[];
        }
        Some(item)
    }
}

/// Two bytes at `offset`, big endian.
pub(super) fn be16(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(offset..)?.get(..2)?.try_into().ok()?))
}

/// Four bytes at `offset`, big endian.
pub(super) fn be32(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(offset..)?.get(..4)?.try_into().ok()?))
}

/// Eight bytes at `offset`, big endian.
pub(super) fn be64(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(offset..)?.get(..8)?.try_into().ok()?))
}
