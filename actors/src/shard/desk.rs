//! Standing journeys: what needs their rows read first. One thing at a time, in order.
//!
//! Withdrawals and commands go by rows, so each begins when what was decided before it is durable.
//! Everything else goes on meanwhile: what memory has of a journey goes before a row that was read, and
//! what changed since the read began stays in memory until it is over.

use super::admission::stored;
use super::chain;
use super::expiry;
use super::{Error, ShardMessage, State};
use crate::contribution::tell;
use crate::engine::Ports;
use crate::limits;
use crate::metrics;
use crate::pauses::Pauses;
use crate::ports::StoredContributor;
use gristmill_workflows::codec::decode;
use gristmill_workflows::commit::SequencedRow;
use gristmill_workflows::contributor::Contributor;
use gristmill_workflows::definition::WorkflowRef;
use gristmill_workflows::entry::DataKey;
use gristmill_workflows::id::{Arrival, ContributionId, ContributorKey, IdKey, ShardId};
use gristmill_workflows::inbox::Verb;
use gristmill_workflows::journey::{Journey, State as JourneyState};
use gristmill_workflows::limits::UNCLEAN_ENDS_TOGETHER_MAX;
use gristmill_workflows::request::Wait;
use gristmill_workflows::shard::{Chain, World};
use gristmill_workflows::submission::Mark;
use gristmill_workflows::time::Timestamp;
use gristmill_workflows::tombstone::Finished;
use ractor::ActorRef;
use std::sync::Arc;

/// Something that needs rows.
#[derive(Debug, Clone)]
pub enum Desk {
    /// Journeys that were moving when memory was lost, with their counts of unclean ends.
    Resume(Vec<(Arrival, u8)>),
    /// Journeys whose timers are due.
    Wake(Vec<(Timestamp, Arrival)>),
    /// The timers of the near future.
    Horizon {
        /// It begins when this seal is durable.
        after: u64,
    },
    /// Journeys that wait for content another holds.
    Claims,
    /// Journeys that wait at a stage that is no longer paused: some above `after`.
    Paused {
        /// Where to look on.
        after: Option<Arrival>,
        /// How many may go on.
        room: usize,
    },
    /// Finished journeys that ended by `before`: a page of rows above `after`.
    Expire {
        /// Where to look on.
        after: Option<Arrival>,
        /// What ended up to here is over.
        before: Timestamp,
        /// The first page of a pass.
        first: bool,
    },
    /// A withdrawal that walks along the contributor's journeys.
    Walk {
        /// Its inbox item.
        arrival: Arrival,
        /// Whose.
        key: ContributorKey,
        /// What is taken back.
        mark: Mark,
        /// The next journey.
        next: Arrival,
        /// It begins when this seal is durable.
        after: u64,
    },
    /// A word on one journey.
    Command {
        /// Its inbox item.
        arrival: Arrival,
        /// Which contribution.
        id: ContributionId,
        /// What to do.
        verb: Verb,
        /// It begins when this seal is durable.
        after: u64,
    },
}

/// Up to which seal what is read is true.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// The last durable one when what is at the desk began to be read.
    pub(super) began: u64,
    /// The one that holds the last change of a tombstone: memory keeps none of them.
    pub(super) tombstones: u64,
}

/// A journey that was read, with what it takes to let it move.
#[derive(Debug)]
pub struct Stood {
    pub(super) journey: Journey,
    contributor: Contributor,
    data_key: Option<DataKey>,
}

/// What was read.
#[derive(Debug, Default)]
pub struct Read {
    stood: Vec<Stood>,
    chain: Vec<chain::Link>,
    pub(super) expiry: expiry::Page,
    timers: Vec<(Timestamp, Arrival)>,
    /// Where to look on for journeys that wait at a paused stage.
    paused_from: Option<Arrival>,
}

impl State {
    /// Begins what is next, if nothing else is being read.
    pub(super) fn start_desk(&mut self, myself: &ActorRef<ShardMessage>) {
        if self.at_desk.is_some() || self.draining || self.is_full() {
            return;
        }
        let Some(place) = self.desk.iter().position(|desk| self.may_begin(desk)) else { return };
        let Some(next) = self.desk.remove(place) else { return };
        let now = self.now();
        let until = now.plus_ms(limits::TIMER_HORIZON_MS);
        let claims = now.plus_ms(limits::CLAIM_PARK_STANDING_MS);
        let reader = Reader {
            ports: self.engine.ports.clone(),
            world: self.engine.world.clone(),
            pauses: self.engine.pauses.clone(),
            key: self.engine.world.key.clone(),
            shares: self.engine.shares,
            shard: self.id,
            until,
            claims,
        };
        self.at_desk = Some(next.clone());
        self.reads.began = self.committed_seals;
        let (ports, myself) = (self.engine.ports.clone(), myself.clone());
        ports.spawn_read(async move {
            let read = reader.read(&next).await;
            tell(&myself, ShardMessage::Read(Box::new(read)));
        });
    }

    /// Whether what was decided before it is durable, where that matters.
    pub(super) fn may_begin(&self, desk: &Desk) -> bool {
        match desk {
            Desk::Walk { after, .. } | Desk::Command { after, .. } => {
                self.reads.tombstones.max(*after) <= self.committed_seals
            }
            Desk::Horizon { after } => *after <= self.committed_seals,
            Desk::Expire { .. } => self.reads.tombstones <= self.committed_seals,
            _ => true,
        }
    }

    /// The seal with which all that is decided by now is durable.
    pub(super) fn decided(&self) -> u64 {
        self.machine.seals() + u64::from(self.machine.is_dirty())
    }

    /// A withdrawal begins: from now on nothing is accepted against it. Its walk follows.
    pub(super) fn withdraw(
        &mut self,
        arrival: Arrival,
        key: ContributorKey,
        mark: Mark,
        now: Timestamp,
    ) {
        match self.machine.withdraw(key, &mark, now) {
            Some(next) => {
                let after = self.decided();
                self.desk.push_back(Desk::Walk { arrival, key, mark, next, after });
            }
            None => self.walked(arrival, key),
        }
    }

    /// A walk is over.
    fn walked(&mut self, arrival: Arrival, key: ContributorKey) {
        self.decides = true;
        self.engine.metrics.withdrawal(metrics::Withdrawal::Done);
        self.machine.release(key);
        self.machine.done(arrival);
    }

    /// One part of a walk was read.
    fn walk(&mut self, walk: Desk, chain: Vec<chain::Link>) -> Result<(), Error> {
        let Desk::Walk { arrival, key, mark, next, after } = walk else { return Ok(()) };
        match self.walk_along(key, &mark, next, chain)? {
            Chain::Next(next) => {
                self.desk.push_front(Desk::Walk { arrival, key, mark, next, after });
            }
            Chain::Done => self.walked(arrival, key),
            // It begins here again after the next commit since it was read, such as that of the log's
            // answer: nothing is done twice.
            Chain::NotYet => {
                let pending = self.in_flight.is_some() || self.machine.is_dirty();
                let after = if pending { self.decided() } else { self.reads.began + 1 };
                self.desk.push_back(Desk::Walk { arrival, key, mark, next, after });
            }
        }
        Ok(())
    }

    pub(super) fn on_read(&mut self, read: Result<Read, Error>) -> Result<(), Error> {
        let Some(desk) = self.at_desk.take() else { return Ok(()) };
        let Read { stood, chain, expiry, timers, paused_from } = read?;
        match desk {
            Desk::Resume(moving) => self.resume(stood, &moving)?,
            Desk::Wake(_) => {
                self.timers.woken();
                self.wake(stood)?;
            }
            Desk::Claims => self.wake(stood)?,
            Desk::Paused { .. } => {
                self.looked_at_paused(paused_from);
                self.wake(stood)?;
            }
            Desk::Horizon { .. } => self.looked_ahead(timers),
            Desk::Walk { .. } => self.walk(desk, chain)?,
            Desk::Command { arrival, verb, .. } => self.command(arrival, &verb, stood)?,
            Desk::Expire { before, .. } => self.expire(before, &expiry)?,
        }
        Ok(())
    }

    fn resume(&mut self, stood: Vec<Stood>, moving: &[(Arrival, u8)]) -> Result<(), Error> {
        let now = self.now();
        for (arrival, _) in moving {
            self.admitted.remove(arrival);
        }
        let unowned = self.unowned.take();
        for stood in stood {
            if let Some(since) = unowned {
                self.engine.metrics.between_nodes(&stood.journey, since, now);
            }
            let arrival = stood.journey.arrival;
            let count = moving.iter().find(|(other, _)| *other == arrival).map_or(0, |m| m.1);
            let data_key = self.retain(&stood);
            if !self.machine.wake(stood.journey.clone(), data_key, now) {
                self.forget(&stood.journey);
                continue;
            }
            let poison = match stood.journey.accepted {
                Some(_) => count >= UNCLEAN_ENDS_TOGETHER_MAX,
                None => Self::is_poison(count),
            };
            if poison {
                self.machine.quarantine(arrival, now);
            } else {
                self.admitted.insert(arrival, count);
            }
        }
        self.note_admitted(false)?;
        Ok(())
    }

    fn wake(&mut self, stood: Vec<Stood>) -> Result<(), Error> {
        let (now, mut woke) = (self.now(), false);
        for stood in stood {
            let data_key = self.retain(&stood);
            if self.machine.wake(stood.journey.clone(), data_key, now) {
                self.admitted.insert(stood.journey.arrival, 0);
                woke = true;
            } else {
                self.forget(&stood.journey);
            }
        }
        if woke {
            self.note_admitted(false)?;
        }
        Ok(())
    }

    fn command(&mut self, arrival: Arrival, verb: &Verb, stood: Vec<Stood>) -> Result<(), Error> {
        let now = self.now();
        for stood in stood {
            let data_key = self.retain(&stood);
            let id = stood.journey.arrival;
            if self.machine.command(stood.journey.clone(), data_key, verb, now) {
                self.admitted.insert(id, 0);
            } else {
                self.forget(&stood.journey);
            }
        }
        self.machine.done(arrival);
        self.decides = true;
        self.note_admitted(false)?;
        Ok(())
    }

    /// Those that wait for content look again, once.
    pub(super) fn look_at_claims(&mut self) {
        if !self.desk.iter().any(|desk| matches!(desk, Desk::Claims)) {
            self.desk.push_back(Desk::Claims);
        }
    }

    fn retain(&mut self, stood: &Stood) -> DataKey {
        let submission = &stood.journey.submission;
        let key = self.engine.world.key.contributor(&submission.contributor);
        self.machine.retain(key, || stood.contributor.clone());
        let blind = || DataKey::blind(&self.engine.world.key, submission.id);
        stood.data_key.unwrap_or_else(blind)
    }

    fn forget(&mut self, journey: &Journey) {
        let key = self.engine.world.key.contributor(&journey.submission.contributor);
        self.machine.release(key);
    }
}

pub(super) struct Reader {
    pub(super) ports: Ports,
    pub(super) world: Arc<World>,
    pub(super) pauses: Arc<Pauses>,
    key: IdKey,
    shares: bool,
    pub(super) shard: ShardId,
    until: Timestamp,
    claims: Timestamp,
}

impl Reader {
    async fn read(&self, desk: &Desk) -> Result<Read, Error> {
        let store = &self.ports.store;
        let mut read = Read::default();
        match desk {
            Desk::Horizon { .. } => {
                let limit = limits::TIMER_BATCH;
                read.timers = store.timers(self.shard, self.until, limit).await?;
            }
            Desk::Claims => {
                let arrivals = self.claims().await?;
                read.stood = self.stood(arrivals).await?;
            }
            Desk::Paused { after, room } => {
                let (arrivals, next) = self.paused(*after, *room).await?;
                read.stood = self.stood(arrivals).await?;
                read.paused_from = next;
            }
            Desk::Resume(moving) => {
                let arrivals = moving.iter().map(|(arrival, _)| *arrival).collect();
                read.stood = self.stood(arrivals).await?;
            }
            Desk::Wake(due) => {
                let arrivals = due.iter().map(|(_, arrival)| *arrival).collect();
                read.stood = self.stood(arrivals).await?;
            }
            Desk::Expire { after, before, first } => {
                read.expiry = self.expiry(*after, *before, *first).await?;
            }
            Desk::Walk { next, .. } => read.chain = self.chain(*next).await?,
            Desk::Command { id, .. } => {
                let found = store.find(self.shard, vec![id.mac]).await?;
                let arrivals = found.into_iter().flatten().map(|(arrival, _)| arrival).collect();
                read.stood = self.stood(arrivals).await?;
            }
        }
        Ok(read)
    }

    /// Journeys that wait for content, as far as one batch of timers shows them; the timers of the
    /// others come in time.
    async fn claims(&self) -> Result<Vec<Arrival>, Error> {
        let timers = self.ports.store.timers(self.shard, self.claims, limits::TIMER_BATCH).await?;
        let arrivals = timers.into_iter().map(|(_, arrival)| arrival).collect();
        let rows = self.ports.store.journeys(self.shard, arrivals).await?;
        let mut waiting = Vec::new();
        for row in rows.into_iter().flatten() {
            let journey: Journey = decode(&row.row)?;
            if matches!(journey.state, JourneyState::Parked { wait: Wait::ContentClaim, .. }) {
                waiting.push(journey.arrival);
            }
        }
        Ok(waiting)
    }

    /// Fills in the index of an entry that was sequenced while the journey stood.
    pub(super) async fn resolve(&self, journey: &mut Journey) -> Result<(), Error> {
        let Some(accepted) = &mut journey.accepted else { return Ok(()) };
        if accepted.entry.index.is_some() {
            return Ok(());
        }
        let position = accepted.entry.position;
        let row = self.ports.store.sequenced(self.shard, position).await?;
        if let Some((from, bytes)) = row {
            let row: SequencedRow = decode(&bytes)?;
            accepted.entry.index = row.index(position - from);
        }
        Ok(())
    }

    /// Whether only other nodes have its workflow.
    fn is_beyond_this_node(&self, journey: &Journey) -> bool {
        let pin = &journey.workflow;
        self.shares
            && !journey.state.is_terminal()
            && *pin != WorkflowRef::none()
            && !self.world.workflows.contains_key(pin)
    }

    async fn stood(&self, arrivals: Vec<Arrival>) -> Result<Vec<Stood>, Error> {
        let rows = self.ports.store.journeys(self.shard, arrivals).await?;
        let mut journeys: Vec<Journey> = Vec::new();
        for row in rows.into_iter().flatten() {
            // Of one that expired nothing goes on.
            if let Finished::Journey(journey) = Finished::read(&row.row)? {
                journeys.push(*journey);
            }
        }
        self.with_parts(journeys).await
    }

    pub(super) async fn with_parts(&self, mut journeys: Vec<Journey>) -> Result<Vec<Stood>, Error> {
        for journey in &mut journeys {
            if self.is_beyond_this_node(journey) {
                return Err(Error::Lacks(journey.workflow.clone()));
            }
            self.resolve(journey).await?;
        }
        let of = |journey: &Journey| self.key.contributor(&journey.submission.contributor);
        let keys: Vec<ContributorKey> = journeys.iter().map(of).collect();
        let slots = journeys.iter().map(|journey| journey.submission.data_key).collect();
        let contributors: Vec<StoredContributor> =
            self.ports.store.contributors(self.shard, keys).await?;
        let data_keys = self.ports.keys.keys(slots).await?;
        let mut all = Vec::with_capacity(journeys.len());
        for ((journey, row), data_key) in journeys.into_iter().zip(contributors).zip(data_keys) {
            let contributor = stored(&row)?;
            all.push(Stood { journey, contributor, data_key });
        }
        Ok(all)
    }
}
