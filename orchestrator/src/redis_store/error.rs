//! What errors of the server and of the connection mean.

use gristmill_actors::ports::StoreError;
use redis::{ErrorKind, RedisError};

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address is not one.
    #[error("the address of the store: {detail}")]
    Address {
        /// What is wrong with it.
        detail: String,
    },
    /// The credentials could not be read.
    #[error("the credentials of the store, {path}: {source}")]
    Credentials {
        /// The file.
        path: std::path::PathBuf,
        /// What was met.
        source: std::io::Error,
    },
    /// The server does not answer, or not as it should.
    #[error("the server of the store: {0}")]
    Server(#[from] StoreError),
    /// The server is weaker than what the configuration promises.
    #[error("{}", .0.join("; "))]
    Weaker(Vec<String>),
    /// The store was made by another version, or belongs to other keys.
    #[error("the store's {name} is {stored}, this node's is {own}")]
    Differs {
        /// Of what.
        name: &'static str,
        /// What the store says.
        stored: String,
        /// What this node has.
        own: String,
    },
}

/// Server errors that say "not applied, and the same call may do better later".
const NOT_APPLIED: [&str; 14] = [
    "OOM",
    "NOREPLICAS",
    "READONLY",
    "LOADING",
    "CLUSTERDOWN",
    "MOVED",
    "ASK",
    "TRYAGAIN",
    "BUSY",
    "MASTERDOWN",
    "MISCONF",
    "NOAUTH",
    "NOPERM",
    "CROSSSLOT",
];

/// The meaning of an error: what a server refuses was not applied; what was not answered may be.
pub(super) fn meaning(error: &RedisError) -> StoreError {
    let text = error.to_string();
    // The client has words of its own for some of the server's codes: an operator looks for the code.
    let detail = match error.code() {
        Some(code) if !text.contains(code) => format!("{code} {text}"),
        _ => text,
    };
    match (error.code(), error.kind()) {
        (Some("WRONGTYPE"), _) => StoreError::Damaged { detail },
        (Some(code), _) if NOT_APPLIED.contains(&code) => StoreError::Unavailable { detail },
        // A function is validated before its first write, so an error of its own wrote nothing.
        (Some(_), _) => StoreError::Unavailable { detail },
        (None, ErrorKind::Io) if !error.is_connection_refusal() => StoreError::Ambiguous { detail },
        (None, ErrorKind::Parse) => StoreError::Ambiguous { detail },
        (None, ErrorKind::UnexpectedReturnType) => StoreError::Damaged { detail },
        (None, _) => StoreError::Unavailable { detail },
    }
}

/// Whether the connection has to be made anew: it broke, or it leads to who is no master any more.
pub(super) fn is_broken(error: &RedisError) -> bool {
    let stale = ["READONLY", "LOADING", "MASTERDOWN", "NOAUTH", "UNBLOCKED"];
    error.is_io_error()
        || error.kind() == ErrorKind::Parse
        || error.code().is_some_and(|code| stale.contains(&code))
}

/// An answer of another shape than the protocol's.
pub(super) fn strange(what: &str) -> StoreError {
    StoreError::Damaged { detail: format!("the server's answer to {what} is of another shape") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::make_extension_error;

    #[test]
    fn what_a_server_refuses_was_not_applied() {
        for code in NOT_APPLIED {
            let error = make_extension_error(code.to_owned(), None);
            let named = matches!(meaning(&error), StoreError::Unavailable { detail } if detail.contains(code));
            assert!(named, "{code}");
        }
        let error = make_extension_error("WRONGTYPE".to_owned(), None);
        assert!(matches!(meaning(&error), StoreError::Damaged { .. }));
    }

    #[test]
    fn a_broken_connection_or_a_missing_answer_is_ambiguous_and_a_refused_one_is_not() {
        use std::io::{Error, ErrorKind};
        for kind in [ErrorKind::TimedOut, ErrorKind::BrokenPipe, ErrorKind::UnexpectedEof] {
            let error = RedisError::from(Error::from(kind));
            assert!(matches!(meaning(&error), StoreError::Ambiguous { .. }), "{kind:?}");
            assert!(is_broken(&error));
        }
        let refused = RedisError::from(Error::from(ErrorKind::ConnectionRefused));
        assert!(matches!(meaning(&refused), StoreError::Unavailable { .. }));
    }
}
