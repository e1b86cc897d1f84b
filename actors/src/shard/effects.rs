//! What leaves once a commit is durable.

use super::{ShardMessage, State, paused};
use crate::contribution::tell;
use crate::engine::Engine;
use crate::limits;
use crate::ports::{Intake, Reads};
use gristmill_workflows::codec::encode;
use gristmill_workflows::id::{Arrival, ShardId};
use gristmill_workflows::inbox::Item;
use gristmill_workflows::journey::State as Standing;
use gristmill_workflows::shard::Effect;
use gristmill_workflows::time::Timestamp;
use ractor::ActorRef;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

impl State {
    pub(super) async fn carry_out(
        &mut self,
        myself: &ActorRef<ShardMessage>,
        effects: Vec<Effect>,
    ) {
        let mut erase = Vec::new();
        let mut posts: Vec<(ShardId, Item)> = Vec::new();
        for effect in effects {
            match effect {
                Effect::Offer { from, entries } => self.offer(myself, from, entries),
                Effect::Run { arrival } => self.run(myself, arrival).await,
                Effect::Finished { arrival } => self.finished(arrival),
                Effect::Stands { arrival, until } => self.stands(arrival, until),
                Effect::Post { shard, item } => posts.push((shard, item)),
                Effect::Erase { data_key } => erase.push(data_key),
            }
        }
        if !erase.is_empty() {
            self.erase(myself, erase);
        }
        if !posts.is_empty() {
            self.post(myself, posts);
        }
    }

    fn finished(&mut self, arrival: Arrival) {
        if let Some(journey) = self.machine.journey(arrival) {
            self.engine.metrics.ended(journey, self.engine.ports.clock.now());
        }
        self.leave(arrival);
    }

    fn stands(&mut self, arrival: Arrival, until: Option<Timestamp>) {
        let counters = &self.engine.counters;
        let counter = if until.is_some() { &counters.parked } else { &counters.paused };
        counter.fetch_add(1, Ordering::Relaxed);
        // A slow commit's timer may be seen in the store before its answer comes: then it is over.
        let journey = self.machine.journey(arrival);
        if journey.is_some_and(|journey| journey.state == Standing::Moving) {
            return;
        }
        // Whoever looked for it when its stage was let go on may have come before its row did.
        let Engine { world, pauses, .. } = &*self.engine;
        let let_go_on = journey.is_some_and(|journey| paused::may_go_on(journey, world, pauses));
        let now = self.now();
        let until = if let_go_on { Some(now) } else { until };
        // Memory holds the near future only; the sweep reads the rest when it comes near.
        let horizon = now.plus_ms(limits::TIMER_HORIZON_MS);
        if let Some(due) = until.filter(|due| *due <= horizon) {
            self.timers.insert(due, arrival);
        }
        self.leave(arrival);
    }

    /// A journey no longer moves: its permit is free.
    fn leave(&mut self, arrival: Arrival) {
        self.let_go(arrival);
        self.admitted.remove(&arrival);
        if self.alone == Some(arrival) {
            self.alone = None;
            self.intake_grew = true;
        }
    }

    /// Destroys keys and blobs; what fails is tried again by the sweep, and what is not done when
    /// the process ends is done at the next start.
    pub(super) fn erase(&mut self, myself: &ActorRef<ShardMessage>, slots: Vec<u64>) {
        self.erasing += slots.len();
        let (ports, myself, shard) = (self.engine.ports.clone(), myself.clone(), self.id);
        tokio::spawn(async move {
            let keys = ports.keys.destroy(slots.clone()).await;
            let blobs = ports.media.remove(slots.clone()).await;
            match (keys, blobs) {
                (Ok(()), Ok(())) => tell(&myself, ShardMessage::Erased(slots)),
                (keys, blobs) => {
                    let failed = (keys.err(), blobs.err());
                    tracing::error!(%shard, ?failed, "erasure failed; it is tried again");
                    tell(&myself, ShardMessage::NotErased(slots));
                }
            }
        });
    }

    fn post(&mut self, myself: &ActorRef<ShardMessage>, posts: Vec<(ShardId, Item)>) {
        let engine = self.engine.clone();
        let pending = self.posting.clone();
        pending.fetch_add(1, Ordering::AcqRel);
        let myself = myself.clone();
        tokio::spawn(async move {
            deliver(&engine, posts).await;
            done(&pending);
            tell(&myself, ShardMessage::Posted);
        });
    }
}

fn done(pending: &Arc<AtomicUsize>) {
    pending.fetch_sub(1, Ordering::AcqRel);
}

/// Puts transfers into other shards' inboxes. They are numbered and said again by the sweep, so
/// that a lost one costs time only.
async fn deliver(engine: &Engine, posts: Vec<(ShardId, Item)>) {
    let mut items = Vec::with_capacity(posts.len());
    for (shard, item) in &posts {
        match encode(item) {
            Ok(bytes) => items.push(Intake {
                shard: *shard,
                lane: item.lane(),
                item: bytes,
                identity: None,
                mark: None,
                reads: Reads::default(),
            }),
            Err(error) => tracing::error!(%shard, %error, "a transfer does not encode"),
        }
    }
    for _ in 0..limits::POST_TRIES {
        match engine.ports.store.submit(items.clone()).await {
            Ok(_) => {
                for (shard, _) in posts {
                    engine.notify(shard, None);
                }
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "transfers are posted again");
                tokio::time::sleep(limits::COMMIT_RESEND_AFTER).await;
            }
        }
    }
}
