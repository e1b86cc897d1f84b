//! What a simulation measures while it drives. Latency counts from the intended start: a line that
//! waited for its turn has waited for the node (no coordinated omission).

use super::limits::{INTERVALS, INTERVALS_MAX, LATENCY_US_MAX};
use super::plan::Plan;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Three significant digits.
const DIGITS: u8 = 3;

/// A latency histogram in microseconds, or none if its numbers are out of bounds.
///
/// # Errors
/// Never with the constants above.
pub fn histogram() -> Result<Histogram<u64>, hdrhistogram::CreationError> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, DIGITS)
}

/// Percentiles in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentiles {
    /// How many were measured.
    pub count: u64,
    /// Half took at most this.
    pub p50: u64,
    /// 90 of 100.
    pub p90: u64,
    /// 99 of 100.
    pub p99: u64,
    /// 999 of 1000.
    pub p999: u64,
    /// The longest.
    pub max: u64,
}

impl Percentiles {
    /// Of a histogram.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self {
            count: histogram.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max(),
        }
    }
}

/// One interval of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// Lines that were intended in it.
    pub intended: u64,
    /// Lines that were answered for good in it.
    pub answered: u64,
    /// Contributions that became durable in it.
    pub submitted: u64,
    /// Answers in it that said to come again later.
    pub refused: u64,
    /// Latency of the lines answered in it.
    pub latency: Percentiles,
    /// How late the schedule was at its end, in milliseconds.
    pub late_ms: u64,
    /// Contributions under way at its end: durable and not at their end.
    pub under_way: u64,
    /// How long ago the oldest of them became durable, if they end in their order, in milliseconds.
    pub backlog_ms: u64,
    /// Memory that this process used at its end, in KiB.
    pub memory_kib: u64,
}

/// What lines came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Contributions made durable: distinct keys.
    pub submitted: u64,
    /// Consents made durable.
    pub consents: u64,
    /// Withdrawals made durable.
    pub withdrawals: u64,
    /// Repeats recognised.
    pub duplicates: u64,
    /// Second bodies of a key refused.
    pub conflicts: u64,
    /// Lines refused as they had to be.
    pub poison: u64,
    /// Answers that said to come again later, by code. Their lines were handed in again.
    pub refused: BTreeMap<String, u64>,
    /// Lines handed in again.
    pub retried: u64,
    /// Lines given up.
    pub given_up: u64,
}

/// Everything measured.
#[derive(Debug)]
pub struct Measured {
    /// What lines came to.
    pub counts: Counts,
    /// From the intended start to the answer, or until it was given up: all lines, microseconds.
    pub latency: Histogram<u64>,
    interval_ms: u64,
    intervals: Vec<Interval>,
    /// The latency of the interval under way.
    current: (usize, Histogram<u64>),
    /// The interval in which the oldest contribution under way came, and how many came before it.
    oldest: (usize, u64),
}

impl Measured {
    /// Nothing measured yet.
    ///
    /// # Errors
    /// Never, see [`histogram`].
    pub fn new(plan: &Plan) -> Result<Self, hdrhistogram::CreationError> {
        let seconds = (plan.expected_seconds() / INTERVALS as f64).ceil().max(1.0);
        let (latency, current) = (histogram()?, (0, histogram()?));
        let interval_ms = seconds as u64 * 1000;
        let (counts, intervals) = (Counts::default(), Vec::new());
        Ok(Self { counts, latency, interval_ms, intervals, current, oldest: (0, 0) })
    }

    /// How long an interval is, in milliseconds.
    #[must_use]
    pub fn interval_ms(&self) -> u64 {
        self.interval_ms
    }

    fn place(&mut self, at_us: u64) -> usize {
        let place = usize::try_from(at_us / 1000 / self.interval_ms).unwrap_or(usize::MAX);
        let place = place.min(INTERVALS_MAX - 1);
        if self.intervals.len() <= place {
            self.intervals.resize(place + 1, Interval::default());
        }
        place
    }

    /// A line is intended at this moment, in microseconds since the start.
    pub fn intended(&mut self, at_us: u64) {
        let place = self.place(at_us);
        self.intervals[place].intended += 1;
    }

    /// A line that was intended at one moment got its answer at another.
    pub fn answered(&mut self, intended_us: u64, now_us: u64) {
        let place = self.waited(intended_us, now_us);
        self.intervals[place].answered += 1;
    }

    /// A contribution became durable.
    pub fn submitted(&mut self, now_us: u64) {
        // Never before what the backlog is past: lanes take the time before they note it.
        let place = self.place(now_us).max(self.oldest.0);
        self.intervals[place].submitted += 1;
        self.counts.submitted += 1;
    }

    /// A line was given up. It waited as long as it did: leaving it out would make a node that answers
    /// nobody look fast.
    pub fn given_up(&mut self, intended_us: u64, now_us: u64) {
        self.waited(intended_us, now_us);
        self.counts.given_up += 1;
    }

    /// Notes the time from one moment to the other in the interval of the latter, and tells which.
    fn waited(&mut self, intended_us: u64, now_us: u64) -> usize {
        let place = self.place(now_us);
        if place != self.current.0 {
            self.close();
            self.current.0 = place;
        }
        let took = now_us.saturating_sub(intended_us).max(1);
        self.latency.saturating_record(took);
        self.current.1.saturating_record(took);
        place
    }

    /// An answer said to come again later.
    pub fn refused(&mut self, code: &str, now_us: u64) {
        let place = self.place(now_us);
        self.intervals[place].refused += 1;
        match self.counts.refused.get_mut(code) {
            Some(count) => *count += 1,
            None => drop(self.counts.refused.insert(code.to_owned(), 1)),
        }
    }

    /// How it stands at this moment; `finished`: contributions at their end, where that is known.
    pub fn stands(&mut self, now_us: u64, late_ms: u64, finished: Option<u64>, memory_kib: u64) {
        let place = self.place(now_us);
        let under_way =
            finished.map_or(0, |finished| self.counts.submitted.saturating_sub(finished));
        let backlog_ms = finished.map_or(0, |finished| self.backlog_ms(finished, now_us));
        let interval = &mut self.intervals[place];
        (interval.late_ms, interval.memory_kib) = (late_ms, memory_kib);
        (interval.under_way, interval.backlog_ms) = (under_way, backlog_ms);
    }

    /// How long ago the contribution came that is next to end, if they end in the order in which they
    /// came: the time between the curve of those that came and the curve of those that ended.
    fn backlog_ms(&mut self, finished: u64, now_us: u64) -> u64 {
        if finished >= self.counts.submitted {
            return 0;
        }
        let came = |place: usize| self.intervals.get(place).map(|interval| interval.submitted);
        while let Some(came) = came(self.oldest.0).filter(|came| self.oldest.1 + came <= finished) {
            self.oldest = (self.oldest.0 + 1, self.oldest.1 + came);
        }
        let Some(came) = came(self.oldest.0) else { return 0 };
        let (began, now) = ((self.oldest.0 as u64 * self.interval_ms) as f64, now_us as f64 / 1e3);
        // Those of one interval came evenly.
        let part = finished.saturating_sub(self.oldest.1) as f64 / came.max(1) as f64;
        let lasted = (now - began).clamp(0.0, self.interval_ms as f64);
        (now - began - part * lasted).max(0.0) as u64
    }

    fn close(&mut self) {
        let (place, histogram) = &mut self.current;
        if let Some(interval) = self.intervals.get_mut(*place) {
            interval.latency = Percentiles::of(histogram);
        }
        histogram.reset();
    }

    /// Percentiles of the interval under way.
    #[must_use]
    pub fn lately(&self) -> Percentiles {
        Percentiles::of(&self.current.1)
    }

    /// Every interval, the last one closed.
    pub fn intervals(&mut self) -> &[Interval] {
        self.close();
        &self.intervals
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::plan;
    use super::*;

    #[test]
    fn latency_counts_from_the_intended_start_in_the_interval_of_the_answer() {
        let mut measured = Measured::new(&plan(10, 1.0)).unwrap();
        measured.intended(100_000);
        measured.intended(200_000);
        measured.answered(100_000, 150_000);
        measured.answered(200_000, 2_200_000);
        measured.refused("inbox_full", 1_500_000);
        measured.stands(2_300_000, 7, None, 9);
        let max = measured.latency.max();
        assert!((1_999_000..2_003_000).contains(&max), "{max}");
        let intervals = measured.intervals();
        let seen: Vec<_> =
            intervals.iter().map(|one| (one.intended, one.answered, one.refused)).collect();
        assert_eq!(seen, [(2, 1, 0), (0, 0, 1), (0, 1, 0)]);
        assert_eq!((intervals[0].latency.count, intervals[2].latency.count), (1, 1));
        assert_eq!((intervals[2].late_ms, intervals[2].memory_kib), (7, 9));
    }

    #[test]
    fn a_backlog_is_as_old_as_the_contribution_that_is_next_to_end() {
        let mut measured = Measured::new(&plan(10, 1.0)).unwrap();
        for second in 0..10 {
            (0..10).for_each(|_| measured.submitted(second * 1_000_000));
        }
        let mut at = |now_us, finished| {
            measured.stands(now_us, 0, finished, 0);
            let interval = measured.intervals()[(now_us / 1_000_000) as usize];
            (interval.under_way, interval.backlog_ms)
        };
        assert_eq!(at(9_500_000, Some(0)), (100, 9_500));
        assert_eq!(at(9_500_000, Some(45)), (55, 5_000));
        assert_eq!(at(9_500_000, Some(95)), (5, 250));
        // Counters that begin anew do not make it older than what is known.
        assert_eq!(at(9_500_000, Some(7)), (93, 500));
        assert_eq!(at(9_900_000, Some(100)), (0, 0));
        assert_eq!(at(9_900_000, None), (0, 0));
    }

    #[test]
    fn a_line_that_was_given_up_has_waited_and_is_no_answer() {
        let mut measured = Measured::new(&plan(10, 1.0)).unwrap();
        measured.intended(0);
        measured.given_up(0, 120_000_000);
        assert_eq!((measured.latency.len(), measured.counts.given_up), (1, 1));
        assert!(measured.latency.max() >= 120_000_000);
        let interval = measured.intervals()[120];
        assert_eq!((interval.answered, interval.latency.count), (0, 1));
    }
}
