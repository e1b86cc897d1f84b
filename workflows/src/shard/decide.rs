//! Proposals: what the stages of one journey came to, decided against shared state.

use super::{Effect, Moving, Proposal, Shard, Waiter};
use crate::contributor::{Contributor, Refusal};
use crate::definition::Effect as StageEffect;
use crate::entry;
use crate::id::Arrival;
use crate::journey::{Accepted, EventKind, Held, Logged, Payout, PayoutState, State};
use crate::ledger::{Account, Posting};
use crate::limits;
use crate::money::whole_units;
use crate::price::{Capped, price};
use crate::request::{Cause, Failure, Reason, Request};
use crate::time::Timestamp;

/// Why a request was not granted.
enum Denied {
    /// The contribution is rejected for this.
    Reject(Reason),
    /// Consent was taken back before acceptance.
    Withdrawn,
    /// More budget was asked for.
    Budget,
    /// The stages ask for what cannot be.
    Impossible(&'static str),
}

/// What one decision changes; written back only if every request is granted.
struct Trial {
    contributor: Contributor,
    contributor_changed: bool,
    postings: Vec<Posting>,
    entry: Option<Vec<u8>>,
    allotment: u64,
}

impl Shard {
    /// Decides a proposal. What follows from it comes as effects of the next sealed commit; a
    /// proposal that waits for budget is kept and decided again when the home shard answers.
    pub fn propose(&mut self, arrival: Arrival, proposal: Proposal, now: Timestamp, random: u64) {
        let Some(mut moving) = self.journeys.remove(&arrival) else { return };
        if moving.journey.state != State::Moving {
            self.journeys.insert(arrival, moving);
            return;
        }
        if self.is_withdrawn(&moving, now) {
            self.end(moving, State::Withdrawn, now);
            return;
        }
        match proposal {
            Proposal::Advance { outputs, requests, next } => {
                match self.advance(&mut moving, &requests, now) {
                    Ok(()) => self.advanced(moving, outputs, next, now),
                    Err(Denied::Reject(reason)) => self.reject(moving, reason, now),
                    Err(Denied::Withdrawn) => self.end(moving, State::Withdrawn, now),
                    Err(Denied::Budget) => {
                        let program = moving.journey.submission.program.clone();
                        moving.proposal = Some(Proposal::Advance { outputs, requests, next });
                        self.journeys.insert(arrival, moving);
                        self.budget_waits.entry(program).or_default().push_back(arrival);
                    }
                    Err(Denied::Impossible(detail)) => {
                        self.pause(moving, Cause::Permanent, detail.to_owned(), now);
                    }
                }
            }
            Proposal::Reject { stage, reason } => {
                moving.journey.stage = stage;
                self.reject(moving, reason, now);
            }
            Proposal::Park { stage, wait, until, signal } => {
                self.enter(&mut moving, stage, now);
                self.park(moving, wait, until, signal, now);
            }
            Proposal::Failed { stage, failure } => {
                self.enter(&mut moving, stage, now);
                self.failed(moving, failure, now, random);
            }
        }
    }

    /// After acceptance a rejection cannot stand: the money is owed.
    fn reject(&mut self, moving: Moving, reason: Reason, now: Timestamp) {
        if moving.journey.accepted.is_some() {
            let detail = format!("rejected after acceptance: {}", reason.as_str());
            self.pause(moving, Cause::Permanent, detail, now);
        } else {
            self.end(moving, State::Rejected(reason), now);
        }
    }

    /// Whether the grant that covered this journey was taken back before acceptance.
    fn is_withdrawn(&self, moving: &Moving, now: Timestamp) -> bool {
        let journey = &moving.journey;
        let Some(program) = self.world.programs.get(&journey.submission.program) else {
            return false;
        };
        let key = self.world.key.contributor(&journey.submission.contributor);
        let Some(contributor) = self.contributor(key) else { return false };
        let covering = contributor.covering(program, &journey.submission, journey.arrival, now);
        journey.accepted.is_none() && covering == Err(Refusal::WithdrawnSince)
    }

    fn advance(
        &mut self,
        moving: &mut Moving,
        requests: &[(u8, Request)],
        now: Timestamp,
    ) -> Result<(), Denied> {
        if requests.len() > limits::REQUESTS_MAX * limits::STAGES_MAX {
            return Err(Denied::Impossible("too many requests"));
        }
        let submission = &moving.journey.submission;
        let key = self.world.key.contributor(&submission.contributor);
        let program = submission.program.clone();
        let balance = self.state.allotments.get(&program).map_or(0, |a| a.balance);
        let mut trial = Trial {
            contributor: self.contributor(key).cloned().unwrap_or_default(),
            contributor_changed: false,
            postings: Vec::new(),
            entry: None,
            allotment: balance,
        };
        let before = moving.journey.clone();
        let was_accepted = before.accepted.is_some();
        for (stage, request) in requests {
            let stage_before = moving.journey.stage;
            moving.journey.stage = *stage;
            if let Err(denied) = self.grant(moving, &mut trial, request, now) {
                moving.journey = before;
                if matches!(denied, Denied::Reject(_)) {
                    moving.journey.stage = *stage;
                }
                return Err(denied);
            }
            moving.journey.stage = stage_before;
        }
        if let Some((currency, _)) = moving.journey.price {
            for posting in &trial.postings {
                self.state.ledger.post(currency, *posting);
            }
        }
        if let Some(allotment) = self.state.allotments.get_mut(&program) {
            allotment.balance = trial.allotment;
        }
        if !was_accepted && moving.journey.accepted.is_some() {
            self.guard(key, moving);
            self.chain(&mut trial.contributor, moving);
            trial.contributor_changed = true;
        }
        if trial.contributor_changed
            && let Some(resident) = self.contributors.get_mut(&key)
        {
            resident.row = trial.contributor;
            self.draft.contributors.insert(key);
        }
        if let Some(entry) = trial.entry {
            let position = self.log(entry);
            self.place_entry(moving, position, was_accepted);
        }
        Ok(())
    }

    fn place_entry(&mut self, moving: &mut Moving, position: u64, was_accepted: bool) {
        let logged = Logged { position, index: None };
        let journey = &mut moving.journey;
        if was_accepted {
            if let Some(payout) = journey.payouts.last_mut() {
                payout.entry = Some(logged);
            }
        } else if let Some(accepted) = &mut journey.accepted {
            accepted.entry = logged;
            self.log_waits.insert(position, Waiter::Journey(journey.arrival));
        }
    }

    pub(super) fn chain(&self, contributor: &mut Contributor, moving: &mut Moving) {
        if !std::mem::replace(&mut moving.journey.chained, true) {
            moving.journey.previous = contributor.latest.replace(moving.journey.arrival);
        }
    }

    fn grant(
        &mut self,
        moving: &mut Moving,
        trial: &mut Trial,
        request: &Request,
        now: Timestamp,
    ) -> Result<(), Denied> {
        match request {
            Request::Hold => self.grant_hold(moving, trial, now),
            Request::Count { counter, limit } => {
                trial.contributor_changed = true;
                let counted = trial.contributor.count(counter, *limit);
                counted.then_some(()).ok_or(Denied::Reject(Reason::known("cap_reached")))
            }
            // The content index answered before the proposal: it spans shards.
            Request::Claim => Ok(()),
            Request::Reserve { units, score } => {
                self.grant_reserve(moving, trial, *units, *score, now)
            }
            Request::LogContribution { scorer } => self.accept(moving, trial, scorer, now),
            Request::Pay => self.grant_pay(moving, trial),
            Request::LogPayout { rail } => self.grant_paid(moving, trial, rail, now),
        }
    }

    fn grant_hold(&self, moving: &mut Moving, trial: &Trial, now: Timestamp) -> Result<(), Denied> {
        let journey = &mut moving.journey;
        let program = self.program(&journey.submission.program)?;
        let covering =
            trial.contributor.covering(program, &journey.submission, journey.arrival, now);
        let grant = covering.map_err(|refusal| match refusal {
            Refusal::WithdrawnSince => Denied::Withdrawn,
            other => Denied::Reject(refusal_reason(other)),
        })?;
        journey.held = Some(Held {
            grant: grant.consent.grant.clone(),
            position: grant.position,
            terms: grant.consent.terms.clone(),
        });
        Ok(())
    }

    fn grant_reserve(
        &mut self,
        moving: &mut Moving,
        trial: &mut Trial,
        units: u64,
        score: u16,
        now: Timestamp,
    ) -> Result<(), Denied> {
        let journey = &mut moving.journey;
        let name = journey.submission.program.clone();
        let program = self.program(&name)?;
        let task = program.tasks.get(&journey.submission.task);
        let task = task.ok_or(Denied::Reject(Reason::known("program_closed")))?;
        let day = now.day(program.utc_offset_minutes);
        let earned = trial.contributor.earned(&name, day);
        let day_left = program.day_cap_micro.map(|cap| cap.saturating_sub(earned));
        let price = price(program, task, units, score, day_left);
        if price.micro == 0 && price.capped == Capped::Day {
            return Err(Denied::Reject(Reason::known("cap_reached")));
        }
        let currency = program.currency;
        let capped_by_day = program.day_cap_micro.is_some();
        self.spend(&name, trial.allotment, price.micro)?;
        trial.allotment -= price.micro;
        if capped_by_day {
            trial.contributor.count_day(&name, day, price.micro);
            trial.contributor_changed = true;
        }
        trial.postings.push(journey.post(Account::Allotment, Account::Reserved, price.micro));
        journey.price = Some((currency, price));
        Ok(())
    }

    /// Whether `micro` can be spent by the card in force; else asks the home for more.
    fn spend(&mut self, program: &str, balance: u64, micro: u64) -> Result<(), Denied> {
        let hash = self.program(program)?.card_hash();
        let allotment = self.state.allotments.entry(program.to_owned()).or_default();
        let priced = allotment.card.is_some_and(|card| card.hash == hash);
        if priced && micro <= balance {
            return Ok(());
        }
        let lack = micro.saturating_sub(balance);
        if priced && allotment.exhausted_at.is_some_and(|at| lack >= at) {
            return Err(Denied::Reject(Reason::known("budget_exhausted")));
        }
        if let Some(message) = allotment.ask(lack) {
            self.send_home(program, message);
        }
        Err(Denied::Budget)
    }

    fn accept(
        &mut self,
        moving: &mut Moving,
        trial: &mut Trial,
        scorer: &str,
        now: Timestamp,
    ) -> Result<(), Denied> {
        let journey = &mut moving.journey;
        let (Some(held), Some((currency, price)), None) =
            (&journey.held, &journey.price, &journey.accepted)
        else {
            return Err(Denied::Impossible("logged without a held grant and a reserved price"));
        };
        let allotment = self.state.allotments.get(&journey.submission.program);
        let Some(card) = allotment.and_then(|allotment| allotment.card) else {
            return Err(Denied::Impossible("logged without a rate card"));
        };
        let micro = price.micro;
        let entry = entry::Contribution {
            submission: &journey.submission,
            grant: &held.grant,
            terms: &held.terms,
            card: card.index,
            price,
            currency: currency.as_str(),
            scorer,
            workflow: &journey.workflow.hash_hex(),
        };
        trial.entry = Some(entry::contribution(&self.world.key, &moving.data_key, &entry));
        let entry = Logged { position: 0, index: None };
        journey.accepted =
            Some(Accepted { at: now, card: card.index, scorer: scorer.to_owned(), entry });
        trial.postings.push(journey.post(Account::Reserved, Account::Payable, micro));
        Ok(())
    }

    /// Fixes the payout: whole minor units, the rest is carried.
    fn grant_pay(&self, moving: &mut Moving, trial: &mut Trial) -> Result<(), Denied> {
        let journey = &mut moving.journey;
        let (Some(_), Some((currency, price))) = (&journey.accepted, &journey.price) else {
            return Err(Denied::Impossible("paid without acceptance"));
        };
        let (currency, micro) = (*currency, price.micro);
        if !journey.payouts.is_empty() {
            return Ok(());
        }
        let old_carry = trial.contributor.carry(currency);
        let whole = whole_units(currency, old_carry, micro);
        trial.postings.push(journey.post(Account::Payable, Account::Carry, micro));
        let paid = whole.minor * currency.minor_micro();
        if old_carry != whole.carry {
            trial.contributor.set_carry(currency, whole.carry);
            trial.contributor_changed = true;
        }
        if whole.minor > 0 {
            trial.postings.push(journey.post(Account::Carry, Account::Payable, paid));
            let id = self.world.key.payout(journey.submission.id, "acceptance", 1);
            journey.payouts.push(Payout {
                id,
                number: 1,
                account: self.world.key.account(&journey.submission.contributor),
                minor: whole.minor,
                carry: whole.carry,
                state: PayoutState::Fixed,
                sent: None,
                entry: None,
            });
        }
        Ok(())
    }

    fn grant_paid(
        &self,
        moving: &mut Moving,
        trial: &mut Trial,
        rail: &str,
        now: Timestamp,
    ) -> Result<(), Denied> {
        let journey = &mut moving.journey;
        let of = journey.accepted.as_ref().and_then(|accepted| accepted.entry.index);
        let currency = journey.price.as_ref().map(|(currency, _)| *currency);
        let payout = journey.payouts.last_mut();
        let (Some(of), Some(currency), Some(payout)) = (of, currency, payout) else {
            return Err(Denied::Impossible("a payout was logged that was never fixed"));
        };
        if payout.state != PayoutState::InFlight {
            return Err(Denied::Impossible("a payout was logged that is not in flight"));
        }
        payout.state = PayoutState::Paid;
        let micro = payout.minor * currency.minor_micro();
        let entry = entry::Payout {
            id: &payout.id,
            cause: "acceptance",
            of,
            minor: payout.minor,
            currency: currency.as_str(),
            rail,
            account: &payout.account,
            carry: payout.carry,
        };
        trial.entry = Some(entry::payout(&self.world.key, &moving.data_key, &entry));
        trial.postings.push(journey.post(Account::InFlight, Account::Paid, micro));
        journey.note(now, EventKind::Paid);
        Ok(())
    }

    fn program(&self, name: &str) -> Result<&crate::program::Program, Denied> {
        let closed = || Denied::Reject(Reason::known("program_closed"));
        self.world.programs.get(name).ok_or_else(closed)
    }

    /// Every request was granted.
    fn advanced(
        &mut self,
        mut moving: Moving,
        outputs: Vec<(u8, Vec<u8>)>,
        next: u8,
        now: Timestamp,
    ) {
        let arrival = moving.journey.arrival;
        let fresh = moving.journey.accepted.as_ref().is_some_and(|accepted| accepted.at == now)
            && moving.journey.timeline.iter().all(|event| event.kind != EventKind::Accepted);
        moving.journey.note(now, if fresh { EventKind::Accepted } else { EventKind::Advanced });
        moving.journey.outputs.extend(outputs);
        moving.journey.stage = next;
        moving.journey.attempts = 0;
        moving.journey.since = now;
        let definition = self.world.workflows.get(&moving.journey.workflow);
        let due = definition.and_then(|definition| definition.stage(next));
        let Some(due) = due else {
            self.end(moving, State::Settled, now);
            return;
        };
        let keyed = due.signature.effect == StageEffect::Keyed;
        if keyed && moving.journey.waits_for_log() {
            self.journeys.insert(arrival, moving);
            self.touch(arrival);
            return;
        }
        if keyed {
            self.release_payout(&mut moving, now);
        }
        self.journeys.insert(arrival, moving);
        self.touch(arrival);
        self.effect(Effect::Run { arrival });
    }

    fn failed(&mut self, moving: Moving, failure: Failure, now: Timestamp, random: u64) {
        match failure {
            Failure::Payout(verdict) => self.payout_failed(moving, &verdict, now),
            Failure::Permanent { detail } => self.pause(moving, Cause::Permanent, detail, now),
            Failure::Retryable { detail, after_ms } => {
                self.retry(moving, Cause::Exhausted, detail, after_ms, now, random);
            }
            // The pool keeps what is unavailable; here it can only come from a pool that ended.
            Failure::Unavailable { detail } => {
                self.retry(moving, Cause::Exhausted, detail, None, now, random);
            }
            Failure::Panic { detail } => {
                self.retry(moving, Cause::Panic, detail, None, now, random);
            }
            Failure::Timeout => {
                let detail = "the attempt took longer than its timeout".to_owned();
                self.retry(moving, Cause::Exhausted, detail, None, now, random);
            }
        }
    }
}

/// The contract's word of a refusal.
pub(crate) fn refusal_reason(refusal: Refusal) -> Reason {
    Reason::known(match refusal {
        Refusal::NoGrant => "no_grant",
        Refusal::Expired => "grant_expired",
        Refusal::Withdrawn | Refusal::WithdrawnSince => "grant_withdrawn",
        Refusal::Purpose => "purpose_not_granted",
        Refusal::Modality => "modality_not_granted",
        Refusal::Terms => "terms_mismatch",
    })
}
