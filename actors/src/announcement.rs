//! Withdrawals announced to their shards before they are put into the inbox.
//!
//! A shard of this node accepts nothing of a contributor from the announcement until it has read the
//! withdrawal. That saves it commits which the store has to refuse; it promises nothing, since other nodes
//! take withdrawals for the same shard.

use crate::contribution::tell;
use crate::engine::Engine;
use crate::limits;
use crate::ports::{Intake, Submitted};
use crate::shard::ShardMessage;
use gristmill_workflows::id::{Arrival, ContributorKey};
use ractor::ActorRef;
use std::sync::PoisonError;
use tokio::sync::oneshot;

/// Withdrawals that are on their way; told to be over when it goes.
#[derive(Debug)]
#[must_use = "the shards wait until it goes"]
pub struct Announcement {
    /// Each by its place among the items.
    told: Vec<(usize, ActorRef<ShardMessage>, ContributorKey)>,
}

impl Engine {
    /// Announces the withdrawals among these items to the shards that this node has. Comes back when
    /// they may be put into the inbox: soon, since what was accepted before has to be committed.
    pub async fn announce(&self, items: &[Intake]) -> Announcement {
        // From the first one on it says that it is over, should the caller go away while it waits.
        let mut announcement = Announcement { told: Vec::new() };
        let mut replies = Vec::new();
        for (nth, item) in items.iter().enumerate() {
            let Some((key, _)) = item.mark else { continue };
            let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
            let Some(actor) = shards.get(&item.shard) else { continue };
            let (reply, heard) = oneshot::channel();
            tell(actor, ShardMessage::Announced { key, reply });
            announcement.told.push((nth, actor.clone(), key));
            replies.push(heard);
        }
        let heard = async {
            for reply in replies {
                if reply.await.is_err() {
                    tracing::trace!("the shard between two lives has accepted nothing");
                }
            }
        };
        if tokio::time::timeout(limits::ANNOUNCED_MAX, heard).await.is_err() {
            tracing::debug!("a withdrawal goes ahead of what was accepted before");
        }
        announcement
    }
}

impl Announcement {
    /// The items were put into the inbox; what became of each.
    pub fn submitted(mut self, submitted: &[Submitted]) {
        for (nth, actor, key) in self.told.drain(..) {
            let arrived = match submitted.get(nth) {
                Some(Submitted::Accepted(arrival)) => Some(*arrival),
                _ => None,
            };
            over(&actor, key, arrived);
        }
    }
}

impl Drop for Announcement {
    /// Nobody knows whether they are in the inbox.
    fn drop(&mut self) {
        for (_, actor, key) in self.told.drain(..) {
            over(&actor, key, None);
        }
    }
}

fn over(actor: &ActorRef<ShardMessage>, key: ContributorKey, arrived: Option<Arrival>) {
    tell(actor, ShardMessage::Withdrawn { key, arrived });
}
