//! The actor of one moving contribution.
//!
//! It runs the stages from where its journey stands and proposes what they came to. Its supervisor
//! is its shard; messages in: go on, an attempt is over; messages out: proposals. It keeps nothing
//! that matters: if it dies, the shard starts another from the last commit.

use crate::claims::Claims;
use crate::engine::Engine;
use crate::limits;
use crate::pool::{Job, PoolMessage};
use crate::shard::ShardMessage;
use crate::stage::{AnyStage, Context, Fields};
use gristmill_workflows::contributor::Contributor;
use gristmill_workflows::definition::{Definition, Effect};
use gristmill_workflows::id::Arrival;
use gristmill_workflows::journey::Journey;
use gristmill_workflows::request::{Failure, Outcome, Reason, Request, Wait};
use gristmill_workflows::shard::Proposal;
use gristmill_workflows::time::Timestamp;
use ractor::{Actor, ActorProcessingErr, ActorRef, Message};
use serde_json::Value;
use std::any::Any;
use std::sync::Arc;
use tokio::time::Instant;

/// The actor.
#[derive(Debug)]
pub struct Contribution;

/// What it is told.
#[derive(Debug)]
pub enum ContributionMessage {
    /// Go on from where the journey stands.
    Go(Box<Standing>),
    /// The pool's attempt is over.
    Ran(Outcome),
}

/// Where a journey stands, and what its stages may know.
#[derive(Debug)]
pub struct Standing {
    pub(crate) journey: Arc<Journey>,
    pub(crate) contributor: Arc<Contributor>,
    pub(crate) now: Timestamp,
    /// The fixed payout was released in this life of the shard, for the first attempt.
    pub(crate) fresh: bool,
}

/// What it starts with.
#[derive(Debug)]
pub struct Arguments {
    pub(crate) engine: Arc<Engine>,
    pub(crate) shard: ActorRef<ShardMessage>,
    pub(crate) standing: Box<Standing>,
}

/// What it keeps.
#[derive(Debug)]
pub struct State {
    engine: Arc<Engine>,
    shard: ActorRef<ShardMessage>,
    arrival: Arrival,
    /// The stage that the journey stood at.
    decided: u8,
    /// Let go of with every proposal: what is decided then changes the journey where it is.
    standing: Option<Box<Standing>>,
    fields: Arc<Fields>,
    /// How many outputs the fields were made of.
    merged: usize,
    outputs: Vec<(u8, Vec<u8>)>,
    requests: Vec<(u8, Request)>,
    stage: u8,
}

/// What has to follow a stage's own attempt within the same attempt: claims of content, which
/// span shards.
#[derive(Debug, Clone)]
pub struct After(Arc<Engine>);

impl After {
    /// Whether an operator paused a stage since its attempt was asked for.
    pub(crate) fn is_paused(&self, stage: &str) -> bool {
        self.0.pauses.holds(stage)
    }

    pub(crate) async fn settle(&self, outcome: Outcome, cx: &Context) -> Outcome {
        let Outcome::Done { requests, .. } = &outcome else { return outcome };
        if !requests.contains(&Request::Claim) {
            return outcome;
        }
        let refused = Claims::new(&self.0).settle(cx).await;
        refused.unwrap_or(outcome)
    }
}

impl Actor for Contribution {
    type Msg = ContributionMessage;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        _myself: ActorRef<Self::Msg>,
        arguments: Arguments,
    ) -> Result<State, ActorProcessingErr> {
        Ok(State::new(arguments))
    }

    /// Begins where the journey stood when the actor was made.
    async fn post_start(
        &self,
        myself: ActorRef<Self::Msg>,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        state.drive(&myself).await;
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: ContributionMessage,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ContributionMessage::Go(standing) => state.stand(standing),
            ContributionMessage::Ran(outcome) => {
                if !state.take(outcome) {
                    return Ok(());
                }
            }
        }
        state.drive(&myself).await;
        Ok(())
    }
}

impl State {
    fn new(arguments: Arguments) -> Self {
        let Arguments { engine, shard, standing } = arguments;
        Self {
            fields: Arc::new(fields_of(&standing)),
            merged: standing.journey.outputs.len(),
            stage: standing.journey.stage,
            outputs: Vec::new(),
            requests: Vec::new(),
            arrival: standing.journey.arrival,
            decided: standing.journey.stage,
            engine,
            shard,
            standing: Some(standing),
        }
    }

    fn stand(&mut self, standing: Box<Standing>) {
        // Outputs are only added, and by this actor's own proposals while it lives.
        let committed = standing.journey.outputs.len();
        if std::mem::replace(&mut self.merged, committed) != committed {
            self.fields = Arc::new(fields_of(&standing));
        }
        self.outputs.clear();
        self.requests.clear();
        self.stage = standing.journey.stage;
        self.decided = self.stage;
        self.standing = Some(standing);
    }

    /// Runs stages until one needs the pool, the shard, or the end.
    async fn drive(&mut self, myself: &ActorRef<ContributionMessage>) {
        let engine = self.engine.clone();
        let Some(standing) = &self.standing else { return };
        let (pin, now) = (&standing.journey.workflow, standing.now);
        let known = (engine.world.workflows.get(pin), engine.stages.get(pin));
        let (Some(definition), Some(stages)) = known else {
            // Another node took it in, so that one has the program: nobody may be refused for that.
            let closed = !engine.shares
                && !engine.world.programs.contains_key(&standing.journey.submission.program);
            if !closed {
                let detail =
                    "this node lacks the program or this version of the workflow".to_owned();
                return self.fail(Failure::Permanent { detail });
            }
            let reason = Reason::known("program_closed");
            return self.propose(Proposal::Reject { stage: self.stage, reason });
        };
        let watched = engine.metrics.stages_of(pin);
        loop {
            let at = usize::from(self.stage);
            let (Some(stage), Some(about)) = (stages.get(at), definition.stages.get(at)) else {
                return self.advance(definition.end());
            };
            let undecided = self.stage != self.decided;
            let keyed = about.signature.effect == Effect::Keyed;
            if undecided && (keyed || self.durable(definition)) {
                let prepared = if keyed { stage.prepare() } else { Vec::new() };
                self.requests.extend(prepared.into_iter().map(|request| (self.stage, request)));
                return self.advance(self.stage);
            }
            if engine.pauses.holds(about.signature.name) {
                let until = now.plus_ms(limits::STAGE_PAUSED_LOOK_MS);
                return self.park(Wait::StagePaused, Some(until), None);
            }
            let Some(cx) = self.context(about.signature.name) else { return };
            if about.signature.effect != Effect::Pure {
                return self.send_to_pool(myself, stage, cx, about.policy.timeout());
            }
            let began = Instant::now();
            let run = stage.run(&cx, &self.fields);
            let outcome = tokio::time::timeout(about.policy.timeout(), run).await;
            let outcome = outcome.unwrap_or(Outcome::Failed(Failure::Timeout));
            drop(cx);
            if let Some(watched) = watched.get(at) {
                watched.attempted(began.elapsed(), &outcome);
            }
            if !self.take(outcome) {
                return;
            }
        }
    }

    /// Whether the stage before this one asks for a commit of its own.
    fn durable(&self, definition: &Definition) -> bool {
        let before = self.stage.checked_sub(1).and_then(|before| definition.stage(before));
        before.is_some_and(|stage| stage.policy.durable)
    }

    fn context(&self, stage: &'static str) -> Option<Context> {
        let standing = self.standing.as_ref()?;
        Some(Context {
            journey: standing.journey.clone(),
            contributor: standing.contributor.clone(),
            world: self.engine.world.clone(),
            stage,
            now: standing.now,
            fresh: Arc::new(standing.fresh.into()),
        })
    }

    fn send_to_pool(
        &mut self,
        myself: &ActorRef<ContributionMessage>,
        stage: &Arc<dyn AnyStage>,
        cx: Context,
        timeout: std::time::Duration,
    ) {
        let name = stage.signature().name;
        let job = Job {
            stage: stage.clone(),
            cx,
            fields: self.fields.clone(),
            timeout,
            since: Instant::now(),
            after: Some(After(self.engine.clone())),
            reply: myself.clone(),
        };
        match self.engine.pools.get().and_then(|pools| pools.get(name)) {
            Some(pool) => tell(pool, PoolMessage::Run(Box::new(job))),
            None => {
                let detail = "the stage has no pool on this node".to_owned();
                self.fail(Failure::Permanent { detail });
            }
        }
    }

    /// Takes an outcome in; true if the next stage is due.
    fn take(&mut self, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Done { output, requests } => {
                self.requests.extend(requests.into_iter().map(|request| (self.stage, request)));
                if output != b"{}" {
                    merge(Arc::make_mut(&mut self.fields), &output);
                    self.merged += 1;
                    self.outputs.push((self.stage, output));
                }
                self.stage += 1;
                return true;
            }
            Outcome::Reject(reason) => {
                self.propose(Proposal::Reject { stage: self.stage, reason });
            }
            Outcome::ParkUntil(until) => self.park(Wait::Timer, Some(until), None),
            Outcome::ParkForSignal(name) => self.park(Wait::Signal, None, Some(name)),
            Outcome::Wait(wait, until) => self.park(wait, Some(until), None),
            Outcome::Failed(failure) => self.fail(failure),
        }
        false
    }

    fn advance(&mut self, next: u8) {
        let outputs = std::mem::take(&mut self.outputs);
        let requests = std::mem::take(&mut self.requests);
        self.propose(Proposal::Advance { outputs, requests, next });
    }

    fn park(&mut self, wait: Wait, until: Option<Timestamp>, signal: Option<String>) {
        self.stop_at(Proposal::Park { stage: self.stage, wait, until, signal });
    }

    fn fail(&mut self, failure: Failure) {
        self.stop_at(Proposal::Failed { stage: self.stage, failure });
    }

    /// The journey will go on at this stage, so what the stages before it came to goes along.
    fn stop_at(&mut self, proposal: Proposal) {
        if self.stage == self.decided {
            return self.propose(proposal);
        }
        let outputs = std::mem::take(&mut self.outputs);
        let requests = std::mem::take(&mut self.requests);
        self.propose(Proposal::After { outputs, requests, then: Box::new(proposal) });
    }

    fn propose(&mut self, proposal: Proposal) {
        self.standing = None;
        tell(&self.shard, ShardMessage::Proposed(self.arrival, Box::new(proposal)));
    }
}

fn fields_of(standing: &Standing) -> Fields {
    let mut fields = Fields::new();
    for (_, output) in &standing.journey.outputs {
        merge(&mut fields, output);
    }
    fields
}

fn merge(fields: &mut Fields, output: &[u8]) {
    if let Ok(Value::Object(output)) = serde_json::from_slice(output) {
        fields.extend(output);
    }
}

/// Sends to an actor of this node. A receiver that is gone has lost its memory on purpose: what
/// was meant for it is decided again from the store.
pub(crate) fn tell<M: Message>(actor: &ActorRef<M>, message: M) {
    if actor.send_message(message).is_err() {
        tracing::trace!(actor = %actor.get_id(), "the receiver is gone");
    }
}

/// The message of a panic.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".to_owned())
}

/// Which journey an actor drives; for its shard's books.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) actor: ActorRef<ContributionMessage>,
}
