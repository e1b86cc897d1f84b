//! Live progress on standard error: two lines that renew themselves on a terminal, plain lines
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

/// Clears what a terminal shows from the cursor on.
const CLEAR: &str = "\r\x1b[J";
/// Back to the first of two lines.
const UP: &str = "\x1b[1A";
/// What is wider than the terminal is cut off instead of taking a line of its own.
const CUT: &str = "\x1b[?7l";
/// It takes one again.
const WRAP: &str = "\x1b[?7h";

/// Takes the progress off a terminal when it is over.
struct Shown {
    terminal: bool,
}

impl Drop for Shown {
    fn drop(&mut self) {
        if self.terminal {
            // Nobody reads any more: there is nothing to clear.
            drop(write!(std::io::stderr(), "{CLEAR}"));
        }
    }
}

/// Shows how far a node has come with `expected` journeys, until it is dropped or aborted.
pub async fn show(node: &Node, expected: u64) {
    let shown = Shown { terminal: std::io::stderr().is_terminal() };
    let every = if shown.terminal { TERMINAL_EVERY } else { PLAIN_EVERY };
    let start = Instant::now();
    let begun = done(&node.glance());
    loop {
        tokio::time::sleep(every).await;
        let (line, stages) = (line(node, start.elapsed(), begun, expected), stages(node));
        let mut out = std::io::stderr().lock();
        let written = if shown.terminal {
            write!(out, "{CLEAR}{CUT}{line}\n{stages}{WRAP}{UP}")
        } else {
            writeln!(out, "{line} · {stages}")
        };
        if written.and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}

fn done(glance: &Glance) -> u64 {
    glance.settled + glance.refused
}

/// What each stage has done since the start.
fn stages(node: &Node) -> String {
    let stages = node.engine().stages_done().into_iter();
    let stages: Vec<String> = stages.map(|(name, done)| format!("{name} {done}")).collect();
    format!("stages done: {}", stages.join(", "))
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
