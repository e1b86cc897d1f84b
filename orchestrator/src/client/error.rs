//! Why a node did not do what it was asked.

use crate::app::Failure;
use serde::Deserialize;
use std::path::PathBuf;

/// Why a node did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not an address of a node.
    #[error("{url:?} is not the address of a node: http://host:port is expected")]
    Url {
        /// As given.
        url: String,
    },
    /// The file of the API key cannot be read.
    #[error("{}: {source}", path.display())]
    KeyFile {
        /// Which.
        path: PathBuf,
        /// What was met.
        source: std::io::Error,
    },
    /// The file of the API key has an empty first line.
    #[error("{}: its first line holds no key", path.display())]
    NoKey {
        /// Which.
        path: PathBuf,
    },
    /// The request cannot be written: the key holds what no header field may.
    #[error("{url}: the request cannot be written: {source}")]
    Request {
        /// The address.
        url: String,
        /// What was met.
        source: hyper::http::Error,
    },
    /// No connection, or it broke before the answer.
    #[error("{url}: {source}")]
    Connection {
        /// The address.
        url: String,
        /// What was met.
        source: hyper_util::client::legacy::Error,
    },
    /// The answer broke off.
    #[error("{url}: the answer broke off: {source}")]
    Broken {
        /// The address.
        url: String,
        /// What was met.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time.
    #[error("{url}: no answer in time")]
    Timeout {
        /// The address.
        url: String,
    },
    /// More bytes than any answer of a node has.
    #[error("{url}: the answer is over {bytes_max} bytes")]
    TooLong {
        /// The address.
        url: String,
        /// The bound.
        bytes_max: usize,
    },
    /// An answer of success that is not the JSON asked for.
    #[error("{url}: not the answer of a node: {source}")]
    Answer {
        /// The address.
        url: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// An answer of success that is not UTF-8.
    #[error("{url}: not the answer of a node: it is not UTF-8")]
    Text {
        /// The address.
        url: String,
    },
    /// A batch was answered for other lines than were sent.
    #[error("{url}: {answered} lines are answered, {sent} were sent")]
    Lines {
        /// The address.
        url: String,
        /// Lines with an answer.
        answered: usize,
        /// Lines sent.
        sent: usize,
    },
    /// An answer of failure whose body is no problem (RFC 9457): not of a node, perhaps of
    /// something in between.
    #[error("{url}: status {status} without a problem (RFC 9457), is this a node? {source}")]
    NoProblem {
        /// The address.
        url: String,
        /// HTTP status.
        status: u16,
        /// What is wrong with the body.
        source: serde_json::Error,
    },
    /// The node says why not.
    #[error("{status} {code}: {}{detail}", prefix(field.as_ref()))]
    Problem {
        /// HTTP status.
        status: u16,
        /// The problem's code.
        code: String,
        /// A sentence.
        detail: String,
        /// The field to blame.
        field: Option<String>,
    },
}

/// What is read of a problem (RFC 9457).
#[derive(Debug, Deserialize)]
pub(super) struct Problem {
    pub(super) code: String,
    pub(super) detail: String,
    pub(super) field: Option<String>,
}

fn prefix(field: Option<&String>) -> String {
    field.map_or_else(String::new, |field| format!("{field}: "))
}

impl Error {
    /// Whether the same request may do better later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connection { .. } | Self::Broken { .. } | Self::Timeout { .. } => true,
            Self::Problem { status, .. } => matches!(status, 408 | 429 | 503),
            Self::NoProblem { status, .. } => matches!(status, 429 | 502..=504),
            Self::Url { .. }
            | Self::KeyFile { .. }
            | Self::NoKey { .. }
            | Self::Request { .. }
            | Self::TooLong { .. }
            | Self::Answer { .. }
            | Self::Text { .. }
            | Self::Lines { .. } => false,
        }
    }

    /// Whether the node certainly did nothing of what it was asked.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Connection { source, .. } => source.is_connect(),
            Self::Problem { .. } => true,
            _ => false,
        }
    }

    /// The process exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Url { .. } | Self::KeyFile { .. } | Self::NoKey { .. } | Self::Request { .. } => {
                2
            }
            Self::Problem { status: 409 | 410, .. } => 1,
            Self::Problem { status: 400..500, .. } => 2,
            Self::Connection { .. }
            | Self::Broken { .. }
            | Self::Timeout { .. }
            | Self::TooLong { .. }
            | Self::Answer { .. }
            | Self::Text { .. }
            | Self::Lines { .. }
            | Self::NoProblem { .. }
            | Self::Problem { .. } => 4,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(error.exit_code(), &error)
    }
}
