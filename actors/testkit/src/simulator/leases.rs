//! Leases over shards, as the store of many nodes would keep them: the memory store's own claim
//! refuses nobody.

use gristmill_workflows::id::ShardId;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Who holds which shard until when.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<BTreeMap<ShardId, (u128, Instant)>>);

impl Leases {
    /// Whether the shard is free, over, or the claimer's own.
    pub(super) fn may_claim(&self, shard: ShardId, owner: u128) -> bool {
        let leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = leases.get(&shard);
        held.is_none_or(|(holder, until)| *holder == owner || *until <= Instant::now())
    }

    /// The holder has shown that it lives.
    pub(super) fn held(&self, shard: ShardId, owner: u128, ms: u64) {
        let until = Instant::now() + Duration::from_millis(ms);
        let mut leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        leases.insert(shard, (owner, until));
    }
}
