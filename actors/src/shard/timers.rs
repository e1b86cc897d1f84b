//! Timers of parked journeys. Memory holds those of the near future, as far as they were looked for;
//! one task sleeps until the first of them.
//!
//! What is due goes to the desk one batch at a time, as far as permits reach. While there is no room it
//! stays here and nobody sleeps: a permit comes free by a message to the shard, and after each message
//! the shard looks whether somebody has to.

use super::{Desk, ShardMessage, State};
use crate::contribution::tell;
use crate::limits;
use gristmill_workflows::id::Arrival;
use gristmill_workflows::journey::State as Standing;
use gristmill_workflows::time::Timestamp;
use ractor::ActorRef;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::task::AbortHandle;

/// What a shard knows of them.
#[derive(Debug, Default)]
pub(super) struct Timers {
    near: BTreeSet<(Timestamp, Arrival)>,
    /// Until when the one task sleeps.
    sleeper: Option<(Timestamp, AbortHandle)>,
    /// A batch of journeys is at the desk.
    waking: bool,
    /// The desk is to look at the near future.
    looking: bool,
    /// The last look did not reach the end of the near future, but came up to here.
    seen: Option<Timestamp>,
}

impl Timers {
    /// When the first is due.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.near.first().map(|(due, _)| *due)
    }

    pub(super) fn insert(&mut self, due: Timestamp, arrival: Arrival) {
        self.near.insert((due, arrival));
    }

    /// The batch at the desk was read.
    pub(super) fn woken(&mut self) {
        self.waking = false;
    }

    fn take_due(&mut self, now: Timestamp, room: usize) -> Vec<(Timestamp, Arrival)> {
        let due = self.near.iter().take_while(|(due, _)| *due <= now).take(room);
        let due: Vec<_> = due.copied().collect();
        for timer in &due {
            self.near.remove(timer);
        }
        due
    }
}

impl State {
    /// Timers that are due go to the desk, as far as permits reach.
    pub(super) fn on_timer(&mut self, set: Timestamp) {
        // One that was set anew may have spoken before it was told not to.
        if self.timers.sleeper.as_ref().is_some_and(|(until, _)| *until == set) {
            self.timers.sleeper = None;
        }
        let now = self.now();
        let due = self.timers.take_due(now, self.room_to_wake());
        if !due.is_empty() {
            self.timers.waking = true;
            self.desk.push_back(Desk::Wake(due));
        }
    }

    /// How many journeys may be woken now. Those of a batch at the desk count when they were read.
    fn room_to_wake(&self) -> usize {
        match self.timers.waking {
            true => 0,
            false => self.permits().min(limits::TIMER_BATCH),
        }
    }

    /// How many journeys more may move.
    pub(super) fn permits(&self) -> usize {
        self.window.saturating_sub(self.machine.moving())
    }

    /// One task sleeps, until the first that is due, unless nothing may be woken.
    pub(super) fn set_timer(&mut self, myself: &ActorRef<ShardMessage>) {
        let Some(due) = self.timers.first() else { return };
        let sleeps = self.timers.sleeper.as_ref().is_some_and(|(until, _)| *until <= due);
        if sleeps || self.draining || self.room_to_wake() == 0 {
            return;
        }
        let wait = due.0.saturating_sub(self.now().0).max(1);
        let myself = myself.clone();
        let sleeper = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            tell(&myself, ShardMessage::Timer(due));
        });
        let late = self.timers.sleeper.replace((due, sleeper.abort_handle()));
        if let Some((_, late)) = late {
            late.abort();
        }
    }

    /// The desk looks at the near future once this seal is durable.
    pub(super) fn look_ahead(&mut self, after: u64) {
        if !std::mem::replace(&mut self.timers.looking, true) {
            self.desk.push_back(Desk::Horizon { after });
        }
    }

    /// A look at the near future brought these. What moves already has a timer until its commit is durable.
    pub(super) fn looked_ahead(&mut self, timers: Vec<(Timestamp, Arrival)>) {
        self.timers.looking = false;
        let last = timers.last().filter(|_| timers.len() == limits::TIMER_BATCH);
        self.timers.seen = last.map(|(due, _)| *due);
        let moves = |arrival| {
            self.machine.journey(arrival).is_some_and(|journey| journey.state == Standing::Moving)
        };
        let stand = timers.into_iter().filter(|(_, arrival)| !moves(*arrival));
        self.timers.near.extend(stand);
    }

    /// Where a look did not reach the end of the near future, the next one follows as soon as all that it
    /// saw has gone on, however much was parked behind it since. Until that is durable the store would
    /// show the same again.
    pub(super) fn look_further(&mut self) {
        let Some(seen) = self.timers.seen else { return };
        let stands = self.timers.first().is_some_and(|due| due <= seen);
        if !stands && !self.timers.waking && !self.draining {
            self.look_ahead(self.decided());
        }
    }
}
