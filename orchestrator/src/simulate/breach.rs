//! Something that breaks a promise, and what it happened to.

use serde::{Deserialize, Serialize};

/// Something that breaks a promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breach {
    /// Which check found it.
    pub check: String,
    /// A contribution's id, its contributor and key, or what else it happened to.
    pub id: String,
    /// What is wrong.
    pub sentence: String,
}

impl Breach {
    /// A breach.
    #[must_use]
    pub fn new(check: &str, id: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self { check: check.to_owned(), id: id.into(), sentence: sentence.into() }
    }
}
