//! One shard's rows, and the steps over them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use gristmill_actors::ports::{
    Committed, Fetch, Intake, Lanes, Loaded, Reads, Renewed, StoreError, StoredContributor,
    StoredJourney, Submitted,
};
use gristmill_workflows::commit::{Commit, Guard, Place};
use gristmill_workflows::id::{Arrival, ContributorKey, ShardId};
use gristmill_workflows::inbox::Lane;
use gristmill_workflows::lease::{Admission, Fence, Lease};
use gristmill_workflows::submission::Mark;
use gristmill_workflows::time::Timestamp;

/// What leases are judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeaseTime {
    pub(super) now: Timestamp,
    pub(super) ttl_ms: u64,
}

/// The rows of one shard, encoded as the node gave them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShardRows {
    /// The lease.
    pub lease: Lease,
    /// The last arrival number given out.
    pub arrived: Arrival,
    /// Arrival number and body hash by identity. Never taken away.
    pub identities: HashMap<[u8; 16], (Arrival, [u8; 16])>,
    /// Control lane.
    pub control: BTreeMap<Arrival, Vec<u8>>,
    /// Intake lane.
    pub intake: BTreeMap<Arrival, Vec<u8>>,
    /// Intake items that were noted as let in.
    pub noted: BTreeSet<Arrival>,
    /// What the reader of an inbox item needs with it.
    pub reads: BTreeMap<Arrival, Reads>,
    /// Journeys that are not terminal.
    pub active: BTreeMap<Arrival, Vec<u8>>,
    /// Terminal journeys.
    pub finished: BTreeMap<Arrival, Vec<u8>>,
    /// Contributors.
    pub contributors: BTreeMap<ContributorKey, Vec<u8>>,
    /// Marks by contributor, in the order they came.
    pub marks: BTreeMap<ContributorKey, Vec<Mark>>,
    /// Timers: when due, whose.
    pub timers: BTreeSet<(Timestamp, Arrival)>,
    /// Outbox rows by first position.
    pub outbox: BTreeMap<u64, Vec<u8>>,
    /// Sequenced rows by first position.
    pub sequenced: BTreeMap<u64, Vec<u8>>,
    /// Data keys to destroy.
    pub erasures: BTreeSet<u64>,
    /// `Admitted`, encoded.
    pub admitted: Option<Vec<u8>>,
    /// `ShardState`, encoded.
    pub state: Option<Vec<u8>>,
}

impl ShardRows {
    pub(super) fn claim(
        &mut self,
        shard: ShardId,
        owner: u128,
        time: LeaseTime,
    ) -> Result<Lease, StoreError> {
        let claimed = self.lease.claim(owner, time.now, time.ttl_ms);
        self.lease = claimed.ok_or(StoreError::Fenced { shard })?;
        Ok(self.lease)
    }

    pub(super) fn renew(&mut self, owner: u128, time: LeaseTime) -> Renewed {
        match self.lease.renew(owner, time.now, time.ttl_ms) {
            Some(renewed) => {
                self.lease = renewed;
                Renewed::Until(renewed.until)
            }
            None => Renewed::Lost,
        }
    }

    pub(super) fn release(&mut self, owner: u128) -> bool {
        let released = self.lease.release(owner);
        self.lease = released.unwrap_or(self.lease);
        released.is_some()
    }

    pub(super) fn submit(&mut self, intake: Intake, high_water: usize) -> Submitted {
        if let Some((identity, hash)) = &intake.identity
            && let Some((arrival, known)) = self.identities.get(identity)
        {
            let same = known == hash;
            return if same { Submitted::Same(*arrival) } else { Submitted::Conflict(*arrival) };
        }
        if intake.lane == Lane::Intake && self.intake.len() >= high_water {
            return Submitted::Full;
        }
        self.arrived += 1;
        let arrival = self.arrived;
        if let Some((identity, hash)) = intake.identity {
            self.identities.insert(identity, (arrival, hash));
        }
        if let Some((contributor, mark)) = intake.mark {
            let mark = Mark { position: arrival, ..mark };
            self.marks.entry(contributor).or_default().push(mark);
        }
        self.lane_mut(intake.lane).insert(arrival, intake.item);
        self.reads.insert(arrival, intake.reads);
        Submitted::Accepted(arrival)
    }

    pub(super) fn commit(
        &mut self,
        shard: ShardId,
        fence: Fence,
        commit: &Commit,
        time: LeaseTime,
    ) -> Result<Committed, StoreError> {
        match self.lease.admit(fence) {
            Admission::Fenced => return Err(StoreError::Fenced { shard }),
            Admission::Applied => return Ok(Committed::Applied),
            Admission::Apply => {}
        }
        let broken: Vec<_> = commit.guards.iter().filter_map(|guard| self.broken(guard)).collect();
        if !broken.is_empty() {
            return Ok(Committed::Broken(broken));
        }
        self.apply(commit);
        self.lease = self.lease.applied(fence, time.now, time.ttl_ms);
        Ok(Committed::Applied)
    }

    fn broken(&self, guard: &Guard) -> Option<(Arrival, Mark)> {
        let mut marks = self.marks.get(&guard.contributor)?.iter();
        let mark = marks.find(|mark| guard.is_broken_by(mark))?;
        Some((guard.arrival, mark.clone()))
    }

    /// What is taken away goes before what is put: a row that is both stands.
    fn apply(&mut self, commit: &Commit) {
        for (lane, arrival) in &commit.inbox_remove {
            self.lane_mut(*lane).remove(arrival);
            self.reads.remove(arrival);
            self.noted.remove(arrival);
        }
        for timer in &commit.timers_remove {
            self.timers.remove(timer);
        }
        for position in &commit.outbox_remove {
            self.outbox.remove(position);
        }
        for data_key in &commit.erasures_remove {
            self.erasures.remove(data_key);
        }
        for (arrival, place, active, row) in &commit.journeys {
            match place {
                Place::Active => {
                    self.active.insert(*arrival, row.clone());
                }
                Place::Finished => {
                    // The flag is trusted as a store on disk trusts it, so that a wrong one shows.
                    if *active {
                        self.active.remove(arrival);
                    }
                    self.finished.insert(*arrival, row.clone());
                }
            }
        }
        self.contributors.extend(commit.contributors.iter().cloned());
        self.timers.extend(&commit.timers_put);
        self.outbox.extend(commit.outbox_put.iter().cloned());
        self.sequenced.extend(commit.sequenced_put.iter().cloned());
        self.erasures.extend(&commit.erasures_put);
        if let Some(admitted) = &commit.admitted {
            self.admitted = Some(admitted.clone());
        }
        self.state = Some(commit.state.clone());
    }

    pub(super) fn load(&self) -> Loaded {
        Loaded {
            state: self.state.clone(),
            admitted: self.admitted.clone(),
            outbox: self.outbox.iter().map(|(from, row)| (*from, row.clone())).collect(),
            erasures: self.erasures.iter().copied().collect(),
            noted: self.noted.iter().copied().collect(),
        }
    }

    pub(super) fn fetch(&mut self, shard: ShardId, fetch: Fetch) -> Result<Lanes, StoreError> {
        if (self.lease.owner, self.lease.epoch) != (fetch.owner, fetch.epoch) {
            return Err(StoreError::Fenced { shard });
        }
        let (after, limit) = fetch.control;
        let control = page(&self.control, after, limit);
        let (after, room) = fetch.intake;
        let room = if control.len() == limit { 0 } else { room };
        let intake = page(&self.intake, after, room);
        if fetch.notes {
            self.noted.extend(intake.iter().map(|(arrival, _)| *arrival));
        }
        let read = control.iter().chain(&intake).filter_map(|(at, _)| self.reads.get(at));
        let keys: BTreeSet<ContributorKey> = read.filter_map(|reads| reads.contributor).collect();
        let contributors = keys.into_iter().map(|key| (key, self.contributor(key))).collect();
        let (noted, arrived) = (fetch.notes, Some(self.arrived));
        Ok(Lanes { control, intake, noted, arrived, contributors, data_keys: Vec::new() })
    }

    pub(super) fn inbox(
        &self,
        lane: Lane,
        after: Option<Arrival>,
        limit: usize,
    ) -> Vec<(Arrival, Vec<u8>)> {
        page(self.lane(lane), after, limit)
    }

    pub(super) fn inbox_item(&self, arrival: Arrival) -> Option<Vec<u8>> {
        self.control.get(&arrival).or_else(|| self.intake.get(&arrival)).cloned()
    }

    pub(super) fn contributor(&self, key: ContributorKey) -> StoredContributor {
        StoredContributor {
            row: self.contributors.get(&key).cloned(),
            marks: self.marks.get(&key).cloned().unwrap_or_default(),
        }
    }

    pub(super) fn journey(&self, arrival: Arrival) -> Option<StoredJourney> {
        let of = |place, row: &Vec<u8>| StoredJourney { place, row: row.clone() };
        let active = self.active.get(&arrival).map(|row| of(Place::Active, row));
        active.or_else(|| self.finished.get(&arrival).map(|row| of(Place::Finished, row)))
    }

    pub(super) fn list(
        &self,
        place: Place,
        after: Option<Arrival>,
        limit: usize,
    ) -> Vec<(Arrival, Vec<u8>)> {
        let rows = match place {
            Place::Active => &self.active,
            Place::Finished => &self.finished,
        };
        page(rows, after, limit)
    }

    fn lane(&self, lane: Lane) -> &BTreeMap<Arrival, Vec<u8>> {
        match lane {
            Lane::Control => &self.control,
            Lane::Intake => &self.intake,
        }
    }

    fn lane_mut(&mut self, lane: Lane) -> &mut BTreeMap<Arrival, Vec<u8>> {
        match lane {
            Lane::Control => &mut self.control,
            Lane::Intake => &mut self.intake,
        }
    }
}

fn page(
    rows: &BTreeMap<Arrival, Vec<u8>>,
    after: Option<Arrival>,
    limit: usize,
) -> Vec<(Arrival, Vec<u8>)> {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let above = rows.range((from, Bound::Unbounded));
    above.take(limit).map(|(arrival, row)| (*arrival, row.clone())).collect()
}
