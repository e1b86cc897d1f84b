//! The survey: what stands on a node, counted now and then for its metrics.
//!
//! Nobody counts standing journeys as they come and go: they are rows. The survey reads the rows of
//! this node's shards in pages, asks each shard what it has in memory, and shows the sums. It
//! changes nothing, and rests for many times as long as it works.

use crate::engine::Engine;
use crate::limits;
use crate::ports::StoreError;
use crate::shard::ShardMessage;
use gristmill_workflows::codec::decode;
use gristmill_workflows::commit::Place;
use gristmill_workflows::definition::WorkflowRef;
use gristmill_workflows::id::ShardId;
use gristmill_workflows::inbox::{Item, Lane};
use gristmill_workflows::invariant::Invariant;
use gristmill_workflows::journey::{Journey, State};
use gristmill_workflows::ledger::Ledger;
use gristmill_workflows::request::{Cause, Wait};
use gristmill_workflows::time::Timestamp;
use ractor::ActorRef;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// States of the contract, in the order of [`Survey::states`].
pub(crate) const STATES: [&str; 7] =
    ["queued", "moving", "parked", "paused", "settled", "rejected", "withdrawn"];

/// What one shard has in memory.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Finished journeys by outcome, ever.
    pub(crate) finished: BTreeMap<String, u64>,
    /// Every balance.
    pub(crate) ledger: Ledger,
    /// Journeys that move.
    pub(crate) moving: Vec<Moving>,
}

/// A journey that moves.
#[derive(Debug)]
pub(crate) struct Moving {
    pub(crate) workflow: WorkflowRef,
    pub(crate) stage: u8,
    /// Since when it is there.
    pub(crate) since: Timestamp,
    /// It is still an item of the inbox too.
    pub(crate) in_inbox: bool,
    /// What it waits for, if that is not its stage.
    pub(crate) wait: Option<Wait>,
}

/// What stands at one stage.
#[derive(Debug, Default)]
pub(crate) struct AtStage {
    /// Since when the oldest is there that should move.
    pub(crate) oldest: Option<Timestamp>,
    /// How many wait, by cause.
    pub(crate) waits: BTreeMap<Wait, u64>,
    /// How many wait for an operator, by cause.
    pub(crate) paused: BTreeMap<Cause, u64>,
}

impl AtStage {
    fn stands_since(&mut self, since: Timestamp) {
        self.oldest = Some(self.oldest.map_or(since, |oldest| oldest.min(since)));
    }
}

/// The sums over a node's shards.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// Shards that run here.
    pub(crate) shards: usize,
    /// By stage.
    pub(crate) stages: BTreeMap<&'static str, AtStage>,
    /// Every balance.
    pub(crate) money: Ledger,
    queued: u64,
    moving: u64,
    parked: u64,
    paused: u64,
    settled: u64,
    rejected: u64,
    withdrawn: u64,
}

impl Survey {
    /// How many journeys are in each of [`STATES`].
    pub(crate) fn states(&self) -> [u64; 7] {
        let Self { queued, moving, parked, paused, settled, rejected, withdrawn, .. } = *self;
        [queued, moving, parked, paused, settled, rejected, withdrawn]
    }
}

/// Surveys a node until it is dropped.
pub async fn repeat(engine: &Engine) {
    let mut last = Instant::now();
    loop {
        let began = Instant::now();
        match Survey::make(engine).await {
            Ok(survey) => {
                engine.metrics.show(&survey, began.duration_since(last));
                last = began;
            }
            Err(error) => tracing::warn!(%error, "the node was not surveyed"),
        }
        let rest = began.elapsed() * limits::SURVEY_REST;
        tokio::time::sleep(rest.max(limits::SURVEY_EVERY)).await;
    }
}

impl Survey {
    async fn make(engine: &Engine) -> Result<Self, StoreError> {
        let mut survey = Self::default();
        let shards: Vec<(ShardId, ActorRef<ShardMessage>)> = {
            let shards = engine.shards.read();
            let shards = shards.unwrap_or_else(std::sync::PoisonError::into_inner);
            shards.iter().map(|(shard, actor)| (*shard, actor.clone())).collect()
        };
        survey.shards = shards.len();
        for (shard, actor) in shards {
            // A shard that ends just now is counted when it runs again.
            let Ok(tally) = ractor::call!(actor, ShardMessage::Tally) else { continue };
            let in_inbox = survey.add(engine, *tally);
            let queued = engine.ports.store.queued(shard).await?.saturating_sub(in_inbox);
            survey.queued += queued;
            if queued > 0 {
                survey.add_queue(engine, shard).await?;
            }
            survey.add_rows(engine, shard).await?;
        }
        Ok(survey)
    }

    fn at(&mut self, engine: &Engine, workflow: &WorkflowRef, stage: u8) -> Option<&mut AtStage> {
        let definition = engine.world.workflows.get(workflow)?;
        // Past its last stage a journey waits for its end: that is the last stage's matter.
        let stage = definition.stage(stage).or(definition.stages.last())?;
        Some(self.stages.entry(stage.signature.name).or_default())
    }

    /// Adds what a shard has in memory; how much of it is in the inbox too.
    fn add(&mut self, engine: &Engine, tally: Tally) -> u64 {
        let Tally { finished, ledger, moving } = tally;
        for (outcome, count) in finished {
            match outcome.as_str() {
                "settled" => self.settled += count,
                "withdrawn" => self.withdrawn += count,
                _ => self.rejected += count,
            }
        }
        for currency in ledger.currencies() {
            let all = ledger.balances().filter(|(of, _, _)| *of == currency);
            if all.map(|(_, _, micro)| micro).sum::<i128>() != 0 {
                tracing::error!(currency = currency.as_str(), "a ledger does not add up");
                engine.metrics.violated(Invariant::MoneyAddsUp);
            }
        }
        self.money.add(&ledger);
        self.moving += moving.len() as u64;
        let mut in_inbox = 0;
        for Moving { workflow, stage, since, in_inbox: also, wait } in moving {
            in_inbox += u64::from(also);
            let Some(at) = self.at(engine, &workflow, stage) else { continue };
            at.stands_since(since);
            if let Some(wait) = wait {
                *at.waits.entry(wait).or_default() += 1;
            }
        }
        in_inbox
    }

    /// The oldest item of a shard's queue.
    async fn add_queue(&mut self, engine: &Engine, shard: ShardId) -> Result<(), StoreError> {
        let first = engine.ports.store.inbox(shard, Lane::Intake, None, 1).await?;
        for (_, item) in first {
            let Item::Contribution(submission) = decode(&item).map_err(damaged)? else { continue };
            let program = engine.world.programs.get(&submission.program);
            let workflow = program.and_then(|program| engine.world.newest(&program.workflow));
            if let Some(at) = workflow.and_then(|known| self.at(engine, &known.pin, 0)) {
                at.stands_since(submission.at);
            }
        }
        Ok(())
    }

    /// Standing journeys of a shard, page by page.
    async fn add_rows(&mut self, engine: &Engine, shard: ShardId) -> Result<(), StoreError> {
        let (place, limit) = (Place::Active, limits::SURVEY_BATCH);
        let mut after = None;
        loop {
            let rows = engine.ports.store.list(shard, place, after, limit).await?;
            after = rows.last().map(|(arrival, _)| *arrival);
            let is_last = rows.len() < limit;
            for (_, row) in rows {
                let journey: Journey = decode(&row).map_err(damaged)?;
                self.add_row(engine, &journey);
            }
            if is_last {
                return Ok(());
            }
            // Decoding a page takes a while; others go first.
            tokio::task::yield_now().await;
        }
    }

    fn add_row(&mut self, engine: &Engine, journey: &Journey) {
        let at = self.at(engine, &journey.workflow, journey.stage);
        match &journey.state {
            State::Parked { wait, .. } => {
                if let Some(at) = at {
                    *at.waits.entry(*wait).or_default() += 1;
                    if !matches!(wait, Wait::Timer | Wait::Signal) {
                        at.stands_since(journey.since);
                    }
                }
                self.parked += 1;
            }
            State::Paused { cause, .. } => {
                if let Some(at) = at {
                    *at.paused.entry(*cause).or_default() += 1;
                }
                self.paused += 1;
            }
            // Those that move are in memory, and counted there.
            State::Moving | State::Settled | State::Rejected(_) | State::Withdrawn => {}
        }
    }
}

fn damaged(error: gristmill_workflows::codec::Error) -> StoreError {
    StoreError::Damaged { detail: error.to_string() }
}

/// What journeys wait for who have an actor and are not at work.
pub(crate) fn wait_of(journey: &Journey, for_budget: bool) -> Option<Wait> {
    let for_log = journey.waits_for_log();
    let wait = if for_budget { Wait::Budget } else { Wait::Store };
    (for_budget || for_log).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_oldest_is_the_earliest() {
        let mut at = AtStage::default();
        for since in [7, 3, 5] {
            at.stands_since(Timestamp(since));
        }
        assert_eq!(at.oldest, Some(Timestamp(3)));
        assert!(limits::SURVEY_REST > 1 && limits::SURVEY_EVERY > Duration::ZERO);
    }
}
