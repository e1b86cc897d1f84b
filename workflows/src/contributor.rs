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

impl Contributor {
    /// Takes a consent in; it takes effect whatever the contributor holds already. Where they hold
    /// the most a row may keep, in number or in bytes, others make room, oldest first: those that
    /// cover nothing any more, then those whose program has a newer one. Says how many that
    /// covered something made room.
    ///
    /// The same grant id again changes nothing: a withdrawn grant never revives. Of those that
    /// made room the store knows the id for ever, and hands none in twice.
    pub fn give(&mut self, consent: Consent, position: Arrival) -> usize {
        let known = |g: &Grant| g.consent.grant == consent.grant;
        if self.grants.iter().any(known) {
            return 0;
        }
        let now = consent.at;
        self.grants.push(Grant { consent: Arc::new(consent), position });
        let mut lapsed = 0;
        while self.holds_too_much() {
            let older = 0..self.grants.len() - 1;
            let Some(nth) = older.min_by_key(|nth| self.worth(*nth, now)) else { break };
            lapsed += usize::from(self.worth(nth, now) > 0);
            self.grants.remove(nth);
        }
        lapsed
    }

    fn holds_too_much(&self) -> bool {
        let bytes: usize = self.grants.iter().map(|grant| grant.consent.bytes()).sum();
        bytes > limits::GRANTS_BYTES_MAX || self.grants.len() > limits::GRANTS_MAX
    }

    /// What would go with a grant: nothing (0), or what others may cover (1), or a program (2).
    fn worth(&self, nth: usize, now: Timestamp) -> u8 {
        let grant = &self.grants[nth];
        let ended = grant.consent.expires_at.is_some_and(|end| end <= now);
        if ended || self.mark_of(grant).is_some() {
            return 0;
        }
        let same = |newer: &Grant| newer.consent.program == grant.consent.program;
        if self.grants[nth + 1..].iter().any(same) { 1 } else { 2 }
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

    /// Whether the grant a journey pinned stands: it was not taken back, and made no room.
    pub fn stands(&self, grant: &str) -> bool {
        let held = self.grants.iter().find(|held| held.consent.grant == grant);
        held.is_some_and(|held| self.mark_of(held).is_none())
    }

    /// The first mark that takes `grant` back, if any.
    pub fn mark_of(&self, grant: &Grant) -> Option<&Mark> {
        let Grant { consent, position } = grant;
        self.mark_on(&consent.grant, &consent.program, *position)
    }

    /// The first mark that takes back a grant of this id, program and place, held or not.
    pub fn mark_on(&self, grant: &str, program: &str, position: Arrival) -> Option<&Mark> {
        self.marks.iter().find(|mark| match &mark.scope {
            Scope::Grant(id) => id == grant,
            Scope::Program(name) => name == program && mark.position > position,
            Scope::All => mark.position > position,
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
