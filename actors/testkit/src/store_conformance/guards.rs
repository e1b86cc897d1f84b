//! Guards: the store checks the marks of the grants that a commit relies on.

use super::*;
use gristmill_workflows::commit::Guard;

fn guard(contributor: ContributorKey, position: Arrival) -> Guard {
    Guard {
        contributor,
        arrival: 70,
        grant: "g-1".to_owned(),
        program: "seoul".to_owned(),
        position,
    }
}

async fn mark<S: ShardStore>(store: &S, contributor: ContributorKey, scope: Scope) -> Mark {
    let position = accept(store, withdrawal(contributor, scope.clone())).await;
    Mark { scope, position, at: Timestamp(77) }
}

/// Two arrival numbers with a mark between them: one of an older grant, one of a newer.
async fn around<S: ShardStore>(store: &S, scope: Scope) -> (Arrival, Mark, Arrival) {
    let older = accept(store, control(b"consent")).await;
    let mark = mark(store, ALICE, scope).await;
    let newer = accept(store, control(b"consent")).await;
    (older, mark, newer)
}

async fn answer<S: ShardStore>(owner: &mut Owner<'_, S>, guards: Vec<Guard>) -> Committed {
    let guarded = Commit { guards, ..commit("guarded") };
    let answer = owner.send(owner.seq + 1, guarded).await.expect("a commit is answered");
    owner.seq += u64::from(answer == Committed::Applied);
    answer
}

pub(super) async fn a_mark_on_the_grant_breaks_its_guard_wherever_it_stands<S: ShardStore>(
    store: S,
) {
    let mut owner = Owner::claim(&store, SHARD, 1).await;
    let (older, mark, newer) = around(&store, Scope::Grant("g-1".to_owned())).await;
    let broken = Committed::Broken(vec![(70, mark)]);
    assert_eq!(answer(&mut owner, vec![guard(ALICE, older)]).await, broken);
    assert_eq!(answer(&mut owner, vec![guard(ALICE, newer)]).await, broken);
    let other = Guard { grant: "g-2".to_owned(), ..guard(ALICE, older) };
    assert_eq!(answer(&mut owner, vec![other]).await, Committed::Applied);
}

pub(super) async fn a_mark_on_a_program_breaks_older_grants_of_that_program<S: ShardStore>(
    store: S,
) {
    let mut owner = Owner::claim(&store, SHARD, 1).await;
    let (older, mark, newer) = around(&store, Scope::Program("seoul".to_owned())).await;
    let broken = Committed::Broken(vec![(70, mark)]);
    assert_eq!(answer(&mut owner, vec![guard(ALICE, older)]).await, broken);
    assert_eq!(answer(&mut owner, vec![guard(ALICE, newer)]).await, Committed::Applied);
    let other = Guard { program: "busan".to_owned(), ..guard(ALICE, older) };
    assert_eq!(answer(&mut owner, vec![other]).await, Committed::Applied);
}

pub(super) async fn a_mark_on_everything_breaks_older_grants<S: ShardStore>(store: S) {
    let mut owner = Owner::claim(&store, SHARD, 1).await;
    let (older, mark, newer) = around(&store, Scope::All).await;
    let broken = Committed::Broken(vec![(70, mark)]);
    let other = Guard { program: "busan".to_owned(), ..guard(ALICE, older) };
    assert_eq!(answer(&mut owner, vec![other]).await, broken);
    assert_eq!(answer(&mut owner, vec![guard(ALICE, newer)]).await, Committed::Applied);
}

pub(super) async fn marks_of_others_break_nothing<S: ShardStore>(store: S) {
    let mut owner = Owner::claim(&store, SHARD, 1).await;
    let (older, _, _) = around(&store, Scope::All).await;
    let elsewhere = Intake { shard: OTHER_SHARD, ..withdrawal(BOB, Scope::All) };
    accept(&store, elsewhere).await;
    assert_eq!(answer(&mut owner, vec![guard(BOB, older)]).await, Committed::Applied);
}

pub(super) async fn a_broken_commit_applies_nothing_and_keeps_its_seq<S: ShardStore>(store: S) {
    let item = accept(&store, intake(b"x")).await;
    let mut owner = Owner::claim(&store, SHARD, 1).await;
    owner.apply(commit("before")).await;
    let older = accept(&store, control(b"consent")).await;
    let withdrawn = mark(&store, ALICE, Scope::All).await;
    let third = Guard { arrival: 72, ..guard(ALICE, older) };
    let rows = Commit {
        guards: vec![guard(BOB, older), guard(ALICE, older), third],
        inbox_remove: vec![(Lane::Intake, item)],
        contributors: vec![(ALICE, bytes("alice"))],
        outbox_put: vec![(0, bytes("row"))],
        ..commit("broken")
    };
    let broken = vec![(70, withdrawn.clone()), (72, withdrawn)];
    for _ in 0..2 {
        let answer = owner.send(2, rows.clone()).await;
        assert_eq!(answer, Ok(Committed::Broken(broken.clone())));
    }
    let loaded = store.load(SHARD).await.expect("a shard is loaded");
    assert_eq!((loaded.state, loaded.outbox.len()), (Some(bytes("before")), 0));
    assert_eq!(inbox(&store, SHARD, Lane::Intake).await.len(), 1);
    let people = store.contributors(SHARD, vec![ALICE]).await.expect("contributors are read");
    assert_eq!(people[0].row, None);
    owner.apply(Commit { guards: Vec::new(), ..rows }).await;
    assert_eq!(state(&store, SHARD).await, Some(bytes("broken")));
}

pub(super) async fn an_applied_commit_stays_applied_when_a_mark_follows<S: ShardStore>(store: S) {
    let mut owner = Owner::claim(&store, SHARD, 1).await;
    let older = accept(&store, control(b"consent")).await;
    let guarded = Commit { guards: vec![guard(ALICE, older)], ..commit("accepted") };
    owner.apply(guarded.clone()).await;
    mark(&store, ALICE, Scope::All).await;
    assert_eq!(owner.send(1, guarded).await, Ok(Committed::Applied), "resent after a lost answer");
}
