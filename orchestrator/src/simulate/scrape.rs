//! What nodes say of themselves in Prometheus' text format: how many journeys ended, how long their log
//! is, and how long stages took.

use crate::client::{self, Client};
use gristmill_actors::metrics::{Metrics, Unrendered};
use serde::Serialize;
use std::collections::BTreeMap;

/// Why nothing is known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A node does not show it.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// The metrics of this process do not render.
    #[error(transparent)]
    Render(#[from] Unrendered),
    /// Text that is not in the format.
    #[error("metrics without a number: {line:?}")]
    Unreadable {
        /// The line.
        line: String,
    },
}

/// What one or more nodes say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scrape {
    /// Journeys that settled.
    pub settled: u64,
    /// Journeys that were rejected or withdrawn.
    pub refused: u64,
    /// Entries of the log that have an index, by the node that knows most.
    pub sequenced: u64,
    /// Entries under the published checkpoint, by the node that knows most.
    pub published: u64,
    /// Promises seen broken.
    pub violations: u64,
    /// How often shards were loaded again: what a commit under way ended then is counted nowhere.
    pub reloads: u64,
    runs: BTreeMap<String, Buckets>,
    waits: BTreeMap<String, Buckets>,
}

/// A histogram: how many there are up to each bound, in seconds, and their sum.
#[derive(Debug, Clone, Default, PartialEq)]
struct Buckets {
    up_to: Vec<(f64, u64)>,
    count: u64,
    sum_s: f64,
}

/// How long one stage took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageTimes {
    /// Its name.
    pub stage: String,
    /// One attempt.
    pub run: Spread,
    /// In the queue of its pool; nobody waits for a stage without one.
    pub wait: Spread,
}

/// A histogram in short, in milliseconds. Percentiles are read off a line between the bounds of a
/// bucket, as Prometheus' `histogram_quantile` does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Spread {
    /// How many.
    pub count: u64,
    /// Their mean.
    pub mean_ms: f64,
    /// Half took at most this.
    pub p50_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
}

impl Scrape {
    /// What a node in this process says.
    ///
    /// # Errors
    /// [`Error::Render`]: there is no such thing.
    pub fn of(metrics: &Metrics) -> Result<Self, Error> {
        Self::parse(&metrics.render()?)
    }

    /// What the node behind a client says.
    ///
    /// # Errors
    /// [`Error`] if it does not answer, or shows something else.
    pub(crate) async fn of_node(client: &Client) -> Result<Self, Error> {
        Self::parse(&client.text("/metrics").await?)
    }

    /// What the nodes behind these clients say together.
    ///
    /// # Errors
    /// [`Error`] of the first that does not say it.
    pub(crate) async fn of_nodes(clients: &[Client]) -> Result<Self, Error> {
        let mut all = Self::default();
        for client in clients {
            all.add(&Self::of_node(client).await?);
        }
        Ok(all)
    }

    /// Reads the text; families that nobody asks for are passed over.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if a value of one that is asked for is no number.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut scrape = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Some(name) = series.strip_prefix("gristmill_") else { continue };
            let unreadable = |_| Error::Unreadable { line: line.to_owned() };
            let value: f64 = value.parse().map_err(unreadable)?;
            let (name, labels) = name.split_once('{').unwrap_or((name, ""));
            scrape.note(name, labels, value);
        }
        Ok(scrape)
    }

    fn note(&mut self, name: &str, labels: &str, value: f64) {
        let count = value as u64;
        match name {
            "journeys_finished_total" if labels.contains("outcome=\"settled\"") => {
                self.settled += count;
            }
            "journeys_finished_total" => self.refused += count,
            "trace_entries" if labels.contains("which=\"sequenced\"") => self.sequenced = count,
            "trace_entries" => self.published = count,
            "invariant_violations_total" => self.violations += count,
            "actor_restarts_total" if labels.contains("kind=\"shard\"") => self.reloads += count,
            _ => {
                let of = |family| name.strip_prefix(family).map(|part| (family, part));
                let family = of("stage_run_seconds_").or_else(|| of("stage_wait_seconds_"));
                let stage = label(labels, "stage");
                if let (Some((family, part)), Some(stage)) = (family, stage) {
                    let runs = family == "stage_run_seconds_";
                    let all = if runs { &mut self.runs } else { &mut self.waits };
                    all.entry(stage.to_owned()).or_default().note(part, labels, value);
                }
            }
        }
    }

    /// Takes in what another node says.
    pub fn add(&mut self, other: &Self) {
        self.settled += other.settled;
        self.refused += other.refused;
        self.violations += other.violations;
        self.reloads += other.reloads;
        // Nodes that share a log count the same entries.
        self.sequenced = self.sequenced.max(other.sequenced);
        self.published = self.published.max(other.published);
        for (mine, theirs) in [(&mut self.runs, &other.runs), (&mut self.waits, &other.waits)] {
            for (stage, buckets) in theirs {
                mine.entry(stage.clone()).or_default().add(buckets);
            }
        }
    }

    /// How long each stage took that was run at all, by name.
    #[must_use]
    pub fn stages(&self) -> Vec<StageTimes> {
        let ran = self.runs.iter().filter(|(_, runs)| runs.count > 0);
        let times = |(stage, runs): (&String, &Buckets)| StageTimes {
            stage: stage.clone(),
            run: runs.spread(),
            wait: self.waits.get(stage).map(Buckets::spread).unwrap_or_default(),
        };
        ran.map(times).collect()
    }
}

/// The value of a label.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = labels.split_once(&format!("{name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

impl Buckets {
    fn note(&mut self, part: &str, labels: &str, value: f64) {
        match part {
            "sum" => self.sum_s = value,
            "count" => self.count = value as u64,
            _ => {
                let bound = label(labels, "le").and_then(|bound| bound.parse().ok());
                self.up_to.extend(bound.map(|bound| (bound, value as u64)));
            }
        }
    }

    /// All nodes have the same bounds.
    fn add(&mut self, other: &Self) {
        if self.up_to.is_empty() {
            *self = other.clone();
            return;
        }
        for ((_, mine), (_, theirs)) in self.up_to.iter_mut().zip(&other.up_to) {
            *mine += theirs;
        }
        self.count += other.count;
        self.sum_s += other.sum_s;
    }

    fn spread(&self) -> Spread {
        let mean_ms = self.sum_s * 1000.0 / self.count.max(1) as f64;
        Spread { count: self.count, mean_ms, p50_ms: self.at(0.5), p99_ms: self.at(0.99) }
    }

    /// A percentile in milliseconds; beyond the last bound that bound.
    fn at(&self, quantile: f64) -> f64 {
        let rank = quantile * self.count as f64;
        let (mut below, mut from) = (0, 0.0);
        for (bound, up_to) in &self.up_to {
            if bound.is_infinite() {
                break;
            }
            if *up_to as f64 >= rank {
                let inside = up_to.saturating_sub(below).max(1) as f64;
                return (from + (bound - from) * (rank - below as f64) / inside) * 1000.0;
            }
            (below, from) = (*up_to, *bound);
        }
        from * 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# HELP gristmill_journeys_finished_total Journeys that came to an end.
# TYPE gristmill_journeys_finished_total counter
gristmill_journeys_finished_total{outcome=\"rejected\",workflow=\"w\"} 1
gristmill_journeys_finished_total{outcome=\"settled\",workflow=\"v\"} 2
gristmill_journeys_finished_total{outcome=\"settled\",workflow=\"w\"} 3
gristmill_stage_run_seconds_bucket{stage=\"trace\",le=\"0.001\"} 0
gristmill_stage_run_seconds_bucket{stage=\"trace\",le=\"0.003\"} 10
gristmill_stage_run_seconds_bucket{stage=\"trace\",le=\"+Inf\"} 10
gristmill_stage_run_seconds_sum{stage=\"trace\"} 0.02
gristmill_stage_run_seconds_count{stage=\"trace\"} 10
gristmill_stage_run_seconds_count{stage=\"payout\"} 0
gristmill_trace_entries{which=\"published\"} 8
gristmill_trace_entries{which=\"sequenced\"} 9
gristmill_invariant_violations_total{invariant=\"I1\"} 0
other_total 1
";

    #[test]
    fn ends_entries_and_stages_are_read() {
        let scrape = Scrape::parse(TEXT).unwrap();
        assert_eq!((scrape.settled, scrape.refused), (5, 1));
        assert_eq!((scrape.sequenced, scrape.published, scrape.violations), (9, 8, 0));
        let stages = scrape.stages();
        assert_eq!(stages.len(), 1);
        let Spread { count, mean_ms, p50_ms, p99_ms } = stages[0].run;
        assert_eq!((stages[0].stage.as_str(), count), ("trace", 10));
        for (is, ought) in [(mean_ms, 2.0), (p50_ms, 2.0), (p99_ms, 2.98)] {
            assert!((is - ought).abs() < 1e-9, "{is} is not {ought}");
        }
        assert_eq!(stages[0].wait, Spread::default());
    }

    #[test]
    fn nodes_that_share_a_log_are_one_log_and_their_ends_add_up() {
        let mut all = Scrape::parse(TEXT).unwrap();
        all.add(&Scrape::parse(TEXT).unwrap());
        assert_eq!((all.settled, all.refused, all.sequenced), (10, 2, 9));
        assert_eq!(all.stages()[0].run.count, 20);
        assert!((all.stages()[0].run.p50_ms - 2.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_no_number_is_told() {
        let line = "gristmill_journeys_finished_total{outcome=\"settled\"} many";
        assert!(Scrape::parse(line).unwrap_err().to_string().contains("many"));
    }
}
