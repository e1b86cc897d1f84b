//! Journeys that stop moving: parked, paused, ended; and what brings them back.

use super::{Effect, Moving, Shard};
use crate::entry::DataKey;
use crate::id::Arrival;
use crate::inbox::Verb;
use crate::journey::{EventKind, Journey, State, cut};
use crate::ledger::Account;
use crate::limits;
use crate::policy::{Exhausted, Policy};
use crate::request::{Cause, Reason, Wait};
use crate::time::Timestamp;
use std::sync::Arc;

impl Shard {
    /// Notes which stage the journey is at; a new stage starts with no attempts.
    pub(super) fn enter(&self, moving: &mut Moving, stage: u8, now: Timestamp) {
        if moving.journey.stage != stage {
            let journey = Arc::make_mut(&mut moving.journey);
            journey.stage = stage;
            journey.attempts = 0;
            journey.since = now;
        }
    }

    pub(super) fn policy(&self, journey: &Journey) -> Policy {
        let definition = self.world.workflows.get(&journey.workflow);
        let stage = definition.and_then(|definition| definition.stage(journey.stage));
        stage.map_or_else(Policy::default, |stage| stage.policy.clone())
    }

    /// A failed attempt: back off, or stop when attempts or time ran out.
    pub(super) fn retry(
        &mut self,
        mut moving: Moving,
        cause: Cause,
        detail: String,
        after_ms: Option<u64>,
        now: Timestamp,
        random: u64,
    ) {
        let policy = self.policy(&moving.journey);
        let journey = Arc::make_mut(&mut moving.journey);
        journey.attempts = journey.attempts.saturating_add(1);
        journey.failed_attempts = journey.failed_attempts.saturating_add(1);
        let spent = now.0.saturating_sub(journey.since.0);
        if journey.attempts < policy.attempts && spent < policy.total_ms {
            let backoff = policy.backoff_after(journey.attempts, random);
            let due = now.plus_ms(backoff.max(after_ms.unwrap_or(0)));
            self.park(moving, Wait::Backoff, Some(due), None, now);
            return;
        }
        let before_acceptance = journey.accepted.is_none();
        if policy.exhausted == Exhausted::Reject && before_acceptance {
            let stage = self.stage_name(&moving.journey);
            return self.reject(moving, Reason::own(&stage, "exhausted"), now);
        }
        self.pause(moving, cause, detail, now);
    }

    fn stage_name(&self, journey: &Journey) -> String {
        let definition = self.world.workflows.get(&journey.workflow);
        let stage = definition.and_then(|definition| definition.stage(journey.stage));
        stage.map_or_else(String::new, |stage| stage.signature.name.to_owned())
    }

    pub(super) fn park(
        &mut self,
        mut moving: Moving,
        wait: Wait,
        until: Option<Timestamp>,
        signal: Option<String>,
        now: Timestamp,
    ) {
        let arrival = moving.journey.arrival;
        if signal.as_ref().is_some_and(|name| moving.journey.signals.contains(name)) {
            self.journeys.insert(arrival, moving);
            self.touch(arrival);
            self.effect(Effect::Run { arrival });
            return;
        }
        let journey = Arc::make_mut(&mut moving.journey);
        journey.note(now, EventKind::Parked(wait));
        journey.state = State::Parked { wait, until, signal };
        if let Some(due) = until {
            if self.draft.journeys.contains(&arrival) {
                self.draft.commit.timers_remove.retain(|gone| *gone != (due, arrival));
            }
            self.draft.commit.timers_put.push((due, arrival));
        }
        self.stand(moving, until);
    }

    pub(super) fn pause(
        &mut self,
        mut moving: Moving,
        cause: Cause,
        detail: String,
        now: Timestamp,
    ) {
        let journey = Arc::make_mut(&mut moving.journey);
        journey.note(now, EventKind::Paused(cause));
        journey.state = State::Paused { cause, detail: cut(detail) };
        self.stand(moving, None);
    }

    fn stand(&mut self, mut moving: Moving, until: Option<Timestamp>) {
        let arrival = moving.journey.arrival;
        let key = moving.contributor;
        if !moving.journey.chained {
            let mut row = self.contributor(key).cloned().unwrap_or_default();
            self.chain(Arc::make_mut(&mut row), &mut moving);
            if let Some(resident) = self.contributors.get_mut(key) {
                resident.row = row;
                self.draft.contributors.insert(key);
            }
        }
        self.unsay(arrival);
        self.journeys.insert(arrival, moving);
        self.touch(arrival);
        self.effect(Effect::Stands { arrival, until });
    }

    /// The end. What was reserved and not accepted goes back; what must not be kept is erased.
    pub(super) fn end(&mut self, mut moving: Moving, state: State, now: Timestamp) {
        let arrival = moving.journey.arrival;
        self.unsay(arrival);
        self.draft.journeys.remove(&arrival);
        let journey = Arc::make_mut(&mut moving.journey);
        if journey.accepted.is_none()
            && let Some((currency, price)) = journey.price.take()
        {
            let posting = journey.post(Account::Reserved, Account::Allotment, price.micro);
            self.state.ledger.post(currency, posting);
            let program = journey.submission.program.clone();
            let key = moving.contributor;
            if let Some(day) = journey.reserved.take().and_then(|reserved| reserved.day)
                && let Some(resident) = self.contributors.get_mut(key)
            {
                Arc::make_mut(&mut resident.row).uncount_day(&program, day, price.micro);
                self.draft.contributors.insert(key);
            }
            self.state.allotments.entry(program).or_default().balance += price.micro;
        }
        let (kind, outcome) = match &state {
            State::Rejected(reason) => {
                (EventKind::Rejected, format!("rejected:{}", reason.as_str()))
            }
            State::Withdrawn => (EventKind::Withdrawn, "withdrawn".to_owned()),
            State::Settled | State::Moving | State::Parked { .. } | State::Paused { .. } => {
                (EventKind::Settled, "settled".to_owned())
            }
        };
        journey.note(now, kind);
        let kept = state == State::Settled;
        journey.state = state;
        *self.state.finished.entry(outcome).or_default() += 1;
        if !kept && journey.submission.media.is_some() {
            let data_key = journey.submission.data_key;
            self.erase(data_key);
        }
        self.draft.ended.push(moving);
        self.effect(Effect::Finished { arrival });
    }

    pub(super) fn erase(&mut self, data_key: u64) {
        self.draft.commit.erasures_put.push(data_key);
        self.effect(Effect::Erase { data_key });
    }

    /// Quarantines a journey that was found admitted after too many unclean ends. Nobody walks to it if
    /// consent was taken back before: then it ends here.
    pub fn quarantine(&mut self, arrival: Arrival, now: Timestamp) {
        if let Some(moving) = self.journeys.remove(&arrival) {
            if self.is_withdrawn(&moving, now) {
                return self.end(moving, State::Withdrawn, now);
            }
            let detail = "the node ended uncleanly each time this journey was admitted".to_owned();
            self.pause(moving, Cause::KilledNode, detail, now);
        }
    }

    /// A parked journey's time has come: true if it moves now. The row must just have been read,
    /// and its contributor retained; if it does not move, the caller releases. What memory has of
    /// it goes before the row.
    pub fn wake(&mut self, journey: Journey, data_key: DataKey, now: Timestamp) -> bool {
        let arrival = journey.arrival;
        let due = match &self.journey(arrival).unwrap_or(&journey).state {
            // Whoever holds the content may have been decided at any time.
            State::Parked { wait: Wait::ContentClaim, .. } => true,
            // The stage may have been let go on at any time; who runs it looks.
            State::Parked { wait: Wait::StagePaused, .. } => true,
            State::Parked { until, .. } => until.is_some_and(|until| until <= now),
            State::Moving => self.journey(arrival).is_none(),
            State::Paused { .. } | State::Settled | State::Rejected(_) | State::Withdrawn => false,
        };
        due && self.take_up(journey, data_key) && self.go_on(arrival, EventKind::Resumed, now)
    }

    /// What was just taken up moves.
    fn go_on(&mut self, arrival: Arrival, kind: EventKind, now: Timestamp) -> bool {
        self.cancel_standing(arrival);
        let Some(moving) = self.journeys.get_mut(&arrival) else {
            return false;
        };
        let journey = Arc::make_mut(&mut moving.journey);
        if !matches!(journey.state, State::Parked { wait: Wait::Backoff | Wait::Circuit, .. }) {
            // A wait that a stage or a person wished for is none of the stage's own time.
            journey.since = now;
        }
        journey.state = State::Moving;
        journey.note(now, kind);
        self.restart(arrival, now);
        true
    }

    /// A standing journey goes on or ends: its timer goes, and what this draft said of it.
    pub(super) fn cancel_standing(&mut self, arrival: Arrival) {
        let moving = self.journeys.get(&arrival);
        if let Some(State::Parked { until: Some(due), .. }) = moving.map(|m| &m.journey.state) {
            let timer = (*due, arrival);
            if self.draft.journeys.contains(&arrival) {
                self.draft.commit.timers_put.retain(|set| *set != timer);
            }
            self.draft.commit.timers_remove.push(timer);
        }
        self.unsay(arrival);
    }

    /// Takes back what this draft said of where a journey goes: the last word counts.
    fn unsay(&mut self, arrival: Arrival) {
        if !self.draft.journeys.contains(&arrival) {
            return;
        }
        self.draft.effects.retain(|effect| match effect {
            Effect::Run { arrival: whose } | Effect::Stands { arrival: whose, .. } => {
                *whose != arrival
            }
            _ => true,
        });
    }

    /// An operator's or client's word on a journey: true if it was taken up and moves or ends now.
    /// The row must just have been read, or be a copy of what memory has, and its contributor
    /// retained; if it is not taken up, the caller releases.
    pub fn command(
        &mut self,
        mut journey: Journey,
        data_key: DataKey,
        verb: &Verb,
        now: Timestamp,
    ) -> bool {
        let arrival = journey.arrival;
        if let Some(known) = self.journey(arrival) {
            journey = known.clone();
        }
        match (verb, &journey.state) {
            (Verb::Retry, State::Paused { .. }) => {
                self.take_up(journey, data_key) && self.retry_paused(arrival, now)
            }
            (Verb::Reject, State::Paused { .. }) if journey.accepted.is_none() => {
                let taken = self.take_up(journey, data_key);
                self.cancel_standing(arrival);
                if let Some(moving) = self.journeys.remove(&arrival) {
                    self.end(moving, State::Rejected(Reason::known("operator")), now);
                }
                taken
            }
            (Verb::Pause, State::Parked { .. }) => {
                let taken = self.take_up(journey, data_key);
                self.cancel_standing(arrival);
                if let Some(moving) = self.journeys.remove(&arrival) {
                    let detail = "an operator paused it".to_owned();
                    self.pause(moving, Cause::Operator, detail, now);
                }
                taken
            }
            (Verb::Signal(name), State::Parked { .. } | State::Paused { .. } | State::Moving) => {
                self.signal(journey, data_key, name, now)
            }
            _ => false,
        }
    }

    fn retry_paused(&mut self, arrival: Arrival, now: Timestamp) -> bool {
        let Some(mut moving) = self.journeys.remove(&arrival) else {
            return false;
        };
        let journey = Arc::make_mut(&mut moving.journey);
        journey.attempts = 0;
        self.fresh_payout(journey);
        self.journeys.insert(arrival, moving);
        self.go_on(arrival, EventKind::Retried, now)
    }

    /// Keeps a signal, also for a journey that does not wait for it yet.
    fn signal(&mut self, journey: Journey, data_key: DataKey, name: &str, now: Timestamp) -> bool {
        let arrival = journey.arrival;
        let waited_for = match &journey.state {
            State::Parked { signal, .. } => signal.as_deref() == Some(name),
            _ => false,
        };
        let lost = journey.state == State::Moving && self.journey(arrival).is_none();
        let goes_on = waited_for || lost;
        if !goes_on {
            // It stays as it is under a user of its own; the caller's is released by the caller.
            let key = self.world.key.contributor(&journey.submission.contributor);
            self.retain(key, crate::contributor::Contributor::default);
        }
        if !self.take_up(journey, data_key) {
            return false;
        }
        if let Some(moving) = self.journeys.get_mut(&arrival) {
            let signals = &mut Arc::make_mut(&mut moving.journey).signals;
            if signals.len() < limits::SIGNALS_MAX && !signals.iter().any(|known| known == name) {
                signals.push(name.to_owned());
            }
        }
        self.touch(arrival);
        goes_on && self.go_on(arrival, EventKind::Resumed, now)
    }
}
