//! Why the log cannot be opened, written or read.

use crate::ports::LogError;
use gristmill_trace::{checkpoint, publisher, reader, verify};
use gristmill_workflows::codec;
use gristmill_workflows::id::ShardId;

/// Why the log cannot be opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed, or other bytes stand where an object belongs.
    #[error(transparent)]
    Store(#[from] LogError),
    /// A checkpoint is malformed or not signed by this log's key.
    #[error("{path}: {source}")]
    Checkpoint {
        /// Which object.
        path: String,
        /// What is wrong with it.
        source: checkpoint::Error,
    },
    /// An object has another name than its content says.
    #[error("{path} does not hold what its name says")]
    Misnamed {
        /// Which object.
        path: String,
    },
    /// An object that was listed or is needed does not stand.
    #[error("{path} is missing")]
    Missing {
        /// Which object.
        path: String,
    },
    /// A shard's store lost more than the log keeps sequenced objects for. Nobody can tell any more
    /// which of its entries the log has.
    #[error(
        "the store lost commits of shard {shard} from outbox position {from} on, and the log's \
         sequenced objects of then are gone: restore a newer copy of the store"
    )]
    Pruned {
        /// Whose commits.
        shard: ShardId,
        /// The first position that is not found.
        from: u64,
    },
    /// Two checkpoints of one size contradict each other.
    #[error("two checkpoints of size {size} have different roots")]
    Roots {
        /// Their size.
        size: u64,
    },
    /// One checkpoint does not extend another.
    #[error(transparent)]
    Inconsistent(#[from] verify::Error),
    /// The tiles of the right edge are missing, or do not have the checkpoint's root.
    #[error(transparent)]
    RightEdge(#[from] publisher::Error),
    /// A tile that a proof or an entry needs cannot be used.
    #[error(transparent)]
    Tile(#[from] reader::Error),
    /// A sequenced object does not decode, or cannot be encoded.
    #[error("{path}: {source}")]
    Object {
        /// Which object.
        path: String,
        /// What is wrong with it.
        source: codec::Error,
    },
    /// A sequenced object does not follow the one before it: one is missing, or was changed.
    #[error("{path} does not follow the sequenced object before it")]
    Chain {
        /// Which object.
        path: String,
    },
    /// The checkpoint covers entries that no sequenced object holds.
    #[error("the checkpoint has {published} entries, but only {sequenced} are sequenced")]
    Ahead {
        /// Size of the checkpoint.
        published: u64,
        /// Entries in the sequenced objects.
        sequenced: u64,
    },
    /// An offer does not fit an object, or one of its entries no bundle. Nothing was sequenced.
    #[error("an offer of shard {shard} from position {from} is too large")]
    TooLarge {
        /// Whose offer.
        shard: ShardId,
        /// Its first outbox position.
        from: u64,
    },
    /// Too much is sequenced and not yet published. Nothing was sequenced; publish first.
    #[error("too many entries wait to be published")]
    Backlog,
    /// Another writer is further; what was written at this index is void. Open the log anew.
    #[error("another writer published {published} entries, beyond index {first}")]
    Superseded {
        /// The index of the object written here.
        first: u64,
        /// The size of the checkpoint found.
        published: u64,
    },
    /// Other writers were quicker again and again. Nothing of the last try was sequenced.
    #[error("other writers of the log are quicker again and again")]
    Crowded,
    /// A write failed before, so it is unknown what is sequenced. Open the log anew.
    #[error("an earlier write failed; the log has to be opened anew")]
    Stopped,
    /// An index beyond the log was asked for.
    #[error("the log has no entry {index}, its size is {size}")]
    Index {
        /// The index.
        index: u64,
        /// Entries in the log.
        size: u64,
    },
}

impl Error {
    /// Whether the same call may succeed later on the same [`super::TraceLog`].
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Backlog)
    }

    /// Whether the disk is full.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Store(LogError::Failed { full: true, .. }))
    }
}
