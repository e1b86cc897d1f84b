//! Damages, and the ids they are found under.

mod postings;
mod rail_book;
mod sums;
mod tombstones;
mod world;

use super::*;
use crate::journey::{Payout, PayoutState, WithdrawnAt};
use crate::ledger::Account;
use crate::submission::Scope;
use crate::time::Timestamp;
use gristmill_trace::hash::Hash;
use world::{Fate, World};

/// Violations as (invariant, id), in order.
fn found(checks: &[Check]) -> Vec<(Invariant, &str)> {
    let ids = |check: &'_ Check| check.invariant;
    checks
        .iter()
        .flat_map(|check| check.violations.iter().map(move |v| (ids(check), v.id.as_str())))
        .collect()
}

/// Every violation is about this id; says under which invariants.
#[track_caller]
fn only(world: &World, id: &str) -> Vec<Invariant> {
    let checks = world.audit();
    let found = found(&checks);
    assert!(!found.is_empty(), "nothing was found");
    assert!(found.iter().all(|(_, other)| *other == id), "{id} alone, not {checks:#?}");
    found.into_iter().map(|(invariant, _)| invariant).collect()
}

fn sentences(world: &World) -> Vec<String> {
    let violations = world.audit().into_iter().flat_map(|check| check.violations);
    violations.map(|violation| violation.sentence).collect()
}

fn replace(world: &mut World, index: usize, from: &str, to: &str) {
    let text = String::from_utf8(world.log[index].1.clone()).unwrap();
    assert!(text.contains(from), "{text}");
    world.log[index].1 = text.replacen(from, to, 1).into_bytes();
}

/// The `n`-th journey that was paid: its place in the list, its id, its payout's id.
fn paid(world: &World, n: usize) -> (usize, String, String) {
    let paid = world.journeys.iter().enumerate().filter(|(_, (.., row))| !row.payouts.is_empty());
    let (at, (.., journey)) = paid.clone().nth(n).unwrap();
    (at, journey.submission.id.to_string(), journey.payouts[0].id.clone())
}

#[test]
fn an_honest_world_has_no_violation_and_everything_was_looked_at() {
    let world = World::honest();
    let checks = world.audit();
    assert_eq!(found(&checks), [], "{checks:#?}");
    assert!(checks.iter().all(|check| check.checked > 0), "{checks:#?}");
    assert_eq!(checks.len(), 6);
    let tiny = World { published: Vec::new(), current: None, leaves: false, ..world };
    assert_eq!(found(&tiny.audit()), []);
}

#[test]
fn a_dropped_journey_is_lost() {
    for n in 0..World::honest().journeys.len() {
        let mut world = World::honest();
        let (.., journey) = world.journeys.remove(n);
        let id = journey.submission.id.to_string();
        assert_eq!(only(&world, &id), [Invariant::NothingLost], "journey {n}");
    }
}

#[test]
fn a_dropped_inbox_item_is_lost() {
    let mut world = World::honest();
    world.inbox.clear();
    let id = world.key.contribution("kr-3", "b").to_string();
    assert_eq!(only(&world, &id), [Invariant::NothingLost]);
}

#[test]
fn without_identities_a_dropped_journey_shows_by_its_entries_and_counts() {
    let mut world = World::honest();
    world.acknowledged.clear();
    world.journeys.retain(|(.., row)| !matches!(row.state, State::Rejected(_)));
    let checks = world.audit();
    let found = found(&checks);
    assert!(matches!(found[..], [(Invariant::NothingLost, _)]), "{found:?}");
}

#[test]
fn a_journey_that_stands_twice_is_named() {
    let mut world = World::honest();
    let (shard, _, mut twin) = world.journeys.last().cloned().unwrap();
    twin.arrival += 100;
    let id = twin.submission.id.to_string();
    world.journeys.push((shard, Place::Active, twin));
    assert!(only(&world, &id).contains(&Invariant::NothingLost));
}

#[test]
fn a_finished_journey_among_the_active_ones_is_named() {
    let mut world = World::honest();
    let (at, id, _) = paid(&world, 0);
    world.journeys[at].1 = Place::Active;
    assert_eq!(only(&world, &id), [Invariant::NothingLost]);
    assert_eq!(sentences(&world), ["is settled and stands among the active"]);
}

#[test]
fn what_ended_and_was_withdrawn_without_an_entry_is_named() {
    let mut world = World::honest();
    let (at, id, _) = paid(&world, 0);
    let marked = WithdrawnAt { at: Timestamp(7), scope: Scope::All, entry: None };
    world.journeys[at].2.withdrawn = Some(marked.clone());
    assert_eq!(only(&world, &id), [Invariant::OneEntry]);
    let mut waits = World::honest();
    waits.journeys.last_mut().unwrap().2.withdrawn = Some(marked);
    assert_eq!(found(&waits.audit()), [], "its own entry has no index yet");
    world.expire();
    assert_eq!(only(&world, &id), [Invariant::OneEntry]);
}

#[test]
fn a_moving_journey_among_the_finished_ones_is_named() {
    let mut world = World::honest();
    let (.., place, journey) = world.journeys.last_mut().unwrap();
    *place = Place::Finished;
    let id = journey.submission.id.to_string();
    assert_eq!(only(&world, &id), [Invariant::NothingLost]);
    let [sentence] = &sentences(&world)[..] else { panic!("one sentence") };
    assert!(sentence.ends_with("and stands among the finished"), "{sentence}");
}

#[test]
fn what_was_acknowledged_as_another_item_is_named() {
    let mut world = World::honest();
    world.acknowledged[1].1 += 100;
    let id = world.acknowledged[1].2.to_string();
    assert_eq!(only(&world, &id), [Invariant::NothingLost]);
}

#[test]
fn a_shard_that_counts_other_outcomes_than_it_has_is_named_with_the_outcome() {
    for outcome in ["settled", "rejected:duplicate"] {
        let mut world = World::honest();
        let of = |state: &ShardState| state.finished.contains_key(outcome);
        let (shard, state) = world.states.iter_mut().find(|(_, state)| of(state)).unwrap();
        *state.finished.get_mut(outcome).unwrap() += 1;
        let id = format!("shard {shard} {outcome}");
        assert_eq!(only(&world, &id), [Invariant::NothingLost]);
    }
}

#[test]
fn a_forgotten_identity_is_named() {
    let mut world = World::honest();
    let (.., id) = world.acknowledged.remove(1);
    assert_eq!(only(&world, &id.to_string()), [Invariant::OnePayment]);
}

#[test]
fn a_doubled_rail_line_is_a_second_payment() {
    let mut world = World::honest();
    let (_, _, payout) = paid(&world, 1);
    let line = world.rail.iter().find(|line| line.key == payout).cloned().unwrap();
    world.rail.push(line);
    assert_eq!(only(&world, &payout), [Invariant::OnePayment]);
}

#[test]
fn a_rail_line_that_differs_or_lacks_or_is_nobodys_is_named() {
    let mut world = World::honest();
    let (_, _, payout) = paid(&world, 0);
    world.rail[0].minor += 1;
    assert_eq!(only(&world, &payout), [Invariant::MoneyAddsUp]);
    world.rail.remove(0);
    assert_eq!(only(&world, &payout), [Invariant::MoneyAddsUp]);
    let mut world = World::honest();
    let stranger = world.key.payout(world.key.contribution("x", "y"), "acceptance", 1);
    world.rail.push(world::Line { key: stranger.clone(), ..world.rail[0].clone() });
    assert_eq!(only(&world, &stranger), [Invariant::MoneyAddsUp]);
    world.rail.last_mut().unwrap().key = "no payout of ours".into();
    assert_eq!(only(&world, "no payout of ours"), [Invariant::MoneyAddsUp]);
}

#[test]
fn every_changed_posting_is_named() {
    let honest = World::honest();
    for (n, (.., journey)) in honest.journeys.iter().enumerate() {
        let id = journey.submission.id.to_string();
        for p in 0..journey.postings.len() {
            let mut world = honest.clone();
            world.journeys[n].2.postings[p].micro += 1;
            assert_eq!(only(&world, &id), [Invariant::MoneyAddsUp], "{n} {p}");
            world.journeys[n].2.postings[p].micro -= 1;
            world.journeys[n].2.postings[p].to = Account::Suspense;
            assert_eq!(only(&world, &id), [Invariant::MoneyAddsUp], "{n} {p}");
        }
    }
}

#[test]
fn a_payout_that_cannot_come_of_its_price_is_named() {
    for change in [1, 1_000_000] {
        let mut world = World::honest();
        let (at, id, payout) = paid(&world, 1);
        let row = &mut world.journeys[at].2.payouts[0];
        if change == 1 {
            row.minor += 1;
            world.rail.iter_mut().filter(|line| line.key == payout).for_each(|l| l.minor += 1);
        } else {
            row.carry += change;
        }
        assert_eq!(only(&world, &id), [Invariant::MoneyAddsUp]);
    }
}

#[test]
fn a_changed_price_is_named() {
    let mut world = World::honest();
    let (at, id, _) = paid(&world, 0);
    world.journeys[at].2.price.as_mut().unwrap().1.micro += 1;
    let found = only(&world, &id);
    assert_eq!(found, [Invariant::MoneyAddsUp, Invariant::Reproducible]);
    let mut world = World::honest();
    let price = &mut world.journeys[at].2.price.as_mut().unwrap().1;
    (price.quality_bp, price.score) = (8000, 6000);
    assert_eq!(only(&world, &id), [Invariant::Reproducible]);
}

#[test]
fn a_balance_that_is_off_is_named_by_shard_and_account() {
    let mut world = World::honest();
    let (shard, state) = world.states.iter_mut().next_back().unwrap();
    let won = state.ledger.currencies()[0];
    let (from, to, micro) = (Account::Payable, Account::Paid, 1_000_000);
    state.ledger.post(won, crate::ledger::Posting { from, to, micro });
    let expected = [format!("shard {shard} KRW paid"), format!("shard {shard} KRW payable")];
    let checks = world.audit();
    let found = found(&checks);
    assert!(expected.iter().all(|id| found.contains(&(Invariant::MoneyAddsUp, id))), "{found:?}");
}

#[test]
fn a_contributor_whose_carry_is_off_is_named() {
    let mut world = World::honest();
    let won = world.states.values().next().unwrap().ledger.currencies()[0];
    let whose = world.key.contributor("kr-1");
    let row = &mut world.contributors.get_mut(&whose).unwrap().1;
    row.set_carry(won, row.carry(won) + 1);
    let id = format!("contributor {}", crate::id::hex(&whose.0));
    assert_eq!(only(&world, &id), [Invariant::MoneyAddsUp]);
}

#[test]
fn an_altered_amount_in_an_entry_is_named_by_its_index() {
    let mut world = World::honest();
    replace(&mut world, 1, "\"micro\":3300000", "\"micro\":3300001");
    world.published.clear();
    assert_eq!(only(&world, "1"), [Invariant::Reproducible]);
    let mut world = World::honest();
    replace(&mut world, 2, "\"minor\":3", "\"minor\":4");
    assert_eq!(only(&world, "2"), [Invariant::MoneyAddsUp]);
    let mut world = World::honest();
    replace(&mut world, 2, "\"of\":[1]", "\"of\":[3]");
    let checks = world.audit();
    assert!(found(&checks).contains(&(Invariant::MoneyAddsUp, "2")), "{checks:#?}");
}

#[test]
fn an_altered_card_is_named_and_not_every_price_by_it() {
    let mut world = World::honest();
    replace(&mut world, 0, "\"demand_bp\":11000", "\"demand_bp\":12000");
    assert_eq!(only(&world, "0"), [Invariant::OneEntry]);
}

#[test]
fn bytes_that_are_no_entry_and_foreign_ids_are_named_by_their_index() {
    for (index, from, to) in [
        (1, "\"kind\"", "\"kinb\""),
        (2, "\"kind\":\"payout\"", "\"kind\":\"payouts\""),
        (3, "\"id\":\"", "\"id\":\"0"),
        (1, "\"v\":1", "\"v\":2"),
        (1, "{", "["),
    ] {
        let mut world = World::honest();
        replace(&mut world, index, from, to);
        assert_eq!(only(&world, &index.to_string()), [Invariant::OneEntry], "{from}");
    }
    let mut world = World::honest();
    let text = String::from_utf8(world.log[3].1.clone()).unwrap();
    let at = text.find("\"id\":\"").unwrap() + 6;
    world.log[3].1[at] = if text.as_bytes()[at] == b'0' { b'1' } else { b'0' };
    assert_eq!(only(&world, "3"), [Invariant::OneEntry]);
}

#[test]
fn a_removed_entry_is_named_by_whose_it_is() {
    let mut world = World::honest();
    let (_, id, payout) = paid(&world, 0);
    world.log.remove(1);
    assert_eq!(only(&world, &id), [Invariant::OneEntry]);
    let mut world = World::honest();
    world.log.remove(2);
    assert_eq!(only(&world, &payout), [Invariant::OneEntry]);
    let mut world = World::honest();
    world.log.remove(0);
    assert_eq!(only(&world, "0"), [Invariant::Reproducible]);
    let mut world = World::honest();
    world.log.pop();
    let last = world.journeys.iter().rev().find_map(|(.., row)| row.payouts.first());
    let last = last.unwrap().id.clone();
    assert_eq!(only(&world, &last), [Invariant::OneEntry]);
}

#[test]
fn an_entry_that_the_outbox_lost_is_named_by_whose_it_is() {
    let mut world = World::honest();
    world.outbox.clear();
    let id = world.key.contribution("kr-1", "c").to_string();
    assert_eq!(only(&world, &id), [Invariant::OneEntry]);
}

#[test]
fn a_doubled_entry_is_named_by_the_second_index() {
    let mut world = World::honest();
    let next = world.log.len() as u64;
    world.log.push((next, world.log[1].1.clone()));
    assert_eq!(only(&world, &next.to_string()), [Invariant::OneEntry]);
    let mut world = World::honest();
    world.log.push((next, world.log[2].1.clone()));
    assert_eq!(only(&world, &next.to_string()), [Invariant::OnePayment]);
}

#[test]
fn an_entry_of_nobody_is_named_by_its_index() {
    let mut world = World::honest();
    let id = world.key.contribution("x", "y");
    let next = world.log.len() as u64;
    world.log.push((next, crate::entry::withdrawal(&world.key, id, 1, "all")));
    assert_eq!(only(&world, &next.to_string()), [Invariant::OneEntry]);
}

#[test]
fn a_wrong_index_is_named_by_whose_it_is() {
    let mut world = World::honest();
    let (at, id, payout) = paid(&world, 0);
    world.journeys[at].2.accepted.as_mut().unwrap().entry.index = Some(3);
    assert_eq!(only(&world, &id), [Invariant::OneEntry]);
    let mut world = World::honest();
    let (shard, logged) = (world.journeys[at].0, world.journeys[at].2.payouts[0].entry.unwrap());
    let mut rows = world.sequenced.iter_mut();
    let row = rows.find(|(s, from, _)| (*s, *from) == (shard, logged.position)).unwrap();
    row.2 = SequencedRow::pack(&[0]);
    assert_eq!(only(&world, &payout), [Invariant::OneEntry]);
}

#[test]
fn a_shrunk_checkpoint_is_named_by_its_size() {
    let mut world = World::honest();
    let mut tree = gristmill_trace::tree::Frontier::new();
    world.log[..2].iter().for_each(|(_, entry)| tree.push(Hash::leaf(entry)));
    world.current = Some(Published { size: 2, root: tree.root() });
    assert_eq!(only(&world, "2"), [Invariant::AppendOnly]);
}

#[test]
fn a_root_of_other_entries_is_named_by_its_size() {
    let mut world = World::honest();
    world.published.push(Published { size: 2, root: Hash::leaf(b"other") });
    assert_eq!(only(&world, "2"), [Invariant::AppendOnly]);
    let mut world = World::honest();
    world.published.push(Published { size: 0, root: Hash::leaf(b"other") });
    assert_eq!(only(&world, "0"), [Invariant::AppendOnly]);
}

#[test]
fn a_flipped_byte_is_named_by_the_index_whose_leaf_it_is_not() {
    let world = World::honest();
    let mut log = LogBook::new(world.key.clone(), &world.published, world.current);
    for (index, bytes) in &world.log {
        let mut read = bytes.clone();
        if *index == 2 {
            // Inside a commitment: nothing else could tell.
            let at = read.windows(9).position(|w| w == b"\"account\"").unwrap() + 13;
            read[at] = if read[at] == b'A' { b'B' } else { b'A' };
        }
        log.entry(*index, &read, Some(Hash::leaf(bytes)));
    }
    let checks = world.audit_with(log);
    assert_eq!(found(&checks), [(Invariant::AppendOnly, "2")], "{checks:#?}");
}

#[test]
fn a_second_acceptance_in_a_further_world_stays_clean() {
    let mut world = World::honest();
    world.settle("kr-9", "z", 5000, &Fate::Settled);
    world.checkpoint();
    assert_eq!(found(&world.audit()), []);
}

#[test]
fn a_row_of_the_outbox_that_is_no_entry_is_named_by_its_place() {
    let mut world = World::honest();
    let (shard, position, row) = &mut world.outbox[0];
    row.0[0] = b"no entry".to_vec();
    let place = (Invariant::OneEntry, format!("shard {shard} outbox {position}"));
    let checks = world.audit();
    let found = found(&checks);
    assert!(found.contains(&(place.0, place.1.as_str())), "{found:?}");
}

#[test]
fn money_that_went_to_another_account_is_named() {
    let mut world = World::honest();
    let (_, _, payout) = paid(&world, 0);
    let line = world.rail.iter_mut().find(|line| line.key == payout).unwrap();
    line.account = world.key.account("kr-9");
    assert_eq!(only(&world, &payout), [Invariant::MoneyAddsUp]);
    // An account that is none of ours reads as another one, too.
    let line = world.rail.iter_mut().find(|line| line.key == payout).unwrap();
    line.account = "iban-1".into();
    assert_eq!(only(&world, &payout), [Invariant::MoneyAddsUp]);
}

#[test]
fn a_price_by_another_programs_card_is_named() {
    let mut world = World::honest();
    let card = world.card_of("busan");
    world.checkpoint();
    let (at, id, _) = paid(&world, 0);
    let journey = &mut world.journeys[at].2;
    journey.accepted.as_mut().unwrap().card = card;
    assert_eq!(only(&world, &id), [Invariant::Reproducible]);
}

/// What is found of one payout's entry.
fn entry_of(world: &World, payout: &str) -> usize {
    let checks = world.audit();
    found(&checks).iter().filter(|of| **of == (Invariant::OneEntry, payout)).count()
}

#[test]
fn a_payout_and_its_entry_say_the_same_of_whether_it_was_paid() {
    let honest = World::honest();
    let (at, _, id) = paid(&honest, 0);
    let with = |state, keeps_entry: bool| {
        let mut world = honest.clone();
        let payout = &mut world.journeys[at].2.payouts[0];
        payout.state = state;
        payout.entry = payout.entry.filter(|_| keeps_entry);
        entry_of(&world, &id)
    };
    assert_eq!(with(PayoutState::Paid, true), 0);
    assert_eq!(with(PayoutState::InFlight, true), 1, "an entry of what is under way");
    assert_eq!(with(PayoutState::Failed, false), 1, "an entry that nobody knows of");
    let further = |state| {
        let mut world = honest.clone();
        let journey = &mut world.journeys[at].2;
        let id = world.key.payout(journey.submission.id, "acceptance", 2);
        let first = journey.payouts[0].clone();
        journey.payouts.push(Payout { id: id.clone(), number: 2, state, entry: None, ..first });
        entry_of(&world, &id)
    };
    assert_eq!(further(PayoutState::Failed), 0, "what failed has no entry");
    assert_eq!(further(PayoutState::Paid), 1, "what is paid has one");
}

#[test]
fn what_a_checkpoint_covers_and_nobody_claims_is_missing() {
    let mut world = World::honest();
    let size = world.log.len() as u64;
    let further = Published { size: size + 2, root: Hash::leaf(b"") };
    world.published.push(further);
    world.current = Some(further);
    let missing = [size, size + 1].map(|index| index.to_string());
    let checks = world.audit();
    let found = found(&checks);
    assert_eq!(found, missing.each_ref().map(|id| (Invariant::AppendOnly, id.as_str())));
}
