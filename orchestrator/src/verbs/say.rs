//! `gristmill withdraw` and `stage`. Without a running node they work on the data directory: what
//! they say is durable there, and the next node acts on it.

use super::remote::Withdrawn;
use super::{Stood, answer, at_hand, note, remote};
use crate::app::Failure;
use crate::cli::{Output, Stage, Told, Withdraw};
use crate::client::Client;
use crate::intake::grant_identity;
use crate::manifest;
use crate::run::say;
use crate::service::problem::Code;
use crate::service::stages::{Desk, Said, list, table};
use gristmill_actors::ports::{Intake, Reads};
use gristmill_actors::stage::StageType;
use gristmill_workflows::codec::encode;
use gristmill_workflows::inbox::Item;
use gristmill_workflows::submission::{Mark, Scope, Withdrawal};
use serde_json::json;

fn failed(error: &dyn std::error::Error) -> Failure {
    Failure::new(4, error)
}

fn wrong(text: String) -> Failure {
    Failure { text, code: 2 }
}

pub(super) async fn stage(verb: &Stage, own: &[StageType]) -> Result<u8, Failure> {
    match verb {
        Stage::List { node, output } => match Client::of(node)? {
            Some(client) => remote::stages(&client, *output).await?,
            None => stages(&Stood::open(&node.place(), own)?, *output).await?,
        },
        Stage::Pause(told) => set(told, true, own).await?,
        Stage::Resume(told) => set(told, false, own).await?,
    }
    Ok(0)
}

async fn stages(stood: &Stood, output: Output) -> Result<(), Failure> {
    let stages = list(&*stood.opened.register, &stood.prepared.world).await;
    let stages = stages.map_err(|error| failed(&error))?;
    answer(output, &stages, &table(&stages))
}

async fn set(told: &Told, paused: bool, own: &[StageType]) -> Result<(), Failure> {
    if let Some(client) = Client::of(&told.node)? {
        return remote::stage(&client, if paused { "pause" } else { "resume" }, told).await;
    }
    let stood = Stood::open(&told.node.place(), own)?;
    let (register, changes) = (&*stood.opened.register, stood.changes());
    let desk = Desk { register, changes: &changes, world: &stood.prepared.world };
    let (at, reason) = (stood.prepared.ports.clock.now(), told.reason.clone());
    let stage = desk.set(&at_hand(), &told.stage, Said { paused, at, reason }).await;
    let stage = stage.map_err(|problem| {
        let code = if problem.code == Code::UnknownStage { 2 } else { 4 };
        Failure { text: format!("{}: {}", told.stage, problem.detail), code }
    })?;
    answer(told.output, &stage, &table(std::slice::from_ref(&stage)))
}

pub(super) async fn withdraw(args: &Withdraw, own: &[StageType]) -> Result<u8, Failure> {
    let withdrawn = match Client::of(&args.node)? {
        Some(client) => remote::withdraw(&client, args).await?,
        None => here(args, own).await?,
    };
    let line = format!("withdrawn at {}", withdrawn.withdrawn_at);
    answer(args.output, &withdrawn, &[line])?;
    Ok(0)
}

/// In a data directory that no node runs on.
async fn here(args: &Withdraw, own: &[StageType]) -> Result<Withdrawn, Failure> {
    let Withdraw { contributor, grant, program, reason, .. } = args;
    let object = json!({"contributor": contributor, "grant": grant, "program": program});
    let object = object.to_string();
    let checked = manifest::parse_withdraw(object.as_bytes());
    checked.map_err(|problem| wrong(format!("--{}: {}", problem.field, problem.detail)))?;
    let stood = Stood::open(&args.node.place(), own)?;
    let (ports, world) = (&stood.prepared.ports, &stood.prepared.world);
    let shard = world.key.bucket(contributor).shard(world.shards);
    let scope = match (grant, program) {
        (Some(grant), _) => {
            let name = grant_identity(contributor, grant);
            let found = ports.store.find(shard, vec![name]).await;
            let found = found.map_err(|error| failed(&error))?;
            if found.into_iter().flatten().next().is_none() {
                return Err(wrong(format!("{grant}: this contributor never gave this grant")));
            }
            Scope::Grant(grant.clone())
        }
        (None, Some(program)) => {
            if !world.programs.contains_key(program) {
                return Err(wrong(format!("{program}: this node serves no such program")));
            }
            Scope::Program(program.clone())
        }
        (None, None) => Scope::All,
    };
    if let Some(reason) = reason {
        note(&stood.changes(), "withdraw", contributor, reason).await?;
    }
    let at = ports.clock.now();
    let mark = Mark { scope: scope.clone(), position: 0, at };
    let mark = Some((world.key.contributor(contributor), mark));
    let item = Item::Withdrawal(Withdrawal { contributor: contributor.clone(), scope, at });
    let (lane, item) = (item.lane(), encode(&item).map_err(|error| failed(&error))?);
    let item = Intake { shard, lane, item, identity: None, mark, reads: Reads::default() };
    ports.store.submit(vec![item]).await.map_err(|error| failed(&error))?;
    say("durable; the next node acts on it");
    let (contributor, grant) = (contributor.clone(), grant.clone());
    let withdrawn_at = at.rfc3339();
    Ok(Withdrawn { contributor, grant, program: program.clone(), withdrawn_at })
}
