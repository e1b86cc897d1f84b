//! `fetch`: both lanes for the shard's owner, and what it notes.

use super::*;

fn all(owner: &Owner<'_, impl ShardStore>) -> Fetch {
    let Fence { owner, epoch, .. } = owner.fence(1);
    Fetch { owner, epoch, notes: true, control: (None, 9), intake: (None, 9) }
}

fn of(contributor: ContributorKey) -> Reads {
    Reads { contributor: Some(contributor), data_key: None }
}

pub(super) async fn a_fetch_reads_both_lanes<S: ShardStore>(store: S) {
    let a = accept(&store, Intake { reads: of(ALICE), ..intake(b"a") }).await;
    let b = accept(&store, Intake { reads: of(BOB), ..control(b"b") }).await;
    let c = accept(&store, Intake { reads: of(ALICE), ..intake(b"c") }).await;
    let mut owner = Owner::claim(&store, SHARD, 1).await;
    let people = Commit { contributors: vec![(ALICE, bytes("alice"))], ..commit("s") };
    owner.apply(people).await;
    let lanes = store.fetch(SHARD, all(&owner)).await.expect("an owner reads");
    assert_eq!(lanes.intake, [(a, bytes("a")), (c, bytes("c"))]);
    assert_eq!(lanes.control, [(b, bytes("b"))]);
    assert!(lanes.arrived.is_none_or(|arrived| arrived == c), "{:?}", lanes.arrived);
    for (contributor, found) in &lanes.contributors {
        let row = (*contributor == ALICE).then(|| bytes("alice"));
        assert_eq!((&found.row, found.marks.len()), (&row, 0));
    }
    let fetch = Fetch { control: (Some(b), 9), intake: (Some(a), 1), ..all(&owner) };
    let lanes = store.fetch(SHARD, fetch).await.expect("an owner reads");
    assert_eq!((lanes.control, lanes.intake), (vec![], vec![(c, bytes("c"))]));
    let fetch = Fetch { intake: (None, 0), ..all(&owner) };
    let lanes = store.fetch(SHARD, fetch).await.expect("an owner reads");
    assert_eq!((lanes.control.len(), lanes.intake.len()), (1, 0));
}

pub(super) async fn what_a_fetch_notes_stands_until_it_leaves_the_inbox<S: ShardStore>(store: S) {
    let first = accept(&store, intake(b"a")).await;
    let second = accept(&store, intake(b"b")).await;
    let mut owner = Owner::claim(&store, SHARD, 1).await;
    let noted = async || store.load(SHARD).await.expect("a shard loads").noted;
    let lanes = store.fetch(SHARD, Fetch { notes: false, ..all(&owner) }).await;
    assert!(!lanes.expect("an owner reads").noted);
    assert_eq!(noted().await, [0; 0]);
    let lanes = store.fetch(SHARD, all(&owner)).await.expect("an owner reads");
    let expected = if lanes.noted { vec![first, second] } else { Vec::new() };
    assert_eq!(noted().await, expected);
    let gone = Commit { inbox_remove: vec![(Lane::Intake, first)], ..commit("s") };
    owner.apply(gone).await;
    assert_eq!(noted().await, if lanes.noted { vec![second] } else { Vec::new() });
}

pub(super) async fn what_is_read_as_noted_is_found_by_the_next_owner<S: ShardStore>(store: S) {
    let owner = Owner::claim(&store, SHARD, 1).await;
    let read = async |fetch: Fetch| store.fetch(SHARD, fetch).await.expect("an owner reads");
    let noted = async || store.load(SHARD).await.expect("a shard loads").noted;
    assert!(read(all(&owner)).await.intake.is_empty());
    // It had room for nine when this came.
    let first = accept(&store, intake(b"a")).await;
    let lanes = read(all(&owner)).await;
    assert_eq!(noted().await.contains(&first), lanes.noted);
    // It has none: what waits beyond what was asked for is not noted.
    let fetch = Fetch { intake: (None, 1), ..all(&owner) };
    read(fetch).await;
    let second = accept(&store, intake(b"b")).await;
    assert!(!noted().await.contains(&second));
    let _next = Owner::claim(&store, SHARD, 2).await;
    assert_eq!(noted().await.contains(&first), lanes.noted);
}

pub(super) async fn who_is_no_longer_the_owner_notes_nothing<S: ShardStore>(store: S) {
    accept(&store, intake(b"a")).await;
    let old = Owner::claim(&store, SHARD, 1).await;
    let fetch = all(&old);
    let _new = Owner::claim(&store, SHARD, 2).await;
    match store.fetch(SHARD, fetch).await {
        Ok(lanes) => assert!(!lanes.noted),
        Err(error) => assert_eq!(error, StoreError::Fenced { shard: SHARD }),
    }
    assert_eq!(store.load(SHARD).await.expect("a shard loads").noted, [0; 0]);
}
