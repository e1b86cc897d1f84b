//! What ends a node.

use crate::ports::StoreError;
use crate::shard;
use gristmill_workflows::invariant::Breach;
use ractor::ActorProcessingErr;

/// What ended a node that nobody stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// The store failed or is damaged.
    #[error(transparent)]
    Store(StoreError),
    /// What a shard decided would break an invariant. Among several nodes the shard is loaded
    /// again instead, since the others must go on.
    #[error("a commit was refused, since it would break {0}")]
    Breach(Breach),
    /// The log failed or differs.
    #[error("the public log: {detail}")]
    Log {
        /// What was met.
        detail: String,
        /// The disk is full.
        full: bool,
    },
    /// An actor that nothing can replace ended.
    #[error("an actor of the node ended: {detail}")]
    Actor {
        /// Which, and how.
        detail: String,
    },
}

/// Whether a shard's error ends its node.
pub(super) fn fatal(error: &ActorProcessingErr) -> Option<Fatal> {
    match error.downcast_ref::<shard::Error>()? {
        shard::Error::Store(error @ (StoreError::Failed { .. } | StoreError::Damaged { .. })) => {
            Some(Fatal::Store(error.clone()))
        }
        shard::Error::Codec(error) => {
            Some(Fatal::Store(StoreError::Damaged { detail: error.to_string() }))
        }
        shard::Error::Store(_)
        | shard::Error::Broken
        | shard::Error::Log(_)
        | shard::Error::Lacks(_)
        | shard::Error::Trace(_)
        | shard::Error::NoLog
        | shard::Error::Breach(_) => None,
    }
}
