//! A store that forgot commits which the log has seen.

use super::super::Proposal;
use super::programs::{RATE, won};
use super::store::Store;
use super::town::Town;
use crate::id::Bucket;
use crate::journey::State;
use crate::ledger::Account;
use crate::request::{Cause, Reason};

/// A town that was at rest once, and what its store was then.
fn town() -> (Town, Store) {
    let mut town = Town::new(1, 100 * RATE);
    town.consent("ana", "p", "g1");
    town.consent("ben", "p", "g2");
    town.settle();
    let store = town.nodes[0].store.clone();
    (town, store)
}

/// The store fails over to what it was before.
fn fail_over(town: &mut Town, before: Store) {
    fail_over_of(town, 0, before);
}

fn fail_over_of(town: &mut Town, nth: usize, mut before: Store) {
    before.forgot = true;
    town.nodes[nth].store = before;
    town.crash(nth);
}

fn check(town: &Town, settled: usize) {
    assert_eq!(town.entries("contribution"), settled, "one entry each");
    assert_eq!(town.entries("payout"), settled);
    assert_eq!(town.rail.len(), settled, "one payment each");
    assert_eq!(town.entries("rate_card"), 1);
    assert_eq!(town.micro(Account::InFlight), 0);
}

#[test]
fn what_was_accepted_and_paid_is_not_again() {
    for commits in 0..4 {
        let (mut town, mut before) = town();
        town.hand_in("ana", "p", "clip");
        town.hand_in("ben", "p", "song");
        for _ in 0..commits {
            town.read_inboxes();
            town.act();
            town.sequence();
            town.commit(0);
            before = town.nodes[0].store.clone();
        }
        town.settle();
        let log = town.log.clone();
        fail_over(&mut town, before);
        if commits == 0 {
            // Their inbox items are forgotten, too: they are handed in again.
            town.hand_in("ben", "p", "song");
            town.settle();
            town.crash(0);
            town.hand_in("ana", "p", "clip");
        }
        town.settle();
        assert_eq!(town.log, log, "nothing was written again");
        for (person, clip) in [("ana", "clip"), ("ben", "song")] {
            assert_eq!(town.journey(person, clip).state, State::Settled);
        }
        check(&town, 2);
        assert!(town.nodes[0].store.outbox.is_empty());
    }
}

#[test]
fn what_comes_after_a_failover_is_numbered_above_what_the_log_has() {
    let (mut town, before) = town();
    town.hand_in("ana", "p", "clip");
    town.settle();
    fail_over(&mut town, before);
    town.hand_in("ben", "p", "song");
    town.settle();
    town.now = town.now.plus_ms(crate::limits::PAYOUT_WAITS_MS);
    town.settle();
    check(&town, 2);
    assert!(!town.nodes[0].store.outbox.is_empty(), "what is not claimed is kept");
    town.hand_in("ana", "p", "clip");
    town.settle();
    check(&town, 2);
}

#[test]
fn consent_that_was_taken_back_since_does_not_undo_what_the_log_says() {
    let (mut town, before) = town();
    town.hand_in("ana", "p", "clip");
    town.settle();
    fail_over(&mut town, before);
    town.hand_in("ana", "p", "clip");
    town.withdraw("ana", crate::submission::Scope::Grant("g1".into()));
    town.settle();
    assert_eq!(town.journey("ana", "clip").state, State::Settled);
    check(&town, 1);
    let withdrawn = town.journey("ana", "clip").withdrawn.as_ref().unwrap();
    assert!(withdrawn.entry.is_some());
    assert_eq!(town.entries("withdrawal"), 1);
}

#[test]
fn a_withdrawal_that_the_log_has_stays_one_when_its_contribution_is_accepted_again() {
    let (mut town, before) = town();
    town.hand_in("ana", "p", "clip");
    town.settle();
    town.withdraw("ana", crate::submission::Scope::Grant("g1".into()));
    town.settle();
    assert_eq!(town.entries("withdrawal"), 1);
    fail_over(&mut town, before);
    town.withdraw("ana", crate::submission::Scope::Grant("g1".into()));
    town.settle();
    town.hand_in("ana", "p", "clip");
    town.settle();
    assert!(town.journey("ana", "clip").withdrawn.is_some());
    assert_eq!(town.entries("withdrawal"), 1);
    check(&town, 1);
}

#[test]
fn what_the_log_has_is_not_rejected_but_left_to_an_operator() {
    let (mut town, before) = town();
    town.hand_in("ana", "p", "clip");
    town.settle();
    fail_over(&mut town, before);
    let arrival = town.hand_in("ana", "p", "clip");
    town.admit();
    let reason = Reason::known("budget_exhausted");
    town.propose(0, arrival, Proposal::Reject { stage: 1, reason });
    town.settle();
    let state = &town.journey("ana", "clip").state;
    assert!(matches!(state, State::Paused { cause: Cause::Permanent, .. }), "{state:?}");
}

/// Until nothing moves by itself, with a crash after this many commits.
fn settle_with_a_crash(town: &mut Town, after: usize) {
    for nth in 0..6 {
        if nth == after {
            town.crash(0);
        }
        town.deliver();
        town.read_inboxes();
        town.act();
        town.sequence();
        town.commit(0);
    }
    town.settle();
}

/// Until the first entry is on its way to the log.
fn until_offered(town: &mut Town) {
    while town.offers.is_empty() {
        town.deliver();
        town.read_inboxes();
        town.act();
        town.commit(0);
    }
}

#[test]
fn what_an_owner_of_before_offers_late_moves_what_stands_at_its_position() {
    for again in [&["ben"][..], &["ana"], &["ana", "ben"], &["ben", "ana"], &["cid", "ana", "ben"]]
    {
        for crash in 0..6 {
            let (mut town, _) = town();
            town.consent("cid", "p", "g3");
            town.settle();
            let before = town.nodes[0].store.clone();
            let hand_in = |town: &mut Town, person: &str| {
                town.hand_in(person, "p", &format!("{person}'s"));
            };
            hand_in(&mut town, "ana");
            hand_in(&mut town, "cid");
            until_offered(&mut town);
            let (_, from, late) = town.offers.pop_front().unwrap();
            fail_over(&mut town, before);
            again.iter().for_each(|person| hand_in(&mut town, person));
            until_offered(&mut town);
            // The log takes the late one; the row that was to stand there is refused.
            let first = town.log.len() as u64;
            town.sequenced.insert((0, from), (first..first + late.len() as u64).collect());
            town.log.extend(late);
            town.crash(0);
            settle_with_a_crash(&mut town, crash);
            for person in ["ana", "ben", "cid"] {
                if !again.contains(&person) {
                    hand_in(&mut town, person);
                    town.settle();
                }
                assert_eq!(town.journey(person, &format!("{person}'s")).state, State::Settled);
            }
            check(&town, 3);
            assert!(town.nodes[0].store.outbox.is_empty(), "{again:?} {crash}");
        }
    }
}

/// What the rail paid, in won.
fn paid(town: &Town) -> u64 {
    town.rail.values().sum()
}

#[test]
fn what_the_log_has_of_payouts_is_decided_again_in_whichever_order_they_come() {
    let clips = ["a", "b", "c", "d"];
    for order in [[3, 2, 1, 0], [1, 0, 3, 2], [2, 0, 3, 1], [0, 1, 2, 3]] {
        for paid_before in [2, 3, 4] {
            let (mut town, before) = town();
            for (nth, clip) in clips.iter().enumerate() {
                town.hand_in("ana", "p", clip);
                if nth < paid_before {
                    town.settle();
                    continue;
                }
                // It is accepted, and the log has it; the payout was never sent.
                for _ in 0..2 {
                    town.read_inboxes();
                    town.act();
                    town.sequence();
                    town.commit(0);
                }
            }
            let log = town.log.clone();
            fail_over(&mut town, before);
            town.nodes[0].store.forgot = true;
            for nth in order {
                town.hand_in("ana", "p", clips[nth]);
                town.settle();
                // No more than what was valued, and what is carried is below one won.
                assert!(paid(&town) <= 6, "{order:?} {paid_before}: {}", paid(&town));
            }
            for _ in 0..8 {
                town.now = town.now.plus_ms(crate::limits::PAYOUT_WAITS_MS);
                town.settle();
            }
            for clip in clips {
                let state = &town.journey("ana", clip).state;
                assert_eq!(*state, State::Settled, "{clip} {order:?} {paid_before}");
            }
            assert_eq!(paid(&town), 6, "four times one won and a half");
            check(&town, 4);
            assert_eq!(town.micro(Account::Carry), 0);
            assert_eq!(town.log[..log.len()], log, "nothing was written again");
        }
    }
}

#[test]
fn a_payout_that_the_log_has_at_another_amount_is_left_to_an_operator_in_the_end() {
    let (mut town, before) = town();
    for clip in ["a", "b"] {
        town.hand_in("ana", "p", clip);
        town.settle();
    }
    assert_eq!(town.rail.values().copied().collect::<std::collections::BTreeSet<u64>>().len(), 2);
    fail_over(&mut town, before);
    town.hand_in("ana", "p", "b");
    for _ in 0..8 {
        town.settle();
        town.now = town.now.plus_ms(crate::limits::PAYOUT_WAITS_MS);
    }
    let state = &town.journey("ana", "b").state;
    assert!(matches!(state, State::Paused { cause: Cause::Permanent, .. }), "{state:?}");
    assert_eq!(paid(&town), 3, "it was paid before, and not again");
    assert_eq!(town.nodes[0].shard.state().ledger.balance(won(), Account::Paid), 0);
}

#[test]
fn a_shard_that_forgot_asks_is_answered_by_a_home_that_did_not_and_no_money_is_made() {
    // What is granted to one ask is what one clip earns.
    let mut town = Town::new(2, 8 * RATE);
    let away = 1 - Bucket::of_program("p").shard(2).0;
    let mut people = (0..).map(|n| format!("c{n}"));
    let person = people.find(|person| town.shard_of(person) == away).unwrap();
    let hand_in = |town: &mut Town, clip: &str| {
        town.hand_in(&person, "p", clip);
        town.settle();
        town.nodes[usize::from(away)].shard.repeat_unanswered();
        town.settle();
    };
    town.consent(&person, "p", "g");
    hand_in(&mut town, "a");
    let before = town.nodes[usize::from(away)].store.clone();
    hand_in(&mut town, "b");
    hand_in(&mut town, "c");
    fail_over_of(&mut town, away.into(), before);
    for clip in ["d", "b", "c"] {
        hand_in(&mut town, clip);
    }
    for _ in 0..8 {
        town.now = town.now.plus_ms(crate::limits::PAYOUT_WAITS_MS);
        town.settle();
    }
    for clip in ["a", "b", "c", "d"] {
        assert_eq!(town.journey(&person, clip).state, State::Settled, "{clip}");
    }
    check(&town, 4);
    // The two grants that were forgotten are never spent.
    assert_eq!(town.micro(Account::Transit), i128::from(2 * RATE));
    assert_eq!(town.micro(Account::Home), i128::from(2 * RATE));
    assert_eq!(town.micro(Account::Allotment), 0);
}
