//! What every load program does: warm up, measure for a while, and say what came out.

use std::error::Error;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How the load comes.
#[derive(Debug, Clone, Copy)]
pub enum Load {
    /// So many items are under way at any time.
    InFlight(usize),
    /// So many items a second come, whatever is under way.
    Rate(f64),
}

/// What is asked of a load program.
#[derive(Debug, Clone, Copy)]
pub struct Task {
    pub load: Load,
    warm: Duration,
    measured: Duration,
}

impl Task {
    /// Reads `--in-flight N` or `--rate R`, `--warm SECONDS` and `--seconds SECONDS`.
    pub fn from_arguments() -> Result<Self, Box<dyn Error>> {
        let number = |name: &str| -> Result<Option<f64>, Box<dyn Error>> {
            argument(name).map(|text| Ok(text.parse()?)).transpose()
        };
        let load = match (number("--in-flight")?, number("--rate")?) {
            (Some(items), None) => Load::InFlight(items as usize),
            (None, Some(rate)) => Load::Rate(rate),
            _ => return Err("one of --in-flight and --rate is needed".into()),
        };
        let seconds = |found: Option<f64>, usual| Duration::from_secs_f64(found.unwrap_or(usual));
        let (warm, measured) = (number("--warm")?, number("--seconds")?);
        Ok(Self { load, warm: seconds(warm, 3.0), measured: seconds(measured, 10.0) })
    }
}

/// The value of an argument by its name.
pub fn argument(name: &str) -> Option<String> {
    let mut words = std::env::args().skip_while(|word| word != name);
    words.nth(1)
}

/// Which items were finished when, from now on.
#[derive(Debug)]
pub struct Watch {
    from: Instant,
    to: Instant,
    latencies_us: Mutex<Vec<u32>>,
}

impl Watch {
    pub fn new(task: &Task) -> Self {
        let from = Instant::now() + task.warm;
        Self { from, to: from + task.measured, latencies_us: Mutex::default() }
    }

    /// Whether more is to be handed in.
    pub fn goes_on(&self) -> bool {
        Instant::now() < self.to
    }

    /// An item whose start was intended then is finished now.
    pub fn finished(&self, intended: Instant) {
        let now = Instant::now();
        if now >= self.from && now < self.to {
            let took = now.saturating_duration_since(intended).as_micros();
            let took = u32::try_from(took).unwrap_or(u32::MAX);
            self.latencies_us.lock().unwrap_or_else(PoisonError::into_inner).push(took);
        }
    }

    /// Says when measuring begins, and at its end what was measured. Whoever reads standard output
    /// looks at processor time and memory at these two moments.
    pub async fn tell(&self) -> Result<(), Box<dyn Error>> {
        tokio::time::sleep_until(self.from.into()).await;
        say("{\"at\": \"begin\"}")?;
        tokio::time::sleep_until(self.to.into()).await;
        let seconds = (self.to - self.from).as_secs_f64();
        let mut took = self.latencies_us.lock().unwrap_or_else(PoisonError::into_inner).clone();
        took.sort_unstable();
        let at = |share: f64| {
            let place = (took.len() as f64 * share) as usize;
            took.get(place.min(took.len().saturating_sub(1))).map_or(0.0, |us| f64::from(*us) / 1e3)
        };
        say(&format!(
            "{{\"at\": \"end\", \"items\": {}, \"seconds\": {seconds}, \"p50_ms\": {}, \
             \"p99_ms\": {}}}",
            took.len(),
            at(0.5),
            at(0.99)
        ))
    }
}

fn say(line: &str) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
