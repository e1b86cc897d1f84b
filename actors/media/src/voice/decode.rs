//! Coded clips (FLAC, Ogg Vorbis, MP3) to samples.

use std::io::Cursor;

use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as CodecError;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::default::formats::{FlacReader, MpaReader, OggReader};

use super::MALFORMED;
use super::sink::{Clip, Sink};
use crate::error::{Error, Flaw};
use crate::limits::Limits;

/// Packets without progress of the reader that are tolerated beyond one for every byte.
const SPARE_PACKETS: usize = 16;

/// Coded audio, as opposed to plain samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Flac,
    OggVorbis,
    /// Starting at the first frame, without tags before it.
    Mp3,
}

/// Decodes the first audio track.
pub(super) fn decode(bytes: &[u8], codec: Codec, limits: &Limits) -> Result<Clip, Error> {
    if codec == Codec::OggVorbis && !ogg_is_complete(bytes) {
        return Err(Error::Undecodable { flaw: Flaw::Truncated });
    }
    let mut reader = open(bytes, codec)?;
    let track = reader.default_track(TrackType::Audio).ok_or(MALFORMED)?;
    let track_id = track.id;
    let announced = track.num_frames;
    let params = track.codec_params.as_ref().and_then(|params| params.audio()).ok_or(MALFORMED)?;
    let sample_rate = params.sample_rate.ok_or(MALFORMED)?;
    let channels = params.channels.as_ref().map(|channels| channels.count());
    let mut sink = Sink::new(sample_rate, channels, limits)?;
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(params, &AudioDecoderOptions::default())
        .map_err(|error| flaw_of(&error))?;
    let max_packets = bytes.len().saturating_add(SPARE_PACKETS);
    pump(reader.as_mut(), decoder.as_mut(), track_id, max_packets, &mut sink)?;
    sink.finish(announced)
}

fn open(bytes: &[u8], codec: Codec) -> Result<Box<dyn FormatReader + '_>, Error> {
    let stream = MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default());
    let options = FormatOptions::default();
    let reader: Box<dyn FormatReader + '_> = match codec {
        Codec::Flac => Box::new(FlacReader::try_new(stream, options).map_err(flaw)?),
        Codec::OggVorbis => Box::new(OggReader::try_new(stream, options).map_err(flaw)?),
        Codec::Mp3 => Box::new(MpaReader::try_new(stream, options).map_err(flaw)?),
    };
    Ok(reader)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err asks for")]
fn flaw(error: CodecError) -> Error {
    flaw_of(&error)
}

fn flaw_of(error: &CodecError) -> Error {
    let flaw = match error {
        CodecError::Unsupported(_) => Flaw::Unsupported,
        CodecError::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => {
            Flaw::Truncated
        }
        _ => Flaw::Malformed,
    };
    Error::Undecodable { flaw }
}

/// Decodes packet after packet into the sink; stops at the end, at the first unreadable place of
/// the container, or at a bound.
fn pump(
    reader: &mut dyn FormatReader,
    decoder: &mut dyn AudioDecoder,
    track_id: u32,
    max_packets: usize,
    sink: &mut Sink<'_>,
) -> Result<(), Error> {
    let mut interleaved: Vec<i16> = Vec::new();
    for _ in 0..max_packets {
        let packet = match reader.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) | Err(CodecError::ResetRequired) => return Ok(()),
            Err(CodecError::IoError(io)) if io.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Ok(());
            }
            Err(error) => return Err(flaw_of(&error)),
        };
        if packet.track_id != track_id {
            continue;
        }
        sink.packets += 1;
        match decoder.decode(&packet) {
            Ok(decoded) => {
                let channels = decoded.num_planes();
                decoded.copy_to_vec_interleaved(&mut interleaved);
                sink.take(channels, &interleaved)?;
            }
            Err(CodecError::IoError(_) | CodecError::DecodeError(_)) => sink.damaged += 1,
            Err(error) => return Err(flaw_of(&error)),
        }
    }
    Err(MALFORMED)
}

/// Whether the pages reach the one that ends the first logical stream (RFC 3533, section 6).
fn ogg_is_complete(bytes: &[u8]) -> bool {
    const END_OF_STREAM: u8 = 4;
    let mut rest = bytes;
    let mut serial = None;
    // Each turn consumes at least a page header of 27 bytes.
    while let Some(header) = rest.get(..27) {
        if !header.starts_with(b"OggS") {
            return false;
        }
        let segments = usize::from(header[26]);
        let Some(lacing) = rest.get(27..27 + segments) else {
            return false;
        };
        let body: usize = lacing.iter().map(|length| usize::from(*length)).sum();
        let Some(next) = rest.get(27 + segments + body..) else {
            return false;
        };
        let first = *serial.get_or_insert(&header[14..18]);
        if first == &header[14..18] && header[5] & END_OF_STREAM != 0 {
            return true;
        }
        rest = next;
    }
    false
}
