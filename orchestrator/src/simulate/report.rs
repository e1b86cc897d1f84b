//! The report of a simulation: what was asked for, what was reached, and the auditor's verdict.

use super::auditor::Audited;
use super::curve::Profile;
use super::driver::Driven;
use super::fault::{Mark, Struck};
use super::host::Host;
use super::measured::{Counts, Interval, Measured, Percentiles};
use super::plan::Plan;
use super::resources::Resources;
use super::scan::Times;
use super::scrape::{Spread, StageTimes};
use crate::config::Config;
use hdrhistogram::Histogram;
use serde::Serialize;

/// Quantiles and their latencies in microseconds.
pub type Curve = Vec<(f64, u64)>;

/// The quantiles of a curve.
const QUANTILES: [f64; 15] = [
    0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999, 0.9995, 0.9999, 0.99995, 0.99999,
    1.0,
];

/// Latency by quantile.
#[derive(Debug, Clone, Serialize)]
pub struct Curves {
    /// From the intended start of a line to its answer.
    pub answered: Curve,
    /// From the intended start of a contribution to its end.
    pub settled: Curve,
}

fn curve(histogram: &Histogram<u64>) -> Curve {
    let at = |quantile: f64| (quantile, histogram.value_at_quantile(quantile));
    if histogram.is_empty() { Vec::new() } else { QUANTILES.into_iter().map(at).collect() }
}

/// Where the time of settled contributions went, in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Latencies {
    /// From the intended start of a line to its answer, all lines.
    pub answered: Percentiles,
    /// From the intended start of a contribution to its end.
    pub settled: Percentiles,
    /// Of that: until the node took it.
    pub intake: Percentiles,
    /// Until its acceptance.
    pub acceptance: Percentiles,
    /// Until its end.
    pub settlement: Percentiles,
}

/// The report.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The auditor's verdict in short.
    pub ok: bool,
    /// The machine and the build.
    pub host: Host,
    /// What everything follows from.
    pub plan: Plan,
    /// What was driven: `embedded`, or the node's address.
    pub target: String,
    /// Seconds until every line had its answer.
    pub drove_seconds: f64,
    /// Seconds until the node was at rest.
    pub rested_seconds: f64,
    /// Events of the schedule that were handed in.
    pub events: u64,
    /// It was told to stop early.
    pub interrupted: bool,
    /// Where a ramp broke: what it reached before.
    pub breakpoint: Option<Breakpoint>,
    /// Contributions a second that the schedule intends on average, its curve included.
    pub intended_rate: f64,
    /// Contributions settled a second until the node was at rest.
    pub settled_rate: f64,
    /// What lines came to.
    pub counts: Counts,
    /// Percentiles.
    pub latency: Latencies,
    /// Latency by quantile.
    pub curves: Curves,
    /// How long an interval is, in milliseconds.
    pub interval_ms: u64,
    /// The run, interval by interval.
    pub intervals: Vec<Interval>,
    /// What this process used until the node was at rest: with an address, the driver alone.
    pub resources: Resources,
    /// The same of the processes that the simulation started, all together; none if it started none.
    pub started: Option<Resources>,
    /// Bytes of the data directory, the public log and the rail's book included; zero with an
    /// address.
    pub disk_bytes: u64,
    /// How long each stage took, by the nodes' metrics.
    pub stages: Vec<StageTimes>,
    /// What was made to go wrong.
    pub faults: Vec<Mark>,
    /// What was to go wrong and did not: its moment did not come before the end.
    pub faults_missed: Vec<String>,
    /// The nodes' configuration; none of nodes behind an address.
    pub config: Option<Config>,
    /// How a run in virtual time went; none of one by the machine's clock.
    pub virtual_time: Option<VirtualTime>,
    /// The auditor's verdict.
    pub audited: Audited,
}

/// How a run in virtual time went.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct VirtualTime {
    /// How long it really took until everything was at rest, in seconds.
    pub wall_seconds: f64,
    /// How long calls lasted.
    pub calls: CallTimes,
}

/// How long calls to what stands around a node in virtual time last on average, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CallTimes {
    /// Of the store.
    pub store_ms: u64,
    /// Of the log's objects.
    pub log_ms: u64,
    /// Of the rail.
    pub rail_ms: u64,
    /// Of measuring one medium.
    pub measure_ms: u64,
}

/// Where a ramp broke.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Breakpoint {
    /// Seconds since the start.
    pub at_s: f64,
    /// Lines a second that were intended in the interval before: what the node still bore.
    pub bore: f64,
}

/// The first of two intervals in a row whose answers were later than the plan allows, or where the
/// schedule came to its end because it was late.
fn breakpoint(plan: &Plan, broke: bool, measured: &mut Measured) -> Option<Breakpoint> {
    if plan.profile != Profile::Breakpoint {
        return None;
    }
    let interval_ms = measured.interval_ms();
    let slow = |interval: &Interval| {
        let slo_us = plan.slo_ms.saturating_mul(1000);
        interval.latency.p99 > slo_us || interval.late_ms > plan.slo_ms
    };
    let intervals = measured.intervals();
    let twice = intervals.windows(2).position(|pair| pair.iter().all(slow));
    let place = twice.or_else(|| intervals.len().checked_sub(1).filter(|_| broke))?;
    let before = intervals[..place].last().map_or(0, |interval| interval.intended);
    let at_s = place as f64 * interval_ms as f64 / 1000.0;
    Some(Breakpoint { at_s, bore: before as f64 * 1000.0 / interval_ms as f64 })
}

/// What a report is made from, beside the plan.
#[derive(Debug)]
pub struct Parts<'a> {
    /// What was driven.
    pub target: String,
    /// What was handed in.
    pub driven: &'a Driven,
    /// Seconds until every line had its answer, and until the node was at rest.
    pub seconds: (f64, f64),
    /// What this process used until the node was at rest.
    pub resources: Resources,
    /// What the processes that it started used.
    pub started: Option<Resources>,
    /// Bytes of the data directory.
    pub disk_bytes: u64,
    /// What the auditor says.
    pub audited: Audited,
    /// Where the time went.
    pub times: &'a Times,
    /// How long each stage took.
    pub stages: Vec<StageTimes>,
    /// What was made to go wrong.
    pub faults: Struck,
    /// The nodes' configuration.
    pub config: Option<&'a Config>,
    /// How a run in virtual time went.
    pub virtual_time: Option<VirtualTime>,
}

impl Report {
    /// Puts it together.
    #[must_use]
    pub fn new(plan: Plan, measured: &mut Measured, parts: Parts<'_>) -> Self {
        let Parts { target, driven, seconds, resources, disk_bytes, audited, times, .. } = parts;
        let latency = Latencies {
            answered: Percentiles::of(&measured.latency),
            settled: Percentiles::of(&times.whole),
            intake: Percentiles::of(&times.intake),
            acceptance: Percentiles::of(&times.acceptance),
            settlement: Percentiles::of(&times.settlement),
        };
        Self {
            ok: audited.ok,
            host: Host::here(),
            target,
            drove_seconds: seconds.0,
            rested_seconds: seconds.1,
            events: driven.events,
            interrupted: driven.interrupted,
            breakpoint: breakpoint(&plan, driven.broke, measured),
            intended_rate: plan.rate * plan.curve().mean(),
            settled_rate: audited.tally.settled as f64 / seconds.1.max(0.001),
            counts: measured.counts.clone(),
            latency,
            curves: Curves { answered: curve(&measured.latency), settled: curve(&times.whole) },
            interval_ms: measured.interval_ms(),
            intervals: measured.intervals().to_vec(),
            resources,
            started: parts.started,
            disk_bytes,
            stages: parts.stages,
            faults: parts.faults.marks,
            faults_missed: parts.faults.missed,
            config: parts.config.cloned(),
            virtual_time: parts.virtual_time,
            audited,
            plan,
        }
    }

    /// The summary for people.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let Counts { submitted, consents, withdrawals, duplicates, conflicts, poison, .. } =
            &self.counts;
        let refused: u64 = self.counts.refused.values().sum();
        let mut lines = vec![
            format!(
                "{submitted} contributions in {:.1} s, intended {:.0}/s, reached {:.0}/s; settled \
                 {:.0}/s until rest",
                self.drove_seconds,
                self.intended_rate,
                *submitted as f64 / self.drove_seconds.max(0.001),
                self.settled_rate
            ),
            format!(
                "consents {consents}, withdrawals {withdrawals}, repeats {duplicates}, second \
                 bodies refused {conflicts}, poison refused {poison}"
            ),
            format!(
                "come again later {refused}, handed in again {}, given up {}",
                self.counts.retried, self.counts.given_up
            ),
        ];
        lines.extend(self.used());
        if let Some(VirtualTime { wall_seconds, calls }) = self.virtual_time {
            let CallTimes { store_ms, log_ms, rail_ms, measure_ms } = calls;
            lines.push(format!(
                "virtual time: it really took {wall_seconds:.1} s; a call took {store_ms} ms of \
                 the store, {log_ms} of the log, {rail_ms} of the rail, {measure_ms} of measuring"
            ));
        }
        match self.breakpoint {
            Some(Breakpoint { at_s, bore }) => lines.push(format!(
                "broke after {at_s:.0} s: bore {bore:.0} lines/s, then p99 was over {} ms",
                self.plan.slo_ms
            )),
            None if self.plan.profile == Profile::Breakpoint => {
                lines.push("did not break: a higher --rate may".to_owned());
            }
            None => {}
        }
        lines.extend(
            self.faults.iter().map(|Mark { at_s, what }| format!("after {at_s:.1} s: {what}")),
        );
        let missed = self.faults_missed.iter();
        lines.extend(missed.map(|fault| format!("{fault} did not come: it was over before")));
        lines.extend(self.times());
        lines.extend(self.audited.lines());
        lines
    }

    /// How long what took.
    fn times(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let Latencies { answered, settled, intake, acceptance, settlement } = &self.latency;
        lines.push(format!(
            "{:<34} {:>9} {:>9} {:>9} {:>9}",
            "ms from", "p50", "p99", "p99.9", "max"
        ));
        for (what, percentiles) in [
            ("the intended start to the answer", answered),
            ("the intended start to settled", settled),
            ("  the intended start to intake", intake),
            ("  intake to acceptance", acceptance),
            ("  acceptance to settled", settlement),
        ] {
            let ms = |us: u64| us as f64 / 1000.0;
            let Percentiles { count, p50, p99, p999, max, .. } = percentiles;
            if *count == 0 {
                continue;
            }
            lines.push(format!(
                "{what:<34} {:>9.1} {:>9.1} {:>9.1} {:>9.1}",
                ms(*p50),
                ms(*p99),
                ms(*p999),
                ms(*max)
            ));
        }
        for StageTimes { stage, run, wait } in &self.stages {
            let Spread { count, mean_ms, p50_ms, p99_ms } = run;
            lines.push(format!(
                "stage {stage}: {count} attempts of {mean_ms:.2} ms, p50 {p50_ms:.2}, p99 {p99_ms:.2}; \
                 queued p50 {:.2}, p99 {:.2}",
                wait.p50_ms, wait.p99_ms
            ));
        }
        lines
    }

    /// What a settled contribution took of the machine, where that is known: what the simulation started
    /// included.
    fn used(&self) -> Option<String> {
        let settled = self.audited.tally.settled.max(1);
        let memory = match self.started {
            Some(started) => format!(
                "memory at most {} MiB, of what it started {} MiB",
                self.resources.memory_peak_kib / 1024,
                started.memory_peak_kib / 1024
            ),
            None => format!("memory at most {} MiB", self.resources.memory_peak_kib / 1024),
        };
        (self.disk_bytes > 0).then(|| {
            format!(
                "{:.3} ms CPU and {} bytes on disk a settled contribution; {memory}",
                self.cpu_ms() as f64 / settled as f64,
                self.disk_bytes / settled
            )
        })
    }

    /// CPU time of this process and of all that it started, in milliseconds.
    #[must_use]
    pub fn cpu_ms(&self) -> u64 {
        self.resources.cpu_ms + self.started.map_or(0, |started| started.cpu_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::plan;
    use super::*;

    /// Answers of the seconds of a run, each so many milliseconds after its intended moment.
    fn measured(took_ms: &[u64]) -> Measured {
        let mut measured = Measured::new(&plan(10, 1.0)).unwrap();
        for (second, took) in took_ms.iter().enumerate() {
            let now_us = second as u64 * 1_000_000 + 500_000;
            measured.intended(now_us);
            measured.answered(now_us.saturating_sub(took * 1000), now_us);
        }
        measured
    }

    #[test]
    fn a_ramp_breaks_where_answers_stay_late_and_not_at_one_late_second() {
        let ramp = Plan { profile: Profile::Breakpoint, slo_ms: 100, ..plan(10, 1.0) };
        let at = |took: &[u64], broke| {
            breakpoint(&ramp, broke, &mut measured(took)).map(|it| (it.at_s, it.bore))
        };
        assert_eq!(at(&[10, 400, 10, 10], false), None);
        assert_eq!(at(&[10, 400, 10, 400, 400, 10], false), Some((3.0, 1.0)));
        assert_eq!(at(&[10, 10, 400], true), Some((2.0, 1.0)));
        let flat = Plan { profile: Profile::Flat, ..ramp.clone() };
        assert_eq!(breakpoint(&flat, true, &mut measured(&[400, 400])), None);
    }
}
