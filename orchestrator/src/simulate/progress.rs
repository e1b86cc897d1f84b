//! Live progress of a simulation on standard error, and the samples of its intervals.

use super::driver::Driver;
use super::resources::Resources;
use crate::run::say;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// How often it is sampled.
const EVERY: Duration = Duration::from_millis(500);
/// Samples between two plain lines.
const PLAIN: u32 = 10;

/// Where a node stands.
#[derive(Debug, Clone, Copy, Default)]
pub struct Standing {
    /// Journeys that settled since the start.
    pub settled: u64,
    /// Journeys that were rejected or withdrawn since the start.
    pub refused: u64,
}

/// Samples an interval so often, on a clock that does not follow the machine's.
const SAMPLES: u64 = 4;
/// On such a clock, between two lines.
const LINES_EVERY: Duration = Duration::from_secs(5);

/// Samples and shows until it is dropped, on a clock that runs ahead of the machine's.
pub async fn show_ahead(driver: &Driver, standing: impl Fn() -> Option<Standing>) {
    let every = Duration::from_millis((driver.measured().interval_ms() / SAMPLES).max(1));
    let mut said = std::time::Instant::now();
    loop {
        tokio::time::sleep(every).await;
        let line = sample(driver, standing());
        if said.elapsed() >= LINES_EVERY {
            said = std::time::Instant::now();
            say(&line);
        }
    }
}

/// Samples and shows until it is dropped.
pub async fn show(driver: &Driver, standing: impl Fn() -> Option<Standing>) {
    let terminal = std::io::stderr().is_terminal();
    let mut samples = 0u32;
    loop {
        tokio::time::sleep(EVERY).await;
        samples = samples.wrapping_add(1);
        let line = sample(driver, standing());
        if terminal {
            let mut out = std::io::stderr().lock();
            if write!(out, "\r\x1b[K{line}").and_then(|()| out.flush()).is_err() {
                tracing::debug!("standard error is closed");
            }
        } else if samples.is_multiple_of(PLAIN) {
            say(&line);
        }
    }
}

/// Notes how it stands, and tells it in a line.
fn sample(driver: &Driver, standing: Option<Standing>) -> String {
    let (now, late) = (driver.now_us(), driver.late_ms());
    let memory = Resources::now().memory_kib;
    let mut measured = driver.measured();
    let finished = standing.map(|standing| standing.settled + standing.refused);
    measured.stands(now, late, finished, memory);
    let (lately, counts) = (measured.lately(), &measured.counts);
    let submitted = counts.submitted;
    let under_way = finished.map_or(0, |finished| submitted.saturating_sub(finished));
    let told = standing.map_or_else(String::new, |standing| {
        let Standing { settled, refused } = standing;
        format!(" · settled {settled} · refused {refused} · under way {under_way}")
    });
    let rate = submitted as f64 / (now as f64 / 1e6).max(0.001);
    format!(
        "{} s · submitted {submitted} · {rate:.0}/s{told} · late {late} ms · p50/p99 \
         {:.1}/{:.1} ms · again later {}",
        now / 1_000_000,
        lately.p50 as f64 / 1e3,
        lately.p99 as f64 / 1e3,
        counts.refused.values().sum::<u64>()
    )
}
