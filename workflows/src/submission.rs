//! What a person hands in: contributions, consents and withdrawals, as they stand in an inbox.

use crate::id::{Arrival, ContributionId};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What kind of thing was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Modality {
    /// A voice clip.
    Voice,
    /// A photo.
    Image,
    /// A video.
    Video,
    /// No media at all (the engine program).
    None,
}

impl Modality {
    /// The word of the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Voice => "voice",
            Self::Image => "image",
            Self::Video => "video",
            Self::None => "none",
        }
    }
}

/// Handed-in bytes, by their hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// SHA-256 of the bytes.
    pub sha256: [u8; 32],
    /// Their number.
    pub bytes: u64,
}

/// A contribution as it was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// Derived from contributor and idempotency key.
    pub id: ContributionId,
    /// The person, by the client's own id.
    pub contributor: String,
    /// The client's key for this hand-in.
    pub idempotency_key: String,
    /// The paying side.
    pub program: String,
    /// The program's task.
    pub task: String,
    /// What it claims to be.
    pub modality: Modality,
    /// BCP 47 tag, if any.
    pub language: Option<String>,
    /// The bytes, if any.
    pub media: Option<Media>,
    /// What was said, if the client knows.
    pub transcript: Option<String>,
    /// When it was captured.
    pub captured_at: Option<Timestamp>,
    /// The slot of the data key that encrypts blob and openings.
    pub data_key: u64,
    /// When intake made it durable.
    pub at: Timestamp,
}

/// The text a contributor agreed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// The text's version.
    pub version: String,
    /// Its SHA-256, lower-case hex.
    pub sha256: String,
    /// Where it can be read.
    pub uri: String,
}

/// One consent, given to one program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// The person.
    pub contributor: String,
    /// The client's id of this grant, or one derived from the whole object.
    pub grant: String,
    /// The program it was given to.
    pub program: String,
    /// What for.
    pub purposes: Vec<String>,
    /// Which kinds of media.
    pub modalities: Vec<Modality>,
    /// Under which text.
    pub terms: Arc<Terms>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When intake made it durable.
    pub at: Timestamp,
}

impl Consent {
    /// About how many bytes it takes in its contributor's row.
    pub fn bytes(&self) -> usize {
        let texts = [
            &self.contributor,
            &self.grant,
            &self.program,
            &self.terms.version,
            &self.terms.sha256,
            &self.terms.uri,
        ];
        let purposes: usize = self.purposes.iter().map(|purpose| purpose.len() + 4).sum();
        texts.iter().map(|text| text.len() + 4).sum::<usize>() + purposes + 64
    }
}

/// What a withdrawal takes back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// One grant.
    Grant(String),
    /// All grants given to one program so far.
    Program(String),
    /// Every grant given so far.
    All,
}

impl Scope {
    /// The word that a public entry carries.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Grant(_) => "grant",
            Self::Program(_) => "program",
            Self::All => "all",
        }
    }
}

/// Consent taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawal {
    /// The person.
    pub contributor: String,
    /// What is taken back.
    pub scope: Scope,
    /// When intake made it durable.
    pub at: Timestamp,
}

/// A withdrawal that stands in the shard's slot: `position` is its arrival number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// What was taken back.
    pub scope: Scope,
    /// Everything that arrived before this and falls under the scope is withdrawn.
    pub position: Arrival,
    /// When.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consent_takes_its_texts_with_their_lengths_and_a_little_more() {
        let terms = Terms { version: "v".repeat(5), sha256: "ab".repeat(32), uri: "u".repeat(7) };
        let consent = Consent {
            contributor: "c".repeat(11),
            grant: "g".repeat(13),
            program: "p".repeat(17),
            purposes: vec!["x".repeat(19), "y".repeat(23)],
            modalities: Vec::new(),
            terms: terms.into(),
            expires_at: None,
            at: Timestamp(0),
        };
        let texts = 5 + 64 + 7 + 11 + 13 + 17 + 19 + 23;
        assert_eq!(consent.bytes(), texts + 8 * 4 + 64);
    }

    #[test]
    fn a_withdrawal_says_in_the_log_how_wide_it_is_and_not_of_what() {
        let scopes = [Scope::Grant("g-1".into()), Scope::Program("p".into()), Scope::All];
        assert_eq!(scopes.map(|scope| scope.as_str()), ["grant", "program", "all"]);
    }
}
