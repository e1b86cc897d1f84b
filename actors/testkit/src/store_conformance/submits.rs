//! `submit`: one step an item over identity, mark and inbox.

use super::*;

pub(super) async fn arrival_numbers_rise_over_both_lanes_in_the_order_of_submit<S: ShardStore>(
    store: S,
) {
    let items = vec![intake(b"a"), control(b"b"), intake(b"c")];
    let answers = store.submit(items).await.expect("a submit is answered");
    let mut arrivals: Vec<Arrival> = Vec::new();
    for answer in answers {
        assert!(matches!(answer, Submitted::Accepted(_)), "{answer:?}");
        if let Submitted::Accepted(arrival) = answer {
            arrivals.push(arrival);
        }
    }
    arrivals.push(accept(&store, control(b"d")).await);
    assert_eq!(arrivals.len(), 4);
    assert!(arrivals.is_sorted_by(|a, b| a < b), "{arrivals:?}");
    let intake = inbox(&store, SHARD, Lane::Intake).await;
    assert_eq!(intake, [(arrivals[0], b"a".to_vec()), (arrivals[2], b"c".to_vec())]);
    let control = inbox(&store, SHARD, Lane::Control).await;
    assert_eq!(control, [(arrivals[1], b"b".to_vec()), (arrivals[3], b"d".to_vec())]);
}

pub(super) async fn the_same_identity_and_body_keeps_its_arrival_number<S: ShardStore>(store: S) {
    let twice = vec![known(b"a", 1, 9), known(b"a", 1, 9)];
    let answers = store.submit(twice).await.expect("a submit is answered");
    let first = inbox(&store, SHARD, Lane::Intake).await;
    assert_eq!(first.len(), 1, "a repeat in the same call writes nothing");
    let arrival = first[0].0;
    assert_eq!(answers, [Submitted::Accepted(arrival), Submitted::Same(arrival)]);
    assert_eq!(submit(&store, known(b"other bytes", 1, 9)).await, Submitted::Same(arrival));
    assert_eq!(inbox(&store, SHARD, Lane::Intake).await, first, "a repeat writes nothing");
}

pub(super) async fn another_body_under_an_identity_is_a_conflict<S: ShardStore>(store: S) {
    let arrival = accept(&store, known(b"a", 1, 9)).await;
    assert_eq!(submit(&store, known(b"a", 1, 8)).await, Submitted::Conflict(arrival));
    assert_eq!(inbox(&store, SHARD, Lane::Intake).await, [(arrival, b"a".to_vec())]);
    let second = accept(&store, known(b"b", 2, 7)).await;
    let found = store.find(SHARD, vec![[2; 16], [3; 16], [1; 16]]).await;
    let expected = vec![Some((second, [7; 16])), None, Some((arrival, [9; 16]))];
    assert_eq!(found, Ok(expected), "one answer an identity");
    assert_eq!(submit(&store, known(b"b", 2, 7)).await, Submitted::Same(second));
}

pub(super) async fn an_identity_outlives_its_item<S: ShardStore>(store: S) {
    let arrival = accept(&store, known(b"a", 1, 9)).await;
    let mut owner = Owner::claim(&store, SHARD, 1).await;
    let done = Commit { inbox_remove: vec![(Lane::Intake, arrival)], ..commit("s") };
    owner.apply(done).await;
    assert_eq!(inbox(&store, SHARD, Lane::Intake).await, []);
    assert_eq!(submit(&store, known(b"a", 1, 9)).await, Submitted::Same(arrival));
    assert_eq!(submit(&store, known(b"a", 1, 8)).await, Submitted::Conflict(arrival));
    assert_eq!(inbox(&store, SHARD, Lane::Intake).await, []);
}

/// The shape of the suite has a high-water mark of five.
pub(super) async fn a_full_intake_lane_refuses_new_items_only<S: ShardStore>(store: S) {
    let first = accept(&store, known(b"0", 0, 0)).await;
    let items = (1..=6).map(|n| known(&[n], n, n)).collect();
    let answers = store.submit(items).await.expect("a submit is answered");
    let accepted = answers.iter().filter(|a| matches!(a, Submitted::Accepted(_))).count();
    assert_eq!((accepted, &answers[4..]), (4, &[Submitted::Full, Submitted::Full][..]));
    assert_eq!(submit(&store, known(b"0", 0, 0)).await, Submitted::Same(first));
    assert_eq!(store.find(SHARD, vec![[6; 16]]).await, Ok(vec![None]), "Full writes nothing");
    let elsewhere = Intake { shard: OTHER_SHARD, ..intake(b"x") };
    accept(&store, elsewhere).await;
    let mut owner = Owner::claim(&store, SHARD, 1).await;
    let done = Commit { inbox_remove: vec![(Lane::Intake, first)], ..commit("s") };
    owner.apply(done).await;
    accept(&store, known(&[6], 6, 6)).await;
    assert_eq!(submit(&store, intake(b"x")).await, Submitted::Full);
}

pub(super) async fn the_control_lane_is_never_full<S: ShardStore>(store: S) {
    for n in 0..5 {
        accept(&store, intake(&[n])).await;
    }
    assert_eq!(submit(&store, intake(b"x")).await, Submitted::Full);
    for n in 0..20 {
        accept(&store, control(&[n])).await;
    }
    assert_eq!(inbox(&store, SHARD, Lane::Control).await.len(), 20);
}

pub(super) async fn a_mark_stands_at_its_items_arrival_number_before_anyone_deals_with_it<
    S: ShardStore,
>(
    store: S,
) {
    accept(&store, intake(b"x")).await;
    let first = accept(&store, withdrawal(ALICE, Scope::All)).await;
    let second = accept(&store, withdrawal(ALICE, Scope::Grant("g".to_owned()))).await;
    let keys = vec![BOB, ALICE];
    let stored = store.contributors(SHARD, keys).await.expect("contributors are read");
    assert_eq!(stored.len(), 2, "one answer a key");
    assert_eq!((&stored[0].row, &stored[0].marks[..]), (&None, &[][..]));
    assert_eq!(stored[1].row, None);
    let mut marks = stored[1].marks.clone();
    marks.sort_by_key(|mark| mark.position);
    let at = Timestamp(77);
    let grant = Scope::Grant("g".to_owned());
    let expected = [
        Mark { scope: Scope::All, position: first, at },
        Mark { scope: grant, position: second, at },
    ];
    assert_eq!(marks, expected);
}

pub(super) async fn a_refused_item_leaves_no_mark<S: ShardStore>(store: S) {
    let once = Intake { identity: Some(([1; 16], [9; 16])), ..withdrawal(ALICE, Scope::All) };
    let arrival = accept(&store, once.clone()).await;
    assert_eq!(submit(&store, once.clone()).await, Submitted::Same(arrival));
    let conflict = Intake { identity: Some(([1; 16], [8; 16])), ..once };
    assert_eq!(submit(&store, conflict).await, Submitted::Conflict(arrival));
    let stored = store.contributors(SHARD, vec![ALICE]).await.expect("contributors are read");
    assert_eq!(stored[0].marks.len(), 1);
}
