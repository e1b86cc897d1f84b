//! The families: names, help, labels, buckets, as the contract has them.

use super::Ends;
use super::rail::{PayoutResult, RailMetrics};
use super::stage::{Attempt, StageMetrics};
use super::store;
use crate::ports::StoreError;
use crate::survey::{STATES, Survey};
use gristmill_workflows::invariant::Invariant;
use gristmill_workflows::ledger::Account;
use gristmill_workflows::money::Currency;
use gristmill_workflows::request::{Cause, Wait};
use gristmill_workflows::time::Timestamp;
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{
    CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    Opts, Registry,
};

const NAMESPACE: &str = "gristmill";

/// Seconds from an attempt's or a commit's start to its end.
const WORK: [f64; 15] =
    [0.000_1, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];
/// Seconds in a pool's queue.
const WAIT: [f64; 12] = [0.001, 0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1_800.0];
/// Seconds from intake to the end: a person may be among the stages.
const JOURNEY: [f64; 15] = [
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1_800.0, 7_200.0, 86_400.0, 259_200.0,
    604_800.0,
];
/// Journeys in one commit.
const ITEMS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0];

/// Actors that are started again, and why.
const RESTARTS: [(&str, &str); 8] = [
    ("contribution", "panic"),
    ("shard", "fenced"),
    ("shard", "log"),
    ("shard", "newer"),
    ("shard", "panic"),
    ("shard", "store"),
    ("shard", "invariant"),
    ("shard", "withdrawal"),
];

/// Why contributions were not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The shard's inbox is at its high-water mark.
    InboxFull,
    /// Too many requests are under way.
    Busy,
    /// The node is being stopped.
    Draining,
    /// The store does not answer.
    StoreUnavailable,
}

impl Admission {
    const ALL: [Self; 4] = [Self::InboxFull, Self::Busy, Self::Draining, Self::StoreUnavailable];

    const fn as_str(self) -> &'static str {
        match self {
            Self::InboxFull => "inbox_full",
            Self::Busy => "busy",
            Self::Draining => "draining",
            Self::StoreUnavailable => "store_unavailable",
        }
    }
}

/// How far a withdrawal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawal {
    /// Its shard took it up.
    Begun,
    /// It reached every journey of its contributor.
    Done,
}

impl Withdrawal {
    const ALL: [Self; 2] = [Self::Begun, Self::Done];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Done => "done",
        }
    }
}

/// Every family, registered.
#[derive(Debug)]
pub struct Families {
    registry: Registry,
    journeys: GaugeVec,
    finished: IntCounterVec,
    journey_seconds: HistogramVec,
    attempts: IntCounterVec,
    stage_wait: HistogramVec,
    stage_run: HistogramVec,
    oldest: GaugeVec,
    waits: CounterVec,
    stage_paused: GaugeVec,
    circuit_open: GaugeVec,
    quarantined: GaugeVec,
    restarts: IntCounterVec,
    commit_seconds: HistogramVec,
    commit_items: HistogramVec,
    store_errors: IntCounterVec,
    fenced: IntCounter,
    shards_owned: Gauge,
    trace_entries: GaugeVec,
    trace_published: Gauge,
    payouts: IntCounterVec,
    payouts_unknown: GaugeVec,
    money: GaugeVec,
    withdrawals: IntCounterVec,
    refused: IntCounterVec,
    violations: IntCounterVec,
    build: GaugeVec,
}

/// Makes families in one registry.
struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn register<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let made = made.expect("names, labels and buckets are constants of this file");
        self.0.register(Box::new(made.clone())).expect("every name stands once in this file");
        made
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.register(GaugeVec::new(Opts::new(name, help).namespace(NAMESPACE), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> Gauge {
        self.register(Gauge::with_opts(Opts::new(name, help).namespace(NAMESPACE)))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(Opts::new(name, help).namespace(NAMESPACE), labels))
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
        let options = HistogramOpts::new(name, help).namespace(NAMESPACE);
        self.register(HistogramVec::new(options.buckets(buckets.to_vec()), labels))
    }
}

impl Families {
    /// Every family, without series yet.
    #[rustfmt::skip]
    pub(super) fn new() -> Self {
        let registry = Registry::new();
        let make = Maker(&registry);
        let waits = Opts::new("wait_seconds_total",
            "Time that journeys waited, by stage and cause, in seconds; its rate is how many wait.");
        Self {
            journeys: make.gauges("journeys",
                "Journeys by state, as last surveyed.", &["state"]),
            finished: make.counters("journeys_finished_total",
                "Journeys that came to an end.", &["workflow", "outcome"]),
            journey_seconds: make.histograms("journey_seconds",
                "From intake to the end.", &["workflow", "outcome"], &JOURNEY),
            attempts: make.counters("stage_attempts_total",
                "Attempts of a stage, by what they came to.", &["stage", "result"]),
            stage_wait: make.histograms("stage_wait_seconds",
                "Time in the queue of a stage's pool.", &["stage"], &WAIT),
            stage_run: make.histograms("stage_run_seconds",
                "From an attempt's start to its end.", &["stage"], &WORK),
            oldest: make.gauges("stage_oldest_timestamp_seconds",
                "Since when the oldest journey is at a stage, without those that a person or the \
                 stage itself lets wait; 0: none is there.", &["stage"]),
            waits: make.register(CounterVec::new(waits.namespace(NAMESPACE), &["stage", "cause"])),
            stage_paused: make.gauges("stage_paused",
                "1: an operator paused the stage.", &["stage"]),
            circuit_open: make.gauges("circuit_open",
                "1: the stage's downstream is down, single attempts probe it.", &["stage"]),
            quarantined: make.gauges("quarantined",
                "Journeys that wait for an operator, as last surveyed.", &["stage", "cause"]),
            restarts: make.counters("actor_restarts_total",
                "Actors that ended by a panic or an error, and were started again.",
                &["kind", "reason"]),
            commit_seconds: make.histograms("commit_seconds",
                "From sending a commit to the store's answer.", &[], &WORK),
            commit_items: make.histograms("commit_items",
                "Journeys in one commit.", &[], &ITEMS),
            store_errors: make.counters("store_errors_total",
                "Calls that the store did not do.", &["op", "kind"]),
            fenced: make.register(IntCounter::with_opts(Opts::new("fenced_writes_total",
                "Commits refused for an older epoch or another owner.").namespace(NAMESPACE))),
            shards_owned: make.gauge("shards_owned",
                "Shards that run on this node."),
            trace_entries: make.gauges("trace_entries",
                "Entries of the public log.", &["which"]),
            trace_published: make.gauge("trace_published_timestamp_seconds",
                "When this node last published a checkpoint; 0: never."),
            payouts: make.counters("payouts_total",
                "Final answers of a rail.", &["rail", "result"]),
            payouts_unknown: make.gauges("payouts_unknown",
                "Payouts under way whose fate is unknown: the rail is asked.", &["rail"]),
            money: make.gauges("money_micro",
                "Balances of the shards of this node, in micro-units, as last surveyed.",
                &["currency", "account"]),
            withdrawals: make.counters("withdrawals_total",
                "Withdrawals that a shard took up, and that reached every journey.", &["phase"]),
            refused: make.counters("admission_refused_total",
                "Contributions that were not let in.", &["reason"]),
            violations: make.counters("invariant_violations_total",
                "Promises seen broken: a person must look.", &["invariant"]),
            build: make.gauges("build_info",
                "Always 1.", &["version"]),
            registry,
        }
    }

    /// Every series of families that need no handle, with zero.
    pub(super) fn zero(&self, currencies: impl Iterator<Item = Currency>) {
        for state in STATES {
            self.journeys.with_label_values(&[state]).set(0.0);
        }
        for (kind, reason) in RESTARTS {
            self.restarted(kind, reason);
        }
        for op in store::OPS {
            for kind in store::KINDS {
                self.store_errors.with_label_values(&[op, kind]);
            }
        }
        for phase in Withdrawal::ALL {
            self.withdrawal(phase);
        }
        for why in Admission::ALL {
            self.refused(why);
        }
        for invariant in Invariant::ALL {
            self.violated(invariant);
        }
        for currency in currencies {
            for account in Account::ALL {
                self.money.with_label_values(&[currency.as_str(), account.as_str()]).set(0.0);
            }
        }
        self.log(0, 0);
        self.build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
    }

    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    pub(super) fn stage(&self, name: &str) -> StageMetrics {
        let attempt = |result: Attempt| self.attempts.with_label_values(&[name, result.as_str()]);
        let wait = |wait: Wait| (wait, self.waits.with_label_values(&[name, wait.as_str()]));
        let cause =
            |cause: Cause| (cause, self.quarantined.with_label_values(&[name, cause.as_str()]));
        StageMetrics {
            attempts: Attempt::ALL.map(attempt),
            wait: self.stage_wait.with_label_values(&[name]),
            run: self.stage_run.with_label_values(&[name]),
            oldest: self.oldest.with_label_values(&[name]),
            waits: Wait::ALL.into_iter().map(wait).collect(),
            paused: self.stage_paused.with_label_values(&[name]),
            circuit: self.circuit_open.with_label_values(&[name]),
            quarantined: Cause::ALL.into_iter().filter(|c| c.is_quarantine()).map(cause).collect(),
        }
    }

    pub(super) fn ends(&self, workflow: &str) -> Ends {
        let of = |outcome: &str| {
            let labels = [workflow, outcome];
            let seconds = self.journey_seconds.with_label_values(&labels);
            (self.finished.with_label_values(&labels), seconds)
        };
        Ends { settled: of("settled"), rejected: of("rejected"), withdrawn: of("withdrawn") }
    }

    pub(super) fn rail(&self, rail: &str) -> RailMetrics {
        let of = |result: PayoutResult| self.payouts.with_label_values(&[rail, result.as_str()]);
        RailMetrics {
            results: PayoutResult::ALL.map(of),
            unknown: self.payouts_unknown.with_label_values(&[rail]),
        }
    }

    pub(super) fn commit_seconds(&self) -> Histogram {
        self.commit_seconds.with_label_values::<&str>(&[])
    }

    pub(super) fn commit_items(&self) -> Histogram {
        self.commit_items.with_label_values::<&str>(&[])
    }

    pub(super) fn refused(&self, why: Admission) -> IntCounter {
        self.refused.with_label_values(&[why.as_str()])
    }

    pub(super) fn violated(&self, invariant: Invariant) -> IntCounter {
        self.violations.with_label_values(&[invariant.as_str()])
    }

    pub(super) fn withdrawal(&self, phase: Withdrawal) -> IntCounter {
        self.withdrawals.with_label_values(&[phase.as_str()])
    }

    pub(super) fn restarted(&self, kind: &str, reason: &str) -> IntCounter {
        self.restarts.with_label_values(&[kind, reason])
    }

    pub(super) fn log(&self, sequenced: u64, published: u64) {
        self.trace_entries.with_label_values(&["sequenced"]).set(sequenced as f64);
        self.trace_entries.with_label_values(&["published"]).set(published as f64);
    }

    pub(super) fn published(&self, at: Timestamp) {
        self.trace_published.set(at.0 as f64 / 1_000.0);
    }

    pub(super) fn store_failed(&self, op: &str, error: &StoreError) {
        self.store_errors.with_label_values(&[op, store::kind(error)]).inc();
        if op == store::COMMIT && matches!(error, StoreError::Fenced { .. }) {
            self.fenced.inc();
        }
    }

    pub(super) fn show(&self, survey: &Survey) {
        self.shards_owned.set(survey.shards as f64);
        for (state, count) in STATES.into_iter().zip(survey.states()) {
            self.journeys.with_label_values(&[state]).set(count as f64);
        }
        for (currency, account, micro) in survey.money.balances() {
            let balance = self.money.with_label_values(&[currency.as_str(), account.as_str()]);
            balance.set(micro as f64);
        }
    }
}
