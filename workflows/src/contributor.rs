//! What a shard knows of one contributor: grants, marks, day counts, carry, and where the chain of
//! their journeys begins. Consent rules live here, since "withdrawn" and "accepted" must be one
//! order.

use crate::id::Arrival;
use crate::limits;
use crate::money::Currency;
use crate::program::Program;
use crate::submission::{Consent, Mark, Modality, Scope, Submission};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One consent and the arrival number it took effect at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// What was agreed to; shared by the copies that a decision makes.
    pub consent: Arc<Consent>,
    /// Its place in the shard's order.
    pub position: Arrival,
}

/// What one contributor earned in one program on one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayCount {
    /// The program.
    pub program: String,
    /// Days since 1970-01-01 in the program's zone.
    pub day: u32,
    /// Micro-units accepted.
    pub micro: u64,
}

/// One contributor's row.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Contributor {
    /// Consents in the order they arrived.
    pub grants: Vec<Grant>,
    /// Withdrawals in the order they arrived.
    pub marks: Vec<Mark>,
    /// Today's earnings; older days are dropped when a new one is counted.
    pub days: Vec<DayCount>,
    /// Named counters of authors' stages.
    pub counters: Vec<(String, u64)>,
    /// What is left after whole minor units were paid.
    pub carry: Vec<(Currency, u64)>,
    /// The newest journey with a row of its own; each journey names the one before.
    pub latest: Option<Arrival>,
}

/// Why no grant covers a contribution; the words are the contract's reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// None was ever given to this program.
    #[error("no_grant")]
    NoGrant,
    /// The newest one has ended.
    #[error("grant_expired")]
    Expired,
    /// It was withdrawn before the contribution arrived.
    #[error("grant_withdrawn")]
    Withdrawn,
    /// It does not name the program's purpose.
    #[error("purpose_not_granted")]
    Purpose,
    /// It does not name the modality.
    #[error("modality_not_granted")]
    Modality,
    /// It was given under other terms.
    #[error("terms_mismatch")]
    Terms,
    /// It covered the contribution when that arrived, and was withdrawn since.
    #[error("withdrawn")]
    WithdrawnSince,
}

/// A further consent was refused: the contributor holds the most a row may keep, in number or in
/// bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the contributor holds {} grants or {} bytes of them already",
    limits::GRANTS_MAX,
    limits::GRANTS_BYTES_MAX
)]
pub struct TooManyGrants;

impl Contributor {
    /// Takes a consent in. The same grant id again changes nothing: a withdrawn grant never
    /// revives.
    pub fn give(&mut self, consent: Consent, position: Arrival) -> Result<(), TooManyGrants> {
        let known = |g: &Grant| g.consent.grant == consent.grant;
        if self.grants.iter().any(known) {
            return Ok(());
        }
        let held: usize = self.grants.iter().map(|grant| grant.consent.bytes()).sum();
        let full = held + consent.bytes() > limits::GRANTS_BYTES_MAX;
        if full || self.grants.len() >= limits::GRANTS_MAX {
            return Err(TooManyGrants);
        }
        self.grants.push(Grant { consent: Arc::new(consent), position });
        Ok(())
    }

    /// Takes a withdrawal in; the same one again changes nothing.
    pub fn withdraw(&mut self, mark: Mark) {
        if self.marks.contains(&mark) {
            return;
        }
        self.marks.push(mark);
        if self.marks.len() > limits::MARKS_MAX {
            self.fold_marks();
        }
    }

    /// Makes room: only the first mark that takes a held grant back says anything. There are as
    /// many of those as grants at the most.
    fn fold_marks(&mut self) {
        let telling: Vec<Mark> =
            self.grants.iter().filter_map(|grant| self.mark_of(grant)).cloned().collect();
        self.marks.retain(|mark| telling.contains(mark));
    }

    /// Whether the grant a journey pinned was taken back.
    pub fn is_taken_back(&self, grant: &str) -> bool {
        let held = self.grants.iter().find(|held| held.consent.grant == grant);
        held.is_some_and(|held| self.mark_of(held).is_some())
    }

    /// The first mark that takes `grant` back, if any.
    pub fn mark_of(&self, grant: &Grant) -> Option<&Mark> {
        self.marks.iter().find(|mark| match &mark.scope {
            Scope::Grant(id) => *id == grant.consent.grant,
            Scope::Program(program) => {
                *program == grant.consent.program && mark.position > grant.position
            }
            Scope::All => mark.position > grant.position,
        })
    }

    /// The newest valid grant that covers a contribution which arrived at `arrival` (ties by id).
    pub fn covering(
        &self,
        program: &Program,
        submission: &Submission,
        arrival: Arrival,
        now: Timestamp,
    ) -> Result<&Grant, Refusal> {
        let mut refusal = Refusal::NoGrant;
        let mut best: Option<&Grant> = None;
        for grant in self.grants.iter().filter(|g| g.position < arrival) {
            match self.covers(grant, program, submission, arrival, now) {
                Ok(()) => {
                    let newest = |g: &Grant| (g.consent.at, g.position, g.consent.grant.clone());
                    if best.is_none_or(|b| newest(grant) > newest(b)) {
                        best = Some(grant);
                    }
                }
                Err(why) => refusal = more_telling(refusal, why),
            }
        }
        best.ok_or(refusal)
    }

    /// The newest grant for a program, whatever became of it since.
    pub(crate) fn newest(&self, program: &str) -> Option<&Grant> {
        let of = self.grants.iter().filter(|grant| grant.consent.program == program);
        of.max_by_key(|grant| (grant.consent.at, grant.position))
    }

    fn covers(
        &self,
        grant: &Grant,
        program: &Program,
        submission: &Submission,
        arrival: Arrival,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let consent = &grant.consent;
        if consent.program != program.id {
            return Err(Refusal::NoGrant);
        }
        if *consent.terms != program.terms {
            return Err(Refusal::Terms);
        }
        if !consent.purposes.contains(&program.purpose) {
            return Err(Refusal::Purpose);
        }
        let any = submission.modality == Modality::None;
        if !any && !consent.modalities.contains(&submission.modality) {
            return Err(Refusal::Modality);
        }
        if let Some(mark) = self.mark_of(grant) {
            let since = mark.position > arrival;
            return Err(if since { Refusal::WithdrawnSince } else { Refusal::Withdrawn });
        }
        if consent.expires_at.is_some_and(|end| end <= now) {
            return Err(Refusal::Expired);
        }
        Ok(())
    }

    /// Micro-units already accepted on `day` in `program`.
    pub fn earned(&self, program: &str, day: u32) -> u64 {
        let today = |count: &&DayCount| count.program == program && count.day == day;
        self.days.iter().find(today).map_or(0, |count| count.micro)
    }

    /// Counts an acceptance towards the day cap; older days of the program make room.
    pub fn count_day(&mut self, program: &str, day: u32, micro: u64) {
        let earned = self.earned(program, day).saturating_add(micro);
        self.days.retain(|count| count.program != program || count.day > day);
        self.days.push(DayCount { program: program.to_owned(), day, micro: earned });
    }

    /// Takes back what an unaccepted contribution counted on `day`.
    pub fn uncount_day(&mut self, program: &str, day: u32, micro: u64) {
        let counted = |count: &&mut DayCount| count.program == program && count.day == day;
        if let Some(count) = self.days.iter_mut().find(counted) {
            count.micro = count.micro.saturating_sub(micro);
        }
    }

    /// Adds one to a named counter unless it stands at `limit` already; says whether it did.
    pub fn count(&mut self, counter: &str, limit: u64) -> bool {
        if let Some((_, n)) = self.counters.iter_mut().find(|(name, _)| name == counter) {
            let room = *n < limit;
            *n += u64::from(room);
            return room;
        }
        let room = limit > 0 && self.counters.len() < limits::COUNTERS_MAX;
        if room {
            self.counters.push((counter.to_owned(), 1));
        }
        room
    }

    /// The carry in one currency, in micro-units.
    pub fn carry(&self, currency: Currency) -> u64 {
        self.carry.iter().find(|(c, _)| *c == currency).map_or(0, |(_, micro)| *micro)
    }

    /// Replaces the carry in one currency.
    pub fn set_carry(&mut self, currency: Currency, micro: u64) {
        self.carry.retain(|(c, _)| *c != currency);
        if micro > 0 {
            self.carry.push((currency, micro));
        }
    }
}

/// Of two refusals the one closer to a valid grant says more to the person.
fn more_telling(a: Refusal, b: Refusal) -> Refusal {
    let rank = |refusal| match refusal {
        Refusal::NoGrant => 0,
        Refusal::Terms => 1,
        Refusal::Purpose => 2,
        Refusal::Modality => 3,
        Refusal::Withdrawn => 4,
        Refusal::Expired => 5,
        Refusal::WithdrawnSince => 6,
    };
    if rank(b) > rank(a) { b } else { a }
}

#[cfg(test)]
mod tests;
