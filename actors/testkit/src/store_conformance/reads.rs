//! Reads: one answer a key, pages in order.

use super::*;
use gristmill_workflows::commit::Place;

pub(super) async fn a_new_store_has_nothing<S: ShardStore>(store: S) {
    assert_eq!(store.shards(), 4);
    for shard in (0..4).map(ShardId) {
        let loaded = store.load(shard).await.expect("a shard is loaded");
        assert_eq!((loaded.state, loaded.admitted), (None, None));
        assert_eq!((loaded.outbox.len(), loaded.erasures.len()), (0, 0));
        for lane in [Lane::Control, Lane::Intake] {
            assert_eq!(inbox(&store, shard, lane).await, []);
        }
        for place in [Place::Active, Place::Finished] {
            assert_eq!(store.list(shard, place, None, 9).await, Ok(vec![]));
        }
        assert_eq!(store.timers(shard, Timestamp(u64::MAX), 9).await, Ok(vec![]));
        assert_eq!(store.sequenced(shard, u64::MAX).await, Ok(None));
        assert_eq!(store.find(shard, vec![[1; 16]]).await, Ok(vec![None]));
        assert_eq!(store.journeys(shard, vec![1, 2]).await, Ok(vec![None, None]));
        assert_eq!(store.inbox_items(shard, vec![1]).await, Ok(vec![None]));
        let people = store.contributors(shard, vec![ALICE]).await.expect("contributors are read");
        assert_eq!((people.len(), &people[0].row, people[0].marks.len()), (1, &None, 0));
    }
}

pub(super) async fn inbox_pages_follow_each_other<S: ShardStore>(store: S) {
    let mut arrivals = Vec::new();
    for n in 0..5 {
        arrivals.push((accept(&store, intake(&[n])).await, vec![n]));
        accept(&store, control(b"between")).await;
    }
    let page = |after, limit| store.inbox(SHARD, Lane::Intake, after, limit);
    assert_eq!(page(None, 2).await.as_deref(), Ok(&arrivals[..2]));
    assert_eq!(page(Some(arrivals[1].0), 2).await.as_deref(), Ok(&arrivals[2..4]));
    assert_eq!(page(Some(arrivals[1].0), 3).await.as_deref(), Ok(&arrivals[2..]));
    assert_eq!(page(Some(arrivals[3].0 + 1), 9).await.as_deref(), Ok(&arrivals[4..]));
    assert_eq!(page(Some(arrivals[4].0), 9).await, Ok(vec![]));
    assert_eq!(page(Some(Arrival::MAX), 9).await, Ok(vec![]));
}

pub(super) async fn the_items_of_the_intake_lane_are_counted<S: ShardStore>(store: S) {
    assert_eq!(store.queued(SHARD).await, Ok(0));
    let first = accept(&store, intake(b"a")).await;
    accept(&store, control(b"b")).await;
    accept(&store, intake(b"c")).await;
    assert_eq!(store.queued(SHARD).await, Ok(2));
    assert_eq!(store.queued(OTHER_SHARD).await, Ok(0));
    let mut owner = Owner::claim(&store, SHARD, 1).await;
    let taken = Commit { inbox_remove: vec![(Lane::Intake, first)], ..commit("s") };
    owner.apply(taken).await;
    assert_eq!(store.queued(SHARD).await, Ok(1));
}

pub(super) async fn inbox_items_are_found_in_either_lane<S: ShardStore>(store: S) {
    let first = accept(&store, control(b"c")).await;
    let second = accept(&store, intake(b"i")).await;
    let asked = vec![second, second + 1, first, second];
    let expected = [Some(b"i".to_vec()), None, Some(b"c".to_vec()), Some(b"i".to_vec())];
    assert_eq!(store.inbox_items(SHARD, asked).await.as_deref(), Ok(&expected[..]));
}

pub(super) async fn due_timers_come_earliest_first<S: ShardStore>(store: S) {
    let mut owner = Owner::claim(&store, SHARD, 1).await;
    let at = Timestamp;
    let timers = vec![(at(300), 1), (at(100), 9), (at(200), 5), (at(100), 3), (at(200), 5)];
    owner.apply(Commit { timers_put: timers, ..commit("s") }).await;
    let due = |until, limit| store.timers(SHARD, Timestamp(until), limit);
    assert_eq!(due(99, 9).await, Ok(vec![]));
    let expected = [(at(100), 3), (at(100), 9), (at(200), 5), (at(300), 1)];
    assert_eq!(due(100, 9).await.as_deref(), Ok(&expected[..2]));
    assert_eq!(due(299, 9).await.as_deref(), Ok(&expected[..3]));
    assert_eq!(due(u64::MAX, 9).await.as_deref(), Ok(&expected[..]));
    assert_eq!(due(u64::MAX, 3).await.as_deref(), Ok(&expected[..3]));
}

pub(super) async fn a_sequenced_row_is_found_from_every_position_it_holds<S: ShardStore>(store: S) {
    let mut owner = Owner::claim(&store, SHARD, 1).await;
    let rows = vec![(2, bytes("2 to 4")), (5, bytes("5")), (1 << 40, bytes("far"))];
    owner.apply(Commit { sequenced_put: rows, ..commit("s") }).await;
    let at = |position| store.sequenced(SHARD, position);
    assert_eq!(at(1).await, Ok(None));
    for position in 2..5 {
        assert_eq!(at(position).await, Ok(Some((2, bytes("2 to 4")))), "position {position}");
    }
    assert_eq!(at(5).await, Ok(Some((5, bytes("5")))));
    assert_eq!(at(1 << 40).await, Ok(Some((1 << 40, bytes("far")))));
    assert_eq!(store.sequenced(OTHER_SHARD, 5).await, Ok(None));
    let down = |from, limit| store.sequenced_down(SHARD, from, limit);
    let expected = [(1 << 40, bytes("far")), (5, bytes("5")), (2, bytes("2 to 4"))];
    assert_eq!(down(u64::MAX, 9).await.as_deref(), Ok(&expected[..]));
    assert_eq!(down(u64::MAX, 2).await.as_deref(), Ok(&expected[..2]));
    assert_eq!(down(1 << 39, 9).await.as_deref(), Ok(&expected[1..]));
    assert_eq!(down(1, 9).await, Ok(vec![]));
    assert_eq!(store.sequenced_down(OTHER_SHARD, u64::MAX, 9).await, Ok(vec![]));
}

pub(super) async fn journeys_are_listed_by_place_in_pages<S: ShardStore>(store: S) {
    let mut owner = Owner::claim(&store, SHARD, 1).await;
    let row = |n: Arrival| {
        let place = if n.is_multiple_of(2) { Place::Active } else { Place::Finished };
        (n, place, false, n.to_be_bytes().to_vec())
    };
    owner.apply(Commit { journeys: (1..=300).rev().map(row).collect(), ..commit("s") }).await;
    for (place, first) in [(Place::Active, 2), (Place::Finished, 1)] {
        let mut after = None;
        let mut seen = Vec::new();
        loop {
            let page = store.list(SHARD, place, after, 64).await.expect("journeys are listed");
            let Some((last, _)) = page.last() else { break };
            assert!(page.len() <= 64);
            after = Some(*last);
            seen.extend(page);
        }
        let expected: Vec<_> =
            (first..=300).step_by(2).map(|n: Arrival| (n, n.to_be_bytes().to_vec())).collect();
        assert_eq!(seen, expected);
    }
}

pub(super) async fn finished_journeys_far_apart_are_listed_in_order<S: ShardStore>(store: S) {
    let (mut owner, mut other) =
        (Owner::claim(&store, SHARD, 1).await, Owner::claim(&store, OTHER_SHARD, 1).await);
    let row = |n: Arrival| (n, Place::Finished, false, n.to_be_bytes().to_vec());
    let far: [Arrival; 7] = [1, 1_023, 1_024, 1_025, 9_000, 1 << 40, 1 << 50];
    let between: [Arrival; 4] = [2, 5_000, 9_000, 1 << 20];
    owner.apply(Commit { journeys: far.map(row).into(), ..commit("s") }).await;
    other.apply(Commit { journeys: between.map(row).into(), ..commit("s") }).await;
    let list = async |shard: ShardId, after: Option<Arrival>, limit: usize| {
        let page = store.list(shard, Place::Finished, after, limit).await;
        page.expect("journeys are listed").into_iter().map(|(n, _)| n).collect::<Vec<_>>()
    };
    assert_eq!(list(SHARD, None, 99).await, far);
    assert_eq!(list(OTHER_SHARD, None, 99).await, between);
    for (nth, after) in far.into_iter().enumerate() {
        assert_eq!(list(SHARD, Some(after), 99).await, far[nth + 1..], "above {after}");
        assert_eq!(list(SHARD, Some(after), 2).await, far[nth + 1..far.len().min(nth + 3)]);
    }
    assert_eq!(list(SHARD, Some(1_026), 1).await, [9_000]);
    assert!(list(OTHER_SHARD, Some(1 << 20), 1).await.is_empty());
    assert_eq!(journey(&store, 9_000).await.map(|stored| stored.place), Some(Place::Finished));
}
