//! Budgets: asked for, granted, waited for, exhausted.

use super::super::Effect;
use super::programs::{RATE, program, won};
use super::town::Town;
use crate::allotment::{Message, Transfer};
use crate::id::ShardId;
use crate::inbox::Item;
use crate::ledger::{Account, Posting};
use crate::request::Request;
use crate::shard::{Proposal, World};
use std::sync::Arc;

fn outcomes(town: &Town, names: impl Iterator<Item = String>) -> [usize; 2] {
    let mut counts = [0, 0];
    for name in names {
        match town.state(&name, "clip").as_str() {
            "settled" => counts[0] += 1,
            "budget_exhausted" => counts[1] += 1,
            other => panic!("{name} is {other}"),
        }
    }
    counts
}

#[test]
fn a_budget_is_spent_to_the_last_won_and_no_further_over_many_shards() {
    for shards in 1..=4 {
        let mut town = Town::new(shards, 7 * RATE);
        for n in 0..12 {
            let name = format!("c{n}");
            town.consent(&name, "p", "g");
            town.hand_in(&name, "p", "clip");
        }
        town.settle();
        let counts = outcomes(&town, (0..12).map(|n| format!("c{n}")));
        assert_eq!(counts, [7, 5], "{shards} shards");
        assert_eq!(town.micro(Account::Home) + town.micro(Account::Allotment), 0);
    }
}

#[test]
fn what_waits_for_budget_is_decided_again_in_the_order_it_came() {
    let mut town = Town::new(1, 2 * RATE);
    for name in ["ana", "bo", "cy"] {
        town.consent(name, "p", "g");
        town.hand_in(name, "p", "clip");
    }
    town.read_inboxes();
    town.act();
    town.commit(0);
    assert_eq!((town.posts.len(), town.nodes[0].shard.moving()), (1, 3));
    town.settle();
    let states = ["ana", "bo", "cy"].map(|name| town.state(name, "clip"));
    assert_eq!(states, ["settled", "settled", "budget_exhausted"]);
}

#[test]
fn an_item_that_costs_less_is_still_accepted_after_a_dearer_one_was_too_dear() {
    let mut town = Town::new(2, 2 * RATE);
    town.units.insert("dear".into(), 3);
    for name in ["ana", "bo", "cy"] {
        town.consent(name, "p", "g");
        town.hand_in(name, "p", "dear");
        town.hand_in(name, "p", "clip");
    }
    town.settle();
    for name in ["ana", "bo", "cy"] {
        assert_eq!(town.state(name, "dear"), "budget_exhausted");
    }
    assert_eq!(outcomes(&town, ["ana", "bo", "cy"].map(String::from).into_iter()), [2, 1]);
}

#[test]
fn what_was_reserved_and_rejected_can_be_spent_by_another() {
    let mut town = Town::new(1, RATE);
    town.consent("ana", "p", "g");
    let arrival = town.hand_in("ana", "p", "clip");
    town.read_inboxes();
    town.runs.clear();
    let requests = vec![(0, Request::Hold), (1, Request::Reserve { units: 1, score: 1 })];
    town.advance(arrival, requests, 2);
    town.act();
    while town.nodes[0].store.active.is_empty() {
        town.deliver();
        town.read_inboxes();
        town.commit(0);
        town.sequence();
    }
    town.runs.clear();
    let reason = crate::request::Reason::own("trace", "no");
    town.propose(0, arrival, Proposal::Reject { stage: 2, reason });
    town.consent("bo", "p", "g");
    town.hand_in("bo", "p", "clip");
    town.settle();
    assert_eq!([town.state("ana", "clip"), town.state("bo", "clip")], ["trace_no", "settled"]);
}

#[test]
fn a_transfer_of_an_unknown_program_moves_nothing() {
    let mut town = Town::new(1, RATE);
    let before = town.nodes[0].store.state.ledger.clone();
    for message in [Message::Recall, Message::Return { number: 1, micro: 5 }] {
        let transfer = Transfer { program: "gone".into(), from: ShardId(0), message };
        town.posts.push_back((ShardId(0), Item::Transfer(transfer)));
    }
    town.settle();
    assert_eq!(town.nodes[0].store.state.ledger, before);
    assert!(town.nodes[0].store.inbox.is_empty());
}

#[test]
fn a_price_names_the_card_it_was_locked_by_even_if_a_newer_one_is_in_force() {
    let mut town = Town::new(1, 100 * RATE);
    town.consent("ana", "p", "g");
    let arrival = town.hand_in("ana", "p", "clip");
    town.admit();
    let requests = vec![(0, Request::Hold), (1, Request::Reserve { units: 1, score: 9000 })];
    town.advance(arrival, requests, 2);
    while town.nodes[0].store.active.is_empty() {
        town.deliver();
        town.read_inboxes();
        town.commit(0);
        town.sequence();
    }
    let mut newer = program("p", "usual", 100 * RATE);
    newer.rates.version = 2;
    newer.rates.demand_bp = 20_000;
    let old = &town.world;
    town.world = Arc::new(World {
        shards: 1,
        key: old.key.clone(),
        programs: [("p".to_owned(), newer)].into(),
        workflows: old.workflows.clone(),
    });
    town.crash(0);
    town.settle();
    town.hand_in("ana", "p", "next");
    town.settle();
    assert_eq!(town.entries("rate_card"), 2);
    let card = |name| town.journey("ana", name).accepted.as_ref().unwrap().card;
    let micro = |name| town.journey("ana", name).price.as_ref().unwrap().1.micro;
    assert_eq!((card("clip"), micro("clip")), (0, RATE));
    assert_eq!((card("next") > 0, micro("next")), (true, 2 * RATE));
}

#[test]
fn a_programs_home_keeps_what_was_deposited_beside_what_is_left() {
    let mut town = Town::new(1, 10 * RATE);
    town.consent("ana", "p", "g1");
    town.hand_in("ana", "p", "clip");
    town.settle();
    let home = &town.nodes[0].shard.state().homes["p"];
    assert_eq!(home.deposited, 10 * RATE);
    assert!(home.balance < home.deposited, "{home:?}");
}

#[test]
fn what_is_recalled_while_a_return_is_under_way_stays_for_the_next_one() {
    let mut town = Town::new(1, 100 * RATE);
    town.consent("ana", "p", "g1");
    town.hand_in("ana", "p", "clip");
    town.settle();
    let now = town.now;
    let shard = &mut town.nodes[0].shard;
    let recall = Transfer { program: "p".into(), from: ShardId(0), message: Message::Recall };
    shard.transfer(&recall, now, 7);
    shard.state.allotments.get_mut("p").unwrap().balance += 5;
    let posting = Posting { from: Account::Transit, to: Account::Allotment, micro: 5 };
    shard.state.ledger.post(won(), posting);
    shard.transfer(&recall, now, 7);
    assert!(shard.seal().is_ok(), "the ledger and the allotment say the same");
    assert_eq!(shard.state.allotments["p"].balance, 5);
}

#[test]
fn what_was_not_answered_is_said_again() {
    let mut town = Town::new(1, 100 * RATE);
    let shard = &mut town.nodes[0].shard;
    shard.state.allotments.entry("p".into()).or_default().ask = (4, Some(9));
    shard.state.homes.get_mut("p").unwrap().recalled = vec![ShardId(0)];
    shard.repeat_unanswered();
    let sealed = shard.seal().unwrap().unwrap();
    let said = sealed.effects.into_iter().map(|effect| match effect {
        Effect::Post { item: Item::Transfer(transfer), .. } => transfer.message,
        other => panic!("{other:?}"),
    });
    let expected = [Message::Ask { number: 4, want: 9 }, Message::Recall];
    assert_eq!(said.collect::<Vec<_>>(), expected);
}

#[test]
fn an_ask_is_answered_with_a_quarter_of_a_shards_share() {
    let mut town = Town::new(2, 840);
    let now = town.now;
    let mut homes = town.nodes.iter_mut().filter(|node| node.shard.state.homes.contains_key("p"));
    let shard = &mut homes.next().unwrap().shard;
    let message = Message::Ask { number: 1, want: 1 };
    shard.transfer(&Transfer { program: "p".into(), from: ShardId(9), message }, now, 7);
    let sealed = shard.seal().unwrap().unwrap();
    let granted = sealed.effects.into_iter().find_map(|effect| match effect {
        Effect::Post { item: Item::Transfer(transfer), .. } => match transfer.message {
            Message::Grant { micro, .. } => Some(micro),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(granted, Some(105));
}
