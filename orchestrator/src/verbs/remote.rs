//! The verbs on a running node.

use super::look::{Why, more};
use super::quarantine::{NotTold, Summary};
use super::{answer, print};
use crate::app::Failure;
use crate::cli::{Chosen, List, Output, Told, Withdraw};
use crate::client::{Client, Error};
use crate::limits::{CHOSEN_MAX, LIST_PAGE, TOLD_AT_ONCE};
use crate::run::say;
use crate::show;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

fn contribution(id: &str) -> String {
    format!("/v1/contributions/{}", Client::escaped(id))
}

pub(super) async fn show(client: &Client, id: &str, output: Output) -> Result<(), Failure> {
    as_it_stands(client, &contribution(id), output).await
}

pub(super) async fn why(client: &Client, id: &str) -> Result<Why, Error> {
    client.get(&contribution(id)).await
}

/// What a node shows to people and to programs alike.
async fn as_it_stands(client: &Client, path: &str, output: Output) -> Result<(), Failure> {
    match output {
        Output::Json => answer(output, &client.get::<Value>(path).await?, &[]),
        Output::Table => print(&[client.text(path).await?.trim_end().to_owned()]),
    }
}

/// A page of a listing.
#[derive(Deserialize)]
struct Page {
    items: Vec<Value>,
    next_page_token: Option<String>,
}

/// What a table shows of an item.
#[derive(Deserialize)]
struct Listed {
    id: String,
    state: String,
    reason: Option<String>,
    cause: Option<String>,
    stage: Option<String>,
    why: String,
}

/// A listing under a path.
pub(super) async fn list(client: &Client, path: &str, args: &List) -> Result<(), Failure> {
    let mut query = String::new();
    let filters = [
        ("state", &args.state),
        ("cause", &args.cause),
        ("program", &args.program),
        ("stage", &args.stage),
        ("contributor", &args.contributor),
    ];
    for (name, value) in filters {
        if let Some(value) = value {
            write!(query, "&{name}={}", Client::escaped(value)).map_err(|e| Failure::new(4, &e))?;
        }
    }
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let (mut rows, mut after) = (Vec::new(), args.after.clone());
    loop {
        let size = (limit - rows.len()).min(LIST_PAGE);
        let token = after.as_deref().map(Client::escaped).unwrap_or_default();
        let page = format!("{path}?page_size={size}&page_token={token}{query}");
        let Page { items, next_page_token } = client.get(&page).await?;
        rows.extend(items);
        after = next_page_token;
        if after.is_none() || rows.len() >= limit {
            break;
        }
    }
    match args.output {
        Output::Json => answer(args.output, &rows, &[])?,
        Output::Table => print(&table(client, &rows)?)?,
    }
    more(after);
    Ok(())
}

fn table(client: &Client, rows: &[Value]) -> Result<Vec<String>, Error> {
    let read = |row: &Value| client.json::<Listed>(row.to_string().as_bytes());
    let rows = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(show::lines(rows.iter().map(|row| {
        let word = row.reason.as_deref().or(row.cause.as_deref()).unwrap_or("-");
        [&row.id, &row.state, word, row.stage.as_deref().unwrap_or("-"), &row.why]
    })))
}

/// Writes the receipts of a contribution into a folder.
pub(super) async fn receipt(
    client: &Client,
    id: &str,
    folder: &Path,
) -> Result<Vec<PathBuf>, Failure> {
    let mut written = Vec::new();
    for entry in ["contribution", "payout"] {
        let path = format!("{}/receipt?entry={entry}", contribution(id));
        let receipt = match client.text(&path).await {
            // Not paid, or carried over to the next payout.
            Err(Error::Problem { code, .. }) if entry == "payout" && code == "not_accepted" => {
                break;
            }
            receipt => receipt?,
        };
        let file = folder.join(format!("{id}.{entry}.tlog-proof"));
        std::fs::write(&file, receipt)
            .map_err(|error| Failure { text: format!("{}: {error}", file.display()), code: 4 })?;
        written.push(file);
    }
    Ok(written)
}

/// A stage, as a node answers it.
#[derive(Serialize, Deserialize)]
struct StageState {
    stage: String,
    paused: bool,
    since: Option<String>,
    reason: Option<String>,
}

pub(super) async fn stages(client: &Client, output: Output) -> Result<(), Failure> {
    match output {
        Output::Json => {
            let Page { items, .. } = client.get("/v1/admin/stages").await?;
            answer(output, &items, &[])
        }
        Output::Table => as_it_stands(client, "/v1/admin/stages", output).await,
    }
}

pub(super) async fn stage(client: &Client, word: &str, told: &Told) -> Result<(), Failure> {
    let path = format!("/v1/admin/stages/{}/{word}", Client::escaped(&told.stage));
    let state: StageState = client.post(&path, &json!({ "reason": told.reason })).await?;
    let line = format!("{}  {}", state.stage, if state.paused { "paused" } else { "runs" });
    answer(told.output, &state, &[line])
}

/// A withdrawal, as a node answers it.
#[derive(Serialize, Deserialize)]
pub(super) struct Withdrawn {
    pub(super) contributor: String,
    pub(super) grant: Option<String>,
    pub(super) program: Option<String>,
    pub(super) withdrawn_at: String,
}

pub(super) async fn withdraw(client: &Client, args: &Withdraw) -> Result<Withdrawn, Error> {
    let mut body = json!({"contributor": args.contributor});
    for (name, value) in
        [("grant", &args.grant), ("program", &args.program), ("reason", &args.reason)]
    {
        if let Some(value) = value {
            body[name] = json!(value);
        }
    }
    let on_behalf = args.reason.is_some();
    let path = if on_behalf { "/v1/admin/withdrawals" } else { "/v1/consents:withdraw" };
    client.post(path, &body).await
}

/// What a node answers to a word to many journeys.
#[derive(Deserialize)]
struct ToldMany {
    told: Vec<String>,
    failed: Vec<NotTold>,
    next_page_token: Option<String>,
}

/// Tells quarantined journeys a word, in calls of bounded size and at a bounded rate.
pub(super) async fn speak(client: &Client, word: &str, args: &Chosen) -> Result<Summary, Failure> {
    let reason = match &args.reason {
        Some(reason) => reason,
        None if args.dry_run => "a dry run",
        None => {
            let text = "--reason: a running node notes why".to_owned();
            return Err(Failure { text, code: 2 });
        }
    };
    let path = format!("/v1/admin/quarantine:{word}");
    let mut summary = Summary { dry_run: args.dry_run, ..Summary::default() };
    let mut ids = args.ids.clone();
    if ids.is_empty() {
        // Chosen as a whole before the first is told: a page token does not outlive a change.
        let chosen = by_filter(client, &path, reason, args).await?;
        (ids, summary.failed) = (chosen.told, chosen.failed);
        if args.dry_run {
            summary.count = ids.len();
            summary.told = ids;
            return Ok(summary);
        }
        say(&format!("{} journeys chosen", ids.len()));
    }
    let rate = args.rate.map(|rate| usize::try_from(rate).unwrap_or(usize::MAX));
    let mut next_call = Instant::now();
    for some in ids.chunks(rate.unwrap_or(TOLD_AT_ONCE).min(TOLD_AT_ONCE)) {
        sleep_until(next_call).await;
        let body = json!({"reason": reason, "dry_run": args.dry_run, "ids": some});
        let mut done: ToldMany = match client.post(&path, &body).await {
            Err(error) if summary.count > 0 => {
                say(&format!("{} of {} journeys told", summary.count, ids.len()));
                return Err(error.into());
            }
            done => done?,
        };
        if let Some(rate) = args.rate {
            next_call = Instant::now() + Duration::from_secs(some.len() as u64) / rate;
        }
        summary.told.append(&mut done.told);
        summary.failed.append(&mut done.failed);
        summary.count = summary.told.len();
        if ids.len() > some.len() {
            say(&format!("{} of {} journeys told", summary.count, ids.len()));
        }
    }
    Ok(summary)
}

/// Every journey that the filters choose, and those among them that will not be told.
async fn by_filter(
    client: &Client,
    path: &str,
    reason: &str,
    args: &Chosen,
) -> Result<ToldMany, Failure> {
    let mut body = json!({"reason": reason, "dry_run": true});
    for (name, value) in
        [("cause", &args.cause), ("program", &args.program), ("stage", &args.stage)]
    {
        if let Some(value) = value {
            body[name] = json!(value);
        }
    }
    if args.all {
        body["all"] = json!(true);
    }
    let mut all: ToldMany = client.post(path, &body).await?;
    while let Some(token) = &all.next_page_token {
        if all.told.len() + all.failed.len() >= CHOSEN_MAX {
            say(&format!("{CHOSEN_MAX} journeys at a time; the same command goes on"));
            break;
        }
        body["page_token"] = json!(token);
        let page: ToldMany = client.post(path, &body).await?;
        all.told.extend(page.told);
        all.failed.extend(page.failed);
        all.next_page_token = page.next_page_token;
    }
    Ok(all)
}
