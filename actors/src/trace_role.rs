//! The role that sequences and publishes the public log on this node.
//!
//! Supervised by the node. Shards offer outbox rows; everything that waits is sequenced in one
//! object, and the answers leave when that object is durable. Publishing follows at its own pace.
//! If the role dies, `sequenced/` holds the truth, and shards offer again what was not answered.

use crate::contribution::tell;
use crate::limits;
use crate::shard::ShardMessage;
use crate::trace_log::{self, TraceLog};
use gristmill_workflows::id::ShardId;
use gristmill_workflows::sequencer::{Answer, Offer};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::watch;

/// The actor.
#[derive(Debug)]
pub struct TraceRole;

/// What the role is told.
#[derive(Debug)]
pub enum LogMessage {
    /// A shard offers an outbox row.
    Offer(Offer, ActorRef<ShardMessage>),
    /// A shard has committed the indices of everything below a position.
    Acknowledge(ShardId, u64),
    /// The log is back from its work.
    Worked(Box<Work>),
    /// Time to publish.
    Publish,
}

/// The log, what was done with it, and who waits for it.
pub struct Work {
    log: TraceLog,
    offers: Vec<(Offer, ActorRef<ShardMessage>)>,
    answers: Result<Vec<Answer>, trace_log::Error>,
    published: Option<Result<(), trace_log::Error>>,
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
}

impl std::fmt::Debug for Arguments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Arguments")
    }
}

/// What it keeps.
#[derive(Debug)]
pub struct State {
    log: Option<TraceLog>,
    waiting: Vec<(Offer, ActorRef<ShardMessage>)>,
    acknowledged: Vec<(ShardId, u64)>,
    publish_due: bool,
    publish_set: bool,
    sizes: watch::Sender<LogSizes>,
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
        let Arguments { log, sizes } = arguments;
        sizes.send_replace(sizes_of(&log));
        // What was sequenced before a crash, and an empty log's first checkpoint.
        let publish_due = true;
        Ok(State {
            log: Some(log),
            waiting: Vec::new(),
            acknowledged: Vec::new(),
            publish_due,
            publish_set: false,
            sizes,
        })
    }

    async fn post_start(
        &self,
        myself: ActorRef<Self::Msg>,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        state.work(&myself);
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: LogMessage,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            LogMessage::Offer(offer, shard) => state.waiting.push((offer, shard)),
            LogMessage::Acknowledge(shard, below) => state.acknowledged.push((shard, below)),
            LogMessage::Worked(work) => state.worked(*work, &myself)?,
            LogMessage::Publish => {
                state.publish_set = false;
                state.publish_due = true;
            }
        }
        state.work(&myself);
        Ok(())
    }
}

impl State {
    /// Hands the log to a task, unless it is out already or nothing is due.
    fn work(&mut self, myself: &ActorRef<LogMessage>) {
        if self.waiting.is_empty() && !self.publish_due {
            return;
        }
        let Some(mut log) = self.log.take() else { return };
        for (shard, below) in self.acknowledged.drain(..) {
            log.acknowledge(shard, below);
        }
        let offers: Vec<Offer> = self.waiting.iter().map(|(offer, _)| offer.clone()).collect();
        let fits = gristmill_workflows::sequencer::Sequencer::batch(&offers);
        let mut offers = offers;
        offers.truncate(fits);
        let taken: Vec<_> = self.waiting.drain(..fits).collect();
        let publish = std::mem::take(&mut self.publish_due);
        let myself = myself.clone();
        tokio::spawn(async move {
            let answers =
                if offers.is_empty() { Ok(Vec::new()) } else { log.sequence(offers).await };
            let due = publish && answers.is_ok();
            let published = if due { Some(log.publish().await.map(drop)) } else { None };
            let work = Work { log, offers: taken, answers, published };
            tell(&myself, LogMessage::Worked(Box::new(work)));
        });
    }

    fn worked(
        &mut self,
        work: Work,
        myself: &ActorRef<LogMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let Work { log, offers, answers, published } = work;
        for ((offer, shard), answer) in offers.into_iter().zip(answers?) {
            let count = offer.entries.len() as u64;
            tell(&shard, ShardMessage::Sequenced { from: offer.from, count, answer });
        }
        if let Some(published) = published {
            published?;
        }
        let sizes = sizes_of(&log);
        self.sizes.send_replace(sizes);
        self.log = Some(log);
        if sizes.published < sizes.sequenced && !std::mem::replace(&mut self.publish_set, true) {
            let myself = myself.clone();
            tokio::spawn(async move {
                tokio::time::sleep(limits::PUBLISH_EVERY).await;
                tell(&myself, LogMessage::Publish);
            });
        }
        Ok(())
    }
}

fn sizes_of(log: &TraceLog) -> LogSizes {
    LogSizes { sequenced: log.sequenced_size(), published: log.published_size() }
}
