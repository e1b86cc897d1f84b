//! Reads beside writes: a reader sees all of a call or nothing of it.

use super::*;
use gristmill_workflows::commit::Place;

/// Calls beside which is read.
const CALLS: usize = 40;
/// Items of one call.
const ITEMS: usize = 200;

/// Who reads the inbox by a cursor loses what becomes visible behind it.
pub(super) async fn an_inbox_grows_only_at_its_end<S: ShardStore>(store: S) {
    let write = async {
        for _ in 0..CALLS {
            let items = vec![control(b"item"); ITEMS];
            let answers = store.submit(items).await.expect("a submit is answered");
            assert_eq!(answers.len(), ITEMS);
        }
    };
    let read = async {
        let mut seen = Vec::new();
        while seen.len() < CALLS * ITEMS {
            let after = seen.last().copied();
            let page = store.inbox(SHARD, Lane::Control, after, ITEMS).await;
            seen.extend(page.expect("an inbox is read").into_iter().map(|(arrival, _)| arrival));
            let skipped = seen.windows(2).find(|pair| pair[0] + 1 != pair[1]);
            assert_eq!(skipped, None, "a page must not skip what is not visible yet");
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(write, read);
}

/// A journey that a commit moves to the finished ones is always found in one of the two places.
pub(super) async fn a_journey_that_moves_is_always_found<S: ShardStore>(store: S) {
    let mut owner = Owner::claim(&store, SHARD, 1).await;
    for call in 0..CALLS {
        let arrivals: Vec<Arrival> = (1..=ITEMS).map(|n| (call * ITEMS + n) as Arrival).collect();
        let rows = |place, stored| Commit {
            journeys: arrivals.iter().map(|n| (*n, place, stored, b"row".to_vec())).collect(),
            ..commit("s")
        };
        owner.apply(rows(Place::Active, false)).await;
        let write = owner.apply(rows(Place::Finished, true));
        let read = async {
            let mut moved = 0;
            while moved < ITEMS {
                let found = store.journeys(SHARD, arrivals.clone()).await;
                let found: Vec<_> =
                    found.expect("journeys are read").into_iter().flatten().collect();
                assert_eq!(found.len(), ITEMS, "a journey is in no place while it moves");
                moved = found.iter().filter(|row| row.place == Place::Finished).count();
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(write, read);
    }
}
