//! What the rail's book says of one journey's payouts.

use super::super::findings::Findings;
use super::super::rail_book::{RailBook, RailLine};
use super::paid;
use super::world::World;
use crate::id::ShardId;
use crate::invariant::Invariant;
use crate::journey::{Journey, PayoutState};
use crate::limits;

fn journey() -> Journey {
    let world = World::honest();
    world.journeys[paid(&world, 0).0].2.clone()
}

/// What is found if the rail has these lines of `(key, account, currency, minor)` paid.
fn found(journey: &Journey, lines: &[(&str, &str, &str, u64)]) -> Vec<(Invariant, String)> {
    let mut book = RailBook::default();
    for (key, account, currency, minor) in lines.iter().copied() {
        book.line(&RailLine { key, account, currency, minor, paid: false });
        book.line(&RailLine { key, account, currency, minor, paid: true });
    }
    let mut findings = Findings::default();
    book.report_doubles(&mut findings);
    book.journey(ShardId(0), journey, &mut findings);
    book.finish(&mut findings);
    let checks = findings.into_checks();
    assert!(checks.iter().map(|check| check.checked).sum::<u64>() >= 2 * lines.len() as u64);
    let each = checks.iter().flat_map(|check| {
        check.violations.iter().map(|violation| (check.invariant, violation.id.clone()))
    });
    each.collect()
}

#[test]
fn the_line_of_a_payout_says_what_the_journey_says() {
    let mut journey = journey();
    let payout = journey.payouts[0].clone();
    let (id, account, minor) = (payout.id.as_str(), payout.account.as_str(), payout.minor);
    let named = vec![(Invariant::MoneyAddsUp, payout.id.clone())];
    let line = (id, account, "KRW", minor);
    let other_account = format!("a{}", "0".repeat(32));
    use PayoutState::{Failed, Fixed, InFlight, Paid, Suspense};
    for (state, equal, without) in [
        (Paid, true, false),
        (InFlight, true, true),
        (Suspense, true, true),
        (Fixed, false, true),
        (Failed, false, true),
    ] {
        journey.payouts[0].state = state;
        let expected = |holds| if holds { Vec::new() } else { named.clone() };
        assert_eq!(found(&journey, &[line]), expected(equal), "{state:?}");
        assert_eq!(found(&journey, &[]), expected(without), "{state:?} without a line");
        let others = [
            (id, account, "KRW", minor + 1),
            (id, account, "EUR", minor),
            (id, other_account.as_str(), "KRW", minor),
        ];
        for other in others {
            let expected = expected(state == Suspense);
            assert_eq!(found(&journey, &[other]), expected, "{state:?} {other:?}");
        }
    }
}

#[test]
fn money_that_moved_twice_for_one_acceptance_is_named() {
    let mut journey = journey();
    let first = journey.payouts[0].clone();
    let key = World::honest().key;
    let id = key.payout(journey.submission.id, "acceptance", 2);
    journey.payouts.push(crate::journey::Payout { id: id.clone(), number: 2, ..first.clone() });
    let lines = [first.id.as_str(), id.as_str()];
    let lines = lines.map(|id| (id, first.account.as_str(), "KRW", first.minor));
    let named = (Invariant::OnePayment, journey.submission.id.to_string());
    assert_eq!(found(&journey, &lines), [named]);
}

#[test]
fn doubled_lines_and_strangers_are_named() {
    let journey = journey();
    let payout = &journey.payouts[0];
    let line = (payout.id.as_str(), payout.account.as_str(), "KRW", payout.minor);
    let twice = found(&journey, &[line, line]);
    assert_eq!(twice, [(Invariant::OnePayment, payout.id.clone())]);
    let stranger = format!("p{}", "0".repeat(36));
    for key in [stranger.as_str(), "invoice-7"] {
        let lines = [line, (key, "a", "KRW", 1)];
        assert_eq!(found(&journey, &lines), [(Invariant::MoneyAddsUp, key.to_owned())]);
    }
}

#[test]
fn keys_that_are_none_of_ours_are_named_up_to_a_bound() {
    let names: Vec<String> = (0..=limits::AUDIT_VIOLATIONS_MAX).map(|n| format!("i{n}")).collect();
    let mut book = RailBook::default();
    for key in &names {
        book.line(&RailLine { key, account: "a", currency: "KRW", minor: 1, paid: true });
    }
    let mut findings = Findings::default();
    book.finish(&mut findings);
    let checks = findings.into_checks();
    assert!(checks.iter().all(|check| check.unlisted == 0));
    let listed: usize = checks.iter().map(|check| check.violations.len()).sum();
    assert_eq!(listed, limits::AUDIT_VIOLATIONS_MAX);
}
