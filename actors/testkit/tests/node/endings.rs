//! An orderly end leaves nothing half said.

use crate::town::Town;
use gristmill_testkit::faults::{Call, Fault, Operation};
use gristmill_workflows::codec::decode;
use gristmill_workflows::commit::Admitted;
use std::time::Duration;
use tokio::time::Instant;

/// Whether a commit notes that the shard ends in order.
fn is_clean(call: &Call<'_>) -> bool {
    let admitted = call.commit.and_then(|commit| commit.admitted.as_deref());
    admitted.is_some_and(|admitted| decode::<Admitted>(admitted).unwrap().clean)
}

#[tokio::test(start_paused = true)]
async fn what_has_an_index_is_published_before_a_node_ends() {
    for shares in [false, true] {
        let mut town = if shares { Town::among_others() } else { Town::new() };
        town.start().await;
        town.consent().await;
        town.rest().await;
        town.hand_in("a").await;
        town.settled(1).await;
        town.stop().await;
        let (published, sequenced) = town.published().await;
        assert_eq!(published, sequenced, "shares: {shares}");
        assert!(published >= 2, "its entry and its payout: {published}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_orderly_end_stays_noted_whatever_comes_while_it_is_being_noted() {
    let mut town = Town::new();
    town.start().await;
    town.rest().await;
    // What is read of the inbox comes while the commit of the end is sent again.
    town.faults.when(1, Fault::Hang, |call| call.operation == Operation::Inbox);
    town.faults.when(5, Fault::Failed, is_clean);
    town.consent().await;
    town.hand_in("a").await;
    town.pass(Duration::from_millis(10)).await;
    let faults = town.faults.clone();
    let read = async {
        tokio::time::sleep_until(Instant::now() + Duration::from_millis(200)).await;
        faults.release();
    };
    tokio::join!(town.stop(), read);
    assert_eq!(town.faults.met().len(), 6, "{:?}", town.faults.met());
    let admitted: Admitted = decode(&town.rows().admitted.unwrap()).unwrap();
    assert!(admitted.clean, "{admitted:?}");
    town.start().await;
    town.rest().await;
    town.stop().await;
    assert_eq!(town.audited().finished.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_ends_does_not_wait_for_company_of_its_last_indices() {
    let mut town = Town::among_others();
    town.start().await;
    town.holds(1).await;
    town.consent().await;
    town.rest().await;
    // The acceptance is durable, and with it goes its entry, when the shard drains already.
    let accepts = |call: &Call<'_>| call.commit.is_some_and(|commit| !commit.guards.is_empty());
    town.faults.when(3, Fault::Failed, accepts);
    town.faults.when(3, Fault::Failed, is_clean);
    town.hand_in("a").await;
    town.pass(Duration::from_millis(50)).await;
    let began = Instant::now();
    town.stop().await;
    assert_eq!(town.faults.met().len(), 6, "{:?}", town.faults.met());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    town.start().await;
    town.holds(1).await;
    town.rest().await;
    town.stop().await;
    assert_eq!(town.audited().finished.len(), 1);
}
