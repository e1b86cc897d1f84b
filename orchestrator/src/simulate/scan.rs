//! Looks on while every row of a stopped store is read: what each contribution of the run came to, whether that is
//! what its contributor's habits allow, and what each program is owed by the store.

use super::breach::Breach;
use super::fingerprint::Fingerprint;
use super::habits::{Stands, odd, odd_media};
use super::limits::BREACHES_MAX;
use super::measured::histogram;
use super::plan::Plan;
use super::population::Population;
use super::record::Record;
use crate::audit::Onlooker;
use gristmill_workflows::id::{ContributorKey, IdKey};
use gristmill_workflows::journey::{EventKind, Journey, State};
use gristmill_workflows::submission::{Modality, Submission};
use gristmill_workflows::time::Timestamp;
use gristmill_workflows::tombstone::{Finished, Tombstone};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Contributions of the run by where they stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Paid, logged, done.
    pub settled: u64,
    /// Not accepted.
    pub rejected: u64,
    /// Consent taken back before acceptance.
    pub withdrawn: u64,
    /// Waiting for an operator since something failed.
    pub quarantined: u64,
    /// Queued, moving, parked, or paused by an operator.
    pub in_flight: u64,
}

impl Tally {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.settled + self.rejected + self.withdrawn + self.quarantined + self.in_flight
    }
}

/// What a program's accepted contributions come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sum {
    /// How many.
    pub count: u64,
    /// Their value, in micro-units of the program's currency.
    pub micro: u128,
}

/// Where the time of a settled contribution went, in microseconds.
#[derive(Debug)]
pub struct Times {
    /// From its intended moment until the node took it.
    pub intake: Histogram<u64>,
    /// From there to its acceptance: consent, scoring, valuation.
    pub acceptance: Histogram<u64>,
    /// From there to its end: the log, the payout.
    pub settlement: Histogram<u64>,
    /// From its intended moment to its end.
    pub whole: Histogram<u64>,
}

impl Times {
    /// Nothing noted yet.
    ///
    /// # Errors
    /// Never, see [`histogram`].
    pub fn new() -> Result<Self, hdrhistogram::CreationError> {
        let (intake, acceptance) = (histogram()?, histogram()?);
        Ok(Self { intake, acceptance, settlement: histogram()?, whole: histogram()? })
    }

    /// Notes one settled journey.
    fn note(&mut self, journey: &Journey) {
        let submission = &journey.submission;
        let settled = journey.timeline.iter().find(|event| event.kind == EventKind::Settled);
        let (Some(intended), Some(accepted), Some(settled)) =
            (submission.captured_at, &journey.accepted, settled)
        else {
            return;
        };
        let between = |from: Timestamp, to: Timestamp| to.0.saturating_sub(from.0) * 1000;
        let parts = [
            (&mut self.intake, intended, submission.at),
            (&mut self.acceptance, submission.at, accepted.at),
            (&mut self.settlement, accepted.at, settled.at),
            (&mut self.whole, intended, settled.at),
        ];
        for (histogram, from, to) in parts {
            histogram.saturating_record(between(from, to).max(1));
        }
    }
}

/// What the rows say.
#[derive(Debug)]
pub struct Scan {
    /// Contributions of the run.
    pub tally: Tally,
    /// Why those that were rejected were.
    pub reasons: BTreeMap<String, u64>,
    /// Every program's accepted contributions, those of other runs included.
    pub programs: BTreeMap<String, Sum>,
    /// Journeys of the whole store that settled, and that were rejected or withdrawn.
    pub finished: (u64, u64),
    /// Where the time went.
    pub times: Times,
    /// The run's contributions, by whose they are and which of theirs.
    pub fingerprint: Fingerprint,
    /// What should not be.
    pub breaches: Vec<Breach>,
}

/// Reads what an audit shows it of a store that no node writes.
#[derive(Debug)]
pub struct Scanning {
    plan: Plan,
    key: IdKey,
    population: Population,
    /// Contributors of whom a line was given up: nobody knows what of theirs the node has heard.
    unheard: BTreeSet<u64>,
    /// The run's contributors as rows that expired have them, once there is such a row.
    people: Option<HashSet<ContributorKey>>,
    /// Whose media, handed in first of theirs, were accepted: of them, or of somebody who copied.
    contents: HashSet<u64>,
    scan: Scan,
}

impl Onlooker for Scanning {
    fn queued(&mut self, submission: &Submission) {
        if let Some(index) = self.plan.index(&submission.contributor) {
            self.scan.tally.in_flight += 1;
            self.stands(index, submission);
        }
    }

    fn row(&mut self, row: &Finished) {
        match row {
            Finished::Journey(journey) => self.journey(journey),
            Finished::Expired(tombstone) => self.expired(tombstone),
        }
    }
}

impl Scanning {
    /// Nothing seen yet.
    ///
    /// # Errors
    /// Never, see [`histogram`].
    pub fn new(record: &Record, key: &IdKey) -> Result<Self, hdrhistogram::CreationError> {
        let plan = record.plan.clone();
        let unheard = record.driven.as_ref().map(|driven| driven.unheard.clone());
        let scan = Scan {
            tally: Tally::default(),
            reasons: BTreeMap::new(),
            programs: BTreeMap::new(),
            finished: (0, 0),
            times: Times::new()?,
            fingerprint: Fingerprint::default(),
            breaches: Vec::new(),
        };
        let (population, people, contents) = (plan.population(), None, HashSet::new());
        let (unheard, key) = (unheard.unwrap_or_default(), key.clone());
        Ok(Self { plan, key, population, unheard, people, contents, scan })
    }

    /// What the rows said.
    #[must_use]
    pub fn scan(self) -> Scan {
        self.scan
    }

    fn stands(&mut self, index: u64, submission: &Submission) {
        if let Ok(nth) = submission.idempotency_key.parse() {
            self.scan.fingerprint.add(index, nth);
        }
    }

    /// Habits and times are no longer seen; that it ended, and at which price, is.
    fn expired(&mut self, tombstone: &Tombstone) {
        let journey = tombstone.journey();
        self.sum(&journey);
        let (plan, key) = (&self.plan, &self.key);
        let all = || (0..plan.contributors).map(|nth| key.contributor(&plan.name(nth))).collect();
        if self.people.get_or_insert_with(all).contains(&tombstone.contributor) {
            self.count(&journey.state);
        }
    }

    fn sum(&mut self, journey: &Journey) {
        match &journey.state {
            State::Settled => self.scan.finished.0 += 1,
            State::Rejected(_) | State::Withdrawn => self.scan.finished.1 += 1,
            State::Moving | State::Parked { .. } | State::Paused { .. } => {}
        }
        if let (Some(_), Some((_, price))) = (&journey.accepted, &journey.price) {
            let (programs, program) = (&mut self.scan.programs, &journey.submission.program);
            let sum = match programs.get_mut(program) {
                Some(sum) => sum,
                None => programs.entry(program.clone()).or_default(),
            };
            sum.count += 1;
            sum.micro += u128::from(price.micro);
        }
    }

    fn journey(&mut self, journey: &Journey) {
        let submission = &*journey.submission;
        self.sum(journey);
        let Some(index) = self.plan.index(&submission.contributor) else { return };
        self.stands(index, submission);
        self.count(&journey.state);
        self.scan.times.note(journey);
        let reason = match &journey.state {
            State::Rejected(reason) => Some(reason.as_str()),
            _ => None,
        };
        let stands = Stands {
            nth: submission.idempotency_key.parse().ok(),
            second_body: submission.transcript.is_some(),
            accepted: journey.accepted.is_some(),
            ended: journey.state.is_terminal(),
            reason,
        };
        if self.unheard.contains(&index) {
            return;
        }
        let who = self.population.contributor(index);
        let wrong = odd(&who, &stands).or_else(|| self.media(index, submission.modality, &stands));
        if let Some(sentence) = wrong {
            self.breach(&submission.id.to_string(), sentence);
        }
    }

    /// What is wrong with a contribution as its media are.
    fn media(
        &mut self,
        index: u64,
        modality: Modality,
        stands: &Stands<'_>,
    ) -> Option<&'static str> {
        let nth = stands.nth?;
        let carries = self.population.carries(index, nth);
        if carries.modality != modality {
            return Some("stands with another modality than was handed in");
        }
        let copied = carries.of != (index, nth) || self.population.may_be_copied(nth);
        let shared = modality != Modality::None && copied && !carries.broken;
        if stands.accepted && shared && !self.contents.insert(carries.of.0) {
            return Some("was accepted with media that were accepted of somebody else");
        }
        odd_media(&carries, copied, stands)
    }

    fn count(&mut self, state: &State) {
        let tally = &mut self.scan.tally;
        match state {
            State::Settled => tally.settled += 1,
            State::Rejected(reason) => {
                tally.rejected += 1;
                *self.scan.reasons.entry(reason.as_str().to_owned()).or_default() += 1;
            }
            State::Withdrawn => tally.withdrawn += 1,
            State::Paused { cause, .. } if cause.is_quarantine() => tally.quarantined += 1,
            State::Paused { .. } | State::Moving | State::Parked { .. } => tally.in_flight += 1,
        }
    }

    fn breach(&mut self, id: &str, sentence: &str) {
        if self.scan.breaches.len() < BREACHES_MAX {
            self.scan.breaches.push(Breach::new("habits", id, sentence));
        }
    }
}
