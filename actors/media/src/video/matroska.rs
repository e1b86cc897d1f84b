//! Matroska and WebM (RFC 9559 on EBML, RFC 8794).
//!
//! Elements are read in file order without a stack: the parents listed in [`PARENTS`] are stepped
//! into, all others stepped over. Identifiers are unique among the elements used here, so parents
//! of unknown size, which live recordings have, need no special care.

use super::summary::{Summary, VideoTrack};
use crate::error::{Bound, Error, Flaw};
use crate::limits::Limits;

const MALFORMED: Error = Error::Undecodable { flaw: Flaw::Malformed };
const TRUNCATED: Error = Error::Undecodable { flaw: Flaw::Truncated };

const SEGMENT: u64 = 0x1853_8067;
const INFO: u64 = 0x1549_A966;
const TIMESTAMP_SCALE: u64 = 0x2A_D7B1;
const DURATION: u64 = 0x4489;
const TRACKS: u64 = 0x1654_AE6B;
const TRACK_ENTRY: u64 = 0xAE;
const TRACK_NUMBER: u64 = 0xD7;
const TRACK_TYPE: u64 = 0x83;
const CODEC_ID: u64 = 0x86;
const DEFAULT_DURATION: u64 = 0x23_E383;
const VIDEO: u64 = 0xE0;
const PIXEL_WIDTH: u64 = 0xB0;
const PIXEL_HEIGHT: u64 = 0xBA;
const CLUSTER: u64 = 0x1F43_B675;
const CLUSTER_TIMESTAMP: u64 = 0xE7;
const BLOCK_GROUP: u64 = 0xA0;
const BLOCK: u64 = 0xA1;
const SIMPLE_BLOCK: u64 = 0xA3;

const PARENTS: [u64; 7] = [SEGMENT, INFO, TRACKS, TRACK_ENTRY, VIDEO, CLUSTER, BLOCK_GROUP];

const VIDEO_TRACK: u64 = 1;
const AUDIO_TRACK: u64 = 2;

/// Codec identifiers and the four bytes they are reported as.
const CODECS: &[(&[u8], [u8; 4])] = &[
    (b"V_MPEG4/ISO/AVC", *b"avc1"),
    (b"V_MPEGH/ISO/HEVC", *b"hvc1"),
    (b"V_VP8", *b"vp08"),
    (b"V_VP9", *b"vp09"),
    (b"V_AV1", *b"av01"),
];
const OTHER_CODEC: [u8; 4] = *b"othr";

#[derive(Default)]
struct Track {
    number: u64,
    kind: u64,
    default_duration_ns: u64,
    last_timestamp: u64,
    video: VideoTrack,
}

struct Reader<'a> {
    limits: &'a Limits,
    scale_ns: u64,
    duration_ticks: Option<f64>,
    cluster_timestamp: u64,
    tracks: Vec<Track>,
}

/// Reads the first video track and counts those with sound.
pub(super) fn read(bytes: &[u8], limits: &Limits) -> Result<Summary, Error> {
    let mut reader = Reader {
        limits,
        scale_ns: 1_000_000,
        duration_ticks: None,
        cluster_timestamp: 0,
        tracks: Vec::new(),
    };
    let mut at = 0;
    let mut elements = 0;
    // Each turn consumes at least an identifier of one byte.
    while at < bytes.len() {
        elements += 1;
        limits.check(Bound::Elements, elements, limits.max_elements)?;
        let rest = &bytes[at..];
        let (id, id_width) = identifier(rest)?;
        let (size, size_width) = size(&rest[id_width..])?;
        let content = at + id_width + size_width;
        let end = match size {
            Some(size) => usize::try_from(size)
                .ok()
                .and_then(|size| content.checked_add(size))
                .filter(|end| *end <= bytes.len())
                .ok_or(TRUNCATED)?,
            None if PARENTS.contains(&id) => content,
            None => return Err(MALFORMED),
        };
        if PARENTS.contains(&id) {
            reader.step_into(id)?;
            at = content;
        } else {
            reader.take(id, &bytes[content..end])?;
            at = end;
        }
    }
    Ok(reader.finish())
}

impl Reader<'_> {
    fn step_into(&mut self, id: u64) -> Result<(), Error> {
        if id == TRACK_ENTRY {
            let tracks = self.tracks.len() as u64 + 1;
            self.limits.check(Bound::Tracks, tracks, self.limits.max_tracks)?;
            self.tracks.push(Track::default());
        }
        Ok(())
    }

    fn take(&mut self, id: u64, content: &[u8]) -> Result<(), Error> {
        match id {
            TIMESTAMP_SCALE => self.scale_ns = unsigned(content)?,
            DURATION => self.duration_ticks = Some(float(content)?),
            CLUSTER_TIMESTAMP => self.cluster_timestamp = unsigned(content)?,
            SIMPLE_BLOCK | BLOCK => self.block(content)?,
            _ => {}
        }
        let Some(track) = self.tracks.last_mut() else {
            return Ok(());
        };
        match id {
            TRACK_NUMBER => track.number = unsigned(content)?,
            TRACK_TYPE => track.kind = unsigned(content)?,
            DEFAULT_DURATION => track.default_duration_ns = unsigned(content)?,
            PIXEL_WIDTH => track.video.width = unsigned(content)?,
            PIXEL_HEIGHT => track.video.height = unsigned(content)?,
            CODEC_ID => {
                let known = CODECS.iter().find(|(name, _)| content == *name);
                track.video.codec = known.map_or(OTHER_CODEC, |(_, codec)| *codec);
            }
            _ => {}
        }
        Ok(())
    }

    /// A block starts with its track number and its time relative to the cluster.
    fn block(&mut self, content: &[u8]) -> Result<(), Error> {
        let (Some(number), width) = size(content)? else {
            return Err(MALFORMED);
        };
        let header = content.get(width..width + 3).ok_or(MALFORMED)?;
        let relative = i64::from(i16::from_be_bytes([header[0], header[1]]));
        let timestamp = self.cluster_timestamp.saturating_add_signed(relative);
        if let Some(track) = self.tracks.iter_mut().find(|track| track.number == number) {
            track.last_timestamp = track.last_timestamp.max(timestamp);
            track.video.take_frame((content.len() - width - 3) as u64);
        }
        Ok(())
    }

    fn finish(self) -> Summary {
        let audio_tracks =
            self.tracks.iter().filter(|track| track.kind == AUDIO_TRACK).count() as u64;
        let first = self.tracks.into_iter().find(|track| track.kind == VIDEO_TRACK);
        let video = first.map(|track| {
            let last_ns = track.last_timestamp.saturating_mul(self.scale_ns);
            let seen_ns = last_ns.saturating_add(track.default_duration_ns);
            // A float to whole nanoseconds by one multiplication: IEEE 754 fixes the result.
            let duration_ns = match self.duration_ticks {
                Some(ticks) if ticks > 0.0 => (ticks * self.scale_ns as f64) as u64,
                _ => seen_ns,
            };
            VideoTrack { duration_ms: duration_ns / 1_000_000, ..track.video }
        });
        Summary { video, audio_tracks }
    }
}

/// An element identifier of one to four bytes, its length marker kept.
fn identifier(bytes: &[u8]) -> Result<(u64, usize), Error> {
    let width = bytes.first().ok_or(TRUNCATED)?.leading_zeros() as usize + 1;
    if width > 4 {
        return Err(MALFORMED);
    }
    let bytes = bytes.get(..width).ok_or(TRUNCATED)?;
    Ok((big_endian(bytes), width))
}

/// A size of one to eight bytes, its length marker removed; all ones mean unknown.
fn size(bytes: &[u8]) -> Result<(Option<u64>, usize), Error> {
    let width = bytes.first().ok_or(TRUNCATED)?.leading_zeros() as usize + 1;
    if width > 8 {
        return Err(MALFORMED);
    }
    let bytes = bytes.get(..width).ok_or(TRUNCATED)?;
    let mask = (1_u64 << (7 * width)) - 1;
    let value = big_endian(bytes) & mask;
    Ok(((value != mask).then_some(value), width))
}

fn unsigned(content: &[u8]) -> Result<u64, Error> {
    if content.len() > 8 { Err(MALFORMED) } else { Ok(big_endian(content)) }
}

fn float(content: &[u8]) -> Result<f64, Error> {
    let value = match content.len() {
        4 => content.try_into().ok().map(|bytes| f64::from(f32::from_be_bytes(bytes))),
        8 => content.try_into().ok().map(f64::from_be_bytes),
        _ => None,
    };
    value.filter(|value| value.is_finite()).ok_or(MALFORMED)
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte))
}
