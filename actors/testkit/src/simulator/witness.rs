//! The witness stands at the store, the log and the rail, believes nobody, and checks at every
//! commit and effect what must hold then (I1 to I7).

use super::journal::Journal;
use crate::memory_log::MemoryLog;
use crate::memory_store::{MemoryStore, ShardRows};
use gristmill_actors::ports::{Committed, LogStore, StoreError};
use gristmill_trace::checkpoint::Checkpoint;
use gristmill_trace::key::Verifier;
use gristmill_trace::tile;
use gristmill_workflows::audit::Published;
use gristmill_workflows::codec::decode;
use gristmill_workflows::commit::{Admitted, Commit, OutboxRow, ShardState};
use gristmill_workflows::id::{Arrival, IdKey, ShardId};
use gristmill_workflows::inbox::Lane;
use gristmill_workflows::journey::{EventKind, Journey, PayoutState, State};
use gristmill_workflows::lease::{Fence, Lease};
use gristmill_workflows::ledger::Account;
use gristmill_workflows::limits::UNCLEAN_ENDS_MAX;
use gristmill_workflows::program::Program;
use gristmill_workflows::sequencer::Sequenced;
use gristmill_workflows::submission::{Mark, Scope};
use gristmill_workflows::tombstone::{Finished, Tombstone};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::wire::at_once;

/// The witness.
#[derive(Debug)]
pub(super) struct Witness {
    key: IdKey,
    verifier: Verifier,
    programs: BTreeMap<String, Program>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Who holds each shard, and what was applied last.
    leases: BTreeMap<ShardId, Lease>,
    /// Payouts whose release is committed: their minor units.
    released: BTreeMap<String, u64>,
    /// Entries that are committed to an outbox.
    outbox: BTreeMap<(ShardId, u64), Vec<u8>>,
    published: Vec<Published>,
    /// How often an operator let a contribution go on, by its key.
    retried: BTreeMap<String, u8>,
    /// Shards that were handed over in order with something in flight.
    cleans: u8,
}

/// What stood before a commit, as far as the commit speaks of it.
pub(super) struct Before {
    journeys: BTreeMap<Arrival, Journey>,
    queued: Vec<Arrival>,
    marks: Vec<(Arrival, Vec<Mark>)>,
    state: Option<Vec<u8>>,
}

impl Witness {
    pub(super) fn new(key: IdKey, verifier: Verifier, programs: BTreeMap<String, Program>) -> Self {
        Self { key, verifier, programs, inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A claim was granted.
    pub(super) fn claimed(&self, shard: ShardId, lease: Lease, journal: &Journal) {
        let old = self.lock().leases.insert(shard, lease).unwrap_or_default();
        if lease.epoch <= old.epoch {
            journal.breach(format!("I6: epoch {} of shard {shard} was given twice", lease.epoch));
        }
        let word = match old.owner {
            0 => "free",
            owner if owner == lease.owner => "own",
            _ => "another's",
        };
        journal.transition(format!("lease claimed: {word}"));
    }

    /// A lease was given back, or was to be.
    pub(super) fn released(&self, store: &MemoryStore, shard: ShardId) {
        if let Some(lease) = store.look(shard, |rows| rows.lease) {
            self.lock().leases.insert(shard, lease);
        }
    }

    /// A power loss took back what was not acknowledged.
    pub(super) fn forgot(&self, store: &MemoryStore, shard: ShardId) {
        let Some(rows) = store.rows(shard) else { return };
        let next = state_of(rows.state.as_deref()).outbox_next;
        let mut inner = self.lock();
        inner.leases.insert(shard, rows.lease);
        inner.outbox.retain(|(other, position), _| *other != shard || *position < next);
    }

    /// What stands before a commit.
    pub(super) fn before(&self, store: &MemoryStore, shard: ShardId, commit: &Commit) -> Before {
        let look = |rows: &ShardRows| {
            let mut before = Before {
                journeys: BTreeMap::new(),
                queued: Vec::new(),
                marks: Vec::new(),
                state: rows.state.clone(),
            };
            for (arrival, _, _, row) in &commit.journeys {
                let old = rows.active.get(arrival).or_else(|| rows.finished.get(arrival));
                if let Some(old) = old.and_then(|row| decode::<Journey>(row).ok()) {
                    before.journeys.insert(*arrival, old);
                }
                if let Ok(new) = decode::<Journey>(row) {
                    let key = self.key.contributor(&new.submission.contributor);
                    let marks = rows.marks.get(&key).cloned().unwrap_or_default();
                    before.marks.push((*arrival, marks));
                }
            }
            for (lane, arrival) in &commit.inbox_remove {
                let has_row =
                    rows.active.contains_key(arrival) || rows.finished.contains_key(arrival);
                if *lane == Lane::Intake && rows.intake.contains_key(arrival) && !has_row {
                    before.queued.push(*arrival);
                }
            }
            before
        };
        store.look(shard, look).unwrap_or_else(|| look(&ShardRows::default()))
    }

    /// A commit was answered.
    pub(super) fn committed(
        &self,
        before: &Before,
        store: &MemoryStore,
        shard: ShardId,
        (fence, commit): (Fence, &Commit),
        answer: &Result<Committed, StoreError>,
        journal: &Journal,
    ) {
        let state = store.look(shard, |rows| rows.state.clone()).flatten();
        let changed = state != before.state;
        let due = self.judge_fence(shard, fence, answer, changed, journal);
        if !due {
            return;
        }
        for arrival in &before.queued {
            if !commit.journeys.iter().any(|(other, ..)| other == arrival) {
                journal.breach(format!(
                    "I1: item {arrival} of shard {shard} left the inbox before its journey stood"
                ));
            }
        }
        if let Some(Ok(admitted)) = commit.admitted.as_deref().map(decode::<Admitted>) {
            let Admitted { ids, waiting, clean } = admitted;
            self.lock().cleans += u8::from(clean && !ids.is_empty());
            journal.note(format_args!("   admitted {ids:?} waiting {waiting:?} clean {clean}"));
        }
        self.judge_money(shard, state.as_deref(), journal);
        let mut from = BTreeMap::new();
        for (position, row) in &commit.outbox_put {
            let entries = decode::<OutboxRow>(row).map(|row| row.0).unwrap_or_default();
            from.extend((*position..).zip(entries).map(|(at, entry)| ((shard, at), entry)));
        }
        self.lock().outbox.extend(from);
        for (arrival, place, _, row) in &commit.journeys {
            let old = before.journeys.get(arrival);
            if let Ok(Finished::Expired(tombstone)) = Finished::read(row) {
                judge_tombstone(shard, old, &tombstone, journal);
                continue;
            }
            let Ok(new) = decode::<Journey>(row) else {
                journal.breach(format!("I1: journey {arrival} of shard {shard} does not decode"));
                continue;
            };
            let marks = before.marks.iter().find(|(other, _)| other == arrival);
            self.judge_journey(shard, old, &new, marks.map_or(&[][..], |(_, m)| m), journal);
            journal.note(format_args!(
                "   {:?} {} stage {} attempts {}: {}",
                place,
                new.submission.idempotency_key,
                new.stage,
                new.attempts,
                word(&new.state)
            ));
        }
    }

    /// I6: whether this commit was the next one of the holder; nothing else may change anything.
    fn judge_fence(
        &self,
        shard: ShardId,
        fence: Fence,
        answer: &Result<Committed, StoreError>,
        changed: bool,
        journal: &Journal,
    ) -> bool {
        let mut inner = self.lock();
        let lease = inner.leases.entry(shard).or_default();
        let holds = lease.owner == fence.owner && lease.epoch == fence.epoch;
        let next = fence.seq == lease.seq + 1;
        let Fence { owner, epoch, seq } = fence;
        let (expected, due) = match (holds, next) {
            (true, true) if *answer == Ok(Committed::Applied) => ("applied", true),
            (true, true) => ("broken", false),
            (true, false) if seq <= lease.seq => ("repeated", false),
            (true, false) => ("gap", false),
            (false, _) if lease.owner == owner => ("older epoch", false),
            (false, _) => ("another's", false),
        };
        journal.transition(format!("lease commit: {expected}"));
        if due {
            lease.seq = seq;
            return true;
        }
        if changed {
            journal.breach(format!(
                "I6: a commit of epoch {epoch} seq {seq} changed shard {shard}, which stands at \
                 epoch {} seq {}",
                lease.epoch, lease.seq
            ));
        }
        let refused = matches!(answer, Err(StoreError::Fenced { .. }));
        if !holds && !refused {
            journal.breach(format!("I6: {expected}: epoch {epoch} of shard {shard} is not fenced"));
        }
        false
    }

    /// I4 at a commit: debits equal credits, and the accounts of homes and allotments are what the
    /// records say.
    fn judge_money(&self, shard: ShardId, state: Option<&[u8]>, journal: &Journal) {
        let state = state_of(state);
        let mut sums: BTreeMap<(String, Account), i128> = BTreeMap::new();
        let mut add = |currency: String, account, micro: i128| {
            *sums.entry((currency, account)).or_default() += micro;
        };
        for currency in state.ledger.currencies() {
            let of = state.ledger.balances().filter(|(other, ..)| *other == currency);
            let sum: i128 = of.map(|(_, _, micro)| micro).sum();
            if sum != 0 {
                journal.breach(format!("I4: shard {shard} is off by {sum} micro {currency}"));
            }
            for account in [Account::Home, Account::Allotment] {
                add(currency.to_string(), account, state.ledger.balance(currency, account));
            }
        }
        let currency = |program: &str| self.programs.get(program).map(|p| p.currency.to_string());
        for (program, home) in &state.homes {
            if let Some(currency) = currency(program) {
                add(currency, Account::Home, -i128::from(home.balance));
            }
        }
        for (program, allotment) in &state.allotments {
            if let Some(currency) = currency(program) {
                add(currency, Account::Allotment, -i128::from(allotment.balance));
            }
        }
        for ((currency, account), off) in sums.into_iter().filter(|(_, off)| *off != 0) {
            journal.breach(format!(
                "I4: {account:?} of shard {shard} is {off} micro {currency} off its records"
            ));
        }
    }

    fn judge_journey(
        &self,
        shard: ShardId,
        old: Option<&Journey>,
        new: &Journey,
        marks: &[Mark],
        journal: &Journal,
    ) {
        let name = &new.submission.idempotency_key;
        let was = old.map_or_else(|| "queued".to_owned(), |old| word(&old.state));
        journal.transition(format!("journey: {was} -> {}", word(&new.state)));
        for event in
            &new.timeline[old.map_or(0, |old| old.timeline.len()).min(new.timeline.len())..]
        {
            journal.transition(format!("event: {:?}", event.kind));
            if event.kind == EventKind::Retried {
                *self.lock().retried.entry(name.clone()).or_default() += 1;
            }
        }
        if old.is_some_and(|old| old.state.is_terminal() && old.state != new.state) {
            journal.breach(format!("I1: {name} was {was} and is {}", word(&new.state)));
        }
        let accepted = old.is_some_and(|old| old.accepted.is_some());
        if accepted && new.accepted.is_none() {
            journal.breach(format!("I1: {name} was accepted and is not any more"));
        }
        if new.accepted.is_some() && !accepted {
            self.judge_consent(new, marks, journal);
        }
        let mut inner = self.lock();
        for payout in &new.payouts {
            journal.transition(format!("payout: {:?}", payout.state));
            if payout.state != PayoutState::Fixed {
                inner.released.insert(payout.id.clone(), payout.minor);
            }
        }
        let visible = match &new.state {
            State::Parked { until, signal, .. } => until.is_some() || signal.is_some(),
            State::Paused { detail, .. } => !detail.is_empty(),
            State::Moving | State::Settled | State::Rejected(_) | State::Withdrawn => true,
        };
        if !visible {
            journal.breach(format!("I12: {name} of shard {shard} stands and nobody knows why"));
        }
    }

    /// I5: what the store had of marks when the acceptance was committed.
    fn judge_consent(&self, new: &Journey, marks: &[Mark], journal: &Journal) {
        let name = &new.submission.idempotency_key;
        let Some(held) = &new.held else {
            journal.breach(format!("I5: {name} was accepted without a grant"));
            return;
        };
        let program = &new.submission.program;
        let broken = marks.iter().any(|mark| match &mark.scope {
            Scope::Grant(grant) => *grant == held.grant,
            Scope::Program(other) => other == program && mark.position > held.position,
            Scope::All => mark.position > held.position,
        });
        if broken {
            journal.breach(format!("I5: {name} was accepted under a withdrawn grant"));
        }
    }

    /// A payout reached the rail: its release must be committed.
    pub(super) fn submitted(&self, key: &str, minor: u64, journal: &Journal) {
        if self.lock().released.get(key) != Some(&minor) {
            journal.breach(format!("I3: payout {key} reached the rail before it was committed"));
        }
    }

    /// A sequenced object stands: its entries must stand in an outbox, byte for byte.
    pub(super) fn sequenced(&self, bytes: &[u8], journal: &Journal) {
        let Ok(object) = decode::<Sequenced>(bytes) else {
            return journal.breach("I7: a sequenced object does not decode".to_owned());
        };
        let inner = self.lock();
        for offer in &object.offers {
            for (position, entry) in (offer.from..).zip(&offer.entries) {
                if inner.outbox.get(&(offer.shard, position)) != Some(entry) {
                    journal.breach(format!(
                        "I2: position {position} of shard {} reached the log before its commit",
                        offer.shard
                    ));
                }
            }
        }
    }

    /// A checkpoint of its own size stands: every tile it needs must stand.
    pub(super) fn checkpoint(&self, path: &str, log: &MemoryLog, journal: &Journal) {
        let size: u64 = path.rsplit('/').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        for tile in tile::changed(0, size) {
            if !matches!(at_once(log.read(tile.path())), Ok(Some(_))) {
                journal.breach(format!("I7: {path} stands before its tile {}", tile.path()));
            }
        }
    }

    /// `checkpoint` was replaced.
    pub(super) fn shown(&self, note: &[u8], log: &MemoryLog, journal: &Journal) {
        let Ok(checkpoint) = Checkpoint::open(note, &self.verifier) else {
            return journal.breach("I7: the checkpoint shown does not open".to_owned());
        };
        let Checkpoint { size, root, .. } = checkpoint;
        self.checkpoint(&format!("checkpoint/{size}"), log, journal);
        let mut inner = self.lock();
        let largest = inner.published.iter().map(|shown| shown.size).max().unwrap_or(0);
        if size < largest {
            journal.breach(format!("I7: the checkpoint shown shrank from {largest} to {size}"));
        }
        inner.published.push(Published { size, root });
    }

    /// How often a contribution may kill its node: anew after each retry. An attempt that is still
    /// under way when its shard is handed over, or loses its memory, in a process that lives on is
    /// not counted; twice the bound leaves room for those, and none for a poison that loops.
    pub(super) fn kills_allowed(&self, key: &str) -> u8 {
        let inner = self.lock();
        let retried = inner.retried.get(key).copied().unwrap_or(0);
        UNCLEAN_ENDS_MAX * (2 + retried) + inner.cleans
    }

    /// Every checkpoint that was ever shown.
    pub(super) fn published(&self) -> Vec<Published> {
        self.lock().published.clone()
    }
}

/// Only what ended expires, and as what it ended.
fn judge_tombstone(
    shard: ShardId,
    old: Option<&Journey>,
    tombstone: &Tombstone,
    journal: &Journal,
) {
    let id = tombstone.id;
    match old {
        // It was one before, and a withdrawal reached it.
        None => journal.transition("journey: a tombstone is withdrawn".to_owned()),
        Some(old) if old.state == tombstone.state && old.state.is_terminal() => {
            journal.transition(format!("journey: {} -> expired", word(&old.state)));
        }
        Some(old) => {
            let was = word(&old.state);
            journal.breach(format!("I1: {id} of shard {shard} was {was} and expired as another"));
        }
    }
    let accepted = old.is_some_and(|old| old.accepted.is_some());
    if accepted && tombstone.accepted.is_none() {
        journal.breach(format!("I1: {id} was accepted, and its tombstone says otherwise"));
    }
}

/// A state with what tells one standing from another.
pub(super) fn word(state: &State) -> String {
    match state {
        State::Parked { wait, .. } => format!("parked:{}", wait.as_str()),
        State::Paused { cause, .. } => format!("paused:{}", cause.as_str()),
        State::Moving | State::Settled | State::Rejected(_) | State::Withdrawn => {
            state.as_str().to_owned()
        }
    }
}

fn state_of(bytes: Option<&[u8]>) -> ShardState {
    bytes.and_then(|bytes| decode(bytes).ok()).unwrap_or_default()
}
