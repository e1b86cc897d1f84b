//! Sums that are off without any journey or entry being damaged.

use super::world::World;
use super::{found, paid};
use crate::allotment::Allotment;
use crate::invariant::Invariant;
use crate::ledger::{Account, Posting};
use crate::money::Currency;

fn won() -> Currency {
    Currency::try_from("KRW".to_owned()).unwrap()
}

#[track_caller]
fn sums_off(world: &World, expected: &[&str]) {
    let checks = world.audit();
    let expected: Vec<_> = expected.iter().map(|id| (Invariant::MoneyAddsUp, *id)).collect();
    assert_eq!(found(&checks), expected, "{checks:#?}");
}

/// The home of the program holds a micro-unit more than its ledger says.
fn richer_home(world: &mut World) -> String {
    let (shard, state) =
        world.states.iter_mut().find(|(_, state)| state.homes.contains_key("seoul")).unwrap();
    state.homes.get_mut("seoul").unwrap().balance += 1;
    format!("shard {shard} KRW home")
}

#[test]
fn a_home_that_holds_more_than_is_booked_is_named() {
    let mut world = World::honest();
    let id = richer_home(&mut world);
    sums_off(&world, &[&id]);
}

#[test]
fn a_program_without_a_card_hides_a_sum_only_while_it_holds_money() {
    for (balance, hidden) in [(0, false), (1, true)] {
        let mut world = World::honest();
        let id = richer_home(&mut world);
        for state in world.states.values_mut() {
            let allotment = Allotment { balance, ..Allotment::default() };
            state.allotments.insert("gone".to_owned(), allotment);
        }
        let expected = [id.as_str()];
        sums_off(&world, if hidden { &[] } else { &expected });
    }
}

#[test]
fn more_than_was_ever_on_its_way_between_shards_is_named() {
    let mut world = World::honest();
    let state = world.states.values_mut().find(|state| state.homes.contains_key("seoul")).unwrap();
    let (from, to, micro) = (Account::Transit, Account::Home, 5);
    state.ledger.post(won(), Posting { from, to, micro });
    state.homes.get_mut("seoul").unwrap().balance += micro;
    sums_off(&world, &["KRW transit"]);
}

#[test]
fn a_payout_to_an_account_that_is_not_derived_is_named_by_its_journey() {
    for foreign_id in [false, true] {
        let mut world = World::honest();
        let (at, id, _) = paid(&world, 0);
        let (payout, key) = (&mut world.journeys[at].2.payouts[0], &world.key);
        if foreign_id {
            let other = world.acknowledged[0].2;
            payout.id = key.payout(other, "acceptance", 9);
        } else {
            payout.account = key.account("kr-9");
        }
        let checks = world.audit();
        let found = found(&checks);
        assert!(found.contains(&(Invariant::MoneyAddsUp, id.as_str())), "{found:?}");
    }
}
