//! Measures the bytes of a voice clip, an image or a video.
//!
//! Bytes go in, integers come out ([`Measures`]); a score table elsewhere turns them into a score.
//! The type is found from the content, never from a name. Nothing but the numbers of [`Measures`]
//! leaves this crate: tags, locations and pictures embedded in a file are never read.
//!
//! Decoders see hostile input, so the node runs this crate in worker processes ([`worker`]) with
//! limits on memory and processor time; [`Limits`] bounds what a decoder may even try.

mod error;
mod fixed;
mod image;
pub mod limits;
mod measures;
mod modality;
mod sniff;
mod video;
mod voice;
pub mod worker;

pub use error::{Bound, Error, Flaw};
pub use limits::Limits;
pub use measures::{ImageMeasures, Measures, VideoMeasures, VoiceMeasures};
pub use modality::Modality;

use std::panic::{AssertUnwindSafe, catch_unwind};

use sniff::Kind;

/// The version of the measuring code, published with every score: it changes whenever the same
/// bytes could measure differently.
pub const SCORER: &str = "gristmill-media/1";

/// Measures `bytes`, which the contributor handed in as `expected`.
///
/// The same bytes give the same measures. No file system, clock or network is touched.
///
/// # Errors
/// [`Error::Empty`] without bytes, [`Error::WrongModality`] when the content is recognisably
/// another modality, [`Error::TooLarge`] over a bound of `limits`, and [`Error::Undecodable`] for
/// all else: unknown, unsupported, damaged or cut content, and content on which a decoder panics.
pub fn measure(bytes: &[u8], expected: Modality, limits: &Limits) -> Result<Measures, Error> {
    if bytes.is_empty() {
        return Err(Error::Empty);
    }
    limits.check(Bound::Bytes, bytes.len() as u64, limits.max_bytes)?;
    // Decoders are safe Rust and keep nothing between calls, so a panic leaves nothing broken.
    let measured = catch_unwind(AssertUnwindSafe(|| dispatch(bytes, expected, limits)));
    measured.unwrap_or(Err(Error::Undecodable { flaw: Flaw::DecoderPanicked }))
}

/// The media type that the bytes themselves show; `application/octet-stream` for all that is not
/// measured here.
#[must_use]
pub fn mime(bytes: &[u8]) -> &'static str {
    sniff::mime(bytes)
}

fn dispatch(bytes: &[u8], expected: Modality, limits: &Limits) -> Result<Measures, Error> {
    match sniff::sniff(bytes) {
        Kind::Voice(codec) => {
            expect(expected, Modality::Voice)?;
            voice::measure(bytes, codec, limits).map(Measures::Voice)
        }
        Kind::Image(format) => {
            expect(expected, Modality::Image)?;
            image::measure(bytes, format, limits).map(Measures::Image)
        }
        Kind::Container(container) => match video::probe(bytes, container, limits) {
            Ok(video::Probe::Video(measures)) => {
                expect(expected, Modality::Video)?;
                Ok(Measures::Video(measures))
            }
            Ok(video::Probe::AudioOnly) => {
                expect(expected, Modality::Voice)?;
                Err(Error::Undecodable { flaw: Flaw::Unsupported })
            }
            Err(error) => {
                expect(expected, Modality::Video)?;
                Err(error)
            }
        },
        Kind::Unsupported(found) => {
            expect(expected, found)?;
            Err(Error::Undecodable { flaw: Flaw::Unsupported })
        }
        Kind::Unknown => Err(Error::Undecodable { flaw: Flaw::Unrecognised }),
    }
}

fn expect(expected: Modality, found: Modality) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::WrongModality { found }) }
}

#[cfg(test)]
mod tests;
