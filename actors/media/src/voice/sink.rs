//! Collects decoded samples within the bounds.

use super::{MALFORMED, UNSUPPORTED};
use crate::error::{Bound, Error, Flaw};
use crate::fixed::share_bp;
use crate::limits::Limits;

/// Samples this close to full scale count as clipped.
const FULL_SCALE: u16 = 32_700;

/// A decoded clip.
pub(super) struct Clip {
    /// Mean of all channels.
    pub(super) samples: Vec<i16>,
    pub(super) sample_rate: u32,
    pub(super) channels: usize,
    /// Channels without any signal.
    pub(super) dead_channels: usize,
    /// Samples of any channel in runs at full scale.
    pub(super) full_scale: u64,
    /// Share announced but missing or damaged, in basis points.
    pub(super) missing_bp: i64,
}

/// What a channel has shown so far.
#[derive(Default, Clone)]
struct Channel {
    alive: bool,
    run: u64,
    full_scale: u64,
}

impl Channel {
    fn take(&mut self, sample: i16) {
        self.alive |= sample != 0;
        if sample.unsigned_abs() >= FULL_SCALE {
            self.run += 1;
        } else {
            self.end_run();
        }
    }

    /// A single sample at full scale may be a natural peak; a run of them is clipping.
    fn end_run(&mut self) {
        if self.run > 1 {
            self.full_scale += self.run;
        }
        self.run = 0;
    }
}

/// Collects decoded packets.
pub(super) struct Sink<'a> {
    limits: &'a Limits,
    sample_rate: u32,
    max_frames: u64,
    samples: Vec<i16>,
    channels: Vec<Channel>,
    /// Packets seen, and those that could not be decoded.
    pub(super) packets: u64,
    pub(super) damaged: u64,
}

impl<'a> Sink<'a> {
    /// A sink for a clip of this shape.
    pub(super) fn new(
        sample_rate: u32,
        channels: Option<usize>,
        limits: &'a Limits,
    ) -> Result<Self, Error> {
        if !(limits.min_sample_rate..=limits.max_sample_rate).contains(&sample_rate) {
            return Err(UNSUPPORTED);
        }
        if channels.is_some_and(|count| count == 0 || count as u64 > limits.max_channels) {
            return Err(UNSUPPORTED);
        }
        let longest = limits.max_duration_ms.saturating_mul(u64::from(sample_rate)) / 1_000;
        Ok(Self {
            limits,
            sample_rate,
            max_frames: limits.max_audio_frames.min(longest),
            samples: Vec::new(),
            channels: Vec::new(),
            packets: 0,
            damaged: 0,
        })
    }

    /// Takes whole frames of interleaved samples.
    pub(super) fn take(&mut self, channels: usize, interleaved: &[i16]) -> Result<(), Error> {
        if channels == 0 || channels as u64 > self.limits.max_channels {
            return Err(UNSUPPORTED);
        }
        if self.channels.is_empty() {
            self.channels = vec![Channel::default(); channels];
        } else if self.channels.len() != channels {
            return Err(MALFORMED);
        }
        let frames = (self.samples.len() + interleaved.len() / channels) as u64;
        if frames > self.max_frames {
            return Err(self.too_long(frames));
        }
        for frame in interleaved.chunks_exact(channels) {
            let mut sum = 0_i32;
            for (channel, sample) in self.channels.iter_mut().zip(frame) {
                channel.take(*sample);
                sum += i32::from(*sample);
            }
            let mean = sum / i32::try_from(channels).unwrap_or(i32::MAX);
            self.samples.push(i16::try_from(mean).unwrap_or(0));
        }
        Ok(())
    }

    fn too_long(&self, frames: u64) -> Error {
        let found = frames.saturating_mul(1_000) / u64::from(self.sample_rate.max(1));
        if found >= self.limits.max_duration_ms {
            let limit = self.limits.max_duration_ms;
            Error::TooLarge { bound: Bound::DurationMs, found, limit }
        } else {
            let limit = self.limits.max_audio_frames;
            Error::TooLarge { bound: Bound::AudioFrames, found: frames, limit }
        }
    }

    /// The clip, of which `announced` frames were promised.
    pub(super) fn finish(mut self, announced: Option<u64>) -> Result<Clip, Error> {
        let decoded = self.samples.len() as u64;
        if decoded == 0 {
            return Err(MALFORMED);
        }
        self.channels.iter_mut().for_each(Channel::end_run);
        let absent = announced.unwrap_or(decoded).saturating_sub(decoded);
        let absent_bp = share_bp(absent, decoded.saturating_add(absent));
        let damaged_bp = share_bp(self.damaged, self.packets);
        let max_missing = i64::try_from(self.limits.max_missing_bp).unwrap_or(i64::MAX);
        if absent_bp > max_missing {
            return Err(Error::Undecodable { flaw: Flaw::Truncated });
        }
        if damaged_bp > max_missing {
            return Err(MALFORMED);
        }
        Ok(Clip {
            sample_rate: self.sample_rate,
            channels: self.channels.len(),
            dead_channels: self.channels.iter().filter(|channel| !channel.alive).count(),
            full_scale: self.channels.iter().map(|channel| channel.full_scale).max().unwrap_or(0),
            missing_bp: absent_bp.max(damaged_bp),
            samples: self.samples,
        })
    }
}
