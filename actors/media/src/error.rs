//! Why bytes could not be measured.

use serde::{Deserialize, Serialize};

use crate::Modality;

/// Why bytes could not be measured. Every variant is a verdict on the bytes: trying again gives the
/// same answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Error {
    /// No decoder could make sense of all of it.
    #[error("undecodable: {flaw}")]
    Undecodable {
        /// What is wrong.
        flaw: Flaw,
    },
    /// The content is recognisably another modality than declared.
    #[error("the content is {found}")]
    WrongModality {
        /// What the content is.
        found: Modality,
    },
    /// A bound of [`crate::Limits`] is exceeded.
    #[error("{bound} is {found}, above the limit of {limit}")]
    TooLarge {
        /// Which bound.
        bound: Bound,
        /// The value found, in the unit of the bound.
        found: u64,
        /// The limit, in the same unit.
        limit: u64,
    },
    /// There are no bytes.
    #[error("no bytes")]
    Empty,
}

impl Error {
    /// The reason of a rejection for this error, one of the contract's words: `undecodable`,
    /// `wrong_modality`, `too_large` or `too_long`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Undecodable { .. } | Self::Empty => "undecodable",
            Self::WrongModality { .. } => "wrong_modality",
            Self::TooLarge { bound: Bound::DurationMs, .. } => "too_long",
            Self::TooLarge { .. } => "too_large",
        }
    }
}

/// What is wrong with undecodable content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flaw {
    /// No known signature.
    #[error("unrecognised content")]
    Unrecognised,
    /// A known format or codec that is not measured here.
    #[error("unsupported format")]
    Unsupported,
    /// The structure or the coded data is damaged.
    #[error("malformed data")]
    Malformed,
    /// The file ends before the content it announces.
    #[error("truncated data")]
    Truncated,
    /// The decoder panicked on it.
    #[error("decoder failed")]
    DecoderPanicked,
}

/// A bound on content, with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Size of the file in bytes.
    #[error("size in bytes")]
    Bytes,
    /// Duration in milliseconds.
    #[error("duration in ms")]
    DurationMs,
    /// Decoded audio frames (one sample of each channel).
    #[error("decoded audio frames")]
    AudioFrames,
    /// Width or height in pixels.
    #[error("dimension in pixels")]
    Dimension,
    /// Width times height.
    #[error("pixels")]
    Pixels,
    /// Bytes a decoder would allocate.
    #[error("decoded bytes")]
    DecodedBytes,
    /// Video frames.
    #[error("video frames")]
    VideoFrames,
    /// Boxes or elements of a container.
    #[error("container elements")]
    Elements,
    /// Tracks of a container.
    #[error("tracks")]
    Tracks,
}
