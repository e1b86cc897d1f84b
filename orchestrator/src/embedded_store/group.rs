//! One group commit while it is put together: each call is judged on what the calls before it in
//! the group left, and nothing is changed outside of the group. A call that is answered `Fenced`
//! left nothing in the group; after any other error the group must be given up as a whole.

use super::engine::{Changes, Engine, Space, View};
use super::keys::{self, Tag};
use super::memory::{Marked, ShardRow};
use super::reads;
use gristmill_actors::ports::{Claimed, Committed, Intake, StoreError, Submitted};
use gristmill_workflows::codec::{self, Record};
use gristmill_workflows::commit::{Commit, Guard, Place};
use gristmill_workflows::id::{Arrival, Bucket, ContributionId, ContributorKey, ShardId};
use gristmill_workflows::inbox::Lane;
use gristmill_workflows::lease::{Admission, Fence, Lease};
use gristmill_workflows::submission::Mark;
use gristmill_workflows::time::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

/// What a group changes.
pub(super) struct Staged {
    /// Rows.
    pub(super) changes: Changes,
    /// Counters of shards.
    pub(super) shards: BTreeMap<ShardId, ShardRow>,
    /// Whose first or further marks.
    pub(super) marked: Vec<(ShardId, ContributorKey)>,
}

/// A group that is being put together.
pub(super) struct Group<'a> {
    view: View<'a>,
    known: &'a [ShardRow],
    /// Up to which arrival number each shard lets in what comes now.
    ahead: &'a [AtomicU64],
    known_marked: &'a RwLock<Marked>,
    staged: Staged,
    /// Marks of contributors that the group has met, those it adds included.
    marks: HashMap<(ShardId, ContributorKey), Vec<Mark>>,
}

impl<'a> Group<'a> {
    /// A group without a call.
    pub(super) fn new(
        engine: &'a Engine,
        known: &'a [ShardRow],
        ahead: &'a [AtomicU64],
        known_marked: &'a RwLock<Marked>,
    ) -> Self {
        let staged =
            Staged { changes: Changes::default(), shards: BTreeMap::new(), marked: Vec::new() };
        Self { view: engine.view(), known, ahead, known_marked, staged, marks: HashMap::new() }
    }

    /// What the group came to.
    pub(super) fn into_staged(self) -> Result<Staged, StoreError> {
        let (mut staged, known) = (self.staged, self.known);
        staged.shards.retain(|shard, row| known.get(usize::from(shard.0)) != Some(row));
        for (shard, row) in &staged.shards {
            staged.changes.put(Space::Queue, keys::only(*shard, Tag::Shard), encode(row)?);
        }
        Ok(staged)
    }

    /// `ShardStore::claim`. The store's lock is a lease that no one else can hold, so a claim is
    /// never refused here; the epoch fences the owner before.
    pub(super) fn claim(&mut self, shard: ShardId, owner: u128) -> Result<Lease, StoreError> {
        let row = self.shard(shard)?;
        let over = Lease { until: Timestamp(0), ..row.lease };
        row.lease = over.claim(owner, Timestamp(0), 0).ok_or(StoreError::Fenced { shard })?;
        Ok(row.lease)
    }

    /// `ShardStore::release`.
    pub(super) fn release(&mut self, shard: ShardId, owner: u128) -> Result<(), StoreError> {
        let row = self.shard(shard)?;
        row.lease = row.lease.release(owner).unwrap_or(row.lease);
        Ok(())
    }

    /// `ShardStore::leases`.
    pub(super) fn leases(&mut self, shards: &[ShardId]) -> Result<Vec<Lease>, StoreError> {
        shards.iter().map(|shard| Ok(self.shard(*shard)?.lease)).collect()
    }

    /// `ShardStore::submit`.
    pub(super) fn submit(
        &mut self,
        items: Vec<Intake>,
        max: u64,
    ) -> Result<Vec<Submitted>, StoreError> {
        items.into_iter().map(|item| self.submit_one(item, max)).collect()
    }

    fn submit_one(&mut self, intake: Intake, max: u64) -> Result<Submitted, StoreError> {
        let Intake { shard, lane, item, identity, mark, reads: _ } = intake;
        if let Some((name, hash)) = identity {
            let key = keys::named(shard, Tag::Identity, name);
            if let Some(row) = self.random(&key)? {
                let (arrival, known) = reads::identity(&row)?;
                let same = known == hash;
                let taken = if same { Submitted::Same } else { Submitted::Conflict };
                return Ok(taken(arrival));
            }
        }
        let row = self.shard(shard)?;
        if lane == Lane::Intake {
            if row.intake >= max {
                return Ok(Submitted::Full);
            }
            row.intake += 1;
        }
        row.arrived += 1;
        let arrival = row.arrived;
        let changes = &mut self.staged.changes;
        let ahead = self.ahead.get(usize::from(shard.0)).filter(|_| lane == Lane::Intake);
        if ahead.is_some_and(|ahead| arrival <= ahead.load(Ordering::Relaxed)) {
            changes.put(Space::Queue, keys::only(shard, Tag::Noted), arrival.to_be_bytes());
        }
        if let Some((name, hash)) = identity {
            let mut row = [0; 24];
            row[..8].copy_from_slice(&arrival.to_be_bytes());
            row[8..].copy_from_slice(&hash);
            changes.put(Space::Random, keys::named(shard, Tag::Identity, name), row);
        }
        changes.put(Space::Queue, keys::numbered(shard, keys::lane(lane), arrival), item);
        if let Some((contributor, mark)) = mark {
            self.mark(shard, contributor, Mark { position: arrival, ..mark })?;
        }
        Ok(Submitted::Accepted(arrival))
    }

    fn mark(&mut self, shard: ShardId, key: ContributorKey, mark: Mark) -> Result<(), StoreError> {
        let row = encode(&mark)?;
        self.staged.changes.put(Space::Random, keys::mark(shard, key, mark.position), row);
        self.staged.marked.push((shard, key));
        self.marks(shard, key)?.push(mark);
        Ok(())
    }

    /// `ShardStore::commit`.
    pub(super) fn commit(
        &mut self,
        shard: ShardId,
        fence: Fence,
        commit: &Commit,
    ) -> Result<Committed, StoreError> {
        match self.shard(shard)?.lease.admit(fence) {
            Admission::Fenced => return Err(StoreError::Fenced { shard }),
            Admission::Applied => return Ok(Committed::Applied),
            Admission::Apply => {}
        }
        let mut broken = Vec::new();
        for guard in &commit.guards {
            broken.extend(self.broken(shard, guard)?);
        }
        if !broken.is_empty() {
            return Ok(Committed::Broken(broken));
        }
        self.apply(shard, commit);
        let intake = commit.inbox_remove.iter().filter(|(lane, _)| *lane == Lane::Intake).count();
        let row = self.shard(shard)?;
        row.intake = row.intake.saturating_sub(intake as u64);
        row.lease = row.lease.applied(fence, Timestamp(0), 0);
        Ok(Committed::Applied)
    }

    fn broken(
        &mut self,
        shard: ShardId,
        guard: &Guard,
    ) -> Result<Option<(Arrival, Mark)>, StoreError> {
        let marks = self.marks(shard, guard.contributor)?;
        let mark = marks.iter().find(|mark| guard.is_broken_by(mark));
        Ok(mark.map(|mark| (guard.arrival, mark.clone())))
    }

    /// What is taken away goes before what is put: a row that is both stands.
    fn apply(&mut self, shard: ShardId, commit: &Commit) {
        use Space::{Finished, Queue, Random};
        let changes = &mut self.staged.changes;
        for (lane, arrival) in &commit.inbox_remove {
            changes.remove(Queue, keys::numbered(shard, keys::lane(*lane), *arrival));
        }
        for (due, whose) in &commit.timers_remove {
            changes.remove(Queue, keys::timer(shard, *due, *whose));
        }
        for position in &commit.outbox_remove {
            changes.remove(Queue, keys::numbered(shard, Tag::Outbox, *position));
        }
        for data_key in &commit.erasures_remove {
            changes.remove(Queue, keys::numbered(shard, Tag::Erasure, *data_key));
        }
        for (arrival, place, is_active, row) in &commit.journeys {
            let active = keys::numbered(shard, Tag::Active, *arrival);
            match place {
                Place::Active => changes.put(Queue, active, row),
                Place::Finished => {
                    if *is_active {
                        changes.remove(Queue, active);
                    }
                    changes.put(Finished, keys::finished(shard, *arrival), row);
                }
            }
        }
        for (contributor, row) in &commit.contributors {
            changes.put(Random, keys::named(shard, Tag::Contributor, contributor.0), row);
        }
        for (due, whose) in &commit.timers_put {
            changes.put(Queue, keys::timer(shard, *due, *whose), []);
        }
        for (position, row) in &commit.outbox_put {
            changes.put(Queue, keys::numbered(shard, Tag::Outbox, *position), row);
        }
        for (position, row) in &commit.sequenced_put {
            changes.put(Random, keys::numbered(shard, Tag::Sequenced, *position), row);
        }
        for data_key in &commit.erasures_put {
            changes.put(Queue, keys::numbered(shard, Tag::Erasure, *data_key), []);
        }
        if let Some(admitted) = &commit.admitted {
            changes.put(Queue, keys::only(shard, Tag::Admitted), admitted);
        }
        changes.put(Queue, keys::only(shard, Tag::State), &commit.state);
    }

    /// `ContentIndex::claim`.
    pub(super) fn claim_contents(
        &mut self,
        claims: &[([u8; 32], ContributionId)],
    ) -> Result<Vec<Claimed>, StoreError> {
        claims.iter().map(|(content, id)| self.hold(*content, *id, *id)).collect()
    }

    /// `ContentIndex::take_over`. A content that nobody holds goes to the claimer.
    pub(super) fn hold(
        &mut self,
        content: [u8; 32],
        from: ContributionId,
        to: ContributionId,
    ) -> Result<Claimed, StoreError> {
        let key = keys::content(content);
        let holder = match self.random(&key)? {
            Some(row) => Some(holder(&row)?),
            None => None,
        };
        match holder {
            Some(holder) if holder == to => return Ok(Claimed::First),
            Some(holder) if holder != from => return Ok(Claimed::Taken(holder)),
            _ => {}
        }
        let mut row = [0; 18];
        row[..2].copy_from_slice(&to.bucket.0.to_be_bytes());
        row[2..].copy_from_slice(&to.mac);
        self.staged.changes.put(Space::Random, key, row);
        Ok(Claimed::First)
    }

    /// `Register::swap`.
    pub(super) fn swap(
        &mut self,
        name: &str,
        expected: Option<&[u8]>,
        new: Option<Vec<u8>>,
    ) -> Result<bool, StoreError> {
        let key = keys::register(name);
        let stands = self.random(&key)?;
        if stands.as_deref() != expected {
            return Ok(false);
        }
        match new {
            Some(row) => self.staged.changes.put(Space::Random, key, row),
            None => self.staged.changes.remove(Space::Random, key),
        }
        Ok(true)
    }

    /// The counters of a shard as the group leaves them.
    fn shard(&mut self, shard: ShardId) -> Result<&mut ShardRow, StoreError> {
        let known = self
            .known
            .get(usize::from(shard.0))
            .ok_or_else(|| reads::no_shard(shard, self.known.len()))?;
        Ok(self.staged.shards.entry(shard).or_insert(*known))
    }

    fn random(&self, key: &[u8]) -> Result<Option<fjall::UserValue>, StoreError> {
        match self.staged.changes.random(key) {
            Some(row) => Ok(row.cloned()),
            None => self.view.get(Space::Random, key),
        }
    }

    /// All marks of a contributor.
    fn marks(&mut self, shard: ShardId, key: ContributorKey) -> Result<&mut Vec<Mark>, StoreError> {
        use std::collections::hash_map::Entry;
        match self.marks.entry((shard, key)) {
            Entry::Occupied(marks) => Ok(marks.into_mut()),
            Entry::Vacant(slot) => {
                let known = self.known_marked.read().unwrap_or_else(PoisonError::into_inner);
                let is_marked = known.contains(&(shard, key));
                drop(known);
                let marks =
                    if is_marked { reads::marks(&self.view, shard, key)? } else { Vec::new() };
                Ok(slot.insert(marks))
            }
        }
    }
}

fn holder(row: &[u8]) -> Result<ContributionId, StoreError> {
    let bucket = keys::bytes_at(row, 0).map(u16::from_be_bytes);
    match (bucket, keys::bytes_at(row, 2)) {
        (Some(bucket), Some(mac)) => Ok(ContributionId { bucket: Bucket(bucket), mac }),
        _ => Err(reads::damaged("the holder of a content is cut off")),
    }
}

fn encode<R: Record>(record: &R) -> Result<Vec<u8>, StoreError> {
    codec::encode(record).map_err(|error| reads::damaged(error.to_string()))
}
