//! `gristmill show` and `list`: how a contribution stands, and one sentence why (I12).

mod why;

pub use why::{Known, why};

use crate::journeys::{Definitions, Error, Found, Indices, ahead, stage_name};
use crate::limits::AHEAD_MAX;
use crate::receipt_check::{micro, minor};
use crate::report_row::Row;
use gristmill_actors::ports::ShardStore;
use gristmill_workflows::journey::{EventKind, Journey, PayoutState};
use gristmill_workflows::price::Price;
use gristmill_workflows::score::Factor;
use serde::Serialize;
use serde_json::{Value, json};

/// Everything that is known of one contribution.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shown {
    /// As in a run's report.
    #[serde(flatten)]
    pub row: Row,
    /// One sentence: why it stands where it stands.
    pub why: String,
    /// RFC 3339: when it was made durable.
    pub submitted_at: String,
    /// The task.
    pub task: String,
    /// What it claims to be.
    pub modality: &'static str,
    /// The workflow's version and hash.
    pub workflow_version: Option<Value>,
    /// The grant that it was accepted under, or is to be.
    pub grant: Option<Value>,
    /// What each measure gave to the score.
    pub score_factors: Vec<Factor>,
    /// Every factor of the price.
    pub price: Option<Price>,
    /// The outputs of its stages.
    pub outputs: Vec<Value>,
    /// Every movement of money it caused.
    pub postings: Vec<Value>,
    /// What happened, oldest first.
    pub timeline: Vec<Happened>,
}

/// One line of a timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Happened {
    /// RFC 3339.
    pub at: String,
    /// The stage it was at; none past the last one.
    pub stage: Option<&'static str>,
    /// The contract's words.
    pub what: String,
}

/// Reads everything of one contribution.
///
/// # Errors
/// [`Error`] when a row cannot be read.
pub async fn show(
    store: &dyn ShardStore,
    known: &Known<'_>,
    found: &Found,
) -> Result<Shown, Error> {
    let definitions = known.definitions;
    let workflow = known.programs.get(found.submission().program.as_str()).copied();
    let mut indices = Indices::new(store);
    let row = Row::of(found, None, workflow, definitions, &mut indices).await?;
    let in_front = match found {
        Found::Queued { shard, arrival, .. } => ahead(store, *shard, *arrival).await?,
        Found::Journey { .. } | Found::Expired { .. } => 0,
    };
    let between = known.between_nodes(store, std::slice::from_ref(found)).await?;
    let submission = found.submission();
    let mut shown = Shown {
        why: why(known, found, &row, in_front, &between),
        row,
        submitted_at: submission.at.rfc3339(),
        task: submission.task.clone(),
        modality: submission.modality.as_str(),
        workflow_version: None,
        grant: None,
        score_factors: Vec::new(),
        price: None,
        outputs: Vec::new(),
        postings: Vec::new(),
        timeline: Vec::new(),
    };
    if let Found::Journey { journey, .. } = found {
        shown.fill(definitions, journey);
    }
    Ok(shown)
}

impl Shown {
    fn fill(&mut self, definitions: &Definitions, journey: &Journey) {
        let pin = &journey.workflow;
        self.workflow_version = Some(json!({"version": pin.version, "hash": pin.hash_hex()}));
        self.grant =
            journey.held.as_ref().map(|held| json!({"grant": held.grant, "terms": held.terms}));
        self.price = journey.price.as_ref().map(|(_, price)| price.clone());
        for (stage, bytes) in &journey.outputs {
            let output: Value = serde_json::from_slice(bytes).unwrap_or(Value::Null);
            let factors = output.get("factors").cloned().map(serde_json::from_value);
            if let Some(Ok(factors)) = factors {
                self.score_factors = factors;
            }
            let stage = stage_name(definitions, pin, *stage);
            self.outputs.push(json!({"stage": stage, "output": output}));
        }
        self.postings = journey.postings.iter().map(|posting| json!(posting)).collect();
        self.timeline = journey
            .timeline
            .iter()
            .map(|event| Happened {
                at: event.at.rfc3339(),
                stage: stage_name(definitions, pin, event.stage),
                what: what(&event.kind),
            })
            .collect();
    }

    /// For people.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let row = &self.row;
        let mut lines = vec![
            format!("{}  {}", row.id, row.state),
            format!("  {}", self.why),
            format!("  contributor  {}  (key {})", row.contributor, row.idempotency_key),
            format!("  program      {}, task {}, {}", row.program, self.task, self.modality),
        ];
        if let Some(workflow) = &row.workflow {
            let version = self.workflow_version.as_ref().and_then(|pin| pin.get("version"));
            let version = version.map_or_else(String::new, |version| format!(" version {version}"));
            lines.push(format!("  workflow     {workflow}{version}"));
        }
        if let Some(grant) = self.grant.as_ref().and_then(|grant| grant.get("grant")) {
            lines.push(format!("  grant        {grant}"));
        }
        if let Some(score) = row.score {
            lines.push(format!("  score        {score} of 10000"));
        }
        let factor = |one: &Factor| {
            format!("    {:<24} {:>10}  gives {:>5}", one.measure, one.value, one.points)
        };
        lines.extend(self.score_factors.iter().map(factor));
        self.money(&mut lines);
        if let Some(index) = row.trace_index {
            lines.push(format!("  log index    {index}"));
        }
        if let Some(at) = &row.withdrawn_at {
            lines.push(format!("  withdrawn    {at}"));
        }
        lines.push(format!("  timeline     {} handed in", self.submitted_at));
        let happened = |one: &Happened| {
            format!("               {} {} {}", one.at, one.what, one.stage.unwrap_or("end"))
        };
        lines.extend(self.timeline.iter().map(happened));
        lines
    }

    fn money(&self, lines: &mut Vec<String>) {
        let (Some(amount), Some(price)) = (&self.row.amount, &self.price) else { return };
        let currency = amount.currency;
        lines.push(format!(
            "  price        {}: {} units x {} micro x quality {}/10000 x demand {}/10000, cap: {}",
            micro(currency, price.micro),
            price.units,
            price.rate_micro,
            price.quality_bp,
            price.demand_bp,
            price.capped.as_str()
        ));
        for payout in &self.row.payouts {
            let index = payout.trace_index.map_or_else(String::new, |i| format!(", log index {i}"));
            lines.push(format!(
                "  payout       {} {} {}{index}",
                minor(currency, payout.minor),
                state(payout.state),
                payout.id
            ));
        }
        for posting in &self.postings {
            let word = |name: &str| posting.get(name).and_then(Value::as_str).unwrap_or_default();
            let amount = posting.get("micro").and_then(Value::as_u64).unwrap_or_default();
            let (from, to) = (word("from"), word("to"));
            lines.push(format!("  posting      {from} to {to}: {}", micro(currency, amount)));
        }
    }
}

fn state(state: PayoutState) -> &'static str {
    match state {
        PayoutState::Fixed => "fixed",
        PayoutState::InFlight => "in flight",
        PayoutState::Paid => "paid",
        PayoutState::Failed => "failed",
        PayoutState::Suspense => "in suspense",
    }
}

fn what(kind: &EventKind) -> String {
    match kind {
        EventKind::Accepted => "accepted at".to_owned(),
        EventKind::Advanced => "done with".to_owned(),
        EventKind::Released => "released to".to_owned(),
        EventKind::Paid => "paid by".to_owned(),
        EventKind::PayoutFailed => "payout failed at".to_owned(),
        EventKind::Parked(wait) => format!("parked ({}) at", wait.as_str()),
        EventKind::Paused(cause) => format!("paused ({}) at", cause.as_str()),
        EventKind::Resumed => "resumed at".to_owned(),
        EventKind::Retried => "retried at".to_owned(),
        EventKind::Rejected => "rejected at".to_owned(),
        EventKind::Withdrawn => "withdrawn at".to_owned(),
        EventKind::Settled => "settled at".to_owned(),
    }
}

/// A row of a listing: what a report has, and why it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// As in a run's report.
    #[serde(flatten)]
    pub row: Row,
    /// One sentence.
    pub why: String,
}

/// Rows of a listing.
///
/// # Errors
/// [`Error`] when a row cannot be read.
pub async fn listed(
    store: &dyn ShardStore,
    known: &Known<'_>,
    items: &[Found],
) -> Result<Vec<Listed>, Error> {
    let between = known.between_nodes(store, items).await?;
    let mut indices = Indices::new(store);
    let mut rows = Vec::with_capacity(items.len());
    for found in items {
        let row = Row::of(found, None, None, known.definitions, &mut indices).await?;
        let in_front = match found {
            // Counted for one, not for each: a listing of a long queue would read it over and over.
            Found::Queued { .. } if items.len() > 1 => AHEAD_MAX,
            Found::Queued { shard, arrival, .. } => ahead(store, *shard, *arrival).await?,
            Found::Journey { .. } | Found::Expired { .. } => 0,
        };
        rows.push(Listed { why: why(known, found, &row, in_front, &between), row });
    }
    Ok(rows)
}

/// A listing as a table: a head, then one line a row.
#[must_use]
pub fn table(rows: &[Listed]) -> Vec<String> {
    lines(rows.iter().map(|one| {
        let row = &one.row;
        let word = row.reason.as_deref().or(row.cause).unwrap_or("-");
        [row.id.as_str(), row.state, word, row.stage.unwrap_or("-"), one.why.as_str()]
    }))
}

/// A table of id, state, reason or cause, stage and why.
#[must_use]
pub fn lines<'a>(rows: impl Iterator<Item = [&'a str; 5]>) -> Vec<String> {
    let head = ["ID", "STATE", "REASON OR CAUSE", "STAGE", "WHY"];
    let line = |[id, state, word, stage, why]: [&str; 5]| {
        format!("{id:<37}  {state:<9}  {word:<20}  {stage:<12}  {why}")
    };
    std::iter::once(head).chain(rows).map(line).collect()
}

#[cfg(test)]
mod tests;
