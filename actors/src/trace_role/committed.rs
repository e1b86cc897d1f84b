//! What the shards of a shared log have committed of its indices, as the store says it: who publishes
//! needs it to know what of `sequenced/` may go.

use super::LogMessage;
use crate::contribution::tell;
use crate::engine::Engine;
use crate::ports::ShardStore;
use gristmill_workflows::codec::decode;
use gristmill_workflows::commit::{OutboxRow, ShardState};
use gristmill_workflows::id::ShardId;
use ractor::ActorRef;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Reads what every shard has committed of the log's indices: all below its first outbox row that
/// still waits for one.
pub(super) fn look(engine: Arc<Engine>, myself: ActorRef<LogMessage>) {
    tokio::spawn(async move {
        let mut committed = BTreeMap::new();
        for shard in (0..engine.world.shards).map(ShardId) {
            match below(&*engine.ports.store, shard).await {
                Ok(below) => drop(committed.insert(shard, below)),
                // It holds what it has a part in; the others go on.
                Err(error) if error.is_beyond_this_node() => {
                    tracing::warn!(%shard, %error, "what the shard has committed cannot be read");
                }
                Err(error) => {
                    tracing::warn!(%shard, %error, "what the shard has committed is not known");
                    return tell(&myself, LogMessage::Committed(None));
                }
            }
        }
        tell(&myself, LogMessage::Committed(Some(committed)));
    });
}

async fn below(store: &dyn ShardStore, shard: ShardId) -> Result<u64, crate::shard::Error> {
    let loaded = store.load(shard).await?;
    for (from, row) in &loaded.outbox {
        // What was adopted has its indices.
        let (adopted, _) = decode::<OutboxRow>(row)?.into_parts();
        if adopted.is_none() {
            return Ok(*from);
        }
    }
    let state = loaded.state.as_deref().map(decode::<ShardState>).transpose()?;
    Ok(state.map_or(0, |state| state.outbox_next))
}
