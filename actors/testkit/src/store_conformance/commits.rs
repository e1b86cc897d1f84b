//! `commit`: all of its rows, or nothing.

use super::*;
use gristmill_workflows::commit::Place;

/// Every kind of row.
fn full(control: Arrival, intake: Arrival) -> Commit {
    Commit {
        guards: Vec::new(),
        inbox_remove: vec![(Lane::Control, control), (Lane::Intake, intake)],
        journeys: vec![
            (intake, Place::Active, false, bytes("journey")),
            (intake + 1, Place::Finished, false, bytes("done at once")),
        ],
        contributors: vec![(ALICE, bytes("alice")), (BOB, bytes("bob"))],
        timers_put: vec![(Timestamp(50), intake)],
        timers_remove: Vec::new(),
        outbox_put: vec![(0, bytes("row 0")), (3, bytes("row 3"))],
        outbox_remove: Vec::new(),
        sequenced_put: vec![(0, bytes("at 0"))],
        erasures_put: vec![7, 9],
        erasures_remove: Vec::new(),
        admitted: Some(bytes("admitted")),
        state: bytes("state"),
    }
}

pub(super) async fn a_commit_applies_all_its_rows<S: ShardStore>(store: S) {
    let first = accept(&store, control(b"c")).await;
    let second = accept(&store, intake(b"i")).await;
    let mut owner = Owner::claim(&store, SHARD, 1).await;
    owner.apply(full(first, second)).await;
    assert_eq!(inbox(&store, SHARD, Lane::Control).await, []);
    assert_eq!(inbox(&store, SHARD, Lane::Intake).await, []);
    let loaded = store.load(SHARD).await.expect("a shard is loaded");
    assert_eq!(loaded.state, Some(bytes("state")));
    assert_eq!(loaded.admitted, Some(bytes("admitted")));
    assert_eq!(loaded.outbox, [(0, bytes("row 0")), (3, bytes("row 3"))]);
    let mut erasures = loaded.erasures;
    erasures.sort_unstable();
    assert_eq!(erasures, [7, 9]);
    let active = StoredJourney { place: Place::Active, row: bytes("journey") };
    assert_eq!(journey(&store, second).await, Some(active));
    let finished = StoredJourney { place: Place::Finished, row: bytes("done at once") };
    assert_eq!(journey(&store, second + 1).await, Some(finished));
    let people = store.contributors(SHARD, vec![BOB, ALICE]).await.expect("contributors are read");
    let rows: Vec<_> = people.into_iter().map(|person| person.row).collect();
    assert_eq!(rows, [Some(bytes("bob")), Some(bytes("alice"))]);
    assert_eq!(store.timers(SHARD, Timestamp(50), 9).await, Ok(vec![(Timestamp(50), second)]));
    assert_eq!(store.sequenced(SHARD, 0).await, Ok(Some((0, bytes("at 0")))));
}

pub(super) async fn a_commit_takes_away_what_it_names<S: ShardStore>(store: S) {
    let first = accept(&store, control(b"c")).await;
    let second = accept(&store, intake(b"i")).await;
    let mut owner = Owner::claim(&store, SHARD, 1).await;
    owner.apply(full(first, second)).await;
    let away = Commit {
        timers_remove: vec![(Timestamp(50), second), (Timestamp(1), 99)],
        outbox_remove: vec![0, 98],
        erasures_remove: vec![9, 97],
        inbox_remove: vec![(Lane::Intake, 96)],
        ..commit("state")
    };
    owner.apply(away).await;
    let loaded = store.load(SHARD).await.expect("a shard is loaded");
    assert_eq!(loaded.outbox, [(3, bytes("row 3"))]);
    assert_eq!(loaded.erasures, [7]);
    assert_eq!(store.timers(SHARD, Timestamp(u64::MAX), 9).await, Ok(vec![]));
}

pub(super) async fn a_finished_journey_is_no_longer_active<S: ShardStore>(store: S) {
    let mut owner = Owner::claim(&store, SHARD, 1).await;
    let rows = |place, stored, row| Commit {
        journeys: vec![(4, place, stored, bytes(row))],
        ..commit("s")
    };
    owner.apply(rows(Place::Active, false, "begun")).await;
    owner.apply(rows(Place::Active, true, "further")).await;
    let list = |place| store.list(SHARD, place, None, 9);
    assert_eq!(list(Place::Active).await, Ok(vec![(4, bytes("further"))]));
    owner.apply(rows(Place::Finished, true, "done")).await;
    assert_eq!(list(Place::Active).await, Ok(vec![]));
    assert_eq!(list(Place::Finished).await, Ok(vec![(4, bytes("done"))]));
    owner.apply(rows(Place::Finished, false, "withdrawn after")).await;
    assert_eq!(list(Place::Active).await, Ok(vec![]));
    assert_eq!(list(Place::Finished).await, Ok(vec![(4, bytes("withdrawn after"))]));
    let stored = StoredJourney { place: Place::Finished, row: bytes("withdrawn after") };
    assert_eq!(journey(&store, 4).await, Some(stored));
}

/// Expiry: many finished rows are replaced by shorter ones in one commit, each found and listed in
/// its place, while identities stand; the same commit again changes nothing.
pub(super) async fn a_finished_row_makes_way_for_a_tombstone<S: ShardStore>(store: S) {
    let first = accept(&store, known(b"i", 1, 1)).await;
    let mut owner = Owner::claim(&store, SHARD, 1).await;
    let numbers = first..first + 300;
    let rows = |row: &str| Commit {
        journeys: numbers.clone().map(|n| (n, Place::Finished, false, bytes(row))).collect(),
        ..commit("s")
    };
    let mut whole = rows("a finished journey with its whole history");
    whole.inbox_remove = vec![(Lane::Intake, first)];
    owner.apply(whole).await;
    let expired = Commit { erasures_put: vec![7], ..rows("left") };
    owner.apply(expired.clone()).await;
    assert_eq!(owner.send(owner.seq, expired).await, Ok(Committed::Applied), "sent again");
    let left: Vec<_> = numbers.clone().map(|n| (n, bytes("left"))).collect();
    let list = |after, limit| store.list(SHARD, Place::Finished, after, limit);
    assert_eq!(list(None, 1_000).await, Ok(left.clone()));
    assert_eq!(list(Some(first + 97), 2).await, Ok(left[98..100].to_vec()), "in their order");
    let stored = StoredJourney { place: Place::Finished, row: bytes("left") };
    assert_eq!(journey(&store, first + 299).await, Some(stored));
    assert_eq!(submit(&store, known(b"i", 1, 1)).await, Submitted::Same(first));
    assert_eq!(submit(&store, known(b"j", 1, 2)).await, Submitted::Conflict(first));
    assert_eq!(store.load(SHARD).await.expect("a shard is loaded").erasures, [7]);
}

pub(super) async fn what_a_commit_does_not_name_stands<S: ShardStore>(store: S) {
    let first = accept(&store, control(b"c")).await;
    let second = accept(&store, intake(b"i")).await;
    let mut owner = Owner::claim(&store, SHARD, 1).await;
    owner.apply(full(first, second)).await;
    owner.apply(Commit { contributors: vec![(BOB, bytes("bob 2"))], ..commit("later") }).await;
    let loaded = store.load(SHARD).await.expect("a shard is loaded");
    assert_eq!(loaded.state, Some(bytes("later")));
    assert_eq!(loaded.admitted, Some(bytes("admitted")), "kept where a commit has none");
    assert_eq!((loaded.outbox.len(), loaded.erasures.len()), (2, 2));
    let people = store.contributors(SHARD, vec![ALICE, BOB]).await.expect("contributors are read");
    let rows: Vec<_> = people.into_iter().map(|person| person.row).collect();
    assert_eq!(rows, [Some(bytes("alice")), Some(bytes("bob 2"))]);
    assert_eq!(store.timers(SHARD, Timestamp(50), 9).await.map(|due| due.len()), Ok(1));
}
