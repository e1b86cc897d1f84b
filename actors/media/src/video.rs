//! Videos: what the container says, without decoding.

mod iso_media;
mod matroska;
mod summary;

use crate::sniff::Container;
use crate::{Error, Limits, VideoMeasures};

/// What a container holds.
pub(crate) enum Probe {
    /// At least one video track.
    Video(VideoMeasures),
    /// Sound, but no video track.
    AudioOnly,
}

/// Reads the structure of a container.
pub(crate) fn probe(bytes: &[u8], container: Container, limits: &Limits) -> Result<Probe, Error> {
    let summary = match container {
        Container::IsoMedia => iso_media::read(bytes, limits)?,
        Container::Matroska => matroska::read(bytes, limits)?,
    };
    summary.judge(limits)
}
