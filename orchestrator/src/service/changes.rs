//! The list of what operators changed: rows of the register that are made once and never touched
//! again. A change is noted before it is carried out, so that none is without its line.

use crate::service::problem::Problem;
use crate::service::role::Caller;
use gristmill_actors::ports::{Clock, StoreError};
use gristmill_actors::register::Register;
use gristmill_workflows::codec::{self, Record, decode, encode};
use gristmill_workflows::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const PREFIX: &str = "change/";

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// The public part of the key that was used; `open` on a node without keys.
    pub key: String,
    /// What was done.
    pub verb: String,
    /// To what.
    pub target: String,
    /// Why, in the operator's words.
    pub reason: String,
}

impl Record for Change {
    const SCHEMA: u8 = 51;
    const VERSION: u8 = 1;
}

/// A change as it is shown.
#[derive(Debug, Serialize)]
pub struct Shown {
    at: String,
    key: String,
    verb: String,
    target: String,
    reason: String,
}

impl From<Change> for Shown {
    fn from(change: Change) -> Self {
        let Change { at, key, verb, target, reason } = change;
        Self { at: at.rfc3339(), key, verb, target, reason }
    }
}

/// The list.
pub struct Changes {
    register: Arc<dyn Register>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Changes")
    }
}

impl Changes {
    /// Over a register.
    #[must_use]
    pub fn new(register: Arc<dyn Register>, clock: Arc<dyn Clock>) -> Self {
        Self { register, clock }
    }

    /// Notes a change.
    ///
    /// # Errors
    /// When it is not durable; then it must not be carried out.
    pub async fn note(
        &self,
        caller: &Caller,
        verb: &str,
        target: &str,
        reason: &str,
    ) -> Result<(), Problem> {
        let change = Change {
            at: self.clock.now(),
            key: caller.key.clone(),
            verb: verb.to_owned(),
            target: target.to_owned(),
            reason: reason.to_owned(),
        };
        let row = encode(&change)?;
        // Two changes of one millisecond are told apart by chance.
        let name = format!("{PREFIX}{:016x}-{:016x}", change.at.0, self.clock.random());
        self.register.swap(name, None, Some(row)).await?;
        Ok(())
    }

    /// Up to `limit` changes after the one that a token names, oldest first, and the token to go
    /// on with.
    ///
    /// # Errors
    /// [`StoreError`], also when a row does not decode.
    pub async fn page(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<(Vec<Change>, Option<String>), StoreError> {
        let after = after.map(|token| format!("{PREFIX}{token}"));
        let rows = self.register.scan(PREFIX.to_owned(), after, limit).await?;
        let full = rows.len() == limit;
        let next = rows.last().filter(|_| full).map(|(name, _)| name[PREFIX.len()..].to_owned());
        let decoded: Result<Vec<Change>, codec::Error> =
            rows.iter().map(|(_, row)| decode(row)).collect();
        let changes = decoded.map_err(|error| StoreError::Damaged { detail: error.to_string() })?;
        Ok((changes, next))
    }
}

/// A token of the list.
#[must_use]
pub fn token(text: &str) -> Option<String> {
    let plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'));
    (plain && text.len() == 33).then(|| text.to_owned())
}
