//! One sentence for each contribution: why it stands where it stands (I12).

use crate::journeys::{Definitions, Found};
use crate::limits::AHEAD_MAX;
use crate::report_row::Row;
use gristmill_actors::ports::{ShardStore, StoreError};
use gristmill_workflows::definition::Effect;
use gristmill_workflows::id::ShardId;
use gristmill_workflows::journey::{EventKind, Journey, PayoutState, State};
use gristmill_workflows::request::{Cause, Wait};
use gristmill_workflows::shard::World;
use gristmill_workflows::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is known beside a row.
#[derive(Debug, Clone)]
pub struct Known<'a> {
    /// Workflows.
    pub definitions: &'a Definitions,
    /// The workflow's name by program.
    pub programs: BTreeMap<&'a str, &'a str>,
    /// Stages that an operator paused.
    pub paused: Arc<BTreeSet<String>>,
    /// A node runs.
    pub runs: bool,
    /// The time of the store, if nodes share it.
    pub shared: Option<Timestamp>,
}

impl<'a> Known<'a> {
    /// Of a store without a node, and with nothing paused.
    #[must_use]
    pub fn standing(definitions: &'a Definitions) -> Self {
        let (programs, paused) = (BTreeMap::new(), Arc::default());
        Self { definitions, programs, paused, runs: false, shared: None }
    }

    /// Of a world whose programs name their workflows.
    #[must_use]
    pub fn of(world: &'a World) -> Self {
        let programs = world.programs.iter();
        let programs = programs.map(|(id, program)| (id.as_str(), program.workflow.as_str()));
        Self { programs: programs.collect(), ..Self::standing(&world.workflows) }
    }

    /// The shards of what is not done that no node holds now.
    ///
    /// # Errors
    /// The store's.
    pub async fn between_nodes(
        &self,
        store: &dyn ShardStore,
        found: &[Found],
    ) -> Result<BTreeSet<ShardId>, StoreError> {
        let Some(now) = self.shared else { return Ok(BTreeSet::new()) };
        let asked: BTreeSet<ShardId> = found.iter().filter_map(goes_on).collect();
        if asked.is_empty() {
            return Ok(asked);
        }
        let leases = store.leases(asked.iter().copied().collect()).await?;
        let leases = asked.into_iter().zip(leases);
        Ok(leases.filter(|(_, lease)| !lease.is_held(now)).map(|(shard, _)| shard).collect())
    }

    /// The paused stage that a queued contribution would begin with.
    fn entrance(&self, row: &Row) -> Option<&'static str> {
        let workflow = self.programs.get(row.program.as_str())?;
        let versions = self.definitions.iter().filter(|(pin, _)| *pin.name == **workflow);
        let (_, newest) = versions.max_by_key(|(pin, _)| pin.version)?;
        let stage = newest.stages.first()?.signature.name;
        self.paused.contains(stage).then_some(stage)
    }
}

/// The shard of what a node has to drive on.
fn goes_on(found: &Found) -> Option<ShardId> {
    match found {
        Found::Queued { shard, .. } => Some(*shard),
        Found::Journey { shard, journey } => {
            let waits = matches!(journey.state, State::Moving | State::Parked { .. });
            waits.then_some(*shard)
        }
        Found::Expired { .. } => None,
    }
}

/// The sentence. `in_front` is how many items wait in front of a queued one, [`AHEAD_MAX`] if that
/// was not counted to the end; `between` are the shards that [`Known::between_nodes`] found.
#[must_use]
pub fn why(
    known: &Known<'_>,
    found: &Found,
    row: &Row,
    in_front: usize,
    between: &BTreeSet<ShardId>,
) -> String {
    let sentence = where_it_stands(known, found, row, in_front);
    match goes_on(found).filter(|shard| between.contains(shard)) {
        Some(_) => format!("{sentence}; {}", waits(Wait::ShardMoving, None, None, 0)),
        None => sentence,
    }
}

fn where_it_stands(known: &Known<'_>, found: &Found, row: &Row, in_front: usize) -> String {
    match found {
        Found::Queued { .. } => match (known.entrance(row), in_front) {
            (Some(stage), _) => {
                format!("queued: an operator paused stage `{stage}`, with which it begins")
            }
            (None, 0) if known.runs => "queued: next of its shard".to_owned(),
            (None, 0) => "queued: next of its shard once a node runs".to_owned(),
            (None, AHEAD_MAX..) => {
                "queued in its shard's inbox until a node takes it up".to_owned()
            }
            (None, one_by_one) => format!("queued behind {one_by_one} others of its shard"),
        },
        Found::Journey { journey, .. } => of_journey(known, journey, row),
        Found::Expired { journey, .. } => {
            let sentence = match &journey.state {
                State::Rejected(reason) => format!("rejected: {}", reason.as_str()),
                _ => of_journey(known, journey, row),
            };
            let ended = journey.submission.at.rfc3339();
            format!("{sentence}; it ended on {ended} and expired: who handed it in is not kept")
        }
    }
}

fn of_journey(known: &Known<'_>, journey: &Journey, row: &Row) -> String {
    let stage = row.stage.unwrap_or("the end");
    match &journey.state {
        State::Settled => settled(journey, row),
        State::Rejected(reason) => {
            format!("rejected at stage `{stage}`: {}", reason.as_str())
        }
        State::Withdrawn => "withdrawn: consent was taken back before acceptance".to_owned(),
        State::Paused { cause, detail } => {
            let since = entered(journey, |kind| matches!(kind, EventKind::Paused(_)));
            let go_on = format!("`gristmill quarantine retry {}` lets it go on", row.id);
            let said = if detail.is_empty() { String::new() } else { format!(": {detail}") };
            let cause = if *cause == Cause::Operator {
                "an operator paused it".to_owned()
            } else {
                format!("cause {}", cause.as_str())
            };
            format!("paused at stage `{stage}`{since}: {cause}{said}; {go_on}")
        }
        State::Parked { wait, until, signal } => {
            let since = entered(journey, |kind| matches!(kind, EventKind::Parked(_)));
            let waits = waits(*wait, *until, signal.as_deref(), journey.attempts);
            format!("parked at stage `{stage}`{since}: {waits}")
        }
        State::Moving => moving(known, journey, stage),
    }
}

fn settled(journey: &Journey, row: &Row) -> String {
    let paid = journey.payouts.iter().any(|payout| payout.state == PayoutState::Paid);
    let mut sentence = if paid {
        "settled: accepted, logged and paid".to_owned()
    } else {
        "settled: accepted and logged; less than one minor unit is carried".to_owned()
    };
    if let Some(at) = &row.withdrawn_at {
        sentence.push_str(&format!("; consent was taken back on {at}, after acceptance"));
    }
    sentence
}

fn entered(journey: &Journey, is: impl Fn(&EventKind) -> bool) -> String {
    let event = journey.timeline.iter().rev().find(|event| is(&event.kind));
    event.map_or_else(String::new, |event| format!(" since {}", event.at.rfc3339()))
}

fn waits(wait: Wait, until: Option<Timestamp>, signal: Option<&str>, failed: u16) -> String {
    let until = until.map_or_else(String::new, |until| format!(" until {}", until.rfc3339()));
    match wait {
        Wait::Timer => format!("its stage asked to wait{until}"),
        Wait::Signal => format!("it waits for the signal `{}`", signal.unwrap_or_default()),
        Wait::Backoff => format!("backs off{until} after {failed} failed attempts"),
        Wait::Circuit => format!("the stage's downstream is down; tried again{until}"),
        Wait::Budget => format!("its program's budget was asked for more{until}"),
        Wait::ContentClaim => {
            format!("the same content is claimed by another that is not decided yet{until}")
        }
        Wait::Slots => "waits for a place in the stage's pool".to_owned(),
        Wait::Rate => format!("waits for the stage's rate{until}"),
        Wait::StagePaused => {
            "an operator paused the stage; it goes on when the stage is resumed".to_owned()
        }
        Wait::ShardMoving => "its shard is between two nodes (shard_moving)".to_owned(),
        Wait::Store => "waits for a commit or the log".to_owned(),
    }
}

fn moving(known: &Known<'_>, journey: &Journey, stage: &str) -> String {
    let definition = known.definitions.get(&journey.workflow);
    let due = definition.map(|definition| definition.stage(journey.stage));
    let waits = match due {
        Some(None) => true,
        Some(Some(stage)) => stage.signature.effect == Effect::Keyed,
        None => return "its workflow version is not one of this binary's".to_owned(),
    };
    if waits && journey.waits_for_log() {
        return "moving: waits for the log to give its entry an index".to_owned();
    }
    match journey.payouts.last().map(|payout| payout.state) {
        Some(PayoutState::InFlight) => {
            format!("moving: waits for the rail's answer at stage `{stage}`")
        }
        Some(PayoutState::Fixed) => format!("moving: its payout is fixed, due at stage `{stage}`"),
        _ if known.runs => format!("moving: stage `{stage}` is due or under way"),
        _ => format!("moving: stage `{stage}` is due when a node runs"),
    }
}
