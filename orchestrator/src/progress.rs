//! Live progress on standard error: one line that renews itself on a terminal, plain lines
//! otherwise.

use gristmill_actors::node::{Glance, Node};
use std::io::{IsTerminal, Write};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// How often a terminal is renewed.
const TERMINAL_EVERY: Duration = Duration::from_millis(250);
/// How often a plain line is written.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// Shows how far a node has come with `expected` journeys, until it is dropped or aborted.
pub async fn show(node: &Node, expected: u64) {
    let terminal = std::io::stderr().is_terminal();
    let every = if terminal { TERMINAL_EVERY } else { PLAIN_EVERY };
    let start = Instant::now();
    let begun = done(&node.glance());
    loop {
        tokio::time::sleep(every).await;
        let line = line(node, start.elapsed(), begun, expected);
        let mut out = std::io::stderr().lock();
        let (before, after) = if terminal { ("\r\x1b[2K", "") } else { ("", "\n") };
        if write!(out, "{before}{line}{after}").and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}

fn done(glance: &Glance) -> u64 {
    glance.settled + glance.refused
}

fn line(node: &Node, elapsed: Duration, begun: u64, expected: u64) -> String {
    let glance = node.glance();
    let counters = &node.engine().counters;
    let finished = done(&glance).saturating_sub(begun);
    let rate = finished as f64 / elapsed.as_secs_f64().max(0.001);
    let left = expected.saturating_sub(finished);
    let eta = if rate > 0.0 { format!("{:.0} s", left as f64 / rate) } else { "?".to_owned() };
    format!(
        "settled {} · refused {} · moving {} · parked {} · paused {} · log {}/{} · {rate:.0}/s · \
         left about {eta}",
        glance.settled,
        glance.refused,
        glance.moving,
        counters.parked.load(Ordering::Relaxed),
        counters.paused.load(Ordering::Relaxed),
        glance.log.published,
        glance.log.sequenced,
    )
}
