//! Group commit: one commit under way, the next one assembling; effects after the commit.

use super::{Error, ShardMessage, State};
use crate::contribution::tell;
use crate::limits;
use crate::ports::{Committed, ShardStore, StoreError};
use gristmill_workflows::commit::Commit;
use gristmill_workflows::id::{Arrival, ShardId};
use gristmill_workflows::lease::Fence;
use gristmill_workflows::limits::COMMIT_JOURNEYS_MAX;
use gristmill_workflows::shard::{Effect, SealError, Sealed};
use ractor::ActorRef;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What follows when the commit under way is durable.
#[derive(Debug)]
pub(super) struct InFlight {
    effects: Vec<Effect>,
    starts: Vec<Arrival>,
    seals: u64,
    logged: Option<u64>,
    clean: bool,
    decides: bool,
}

/// When what nobody waits for is committed, if no other commit comes before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settle {
    /// Nobody said.
    Unset,
    /// In a while.
    Set,
    /// As soon as no commit is under way.
    Now,
}

impl InFlight {
    pub(super) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }
}

impl State {
    /// Seals and sends what was decided, unless a commit is under way.
    pub(super) fn start_commit(&mut self, myself: &ActorRef<ShardMessage>) -> Result<(), Error> {
        if self.in_flight.is_some() {
            return Ok(());
        }
        let clean = self.draining && !self.cleaned;
        if clean {
            self.note_admitted(true)?;
        } else if self.may_wait(myself) {
            return Ok(());
        }
        self.settle = Settle::Unset;
        if self.note_due && self.machine.is_dirty() && !clean {
            self.note_due = false;
            self.note_admitted(false)?;
        }
        let sealed = self.machine.seal().map_err(|error| self.refused(error))?;
        let Some(Sealed { commit, effects, logged }) = sealed else { return Ok(()) };
        self.seq += 1;
        self.in_flight = Some(InFlight {
            effects,
            starts: std::mem::take(&mut self.starts),
            seals: self.machine.seals(),
            logged,
            clean,
            decides: std::mem::take(&mut self.decides),
        });
        let fence = Fence { owner: self.owner, epoch: self.epoch, seq: self.seq };
        let (store, shard, myself) = (self.engine.ports.store.clone(), self.id, myself.clone());
        tokio::spawn(async move {
            let result = send(&*store, shard, fence, Arc::new(commit)).await;
            tell(&myself, ShardMessage::Committed(result));
        });
        Ok(())
    }

    /// Whether what is decided may wait for the next commit: indices alone, which the log says again,
    /// and nobody who waits for them.
    fn may_wait(&mut self, myself: &ActorRef<ShardMessage>) -> bool {
        if !self.machine.is_dirty() || self.machine.is_urgent() {
            return false;
        }
        let waited_for = || self.desk.iter().any(|desk| !self.may_begin(desk));
        if self.draining || self.is_full() || self.settle == Settle::Now || waited_for() {
            return false;
        }
        if self.settle == Settle::Unset {
            self.settle = Settle::Set;
            let after = match self.engine.shares {
                true => limits::SETTLE_AFTER_SHARED,
                false => limits::SETTLE_AFTER,
            };
            let (seq, myself) = (self.seq, myself.clone());
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                tell(&myself, ShardMessage::Settle(seq));
            });
        }
        true
    }

    /// Whether the open commit has so much that nothing more is begun before it is sealed: while a store
    /// takes reads but no commits, what is decided would grow with the backlog.
    pub(super) fn is_full(&self) -> bool {
        self.machine.dirty() + limits::READ_JOURNEYS_MAX > COMMIT_JOURNEYS_MAX
    }

    /// What would break an invariant is counted and told; the shard's memory is given up.
    fn refused(&self, error: SealError) -> Error {
        match error {
            SealError::Codec(error) => Error::Codec(error),
            SealError::Breach(breach) => {
                self.engine.metrics.violated(breach.invariant);
                tracing::error!(shard = %self.id, %breach, "a commit is refused");
                Error::Breach(breach)
            }
        }
    }

    pub(super) async fn on_committed(
        &mut self,
        myself: &ActorRef<ShardMessage>,
        result: Result<Committed, StoreError>,
    ) -> Result<(), Error> {
        let Some(done) = self.in_flight.take() else { return Ok(()) };
        match result? {
            Committed::Applied => {}
            Committed::Broken(broken) => {
                tracing::info!(shard = %self.id, journeys = broken.len(), "a withdrawal came first");
                return Err(Error::Broken);
            }
        }
        self.engine.counters.commits.fetch_add(1, Ordering::Relaxed);
        self.kept.store(true, Ordering::Release);
        self.counted = true;
        self.committed_seals = done.seals;
        self.announced.committed(done.seals);
        self.cleaned |= done.clean;
        if done.decides {
            self.engine.holders_changed();
        }
        if let Some(below) = done.logged {
            self.acknowledge(below);
        }
        self.carry_out(myself, done.effects).await;
        for arrival in done.starts {
            self.run(myself, arrival).await;
        }
        Ok(())
    }
}

/// Sends a commit until its fate is known: the same bytes under the same seq.
async fn send(
    store: &dyn ShardStore,
    shard: ShardId,
    fence: Fence,
    commit: Arc<Commit>,
) -> Result<Committed, StoreError> {
    let mut resends = 0;
    loop {
        match store.commit(shard, fence, commit.clone()).await {
            Err(error) if error.is_retryable() && resends < limits::COMMIT_RESENDS_MAX => {
                tracing::warn!(%shard, seq = fence.seq, %error, "the commit is sent again");
                resends += 1;
                tokio::time::sleep(limits::COMMIT_RESEND_AFTER).await;
            }
            other => return other,
        }
    }
}
