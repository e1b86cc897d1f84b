//! Who is there, and what they tell each other.

use super::*;
use gristmill_actors::ports::{Notice, Roster};
use gristmill_workflows::placement::Member;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::time::Instant;

fn member(incarnation: u128) -> Member {
    Member {
        incarnation,
        name: format!("node-{incarnation}"),
        address: "http://127.0.0.1:1".to_owned(),
        draining: false,
        until: Timestamp(0),
    }
}

async fn beat<S: Membership>(store: &S, incarnation: u128) -> Roster {
    store.beat(member(incarnation)).await.expect("a member beats")
}

fn names(roster: &Roster) -> Vec<&str> {
    roster.members.iter().map(|member| member.name.as_str()).collect()
}

pub(super) async fn a_silent_member_is_off_the_roster_when_its_word_is_over<S: Membership>(
    store: S,
) {
    assert_eq!(store.lease_ttl(), Duration::from_millis(LEASE_TTL_MS));
    let began = Instant::now();
    assert_eq!(names(&beat(&store, 7).await), ["node-7"]);
    while names(&beat(&store, 3).await) != ["node-3"] {
        assert!(began.elapsed() < Duration::from_secs(10), "the silent member stays");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(began.elapsed() >= Duration::from_millis(LEASE_TTL_MS - CLOCK_STEP_MS));
}

pub(super) async fn who_beats_is_on_the_roster<S: Membership>(store: S) {
    beat(&store, 7).await;
    let both = beat(&store, 3).await;
    assert_eq!(names(&both), ["node-3", "node-7"]);
    let me = &both.members[0];
    assert_eq!(*me, Member { until: me.until, ..member(3) });
    assert!(me.until > both.now && me.until <= both.now.plus_ms(LONG_LEASE_TTL_MS));
    let seen = store.roster().await.expect("a roster is read");
    assert_eq!(names(&seen), ["node-3", "node-7"]);
    assert!(seen.now >= both.now);
}

pub(super) async fn who_leaves_is_off_the_roster_at_once<S: Membership>(store: S) {
    beat(&store, 3).await;
    beat(&store, 7).await;
    assert_eq!(store.leave(7).await, Ok(()));
    assert_eq!(store.leave(9).await, Ok(()), "nobody");
    assert_eq!(names(&beat(&store, 3).await), ["node-3"]);
}

pub(super) async fn who_is_asked_to_drain_learns_it_with_the_next_beat<S: Membership>(store: S) {
    beat(&store, 3).await;
    assert_eq!(store.ask_drain(4).await, Ok(false));
    assert_eq!(store.ask_drain(3).await, Ok(true));
    let roster = beat(&store, 3).await;
    assert!(roster.members[0].draining);
    beat(&store, 5).await;
    let own = Member { draining: true, ..member(5) };
    let roster = store.beat(own).await.expect("a member beats");
    assert!(roster.members.iter().all(|member| member.draining));
}

async fn hear(notices: &mut Receiver<Notice>, expected: Notice) {
    let heard = async { while notices.recv().await != Ok(expected) {} };
    let in_time = tokio::time::timeout(Duration::from_secs(10), heard).await;
    assert!(in_time.is_ok(), "no notice {expected:?}");
}

pub(super) async fn notices_reach_who_listens<S: ShardStore + Membership>(store: S) {
    let mut notices = store.notices();
    accept(&store, intake(b"x")).await;
    hear(&mut notices, Notice::Grew(SHARD, 1)).await;
    store.claim(OTHER_SHARD, 1).await.expect("a shard is claimed");
    store.release(OTHER_SHARD, 1).await.expect("a lease is given back");
    hear(&mut notices, Notice::Released(OTHER_SHARD)).await;
    beat(&store, 3).await;
    hear(&mut notices, Notice::Roster).await;
    store.ask_drain(3).await.expect("a member is asked");
    hear(&mut notices, Notice::Roster).await;
}
