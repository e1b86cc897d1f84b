//! The measured features: integers with their units in their names.
//!
//! `_bp` is a share in basis points (0 to 10000), `_cdb` hundredths of a decibel, `_ms`
//! milliseconds, `_x100` and `_x1000` hundredths and thousandths.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Modality;

/// What was measured, by modality.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measures {
    /// Of a voice clip.
    Voice(VoiceMeasures),
    /// Of an image.
    Image(ImageMeasures),
    /// Of a video.
    Video(VideoMeasures),
}

impl Measures {
    /// The modality that was measured.
    #[must_use]
    pub fn modality(&self) -> Modality {
        match self {
            Self::Voice(_) => Modality::Voice,
            Self::Image(_) => Modality::Image,
            Self::Video(_) => Modality::Video,
        }
    }

    /// What a rate card prices: milliseconds of a clip or video, 1 for an image.
    #[must_use]
    pub fn units(&self) -> u64 {
        match self {
            Self::Voice(voice) => voice.duration_ms.unsigned_abs(),
            Self::Image(_) => 1,
            Self::Video(video) => video.duration_ms.unsigned_abs(),
        }
    }

    /// Every number under its name; the names are those of the score tables.
    #[must_use]
    pub fn named(&self) -> BTreeMap<&'static str, i64> {
        match self {
            Self::Voice(voice) => voice.named(),
            Self::Image(image) => image.named(),
            Self::Video(video) => video.named(),
        }
    }
}

macro_rules! measures {
    ($(#[$about:meta])* $name:ident { $($(#[$field_about:meta])* $field:ident,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_about])* pub $field: i64,)+
        }

        impl $name {
            fn named(&self) -> BTreeMap<&'static str, i64> {
                BTreeMap::from([$((stringify!($field), self.$field),)+])
            }
        }
    };
}

measures! {
    /// Features of a voice clip. Levels are of the mean of all channels without its constant part,
    /// in frames of 20 ms.
    VoiceMeasures {
        /// Decoded duration.
        duration_ms,
        /// Sample rate, in Hz.
        sample_rate,
        /// Channels.
        channels,
        /// Channels without any signal.
        dead_channels,
        /// RMS of the frames that are not silent, against full scale.
        level_cdb,
        /// Largest sample, against full scale.
        peak_cdb,
        /// Share of samples at full scale or on a flat top.
        clipping_bp,
        /// Share of frames far below the loud ones.
        silence_bp,
        /// Share of time with speech, as the voice activity detector hears it.
        speech_bp,
        /// The same as a duration.
        speech_ms,
        /// Share of that speech which the detector is sure of.
        sure_speech_bp,
        /// Distance of the loud frames (95th percentile) from the quiet ones (10th percentile).
        range_cdb,
        /// Share of samples in short gaps of exact zeros cut into sound.
        dropout_bp,
        /// Constant part of the signal, against full scale.
        offset_bp,
        /// Share that was announced but is missing or damaged.
        missing_bp,
    }
}

measures! {
    /// Features of an image, of its luma.
    ImageMeasures {
        /// Stored width, in pixels, before any rotation.
        width,
        /// Stored height, in pixels.
        height,
        /// The shorter side, in pixels.
        short_side,
        /// Variance of the Laplacian's weaker axis in the sharpest tenth of the picture, after
        /// reduction to 512 pixels on the longer side.
        sharpness,
        /// The same as `sharpness` relative to the contrast of those places, in thousandths.
        crispness_x1000,
        /// Mean luma, 0 to 255, in hundredths.
        mean_luma_x100,
        /// Luma that 1 % of the pixels exceed.
        luma_p99,
        /// Share of pixels with luma below 8.
        dark_bp,
        /// Share of pixels with luma above 250.
        bright_bp,
        /// Share of pixels in the fullest sixteenth of the luma scale.
        uniformity_bp,
        /// Fine-grained noise in the calmest fifth of the picture, in hundredths of a luma step.
        noise_x100,
        /// Steps across the borders of 8 by 8 blocks against steps elsewhere, in hundredths.
        blocking_x100,
    }
}

measures! {
    /// Features of a video, from its container alone.
    VideoMeasures {
        /// Duration of the first video track.
        duration_ms,
        /// Width, in pixels.
        width,
        /// Height, in pixels.
        height,
        /// The shorter side, in pixels.
        short_side,
        /// Video frames.
        frames,
        /// Mean frames per second, in thousandths.
        fps_x1000,
        /// Four bytes that name the codec (as an integer, big endian): `avc1`, `hvc1`, `VP80`…
        codec,
        /// Audio tracks.
        audio_tracks,
        /// Mean coded bits per pixel, in thousandths.
        bits_per_pixel_x1000,
        /// Share of frames too small to hold anything but "as before".
        still_bp,
    }
}
