//! The kinds of content a contributor can hand in.

use serde::{Deserialize, Serialize};

/// What a contribution was declared to be, or what its content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Modality {
    /// Speech.
    Voice,
    /// A still picture.
    Image,
    /// Moving pictures, with or without sound.
    Video,
}

impl Modality {
    /// The word of the manifest: `voice`, `image` or `video`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Voice => "voice",
            Self::Image => "image",
            Self::Video => "video",
        }
    }
}

impl std::fmt::Display for Modality {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
