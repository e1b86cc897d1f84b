//! The actor of one shard: inbox reader, admission permits, timers, group commit, and supervisor
//! of the contribution actors in flight.
//!
//! It feeds the pure [`machine`](gristmill_workflows::shard::Shard) and carries out its effects,
//! never before their commit. One commit is under way at a time; what is decided meanwhile rides in
//! the next. If its memory can no longer be trusted (a commit failed, was fenced, or broke on a
//! withdrawal it had not seen), it ends with an error, and the node starts it again: a new epoch,
//! memory rebuilt from the store, nothing acknowledged lost.

mod admission;
mod announced;
mod chain;
mod children;
mod commits;
mod desk;
mod effects;
mod expiry;
mod load;
mod paused;
mod timers;

use crate::contribution::{Child, ContributionMessage, tell};
use crate::engine::Engine;
use crate::limits;
use crate::ports::{Committed, StoreError};
use crate::survey::{self, Tally};
use crate::trace_log;
use gristmill_workflows::codec;
use gristmill_workflows::definition::WorkflowRef;
use gristmill_workflows::id::{Arrival, ContributorKey, ShardId};
use gristmill_workflows::invariant::Breach;
use gristmill_workflows::sequencer::Answer;
use gristmill_workflows::shard::{Proposal, Shard};
use gristmill_workflows::teeth::{Tooth, bites};
use gristmill_workflows::time::Timestamp;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::{oneshot, watch};

use commits::Settle;

pub(crate) use admission::Fetched;
pub(crate) use desk::{Desk, Read};

/// The actor.
#[derive(Debug)]
pub struct ShardActor;

/// What it is told.
#[derive(Debug)]
pub enum ShardMessage {
    /// Its inbox has grown, up to this arrival number if that is known.
    InboxGrew(Option<Arrival>),
    /// Inbox items and what belongs to them were read.
    Fetched(Box<Result<Fetched, Error>>),
    /// A contribution's actor proposes.
    Proposed(Arrival, Box<Proposal>),
    /// The commit that was under way came back.
    Committed(Result<Committed, StoreError>),
    /// The log's answer to an offer of `count` entries from `from` on.
    Sequenced {
        /// First outbox position.
        from: u64,
        /// How many.
        count: u64,
        /// Where they stand.
        answer: Answer,
    },
    /// Rows of standing journeys were read.
    Read(Box<Result<Read, Error>>),
    /// Data keys were destroyed, with what they encrypt.
    Erased(Vec<u64>),
    /// They were not, or nobody knows.
    NotErased(Vec<u64>),
    /// What was decided and nobody waits for is to be committed, unless a commit came since this
    /// one.
    Settle(u64),
    /// A holder of content that stood was decided or goes on.
    HoldersChanged,
    /// Stages were paused or let go on.
    PausesChanged,
    /// A timer that was set for this moment is due.
    Timer(Timestamp),
    /// Transfers to other shards were delivered, or given up for now.
    Posted,
    /// The safety net.
    Sweep,
    /// Somebody takes consent back, and the item is not in the inbox yet. The answer comes when it may
    /// go there.
    Announced {
        /// Whose.
        key: ContributorKey,
        /// What was accepted before is durable.
        reply: oneshot::Sender<()>,
    },
    /// What was announced is in the inbox, or nobody knows.
    Withdrawn {
        /// Whose.
        key: ContributorKey,
        /// Its arrival number.
        arrived: Option<Arrival>,
    },
    /// Where does it stand, after everything it was told before this.
    Look(RpcReplyPort<ShardStatus>),
    /// What is in its memory.
    Tally(RpcReplyPort<Box<Tally>>),
    /// End in order: no more admissions, what is decided is committed, then stop.
    Drain,
}

/// Where a shard stands, for whoever waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShardStatus {
    /// Its memory was built.
    pub loaded: bool,
    /// Nothing moves, nothing waits to be read, committed, logged or erased.
    pub at_rest: bool,
    /// Journeys in memory.
    pub moving: usize,
    /// Journeys that ever settled in this shard.
    pub settled: u64,
    /// Journeys that ever were rejected or withdrawn before acceptance.
    pub refused: u64,
    /// Rises with every commit.
    pub commits: u64,
    /// When the next standing journey goes on by itself.
    pub next_due: Option<Timestamp>,
    /// Drained and stopped in order.
    pub drained: bool,
}

/// Why a shard's memory can no longer be trusted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row does not decode or encode.
    #[error(transparent)]
    Codec(#[from] codec::Error),
    /// What was decided would break an invariant; nothing of it was committed.
    #[error(transparent)]
    Breach(#[from] Breach),
    /// A commit relied on a grant that was withdrawn meanwhile.
    #[error("a grant was withdrawn while its acceptance was on its way")]
    Broken,
    /// The log does not take what the shard offers.
    #[error("the log answered {0:?}")]
    Log(Answer),
    /// The log could not say what it has of the shard's outbox.
    #[error(transparent)]
    Trace(#[from] trace_log::Error),
    /// The log's role is gone.
    #[error("nobody answers for the log")]
    NoLog,
    /// A journey runs on a workflow that other nodes have and this one has not.
    #[error("a journey runs on version {} of the workflow {} that this node lacks", .0.version, .0.name)]
    Lacks(WorkflowRef),
}

impl Error {
    /// The word for it in metrics.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Store(StoreError::Fenced { .. }) => "fenced",
            Self::Codec(codec::Error::Newer { .. }) => "newer",
            Self::Store(_) | Self::Codec(_) => "store",
            Self::Breach(_) => "invariant",
            Self::Broken => "withdrawal",
            Self::Log(_) | Self::Trace(_) | Self::NoLog => "log",
            Self::Lacks(_) => "newer",
        }
    }

    /// Whether the shard holds what only a newer binary, or another configuration, understands.
    pub(crate) const fn is_beyond_this_node(&self) -> bool {
        matches!(self, Self::Lacks(_) | Self::Codec(codec::Error::Newer { .. }))
    }
}

/// What it starts with.
#[derive(Debug)]
pub struct Arguments {
    /// Which shard.
    pub shard: ShardId,
    /// The owner's incarnation.
    pub owner: u128,
    /// Journeys in flight at the most.
    pub window: usize,
    /// Shared by the node.
    pub engine: Arc<Engine>,
    /// Where its status is shown.
    pub status: watch::Sender<ShardStatus>,
    /// This process had the shard, counted what it found admitted, and lost its memory for no fault
    /// of a journey.
    pub kept: Arc<AtomicBool>,
}

/// What it keeps.
#[derive(Debug)]
pub struct State {
    engine: Arc<Engine>,
    machine: Shard,
    id: ShardId,
    owner: u128,
    epoch: u64,
    window: usize,
    shown: watch::Sender<ShardStatus>,
    started: Timestamp,
    /// Since when nobody drove what moves in it, if that was another node last.
    unowned: Option<Timestamp>,
    draining: bool,
    /// The clean end is durable.
    cleaned: bool,
    // Commits.
    seq: u64,
    in_flight: Option<commits::InFlight>,
    settle: commits::Settle,
    committed_seals: u64,
    starts: Vec<Arrival>,
    // Admission.
    fetching: bool,
    /// The control lane may hold something new.
    control_grew: bool,
    /// The intake lane may hold something that is not let in.
    intake_grew: bool,
    /// Everything up to this arrival number was read, or a lane is known to hold more.
    seen: Arrival,
    /// While a read was under way: the inbox grew up to here.
    told: Arrival,
    /// What was found admitted at the start of this life is counted, durably.
    counted: bool,
    /// The next commit notes who was let in.
    note_due: bool,
    cursors: admission::Cursors,
    admitted: BTreeMap<Arrival, u8>,
    suspects: VecDeque<(Arrival, u8)>,
    alone: Option<Arrival>,
    // Children.
    children: BTreeMap<Arrival, Child>,
    cells: HashMap<ActorId, Arrival>,
    // Standing journeys.
    timers: timers::Timers,
    /// Where to look on for journeys that wait at a paused stage, if any may.
    paused_from: Option<Option<Arrival>>,
    desk: VecDeque<Desk>,
    /// The open draft decides journeys that stood.
    decides: bool,
    at_desk: Option<Desk>,
    reads: desk::Reads,
    announced: announced::Announced,
    // The outside.
    offered: usize,
    /// Rows that stand at another position in the log than here.
    moved: BTreeMap<u64, u64>,
    posting: Arc<AtomicUsize>,
    erasing: usize,
    /// What the sweep tries to erase again.
    erase_again: Vec<u64>,
    expiry: expiry::Expiry,
    /// Set once the counts of this life are durable.
    kept: Arc<AtomicBool>,
}

impl Actor for ShardActor {
    type Msg = ShardMessage;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        arguments: Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let state = load::load(&myself, arguments).await?;
        Ok(state)
    }

    async fn post_start(
        &self,
        myself: ActorRef<Self::Msg>,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        sweep_later(&myself);
        state.go_on(&myself).await?;
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: ShardMessage,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ShardMessage::InboxGrew(arrived) => state.inbox_grew(arrived),
            ShardMessage::Fetched(fetched) => state.on_fetched(&myself, *fetched).await?,
            ShardMessage::Proposed(arrival, proposal) => state.on_proposed(arrival, proposal),
            ShardMessage::Committed(result) => state.on_committed(&myself, result).await?,
            ShardMessage::Sequenced { from, count, answer } => {
                state.on_sequenced(&myself, from, count, answer).await?;
            }
            ShardMessage::Read(read) => state.on_read(*read)?,
            ShardMessage::Erased(slots) => state.on_erased(&slots),
            ShardMessage::NotErased(slots) => state.on_not_erased(slots),
            ShardMessage::Settle(seq) if seq == state.seq => state.settle = Settle::Now,
            ShardMessage::Settle(_) => {}
            ShardMessage::HoldersChanged => state.look_at_claims(),
            ShardMessage::PausesChanged => state.on_pauses_changed(),
            ShardMessage::Announced { key, reply } => state.on_announced(key, reply),
            ShardMessage::Withdrawn { key, arrived } => state.on_withdrawn(key, arrived),
            ShardMessage::Timer(set) => state.on_timer(set),
            ShardMessage::Posted => {}
            ShardMessage::Sweep => state.on_sweep(&myself),
            ShardMessage::Look(reply) => {
                state.settle = Settle::Now;
                let status = state.status();
                if reply.send(status).is_err() {
                    tracing::trace!("nobody looks any more");
                }
            }
            ShardMessage::Tally(reply) => {
                if reply.send(state.tally()).is_err() {
                    tracing::trace!("nobody counts any more");
                }
            }
            ShardMessage::Drain => state.on_drain(),
        }
        state.go_on(&myself).await?;
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(cell, error) = event {
            state.on_child_failed(cell.get_id(), &error.to_string());
            state.go_on(&myself).await?;
        }
        Ok(())
    }
}

impl State {
    /// After every message: commit what was decided, read what may be let in, tell who waits.
    async fn go_on(&mut self, myself: &ActorRef<ShardMessage>) -> Result<(), Error> {
        self.look_at_paused();
        self.look_further();
        self.start_desk(myself);
        self.start_commit(myself)?;
        if bites(Tooth::EffectBeforeCommit)
            && let Some(in_flight) = &mut self.in_flight
        {
            let effects = in_flight.take_effects();
            self.carry_out(myself, effects).await;
        }
        self.start_fetch(myself);
        self.set_timer(myself);
        self.show(myself);
        Ok(())
    }

    fn now(&mut self) -> Timestamp {
        let clock = self.engine.ports.clock.now();
        self.machine.now(clock)
    }

    fn random(&self) -> u64 {
        self.engine.ports.clock.random()
    }

    fn on_proposed(&mut self, arrival: Arrival, proposal: Box<Proposal>) {
        let Some(proposal) = self.hold(arrival, proposal) else { return };
        let (now, random) = (self.now(), self.random());
        self.machine.propose(arrival, *proposal, now, random);
    }

    async fn on_sequenced(
        &mut self,
        myself: &ActorRef<ShardMessage>,
        from: u64,
        count: u64,
        answer: Answer,
    ) -> Result<(), Error> {
        self.offered = self.offered.saturating_sub(1);
        let from = self.moved.remove(&from).unwrap_or(from);
        let Answer::At(first) = answer else { return Err(Error::Log(answer)) };
        let indices: Vec<u64> = (first..first + count).collect();
        let now = self.now();
        self.machine.sequenced(from, &indices, now)?;
        for arrival in self.machine.take_ready() {
            self.run(myself, arrival).await;
        }
        Ok(())
    }

    fn on_erased(&mut self, slots: &[u64]) {
        self.erasing = self.erasing.saturating_sub(slots.len());
        for slot in slots {
            self.machine.erased(*slot);
        }
    }

    fn on_not_erased(&mut self, slots: Vec<u64>) {
        self.erasing = self.erasing.saturating_sub(slots.len());
        self.erase_again.extend(slots);
    }

    fn on_sweep(&mut self, myself: &ActorRef<ShardMessage>) {
        self.inbox_grew(None);
        self.machine.repeat_unanswered();
        self.look_ahead(0);
        self.expire_later();
        let again = std::mem::take(&mut self.erase_again);
        if !again.is_empty() {
            self.erase(myself, again);
        }
        sweep_later(myself);
    }

    fn on_drain(&mut self) {
        self.draining = true;
        self.desk.retain(|desk| !matches!(desk, Desk::Horizon { .. } | Desk::Expire { .. }));
        let children: Vec<Arrival> = self.children.keys().copied().collect();
        for arrival in children {
            self.let_go(arrival);
        }
    }

    /// Shows the status; a drained shard stops.
    fn show(&mut self, myself: &ActorRef<ShardMessage>) {
        let status = self.status();
        self.shown.send_if_modified(|shown| std::mem::replace(shown, status) != status);
        if status.drained {
            myself.stop(None);
        }
    }

    fn tally(&self) -> Box<Tally> {
        let state = self.machine.state();
        let (finished, ledger) = (state.finished.clone(), state.ledger.clone());
        let moving =
            self.machine.in_memory().map(|(journey, in_inbox, for_budget)| survey::Moving {
                workflow: journey.workflow.clone(),
                stage: journey.stage,
                since: journey.since,
                in_inbox,
                wait: survey::wait_of(journey, for_budget),
            });
        Box::new(Tally { finished, ledger, moving: moving.collect() })
    }

    fn status(&self) -> ShardStatus {
        let quiet = self.in_flight.is_none()
            && !self.machine.is_dirty()
            && self.at_desk.is_none()
            && self.erasing == 0;
        let posting = self.posting.load(Ordering::Acquire);
        let at_rest = quiet
            && self.machine.moving() == 0
            && self.offered == 0
            && posting == 0
            && !self.fetching
            && !self.control_grew
            && !self.intake_grew
            && self.erase_again.is_empty()
            && self.desk.is_empty()
            && self.suspects.is_empty();
        let finished = &self.machine.state().finished;
        let settled = finished.get("settled").copied().unwrap_or(0);
        ShardStatus {
            loaded: true,
            at_rest,
            moving: self.machine.moving(),
            settled,
            refused: finished.values().sum::<u64>() - settled,
            commits: self.seq,
            next_due: self.timers.first(),
            drained: self.draining && quiet && self.cleaned,
        }
    }
}

fn sweep_later(myself: &ActorRef<ShardMessage>) {
    let myself = myself.clone();
    tokio::spawn(async move {
        tokio::time::sleep(limits::SWEEP_EVERY).await;
        tell(&myself, ShardMessage::Sweep);
    });
}

/// Stops a contribution's actor.
fn stop(actor: &ActorRef<ContributionMessage>) {
    actor.stop(None);
}
