//! The end of a node that is told to end.

use super::Node;
use crate::contribution::tell;
use crate::engine::Engine;
use crate::shard::ShardMessage;
use crate::trace_role::LogMessage;
use ractor::ActorRef;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

impl Node {
    /// Ends in order: nothing more is let in, what was decided is committed. True if every shard
    /// said so within the deadline; else the next start treats the end as unclean.
    pub async fn stop(self, deadline: Duration) -> bool {
        if let Some(shared) = &self.shared {
            return shared.leave(&self.actor, &self.engine, deadline).await;
        }
        let until = Instant::now() + deadline;
        // A shard that starts after this is told when it has.
        self.engine.ending.store(true, Ordering::Release);
        let shards: Vec<ActorRef<ShardMessage>> = {
            let shards = self.engine.shards.read();
            let shards = shards.unwrap_or_else(std::sync::PoisonError::into_inner);
            shards.values().cloned().collect()
        };
        for shard in &shards {
            tell(shard, ShardMessage::Drain);
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
        let drained = tokio::time::timeout_at(until, drained).await.unwrap_or(false);
        let published = publish(&self.engine, until).await;
        let stopped = self.actor.stop_and_wait(None, Some(deadline)).await;
        drained && published && stopped.is_ok()
    }
}

/// What was sequenced is published before the node ends: who reads the log meanwhile sees all of it.
/// False if it was not in time.
pub(super) async fn publish(engine: &Engine, until: Instant) -> bool {
    let Some(log) = engine.log.get() else { return false };
    let (reply, published) = oneshot::channel();
    tell(log, LogMessage::Close(reply));
    matches!(tokio::time::timeout_at(until, published).await, Ok(Ok(())))
}
