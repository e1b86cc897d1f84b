//! WAV: chunks of RIFF around plain samples ("Multimedia Programming Interface and Data
//! Specifications 1.0", 1991; `WAVE_FORMAT_EXTENSIBLE` of 2001).
//!
//! Read here and not by a library: sizes in the header are the favourite of hostile files, and a
//! cut file must be told from a whole one.

use super::sink::{Clip, Sink};
use super::{MALFORMED, TRUNCATED, UNSUPPORTED};
use crate::error::Error;
use crate::limits::Limits;

const PCM: u16 = 1;
const FLOAT: u16 = 3;
const EXTENSIBLE: u16 = 0xfffe;

/// Samples converted at a time.
const BATCH_FRAMES: usize = 4_096;

/// How a sample is stored, little endian.
#[derive(Debug, Clone, Copy)]
enum Encoding {
    Unsigned8,
    Signed16,
    Signed24,
    Signed32,
    Float32,
    Float64,
}

#[derive(Debug, Clone, Copy)]
struct Format {
    encoding: Encoding,
    channels: usize,
    sample_rate: u32,
}

/// Decodes the data chunk.
pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Clip, Error> {
    let mut format = None;
    let mut rest = bytes.get(12..).ok_or(TRUNCATED)?;
    // Each turn consumes at least a chunk header of 8 bytes.
    while let Some(header) = rest.get(..8) {
        let announced = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        let content = &rest[8..];
        let size = usize::try_from(announced).unwrap_or(usize::MAX);
        match &header[..4] {
            b"fmt " => format = Some(read_format(content.get(..size).ok_or(TRUNCATED)?)?),
            b"data" => return read_data(content, announced, format.ok_or(MALFORMED)?, limits),
            _ => {}
        }
        // Chunks are padded to an even length.
        let next = size.saturating_add(size % 2);
        rest = content.get(next..).unwrap_or_default();
    }
    Err(TRUNCATED)
}

fn read_format(content: &[u8]) -> Result<Format, Error> {
    let le16 = |offset: usize| {
        let bytes = content.get(offset..)?.get(..2)?;
        Some(u16::from_le_bytes(bytes.try_into().ok()?))
    };
    let rate = content.get(4..8).and_then(|rate| rate.try_into().ok()).ok_or(MALFORMED)?;
    let mut tag = le16(0).ok_or(MALFORMED)?;
    if tag == EXTENSIBLE {
        // The first two bytes of the sub-format name the encoding.
        tag = le16(24).ok_or(MALFORMED)?;
    }
    let encoding = match (tag, le16(14).ok_or(MALFORMED)?) {
        (PCM, 8) => Encoding::Unsigned8,
        (PCM, 16) => Encoding::Signed16,
        (PCM, 24) => Encoding::Signed24,
        (PCM, 32) => Encoding::Signed32,
        (FLOAT, 32) => Encoding::Float32,
        (FLOAT, 64) => Encoding::Float64,
        _ => return Err(UNSUPPORTED),
    };
    let channels = usize::from(le16(2).ok_or(MALFORMED)?);
    let align = usize::from(le16(12).ok_or(MALFORMED)?);
    if align != channels * encoding.width() {
        return Err(MALFORMED);
    }
    Ok(Format { encoding, channels, sample_rate: u32::from_le_bytes(rate) })
}

fn read_data(
    content: &[u8],
    announced: u32,
    format: Format,
    limits: &Limits,
) -> Result<Clip, Error> {
    let Format { encoding, channels, sample_rate } = format;
    let mut sink = Sink::new(sample_rate, Some(channels), limits)?;
    let align = channels * encoding.width();
    // A recorder that could not go back to fill in the length leaves all ones.
    let frames = (announced != u32::MAX).then_some(u64::from(announced) / align as u64);
    let available = content.len() / align;
    let take = frames.and_then(|frames| usize::try_from(frames).ok()).unwrap_or(available);
    let data = &content[..take.min(available) * align];
    let mut samples = Vec::with_capacity(BATCH_FRAMES * channels);
    for batch in data.chunks(BATCH_FRAMES * align) {
        samples.clear();
        samples.extend(batch.chunks_exact(encoding.width()).map(|bytes| encoding.sample(bytes)));
        sink.take(channels, &samples)?;
    }
    sink.finish(frames)
}

impl Encoding {
    fn width(self) -> usize {
        match self {
            Self::Unsigned8 => 1,
            Self::Signed16 => 2,
            Self::Signed24 => 3,
            Self::Signed32 | Self::Float32 => 4,
            Self::Float64 => 8,
        }
    }

    /// The upper 16 bits of one sample of [`Encoding::width`] bytes.
    fn sample(self, bytes: &[u8]) -> i16 {
        match (self, bytes) {
            (Self::Unsigned8, [a]) => (i16::from(*a) - 128) << 8,
            (Self::Signed16, [a, b])
            | (Self::Signed24, [_, a, b])
            | (Self::Signed32, [_, _, a, b]) => i16::from_le_bytes([*a, *b]),
            (Self::Float32, [a, b, c, d]) => {
                quantise(f64::from(f32::from_le_bytes([*a, *b, *c, *d])))
            }
            (Self::Float64, bytes) => {
                bytes.try_into().map_or(0, |bytes| quantise(f64::from_le_bytes(bytes)))
            }
            _ => 0,
        }
    }
}

/// A float sample to 16 bits; what is not a number becomes silence. The scaling is exact, so the
/// result is the same everywhere.
fn quantise(value: f64) -> i16 {
    (value * 32_768.0).clamp(-32_768.0, 32_767.0) as i16
}
