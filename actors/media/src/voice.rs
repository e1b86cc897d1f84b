//! Voice clips: decode to 16-bit samples, then measure them with integer arithmetic.

mod analysis;
mod decode;
mod sink;
mod wav;

use crate::error::Flaw;
use crate::sniff::AudioFormat;
use crate::{Error, Limits, VoiceMeasures};
use decode::Codec;

const MALFORMED: Error = Error::Undecodable { flaw: Flaw::Malformed };
const TRUNCATED: Error = Error::Undecodable { flaw: Flaw::Truncated };
const UNSUPPORTED: Error = Error::Undecodable { flaw: Flaw::Unsupported };

/// Decodes and measures a clip.
pub(crate) fn measure(
    bytes: &[u8],
    format: AudioFormat,
    limits: &Limits,
) -> Result<VoiceMeasures, Error> {
    let clip = match format {
        AudioFormat::Wav => wav::decode(bytes, limits)?,
        AudioFormat::Flac => decode::decode(bytes, Codec::Flac, limits)?,
        AudioFormat::OggVorbis => decode::decode(bytes, Codec::OggVorbis, limits)?,
        AudioFormat::Mp3 { start } => {
            decode::decode(bytes.get(start..).ok_or(TRUNCATED)?, Codec::Mp3, limits)?
        }
    };
    Ok(analysis::analyse(&clip))
}
