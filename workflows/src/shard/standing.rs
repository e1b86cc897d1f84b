//! Journeys that stop moving: parked, paused, ended; and what brings them back.

use super::{Effect, Moving, Shard};
use crate::entry::DataKey;
use crate::id::Arrival;
use crate::inbox::Verb;
use crate::journey::{EventKind, Journey, Payout, PayoutState, State, cut};
use crate::ledger::Account;
use crate::limits;
use crate::policy::{Exhausted, Policy};
use crate::request::{Cause, PayoutVerdict, Reason, Wait};
use crate::time::Timestamp;

impl Shard {
    /// Notes which stage the journey is at; a new stage starts with no attempts.
    pub(super) fn enter(&self, moving: &mut Moving, stage: u8, now: Timestamp) {
        if moving.journey.stage != stage {
            moving.journey.stage = stage;
            moving.journey.attempts = 0;
            moving.journey.since = now;
        }
    }

    fn policy(&self, journey: &Journey) -> Policy {
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
        let journey = &mut moving.journey;
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
            self.end(moving, State::Rejected(Reason::own(&stage, "exhausted")), now);
            return;
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
        moving.journey.note(now, EventKind::Parked(wait));
        moving.journey.state = State::Parked { wait, until, signal };
        if let Some(due) = until {
            self.draft.commit.timers_put.push((due, arrival));
        }
        self.stand(moving, until);
    }

    pub(super) fn pause(&mut self, mut moving: Moving, cause: Cause, detail: String, now: Timestamp) {
        moving.journey.note(now, EventKind::Paused(cause));
        moving.journey.state = State::Paused { cause, detail: cut(detail) };
        self.stand(moving, None);
    }

    fn stand(&mut self, mut moving: Moving, until: Option<Timestamp>) {
        let arrival = moving.journey.arrival;
        let key = self.world.key.contributor(&moving.journey.submission.contributor);
        if !moving.journey.chained {
            let mut row = self.contributor(key).cloned().unwrap_or_default();
            self.chain(&mut row, &mut moving);
            if let Some(resident) = self.contributors.get_mut(&key) {
                resident.row = row;
                self.draft.contributors.insert(key);
            }
        }
        self.journeys.insert(arrival, moving);
        self.touch(arrival);
        self.effect(Effect::Stands { arrival, until });
    }

    /// The end. What was reserved and not accepted goes back; what must not be kept is erased.
    pub(super) fn end(&mut self, mut moving: Moving, state: State, now: Timestamp) {
        let arrival = moving.journey.arrival;
        self.draft.journeys.remove(&arrival);
        let journey = &mut moving.journey;
        if journey.accepted.is_none()
            && let Some((currency, price)) = journey.price.take()
        {
            let posting = journey.post(Account::Reserved, Account::Allotment, price.micro);
            self.state.ledger.post(currency, posting);
            let program = journey.submission.program.clone();
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

    /// Quarantines a journey that was found admitted after too many unclean ends.
    pub fn quarantine(&mut self, arrival: Arrival, now: Timestamp) {
        if let Some(moving) = self.journeys.remove(&arrival) {
            let detail = "the node ended uncleanly each time this journey was admitted".to_owned();
            self.pause(moving, Cause::KilledNode, detail, now);
        }
    }

    /// A parked journey's time has come, or an operator or client spoke: true if it moves now.
    /// The row must just have been read, and its contributor retained.
    pub fn wake(&mut self, journey: Journey, data_key: DataKey, now: Timestamp) -> bool {
        let due = match &journey.state {
            State::Parked { until, .. } => until.is_some_and(|until| until <= now),
            State::Moving => true,
            State::Paused { .. } | State::Settled | State::Rejected(_) | State::Withdrawn => false,
        };
        if due {
            self.go_on(journey, data_key, EventKind::Resumed, now);
        }
        due
    }

    fn go_on(&mut self, mut journey: Journey, data_key: DataKey, kind: EventKind, now: Timestamp) {
        let arrival = journey.arrival;
        if let State::Parked { until: Some(due), .. } = journey.state {
            self.draft.commit.timers_remove.push((due, arrival));
        }
        journey.state = State::Moving;
        journey.note(now, kind);
        self.resume(journey, data_key);
        self.touch(arrival);
        self.restart(arrival, now);
    }

    /// An operator's or client's word on a standing journey: true if it moves now. The row must
    /// just have been read, and its contributor retained.
    pub fn command(
        &mut self,
        mut journey: Journey,
        data_key: DataKey,
        verb: &Verb,
        now: Timestamp,
    ) -> bool {
        match (verb, &journey.state) {
            (Verb::Retry, State::Paused { .. }) => {
                journey.attempts = 0;
                journey.since = now;
                self.fresh_payout(&mut journey);
                self.go_on(journey, data_key, EventKind::Retried, now);
                true
            }
            (Verb::Reject, State::Paused { .. }) if journey.accepted.is_none() => {
                let arrival = journey.arrival;
                let reason = Reason::known("operator");
                self.resume(journey, data_key);
                if let Some(moving) = self.journeys.remove(&arrival) {
                    self.end(moving, State::Rejected(reason), now);
                }
                true
            }
            (Verb::Signal(name), State::Parked { signal, .. }) => {
                let waited_for = signal.as_deref() == Some(name);
                if journey.signals.len() < limits::TIMELINE_MAX {
                    journey.signals.push(name.clone());
                }
                if waited_for {
                    self.go_on(journey, data_key, EventKind::Resumed, now);
                }
                waited_for
            }
            _ => false,
        }
    }

    /// After a confirmed failure a new try is a new payout.
    fn fresh_payout(&self, journey: &mut Journey) {
        let id = journey.submission.id;
        let Some(last) = journey.payouts.last() else { return };
        if last.state != PayoutState::Failed || journey.payouts.len() >= limits::PAYOUTS_MAX {
            return;
        }
        let number = last.number + 1;
        let payout = Payout {
            id: self.world.key.payout(id, "acceptance", number),
            number,
            state: PayoutState::Fixed,
            sent: None,
            entry: None,
            ..last.clone()
        };
        journey.payouts.push(payout);
    }

    /// The fixed payout is about to be handed to a rail.
    pub(super) fn release_payout(&mut self, moving: &mut Moving, now: Timestamp) {
        let journey = &mut moving.journey;
        let Some((currency, _)) = journey.price else { return };
        let Some(payout) = journey.payouts.last_mut() else { return };
        if payout.state != PayoutState::Fixed {
            return;
        }
        payout.state = PayoutState::InFlight;
        payout.sent = Some(now);
        let micro = payout.minor * currency.minor_micro();
        let posting = journey.post(Account::Payable, Account::InFlight, micro);
        self.state.ledger.post(currency, posting);
        journey.note(now, EventKind::Released);
    }

    /// The rail's final word was not "paid".
    pub(super) fn payout_failed(
        &mut self,
        mut moving: Moving,
        verdict: &PayoutVerdict,
        now: Timestamp,
    ) {
        let journey = &mut moving.journey;
        let Some((currency, _)) = journey.price else { return self.stray(moving, now) };
        let Some(payout) = journey.payouts.last_mut() else { return self.stray(moving, now) };
        let micro = payout.minor * currency.minor_micro();
        let (to, state, cause, detail) = match verdict {
            PayoutVerdict::Failed { code } => {
                let detail = format!("the rail confirmed that the payout failed: {code}");
                (Some(Account::Payable), PayoutState::Failed, Cause::Permanent, detail)
            }
            PayoutVerdict::Differs { minor } => {
                let detail = format!("the rail says {minor}, not {}", payout.minor);
                (Some(Account::Suspense), PayoutState::Suspense, Cause::Permanent, detail)
            }
            PayoutVerdict::WindowExpired => {
                let detail = "no answer within the time the rail knows the key".to_owned();
                (None, PayoutState::InFlight, Cause::RailWindowExpired, detail)
            }
        };
        payout.state = state;
        if let Some(to) = to {
            let posting = journey.post(Account::InFlight, to, micro);
            self.state.ledger.post(currency, posting);
            journey.note(now, EventKind::PayoutFailed);
        }
        self.pause(moving, cause, detail, now);
    }

    fn stray(&mut self, moving: Moving, now: Timestamp) {
        let detail = "a payout failed that was never fixed".to_owned();
        self.pause(moving, Cause::Permanent, detail, now);
    }
}
