//! What expired is still accounted for.

use super::world::World;
use super::{found, only, sentences};
use crate::invariant::Invariant;
use crate::journey::{PayoutState, State};
use crate::tombstone::Tombstone;

fn expired() -> World {
    let mut world = World::honest();
    world.expire();
    assert!(world.tombstones.len() == 5 && world.journeys.len() == 1);
    world
}

/// The first that was paid, changed.
fn with(change: impl FnOnce(&mut Tombstone)) -> (World, String) {
    let mut world = expired();
    let paid = |one: &Tombstone| one.accepted.as_ref().is_some_and(|kept| kept.payout.is_some());
    let tombstones = world.tombstones.iter_mut().map(|(_, one)| one);
    let one = tombstones.into_iter().find(|one| paid(one)).unwrap();
    let id = one.id.to_string();
    change(one);
    (world, id)
}

#[test]
fn a_world_whose_finished_journeys_expired_has_no_violation() {
    assert_eq!(found(&expired().audit()), []);
}

#[test]
fn a_dropped_tombstone_is_lost() {
    for nth in 0..5 {
        let mut world = expired();
        let (_, gone) = world.tombstones.remove(nth);
        assert_eq!(only(&world, &gone.id.to_string()), [Invariant::NothingLost], "{nth}");
    }
}

#[test]
fn a_tombstone_with_another_amount_is_named() {
    let (world, id) = with(|one| one.accepted.as_mut().unwrap().micro += 1);
    assert_eq!(only(&world, &id), [Invariant::MoneyAddsUp]);
    let (world, id) = with(|one| one.accepted.as_mut().unwrap().balances.clear());
    assert_eq!(only(&world, &id), [Invariant::MoneyAddsUp]);
}

#[test]
fn a_tombstone_of_another_payment_is_named_with_the_payout() {
    let paid = |change: fn(&mut crate::tombstone::KeptPayout)| {
        let (world, _) =
            with(|one| change(one.accepted.as_mut().unwrap().payout.as_mut().unwrap()));
        let checks = world.audit();
        found(&checks).iter().any(|(_, id)| id.starts_with('p'))
    };
    assert!(paid(|payout| payout.minor += 1));
    assert!(paid(|payout| payout.state = PayoutState::Failed));
}

#[test]
fn a_tombstone_whose_entry_stands_elsewhere_is_named() {
    let (world, id) = with(|one| {
        let entry = &mut one.accepted.as_mut().unwrap().entry;
        entry.index = entry.index.map(|index| index + 1);
    });
    assert!(only(&world, &id).contains(&Invariant::OneEntry));
}

#[test]
fn only_what_ended_has_a_tombstone() {
    let (world, id) = with(|one| one.state = State::Moving);
    let checks = world.audit();
    let named = found(&checks).into_iter().any(|found| found == (Invariant::NothingLost, &id));
    assert!(named, "{:?}", sentences(&world));
}
