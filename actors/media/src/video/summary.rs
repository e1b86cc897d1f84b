//! What both container readers find, and its judgement.

use super::Probe;
use crate::error::{Bound, Error, Flaw};
use crate::fixed::{count, share_bp};
use crate::{Limits, VideoMeasures};

/// A coded frame of at most this many bytes holds nothing but "as before".
const STILL_FRAME_BYTES: u64 = 48;

/// The first video track, and how many tracks carry sound.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) video: Option<VideoTrack>,
    pub(super) audio_tracks: u64,
}

/// A video track.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct VideoTrack {
    pub(super) codec: [u8; 4],
    pub(super) width: u64,
    pub(super) height: u64,
    pub(super) duration_ms: u64,
    pub(super) frames: u64,
    pub(super) coded_bytes: u64,
    pub(super) still_frames: u64,
}

impl VideoTrack {
    /// Counts one coded frame.
    pub(super) fn take_frame(&mut self, bytes: u64) {
        self.frames += 1;
        self.coded_bytes = self.coded_bytes.saturating_add(bytes);
        self.still_frames += u64::from(bytes <= STILL_FRAME_BYTES);
    }
}

impl Summary {
    /// Checks the bounds and turns the findings into measures.
    pub(super) fn judge(self, limits: &Limits) -> Result<Probe, Error> {
        let Some(track) = self.video else {
            return if self.audio_tracks > 0 {
                Ok(Probe::AudioOnly)
            } else {
                Err(Error::Undecodable { flaw: Flaw::Malformed })
            };
        };
        limits.check(Bound::DurationMs, track.duration_ms, limits.max_duration_ms)?;
        limits.check_dimensions(track.width, track.height)?;
        limits.check(Bound::VideoFrames, track.frames, limits.max_video_frames)?;
        if track.frames == 0 || track.duration_ms == 0 || track.width == 0 || track.height == 0 {
            return Err(Error::Undecodable { flaw: Flaw::Malformed });
        }
        let pixels = u128::from(track.width * track.height) * u128::from(track.frames);
        let bits_per_pixel = u128::from(track.coded_bytes) * 8_000 / pixels;
        Ok(Probe::Video(VideoMeasures {
            duration_ms: count(track.duration_ms),
            width: count(track.width),
            height: count(track.height),
            short_side: count(track.width.min(track.height)),
            frames: count(track.frames),
            fps_x1000: count(track.frames * 1_000_000 / track.duration_ms),
            codec: i64::from(u32::from_be_bytes(track.codec)),
            audio_tracks: count(self.audio_tracks),
            bits_per_pixel_x1000: i64::try_from(bits_per_pixel).unwrap_or(i64::MAX),
            still_bp: share_bp(track.still_frames, track.frames),
        }))
    }
}
