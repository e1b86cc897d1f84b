//! Every bound on what is decoded and on the worker process.

use crate::error::{Bound, Error};

/// Longest answer of a worker, in bytes: a few dozen integers and their names.
pub const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// Bounds on one item and on the worker that measures it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Size of a file, in bytes.
    pub max_bytes: u64,
    /// Duration of a clip or video, in milliseconds.
    pub max_duration_ms: u64,
    /// Decoded audio frames of a clip; two bytes of memory each.
    pub max_audio_frames: u64,
    /// Audio channels.
    pub max_channels: u64,
    /// Lowest sample rate, in Hz.
    pub min_sample_rate: u32,
    /// Highest sample rate, in Hz.
    pub max_sample_rate: u32,
    /// Share of a clip that may be announced but missing or damaged, in basis points; above it the
    /// clip is undecodable.
    pub max_missing_bp: u64,
    /// Width or height, in pixels.
    pub max_dimension: u64,
    /// Width times height.
    pub max_pixels: u64,
    /// Bytes an image decoder may allocate.
    pub max_decoded_bytes: u64,
    /// Video frames.
    pub max_video_frames: u64,
    /// Boxes or elements read from a container.
    pub max_elements: u64,
    /// Tracks of a container.
    pub max_tracks: u64,
    /// Address space of the worker process (`RLIMIT_AS`), in bytes.
    pub worker_memory_bytes: u64,
    /// Processor time of the worker for one item (`RLIMIT_CPU`, soft), in seconds.
    pub worker_cpu_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 256 * 1024 * 1024,
            max_duration_ms: 30 * 60 * 1000,
            max_audio_frames: 90_000_000,
            max_channels: 8,
            min_sample_rate: 4_000,
            max_sample_rate: 192_000,
            max_missing_bp: 500,
            max_dimension: 16_384,
            max_pixels: 64_000_000,
            max_decoded_bytes: 512 * 1024 * 1024,
            max_video_frames: 30 * 60 * 240,
            max_elements: 1_000_000,
            max_tracks: 32,
            worker_memory_bytes: 1024 * 1024 * 1024,
            worker_cpu_seconds: 20,
        }
    }
}

impl Limits {
    /// Refuses a `found` above `limit`.
    pub(crate) fn check(&self, bound: Bound, found: u64, limit: u64) -> Result<(), Error> {
        if found > limit { Err(Error::TooLarge { bound, found, limit }) } else { Ok(()) }
    }

    /// Refuses dimensions and areas above the limits.
    pub(crate) fn check_dimensions(&self, width: u64, height: u64) -> Result<(), Error> {
        self.check(Bound::Dimension, width.max(height), self.max_dimension)?;
        self.check(Bound::Pixels, width.saturating_mul(height), self.max_pixels)
    }
}

/// Longest gap in a clip that counts as a dropout, in milliseconds; a longer one is a pause.
pub(crate) const DROPOUT_MAX_MS: usize = 300;
