//! The contribution actors of a shard: started, stopped, and started again when they fail.

use super::{ShardMessage, State, stop};
use crate::contribution::{Arguments, Child, Contribution, ContributionMessage, Standing, tell};
use gristmill_workflows::id::Arrival;
use gristmill_workflows::journey::{EventKind, cut};
use gristmill_workflows::request::Failure;
use gristmill_workflows::shard::Proposal;
use ractor::{Actor, ActorId, ActorRef};
use std::sync::atomic::Ordering;

impl State {
    /// Lets a journey's actor go on, or starts one.
    pub(super) async fn run(&mut self, myself: &ActorRef<ShardMessage>, arrival: Arrival) {
        if self.draining {
            return;
        }
        let Some(standing) = self.standing(arrival) else { return };
        if let Some(child) = self.children.get(&arrival) {
            tell(&child.actor, ContributionMessage::Go(standing));
            return;
        }
        self.engine.counters.started.fetch_add(1, Ordering::Relaxed);
        let arguments = Arguments { engine: self.engine.clone(), shard: myself.clone(), standing };
        let spawned = Actor::spawn_linked(None, Contribution, arguments, myself.get_cell()).await;
        match spawned {
            Ok((actor, _)) => {
                self.cells.insert(actor.get_id(), arrival);
                self.children.insert(arrival, Child { actor });
            }
            Err(error) => {
                let detail = error.to_string();
                self.failed(arrival, detail);
            }
        }
    }

    fn standing(&mut self, arrival: Arrival) -> Option<Box<Standing>> {
        let now = self.now();
        let (journey, contributor) = self.machine.standing(arrival)?;
        let sent = journey.payout().and_then(|payout| payout.sent);
        // Whatever happened since its release, a retry by an operator too, may have followed a try.
        let last = journey.timeline.last();
        let untouched = last.is_some_and(|event| event.kind == EventKind::Released);
        let again = self.machine.is_again(arrival);
        let first = untouched && journey.attempts == 0 && !again;
        let fresh = first && sent.is_some_and(|sent| sent >= self.started);
        Some(Box::new(Standing { journey, contributor, now, fresh }))
    }

    /// Stops a journey's actor, if it has one.
    pub(super) fn let_go(&mut self, arrival: Arrival) {
        if let Some(child) = self.children.remove(&arrival) {
            self.cells.remove(&child.actor.get_id());
            stop(&child.actor);
        }
    }

    /// An actor panicked or failed: its journey is tried again from the last commit, with backoff,
    /// and quarantined when attempts run out. Its neighbours do not notice.
    pub(super) fn on_child_failed(&mut self, id: ActorId, error: &str) {
        let Some(arrival) = self.cells.remove(&id) else { return };
        self.engine.counters.restarts.fetch_add(1, Ordering::Relaxed);
        self.engine.metrics.restarted("contribution", "panic");
        self.children.remove(&arrival);
        self.failed(arrival, error.to_owned());
    }

    /// The attempt counts for the stage of the last commit: what was not committed is done again.
    fn failed(&mut self, arrival: Arrival, detail: String) {
        let Some(journey) = self.machine.journey(arrival) else { return };
        let stage = journey.stage;
        let watched = self.engine.metrics.stages_of(&journey.workflow);
        if let Some(watched) = watched.get(usize::from(stage)) {
            watched.panicked();
        }
        let failure = Failure::Panic { detail: cut(detail) };
        self.on_proposed(arrival, Box::new(Proposal::Failed { stage, failure }));
    }
}
