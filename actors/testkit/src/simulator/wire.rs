//! The wire between a process and what it stands on: latency, lost and late calls, and the life of
//! the process itself. A process that is dead hears nothing any more and changes nothing; what it
//! sent before may still arrive.

use super::Sim;
use super::plan::CallFaults;
use gristmill_actors::ports::StoreError;
use gristmill_actors::rail::BoxFuture;
use gristmill_workflows::id::ShardId;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::Notify;

/// Whether a process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// It does.
    Up,
    /// It lives, and nothing comes through for now.
    Cut,
    /// It ended.
    Dead,
}

/// One process: a node, or everybody's client.
#[derive(Debug)]
pub(super) struct Process {
    /// What the journal calls it.
    pub(super) name: String,
    /// The owner of its leases.
    pub(super) owner: u128,
    life: Mutex<Life>,
    /// Wakes waiters in the order they came, which a `watch` does not.
    revived: Notify,
}

impl Process {
    pub(super) fn new(name: String, owner: u128) -> Arc<Self> {
        let (life, revived) = (Mutex::new(Life::Up), Notify::new());
        Arc::new(Self { name, owner, life, revived })
    }

    pub(super) fn set(&self, life: Life) {
        let mut now = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        if *now != Life::Dead {
            *now = life;
        }
        drop(now);
        if life == Life::Up {
            self.revived.notify_waiters();
        }
    }

    fn life(&self) -> Life {
        *self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_dead(&self) -> bool {
        self.life() == Life::Dead
    }

    /// Waits while the process is cut off; never comes back in a dead one.
    pub(super) async fn gate(&self) {
        loop {
            let revived = self.revived.notified();
            match self.life() {
                Life::Up => return,
                Life::Cut => revived.await,
                Life::Dead => std::future::pending::<()>().await,
            }
        }
    }
}

/// One process' end of the wire.
#[derive(Clone)]
pub(super) struct Wire {
    pub(super) sim: Arc<Sim>,
    pub(super) process: Arc<Process>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Wire").field(&self.process.name).finish()
    }
}

/// A write, as often as it is applied.
pub(super) type Apply<T> = Arc<dyn Fn() -> Result<T, StoreError> + Send + Sync>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Pass,
    Failed,
    Persisted,
    Late,
    Doubled,
    Slow,
}

impl Wire {
    fn fate(&self, faults: CallFaults) -> Fate {
        if self.sim.is_calm() {
            return Fate::Pass;
        }
        let kinds = [
            (faults.failed, Fate::Failed, "store failed"),
            (faults.persisted, Fate::Persisted, "store failed but persisted"),
            (faults.late, Fate::Late, "store applied late"),
            (faults.doubled, Fate::Doubled, "store doubled"),
            (faults.slow, Fate::Slow, "store slow reply"),
        ];
        for (bp, fate, word) in kinds {
            if self.sim.chance.hits(bp) {
                self.sim.journal.fault(word);
                return fate;
            }
        }
        Fate::Pass
    }

    /// Half a round trip.
    pub(super) async fn travel(&self) {
        let ms = self.sim.chance.below(self.sim.plan.latency_ms + 1);
        if ms > 0 {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        self.process.gate().await;
    }

    /// A call that changes nothing.
    pub(super) async fn read<T>(
        &self,
        what: &'static str,
        read: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.process.gate().await;
        let fate = self.fate(self.sim.plan.store);
        self.travel().await;
        if fate == Fate::Failed {
            return Err(unavailable(what));
        }
        let answer = read();
        if fate == Fate::Slow {
            self.linger().await;
        }
        self.travel().await;
        match fate {
            Fate::Persisted | Fate::Late => Err(ambiguous(what)),
            _ => answer,
        }
    }

    /// A claim is a compare-and-set on what it saw: it is applied at once or never.
    pub(super) async fn claim<T: Send + 'static>(
        &self,
        shard: ShardId,
        apply: Apply<T>,
    ) -> Result<T, StoreError> {
        let faults = CallFaults { late: 0, doubled: 0, ..self.sim.plan.store };
        self.change("claim", Some(shard), faults, apply).await
    }

    /// A call that changes one shard, or nothing that belongs to a shard.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        what: &'static str,
        shard: Option<ShardId>,
        apply: Apply<T>,
    ) -> Result<T, StoreError> {
        self.change(what, shard, self.sim.plan.store, apply).await
    }

    async fn change<T: Send + 'static>(
        &self,
        what: &'static str,
        shard: Option<ShardId>,
        faults: CallFaults,
        apply: Apply<T>,
    ) -> Result<T, StoreError> {
        self.process.gate().await;
        let fate = self.fate(faults);
        self.travel().await;
        match fate {
            Fate::Failed => return Err(unavailable(what)),
            Fate::Late => {
                self.later(apply);
                self.travel().await;
                return Err(ambiguous(what));
            }
            Fate::Doubled => self.later(apply.clone()),
            Fate::Pass | Fate::Persisted | Fate::Slow => {}
        }
        let held = self.sim.disk.begin(&self.sim.store, shard);
        let answer = apply();
        if fate == Fate::Slow {
            self.linger().await;
        }
        self.travel().await;
        if !self.sim.disk.acknowledge(held) {
            return Err(ambiguous(what));
        }
        if fate == Fate::Persisted { Err(ambiguous(what)) } else { answer }
    }

    /// It arrives when nobody waits for it any more, whatever became of the process.
    fn later<T: Send + 'static>(&self, apply: Apply<T>) {
        let ms = self.sim.chance.between(1, 4_000);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            drop(apply());
        });
    }

    async fn linger(&self) {
        let ms = self.sim.chance.between(200, 6_000);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

fn unavailable(what: &str) -> StoreError {
    StoreError::Unavailable { detail: format!("simulated: {what}") }
}

fn ambiguous(what: &str) -> StoreError {
    StoreError::Ambiguous { detail: format!("simulated: {what}") }
}

/// The answer of a port in memory, which never waits.
pub(super) fn at_once<T>(mut future: BoxFuture<'_, T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match Pin::as_mut(&mut future).poll(&mut context) {
        Poll::Ready(answer) => answer,
        Poll::Pending => unreachable!("ports in memory answer at once"),
    }
}
