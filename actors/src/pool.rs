//! One stage's pool on one node: bounded concurrency, rate, and the circuit that opens when the
//! stage's downstream is down.
//!
//! Supervised by the node. Contribution actors send jobs; an attempt runs in a task of its own, so
//! that a panic or a hang of a stage harms nobody else. If the pool dies, its jobs' journeys are
//! still with their shards, which run them again.

mod rate;

pub(crate) use rate::Leases;

use crate::contribution::{self, ContributionMessage, tell};
use crate::limits;
use crate::metrics::StageMetrics;
use crate::registry::Registry;
use crate::stage::{AnyStage, Context, Fields};
use gristmill_workflows::definition::Effect;
use gristmill_workflows::policy::Policy;
use gristmill_workflows::request::{Failure, Outcome, Wait};
use ractor::{Actor, ActorProcessingErr, ActorRef, ActorStatus};
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;
use tokio::time::Instant;

/// The actor.
#[derive(Debug)]
pub struct StagePool;

/// One attempt to make.
pub struct Job {
    pub(crate) stage: Arc<dyn AnyStage>,
    pub(crate) cx: Context,
    pub(crate) fields: Arc<Fields>,
    pub(crate) timeout: Duration,
    /// When it was queued; when its attempt began.
    pub(crate) since: Instant,
    pub(crate) after: Option<contribution::After>,
    pub(crate) reply: ActorRef<ContributionMessage>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

/// What a pool is told.
#[derive(Debug)]
pub enum PoolMessage {
    /// Make an attempt when there is room.
    Run(Box<Job>),
    /// An attempt is over.
    Finished(Box<Job>, Outcome),
    /// Time to look again: a rate's next start, or a circuit's probe.
    Look,
    /// Starts were leased: from when on, and how many; or could not be.
    Leased(Option<(Instant, u64)>),
}

#[derive(Debug)]
enum Circuit {
    Closed,
    /// Nothing starts before `until`; then one probe at a time.
    Open {
        until: Instant,
        wait: Duration,
        probing: bool,
    },
}

/// What a pool keeps.
#[derive(Debug)]
pub struct PoolState {
    policy: Policy,
    waiting: VecDeque<Box<Job>>,
    running: usize,
    circuit: Circuit,
    rate: rate::Rate,
    looking: Option<Instant>,
    watched: Arc<StageMetrics>,
    /// Up to when waiting was counted, and what for since then.
    counted: Instant,
    held: Wait,
}

/// What it starts with.
#[derive(Debug)]
pub struct Arguments {
    pub(crate) stage: &'static str,
    pub(crate) policy: Policy,
    pub(crate) watched: Arc<StageMetrics>,
    /// Where the rate is leased, if other nodes share it.
    pub(crate) leases: Option<Leases>,
}

impl Actor for StagePool {
    type Msg = PoolMessage;
    type State = PoolState;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        _myself: ActorRef<Self::Msg>,
        arguments: Arguments,
    ) -> Result<PoolState, ActorProcessingErr> {
        let Arguments { stage, policy, watched, leases } = arguments;
        let rate = rate::Rate::new(stage, policy.rate_per_s, leases);
        let now = Instant::now();
        Ok(PoolState {
            policy,
            waiting: VecDeque::new(),
            running: 0,
            circuit: Circuit::Closed,
            rate,
            looking: None,
            watched,
            counted: now,
            held: Wait::Slots,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: PoolMessage,
        state: &mut PoolState,
    ) -> Result<(), ActorProcessingErr> {
        state.count_waiting();
        match message {
            PoolMessage::Run(job) => state.waiting.push_back(job),
            PoolMessage::Finished(job, outcome) => state.finished(job, outcome),
            PoolMessage::Look => state.looking = None,
            PoolMessage::Leased(slice) => state.rate.leased(slice),
        }
        state.start(&myself);
        Ok(())
    }
}

impl PoolState {
    /// Time passed for everything that waits here.
    fn count_waiting(&mut self) {
        let now = Instant::now();
        let passed = now.duration_since(std::mem::replace(&mut self.counted, now));
        if !self.waiting.is_empty() {
            self.watched.waited(self.held, passed.mul_f64(self.waiting.len() as f64));
        }
    }

    fn finished(&mut self, mut job: Box<Job>, outcome: Outcome) {
        self.running -= 1;
        self.watched.attempted(job.since.elapsed(), &outcome);
        if let Outcome::Failed(Failure::Unavailable { after_ms, .. }) = &outcome {
            self.open(*after_ms);
            job.since = Instant::now();
            self.waiting.push_front(job);
            return;
        }
        if !matches!(self.circuit, Circuit::Closed) {
            self.circuit = Circuit::Closed;
            self.watched.circuit(false);
        }
        // What the attempt held of the journey is let go of before its actor goes on.
        let reply = job.reply.clone();
        drop(job);
        tell(&reply, ContributionMessage::Ran(outcome));
    }

    /// The downstream is down: the attempt is given back. A downstream that says when to come again
    /// is taken at its word; otherwise the wait for a probe doubles.
    fn open(&mut self, after_ms: Option<u64>) {
        let asked = after_ms.map(Duration::from_millis);
        let asked = asked.map(|asked| asked.clamp(limits::PROBE_AFTER, limits::PROBE_ASKED_MAX));
        let doubled = match &self.circuit {
            Circuit::Closed => limits::PROBE_AFTER,
            Circuit::Open { wait, probing: true, .. } => (*wait * 2).min(limits::PROBE_AFTER_MAX),
            Circuit::Open { .. } => return,
        };
        let wait = asked.unwrap_or(doubled);
        self.circuit = Circuit::Open { until: Instant::now() + wait, wait, probing: false };
        self.watched.circuit(true);
    }

    fn start(&mut self, myself: &ActorRef<PoolMessage>) {
        while !self.waiting.is_empty() && self.running < self.policy.concurrency as usize {
            if self.forget_left_behind() || self.give_back_paused() {
                continue;
            }
            let now = Instant::now();
            let closed = matches!(self.circuit, Circuit::Closed);
            self.held = if closed { Wait::Rate } else { Wait::Circuit };
            let Some(rate) = self.rate.next(self.waiting.len(), now, myself) else { return };
            if let Some(until) = self.not_before(rate, now) {
                self.look_at(until, myself);
                return;
            }
            if let Circuit::Open { probing, .. } = &mut self.circuit {
                if *probing {
                    return;
                }
                *probing = true;
            }
            self.rate.started(now);
            let Some(mut job) = self.waiting.pop_front() else { return };
            self.watched.began(now.duration_since(job.since));
            job.since = now;
            self.running += 1;
            spawn(job, myself.clone());
        }
        self.held = Wait::Slots;
    }

    /// The next job's actor is gone, as all of a shard are that lost its memory: what its journey needs
    /// comes again. True if it was.
    fn forget_left_behind(&mut self) -> bool {
        let next = self.waiting.front();
        let gone = next.is_some_and(|job| job.reply.get_status() >= ActorStatus::Stopping);
        if gone {
            self.waiting.pop_front();
        }
        gone
    }

    /// The next job's stage was paused since it was sent: its journey parks. True if it was.
    fn give_back_paused(&mut self) -> bool {
        let paused = self.waiting.front().is_some_and(|job| {
            job.after.as_ref().is_some_and(|after| after.is_paused(job.cx.stage))
        });
        let job = if paused { self.waiting.pop_front() } else { None };
        if let Some(job) = job {
            let until = job.cx.now.plus_ms(limits::STAGE_PAUSED_LOOK_MS);
            let waits = Outcome::Wait(Wait::StagePaused, until);
            tell(&job.reply, ContributionMessage::Ran(waits));
        }
        paused
    }

    fn not_before(&self, rate: Instant, now: Instant) -> Option<Instant> {
        let circuit = match &self.circuit {
            Circuit::Closed => now,
            Circuit::Open { until, .. } => *until,
        };
        Some(circuit.max(rate)).filter(|until| *until > now)
    }

    fn look_at(&mut self, until: Instant, myself: &ActorRef<PoolMessage>) {
        if self.looking.is_some_and(|at| at <= until) {
            return;
        }
        self.looking = Some(until);
        let myself = myself.clone();
        tokio::spawn(async move {
            tokio::time::sleep_until(until).await;
            tell(&myself, PoolMessage::Look);
        });
    }
}

/// Every stage that runs in a pool, with the most generous policy of the workflows that use it.
pub(crate) fn policies(registry: &Registry) -> BTreeMap<&'static str, Policy> {
    let mut pooled: BTreeMap<&'static str, Policy> = BTreeMap::new();
    for stage in registry.workflows().flat_map(|definition| &definition.stages) {
        if stage.signature.effect == Effect::Pure {
            continue;
        }
        let policy = pooled.entry(stage.signature.name).or_insert_with(|| stage.policy.clone());
        policy.concurrency = policy.concurrency.max(stage.policy.concurrency);
        policy.rate_per_s = policy.rate_per_s.max(stage.policy.rate_per_s);
    }
    pooled
}

/// Runs one attempt in a task of its own.
fn spawn(job: Box<Job>, pool: ActorRef<PoolMessage>) {
    tokio::spawn(async move {
        let outcome = attempt(&job).await;
        tell(&pool, PoolMessage::Finished(job, outcome));
    });
}

/// A panic of the stage is an outcome here.
async fn attempt(job: &Job) -> Outcome {
    let run = async {
        let outcome = job.stage.run(&job.cx, &job.fields).await;
        match &job.after {
            Some(after) => after.settle(outcome, &job.cx).await,
            None => outcome,
        }
    };
    match tokio::time::timeout(job.timeout, caught(run)).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => {
            let detail = contribution::panic_message(&*panic);
            Outcome::Failed(Failure::Panic { detail })
        }
        Err(_) => Outcome::Failed(Failure::Timeout),
    }
}

/// What a future comes to, or what it panicked with; it is not polled again after that.
async fn caught<T>(future: impl Future<Output = T>) -> thread::Result<T> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        polled.map_or_else(|panic| Poll::Ready(Err(panic)), |polled| polled.map(Ok))
    })
    .await
}
