//! Paused stages: durable in the register, and from there in the memory of every node.

use crate::service::changes::Changes;
use crate::service::problem::{Code, Problem};
use crate::service::role::Caller;
use gristmill_actors::engine::Engine;
use gristmill_actors::pauses::Pauses;
use gristmill_actors::ports::StoreError;
use gristmill_actors::register::Register;
use gristmill_workflows::codec::{Record, decode, encode};
use gristmill_workflows::limits::STAGES_MAX;
use gristmill_workflows::shard::World;
use gristmill_workflows::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

const PREFIX: &str = "stage/";

/// What was last said of a stage. A stage that was let go on keeps its row: journeys may still be
/// parked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Paused, or let go on.
    pub paused: bool,
    /// When.
    pub at: Timestamp,
    /// Why, in the operator's words.
    pub reason: String,
}

impl Record for Said {
    const SCHEMA: u8 = 52;
    const VERSION: u8 = 1;
}

/// How a stage stands.
#[derive(Debug, Serialize)]
pub struct Stage {
    /// Its name.
    pub stage: String,
    /// Whether it is paused.
    pub paused: bool,
    /// Since when, if anything was ever said of it.
    pub since: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// What was said of every stage.
///
/// # Errors
/// [`StoreError`], also when a row does not decode.
pub async fn said(register: &dyn Register) -> Result<BTreeMap<String, Said>, StoreError> {
    let limit = STAGES_MAX * 1024;
    let rows = register.scan(PREFIX.to_owned(), None, limit).await?;
    let mut said = BTreeMap::new();
    for (name, row) in rows {
        let row: Said =
            decode(&row).map_err(|error| StoreError::Damaged { detail: error.to_string() })?;
        said.insert(name[PREFIX.len()..].to_owned(), row);
    }
    Ok(said)
}

/// The paused stages, for a node that begins.
///
/// # Errors
/// As [`said`].
pub async fn pauses(register: &dyn Register) -> Result<Pauses, StoreError> {
    let said = said(register).await?;
    let ever = !said.is_empty();
    Ok(Pauses::new(paused(said), ever))
}

fn paused(said: BTreeMap<String, Said>) -> BTreeSet<String> {
    said.into_iter().filter(|(_, said)| said.paused).map(|(stage, _)| stage).collect()
}

/// Brings a node in step with the register, in which another node may have written.
///
/// # Errors
/// As [`said`].
pub async fn refresh(register: &dyn Register, engine: &Engine) -> Result<(), StoreError> {
    engine.pause(paused(said(register).await?));
    Ok(())
}

/// The names of all stages.
#[must_use]
pub fn names(world: &World) -> BTreeSet<&'static str> {
    let stages = world.workflows.values().flat_map(|definition| &definition.stages);
    stages.map(|stage| stage.signature.name).collect()
}

/// Every stage as it stands.
///
/// # Errors
/// As [`said`].
pub async fn list(register: &dyn Register, world: &World) -> Result<Vec<Stage>, StoreError> {
    let mut said = said(register).await?;
    let stage = |name: &str| {
        let said = said.remove(name);
        Stage {
            stage: name.to_owned(),
            paused: said.as_ref().is_some_and(|said| said.paused),
            since: said.as_ref().map(|said| said.at.rfc3339()),
            reason: said.map(|said| said.reason),
        }
    };
    Ok(names(world).into_iter().map(stage).collect())
}

/// Stages as a table.
#[must_use]
pub fn table(stages: &[Stage]) -> Vec<String> {
    let mut lines = vec![format!("{:<24}  {:<8}  SINCE AND WHY", "STAGE", "STATE")];
    lines.extend(stages.iter().map(|one| {
        let state = if one.paused { "paused" } else { "runs" };
        let since = one.since.as_deref().unwrap_or("-");
        format!("{:<24}  {state:<8}  {since}  {}", one.stage, one.reason.as_deref().unwrap_or(""))
    }));
    lines
}

/// Who pauses or resumes stages.
pub struct Desk<'a> {
    /// Where it stands.
    pub register: &'a dyn Register,
    /// Where it is noted.
    pub changes: &'a Changes,
    /// Which stages there are.
    pub world: &'a World,
}

impl std::fmt::Debug for Desk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Desk")
    }
}

impl Desk<'_> {
    /// Pauses a stage or lets it go on: durable when it answers.
    ///
    /// # Errors
    /// A [`Problem`] when there is no such stage, or it is not durable.
    pub async fn set(&self, caller: &Caller, stage: &str, said: Said) -> Result<Stage, Problem> {
        if !names(self.world).contains(stage) {
            let detail = "no workflow of this node has such a stage";
            return Err(Problem::field(Code::UnknownStage, "stage", detail));
        }
        let verb = if said.paused { "stage pause" } else { "stage resume" };
        self.changes.note(caller, verb, stage, &said.reason).await?;
        let (name, row) = (format!("{PREFIX}{stage}"), encode(&said)?);
        loop {
            // The last word counts, whoever said something in between.
            let stands = self.register.get(name.clone()).await?;
            if self.register.swap(name.clone(), stands, Some(row.clone())).await? {
                break;
            }
        }
        let (since, reason) = (Some(said.at.rfc3339()), Some(said.reason));
        Ok(Stage { stage: stage.to_owned(), paused: said.paused, since, reason })
    }
}
