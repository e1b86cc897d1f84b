//! Samples of a clip to measures.

use crate::limits::DROPOUT_MAX_MS;
use earshot::Detector;

use super::sink::Clip;
use crate::VoiceMeasures;
use crate::fixed::{NO_SIGNAL_CDB, count, level_cdb, percentile, share_bp};

/// Frames a second for levels.
const FRAMES_PER_SECOND: usize = 50;

/// A frame this far below the loud ones is silent.
const SILENCE_BELOW_LOUD_CDB: i64 = 3_500;

/// A frame below this is silent whatever the others are.
const SILENCE_FLOOR_CDB: i64 = -6_500;

/// What the voice activity detector works on.
const VAD_RATE: u64 = 16_000;
const VAD_FRAME: usize = 256;
const VAD_THRESHOLD: f32 = 0.5;

/// Roars and engines pass as speech, but rarely with a score as high as this.
const VAD_SURE: f32 = 0.9;

/// Samples in a row within 1/2048 of the largest make a flat top.
const FLAT_TOP_RUN: u64 = 3;

/// Gaps of exact zeros from 5 ms to 300 ms, cut into sound of this mean amplitude, are dropouts.
const DROPOUT_MIN_MS: usize = 5;
const DROPOUT_EDGE_MS: usize = 4;
const DROPOUT_EDGE_AMPLITUDE: i64 = 100;

/// Measures a clip of at least one sample.
pub(super) fn analyse(clip: &Clip) -> VoiceMeasures {
    let samples = &clip.samples;
    let total = samples.len() as u64;
    let offset = samples.iter().map(|sample| i64::from(*sample)).sum::<i64>() / count(total).max(1);
    let peak = samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
    let levels = levels(samples, clip.sample_rate, offset);
    let speech = speech(samples, clip.sample_rate, offset);
    let duration_ms = count(total.saturating_mul(1_000) / u64::from(clip.sample_rate.max(1)));
    let clipped = flat_tops(samples).max(clip.full_scale);
    VoiceMeasures {
        duration_ms,
        sample_rate: i64::from(clip.sample_rate),
        channels: count(clip.channels as u64),
        dead_channels: count(clip.dead_channels as u64),
        level_cdb: levels.sounding_cdb,
        peak_cdb: level_cdb(u64::from(peak) * u64::from(peak), 1),
        clipping_bp: share_bp(clipped, total),
        silence_bp: levels.silence_bp,
        speech_bp: speech.heard_bp,
        sure_speech_bp: speech.sure_bp,
        speech_ms: duration_ms * speech.heard_bp / 10_000,
        range_cdb: levels.range_cdb,
        dropout_bp: share_bp(dropouts(samples, clip.sample_rate), total),
        offset_bp: share_bp(offset.unsigned_abs(), 32_768),
        missing_bp: clip.missing_bp,
    }
}

struct Levels {
    sounding_cdb: i64,
    silence_bp: i64,
    range_cdb: i64,
}

fn levels(samples: &[i16], sample_rate: u32, offset: i64) -> Levels {
    let frame = (sample_rate as usize / FRAMES_PER_SECOND).max(1);
    let frames: Vec<(u64, u64, i64)> = samples
        .chunks(frame)
        .map(|frame| {
            let energy = energy(frame, offset);
            (energy, frame.len() as u64, level_cdb(energy, frame.len() as u64))
        })
        .collect();
    let mut sorted: Vec<i64> = frames
        .iter()
        .zip(samples.chunks(frame))
        // Digital silence says nothing about the room.
        .filter(|(_, samples)| samples.iter().any(|sample| *sample != 0))
        .map(|((_, _, level), _)| *level)
        .collect();
    sorted.sort_unstable();
    if sorted.is_empty() {
        return Levels { sounding_cdb: NO_SIGNAL_CDB, silence_bp: 10_000, range_cdb: 0 };
    }
    let loud = percentile(&sorted, 95);
    let silent_below = (loud - SILENCE_BELOW_LOUD_CDB).max(SILENCE_FLOOR_CDB);
    let silent = frames.iter().filter(|(_, _, level)| *level < silent_below).count();
    let sounding = frames.iter().filter(|(_, _, level)| *level >= silent_below);
    let (sum, length) = sounding.fold((0_u64, 0_u64), |(sum, length), (energy, count, _)| {
        (sum.saturating_add(*energy), length + count)
    });
    Levels {
        sounding_cdb: level_cdb(sum, length),
        silence_bp: share_bp(silent as u64, frames.len() as u64),
        range_cdb: loud - percentile(&sorted, 10),
    }
}

fn energy(frame: &[i16], offset: i64) -> u64 {
    frame.iter().map(|sample| (i64::from(*sample) - offset).unsigned_abs().pow(2)).sum()
}

/// Samples on plateaus at the largest positive or negative value.
fn flat_tops(samples: &[i16]) -> u64 {
    let high = samples.iter().copied().max().map_or(0, i32::from);
    let low = samples.iter().copied().min().map_or(0, i32::from);
    let tolerance = |peak: i32| peak.abs() / 2_048 + 1;
    // Near digital silence every value is "near the largest".
    let tops = high > 64 && low < -64;
    let mut flat = 0;
    let mut run = 0_u64;
    for sample in samples.iter().map(|sample| i32::from(*sample)) {
        if tops && (sample >= high - tolerance(high) || sample <= low + tolerance(low)) {
            run += 1;
            continue;
        }
        if run >= FLAT_TOP_RUN {
            flat += run;
        }
        run = 0;
    }
    if run >= FLAT_TOP_RUN { flat + run } else { flat }
}

/// Samples in short gaps of exact zeros with sound up to both edges: a pause between sounds fades.
fn dropouts(samples: &[i16], sample_rate: u32) -> u64 {
    let ms = |ms: usize| (sample_rate as usize * ms / 1_000).max(1);
    let edge = ms(DROPOUT_EDGE_MS);
    let loud = |part: &[i16]| {
        let sum: i64 = part.iter().map(|sample| i64::from(sample.unsigned_abs())).sum();
        !part.is_empty() && sum >= DROPOUT_EDGE_AMPLITUDE * count(part.len() as u64)
    };
    let mut dropped = 0;
    let mut start = None;
    for (index, sample) in samples.iter().enumerate() {
        match (*sample == 0, start) {
            (true, None) => start = Some(index),
            (false, Some(from)) => {
                let length = index - from;
                let before = &samples[from.saturating_sub(edge)..from];
                let after = &samples[index..samples.len().min(index + edge)];
                let short = (ms(DROPOUT_MIN_MS)..=ms(DROPOUT_MAX_MS)).contains(&length);
                if short && loud(before) && loud(after) {
                    dropped += length as u64;
                }
                start = None;
            }
            _ => {}
        }
    }
    dropped
}

struct Speech {
    heard_bp: i64,
    sure_bp: i64,
}

/// Shares of detector frames with speech. The detector computes in floats without run-time choice
/// of instructions, so the same build hears the same; its score is used through thresholds only.
fn speech(samples: &[i16], sample_rate: u32, offset: i64) -> Speech {
    let mut detector = Detector::default_boxed();
    let mut frame = [0_i16; VAD_FRAME];
    let mut filled = 0;
    let (mut frames, mut heard, mut sure) = (0_u64, 0_u64, 0_u64);
    resample(samples, u64::from(sample_rate), offset, |sample| {
        frame[filled] = sample;
        filled += 1;
        if filled == VAD_FRAME {
            filled = 0;
            let score = detector.predict_i16(&frame);
            frames += 1;
            heard += u64::from(score >= VAD_THRESHOLD);
            sure += u64::from(score >= VAD_SURE);
        }
    });
    Speech { heard_bp: share_bp(heard, frames), sure_bp: share_bp(sure, heard) }
}

/// Brings samples to the rate of the detector, in integers: means when going down, lines between
/// samples when going up. Coarse, but the detector looks at bands, not at waveforms.
fn resample(samples: &[i16], rate: u64, offset: i64, mut emit: impl FnMut(i16)) {
    let outputs = samples.len() as u64 * VAD_RATE / rate.max(1);
    let value = |index: usize| {
        samples.get(index).or(samples.last()).map_or(0, |sample| i64::from(*sample) - offset)
    };
    for output in 0..outputs {
        let from = output * rate / VAD_RATE;
        let to = (output + 1) * rate / VAD_RATE;
        let sample = if rate > VAD_RATE {
            let (from, to) = (from as usize, (to as usize).min(samples.len()));
            (from..to).map(value).sum::<i64>() / count((to - from) as u64).max(1)
        } else {
            let fraction = count(output * rate % VAD_RATE);
            let (here, next) = (value(from as usize), value(from as usize + 1));
            here + (next - here) * fraction / count(VAD_RATE)
        };
        let clamped = sample.clamp(i64::from(i16::MIN), i64::from(i16::MAX));
        emit(i16::try_from(clamped).unwrap_or(0));
    }
}

#[cfg(test)]
mod tests;
