//! The port to a rail: a way to pay, outside the node.
//!
//! A rail moves money under keys. The key of a payout is fixed for life, so a request whose fate is
//! unknown is asked for and resent under the same key, never under another one. The conformance
//! suite of every rail is `gristmill_testkit::rail_conformance`.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A future that a port returns: boxed, so that ports can be trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a rail promises about keys, time and batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RailProfile {
    /// Name of the rail in metrics, Trace entries and configuration.
    pub name: String,
    /// How long after its first use a key is recognised. Later a resend may pay again.
    pub key_window: Duration,
    /// How long after a submission the rail may still apply it: `NotFound` proves nothing before.
    pub settle_time: Duration,
    /// Most payouts in one `submit`.
    pub max_batch: usize,
    /// What one key covers.
    pub key_scope: KeyScope,
}

/// What one idempotency key covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyScope {
    /// Each payout has its own key; batches may be cut in any way on a resend.
    Item,
    /// The key belongs to the whole request: a resend must hold the same payouts in the same order.
    Request,
}

/// One movement of money asked of a rail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayoutRequest {
    /// The payout's id, 1 to 300 characters, fixed for life.
    pub key: String,
    /// Destination in the rail's own terms, 1 to 128 characters.
    pub account: String,
    /// ISO 4217 code.
    pub currency: String,
    /// Whole minor units of the currency, at least 1.
    pub minor: u64,
}

/// What a rail says of one payout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Money moved, once. `minor` is what the rail says it moved, which may differ from the
    /// request.
    Paid {
        /// Whole minor units that moved.
        minor: u64,
    },
    /// Accepted, not finished: ask again later.
    Pending,
    /// Ended without moving money, and never will under this key.
    Failed {
        /// The rail's own code of the reason.
        code: String,
    },
    /// The key is known with another body. The request in hand moved nothing.
    Conflict,
    /// The rail does not know the key. Only from `ask`; counts only after `settle_time`.
    NotFound,
    /// The rail gave no answer for this payout: it may or may not have been applied.
    Unknown,
}

/// Why a call to a rail gave no answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RailError {
    /// Nothing of the call was applied.
    #[error("the rail is unavailable: {cause}")]
    Unavailable {
        /// What was met.
        cause: Unavailability,
        /// How long the rail asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// Each payout of the call may have been applied or not.
    #[error("the rail's answer is unknown: {cause}")]
    Ambiguous {
        /// What was met.
        cause: Ambiguity,
    },
    /// The rail calls the request malformed; nothing was applied, and a resend would change
    /// nothing.
    #[error("the rail rejected the request with {status} {code}: {detail}")]
    Rejected {
        /// HTTP status or the rail's number.
        status: u16,
        /// The rail's own code.
        code: String,
        /// The rail's own words.
        detail: String,
    },
}

/// Why nothing of a call was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailability {
    /// No connection came about, so nothing was sent.
    #[error("no connection")]
    NoConnection,
    /// Too many requests (HTTP 429).
    #[error("too many requests")]
    TooManyRequests,
    /// The rail says that it is out of service (HTTP 503).
    #[error("out of service")]
    OutOfService,
}

/// Why it is unknown whether a call was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ambiguity {
    /// No answer within the limit.
    #[error("no answer in time")]
    Timeout,
    /// The connection broke after something was sent.
    #[error("the connection broke")]
    ConnectionBroken,
    /// A server error that does not say what was done.
    #[error("server error {status}")]
    ServerError {
        /// HTTP status, 500 to 599 without 503.
        status: u16,
    },
    /// The answer does not follow the protocol, or is larger than the limit.
    #[error("malformed answer")]
    MalformedAnswer,
}

impl RailError {
    /// Whether the same request under the same key may be tried again.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Ambiguous { .. })
    }

    /// Whether the rail is down, so that the attempt is given back and the circuit may open.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// Whether the payouts of the call may have been applied, so that they must be asked for.
    #[must_use]
    pub const fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Ambiguous { .. })
    }

    /// How long the rail asks to be left alone, if it says so.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after, .. } => *retry_after,
            Self::Ambiguous { .. } | Self::Rejected { .. } => None,
        }
    }
}

/// State of a payout in a rail's book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BookState {
    /// Money moved: each line of this state is one movement.
    Paid,
    /// Accepted, nothing moved yet.
    Pending,
    /// Ended without moving money.
    Failed,
}

/// One line of a rail's book: a payout reached a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BookLine {
    /// Sequence number in the book: 1, 2, 3, … without gaps.
    pub seq: u64,
    /// The payout's key.
    pub key: String,
    /// Destination.
    pub account: String,
    /// ISO 4217 code.
    pub currency: String,
    /// Whole minor units.
    pub minor: u64,
    /// The state reached.
    pub state: BookState,
    /// When, in milliseconds since the Unix epoch on the rail's clock.
    pub at_ms: u64,
}

/// A way to pay.
///
/// Implementations never retry on their own: the caller decides by `RailError` and `RailProfile`
/// whether to ask, to resend or to stop. Calls may run side by side; no order holds between them.
pub trait Rail: Send + Sync + 'static {
    /// What this rail promises. The same for the life of the value.
    fn profile(&self) -> &RailProfile;

    /// Submits up to `max_batch` payouts with distinct keys and returns one answer a payout, in the
    /// order of the batch.
    ///
    /// Each payout is applied or not by itself: the batch is not atomic. `Paid`, `Pending` and
    /// `Failed` are durable at the rail. A key that the rail knows with the same body moves nothing
    /// and gets the state of the first; within `key_window` a resend is therefore safe.
    ///
    /// # Errors
    /// `Unavailable` and `Rejected`: nothing of the batch was applied. `Ambiguous`: any part of it
    /// may have been, now or within `settle_time`.
    fn submit(&self, batch: Vec<PayoutRequest>) -> BoxFuture<'_, Result<Vec<Answer>, RailError>>;

    /// Asks for the state of payouts and returns one answer a key, in the order of the keys.
    /// Changes nothing, works after `key_window`, and may be repeated at will.
    ///
    /// `Unknown` stands for a key that alone got no answer.
    ///
    /// # Errors
    /// Any `RailError` when no key got an answer.
    fn ask(&self, keys: Vec<String>) -> BoxFuture<'_, Result<Vec<Answer>, RailError>>;

    /// One page of the rail's book for the auditor: the lines whose sequence number is above
    /// `after`, in order. An empty page is the end of the book. Only durable lines are shown.
    ///
    /// # Errors
    /// Any `RailError`; nothing changes, the page may be asked for again.
    fn book(&self, after: u64) -> BoxFuture<'_, Result<Vec<BookLine>, RailError>>;
}
