//! Proposals: what the stages of one journey came to, decided against shared state.

use super::{Effect, Moving, Proposal, Shard, Waiter};
use crate::contributor::{Contributor, Refusal};
use crate::definition::Effect as StageEffect;
use crate::entry;
use crate::id::Arrival;
use crate::journey::{Accepted, EventKind, Held, Logged, Reserved, State};
use crate::ledger::{Account, Posting};
use crate::limits;
use crate::price::{Capped, price};
use crate::request::{Cause, Failure, Reason, Request, Wait};
use crate::teeth::{Tooth, bites};
use crate::time::Timestamp;
use std::sync::Arc;

/// Why a request was not granted.
pub(super) enum Denied {
    /// The contribution is rejected for this.
    Reject(Reason),
    /// Consent was taken back before acceptance.
    Withdrawn,
    /// More budget was asked for.
    Budget,
    /// The payout has to wait for others of its contributor, this long.
    Early(&'static str, u64),
    /// The stages ask for what cannot be.
    Impossible(&'static str),
}

/// What one decision changes; written back only if every request is granted.
pub(super) struct Trial {
    pub(super) contributor: Arc<Contributor>,
    pub(super) contributor_changed: bool,
    pub(super) postings: Vec<Posting>,
    pub(super) entry: Option<Vec<u8>>,
    allotment: u64,
}

impl Shard {
    /// Decides a proposal. What follows from it comes as effects of the next sealed commit; a
    /// proposal that waits for budget is kept and decided again when the home shard answers.
    pub fn propose(&mut self, arrival: Arrival, proposal: Proposal, now: Timestamp, random: u64) {
        let Some(mut moving) = self.journeys.remove(&arrival) else { return };
        if moving.journey.state != State::Moving || proposal.is_stale(moving.journey.stage) {
            self.journeys.insert(arrival, moving);
            return;
        }
        if self.is_withdrawn(&moving, now) {
            self.end(moving, State::Withdrawn, now);
            return;
        }
        match proposal {
            Proposal::Advance { outputs, requests, next } => {
                match self.advance(&mut moving, &outputs, &requests, now) {
                    Ok(()) => self.advanced(moving, outputs, next, now),
                    Err(denied) => {
                        let proposal = Proposal::Advance { outputs, requests, next };
                        self.denied(moving, denied, proposal, now, random);
                    }
                }
            }
            Proposal::After { outputs, requests, then } => {
                match self.advance(&mut moving, &outputs, &requests, now) {
                    Ok(()) => {
                        Arc::make_mut(&mut moving.journey).outputs.extend(outputs);
                        self.journeys.insert(arrival, moving);
                        self.touch(arrival);
                        self.propose(arrival, *then, now, random);
                    }
                    Err(denied) => {
                        let proposal = Proposal::After { outputs, requests, then };
                        self.denied(moving, denied, proposal, now, random);
                    }
                }
            }
            Proposal::Reject { stage, reason } => {
                Arc::make_mut(&mut moving.journey).stage = stage;
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

    /// A request was not granted; a proposal that waits for budget is kept.
    fn denied(
        &mut self,
        mut moving: Moving,
        denied: Denied,
        proposal: Proposal,
        now: Timestamp,
        random: u64,
    ) {
        match denied {
            Denied::Early(detail, ms) => {
                self.retry(moving, Cause::Permanent, detail.to_owned(), Some(ms), now, random);
            }
            Denied::Reject(reason) => self.reject(moving, reason, now),
            Denied::Withdrawn => self.end(moving, State::Withdrawn, now),
            Denied::Budget => {
                let arrival = moving.journey.arrival;
                let program = moving.journey.submission.program.clone();
                moving.proposal = Some(proposal);
                self.journeys.insert(arrival, moving);
                self.budget_waits.entry(program).or_default().push_back(arrival);
            }
            Denied::Impossible(detail) => {
                self.pause(moving, Cause::Permanent, detail.to_owned(), now);
            }
        }
    }

    /// After acceptance a rejection cannot stand: the money is owed. So if the log has it from a commit
    /// that was lost.
    pub(super) fn reject(&mut self, moving: Moving, reason: Reason, now: Timestamp) {
        if moving.journey.accepted.is_some() || self.was_accepted(moving.journey.submission.id) {
            let detail = format!("rejected after acceptance: {}", reason.as_str());
            self.pause(moving, Cause::Permanent, detail, now);
        } else {
            self.end(moving, State::Rejected(reason), now);
        }
    }

    /// Whether what covered this journey was taken back before acceptance, and nothing else
    /// covers it. A journey that pinned a grant which was taken back pins another at acceptance.
    pub(super) fn is_withdrawn(&self, moving: &Moving, now: Timestamp) -> bool {
        let journey = &moving.journey;
        if journey.accepted.is_some() || self.was_accepted(journey.submission.id) {
            return false;
        }
        let known = self.contributor(moving.contributor);
        // Most people never take anything back: nothing is compared for them.
        let Some(contributor) = known.filter(|row| !row.marks.is_empty()) else { return false };
        let program = self.world.programs.get(&journey.submission.program);
        let Some(program) = program else { return false };
        let covering = contributor.covering(program, &journey.submission, journey.arrival, now);
        match &journey.held {
            Some(held) => {
                let mark = contributor.mark_on(&held.grant, &program.id, held.position);
                mark.is_some() && covering.is_err()
            }
            None => covering == Err(Refusal::WithdrawnSince),
        }
    }

    fn advance(
        &mut self,
        moving: &mut Moving,
        outputs: &[(u8, Vec<u8>)],
        requests: &[(u8, Request)],
        now: Timestamp,
    ) -> Result<(), Denied> {
        if requests.len() > limits::REQUESTS_MAX * limits::STAGES_MAX {
            return Err(Denied::Impossible("too many requests"));
        }
        let bytes = moving.journey.outputs.iter().chain(outputs).map(|(_, json)| json.len());
        if bytes.sum::<usize>() > limits::OUTPUTS_BYTES_MAX {
            return Err(Denied::Impossible("the outputs of all stages are too large together"));
        }
        let key = moving.contributor;
        let program = moving.journey.submission.program.clone();
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
            Arc::make_mut(&mut moving.journey).stage = *stage;
            if let Err(denied) = self.grant(moving, &mut trial, request, now) {
                moving.journey = before;
                if matches!(denied, Denied::Reject(_)) {
                    Arc::make_mut(&mut moving.journey).stage = *stage;
                }
                return Err(denied);
            }
            Arc::make_mut(&mut moving.journey).stage = stage_before;
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
            self.chain(Arc::make_mut(&mut trial.contributor), moving);
            trial.contributor_changed = true;
        }
        if trial.contributor_changed
            && let Some(resident) = self.contributors.get_mut(key)
        {
            resident.row = trial.contributor;
            self.draft.contributors.insert(key);
        }
        if let Some(entry) = trial.entry {
            self.place_entry(moving, entry, was_accepted);
            if !was_accepted && moving.again {
                self.take_back(moving, now);
            }
        }
        Ok(())
    }

    fn place_entry(&mut self, moving: &mut Moving, entry: Vec<u8>, was_accepted: bool) {
        let journey = Arc::make_mut(&mut moving.journey);
        let stands = match journey.payouts.last().filter(|_| was_accepted) {
            Some(payout) => self.claim_adopted(entry::PAYOUT, &payout.id),
            None => self.claim_adopted("contribution", &journey.submission.id.to_string()),
        };
        let logged = stands.unwrap_or_else(|| Logged { position: self.log(entry), index: None });
        if was_accepted {
            if let Some(payout) = journey.payouts.last_mut() {
                payout.entry = Some(logged);
            }
        } else if let Some(accepted) = &mut journey.accepted {
            accepted.entry = logged;
            if logged.index.is_none() {
                self.log_waits.insert(logged.position, Waiter::Journey(journey.arrival));
            }
        }
    }

    pub(super) fn chain(&self, contributor: &mut Contributor, moving: &mut Moving) {
        let journey = Arc::make_mut(&mut moving.journey);
        if !std::mem::replace(&mut journey.chained, true) {
            journey.previous = contributor.latest.replace(journey.arrival);
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
                let counted = Arc::make_mut(&mut trial.contributor).count(counter, *limit);
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
        let again = self.was_accepted(moving.journey.submission.id);
        moving.again |= again;
        let journey = Arc::make_mut(&mut moving.journey);
        if journey.accepted.is_some() {
            return Ok(());
        }
        let program = self.program(&journey.submission.program)?;
        let covering =
            trial.contributor.covering(program, &journey.submission, journey.arrival, now);
        // Consent held when it was accepted. What was taken back since follows as a withdrawal.
        let covering = match covering {
            Err(_) if again => trial.contributor.newest(&program.id).ok_or(Refusal::NoGrant),
            covering => covering,
        };
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
        let journey = Arc::make_mut(&mut moving.journey);
        if journey.price.is_some() {
            return Err(Denied::Impossible("reserved twice"));
        }
        if units > limits::INTEGER_MAX {
            return Err(Denied::Impossible("more units than a public entry can carry"));
        }
        let name = journey.submission.program.clone();
        let program = self.program(&name)?;
        let task = program.tasks.get(&journey.submission.task);
        let task = task.ok_or(Denied::Reject(Reason::known("program_closed")))?;
        let day = now.day(program.utc_offset_minutes);
        let earned = trial.contributor.earned(&name, day);
        let day_left = program.day_cap_micro.map(|cap| cap.saturating_sub(earned));
        let logged = self.logged_price(journey, task.rate_micro);
        let (price, logged_card) = match logged {
            Some((price, card)) => (price, Some(card)),
            None => (price(program, task, units, score, day_left), None),
        };
        if price.micro == 0 && price.capped == Capped::Day {
            return Err(Denied::Reject(Reason::known("cap_reached")));
        }
        let currency = program.currency;
        let day = program.day_cap_micro.map(|_| day);
        let card = self.spend(&name, trial.allotment, price.micro)?;
        if !bites(Tooth::AllotmentNotDeducted) {
            trial.allotment -= price.micro;
        }
        if let Some(day) = day {
            Arc::make_mut(&mut trial.contributor).count_day(&name, day, price.micro);
            trial.contributor_changed = true;
        }
        journey.reserved = Some(Reserved { card: logged_card.unwrap_or(card), day });
        trial.postings.push(journey.post(Account::Allotment, Account::Reserved, price.micro));
        journey.price = Some((currency, price));
        Ok(())
    }

    /// The index of the card in force, if `micro` can be spent by it; else asks the home for more.
    fn spend(&mut self, program: &str, balance: u64, micro: u64) -> Result<u64, Denied> {
        let hash = self.card_hashes.get(program).copied();
        let allotment = self.state.allotments.entry(program.to_owned()).or_default();
        let priced = allotment.card.filter(|card| Some(card.hash) == hash);
        if let Some(card) = priced
            && micro <= balance
        {
            return Ok(card.index);
        }
        let lack = micro.saturating_sub(balance);
        if priced.is_some() && allotment.exhausted_at.is_some_and(|at| lack >= at) {
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
        let held = moving.journey.held.as_ref();
        let again = self.was_accepted(moving.journey.submission.id);
        moving.again |= again;
        if !again && held.is_some_and(|held| !trial.contributor.stands(&held.grant)) {
            self.grant_hold(moving, trial, now)?;
        }
        let journey = Arc::make_mut(&mut moving.journey);
        let (Some(held), Some((currency, price)), Some(reserved), None) =
            (&journey.held, &journey.price, &journey.reserved, &journey.accepted)
        else {
            return Err(Denied::Impossible("logged without a held grant and a reserved price"));
        };
        let (micro, card) = (price.micro, reserved.card);
        let logged = self.logged_price(journey, price.rate_micro);
        if logged.is_some_and(|logged| logged != (price.clone(), card)) {
            return Err(Denied::Impossible("the log has it at another price"));
        }
        let entry = entry::Contribution {
            submission: &journey.submission,
            grant: &held.grant,
            terms: &held.terms,
            card,
            price,
            currency: currency.as_str(),
            scorer,
            workflow: &journey.workflow.hash_hex(),
        };
        let bytes = entry::contribution(&self.world.key, &moving.data_key, &entry);
        if bytes.len() > limits::ENTRY_BYTES_MAX {
            return Err(Denied::Impossible("a larger entry than the public log takes"));
        }
        trial.entry = Some(bytes);
        let entry = Logged { position: 0, index: None };
        journey.accepted = Some(Accepted { at: now, card, scorer: scorer.to_owned(), entry });
        journey.note(now, EventKind::Accepted);
        trial.postings.push(journey.post(Account::Reserved, Account::Payable, micro));
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
        let journey = Arc::make_mut(&mut moving.journey);
        journey.stage = next.saturating_sub(1);
        let said = [EventKind::Accepted, EventKind::Paid];
        let last = journey.timeline.last();
        if !last.is_some_and(|event| event.at == now && said.contains(&event.kind)) {
            journey.note(now, EventKind::Advanced);
        }
        journey.outputs.extend(outputs);
        journey.stage = next;
        journey.attempts = 0;
        journey.since = now;
        self.journeys.insert(arrival, moving);
        self.touch(arrival);
        self.go(arrival, now);
    }

    /// Lets a moving journey go on with the stage that is due. A keyed stage, and the end, wait
    /// for the index of its entry: what is settled stands in the log.
    pub(super) fn go(&mut self, arrival: Arrival, now: Timestamp) {
        let Some(mut moving) = self.journeys.remove(&arrival) else { return };
        let definition = self.world.workflows.get(&moving.journey.workflow);
        let due = definition.map(|definition| definition.stage(moving.journey.stage));
        let keyed = due.map(|stage| stage.map(|s| s.signature.effect == StageEffect::Keyed));
        match keyed {
            Some(Some(true)) if moving.journey.waits_for_log() => {
                self.release_payout(&mut moving, now);
                let open = self.state.outbox_next - self.draft.entries.len() as u64;
                let entry = moving.journey.accepted.as_ref().map(|accepted| accepted.entry);
                moving.cleared = entry.is_some_and(|entry| entry.position >= open);
            }
            Some(None) if moving.journey.waits_for_log() => {}
            Some(None) => return self.end(moving, State::Settled, now),
            Some(Some(true)) => {
                self.release_payout(&mut moving, now);
                self.effect(Effect::Run { arrival });
            }
            Some(Some(false)) | None => self.effect(Effect::Run { arrival }),
        }
        self.journeys.insert(arrival, moving);
    }

    fn failed(&mut self, moving: Moving, failure: Failure, now: Timestamp, random: u64) {
        match failure {
            Failure::Payout(verdict) => self.payout_failed(moving, &verdict, now),
            Failure::Permanent { detail } => self.pause(moving, Cause::Permanent, detail, now),
            Failure::Retryable { detail, after_ms } => {
                self.retry(moving, Cause::Exhausted, detail, after_ms, now, random);
            }
            // The attempt is given back.
            Failure::Unavailable { .. } => {
                let backoff = self.policy(&moving.journey).backoff_after(u16::MAX, random);
                self.park(moving, Wait::Circuit, Some(now.plus_ms(backoff)), None, now);
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
#[must_use]
pub fn refusal_reason(refusal: Refusal) -> Reason {
    Reason::known(match refusal {
        Refusal::NoGrant => "no_grant",
        Refusal::Expired => "grant_expired",
        Refusal::Withdrawn | Refusal::WithdrawnSince => "grant_withdrawn",
        Refusal::Purpose => "purpose_not_granted",
        Refusal::Modality => "modality_not_granted",
        Refusal::Terms => "terms_mismatch",
    })
}
