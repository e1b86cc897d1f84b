use super::*;
use crate::journeys::find;
use crate::journeys::town::{AT, Town};
use gristmill_testkit::memory_store::{MemoryStore, Shape};
use gristmill_workflows::id::ContributionId;
use gristmill_workflows::journey::State;
use gristmill_workflows::price::Capped;
use gristmill_workflows::request::{Cause, Reason, Wait};

async fn shown(town: &Town, id: ContributionId) -> Shown {
    let found = find(&town.store, &[id]).await.unwrap().pop().unwrap().unwrap();
    let definitions = Definitions::new();
    let programs = [("engine", "engine")].into();
    let known = Known { programs, ..Known::standing(&definitions) };
    show(&town.store, &known, &found).await.unwrap()
}

#[tokio::test]
async fn a_journey_that_stands_still_says_why() {
    let town = Town::new();
    let paused = State::Paused { cause: Cause::Exhausted, detail: "no reply".to_owned() };
    let until = Some(AT.plus_ms(5000));
    let parked = State::Parked { wait: Wait::Backoff, until, signal: None };
    let signal = Some("verdict".to_owned());
    let waiting = State::Parked { wait: Wait::Signal, until: None, signal };
    let rejected = State::Rejected(Reason::known("too_short"));
    for (key, state, parts) in [
        ("1", paused, ["cause exhausted: no reply; `gristmill quarantine retry c", "since 2026"]),
        ("2", parked, ["until 2026-11-22T00:00:05.000Z after 2 failed", "since 2026"]),
        ("3", waiting, ["signal `verdict`", "parked"]),
        ("4", rejected, ["rejected at stage", "too_short"]),
    ] {
        let id = town
            .journey("kr-1", key, |journey| {
                journey.attempts = 2;
                let event = match &state {
                    State::Paused { cause, .. } => Some(EventKind::Paused(*cause)),
                    State::Parked { wait, .. } => Some(EventKind::Parked(*wait)),
                    _ => None,
                };
                if let Some(event) = event {
                    journey.note(AT, event);
                }
                journey.state = state;
            })
            .await;
        let why = shown(&town, id).await.why;
        assert!(parts.iter().all(|part| why.contains(part)), "{why}");
    }
}

#[tokio::test]
async fn what_is_not_done_says_that_no_node_has_its_shard() {
    let shape = Shape { lease_ttl_ms: 5_000, ..Shape::default() };
    let town = Town { store: MemoryStore::new(shape), ..Town::new() };
    let moving = town.journey("kr-1", "1", |_| {}).await;
    let queued = town.queue("kr-1", "2").await;
    let done = town.journey("kr-1", "3", |journey| journey.state = State::Settled).await;
    let definitions = Definitions::new();
    let why = async |id: ContributionId, now: u64| {
        let found = find(&town.store, &[id]).await.unwrap().pop().unwrap().unwrap();
        let shared = Some(gristmill_workflows::time::Timestamp(now));
        let known = Known { shared, runs: true, ..Known::standing(&definitions) };
        show(&town.store, &known, &found).await.unwrap().why
    };
    let until = town.store.leases(vec![town.shard(moving)]).await.unwrap()[0].until.0;
    for id in [moving, queued] {
        assert!(why(id, until).await.contains("between two nodes (shard_moving)"));
        assert!(!why(id, until - 1).await.contains("shard_moving"));
    }
    assert!(!why(done, until).await.contains("shard_moving"));
}

#[tokio::test]
async fn a_queued_one_says_how_many_are_in_front() {
    let town = Town::new();
    let first = town.queue("kr-1", "1").await;
    let second = town.queue("kr-1", "2").await;
    assert!(shown(&town, first).await.why.contains("next of its shard"));
    assert!(shown(&town, second).await.why.contains("behind 1 others"));
}

#[tokio::test]
async fn every_factor_of_price_and_score_is_shown() {
    let town = Town::new();
    let id = town
        .journey("kr-1", "1", |journey| {
            let factors = r#"[{"measure":"level_cdb","value":-2000,"points":10000}]"#;
            let output = format!(r#"{{"score":9100,"units":7,"factors":{factors}}}"#);
            journey.outputs.push((1, output.into_bytes()));
            let price = Price {
                units: 7,
                score: 9100,
                rate_micro: 300,
                quality_bp: 9000,
                demand_bp: 11_000,
                capped: Capped::Item,
                micro: 2000,
            };
            journey.price = Some(("KRW".to_owned().try_into().unwrap(), price));
            journey.post(
                gristmill_workflows::ledger::Account::Allotment,
                gristmill_workflows::ledger::Account::Reserved,
                2000,
            );
            journey.note(AT, EventKind::Advanced);
        })
        .await;
    let shown = shown(&town, id).await;
    let told = shown.lines().join("\n");
    for part in
        ["level_cdb", "7 units x 300 micro", "9000/10000", "11000/10000", "cap: item", "0.002 KRW"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(told.contains("allotment to reserved"), "{told}");
    let json = serde_json::to_value(&shown).unwrap();
    assert_eq!(json["price"]["quality_bp"], 9000);
    assert_eq!(json["score_factors"][0]["measure"], "level_cdb");
    assert_eq!(json["timeline"][0]["what"], "done with");
    assert_eq!(json["id"], id.to_string());
}

#[tokio::test]
async fn a_listing_is_one_line_a_row() {
    let town = Town::new();
    town.queue("kr-1", "1").await;
    let id = town.journey("kr-1", "2", |journey| journey.state = State::Withdrawn).await;
    let found = find(&town.store, &[id]).await.unwrap();
    let found: Vec<Found> = found.into_iter().flatten().collect();
    let rows = listed(&town.store, &Known::standing(&Definitions::new()), &found).await.unwrap();
    let lines = table(&rows);
    assert_eq!(lines.len(), 2);
    assert!(lines[1].starts_with(&id.to_string()) && lines[1].contains("withdrawn"), "{lines:?}");
}
