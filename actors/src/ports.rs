//! The ports: what actors need from the outside, split by guarantee. Each trait says its contract;
//! every implementation passes the conformance suite of `gristmill_testkit`.

mod lanes;

pub use lanes::{Fetch, Lanes, Reads};

use crate::limits;
use crate::rail::BoxFuture;
use gristmill_workflows::commit::{Commit, Place};
use gristmill_workflows::entry::DataKey;
use gristmill_workflows::id::{Arrival, ContributionId, ContributorKey, ShardId};
use gristmill_workflows::inbox::Lane;
use gristmill_workflows::lease::{Fence, Lease};
use gristmill_workflows::placement::Member;
use gristmill_workflows::request::RequestKind;
use gristmill_workflows::submission::Mark;
use gristmill_workflows::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another owner or epoch holds the shard. Nothing was applied.
    #[error("the shard {shard} belongs to another owner or epoch")]
    Fenced {
        /// Which shard.
        shard: ShardId,
    },
    /// Nothing was applied; the same call may do better later.
    #[error("the store is unavailable: {detail}")]
    Unavailable {
        /// What the engine said.
        detail: String,
    },
    /// The call may have been applied or not; a commit is resent with the same bytes and seq.
    #[error("it is unknown whether the store applied it: {detail}")]
    Ambiguous {
        /// What the engine said.
        detail: String,
    },
    /// Stored bytes are not what was written. A person must look.
    #[error("the store is damaged: {detail}")]
    Damaged {
        /// What was found.
        detail: String,
    },
    /// A write or fsync failed: nothing may be acknowledged any more, the process has to end.
    #[error(
        "{}: {detail}",
        if *full { "the disk of the store is full" } else { "the store failed for good" }
    )]
    Failed {
        /// What the engine said.
        detail: String,
        /// The disk is full.
        full: bool,
    },
}

impl StoreError {
    /// Whether the same call may be tried again by this process.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Ambiguous { .. })
    }
}

/// One item for a shard's inbox.
#[derive(Debug, Clone)]
pub struct Intake {
    /// Whose inbox.
    pub shard: ShardId,
    /// Which lane.
    pub lane: Lane,
    /// The item, encoded (`gristmill_workflows::inbox::Item`).
    pub item: Vec<u8>,
    /// What makes a repeat of this item known: its identity and the hash of its body. A
    /// contribution's identity is its id; a manifest's control line has one of its own.
    pub identity: Option<([u8; 16], [u8; 16])>,
    /// A withdrawal's mark, durable in the same step; its position becomes the item's arrival
    /// number.
    pub mark: Option<(ContributorKey, Mark)>,
    /// What its reader needs with it.
    pub reads: Reads,
}

/// What became of an intake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submitted {
    /// Durable in the inbox under this arrival number.
    Accepted(Arrival),
    /// The same was durable before, under this arrival number. Nothing was written.
    Same(Arrival),
    /// The identity is taken by another body. Nothing was written.
    Conflict(Arrival),
    /// The intake lane is at its high-water mark. Nothing was written.
    Full,
}

/// What became of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// All of it is durable (or was, under the same seq).
    Applied,
    /// Nothing was applied, since these journeys rely on grants that are marked withdrawn.
    Broken(Vec<(Arrival, Mark)>),
}

/// What became of a lease that was to be prolonged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// It is the owner's until this moment.
    Until(Timestamp),
    /// It is another's, or nobody's.
    Lost,
    /// This one could not be asked for; it is the owner's for as long as was known before.
    Unknown,
}

/// What a shard needs when its memory is built anew.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// `ShardState`, encoded; none for a shard that was never written.
    pub state: Option<Vec<u8>>,
    /// `Admitted`, encoded.
    pub admitted: Option<Vec<u8>>,
    /// Outbox rows by position.
    pub outbox: Vec<(u64, Vec<u8>)>,
    /// Data keys that were to be destroyed.
    pub erasures: Vec<u64>,
    /// Intake items that a [`ShardStore::fetch`] noted and that are still in the inbox.
    pub noted: Vec<Arrival>,
}

/// A contributor as stored: the row, encoded, and every mark.
#[derive(Debug, Clone, Default)]
pub struct StoredContributor {
    /// `Contributor`, encoded.
    pub row: Option<Vec<u8>>,
    /// Marks of withdrawals, those included whose items were not dealt with yet.
    pub marks: Vec<Mark>,
}

/// A journey as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredJourney {
    /// Among the active or the finished ones.
    pub place: Place,
    /// `Journey`, encoded.
    pub row: Vec<u8>,
}

/// A row and its number: an arrival number or an outbox position.
pub type Numbered = (u64, Vec<u8>);

/// The arrival number and the body hash that an identity was accepted under.
pub type Known = (Arrival, [u8; 16]);

/// Shards: inboxes, journeys, contributors, and the one way to change them.
///
/// *Atomicity*: `submit` is one step an item over identity, mark and inbox; `commit` is all or
/// nothing over all its rows. No step spans two shards. *Durability*: an `Ok` is durable as
/// configured. *Ordering*: arrival numbers of a shard rise by at least one in the order of `submit`,
/// over both lanes; commits apply in the order of seq, each once. *Fencing*: `commit` checks owner,
/// epoch and seq; an older seq answers `Applied` and changes nothing. A store that failed over and
/// forgot what its owner has read or committed answers `Fenced`. *Retries* are the caller's; after
/// [`StoreError::Failed`] every further call fails the same way.
pub trait ShardStore: Send + Sync + 'static {
    /// How many shards the store was made with.
    fn shards(&self) -> u16;

    /// Claims a shard for an owner: a new epoch, higher than every one before. `Fenced` while
    /// another one holds it; a store that only one process can open never answers that.
    fn claim(&self, shard: ShardId, owner: u128) -> BoxFuture<'_, Result<Lease, StoreError>>;

    /// Prolongs leases, which a commit does too; one answer a shard.
    fn renew(
        &self,
        owner: u128,
        shards: Vec<ShardId>,
    ) -> BoxFuture<'_, Result<Vec<Renewed>, StoreError>>;

    /// Gives a lease back if it is the owner's; the shard is free at once.
    fn release(&self, shard: ShardId, owner: u128) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Leases as they stand, one answer a shard.
    fn leases(&self, shards: Vec<ShardId>) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>>;

    /// Puts items into inboxes. Items of one shard keep their order. One answer an item.
    fn submit(&self, items: Vec<Intake>) -> BoxFuture<'_, Result<Vec<Submitted>, StoreError>>;

    /// Applies a commit if its fence and its guards hold. `now` is the store's clock.
    fn commit(
        &self,
        shard: ShardId,
        fence: Fence,
        commit: Arc<Commit>,
    ) -> BoxFuture<'_, Result<Committed, StoreError>>;

    /// What a shard's memory is built from.
    fn load(&self, shard: ShardId) -> BoxFuture<'_, Result<Loaded, StoreError>>;

    /// Inbox items of a lane with arrival numbers above `after`, oldest first.
    fn inbox(
        &self,
        shard: ShardId,
        lane: Lane,
        after: Option<Arrival>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Numbered>, StoreError>>;

    /// Inbox items by arrival number, in either lane; none where there is none.
    fn inbox_items(
        &self,
        shard: ShardId,
        arrivals: Vec<Arrival>,
    ) -> BoxFuture<'_, Result<Vec<Option<Vec<u8>>>, StoreError>>;

    /// Reads both lanes for the shard's owner, in one step where the store can; then it may note what
    /// of the intake lane it answers, so that its owner need not, and `Fenced` says that the shard
    /// has another owner or epoch. What is noted is as durable as a commit.
    fn fetch(&self, shard: ShardId, fetch: Fetch) -> BoxFuture<'_, Result<Lanes, StoreError>> {
        Box::pin(async move {
            let mut lanes = Lanes::default();
            let (after, limit) = fetch.intake;
            if limit > 0 {
                lanes.intake = self.inbox(shard, Lane::Intake, after, limit).await?;
            }
            let (after, limit) = fetch.control;
            lanes.control = self.inbox(shard, Lane::Control, after, limit).await?;
            Ok(lanes)
        })
    }

    /// How many items are in the intake lane. Whoever counts them anyway says so at once.
    fn queued(&self, shard: ShardId) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            let (mut count, mut after) = (0, None);
            loop {
                let page = self.inbox(shard, Lane::Intake, after, limits::SURVEY_BATCH).await?;
                count += page.len() as u64;
                after = page.last().map(|(arrival, _)| *arrival);
                if page.len() < limits::SURVEY_BATCH {
                    return Ok(count);
                }
            }
        })
    }

    /// Contributors by key, one answer a key.
    fn contributors(
        &self,
        shard: ShardId,
        keys: Vec<ContributorKey>,
    ) -> BoxFuture<'_, Result<Vec<StoredContributor>, StoreError>>;

    /// Journeys by arrival number, one answer a number.
    fn journeys(
        &self,
        shard: ShardId,
        arrivals: Vec<Arrival>,
    ) -> BoxFuture<'_, Result<Vec<Option<StoredJourney>>, StoreError>>;

    /// The arrival number and body hash that an identity was accepted under.
    fn find(
        &self,
        shard: ShardId,
        identities: Vec<[u8; 16]>,
    ) -> BoxFuture<'_, Result<Vec<Option<Known>>, StoreError>>;

    /// Timers due at or before a moment, earliest first.
    fn timers(
        &self,
        shard: ShardId,
        until: Timestamp,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Timestamp, Arrival)>, StoreError>>;

    /// The sequenced row that holds an outbox position: its first position, and the row encoded.
    fn sequenced(
        &self,
        shard: ShardId,
        position: u64,
    ) -> BoxFuture<'_, Result<Option<Numbered>, StoreError>>;

    /// Sequenced rows whose first positions are at or below one, highest first. Whoever has them in
    /// order says so at once.
    fn sequenced_down(
        &self,
        shard: ShardId,
        position: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Numbered>, StoreError>> {
        Box::pin(async move {
            let (mut rows, mut below) = (Vec::new(), Some(position));
            while let Some(position) = below.filter(|_| rows.len() < limit) {
                let Some(row) = self.sequenced(shard, position).await? else { break };
                below = row.0.checked_sub(1);
                rows.push(row);
            }
            Ok(rows)
        })
    }

    /// Journeys of one place with arrival numbers above `after`, oldest first.
    fn list(
        &self,
        shard: ShardId,
        place: Place,
        after: Option<Arrival>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Numbered>, StoreError>>;
}

/// What nodes tell each other, so that nobody has to poll. A notice may be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Something was put into a shard's inbox; the last arrival number that was given out.
    Grew(ShardId, Arrival),
    /// A shard's lease was given back.
    Released(ShardId),
    /// A member came, went, or was asked to drain.
    Roster,
}

/// Who is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    /// The store's clock.
    pub now: Timestamp,
    /// Everybody whose last word is not over, in the order of their incarnations.
    pub members: Vec<Member>,
}

/// The nodes over one store.
///
/// A member counts as alive until the moment that its last `beat` was answered with. The roster says
/// who should own what; who does own it is up to leases.
pub trait Membership: Send + Sync + 'static {
    /// How long a lease, and a member's word, lasts.
    fn lease_ttl(&self) -> Duration;

    /// Says that a member lives, and asks who else does. The member's `until` is not looked at.
    fn beat(&self, member: Member) -> BoxFuture<'_, Result<Roster, StoreError>>;

    /// Who lives, without being one of them.
    fn roster(&self) -> BoxFuture<'_, Result<Roster, StoreError>>;

    /// Takes a member off the roster.
    fn leave(&self, incarnation: u128) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Asks a member to drain: from its next `beat` on its entry says so. False if there is none.
    fn ask_drain(&self, incarnation: u128) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Notices from now on. A receiver that lags has missed some: it looks at everything.
    fn notices(&self) -> broadcast::Receiver<Notice>;
}

/// One object for the log: its path under the log's root, and its bytes.
pub type Object = (String, Vec<u8>);

/// The log's objects.
///
/// `create` is create-if-absent: an object that stands already with the same bytes is fine, with
/// other bytes it is an error and stops the role. An `Ok` is durable for all objects given, names
/// included; they become durable in the order given, or all at the end, never a later one alone.
pub trait LogStore: Send + Sync + 'static {
    /// Creates objects.
    fn create(&self, objects: Vec<Object>) -> BoxFuture<'_, Result<(), LogError>>;
    /// Replaces one object atomically (`checkpoint` only), unless what stands is a checkpoint of more
    /// entries: a writer that was stopped on its way puts no older one back. That is no error.
    fn replace(&self, object: Object) -> BoxFuture<'_, Result<(), LogError>>;
    /// Reads one object; none if it does not stand.
    fn read(&self, path: String) -> BoxFuture<'_, Result<Option<Vec<u8>>, LogError>>;
    /// Paths directly under a folder, sorted.
    fn list(&self, folder: String) -> BoxFuture<'_, Result<Vec<String>, LogError>>;
    /// Takes objects away that nothing needs any more; absent ones are fine. Not durable.
    fn remove(&self, paths: Vec<String>) -> BoxFuture<'_, Result<(), LogError>>;
}

/// Why the log's objects could not be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Other bytes stand there: two writers disagree, or the log was damaged.
    #[error("{path} stands already with other bytes")]
    Differs {
        /// Which object.
        path: String,
    },
    /// The disk or bucket failed.
    #[error("{path}: {detail}")]
    Failed {
        /// Which object.
        path: String,
        /// What was met.
        detail: String,
        /// The disk is full.
        full: bool,
    },
}

/// Data keys: 32 random bytes each, in slots that can be destroyed.
///
/// A slot is durable before its number leaves `allocate`, and gone for good (overwritten, fsynced)
/// before `destroy` answers. A slot number's upper 16 bits are its shard.
pub trait KeyStore: Send + Sync + 'static {
    /// New slots with fresh random keys.
    fn allocate(&self, shard: ShardId, count: usize)
    -> BoxFuture<'_, Result<Vec<u64>, StoreError>>;
    /// Keys by slot; none where one was destroyed.
    fn keys(&self, slots: Vec<u64>) -> BoxFuture<'_, Result<Vec<Option<DataKey>>, StoreError>>;
    /// Destroys keys; destroyed ones are fine.
    fn destroy(&self, slots: Vec<u64>) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// Encrypted blobs, one a contribution, named by the slot of its data key.
///
/// An `Ok` of `put` is durable. Reading with another key, or damaged bytes, is an error.
pub trait MediaStore: Send + Sync + 'static {
    /// Stores a blob; the same slot again replaces it.
    fn put(&self, slot: u64, key: DataKey, bytes: Vec<u8>)
    -> BoxFuture<'_, Result<(), MediaError>>;
    /// Reads a blob back; none if it does not stand.
    fn get(&self, slot: u64, key: DataKey) -> BoxFuture<'_, Result<Option<Vec<u8>>, MediaError>>;
    /// Takes blobs away; absent ones are fine.
    fn remove(&self, slots: Vec<u64>) -> BoxFuture<'_, Result<(), MediaError>>;
}

/// Why a blob could not be stored or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    /// It does not decrypt under its key.
    #[error("the blob of slot {slot} does not decrypt")]
    Damaged {
        /// Which slot.
        slot: u64,
    },
    /// The disk failed.
    #[error("the blob of slot {slot}: {detail}")]
    Failed {
        /// Which slot.
        slot: u64,
        /// What was met.
        detail: String,
        /// The disk is full.
        full: bool,
    },
}

/// Whose content it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// The claimer's, now or before.
    First,
    /// Another contribution's.
    Taken(ContributionId),
}

/// Who handed in a content first.
///
/// Claims are repeatable and durable, and tentative until the holder is accepted: whether it was is
/// the holder's journey to tell. A claim whose holder ended unaccepted is taken over with
/// `take_over`, which changes nothing if the holder is not `from` any more.
pub trait ContentIndex: Send + Sync + 'static {
    /// Claims content for contributions, in order; one answer each.
    fn claim(
        &self,
        claims: Vec<([u8; 32], ContributionId)>,
    ) -> BoxFuture<'_, Result<Vec<Claimed>, StoreError>>;
    /// Moves a claim from one contribution to another; says who holds it then.
    fn take_over(
        &self,
        content: [u8; 32],
        from: ContributionId,
        to: ContributionId,
    ) -> BoxFuture<'_, Result<Claimed, StoreError>>;
}

/// Time and randomness, from the composition root.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds of Unix time.
    fn now(&self) -> Timestamp;
    /// 64 random bits for jitter.
    fn random(&self) -> u64;
}

/// Which request kinds are about money or the public log, and must be allowed by a workflow file.
#[must_use]
pub fn must_be_allowed(kind: RequestKind) -> bool {
    matches!(kind, RequestKind::Reserve | RequestKind::Log | RequestKind::Pay)
}
