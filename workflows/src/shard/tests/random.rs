//! Long stories from a seed: everything at once, with lost and doubled transfers and crashes.

use super::programs::{RATE, program};
use super::town::Town;
use crate::inbox::Verb;
use crate::ledger::Account;
use crate::request::{PayoutVerdict, Request};
use crate::shard::Proposal;
use crate::submission::Scope;

const PEOPLE: u64 = 9;
const STEPS: u64 = 400;

fn story(seed: u64, shards: u16) -> Town {
    let mut programs = vec![program("p", "usual", 40 * RATE), program("q", "late", 25 * RATE)];
    programs.push(program("r", "short", 9 * RATE));
    programs[0].day_cap_micro = Some(11 * RATE + 1);
    programs[1].tasks.get_mut("read").unwrap().rate_micro = 700_001;
    let mut town = Town::of(shards, programs);
    town.random = seed;
    for step in 0..STEPS {
        act(&mut town, step);
    }
    town
}

fn pick<'a>(town: &mut Town, of: &[&'a str]) -> &'a str {
    let nth = usize::try_from(town.random() % of.len() as u64).unwrap();
    of[nth]
}

fn act(town: &mut Town, step: u64) {
    let person = format!("c{}", town.random() % PEOPLE);
    let of = pick(town, &["p", "q", "r"]);
    let name = format!("i{step}");
    let nth = usize::try_from(town.random() % town.nodes.len() as u64).unwrap();
    town.now = town.now.plus_ms(town.random % 50);
    match town.random() % 32 {
        0..5 => drop(town.consent(&person, of, &format!("g{step}"))),
        5..12 => {
            let units = 1 + town.random() % 3;
            town.units.insert(name.clone(), units);
            if town.random().is_multiple_of(9) {
                let verdict = PayoutVerdict::Failed { code: "seed".into() };
                town.rail_says.insert(name.clone(), verdict);
            }
            town.hand_in(&person, of, &name);
        }
        12 if step.is_multiple_of(3) => drop(town.withdraw(&person, Scope::Program(of.into()))),
        13 if step.is_multiple_of(5) => drop(town.withdraw(&person, Scope::All)),
        14 => {
            let grant = format!("g{}", town.random() % (step + 1));
            town.withdraw(&person, Scope::Grant(grant));
        }
        15 => town.crash(nth),
        16 => {
            // A transfer is lost; the sweep will say it again.
            town.posts.pop_front();
        }
        17 => {
            if let Some(post) = town.posts.front().cloned() {
                town.posts.push_back(post);
            }
        }
        18 => town.nodes[nth].shard.repeat_unanswered(),
        19 | 20 => park_somebody(town, nth),
        21 => speak(town),
        22 | 23 => drop(town.deliver()),
        24 | 25 => drop(town.read_inboxes()),
        26 => drop(town.act()),
        27 => drop(town.sequence()),
        28 if step.is_multiple_of(4) => town.die_after_commit(nth),
        28 => drop(town.seal(nth)),
        29 => drop(town.apply(nth)),
        30 => drop(town.commit(nth)),
        _ => {
            town.act();
            town.commit(nth);
        }
    }
}

/// Somebody whose stage is due parks, or fails, or holds a grant and reserves.
fn park_somebody(town: &mut Town, nth: usize) {
    let shard = u16::try_from(nth).unwrap();
    let Some(at) = town.runs.iter().position(|(of, _)| *of == shard) else { return };
    let (_, arrival) = town.runs.remove(at).unwrap();
    let Some(journey) = town.nodes[nth].shard.journey(arrival) else { return };
    let stage = journey.stage;
    let (random, until) = (town.random(), Some(town.now.plus_ms(20)));
    let (wait, signal) = (crate::request::Wait::Timer, None);
    let proposal = match random % 4 {
        0 => Proposal::Park { stage, wait, until, signal },
        1 => {
            let wait = crate::request::Wait::Signal;
            Proposal::Park { stage, wait, until: None, signal: Some("go".into()) }
        }
        2 => Proposal::Failed { stage, failure: super::stages::retryable() },
        _ if stage == 0 => {
            let reserve = Request::Reserve { units: 1, score: 5000 };
            let requests = vec![(0, Request::Hold), (1, reserve)];
            Proposal::Advance { outputs: Vec::new(), requests, next: 2 }
        }
        _ => Proposal::Failed { stage, failure: crate::request::Failure::Timeout },
    };
    town.propose(shard, arrival, proposal);
}

/// An operator or a client says something of some journey with a row.
fn speak(town: &mut Town) {
    let rows: Vec<(String, String)> = town.standing();
    if rows.is_empty() {
        return;
    }
    let nth = usize::try_from(town.random() % rows.len() as u64).unwrap();
    let verb = match town.random() % 5 {
        0 => Verb::Reject,
        1 => Verb::Pause,
        2 => Verb::Signal("go".into()),
        _ => Verb::Retry,
    };
    let (person, name) = &rows[nth];
    town.say(person, name, verb);
}

/// Faults end, and everything is brought to its end.
fn finish(town: &mut Town) {
    town.rail_says.clear();
    for _ in 0..20 {
        town.now = town.now.plus_ms(4_000_000);
        for nth in 0..town.nodes.len() {
            town.nodes[nth].shard.repeat_unanswered();
        }
        town.settle();
        for (person, name) in town.standing() {
            town.say(&person, &name, Verb::Signal("go".into()));
            town.say(&person, &name, Verb::Retry);
        }
        town.settle();
    }
}

#[test]
fn whatever_happens_everything_ends_and_every_won_is_accounted_for() {
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    let mut broken = 0;
    for seed in 1..=40 {
        let shards = u16::try_from(1 + seed % 4).unwrap();
        let mut town = story(seed * 0x9e37_79b9, shards);
        finish(&mut town);
        broken += town.broken;
        assert_eq!(town.standing(), [], "seed {seed}");
        for node in &town.nodes {
            assert!(node.store.active.is_empty() && node.store.inbox.is_empty(), "seed {seed}");
            assert!(node.store.outbox.is_empty() && node.store.timers.is_empty(), "seed {seed}");
            assert!(node.store.erasures.is_empty(), "seed {seed}");
            for journey in node.store.finished.values() {
                *seen.entry(town_word(journey)).or_default() += 1;
                let held = journey.accepted.is_some();
                assert_eq!(held, journey.state.as_str() == "settled", "seed {seed}");
                let entry = journey.withdrawn.as_ref().map(|withdrawn| withdrawn.entry.is_some());
                assert_ne!(entry, Some(false), "seed {seed}");
            }
        }
        totals(&town, seed);
    }
    assert!(broken > 0, "no commit came after a mark");
    for word in ["settled", "withdrawn", "no_grant", "grant_withdrawn", "budget_exhausted"] {
        assert!(seen.contains_key(word), "no story came to {word}: {seen:?}");
    }
}

fn town_word(journey: &crate::journey::Journey) -> String {
    match &journey.state {
        crate::journey::State::Rejected(reason) => reason.as_str().to_owned(),
        state => state.as_str().to_owned(),
    }
}

fn totals(town: &Town, seed: u64) {
    let zero = [Account::Transit, Account::Reserved, Account::InFlight, Account::Suspense];
    for account in zero {
        assert_eq!(town.micro(account), 0, "{account:?}, seed {seed}");
    }
    let book: u64 = town.rail.values().sum();
    assert_eq!(town.micro(Account::Paid), i128::from(book) * 1_000_000, "seed {seed}");
    assert_eq!(town.entries("payout"), town.rail.len(), "seed {seed}");
    let finished = || town.nodes.iter().flat_map(|node| node.store.finished.values());
    let accepted = finished().filter(|journey| journey.accepted.is_some()).count();
    assert_eq!(town.entries("contribution"), accepted, "seed {seed}");
    let withdrawn = finished().filter(|journey| journey.withdrawn.is_some()).count();
    assert_eq!(town.entries("withdrawal"), withdrawn, "seed {seed}");
    let counted: u64 = town.nodes.iter().flat_map(|n| n.store.state.finished.values()).sum();
    assert_eq!(counted, finished().count() as u64, "seed {seed}");
}
