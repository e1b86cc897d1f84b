//! One shard with one contribution in a store, three owners of which one is a zombie, the log, and
//! a rail.

use super::log::{Log, OTHER, Offered, SHARD};
use gristmill_workflows::lease::{Admission, Fence, Lease};
use gristmill_workflows::time::Timestamp;

/// Nodes 0 and 1; 2 held the lease before and does not know that it lost it.
const NODES: usize = 3;
const ZOMBIE: usize = 2;
/// Bounds of the search.
const TTL: u64 = 1;
const CLAIMS_MAX: u8 = 2;
const DROPS_MAX: u8 = 1;
const TRIES_MAX: u8 = 2;

/// The entries of the public log.
const CONTRIBUTION: u8 = 1;
const PAYOUT: u8 = 2;
const FOREIGN: u8 = 3;

/// A deliberate bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tooth {
    EpochNotChecked,
    SeqNotChecked,
    LeaseTakenWhileHeld,
    CursorIgnored,
    CheckpointBeforeItsObject,
    EffectBeforeCommit,
    UnknownUnderNewKey,
}

/// What is checked: bounds of the search, and a bug.
#[derive(Debug, Clone)]
pub struct Shape {
    pub tooth: Option<Tooth>,
    /// Holders of the log's role; with two of them, checkpoints are published too.
    pub roles: usize,
    /// Requests to the store that may be on their way at once, and arrive at any later time.
    pub late: usize,
    /// The last moment; a lease lasts one.
    pub clock: u64,
    /// Leases are prolonged and given back, and memories lost.
    pub leases: bool,
    /// Tries of the payout; the last one cannot fail.
    pub tries: u8,
}

impl Shape {
    /// Lease, fencing and payments, with one holder of the log's role.
    pub fn fencing() -> Self {
        Self { tooth: None, roles: 1, late: 1, clock: 2, leases: true, tries: 2 }
    }

    /// Sequencing and publication, with two.
    pub fn sequencing() -> Self {
        Self { tooth: None, roles: 2, late: 0, clock: 1, leases: false, tries: 1 }
    }

    pub fn with(self, tooth: Tooth) -> Self {
        Self { tooth: Some(tooth), ..self }
    }

    fn has(&self, tooth: Tooth) -> bool {
        self.tooth == Some(tooth)
    }
}

/// Where the contribution stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Row {
    Queued,
    /// C1: its entry is in the outbox.
    Accepted,
    /// C2: its payout's n-th try may be at the rail.
    InFlight(u8),
    /// C3: the payout's entry is in the outbox.
    Paid(u8),
    /// That entry has its index too.
    Logged(u8),
}

/// Rows as a commit writes them: whole, so that an unfenced one does harm.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rows {
    row: Row,
    /// Position and entry that are due to the log.
    outbox: Option<(u64, u8)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Request {
    owner: u128,
    epoch: u64,
    seq: u64,
    rows: Rows,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Node {
    /// Its epoch and the seq of its last commit, as far as it knows that it owns the shard.
    owns: Option<(u64, u64)>,
    view: Rows,
    /// A commit whose answer it did not hear.
    pending: Option<Rows>,
    index: Option<u64>,
    /// What the rail said of the try in flight.
    rail: Option<bool>,
    /// The rail was asked and no answer came.
    unknown: bool,
}

/// Things that have to happen somewhere, or the model would prove little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shown {
    Fenced,
    Resent,
    Repeated,
    Collided,
}

/// What nobody in the model can see, but properties can.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Ghost {
    pub fault: Option<&'static str>,
    /// What the last step showed.
    pub shown: Option<Shown>,
    /// Owner, epoch and end of the newest lease; seq of the last commit that changed rows.
    issued: (u128, u64, u64),
    last_seq: u64,
}

/// A state of the world.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    now: u64,
    /// Owner, epoch, seq, until.
    lease: (u128, u64, u64, u64),
    rows: Rows,
    nodes: [Node; NODES],
    late: Vec<Request>,
    claims: u8,
    drops: u8,
    pub log: Log,
    /// What the rail decided for each try.
    rail: [Option<bool>; TRIES_MAX as usize],
    pub ghost: Ghost,
}

/// How a request fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Heard,
    ReplyLost,
    Late,
}

/// What can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Tick,
    Claim(usize),
    Renew(usize),
    Release(usize),
    /// A node's memory of the shard is gone.
    Drop(usize),
    Decide(usize),
    Commit(usize, Fate),
    Deliver(usize),
    Offer(usize, usize, Fate),
    Restart(usize),
    Publish(usize),
    /// The other shard offers its entry to a holder of the role.
    Other(usize),
    Pay(usize, bool, Fate),
}

fn owner(node: usize) -> u128 {
    node as u128 + 1
}

impl State {
    pub fn new() -> Self {
        let rows = Rows { row: Row::Queued, outbox: None };
        let lease = Lease::default().claim(owner(ZOMBIE), Timestamp(0), TTL);
        let lease = lease.expect("a new lease is free");
        let mut state = Self {
            now: 0,
            lease: (lease.owner, lease.epoch, lease.seq, lease.until.0),
            rows: rows.clone(),
            nodes: std::array::from_fn(|_| Node::idle(&rows)),
            late: Vec::new(),
            claims: 0,
            drops: 0,
            log: Log::default(),
            rail: [None; TRIES_MAX as usize],
            ghost: Ghost::default(),
        };
        state.nodes[ZOMBIE].owns = Some((lease.epoch, 0));
        state.ghost.issued = (lease.owner, lease.epoch, lease.until.0);
        state
    }

    fn lease(&self) -> Lease {
        let (owner, epoch, seq, until) = self.lease;
        Lease { owner, epoch, seq, until: Timestamp(until) }
    }

    fn put_lease(&mut self, lease: Lease) {
        self.lease = (lease.owner, lease.epoch, lease.seq, lease.until.0);
    }

    pub fn movements(&self) -> usize {
        self.rail.iter().filter(|one| **one == Some(true)).count()
    }

    pub fn is_settled(&self) -> bool {
        let entries = self.log.entries();
        matches!(self.rows.row, Row::Logged(_)) && entries.contains(&PAYOUT)
    }

    pub fn is_second_try(&self) -> bool {
        matches!(self.rows.row, Row::Paid(2))
    }

    /// The rail knows no try that is not committed as in flight.
    pub fn pays_only_what_is_committed(&self) -> bool {
        let committed = match self.rows.row {
            Row::Queued | Row::Accepted => 0,
            Row::InFlight(number) | Row::Paid(number) | Row::Logged(number) => number,
        };
        self.rail.iter().skip(usize::from(committed)).all(Option::is_none)
    }

    pub fn actions(&self, shape: &Shape, actions: &mut Vec<Action>) {
        if self.now < shape.clock {
            actions.push(Action::Tick);
        }
        for (n, node) in self.nodes.iter().enumerate() {
            let fates = [Fate::Heard, Fate::ReplyLost, Fate::Late];
            let fates = &fates[..2 + shape.late.min(1)];
            if node.owns.is_none() {
                if n != ZOMBIE && self.claims < CLAIMS_MAX {
                    actions.push(Action::Claim(n));
                }
                continue;
            }
            if shape.leases {
                actions.push(Action::Renew(n));
            }
            if shape.leases && n != ZOMBIE {
                actions.extend([Action::Release(n), Action::Drop(n)]);
            }
            if node.pending.is_some() {
                actions.extend(fates.iter().map(|fate| Action::Commit(n, *fate)));
            } else {
                actions.push(Action::Decide(n));
            }
            if node.offer(shape).is_some() {
                for role in 0..shape.roles {
                    actions
                        .extend([Fate::Heard, Fate::ReplyLost].map(|f| Action::Offer(n, role, f)));
                }
            }
            if node.try_due(shape).is_some() && node.rail.is_none() {
                let outcomes: &[bool] = if shape.tries > 1 { &[true, false] } else { &[true] };
                for paid in outcomes.iter().copied() {
                    actions.extend([Fate::Heard, Fate::ReplyLost].map(|f| Action::Pay(n, paid, f)));
                }
            }
        }
        actions.extend((0..self.late.len()).map(Action::Deliver));
        if shape.roles > 1 {
            let of = |role| [Action::Restart(role), Action::Publish(role), Action::Other(role)];
            actions.extend((0..2).flat_map(of));
        }
    }

    /// Takes a step; false if nothing changes.
    pub fn step(&mut self, shape: &Shape, action: Action) -> bool {
        self.ghost.shown = None;
        match action {
            Action::Tick => self.now += 1,
            Action::Claim(n) => return self.claim(shape, n),
            Action::Renew(n) => match self.lease().renew(owner(n), Timestamp(self.now), TTL) {
                Some(lease) if lease != self.lease() => {
                    self.put_lease(lease);
                    self.ghost.issued.2 = lease.until.0;
                }
                _ => return false,
            },
            Action::Release(n) => {
                let Some(lease) = self.lease().release(owner(n)) else { return false };
                self.put_lease(lease);
                self.ghost.issued.2 = 0;
                self.nodes[n] = Node::idle(&self.rows);
            }
            Action::Drop(n) => {
                if self.drops == DROPS_MAX {
                    return false;
                }
                self.drops += 1;
                self.nodes[n] = Node::idle(&self.rows);
            }
            Action::Decide(n) => match self.nodes[n].decide(shape) {
                Some(rows) => self.nodes[n].pending = Some(rows),
                None => return false,
            },
            Action::Commit(n, fate) => return self.commit(shape, n, fate),
            Action::Deliver(nth) => {
                let request = self.late.remove(nth);
                self.apply(shape, &request);
            }
            Action::Offer(n, role, fate) => return self.offer(shape, n, role, fate),
            Action::Restart(role) => return self.log.restart(role),
            Action::Publish(role) => return self.log.publish(role),
            Action::Other(role) => {
                let before = self.log.clone();
                let due = (OTHER, 1, 0, FOREIGN);
                if shape.has(Tooth::CheckpointBeforeItsObject) {
                    self.log.publish_early(role, due);
                }
                if self.log.offer(role, due, false) == Offered::Collided {
                    self.ghost.shown = Some(Shown::Collided);
                }
                return self.log != before;
            }
            Action::Pay(n, paid, fate) => return self.pay(shape, n, paid, fate),
        }
        true
    }

    fn claim(&mut self, shape: &Shape, n: usize) -> bool {
        let mut lease = self.lease();
        if shape.has(Tooth::LeaseTakenWhileHeld) {
            lease.until = Timestamp(0);
        }
        let Some(lease) = lease.claim(owner(n), Timestamp(self.now), TTL) else { return false };
        let (before, epoch, until) = self.ghost.issued;
        if before != owner(n) && self.now < until {
            self.ghost.fault = Some("a lease was taken from a holder whose time was not over");
        }
        if lease.epoch <= epoch {
            self.ghost.fault = Some("an epoch was given out twice");
        }
        self.claims += 1;
        self.put_lease(lease);
        self.ghost.issued = (lease.owner, lease.epoch, lease.until.0);
        self.ghost.last_seq = 0;
        self.nodes[n] = Node { owns: Some((lease.epoch, 0)), ..Node::idle(&self.rows) };
        true
    }

    fn commit(&mut self, shape: &Shape, n: usize, fate: Fate) -> bool {
        let (Some((epoch, seq)), Some(rows)) = (self.nodes[n].owns, self.nodes[n].pending.clone())
        else {
            return false;
        };
        let request = Request { owner: owner(n), epoch, seq: seq + 1, rows: rows.clone() };
        if fate == Fate::Late {
            if self.late.len() >= shape.late || self.late.contains(&request) {
                return false;
            }
            self.late.push(request);
            return true;
        }
        let before = self.clone();
        let admitted = self.apply(shape, &request);
        if fate == Fate::ReplyLost {
            return *self != before;
        }
        if admitted == Admission::Fenced {
            self.nodes[n] = Node::idle(&self.rows);
            return true;
        }
        let node = &mut self.nodes[n];
        let indexed = node.view.outbox.filter(|_| rows.outbox.is_none());
        node.owns = Some((epoch, seq + 1));
        node.view = rows;
        (node.pending, node.index, node.rail, node.unknown) = (None, None, None, false);
        if let Some((position, _)) = indexed {
            self.log.forget(n % shape.roles, position + 1);
        }
        true
    }

    /// The store takes a fenced write.
    fn apply(&mut self, shape: &Shape, request: &Request) -> Admission {
        let lease = self.lease();
        let fence = Fence { owner: request.owner, epoch: request.epoch, seq: request.seq };
        let mut judged = fence;
        if shape.has(Tooth::EpochNotChecked) {
            (judged.owner, judged.epoch) = (lease.owner, lease.epoch);
        }
        if shape.has(Tooth::SeqNotChecked) {
            judged.seq = lease.seq + 1;
        }
        let admission = lease.admit(judged);
        match admission {
            Admission::Fenced => self.ghost.shown = Some(Shown::Fenced),
            Admission::Applied => self.ghost.shown = Some(Shown::Resent),
            Admission::Apply => {
                let (owner, epoch, _) = self.ghost.issued;
                if (request.owner, request.epoch) != (owner, epoch) {
                    self.ghost.fault = Some("a node without the epoch changed something");
                }
                if request.seq != self.ghost.last_seq + 1 {
                    self.ghost.fault = Some("a commit was applied twice or out of its order");
                }
                self.ghost.last_seq = request.seq;
                self.rows = request.rows.clone();
                let lease = lease.applied(judged, Timestamp(self.now), TTL);
                self.put_lease(lease);
                self.ghost.issued.2 = lease.until.0;
            }
        }
        admission
    }

    fn offer(&mut self, shape: &Shape, n: usize, role: usize, fate: Fate) -> bool {
        let (Some((epoch, _)), Some(due)) = (self.nodes[n].owns, self.nodes[n].offer(shape)) else {
            return false;
        };
        let before = self.clone();
        let offered = (SHARD, epoch, due.0, due.1);
        if shape.has(Tooth::CheckpointBeforeItsObject) {
            self.log.publish_early(role, offered);
        }
        match self.log.offer(role, offered, shape.has(Tooth::CursorIgnored)) {
            Offered::At(index, fresh) => {
                self.ghost.shown = (!fresh).then_some(Shown::Repeated);
                if fate == Fate::Heard {
                    self.nodes[n].index = Some(index);
                }
            }
            Offered::Fenced if fate == Fate::Heard => self.nodes[n] = Node::idle(&self.rows),
            Offered::Collided => self.ghost.shown = Some(Shown::Collided),
            Offered::Refused if (owner(n), epoch) == (self.ghost.issued.0, self.ghost.issued.1) => {
                // An owner whose commit was applied, and who did not hear of it, may offer again.
                if self.rows == self.nodes[n].view {
                    self.ghost.fault = Some("the owner's offer was refused");
                }
            }
            Offered::Fenced | Offered::Refused => {}
        }
        *self != before
    }

    fn pay(&mut self, shape: &Shape, n: usize, paid: bool, fate: Fate) -> bool {
        let Some(number) = self.nodes[n].try_due(shape) else { return false };
        let slot = &mut self.rail[usize::from(number) - 1];
        // What the rail once said of a key it says again.
        if slot.is_some_and(|said| said != paid) {
            return false;
        }
        *slot = Some(paid);
        let node = &mut self.nodes[n];
        match fate {
            Fate::Heard => node.rail = Some(paid),
            Fate::ReplyLost | Fate::Late => node.unknown = true,
        }
        true
    }
}

impl Node {
    fn idle(rows: &Rows) -> Self {
        Self {
            owns: None,
            view: rows.clone(),
            pending: None,
            index: None,
            rail: None,
            unknown: false,
        }
    }

    /// What is due to the log by what it knows to be committed.
    fn offer(&self, shape: &Shape) -> Option<(u64, u8)> {
        let early = self.pending.as_ref().filter(|_| shape.has(Tooth::EffectBeforeCommit));
        let due = early.unwrap_or(&self.view).outbox;
        due.filter(|_| self.index.is_none())
    }

    /// The try of the payout that may go to the rail.
    fn try_due(&self, shape: &Shape) -> Option<u8> {
        let early = self.pending.as_ref().filter(|_| shape.has(Tooth::EffectBeforeCommit));
        match early.unwrap_or(&self.view).row {
            Row::InFlight(number) => Some(number),
            _ => None,
        }
    }

    /// The next commit, if there is one.
    fn decide(&self, shape: &Shape) -> Option<Rows> {
        let due = |row, outbox| Some(Rows { row, outbox });
        match self.view.row {
            Row::Queued => due(Row::Accepted, Some((0, CONTRIBUTION))),
            Row::Accepted => self.index.and_then(|_| due(Row::InFlight(1), None)),
            Row::InFlight(number) => match self.rail {
                Some(true) => due(Row::Paid(number), Some((1, PAYOUT))),
                Some(false) if number < shape.tries => due(Row::InFlight(number + 1), None),
                None if self.unknown
                    && shape.has(Tooth::UnknownUnderNewKey)
                    && number < shape.tries =>
                {
                    due(Row::InFlight(number + 1), None)
                }
                Some(false) | None => None,
            },
            Row::Paid(number) => self.index.and_then(|_| due(Row::Logged(number), None)),
            Row::Logged(_) => None,
        }
    }
}
