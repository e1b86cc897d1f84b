//! `gristmill quarantine` and `retry`: journeys that wait for an operator, and what an operator
//! says to them.
//!
//! Without a running node the verbs work on the data directory: the word goes into the shard's
//! inbox as it would from a client, and a node in this process carries it out and comes to rest.

use super::{Stood, answer, look, note, remote};
use crate::app::Failure;
use crate::cli::{Chosen, List, Quarantine};
use crate::client::Client;
use crate::journeys::{self, Filter, Found, QUARANTINE};
use crate::limits::CHOSEN_MAX;
use crate::report_row::Row;
use crate::run::{node_exit_code, say};
use crate::service::handlers::quarantine::refusal;
use gristmill_actors::ports::{Intake, Reads};
use gristmill_actors::stage::StageType;
use gristmill_workflows::codec::encode;
use gristmill_workflows::id::ContributionId;
use gristmill_workflows::inbox::{Item, Verb};
use gristmill_workflows::request::Cause;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::Duration;

/// What became of a word to many journeys.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    pub(super) dry_run: bool,
    /// How many were told, or would be.
    pub(super) count: usize,
    pub(super) told: Vec<String>,
    pub(super) failed: Vec<NotTold>,
    /// How those that were told stand now; none where a running node goes on with them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) journeys: Option<Vec<Row>>,
}

/// A journey that was not told, and why.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct NotTold {
    id: String,
    problem: Refused,
}

#[derive(Debug, Serialize, Deserialize)]
struct Refused {
    code: String,
    detail: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Summary {
    /// For people.
    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = match &self.journeys {
            None => self.told.clone(),
            Some(rows) => {
                let line = |row: &Row| {
                    let why = row.reason.as_deref().or(row.cause).unwrap_or_default();
                    format!("{}  {}  {why}", row.id, row.state)
                };
                rows.iter().map(line).collect()
            }
        };
        let refused = |one: &NotTold| format!("{}  not told: {}", one.id, one.problem.detail);
        lines.extend(self.failed.iter().map(refused));
        let told = if self.dry_run { "would be told" } else { "told" };
        lines.push(format!("{} {told}, {} not", self.count, self.failed.len()));
        lines
    }

    /// 1 if some were not told, 3 if some of those that were stand again.
    fn exit_code(&self) -> u8 {
        let stands = |row: &Row| matches!(row.state, "paused" | "parked" | "moving");
        match &self.journeys {
            _ if !self.failed.is_empty() => 1,
            Some(rows) if rows.iter().any(stands) => 3,
            _ => 0,
        }
    }
}

pub(super) async fn command(verb: Quarantine, own: &[StageType]) -> Result<u8, Failure> {
    match verb {
        Quarantine::List(args) => list(args, own).await,
        Quarantine::Retry(chosen) => speak(chosen, &Verb::Retry, "retry", own).await,
        Quarantine::Reject(chosen) => speak(chosen, &Verb::Reject, "reject", own).await,
    }
}

async fn list(args: List, own: &[StageType]) -> Result<u8, Failure> {
    let causes = causes(args.cause.as_deref())?;
    if let Some(client) = Client::of(&args.node)? {
        remote::list(&client, "/v1/admin/quarantine", &args).await?;
        return Ok(0);
    }
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

async fn speak(chosen: Chosen, verb: &Verb, word: &str, own: &[StageType]) -> Result<u8, Failure> {
    let filtered = chosen.all
        || [&chosen.cause, &chosen.program, &chosen.stage].iter().any(|one| one.is_some());
    if chosen.ids.is_empty() != filtered {
        let text = "which journeys? either ids, or --cause, --program, --stage or --all".to_owned();
        return Err(Failure { text, code: 2 });
    }
    let causes = causes(chosen.cause.as_deref())?;
    let summary = match Client::of(&chosen.node)? {
        Some(client) => remote::speak(&client, word, &chosen).await?,
        None => here(&chosen, causes, verb, word, own).await?,
    };
    answer(chosen.output, &summary, &summary.lines())?;
    Ok(summary.exit_code())
}

fn failed(error: &dyn std::error::Error) -> Failure {
    Failure::new(4, error)
}

/// In a data directory that no node runs on.
async fn here(
    chosen: &Chosen,
    causes: Vec<Cause>,
    verb: &Verb,
    word: &str,
    own: &[StageType],
) -> Result<Summary, Failure> {
    if chosen.rate.is_some() {
        let text = "--rate: for a running node; this one has nothing else to do".to_owned();
        return Err(Failure { text, code: 2 });
    }
    let stood = Stood::open(&chosen.node.place(), own)?;
    let mut summary = Summary { dry_run: chosen.dry_run, ..Summary::default() };
    let mut ids = Vec::new();
    for (id, found) in choose(&stood, chosen, causes).await? {
        let Some(problem) = refusal(found.as_ref(), verb) else {
            ids.push(id);
            summary.told.push(id.to_string());
            continue;
        };
        let (code, detail) = (problem.code.word().to_owned(), problem.detail);
        let problem = Refused { code, detail, rest: Map::new() };
        summary.failed.push(NotTold { id: id.to_string(), problem });
    }
    summary.count = ids.len();
    if !chosen.dry_run && !ids.is_empty() {
        if let Some(reason) = &chosen.reason {
            let target = format!("{} journeys, {} to {}", ids.len(), ids[0], ids[ids.len() - 1]);
            note(&stood.changes(), &format!("quarantine {word}"), &target, reason).await?;
        }
        say(&format!("{} journeys told", ids.len()));
        summary.journeys = Some(carry_out(stood, &ids, verb, chosen.rail.as_deref()).await?);
    }
    Ok(summary)
}

/// Tells journeys a word and runs a node until it comes to rest; how they stand then.
async fn carry_out(
    stood: Stood,
    ids: &[ContributionId],
    verb: &Verb,
    rail: Option<&str>,
) -> Result<Vec<Row>, Failure> {
    let mut items = Vec::with_capacity(ids.len());
    for id in ids {
        let item = Item::Command { id: *id, verb: verb.clone() };
        let shard = id.bucket.shard(stood.prepared.world.shards);
        let (lane, item) = (item.lane(), encode(&item).map_err(|error| failed(&error))?);
        items.push(Intake {
            shard,
            lane,
            item,
            identity: None,
            mark: None,
            reads: Reads::default(),
        });
    }
    let Stood { config, opened, prepared } = stood;
    let (ports, world) = (prepared.ports.clone(), prepared.world.clone());
    ports.store.submit(items).await.map_err(|error| failed(&error))?;
    let ended = |error: crate::embedded_node::Error| Failure::new(node_exit_code(&error), &error);
    let rail = rail.or(config.rail_url());
    let running = prepared.start(&config, &opened, rail).await.map_err(ended)?;
    let rested = running.node.rest(config.node.rest_patience_ms).await;
    let stopped = running.stop(Duration::from_millis(config.node.stop_deadline_ms)).await;
    rested.map_err(|error| failed(&error))?;
    stopped.map_err(ended)?;
    let found = journeys::find(&*ports.store, ids).await.map_err(|error| failed(&error))?;
    let mut indices = journeys::Indices::new(&*ports.store);
    let mut rows = Vec::with_capacity(found.len());
    for one in found.iter().flatten() {
        let row = Row::of(one, None, None, &world.workflows, &mut indices).await;
        rows.push(row.map_err(|error| failed(&error))?);
    }
    Ok(rows)
}

async fn choose(
    stood: &Stood,
    chosen: &Chosen,
    causes: Vec<Cause>,
) -> Result<Vec<(ContributionId, Option<Found>)>, Failure> {
    let store = &*stood.prepared.ports.store;
    if !chosen.ids.is_empty() {
        let parse = |text: &String| {
            ContributionId::parse(text)
                .map_err(|error| Failure { text: format!("{text}: {error}"), code: 2 })
        };
        let ids = chosen.ids.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let found = journeys::find(store, &ids).await.map_err(|error| failed(&error))?;
        return Ok(ids.into_iter().zip(found).collect());
    }
    let (program, stage) = (chosen.program.clone(), chosen.stage.clone());
    let filter = Filter { causes, program, stage, ..Filter::default() };
    let definitions = &stood.prepared.world.workflows;
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let limit = CHOSEN_MAX - all.len();
        let page = journeys::list(store, definitions, &filter, after, limit).await;
        let page = page.map_err(|error| failed(&error))?;
        all.extend(page.items.into_iter().map(|found| (found.submission().id, Some(found))));
        after = page.next;
        if after.is_none() || all.len() >= CHOSEN_MAX {
            break;
        }
    }
    if after.is_some() {
        say(&format!("{CHOSEN_MAX} journeys at a time; the same command goes on with the rest"));
    }
    Ok(all)
}
