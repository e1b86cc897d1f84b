//! A node among others: shards come and go with their leases.

use super::{Node, NodeMessage, State, ending};
use crate::contribution::tell;
use crate::engine::Engine;
use crate::membership::{Holdings, MembershipMessage};
use crate::ports::{Membership, StoreError};
use crate::shard::{self, ShardMessage, ShardStatus};
use gristmill_workflows::id::ShardId;
use gristmill_workflows::limits::LEFT_ALONE_MS;
use ractor::{ActorId, ActorProcessingErr, ActorRef};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The handle's side of a node's place among others.
pub(super) struct Shared {
    pub(super) members: Arc<dyn Membership>,
    pub(super) incarnation: u128,
    pub(super) holdings: watch::Receiver<Holdings>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("incarnation", &self.incarnation).finish_non_exhaustive()
    }
}

impl Shared {
    /// Hands every shard over, ends the node's actors, then leaves the roster; true if all ended in
    /// order in time.
    pub(super) async fn leave(
        &self,
        node: &ActorRef<NodeMessage>,
        engine: &Engine,
        deadline: Duration,
    ) -> bool {
        let until = Instant::now() + deadline;
        tell(node, NodeMessage::Drain);
        let mut holdings = self.holdings.clone();
        let drained = async {
            // What `wait_for` answers with keeps the sender waiting.
            holdings.wait_for(|it| it.draining && it.held.is_empty()).await.is_ok()
        };
        let drained = tokio::time::timeout_at(until, drained).await.unwrap_or(false);
        let published = ending::publish(engine, until).await;
        let stopped = node.stop_and_wait(None, Some(deadline)).await;
        let left = tokio::time::timeout(deadline, self.members.leave(self.incarnation)).await;
        if let Ok(Err(error)) = left {
            tracing::warn!(%error, "the roster was not left; the word of this node runs out");
        }
        drained && published && stopped.is_ok()
    }
}

impl State {
    pub(super) fn running(&self, shard: ShardId) -> Option<ActorRef<ShardMessage>> {
        let shards = self.engine.shards.read().unwrap_or_else(PoisonError::into_inner);
        shards.get(&shard).cloned()
    }

    fn forget(&self, shard: ShardId) {
        let shards = &self.engine.shards;
        shards.write().unwrap_or_else(PoisonError::into_inner).remove(&shard);
        if let Some(status) = self.statuses.get(&shard) {
            status.send_replace(ShardStatus::default());
        }
    }

    pub(super) fn tell_membership(&self, message: MembershipMessage) {
        if let Some(membership) = &self.membership {
            tell(membership, message);
        }
    }

    /// Whether a shard ended because another node has it.
    pub(super) fn is_lost(&self, error: &ActorProcessingErr) -> bool {
        let store = match error.downcast_ref::<shard::Error>() {
            Some(shard::Error::Store(error)) => Some(error),
            _ => None,
        };
        self.membership.is_some() && matches!(store, Some(StoreError::Fenced { .. }))
    }

    /// A shard that holds what is beyond this node is left as it is, for nodes that understand it;
    /// a node that shares its store with nobody has to end instead.
    pub(super) fn leaves_alone(&self, shard: ShardId, error: &ActorProcessingErr) -> bool {
        let known = error.downcast_ref::<shard::Error>();
        let Some(known) = known.filter(|it| it.is_beyond_this_node()) else { return false };
        let Some(membership) = &self.membership else { return false };
        let wait = Duration::from_millis(LEFT_ALONE_MS);
        tracing::error!(%shard, error = %known, ?wait, "a shard is left alone: upgrade this node");
        self.engine.metrics.restarted("shard", known.word());
        self.forget(shard);
        tell(membership, MembershipMessage::LeftAlone(shard));
        true
    }

    pub(super) fn hand_over(&self, shard: ShardId) {
        match self.running(shard) {
            Some(actor) => tell(&actor, ShardMessage::Drain),
            None => self.give_back(shard),
        }
    }

    pub(super) fn cut_off(&mut self, shard: ShardId) {
        if let Some(actor) = self.running(shard) {
            // Its end is not waited for, and gives no lease back.
            self.cells.remove(&actor.get_id());
            actor.kill();
            self.forget(shard);
        }
        // That it had started may be on its way still.
        self.tell_membership(MembershipMessage::Gone(shard));
    }

    /// An actor ended in order.
    pub(super) fn terminated(&mut self, id: ActorId) {
        let Some(shard) = self.cells.remove(&id) else { return };
        if self.membership.is_some() {
            self.forget(shard);
            self.give_back(shard);
        }
    }

    fn give_back(&self, shard: ShardId) {
        let Some(membership) = self.membership.clone() else { return };
        let (store, owner) = (self.engine.ports.store.clone(), self.owner);
        tokio::spawn(async move {
            if let Err(error) = store.release(shard, owner).await {
                tracing::warn!(%shard, %error, "the lease was not given back, it runs out");
            }
            tell(&membership, MembershipMessage::Gone(shard));
        });
    }
}

impl Node {
    /// What it holds and knows of others; none if it shares the store with nobody.
    #[must_use]
    pub fn holdings(&self) -> Option<watch::Receiver<Holdings>> {
        self.shared.as_ref().map(|shared| shared.holdings.clone())
    }

    /// Shards that run here, or are about to.
    pub(super) fn own_shards(&self) -> Vec<ShardId> {
        match &self.shared {
            Some(shared) => shared.holdings.borrow().held.clone(),
            None => self.statuses.keys().copied().collect(),
        }
    }
}
