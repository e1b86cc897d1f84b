//! A withdrawal is announced to its shard before it is put into the inbox.

use crate::town::Town;
use gristmill_actors::limits::ANNOUNCED_MAX;
use gristmill_actors::ports::Submitted;
use gristmill_testkit::faults::{Call, Fault, Operation};
use gristmill_workflows::submission::Scope;
use std::time::Duration;
use tokio::time::Instant;

/// As long as the contribution `flaky` needs until its stages are through, and longer.
const THROUGH: Duration = Duration::from_secs(60);

async fn consented() -> Town {
    let mut town = Town::new();
    town.start().await;
    town.consent().await;
    town.rest().await;
    town
}

/// A contribution's acceptance is on its way to the store, which does not answer.
async fn accepting() -> Town {
    let mut town = consented().await;
    let accepts = |call: &Call<'_>| call.commit.is_some_and(|commit| !commit.guards.is_empty());
    town.faults.when(1, Fault::Hang, accepts);
    town.hand_in("a").await;
    town.pass(Duration::from_secs(1)).await;
    assert_eq!(town.faults.met().len(), 1, "nothing is accepted");
    town
}

#[tokio::test(start_paused = true)]
async fn nothing_is_accepted_while_a_withdrawal_is_on_its_way() {
    let mut town = consented().await;
    town.hand_in("flaky").await;
    let withdrawal = town.withdrawal(Scope::All);
    let announced = town.engine().announce(std::slice::from_ref(&withdrawal)).await;
    town.pass(THROUGH).await;
    assert_eq!(town.rows().intake.len() + town.rows().active.len(), 1, "it moves");
    let answers = town.put(vec![withdrawal]).await;
    assert!(matches!(answers[..], [Submitted::Accepted(_)]));
    announced.submitted(&answers);
    town.rest().await;
    assert_eq!(town.ended(), (0, 1), "it was withdrawn before it was accepted");
    assert_eq!(town.restarts(), 0, "and the shard kept its memory");
    town.stop().await;
}

#[tokio::test(start_paused = true)]
async fn budget_that_comes_while_a_withdrawal_is_on_its_way_lets_nothing_be_accepted() {
    let mut town = consented().await;
    // After the contribution itself, the shard asks for budget and grants it.
    let grant = town.faults.calls(Operation::Submit) + 3;
    town.faults.at(Operation::Submit, grant, Fault::Hang);
    town.hand_in("a").await;
    town.pass(Duration::from_secs(1)).await;
    assert_eq!((town.faults.met().len(), town.moving()), (1, 1), "it waits for budget");
    let withdrawal = town.withdrawal(Scope::All);
    let announced = town.engine().announce(std::slice::from_ref(&withdrawal)).await;
    town.faults.release();
    town.pass(Duration::from_secs(1)).await;
    let answers = town.put(vec![withdrawal]).await;
    announced.submitted(&answers);
    town.rest().await;
    assert_eq!((town.ended(), town.restarts()), ((0, 1), 0));
    town.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_waited_for_budget_and_a_withdrawal_that_never_came_goes_on() {
    let mut town = consented().await;
    let grant = town.faults.calls(Operation::Submit) + 3;
    town.faults.at(Operation::Submit, grant, Fault::Hang);
    for name in ["a", "b"] {
        town.hand_in(name).await;
    }
    town.pass(Duration::from_secs(1)).await;
    let withdrawal = town.withdrawal(Scope::All);
    let announced = town.engine().announce(std::slice::from_ref(&withdrawal)).await;
    drop(announced);
    town.pass(Duration::from_secs(1)).await;
    assert_eq!((town.ended(), town.moving()), ((0, 0), 2), "they wait for budget again");
    town.faults.release();
    town.rest().await;
    assert_eq!(town.ended(), (2, 0));
    town.stop().await;
    town.audited();
}

#[tokio::test(start_paused = true)]
async fn what_waited_for_a_withdrawal_that_never_came_goes_on() {
    let mut town = consented().await;
    town.hand_in("flaky").await;
    let withdrawal = town.withdrawal(Scope::All);
    let announced = town.engine().announce(std::slice::from_ref(&withdrawal)).await;
    let another = town.engine().announce(std::slice::from_ref(&withdrawal)).await;
    drop(another);
    town.pass(THROUGH).await;
    assert_eq!(town.ended(), (0, 0), "one is still on its way");
    drop(announced);
    town.rest().await;
    assert_eq!(town.ended(), (1, 0));
    town.stop().await;
    town.audited();
}

#[tokio::test(start_paused = true)]
async fn announcing_takes_no_time_where_nothing_is_under_way_and_undoes_nothing_that_settled() {
    let mut town = consented().await;
    let withdrawal = town.withdrawal(Scope::All);
    let began = Instant::now();
    let announced = town.engine().announce(std::slice::from_ref(&withdrawal)).await;
    assert!(began.elapsed() < ANNOUNCED_MAX, "nothing was under way");
    drop(announced);
    town.hand_in("a").await;
    town.settled(1).await;
    let announced = town.engine().announce(std::slice::from_ref(&withdrawal)).await;
    let answers = town.put(vec![withdrawal]).await;
    announced.submitted(&answers);
    town.rest().await;
    assert_eq!((town.ended(), town.restarts()), ((1, 0), 0));
    town.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_announcement_waits_until_what_was_accepted_before_is_durable() {
    let mut town = accepting().await;
    let withdrawal = town.withdrawal(Scope::All);
    let engine = town.engine();
    let mut announcing = Box::pin(engine.announce(std::slice::from_ref(&withdrawal)));
    let early = tokio::time::timeout(ANNOUNCED_MAX / 2, announcing.as_mut()).await;
    assert!(early.is_err(), "the withdrawal would overtake it");
    town.faults.release();
    let released = Instant::now();
    let announced = announcing.await;
    assert!(released.elapsed() < ANNOUNCED_MAX / 2, "it waited for more than the commit");
    let answers = town.put(vec![withdrawal]).await;
    announced.submitted(&answers);
    town.rest().await;
    assert_eq!((town.ended(), town.restarts()), ((1, 0), 0));
    town.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_does_not_wait_for_ever_for_a_store_that_does_not_answer() {
    let mut town = accepting().await;
    let withdrawal = town.withdrawal(Scope::All);
    let began = Instant::now();
    let announced = town.engine().announce(std::slice::from_ref(&withdrawal)).await;
    assert!(began.elapsed() >= ANNOUNCED_MAX);
    let answers = town.put(vec![withdrawal]).await;
    announced.submitted(&answers);
    town.faults.release();
    town.rest().await;
    assert_eq!(town.ended(), (0, 1), "it came before the acceptance");
    town.stop().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_goes_away_while_announcing_holds_nothing() {
    let mut town = consented().await;
    let withdrawal = town.withdrawal(Scope::All);
    let engine = town.engine();
    tokio::select! {
        biased;
        _ = engine.announce(std::slice::from_ref(&withdrawal)) => panic!("the shard has had no turn"),
        () = std::future::ready(()) => {}
    }
    town.hand_in("a").await;
    town.rest().await;
    assert_eq!(town.ended(), (1, 0));
    town.stop().await;
    town.audited();
}
