//! A shard's memory, built from the store: at the start, and whenever the old one was given up.

use super::admission::Cursors;
use super::announced::Announced;
use super::commits::Settle;
use super::desk::Reads;
use super::expiry::Expiry;
use super::timers::Timers;
use super::{Arguments, Desk, Error, ShardMessage, State};
use crate::contribution::tell;
use crate::ports::Loaded;
use crate::trace_role::{Asked, LogMessage};
use gristmill_workflows::codec::{self, decode};
use gristmill_workflows::commit::{Admitted, OutboxRow, Place, SequencedRow, ShardState};
use gristmill_workflows::id::Arrival;
use gristmill_workflows::limits::UNCLEAN_ENDS_MAX;
use gristmill_workflows::sequencer::Offer;
use gristmill_workflows::shard::{Due, Shard};
use ractor::ActorRef;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::oneshot;

/// Claims the shard and builds its memory.
pub(super) async fn load(
    myself: &ActorRef<ShardMessage>,
    arguments: Arguments,
) -> Result<State, Error> {
    let Arguments { shard, owner, window, engine, status, kept } = arguments;
    let store = engine.ports.store.clone();
    let kept_all = kept.load(Ordering::Acquire);
    let before = match kept_all || engine.shares {
        true => store.leases(vec![shard]).await?.first().copied(),
        false => None,
    };
    // It was this very process that had the shard last, and lost its memory for no fault of a journey:
    // then nobody is suspected.
    let same_life = kept_all && before.is_some_and(|lease| lease.owner == owner);
    kept.store(same_life, Ordering::Release);
    let asked = engine.ports.clock.now();
    let unowned = before.filter(|lease| engine.shares && lease.owner != owner);
    // A lease that was given back ended just now.
    let unowned =
        unowned.map(|lease| if lease.owner == 0 { asked } else { lease.until.min(asked) });
    let lease = store.claim(shard, owner).await?;
    let loaded = store.load(shard).await?;
    let decoded: Option<ShardState> = loaded.state.as_deref().map(decode).transpose()?;
    let machine = Shard::new(shard, engine.world.clone(), decoded.unwrap_or_default());
    let started = engine.ports.clock.now();
    let mut state = State {
        paused_from: engine.pauses.ever().then_some(None),
        engine,
        machine,
        id: shard,
        owner,
        epoch: lease.epoch,
        window,
        shown: status,
        started,
        unowned,
        draining: false,
        cleaned: false,
        seq: 0,
        in_flight: None,
        settle: Settle::Unset,
        committed_seals: 0,
        starts: Vec::new(),
        fetching: false,
        control_grew: true,
        intake_grew: true,
        seen: 0,
        told: 0,
        counted: false,
        note_due: false,
        cursors: Cursors::default(),
        admitted: BTreeMap::new(),
        suspects: VecDeque::new(),
        alone: None,
        children: BTreeMap::new(),
        cells: HashMap::new(),
        timers: Timers::default(),
        desk: VecDeque::new(),
        decides: false,
        at_desk: None,
        reads: Reads::default(),
        announced: Announced::default(),
        offered: 0,
        moved: BTreeMap::new(),
        posting: Arc::new(AtomicUsize::new(0)),
        erasing: 0,
        erase_again: Vec::new(),
        expiry: Expiry::begin(started),
        kept,
    };
    state.started = state.now();
    state.take_up(myself, loaded, same_life).await?;
    Ok(state)
}

impl State {
    async fn take_up(
        &mut self,
        myself: &ActorRef<ShardMessage>,
        loaded: Loaded,
        same_life: bool,
    ) -> Result<(), Error> {
        let mut rows = Vec::new();
        for (from, row) in &loaded.outbox {
            let row: OutboxRow = decode(row)?;
            match row.into_parts() {
                (Some(first), entries) => self.machine.adopted(*from, first, entries),
                (None, entries) => rows.push((*from, entries)),
            }
        }
        if !self.engine.shares {
            // The log was opened anew: unless it hears this again, what the shard has a part in stays.
            let waits = rows.first().map(|(from, _)| *from);
            self.acknowledge(waits.unwrap_or_else(|| self.machine.state().outbox_next));
        }
        for Due { from, at, entries } in self.adopt_lost(rows).await? {
            if at != from {
                self.moved.insert(at, from);
            }
            self.offer(myself, at, entries);
        }
        if !loaded.erasures.is_empty() {
            self.erase(myself, loaded.erasures);
        }
        self.counted = loaded.admitted.is_none() && loaded.noted.is_empty();
        if !self.counted {
            let admitted: Option<Admitted> = loaded.admitted.as_deref().map(decode).transpose()?;
            self.take_up_admitted(admitted.unwrap_or_default(), loaded.noted, same_life).await?;
        }
        self.machine.open_programs();
        self.machine.repeat_unanswered();
        self.look_ahead(0);
        self.look_at_claims();
        Ok(())
    }

    /// A store that nodes share may have failed over and forgotten commits. What the log has of them
    /// stands. Answers what is to be offered.
    async fn adopt_lost(&mut self, rows: Vec<(u64, Vec<Vec<u8>>)>) -> Result<Vec<Due>, Error> {
        let as_it_is = |(from, entries)| Due { from, at: from, entries };
        let Some(log) = self.engine.log.get().filter(|_| self.engine.shares) else {
            return Ok(rows.into_iter().map(as_it_is).collect());
        };
        let (reply, answer) = oneshot::channel();
        let (shard, epoch) = (self.id, self.epoch);
        let next = self.machine.state().outbox_next;
        tell(log, LogMessage::Above(Asked { shard, epoch, rows: rows.clone(), next, reply }));
        let found = answer.await.map_err(|_| Error::NoLog)??;
        let Some(lowest) = found.iter().map(|found| found.first).min() else {
            return Ok(rows.into_iter().map(as_it_is).collect());
        };
        let known = self.indices_from(lowest).await?;
        let (now, before) = (self.now(), self.machine.unclaimed());
        let due = self.machine.reconcile(rows, &found, &known, now)?;
        let entries = self.machine.unclaimed().saturating_sub(before);
        if entries > 0 {
            tracing::error!(%shard, entries, "the store lost commits; the log's entries stand");
        }
        Ok(due)
    }

    /// Indices that the store has of this shard's entries, from one on: the newest rows.
    async fn indices_from(&self, lowest: u64) -> Result<BTreeSet<u64>, Error> {
        let (mut known, mut at) = (BTreeSet::new(), Some(u64::MAX));
        while let Some(position) = at {
            let row = self.engine.ports.store.sequenced(self.id, position).await?;
            let Some((from, row)) = row else { break };
            let ranges = decode::<SequencedRow>(&row)?.0;
            let indices = ranges.iter().flat_map(|range| range.first..range.first + range.count);
            let indices: Vec<u64> = indices.filter(|index| *index >= lowest).collect();
            if indices.is_empty() {
                break;
            }
            known.extend(indices);
            at = from.checked_sub(1);
        }
        Ok(known)
    }

    /// What was admitted when memory was lost: what has a moving row goes on; what is still in the
    /// inbox runs alone first, since one of them may be what ended the process.
    async fn take_up_admitted(
        &mut self,
        admitted: Admitted,
        noted: Vec<Arrival>,
        same_life: bool,
    ) -> Result<(), Error> {
        let add = u8::from(!admitted.clean && !same_life);
        let noted = noted.into_iter().map(|arrival| (arrival, add));
        let ids = admitted.ids.iter().map(|(arrival, count)| (*arrival, count + add));
        let noted: BTreeMap<Arrival, u8> = noted.chain(ids).chain(admitted.waiting).collect();
        let arrivals: Vec<Arrival> = noted.keys().copied().collect();
        let store = self.engine.ports.store.clone();
        let rows = store.journeys(self.id, arrivals.clone()).await?;
        let items = store.inbox_items(self.id, arrivals.clone()).await?;
        let mut moving = Vec::new();
        for ((arrival, row), item) in arrivals.into_iter().zip(rows).zip(items) {
            let count = noted.get(&arrival).copied().unwrap_or(0);
            match row {
                Some(row) if row.place == Place::Active => moving.push((arrival, count)),
                Some(_) => {}
                None if item.is_some() && count > 0 => self.suspects.push_back((arrival, count)),
                None => {}
            }
        }
        self.suspects.make_contiguous().sort_by_key(|(arrival, count)| (*count, *arrival));
        if !moving.is_empty() {
            // Noted from now on: whatever is committed before they go on must not forget them.
            self.admitted.extend(moving.iter().copied());
            self.desk.push_front(Desk::Resume(moving));
        }
        // The counts are durable before anything else is.
        Ok(self.note_admitted(false)?)
    }

    /// Whether an id was found after too many unclean ends.
    pub(super) fn is_poison(count: u8) -> bool {
        count >= UNCLEAN_ENDS_MAX
    }

    /// Offers an outbox row to the log.
    pub(super) fn offer(
        &mut self,
        myself: &ActorRef<ShardMessage>,
        from: u64,
        entries: Vec<Vec<u8>>,
    ) {
        self.offered += 1;
        let offer = Offer { shard: self.id, epoch: self.epoch, from, entries };
        if let Some(log) = self.engine.log.get() {
            tell(log, LogMessage::Offer(offer, myself.clone()));
        }
    }

    /// Tells the log that nobody asks again for what this shard has below a position.
    pub(super) fn acknowledge(&self, below: u64) {
        if let Some(log) = self.engine.log.get() {
            tell(log, LogMessage::Acknowledge(self.id, below));
        }
    }

    /// Notes who may run, for the case that the process does not end in order. Nothing runs any more in a
    /// shard that drains.
    pub(super) fn note_admitted(&mut self, clean: bool) -> Result<(), codec::Error> {
        let ids = self.admitted.iter().map(|(arrival, count)| (*arrival, *count)).collect();
        let waiting = self.suspects.iter().copied().collect();
        self.machine.note_admitted(&Admitted { ids, waiting, clean: clean || self.draining })
    }
}
