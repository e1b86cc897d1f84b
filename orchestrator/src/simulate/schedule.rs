//! The schedule: who does what when, in order of time, as a function of the plan alone. What a node
//! answers changes nothing in it (an open loop), so the auditor can read it a second time.
//!
//! Contributors come as a Poisson process, each in one session: contributions of a session stand at
//! uniform moments of it. Only sessions under way are in memory.

use super::curve::Curve;
use super::draws::Draws;
use super::plan::Plan;
use super::population::{Poison, Population, Withdrawal};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Streams of draws beside those of the population.
const ARRIVALS: u64 = 1 << 40;
const SESSIONS: u64 = 1 << 41;

/// Up to so long after its first contribution somebody takes consent back while it moves, and up to
/// so long after a line comes the second one of its key, in microseconds.
const MOMENT_US: f64 = 200_000.0;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Consent is given.
    Consent,
    /// Consent is taken back.
    Withdraw,
    /// The contribution of this number is handed in.
    Contribution(u32),
    /// The same again.
    Duplicate(u32),
    /// Its key again, with another body.
    Conflict(u32),
    /// A line that must be refused.
    Poison(Poison),
}

/// One thing done, at its intended moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// When, in microseconds since the start.
    pub at: u64,
    /// When its contribution was handed in first, in microseconds since the start.
    pub origin: u64,
    /// By whom.
    pub contributor: u64,
    /// What.
    pub act: Act,
}

/// A session under way: the next contribution and what is left of it.
#[derive(Debug, Clone)]
struct Session {
    contributor: u64,
    next: u32,
    left: u32,
    end: u64,
    draws: Draws,
}

#[derive(Debug, Clone)]
enum Due {
    Event(Event),
    Session(Session),
}

/// Ordered by moment, then by the order in which it was said.
#[derive(Debug, Clone)]
struct Entry {
    at: u64,
    order: u64,
    due: Due,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// A storm of withdrawals: everybody who has come by its start is asked in turn.
#[derive(Debug, Clone)]
struct Storm {
    from: u64,
    to: u64,
    next: u64,
    /// Those who have come by its start; none before.
    people: Option<u64>,
}

impl Storm {
    /// When the next one is asked.
    fn at(&self) -> u64 {
        let people = u128::from(self.people.unwrap_or(0).max(1));
        let passed = u128::from(self.to - self.from) * u128::from(self.next) / people;
        self.from + u64::try_from(passed).unwrap_or(u64::MAX - self.from)
    }

    fn is_over(&self) -> bool {
        self.people.is_some_and(|people| self.next >= people)
    }
}

/// The events of a plan, in order of time.
#[derive(Debug, Clone)]
pub struct Schedule {
    population: Population,
    contributors: u64,
    /// Nothing is intended from this moment on.
    end: u64,
    session: u64,
    curve: Curve,
    /// Mean time between two contributors where the rate is highest, in microseconds.
    between: f64,
    storm: Option<Storm>,
    storm_share: f64,
    arrivals: Draws,
    clock: f64,
    arrived: u64,
    order: u64,
    due: BinaryHeap<Reverse<Entry>>,
}

impl Schedule {
    /// Of a plan.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let population = plan.population();
        let curve = plan.curve();
        let between = 1e6 * population.mean_contributions() / (plan.rate * curve.most());
        let storm = curve.storm().map(|(from, to)| Storm { from, to, next: 0, people: None });
        let mut schedule = Self {
            contributors: plan.contributors,
            end: plan.end_ms.map_or(u64::MAX, |end| end.saturating_mul(1000)),
            session: plan.session_ms.saturating_mul(1000),
            curve,
            between,
            storm,
            storm_share: plan.storm,
            arrivals: Draws::of(plan.seed, ARRIVALS, 0),
            clock: 0.0,
            arrived: 0,
            order: 0,
            due: BinaryHeap::new(),
            population,
        };
        schedule.next_arrival();
        schedule
    }

    /// Moves the clock to the next arrival: of candidates at the highest rate, as many are left out
    /// as the curve is lower (thinning, Lewis and Shedler 1979).
    fn next_arrival(&mut self) {
        loop {
            self.clock += self.arrivals.wait(self.between);
            let part = self.curve.factor(self.clock) / self.curve.most();
            if self.arrivals.happens(part) {
                return;
            }
        }
    }

    /// Sessions and single events that are in memory.
    #[must_use]
    pub fn held(&self) -> usize {
        self.due.len()
    }

    fn say(&mut self, at: u64, due: Due) {
        let order = self.order;
        self.order += 1;
        self.due.push(Reverse(Entry { at, order, due }));
    }

    fn event(&mut self, at: u64, origin: u64, contributor: u64, act: Act) {
        self.say(at, Due::Event(Event { at, origin, contributor, act }));
    }

    /// The next contributor comes.
    fn arrive(&mut self) {
        let (at, index) = (self.clock as u64, self.arrived);
        self.arrived += 1;
        self.next_arrival();
        let who = self.population.contributor(index);
        let mut draws = Draws::of(self.population.seed(), SESSIONS, index);
        if who.consents {
            self.event(at, at, index, Act::Consent);
        }
        let end = at.saturating_add(self.session);
        let withdraws = who.withdraws.map(|when| match when {
            Withdrawal::Before => at,
            Withdrawal::Moving => at + (draws.unit() * MOMENT_US) as u64,
            Withdrawal::After => end.saturating_add((draws.unit() * self.session as f64) as u64),
        });
        if let Some(moment) = withdraws {
            self.event(moment, moment, index, Act::Withdraw);
        }
        let session = Session { contributor: index, next: 0, left: who.contributions, end, draws };
        self.say(at, Due::Session(session));
    }

    /// The next contributor is asked in the storm, and may take consent back.
    fn blow(&mut self, at: u64) -> Option<Event> {
        let arrived = self.arrived;
        let storm = self.storm.as_mut()?;
        let people = *storm.people.get_or_insert(arrived);
        if storm.next >= people {
            return None;
        }
        let contributor = storm.next;
        storm.next += 1;
        let withdraws = self.population.storms(contributor, self.storm_share);
        withdraws.then_some(Event { at, origin: at, contributor, act: Act::Withdraw })
    }

    /// One contribution of a session, and what comes with it.
    fn hand_in(&mut self, at: u64, mut session: Session) -> Event {
        let (contributor, nth) = (session.contributor, session.next);
        let beside = self.population.beside(contributor, nth);
        let mut moment = || at + (session.draws.unit() * MOMENT_US) as u64;
        let seconds = [
            beside.duplicate.then(|| (moment(), Act::Duplicate(nth))),
            beside.conflict.then(|| (moment(), Act::Conflict(nth))),
            beside.poison.map(|poison| (moment(), Act::Poison(poison))),
        ];
        for (moment, act) in seconds.into_iter().flatten() {
            self.event(moment, at, contributor, act);
        }
        session.next += 1;
        session.left -= 1;
        if session.left > 0 {
            // The first of `left` uniform moments in what remains of the session.
            let part = 1.0 - session.draws.unit().powf(1.0 / f64::from(session.left));
            let next = at + (session.end.saturating_sub(at) as f64 * part) as u64;
            self.say(next, Due::Session(session));
        }
        Event { at, origin: at, contributor, act: Act::Contribution(nth) }
    }
}

impl Iterator for Schedule {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            let comes = self.arrived < self.contributors && (self.clock as u64) < self.end;
            let arrival = comes.then_some(self.clock as u64);
            let storm = self.storm.as_ref().filter(|storm| !storm.is_over()).map(Storm::at);
            let due = self.due.peek().map(|Reverse(entry)| entry.at);
            let earliest = [arrival, storm, due].into_iter().flatten().min()?;
            if arrival == Some(earliest) {
                self.arrive();
                continue;
            }
            if storm == Some(earliest) {
                if let Some(event) = self.blow(earliest) {
                    return Some(event);
                }
                continue;
            }
            let Reverse(Entry { at, due, .. }) = self.due.pop()?;
            if at >= self.end {
                continue;
            }
            return Some(match due {
                Due::Event(event) => event,
                Due::Session(session) => self.hand_in(at, session),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::curve::Profile;
    use super::super::plan::tests::plan;
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn it_is_in_order_of_time_and_the_same_twice() {
        let plan = plan(2_000, 1_000.0);
        let events: Vec<Event> = Schedule::new(&plan).collect();
        assert!(events.is_sorted_by_key(|event| event.at));
        assert!(events.iter().copied().eq(Schedule::new(&plan)));
    }

    #[test]
    fn everybody_hands_in_as_often_as_they_do_and_after_their_consent() {
        let plan = plan(2_000, 1_000.0);
        let population = plan.population();
        let mut consented = HashSet::new();
        let mut counts = vec![0; 2_000];
        for event in Schedule::new(&plan) {
            let who = event.contributor;
            match event.act {
                Act::Consent => assert!(consented.insert(who)),
                Act::Contribution(nth) => {
                    let place = usize::try_from(who).unwrap();
                    assert_eq!(nth, counts[place]);
                    counts[place] += 1;
                    assert_eq!(consented.contains(&who), population.contributor(who).consents);
                }
                Act::Withdraw => assert!(consented.contains(&who)),
                Act::Duplicate(nth) | Act::Conflict(nth) => {
                    assert!(nth < counts[usize::try_from(who).unwrap()]);
                }
                Act::Poison(_) => {}
            }
        }
        for (index, count) in (0..).zip(counts) {
            assert_eq!(population.contributor(index).contributions, count);
        }
    }

    #[test]
    fn the_rate_is_the_plans_and_memory_follows_sessions_not_contributors() {
        let plan = Plan { session_ms: 1_000, ..plan(200_000, 20_000.0) };
        let (mut contributions, mut last, mut held) = (0u64, 0, 0);
        let mut schedule = Schedule::new(&plan);
        while let Some(event) = schedule.next() {
            if matches!(event.act, Act::Contribution(_)) {
                contributions += 1;
                last = event.at;
            }
            held = held.max(schedule.held());
        }
        let rate = contributions as f64 / (last as f64 / 1e6);
        assert!((rate / 20_000.0 - 1.0).abs() < 0.1, "{rate}");
        assert!(held < 20_000, "{held}");
    }

    #[test]
    fn in_a_storm_those_who_came_take_consent_back_within_its_time() {
        let mut plan = plan(5_000, 500.0);
        plan.shares.withdrawals = 0.0;
        plan.profile = Profile::WithdrawalStorm;
        plan.end_ms = Some(20_000);
        let (mut came, mut asked) = (0u32, 0u32);
        let mut last = 0;
        for event in Schedule::new(&plan) {
            assert!(event.at >= last);
            last = event.at;
            match event.act {
                Act::Consent if event.at < 12_000_000 => came += 1,
                Act::Withdraw => {
                    assert!((12_000_000..=13_000_000).contains(&event.at), "{event:?}");
                    asked += 1;
                }
                _ => {}
            }
        }
        let share = f64::from(asked) / f64::from(came);
        assert!((share - 0.5).abs() < 0.06, "{share}");
    }

    #[test]
    fn a_spike_has_many_more_in_its_tenth() {
        let plan = Plan { profile: Profile::Spike, end_ms: Some(20_000), ..plan(50_000, 500.0) };
        let count = |from: u64, to: u64| {
            let within = |event: &Event| (from..to).contains(&event.at);
            Schedule::new(&plan).filter(|event| event.act == Act::Consent && within(event)).count()
        };
        let (before, during) = (count(2_000_000, 4_000_000), count(8_000_000, 10_000_000));
        assert!(during > 7 * before && during < 13 * before, "{before} {during}");
    }

    #[test]
    fn nothing_is_intended_after_the_end() {
        let plan = Plan { end_ms: Some(500), ..plan(100_000, 1_000.0) };
        let events: Vec<Event> = Schedule::new(&plan).collect();
        assert!(!events.is_empty());
        assert!(events.iter().all(|event| event.at < 500_000));
    }
}
