//! What the store keeps in memory: a row a shard, and whose withdrawals are marked.

use super::engine::{Space, View};
use super::files::damaged;
use super::keys::{self, Tag};
use super::open_error::OpenError;
use gristmill_actors::ports::StoreError;
use gristmill_workflows::codec::{self, Record};
use gristmill_workflows::id::{ContributorKey, ShardId};
use gristmill_workflows::lease::Lease;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// The store's own counters of one shard; written once a group that changes the shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct ShardRow {
    /// Who owns the shard, and the seq of the last applied commit.
    pub(super) lease: Lease,
    /// The last arrival number given out.
    pub(super) arrived: u64,
    /// Items in the intake lane.
    pub(super) intake: u64,
}

impl Record for ShardRow {
    const SCHEMA: u8 = 41;
    const VERSION: u8 = 1;
}

/// The contributors with marks. Most have none, so most guards need no read.
pub(super) type Marked = HashSet<(ShardId, ContributorKey)>;

/// Reads the rows of all shards.
pub(super) fn shard_rows(view: &View<'_>, shards: u16) -> Result<Vec<ShardRow>, OpenError> {
    let row = |shard| {
        let row = view.get(Space::Queue, &keys::only(ShardId(shard), Tag::Shard));
        match row.map_err(read_error)? {
            Some(row) => codec::decode(&row).map_err(|error| match error {
                codec::Error::Newer { .. } | codec::Error::Older { .. } => {
                    OpenError::WrongVersion { detail: error.to_string() }
                }
                error => damaged(format!("the row of shard {}: {error}", ShardId(shard))),
            }),
            None => Ok(ShardRow::default()),
        }
    };
    (0..shards).map(row).collect()
}

/// Reads who has marks.
pub(super) fn marked(view: &View<'_>, shards: u16) -> Result<Marked, OpenError> {
    let mut marked = Marked::new();
    for shard in (0..shards).map(ShardId) {
        for row in view.prefix(Space::Random, &keys::only(shard, Tag::Mark)) {
            let (key, _) = row.map_err(read_error)?;
            let contributor = keys::bytes_at(&key, 3).map(ContributorKey);
            let contributor = contributor.ok_or_else(|| damaged("the key of a mark is cut off"))?;
            marked.insert((shard, contributor));
        }
    }
    Ok(marked)
}

/// An error met while the store is read at its opening.
pub(super) fn read_error(error: StoreError) -> OpenError {
    match error {
        StoreError::Damaged { detail } => OpenError::Damaged { detail },
        error => OpenError::Io(std::io::Error::other(error)),
    }
}
