//! The role that sequences and publishes the public log on this node.
//!
//! Supervised by the node. Shards offer outbox rows; everything that waits is sequenced in one
//! object, and the answers leave when that object is durable. Publishing follows at its own pace,
//! beside sequencing. If the role dies, `sequenced/` holds the truth, and shards offer again what was not answered.

mod committed;

use crate::contribution::tell;
use crate::engine::Engine;
use crate::limits;
use crate::membership::Holdings;
use crate::shard::ShardMessage;
use crate::trace_log::{self, TraceLog, Written};
use gristmill_workflows::id::ShardId;
use gristmill_workflows::sequencer::{Answer, Offer, Sequencer};
use gristmill_workflows::shard::Found;
use gristmill_workflows::time::Timestamp;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

/// The actor.
#[derive(Debug)]
pub struct TraceRole;

/// What the role is told.
#[derive(Debug)]
pub enum LogMessage {
    /// A shard offers an outbox row.
    Offer(Offer, ActorRef<ShardMessage>),
    /// A shard's new owner asks what the log has of its outbox.
    Above(Asked),
    /// A shard has committed the indices of everything below a position.
    Acknowledge(ShardId, u64),
    /// The log is back from sequencing.
    Worked(Box<Work>),
    /// Offers that waited for company have waited.
    Sequence,
    /// Time to publish.
    Publish,
    /// What the shards of a shared log have committed, if that could be read.
    Committed(Option<BTreeMap<ShardId, u64>>),
    /// The node ends: publish whatever was sequenced, whosever turn it is, and say so.
    Close(oneshot::Sender<()>),
    /// A shared log is back from looking at what others wrote.
    Refreshed(Box<Refreshed>),
    /// A publication was written, or failed.
    Published(Box<Result<Written, trace_log::Error>>),
}

/// Whom to answer for an offer.
#[derive(Debug)]
struct Asker {
    shard: ActorRef<ShardMessage>,
    from: u64,
    count: u64,
}

/// The log, what it answered, and who waits for it.
pub struct Work {
    log: TraceLog,
    askers: Vec<Asker>,
    answers: Result<Vec<Answer>, trace_log::Error>,
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Work")
    }
}

/// How far the log has come, for whoever waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogSizes {
    /// Entries with an index.
    pub sequenced: u64,
    /// Entries under the published checkpoint.
    pub published: u64,
}

/// What it starts with.
pub struct Arguments {
    /// The opened log.
    pub log: TraceLog,
    /// Where its sizes are shown.
    pub sizes: watch::Sender<LogSizes>,
    /// Among other nodes: whether this one publishes. Each sequences what its own shards offer.
    pub holdings: Option<watch::Receiver<Holdings>>,
    /// Shared by the node.
    pub engine: Arc<Engine>,
}

/// A shared log, after a look at what others wrote.
pub struct Refreshed {
    log: TraceLog,
    looked: Result<(), trace_log::Error>,
    publishes: bool,
}

impl std::fmt::Debug for Refreshed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Refreshed")
    }
}

impl std::fmt::Debug for Arguments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Arguments")
    }
}

/// What a shard's owner asks the log before it decides anything.
#[derive(Debug)]
pub struct Asked {
    /// Which shard.
    pub shard: ShardId,
    /// Under which epoch.
    pub epoch: u64,
    /// What waits in its outbox, by position.
    pub rows: Vec<(u64, Vec<Vec<u8>>)>,
    /// Its next position.
    pub next: u64,
    /// What the log has of it ([`TraceLog::above`]).
    pub reply: oneshot::Sender<Result<Vec<Found>, trace_log::Error>>,
}

/// What it keeps.
#[derive(Debug)]
pub struct State {
    log: Option<TraceLog>,
    waiting: Vec<Offer>,
    /// One for each offer that waits.
    askers: Vec<Asker>,
    acknowledged: Vec<(ShardId, u64)>,
    /// Who asks what the log has.
    asked: Vec<Asked>,
    /// When the last offers were taken, and how many.
    took: Option<(Instant, usize)>,
    /// Offers wait for company.
    sequence_set: bool,
    publish_due: bool,
    /// A publication is being written.
    publishing: bool,
    /// It is written, and the log is out.
    written: Option<Result<Written, trace_log::Error>>,
    publish_set: bool,
    sizes: watch::Sender<LogSizes>,
    holdings: Option<watch::Receiver<Holdings>>,
    /// A shared log is to be looked at, and published if that falls to this node.
    refresh_due: bool,
    /// What it published last time it published itself is what the log still knows.
    publishes: bool,
    failed_looks: u32,
    /// When to look at what of a shared log may go.
    prune_due: Timestamp,
    /// What the last look found.
    committed: Option<BTreeMap<ShardId, u64>>,
    /// Who waits until everything is published.
    closing: Option<oneshot::Sender<()>>,
    engine: Arc<Engine>,
}

impl Actor for TraceRole {
    type Msg = LogMessage;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        _myself: ActorRef<Self::Msg>,
        arguments: Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let Arguments { log, sizes, holdings, engine } = arguments;
        let log = if holdings.is_some() { log.share() } else { log };
        let stands = sizes_of(&log);
        sizes.send_replace(stands);
        engine.metrics.log(stands.sequenced, stands.published);
        // What was sequenced before a crash, and an empty log's first checkpoint.
        let publish_due = holdings.is_none();
        Ok(State {
            log: Some(log),
            waiting: Vec::new(),
            askers: Vec::new(),
            acknowledged: Vec::new(),
            asked: Vec::new(),
            took: None,
            sequence_set: false,
            publish_due,
            publishing: false,
            written: None,
            publish_set: false,
            sizes,
            refresh_due: holdings.is_some(),
            holdings,
            publishes: false,
            failed_looks: 0,
            prune_due: engine.ports.clock.now(),
            committed: None,
            closing: None,
            engine,
        })
    }

    async fn post_start(
        &self,
        myself: ActorRef<Self::Msg>,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        state.work(&myself)?;
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: LogMessage,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            LogMessage::Offer(offer, shard) => state.offered(offer, shard),
            LogMessage::Above(asked) => state.asked.push(asked),
            LogMessage::Acknowledge(shard, below) => state.acknowledged.push((shard, below)),
            LogMessage::Worked(work) => state.worked(*work)?,
            LogMessage::Published(written) => {
                state.publishing = false;
                state.written = Some(*written);
            }
            LogMessage::Sequence => state.sequence_set = false,
            LogMessage::Publish => {
                state.publish_set = false;
                state.publish_soon();
            }
            LogMessage::Committed(committed) => state.committed = committed,
            LogMessage::Close(reply) => {
                state.closing = Some(reply);
                state.publish_soon();
            }
            LogMessage::Refreshed(refreshed) => state.refreshed(*refreshed)?,
        }
        state.work(&myself)?;
        Ok(())
    }
}

impl State {
    fn offered(&mut self, offer: Offer, shard: ActorRef<ShardMessage>) {
        let (from, count) = (offer.from, offer.entries.len() as u64);
        self.askers.push(Asker { shard, from, count });
        self.waiting.push(offer);
    }

    fn publish_soon(&mut self) {
        self.publish_due = self.holdings.is_none();
        self.refresh_due = self.holdings.is_some();
    }

    /// With the log at hand: takes up what was published, begins the next publication if one is
    /// due, and hands the log to a task if offers wait.
    fn work(&mut self, myself: &ActorRef<LogMessage>) -> Result<(), trace_log::Error> {
        let Some(mut log) = self.log.take() else { return Ok(()) };
        for (shard, below) in self.acknowledged.drain(..) {
            log.acknowledge(shard, below);
        }
        if let Some(committed) = self.committed.take() {
            log.committed(self.engine.ports.clock.now(), committed);
        }
        if let Some(written) = self.written.take() {
            log.finish(written)?;
            self.engine.metrics.published(self.engine.ports.clock.now());
        }
        if !self.asked.is_empty() {
            answer(log, std::mem::take(&mut self.asked), myself);
            return Ok(());
        }
        if self.refresh_due && !self.publishing {
            self.refresh_due = false;
            self.refresh(log, myself);
            return Ok(());
        }
        let full = log.is_full() && !log.is_shared();
        if (self.publish_due || full) && !self.publishing {
            self.publish_due = false;
            self.publish(&mut log, myself);
        }
        self.show(&log, myself);
        if self.waiting.is_empty() || log.is_full() {
            self.log = Some(log);
            self.closed();
            return Ok(());
        }
        if self.waits_for_company(myself) {
            self.log = Some(log);
            return Ok(());
        }
        let fits = Sequencer::batch(&self.waiting);
        self.took = Some((Instant::now(), fits));
        let offers: Vec<Offer> = self.waiting.drain(..fits).collect();
        let askers: Vec<Asker> = self.askers.drain(..fits).collect();
        let myself = myself.clone();
        tokio::spawn(async move {
            let again = log.is_shared().then(|| offers.clone());
            let mut answers = log.sequence(offers).await;
            if let (Err(trace_log::Error::Superseded { .. }), Some(offers)) = (&answers, again) {
                // Another writer published what was just sequenced, or this one is far behind.
                answers = match reopen(&log).await {
                    Ok(reopened) => {
                        log = reopened;
                        log.sequence(offers).await
                    }
                    Err(error) => Err(error),
                };
            }
            tell(&myself, LogMessage::Worked(Box::new(Work { log, askers, answers })));
        });
        Ok(())
    }

    /// Each object costs a file or two and their fsyncs, however little is in it. Where the last one
    /// had offers of several shards, the next one waits for as many.
    fn waits_for_company(&mut self, myself: &ActorRef<LogMessage>) -> bool {
        let Some((since, many)) = self.took else { return false };
        let left = limits::SEQUENCE_EVERY.saturating_sub(since.elapsed());
        if many < limits::SEQUENCE_COMPANY || left.is_zero() || self.closing.is_some() {
            return false;
        }
        if !std::mem::replace(&mut self.sequence_set, true) {
            let myself = myself.clone();
            tokio::spawn(async move {
                tokio::time::sleep(left).await;
                tell(&myself, LogMessage::Sequence);
            });
        }
        true
    }

    /// Hands a shared log to a task that looks at what others wrote. Who publishes now and did not
    /// before, or finds that another one did, opens the log anew: its right edge is another.
    fn refresh(&mut self, mut log: TraceLog, myself: &ActorRef<LogMessage>) {
        let holdings = self.holdings.as_ref();
        let its_turn = holdings.is_some_and(|holdings| holdings.borrow().first);
        let publishes = its_turn || self.closing.is_some();
        let anew = publishes && !self.publishes;
        let now = self.engine.ports.clock.now();
        let prunes = self.prune_due <= now && log.is_long();
        if prunes {
            self.prune_due = now.plus_ms(limits::PRUNE_LOOK_EVERY_MS);
        }
        if prunes && publishes {
            committed::look(self.engine.clone(), myself.clone());
        }
        let myself = myself.clone();
        tokio::spawn(async move {
            let looked = match (anew, publishes) {
                (true, _) => reopen(&log).await.map(|reopened| log = reopened),
                (false, true) => match log.is_overtaken().await {
                    Ok(true) => reopen(&log).await.map(|reopened| log = reopened),
                    Ok(false) => log.catch_up().await,
                    Err(error) => Err(error),
                },
                (false, false) => match log.catch_up().await {
                    Ok(()) if prunes => match log.follow().await {
                        Ok(_) => log.trim().await,
                        Err(error) => Err(error),
                    },
                    Ok(()) => log.follow().await.map(drop),
                    Err(trace_log::Error::Superseded { .. }) => {
                        // It slept while others published, and took away what they published.
                        reopen(&log).await.map(|reopened| log = reopened)
                    }
                    Err(error) => Err(error),
                },
            };
            let refreshed = Refreshed { log, looked, publishes };
            tell(&myself, LogMessage::Refreshed(Box::new(refreshed)));
        });
    }

    fn refreshed(&mut self, refreshed: Refreshed) -> Result<(), trace_log::Error> {
        let Refreshed { log, looked, publishes } = refreshed;
        match looked {
            Ok(()) => {
                self.failed_looks = 0;
                self.publishes = publishes;
                self.publish_due = publishes;
            }
            Err(error) if self.failed_looks < limits::REOPENS_MAX => {
                tracing::debug!(%error, "the shared log changed while it was looked at");
                self.failed_looks += 1;
                self.publishes = false;
            }
            Err(error) => return Err(error),
        }
        self.log = Some(log);
        Ok(())
    }

    fn publish(&mut self, log: &mut TraceLog, myself: &ActorRef<LogMessage>) {
        let Some(publication) = log.begin() else { return };
        self.publishing = true;
        let myself = myself.clone();
        tokio::spawn(async move {
            let written = publication.write().await;
            tell(&myself, LogMessage::Published(Box::new(written)));
        });
    }

    fn worked(&mut self, work: Work) -> Result<(), trace_log::Error> {
        let Work { log, askers, answers } = work;
        for (asker, answer) in askers.into_iter().zip(answers?) {
            let Asker { shard, from, count } = asker;
            tell(&shard, ShardMessage::Sequenced { from, count, answer });
        }
        self.log = Some(log);
        Ok(())
    }

    /// Tells who waits for the end once nothing is left to publish.
    fn closed(&mut self) {
        let LogSizes { sequenced, published } = *self.sizes.borrow();
        if !self.waiting.is_empty() || published < sequenced {
            return;
        }
        if let Some(waiter) = self.closing.take()
            && waiter.send(()).is_err()
        {
            tracing::trace!("nobody waits for the log's end any more");
        }
    }

    /// Shows the sizes; where something is not published yet, sets the time for it.
    fn show(&mut self, log: &TraceLog, myself: &ActorRef<LogMessage>) {
        let sizes = sizes_of(log);
        if self.sizes.send_if_modified(|shown| std::mem::replace(shown, sizes) != sizes) {
            self.engine.metrics.log(sizes.sequenced, sizes.published);
        }
        let waits = sizes.published < sizes.sequenced && !self.publishing && !self.publish_due;
        let due = waits || self.holdings.is_some() && !self.refresh_due;
        if due && !std::mem::replace(&mut self.publish_set, true) {
            let myself = myself.clone();
            tokio::spawn(async move {
                tokio::time::sleep(limits::PUBLISH_EVERY).await;
                tell(&myself, LogMessage::Publish);
            });
        }
    }
}

/// Hands the log to a task that looks for what shards ask for.
fn answer(mut log: TraceLog, asked: Vec<Asked>, myself: &ActorRef<LogMessage>) {
    let myself = myself.clone();
    tokio::spawn(async move {
        for Asked { shard, epoch, rows, next, reply } in asked {
            log.fence(shard, epoch);
            let mut found = log.above(shard, &rows, next).await;
            if matches!(found, Err(trace_log::Error::Superseded { .. })) {
                // It slept while others published.
                found = match reopen(&log).await {
                    Ok(reopened) => {
                        log = reopened;
                        log.above(shard, &rows, next).await
                    }
                    Err(error) => Err(error),
                };
            }
            if reply.send(found).is_err() {
                tracing::trace!(%shard, "the shard that asked the log is gone");
            }
        }
        let work = Work { log, askers: Vec::new(), answers: Ok(Vec::new()) };
        tell(&myself, LogMessage::Worked(Box::new(work)));
    });
}

/// Opens a shared log anew; others take objects away while it is read, so more than once.
async fn reopen(log: &TraceLog) -> Result<TraceLog, trace_log::Error> {
    let mut tries = 0;
    loop {
        match log.reopened().await {
            Ok(reopened) => return Ok(reopened),
            Err(error) if tries >= limits::REOPENS_MAX => return Err(error),
            Err(_) => tries += 1,
        }
        tokio::time::sleep(limits::RELOAD_AFTER).await;
    }
}

fn sizes_of(log: &TraceLog) -> LogSizes {
    LogSizes { sequenced: log.sequenced_size(), published: log.published_size() }
}
