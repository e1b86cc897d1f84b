//! `gristmill quarantine`: journeys that wait for an operator, and what an operator says to them.
//!
//! Without a running node the verbs work on the data directory: the word goes into the shard's
//! inbox as it would from a client, and a node in this process carries it out and comes to rest.

use super::{Stood, answer, look};
use crate::app::Failure;
use crate::cli::{Chosen, List, Quarantine};
use crate::journeys;
use crate::journeys::{Filter, QUARANTINE};
use crate::limits::CHOSEN_MAX;
use crate::report_row::Row;
use crate::run::{node_exit_code, say};
use gristmill_actors::ports::Intake;
use gristmill_actors::stage::StageType;
use gristmill_workflows::codec::encode;
use gristmill_workflows::id::ContributionId;
use gristmill_workflows::inbox::{Item, Verb};
use gristmill_workflows::request::Cause;
use std::time::Duration;

pub(super) async fn command(verb: Quarantine, own: &[StageType]) -> Result<u8, Failure> {
    match verb {
        Quarantine::List(args) => list(args, own).await,
        Quarantine::Retry(chosen) => speak(chosen, &Verb::Retry, own).await,
        Quarantine::Reject(chosen) => speak(chosen, &Verb::Reject, own).await,
    }
}

async fn list(args: List, own: &[StageType]) -> Result<u8, Failure> {
    let causes = causes(args.cause.as_deref())?;
    look::list_with(&args, causes, own).await
}

fn causes(word: Option<&str>) -> Result<Vec<Cause>, Failure> {
    let Some(word) = word else { return Ok(QUARANTINE.to_vec()) };
    let known: Vec<Cause> =
        QUARANTINE.iter().copied().filter(|cause| cause.as_str() == word).collect();
    if known.is_empty() {
        let words: Vec<&str> = QUARANTINE.iter().map(|cause| cause.as_str()).collect();
        let text = format!("--cause {word}: one of {}", words.join(", "));
        return Err(Failure { text, code: 2 });
    }
    Ok(known)
}

async fn speak(chosen: Chosen, verb: &Verb, own: &[StageType]) -> Result<u8, Failure> {
    let store_failed = |error: &dyn std::error::Error| Failure::new(4, error);
    let stood = Stood::open(&chosen.place, own)?;
    let ids = choose(&stood, &chosen).await?;
    let mut items = Vec::with_capacity(ids.len());
    for id in &ids {
        let item = Item::Command { id: *id, verb: verb.clone() };
        let shard = id.bucket.shard(stood.prepared.world.shards);
        let (lane, item) = (item.lane(), encode(&item).map_err(|error| store_failed(&error))?);
        items.push(Intake { shard, lane, item, identity: None, mark: None });
    }
    let Stood { config, opened, prepared } = stood;
    let (ports, world) = (prepared.ports.clone(), prepared.world.clone());
    ports.store.submit(items).await.map_err(|error| store_failed(&error))?;
    say(&format!("{} journeys told", ids.len()));
    let failed = |error: crate::embedded_node::Error| Failure::new(node_exit_code(&error), &error);
    let rail = chosen.rail.as_deref().or(config.rail_url());
    let running = prepared.start(&config, &opened, rail).await.map_err(failed)?;
    let rested = running.node.rest(config.node.rest_patience_ms).await;
    let stopped = running.stop(Duration::from_millis(config.node.stop_deadline_ms)).await;
    rested.map_err(|error| store_failed(&error))?;
    stopped.map_err(failed)?;
    let found = journeys::find(&*ports.store, &ids).await.map_err(|error| store_failed(&error))?;
    let mut indices = journeys::Indices::new(&*ports.store);
    let mut rows = Vec::with_capacity(found.len());
    for one in found.iter().flatten() {
        let row = Row::of(one, None, None, &world.workflows, &mut indices).await;
        rows.push(row.map_err(|error| store_failed(&error))?);
    }
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let why = row.reason.as_deref().or(row.cause).unwrap_or_default();
            format!("{}  {}  {why}", row.id, row.state)
        })
        .collect();
    answer(chosen.output, &rows, &lines)?;
    let stands = rows.iter().any(|row| matches!(row.state, "paused" | "parked" | "moving"));
    Ok(if stands { 3 } else { 0 })
}

async fn choose(stood: &Stood, chosen: &Chosen) -> Result<Vec<ContributionId>, Failure> {
    if chosen.ids.is_empty() && !chosen.all && chosen.cause.is_none() {
        let text = "which journeys? ids, --cause or --all".to_owned();
        return Err(Failure { text, code: 2 });
    }
    if !chosen.ids.is_empty() {
        let parse = |text: &String| {
            ContributionId::parse(text)
                .map_err(|error| Failure { text: format!("{text}: {error}"), code: 2 })
        };
        return chosen.ids.iter().map(parse).collect();
    }
    let filter = Filter { causes: causes(chosen.cause.as_deref())?, ..Filter::default() };
    let store = &*stood.prepared.ports.store;
    let definitions = &stood.prepared.world.workflows;
    let page = journeys::list(store, definitions, &filter, None, CHOSEN_MAX).await;
    let page = page.map_err(|error| Failure::new(4, &error))?;
    Ok(page.items.iter().map(|found| found.submission().id).collect())
}
