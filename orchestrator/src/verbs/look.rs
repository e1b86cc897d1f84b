//! Verbs that look: one contribution, lists of them, receipts.

use super::{Stood, answer, remote};
use crate::app::Failure;
use crate::cli::{self, List, Node, Output};
use crate::client::Client;
use crate::journeys::{self, After, Filter, Found, StateWord, Whose};
use crate::log_folder;
use crate::receipt_check;
use crate::receipts::Receipts;
use crate::run::say;
use crate::show::{self, Known, Shown};
use gristmill_actors::stage::StageType;
use gristmill_workflows::id::ContributionId;
use gristmill_workflows::request::Cause;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::{Path, PathBuf};

fn failed(error: &dyn std::error::Error) -> Failure {
    Failure::new(4, error)
}

async fn find(stood: &Stood, id: &str) -> Result<Found, Failure> {
    let parsed = ContributionId::parse(id).map_err(|error| wrong(format!("{id}: {error}")))?;
    let found = journeys::find(&*stood.prepared.ports.store, &[parsed]).await;
    let found = found.map_err(|error| failed(&error))?.pop().flatten();
    found.ok_or_else(|| wrong(format!("{id}: no such contribution here")))
}

pub(super) async fn show(
    node: &Node,
    id: &str,
    output: Output,
    own: &[StageType],
) -> Result<u8, Failure> {
    if let Some(client) = Client::of(node)? {
        remote::show(&client, id, output).await?;
        return Ok(0);
    }
    let shown = shown(node, id, own).await?;
    answer(output, &shown, &shown.lines())?;
    Ok(0)
}

pub(super) async fn why(
    node: &Node,
    id: &str,
    output: Output,
    own: &[StageType],
) -> Result<u8, Failure> {
    let why = match Client::of(node)? {
        Some(client) => remote::why(&client, id).await?,
        None => {
            let Shown { row, why, .. } = shown(node, id, own).await?;
            Why { id: row.id, state: row.state.to_owned(), why }
        }
    };
    answer(output, &why, std::slice::from_ref(&why.why))?;
    Ok(0)
}

/// One sentence on one contribution.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Why {
    id: String,
    state: String,
    why: String,
}

async fn shown(node: &Node, id: &str, own: &[StageType]) -> Result<Shown, Failure> {
    let stood = Stood::open(&node.place(), own)?;
    let found = find(&stood, id).await?;
    let known = Known::of(&stood.prepared.world);
    let shown = show::show(&*stood.prepared.ports.store, &known, &found).await;
    shown.map_err(|error| failed(&error))
}

pub(super) async fn list(args: &List, own: &[StageType]) -> Result<u8, Failure> {
    if let Some(client) = Client::of(&args.node)? {
        remote::list(&client, "/v1/contributions", args).await?;
        return Ok(0);
    }
    let cause = args.cause.as_deref().map(|word| {
        let none = || wrong(format!("--cause {word}: no cause of a pause"));
        Cause::parse(word).ok_or_else(none)
    });
    list_with(args, cause.transpose()?.into_iter().collect(), own).await
}

fn wrong(text: String) -> Failure {
    Failure { text, code: 2 }
}

pub(super) async fn list_with(
    args: &List,
    causes: Vec<Cause>,
    own: &[StageType],
) -> Result<u8, Failure> {
    let state = args.state.as_deref().map(|word| {
        let none = || wrong(format!("--state {word}: no such state"));
        StateWord::parse(word).ok_or_else(none)
    });
    let state = state.transpose()?;
    let stood = Stood::open(&args.node.place(), own)?;
    let after = match &args.after {
        Some(text) => {
            let after = After::parse(text);
            Some(after.ok_or_else(|| wrong(format!("--after {text}: no id of a contribution")))?)
        }
        None => None,
    };
    let world = &stood.prepared.world;
    let whose = args.contributor.clone().map(|contributor| {
        let shard = world.key.bucket(&contributor).shard(world.shards);
        let key = world.key.contributor(&contributor);
        Whose { contributor, key, shard }
    });
    let (program, stage) = (args.program.clone(), args.stage.clone());
    let filter = Filter { state, causes, program, stage, whose };
    let store = &*stood.prepared.ports.store;
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let page = journeys::list(store, &world.workflows, &filter, after, limit).await;
    let page = page.map_err(|error| match error {
        journeys::Error::After { .. } => wrong(error.to_string()),
        other => failed(&other),
    })?;
    let rows = show::listed(store, &Known::of(world), &page.items).await;
    let rows = rows.map_err(|error| failed(&error))?;
    answer(args.output, &rows, &show::table(&rows))?;
    more(page.next.map(|after| after.to_string()));
    Ok(0)
}

/// Says how a listing goes on.
pub(super) fn more(next: Option<String>) {
    if let Some(next) = next {
        say(&format!("there may be more: --after {next}"));
    }
}

pub(super) async fn receipt(args: cli::Receipt, own: &[StageType]) -> Result<u8, Failure> {
    if let Some(cli::ReceiptVerb::Verify { file, key, output }) = args.verb {
        return verify(&file, &key, output);
    }
    let Some(id) = args.id else {
        return Err(Failure { text: "which contribution?".to_owned(), code: 2 });
    };
    let paths = match Client::of(&args.node)? {
        Some(client) => remote::receipt(&client, &id, &args.out).await?,
        None => written(&args.node, &id, own).await?,
    };
    let lines: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    answer(args.output, &json!({ "receipts": &lines }), &lines)?;
    Ok(0)
}

async fn written(node: &Node, id: &str, own: &[StageType]) -> Result<Vec<PathBuf>, Failure> {
    let stood = Stood::open(&node.place(), own)?;
    let found = find(&stood, id).await?;
    let ports = &stood.prepared.ports;
    let receipts = Receipts::open(&stood.opened.dir, &*ports.store, &*ports.keys);
    let receipts = receipts.map_err(|error| failed(&error))?;
    let made = receipts.write(&[found]).await.map_err(|error| failed(&error))?;
    let mut written = Vec::new();
    for one in made {
        let absent = |absent| Failure { text: format!("{id}: {absent}"), code: 1 };
        let paths = one.paths.map_err(absent)?;
        written.extend(paths.iter().map(|path| stood.opened.dir.path().join(path)));
    }
    Ok(written)
}

fn verify(file: &Path, key: &str, output: Output) -> Result<u8, Failure> {
    let verifier = log_folder::verifier(key).map_err(|error| Failure::new(2, &error))?;
    let bytes = std::fs::read(file)
        .map_err(|error| Failure { text: format!("{}: {error}", file.display()), code: 2 })?;
    match receipt_check::check(&bytes, &verifier) {
        Ok(proven) => {
            answer(output, &proven, &proven.sentences())?;
            Ok(0)
        }
        Err(error) => Err(Failure::new(1, &error)),
    }
}
