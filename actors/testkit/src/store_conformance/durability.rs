//! Shards are islands, and what was answered stays.

use super::*;
use gristmill_workflows::commit::Place;

pub(super) async fn shards_know_nothing_of_each_other<S: ShardStore>(store: S) {
    let mut owner = Owner::claim(&store, SHARD, 1).await;
    let mut neighbour = Owner::claim(&store, OTHER_SHARD, 2).await;
    let arrival = accept(&store, known(b"here", 1, 9)).await;
    accept(&store, withdrawal(ALICE, Scope::All)).await;
    owner
        .apply(Commit {
            journeys: vec![(arrival, Place::Active, false, bytes("journey"))],
            contributors: vec![(ALICE, bytes("alice"))],
            timers_put: vec![(Timestamp(1), arrival)],
            outbox_put: vec![(0, bytes("row"))],
            ..commit("here")
        })
        .await;
    let there = Intake { shard: OTHER_SHARD, ..known(b"there", 1, 8) };
    accept(&store, there).await;
    assert_eq!(inbox(&store, OTHER_SHARD, Lane::Intake).await.len(), 1);
    assert_eq!(inbox(&store, OTHER_SHARD, Lane::Control).await, []);
    assert_eq!(state(&store, OTHER_SHARD).await, None);
    assert_eq!(store.list(OTHER_SHARD, Place::Active, None, 9).await, Ok(vec![]));
    assert_eq!(store.timers(OTHER_SHARD, Timestamp(9), 9).await, Ok(vec![]));
    let people = store.contributors(OTHER_SHARD, vec![ALICE]).await;
    let people = people.expect("contributors are read");
    assert_eq!((&people[0].row, people[0].marks.len()), (&None, 0));
    neighbour.apply(commit("there")).await;
    let strange = Err(StoreError::Fenced { shard: OTHER_SHARD });
    assert_eq!(store.commit(OTHER_SHARD, owner.fence(2), Arc::new(commit("x"))).await, strange);
    assert_eq!(state(&store, SHARD).await, Some(bytes("here")));
}

pub(super) async fn one_submit_reaches_several_shards<S: ShardStore>(store: S) {
    let to = |shard: u16, item: u8| Intake { shard: ShardId(shard), ..intake(&[item]) };
    let items = vec![to(3, 0), to(0, 1), to(3, 2), to(1, 3)];
    let answers = store.submit(items).await.expect("a submit is answered");
    assert_eq!(answers.len(), 4);
    for (shard, expected) in [(3, vec![0, 2]), (0, vec![1]), (1, vec![3]), (2, vec![])] {
        let items = inbox(&store, ShardId(shard), Lane::Intake).await;
        let seen: Vec<u8> = items.iter().map(|(_, item)| item[0]).collect();
        assert_eq!(seen, expected, "items of one shard keep their order");
    }
}

pub(super) async fn reopening_keeps_everything<S: ShardStore>(maker: &impl Maker<S>) {
    let store = maker.make(Shape::default()).await;
    let done = accept(&store, known(b"done", 1, 9)).await;
    let waiting = accept(&store, known(b"waiting", 2, 9)).await;
    let marked = accept(&store, withdrawal(ALICE, Scope::All)).await;
    let mut owner = Owner::claim(&store, SHARD, 1).await;
    let rows = Commit {
        inbox_remove: vec![(Lane::Intake, done)],
        journeys: vec![
            (done, Place::Finished, false, bytes("finished")),
            (90, Place::Active, false, bytes("active")),
        ],
        contributors: vec![(ALICE, bytes("alice"))],
        timers_put: vec![(Timestamp(5), 90)],
        outbox_put: vec![(0, bytes("row 0"))],
        sequenced_put: vec![(0, bytes("at 0"))],
        erasures_put: vec![7],
        admitted: Some(bytes("admitted")),
        ..commit("state")
    };
    owner.apply(rows).await;
    let Some(store) = maker.reopen(store).await else { return };
    assert_eq!(store.shards(), Shape::default().shards);
    let loaded = store.load(SHARD).await.expect("a shard is loaded");
    assert_eq!(loaded.state, Some(bytes("state")));
    assert_eq!(loaded.admitted, Some(bytes("admitted")));
    assert_eq!((loaded.outbox, loaded.erasures), (vec![(0, bytes("row 0"))], vec![7]));
    let items = inbox(&store, SHARD, Lane::Intake).await;
    assert_eq!(items, [(waiting, b"waiting".to_vec())]);
    assert_eq!(inbox(&store, SHARD, Lane::Control).await.len(), 1);
    assert_eq!(submit(&store, known(b"done", 1, 9)).await, Submitted::Same(done));
    assert_eq!(submit(&store, known(b"done", 1, 8)).await, Submitted::Conflict(done));
    let people = store.contributors(SHARD, vec![ALICE]).await.expect("contributors are read");
    assert_eq!(people[0].row, Some(bytes("alice")));
    assert_eq!(people[0].marks, [Mark { scope: Scope::All, position: marked, at: Timestamp(77) }]);
    let finished = StoredJourney { place: Place::Finished, row: bytes("finished") };
    assert_eq!(journey(&store, done).await, Some(finished));
    let active = store.list(SHARD, Place::Active, None, 9).await;
    assert_eq!(active, Ok(vec![(90, bytes("active"))]));
    assert_eq!(store.timers(SHARD, Timestamp(5), 9).await, Ok(vec![(Timestamp(5), 90)]));
    assert_eq!(store.sequenced(SHARD, 0).await, Ok(Some((0, bytes("at 0")))));
}

pub(super) async fn reopening_never_repeats_a_number<S: ShardStore>(maker: &impl Maker<S>) {
    let store = maker.make(Shape::default()).await;
    let first = accept(&store, intake(b"a")).await;
    let mut old = Owner::claim(&store, SHARD, 1).await;
    old.apply(Commit { inbox_remove: vec![(Lane::Intake, first)], ..commit("old") }).await;
    let (epoch, fence) = (old.lease.epoch, old.fence(2));
    let Some(store) = maker.reopen(store).await else { return };
    let mut new = Owner::claim(&store, SHARD, 2).await;
    assert!(new.lease.epoch > epoch, "{} after {epoch}", new.lease.epoch);
    let zombie = store.commit(SHARD, fence, Arc::new(commit("zombie"))).await;
    assert_eq!(zombie, Err(StoreError::Fenced { shard: SHARD }));
    new.apply(commit("new")).await;
    let second = accept(&store, intake(b"b")).await;
    assert!(second > first, "{second} after {first}, though the inbox was empty");
}
