//! The end of a node that is told to end.

use super::Node;
use crate::shard::ShardMessage;
use ractor::ActorRef;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Node {
    /// Ends in order: nothing more is let in, what was decided is committed. True if every shard
    /// said so within the deadline; else the next start treats the end as unclean.
    pub async fn stop(self, deadline: Duration) -> bool {
        if let Some(shared) = &self.shared {
            return shared.leave(&self.actor, deadline).await;
        }
        // A shard that starts after this is told when it has.
        self.engine.ending.store(true, Ordering::Release);
        let shards: Vec<ActorRef<ShardMessage>> = {
            let shards = self.engine.shards.read();
            let shards = shards.unwrap_or_else(std::sync::PoisonError::into_inner);
            shards.values().cloned().collect()
        };
        for shard in &shards {
            crate::contribution::tell(shard, ShardMessage::Drain);
        }
        let drained = async {
            for status in self.statuses.values() {
                let mut status = status.clone();
                if status.wait_for(|status| status.drained).await.is_err() {
                    return false;
                }
            }
            true
        };
        let drained = tokio::time::timeout(deadline, drained).await.unwrap_or(false);
        let stopped = self.actor.stop_and_wait(None, Some(deadline)).await;
        drained && stopped.is_ok()
    }
}
