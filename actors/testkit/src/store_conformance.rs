//! What every store must do, checked through the ports: the same cases for memory, embedded, Redis.
//!
//! Rows are opaque here: a store takes any bytes. Each case gets a store of its own.

mod commits;
mod concurrency;
mod contents;
mod durability;
mod fences;
mod fetches;
mod guards;
mod leases;
mod members;
mod reads;
mod submits;

use std::sync::Arc;

use gristmill_actors::ports::{
    Committed, ContentIndex, Fetch, Intake, Membership, Reads, ShardStore, StoreError,
    StoredJourney, Submitted,
};
use gristmill_actors::rail::BoxFuture;
use gristmill_workflows::commit::Commit;
use gristmill_workflows::id::{Arrival, ContributorKey, ShardId};
use gristmill_workflows::inbox::Lane;
use gristmill_workflows::lease::{Fence, Lease};
use gristmill_workflows::submission::{Mark, Scope};
use gristmill_workflows::time::Timestamp;

pub use crate::memory_store::Shape;

/// Makes stores of the kind under test.
pub trait Maker<S>: Sync {
    /// A new, empty store.
    fn make(&self, shape: Shape) -> BoxFuture<'_, S>;

    /// Ends the process that uses a store and begins another one on the same data; none where that
    /// cannot be tested.
    fn reopen(&self, store: S) -> BoxFuture<'_, Option<S>>;
}

/// Runs every case for a `ShardStore`, one after the other.
///
/// # Panics
/// When the store does not do what `ShardStore` promises.
pub async fn run<S: ShardStore>(maker: &impl Maker<S>) {
    let make = || maker.make(Shape { shards: 4, intake_high_water: 5, lease_ttl_ms: 0 });
    submits::arrival_numbers_rise_over_both_lanes_in_the_order_of_submit(make().await).await;
    submits::the_same_identity_and_body_keeps_its_arrival_number(make().await).await;
    submits::another_body_under_an_identity_is_a_conflict(make().await).await;
    submits::an_identity_outlives_its_item(make().await).await;
    submits::a_full_intake_lane_refuses_new_items_only(make().await).await;
    submits::the_control_lane_is_never_full(make().await).await;
    submits::a_mark_stands_at_its_items_arrival_number_before_anyone_deals_with_it(make().await)
        .await;
    submits::a_refused_item_leaves_no_mark(make().await).await;
    fences::every_claim_is_a_higher_epoch(make().await).await;
    fences::a_commit_without_rows_counts(make().await).await;
    fences::a_gap_in_the_sequence_is_fenced(make().await).await;
    fences::an_older_seq_is_answered_and_changes_nothing(make().await).await;
    fences::an_older_epoch_or_another_owner_changes_nothing(make().await).await;
    fences::an_unclaimed_shard_takes_no_commit(make().await).await;
    fetches::a_fetch_reads_both_lanes(make().await).await;
    fetches::what_a_fetch_notes_stands_until_it_leaves_the_inbox(make().await).await;
    fetches::what_is_read_as_noted_is_found_by_the_next_owner(make().await).await;
    fetches::who_is_no_longer_the_owner_notes_nothing(make().await).await;
    commits::a_commit_applies_all_its_rows(make().await).await;
    commits::a_commit_takes_away_what_it_names(make().await).await;
    commits::a_finished_journey_is_no_longer_active(make().await).await;
    commits::a_finished_row_makes_way_for_a_tombstone(make().await).await;
    commits::what_a_commit_does_not_name_stands(make().await).await;
    guards::a_mark_on_the_grant_breaks_its_guard_wherever_it_stands(make().await).await;
    guards::a_mark_on_a_program_breaks_older_grants_of_that_program(make().await).await;
    guards::a_mark_on_everything_breaks_older_grants(make().await).await;
    guards::marks_of_others_break_nothing(make().await).await;
    guards::a_broken_commit_applies_nothing_and_keeps_its_seq(make().await).await;
    guards::an_applied_commit_stays_applied_when_a_mark_follows(make().await).await;
    reads::a_new_store_has_nothing(make().await).await;
    reads::inbox_pages_follow_each_other(make().await).await;
    reads::the_items_of_the_intake_lane_are_counted(make().await).await;
    reads::inbox_items_are_found_in_either_lane(make().await).await;
    reads::due_timers_come_earliest_first(make().await).await;
    reads::a_sequenced_row_is_found_from_every_position_it_holds(make().await).await;
    reads::journeys_are_listed_by_place_in_pages(make().await).await;
    reads::finished_journeys_far_apart_are_listed_in_order(make().await).await;
    concurrency::an_inbox_grows_only_at_its_end(make().await).await;
    concurrency::a_journey_that_moves_is_always_found(make().await).await;
    durability::shards_know_nothing_of_each_other(make().await).await;
    durability::one_submit_reaches_several_shards(make().await).await;
    durability::reopening_keeps_everything(maker).await;
    durability::reopening_never_repeats_a_number(maker).await;
}

/// How long a lease lasts in the cases that wait for its end, and in the others.
const LEASE_TTL_MS: u64 = 400;
const LONG_LEASE_TTL_MS: u64 = 60_000;

/// How far a lease's end may be off by rounding: stores count whole milliseconds.
const CLOCK_STEP_MS: u64 = 5;

/// How often a case is tried that says nothing when the machine stands still in it.
const TRIES: usize = 50;

/// Runs every case for a store that many nodes share, one after the other. Some wait for leases of
/// 400 ms to end.
///
/// # Panics
/// When the store does not do what `ShardStore` and `Membership` promise.
pub async fn run_shared<S: ShardStore + Membership>(maker: &impl Maker<S>) {
    let shape = |lease_ttl_ms| Shape { shards: 4, intake_high_water: 5, lease_ttl_ms };
    let short = || maker.make(shape(LEASE_TTL_MS));
    let make = || maker.make(shape(LONG_LEASE_TTL_MS));
    leases::a_lease_is_its_owners_until_it_is_over(short().await).await;
    until_it_counts(async || {
        leases::a_lease_that_is_renewed_is_not_claimed_by_another(short().await).await
    })
    .await;
    until_it_counts(async || leases::a_commit_renews(short().await).await).await;
    leases::a_lease_given_back_is_free_at_once(make().await).await;
    leases::only_the_owner_renews_and_gives_back(make().await).await;
    members::a_silent_member_is_off_the_roster_when_its_word_is_over(short().await).await;
    members::who_beats_is_on_the_roster(make().await).await;
    members::who_leaves_is_off_the_roster_at_once(make().await).await;
    members::who_is_asked_to_drain_learns_it_with_the_next_beat(make().await).await;
    members::notices_reach_who_listens(make().await).await;
}

async fn until_it_counts(case: impl AsyncFn() -> bool) {
    let mut tries = 0;
    while !case().await {
        tries += 1;
        assert!(tries < TRIES, "the machine stood still for {LEASE_TTL_MS} ms in every try");
    }
}

/// Runs every case for a `ContentIndex`, one after the other.
///
/// # Panics
/// When the index does not do what `ContentIndex` promises.
pub async fn run_content_index<S: ContentIndex>(maker: &impl Maker<S>) {
    let make = || maker.make(Shape { shards: 4, intake_high_water: 5, lease_ttl_ms: 0 });
    contents::the_first_claim_of_a_content_wins(make().await).await;
    contents::claims_of_one_call_are_taken_in_order(make().await).await;
    contents::a_claim_moves_only_from_its_holder(make().await).await;
    contents::reopening_keeps_claims(maker).await;
}

const SHARD: ShardId = ShardId(2);
const OTHER_SHARD: ShardId = ShardId(3);
const ALICE: ContributorKey = ContributorKey([0xa1; 16]);
const BOB: ContributorKey = ContributorKey([0xb0; 16]);

fn intake(item: &[u8]) -> Intake {
    Intake {
        shard: SHARD,
        lane: Lane::Intake,
        item: item.to_vec(),
        identity: None,
        mark: None,
        reads: Reads::default(),
    }
}

fn control(item: &[u8]) -> Intake {
    Intake { lane: Lane::Control, ..intake(item) }
}

fn known(item: &[u8], identity: u8, hash: u8) -> Intake {
    Intake { identity: Some(([identity; 16], [hash; 16])), ..intake(item) }
}

/// A withdrawal; the position that the caller names must not matter.
fn withdrawal(contributor: ContributorKey, scope: Scope) -> Intake {
    let mark = Mark { scope, position: 0, at: Timestamp(77) };
    Intake { mark: Some((contributor, mark)), ..control(b"withdrawal") }
}

async fn submit<S: ShardStore>(store: &S, item: Intake) -> Submitted {
    let answers = store.submit(vec![item]).await.expect("a submit is answered");
    assert_eq!(answers.len(), 1, "one answer an item");
    answers[0]
}

async fn accept<S: ShardStore>(store: &S, item: Intake) -> Arrival {
    match submit(store, item).await {
        Submitted::Accepted(arrival) => arrival,
        other => {
            assert!(matches!(other, Submitted::Accepted(_)), "accepted, not {other:?}");
            0
        }
    }
}

async fn inbox<S: ShardStore>(store: &S, shard: ShardId, lane: Lane) -> Vec<(Arrival, Vec<u8>)> {
    store.inbox(shard, lane, None, 1000).await.expect("an inbox is read")
}

async fn state<S: ShardStore>(store: &S, shard: ShardId) -> Option<Vec<u8>> {
    store.load(shard).await.expect("a shard is loaded").state
}

async fn journey<S: ShardStore>(store: &S, arrival: Arrival) -> Option<StoredJourney> {
    let mut answers = store.journeys(SHARD, vec![arrival]).await.expect("journeys are read");
    assert_eq!(answers.len(), 1, "one answer a number");
    answers.remove(0)
}

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn commit(state: &str) -> Commit {
    Commit { state: bytes(state), ..Commit::default() }
}

/// The owner of one shard, who numbers its commits.
struct Owner<'s, S> {
    store: &'s S,
    shard: ShardId,
    lease: Lease,
    seq: u64,
}

impl<'s, S: ShardStore> Owner<'s, S> {
    async fn claim(store: &'s S, shard: ShardId, owner: u128) -> Self {
        let lease = store.claim(shard, owner).await.expect("a shard is claimed");
        assert_eq!(lease.owner, owner);
        Self { store, shard, lease, seq: lease.seq }
    }

    const fn fence(&self, seq: u64) -> Fence {
        Fence { owner: self.lease.owner, epoch: self.lease.epoch, seq }
    }

    /// The next commit, which must be applied.
    async fn apply(&mut self, commit: Commit) {
        let answer = self.send(self.seq + 1, commit).await;
        assert_eq!(answer, Ok(Committed::Applied));
        self.seq += 1;
    }

    async fn send(&self, seq: u64, commit: Commit) -> Result<Committed, StoreError> {
        self.store.commit(self.shard, self.fence(seq), Arc::new(commit)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{Faults, FaultyStore};
    use crate::memory_store::MemoryStore;

    struct Memory;

    impl Maker<MemoryStore> for Memory {
        fn make(&self, shape: Shape) -> BoxFuture<'_, MemoryStore> {
            Box::pin(async move { MemoryStore::new(shape) })
        }

        fn reopen(&self, store: MemoryStore) -> BoxFuture<'_, Option<MemoryStore>> {
            Box::pin(async move { Some(store.clone()) })
        }
    }

    struct Faulty;

    impl Maker<FaultyStore<MemoryStore>> for Faulty {
        fn make(&self, shape: Shape) -> BoxFuture<'_, FaultyStore<MemoryStore>> {
            Box::pin(async move { FaultyStore::new(MemoryStore::new(shape), Faults::default()) })
        }

        fn reopen(
            &self,
            store: FaultyStore<MemoryStore>,
        ) -> BoxFuture<'_, Option<FaultyStore<MemoryStore>>> {
            Box::pin(async move { Some(store) })
        }
    }

    #[tokio::test]
    async fn the_memory_store_keeps_the_contract_of_the_ports() {
        run(&Memory).await;
        run_content_index(&Memory).await;
    }

    struct Shared;

    impl Maker<MemoryStore> for Shared {
        fn make(&self, shape: Shape) -> BoxFuture<'_, MemoryStore> {
            let clock = Arc::new(crate::virtual_clock::VirtualClock::new(1));
            Box::pin(async move { MemoryStore::shared(shape, clock) })
        }

        fn reopen(&self, store: MemoryStore) -> BoxFuture<'_, Option<MemoryStore>> {
            Box::pin(async move { Some(store) })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_memory_store_keeps_leases_and_members() {
        run_shared(&Shared).await;
    }

    #[tokio::test]
    async fn a_script_without_faults_changes_nothing() {
        run(&Faulty).await;
        run_content_index(&Faulty).await;
    }
}
