//! The report of a simulation: what was asked for, what was reached, and the auditor's verdict.

use super::auditor::Audited;
use super::curve::Profile;
use super::driver::Driven;
use super::fault::Mark;
use super::host::Host;
use super::measured::{Counts, Interval, Measured, Percentiles};
use super::plan::Plan;
use super::resources::Resources;
use super::scan::Times;
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
    /// Bytes of the data directory, the public log and the rail's book included; zero with an
    /// address.
    pub disk_bytes: u64,
    /// What was made to go wrong.
    pub faults: Vec<Mark>,
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

/// The first interval whose answers were later than the plan allows.
fn breakpoint(plan: &Plan, measured: &mut Measured) -> Option<Breakpoint> {
    let interval_ms = measured.interval_ms();
    let slow = |interval: &Interval| {
        interval.latency.p99 > plan.slo_ms * 1000 || interval.late_ms > plan.slo_ms
    };
    let intervals = measured.intervals();
    let place = intervals.iter().position(slow).filter(|_| plan.profile == Profile::Breakpoint)?;
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
    /// Bytes of the data directory.
    pub disk_bytes: u64,
    /// What the auditor says.
    pub audited: Audited,
    /// Where the time went.
    pub times: &'a Times,
    /// What was made to go wrong.
    pub faults: Vec<Mark>,
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
            breakpoint: breakpoint(&plan, measured),
            settled_rate: audited.tally.settled as f64 / seconds.1.max(0.001),
            counts: measured.counts.clone(),
            latency,
            curves: Curves { answered: curve(&measured.latency), settled: curve(&times.whole) },
            interval_ms: measured.interval_ms(),
            intervals: measured.intervals().to_vec(),
            resources,
            disk_bytes,
            faults: parts.faults,
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
                "{submitted} contributions of {} contributors in {:.1} s, intended {:.0}/s, \
                 reached {:.0}/s; settled {:.0}/s until rest",
                self.plan.contributors,
                self.drove_seconds,
                self.plan.rate,
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
        lines.extend(self.audited.lines());
        lines
    }
    /// What a settled contribution took of the machine, where that is known.
    fn used(&self) -> Option<String> {
        let settled = self.audited.tally.settled.max(1);
        (self.disk_bytes > 0).then(|| {
            format!(
                "{:.3} ms CPU and {} bytes on disk a settled contribution; memory at most {} MiB",
                self.resources.cpu_ms as f64 / settled as f64,
                self.disk_bytes / settled,
                self.resources.memory_peak_kib / 1024
            )
        })
    }
}
