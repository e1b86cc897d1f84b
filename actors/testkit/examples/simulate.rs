//! Runs the simulator: a range of seeds, one seed as a readable log, or seeds for a while.
//!
//! `simulate` runs `GRISTMILL_TEST_SEEDS` seeds (2,000), `simulate SEED` replays one, `simulate
//! --for 1h` searches on among seeds that nobody has run; `--from SEED` says where either begins.

use gristmill_testkit::simulator::{Options, Report, WANTED_PANIC, simulate};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Seeds of one run, unless the environment says another number.
const SEEDS: u64 = 2_000;
/// Breaches shown of one seed.
const BREACHES_SHOWN: usize = 6;
/// A search ends after this many failures.
const FAILURES_SHOWN: usize = 10;

/// What is asked for.
struct Asked {
    replay: Option<u64>,
    from: u64,
    seeds: u64,
    lasts: Option<Duration>,
    options: Options,
}

#[derive(Default)]
struct Sums {
    seeds: u64,
    events: u64,
    contributions: u64,
    simulated_ms: u64,
    faults: BTreeMap<&'static str, u64>,
    transitions: BTreeMap<String, u64>,
    failures: Vec<(u64, Vec<String>)>,
}

impl Sums {
    fn add(&mut self, report: Report) {
        self.seeds += 1;
        self.events += report.events;
        self.contributions += report.contributions as u64;
        self.simulated_ms += report.simulated_ms;
        for (kind, count) in report.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        for (which, count) in report.transitions {
            *self.transitions.entry(which).or_default() += count;
        }
        if !report.breaches.is_empty() {
            println!("seed {} fails: {} breaches", report.seed, report.breaches.len());
            for breach in report.breaches.iter().take(BREACHES_SHOWN) {
                println!("    {breach}");
            }
            println!("  again: ./tests/run sim {}", report.seed);
            self.failures.push((report.seed, report.breaches));
        }
    }

    fn print(&self, took: Duration) {
        let minutes = took.as_secs_f64() / 60.0;
        let hours = self.simulated_ms as f64 / 3_600_000.0;
        println!("faults:");
        for (kind, count) in &self.faults {
            println!("  {count:>9} {kind}");
        }
        println!("transitions:");
        for (which, count) in &self.transitions {
            println!("  {count:>9} {which}");
        }
        println!(
            "{} seeds in {:.1} s: {:.0} seeds and {:.0} simulated hours a minute, {} contributions, \
             {} events",
            self.seeds,
            took.as_secs_f64(),
            self.seeds as f64 / minutes,
            hours / minutes,
            self.contributions,
            self.events,
        );
        let failed: Vec<String> = self.failures.iter().map(|(seed, _)| seed.to_string()).collect();
        println!("{} failures {}", failed.len(), failed.join(" "));
    }
}

fn main() -> ExitCode {
    quiet_wanted_panics();
    let asked = match asked(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(sentence) => {
            eprintln!("simulate: {sentence}");
            return ExitCode::from(2);
        }
    };
    match asked.replay {
        Some(seed) => replay(seed, asked.options),
        None => search(&asked),
    }
}

fn asked(mut words: impl Iterator<Item = String>) -> Result<Asked, String> {
    let number = |word: Option<String>| {
        let word = word.ok_or("a number is missing")?;
        word.parse::<u64>().map_err(|_| format!("`{word}` is not a number"))
    };
    let seeds = std::env::var("GRISTMILL_TEST_SEEDS").ok();
    let seeds = seeds.map_or(Ok(SEEDS), |word| number(Some(word)))?;
    let mut asked =
        Asked { replay: None, from: 1, seeds, lasts: None, options: Options::default() };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--for" => asked.lasts = Some(lasting(&words.next().unwrap_or_default())?),
            "--from" => asked.from = number(words.next())?,
            "--seeds" => asked.seeds = number(words.next())?,
            "--without-faults" => asked.options.without_faults = true,
            _ => asked.replay = Some(number(Some(word))?),
        }
    }
    Ok(asked)
}

/// `90s`, `10m` or `1h`.
fn lasting(word: &str) -> Result<Duration, String> {
    let wrong = || format!("`{word}` is no duration like 90s, 10m or 1h");
    let unit = word.chars().last().ok_or_else(wrong)?;
    let number: u64 = word[..word.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        _ => return Err(wrong()),
    };
    Ok(Duration::from_secs(number.saturating_mul(seconds)))
}

fn replay(seed: u64, options: Options) -> ExitCode {
    tracing_subscriber::fmt().without_time().with_ansi(false).with_writer(std::io::stdout).init();
    let report = match simulate(seed, options) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("simulate: no runtime: {error}");
            return ExitCode::from(2);
        }
    };
    println!("digest {:016x}, {} events", report.digest, report.events);
    for breach in &report.breaches {
        println!("BREACH {breach}");
    }
    if report.breaches.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn search(asked: &Asked) -> ExitCode {
    let began = Instant::now();
    let next = AtomicU64::new(asked.from);
    let stop = AtomicBool::new(false);
    let sums = Mutex::new(Sums::default());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let over = match asked.lasts {
                        Some(lasts) => began.elapsed() >= lasts,
                        None => seed >= asked.from.saturating_add(asked.seeds),
                    };
                    if over || stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let report = match simulate(seed, asked.options) {
                        Ok(report) => report,
                        Err(error) => {
                            eprintln!("simulate: no runtime: {error}");
                            stop.store(true, Ordering::Relaxed);
                            return;
                        }
                    };
                    let mut sums = sums.lock().unwrap_or_else(PoisonError::into_inner);
                    sums.add(report);
                    if sums.failures.len() >= FAILURES_SHOWN {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let sums = sums.into_inner().unwrap_or_else(PoisonError::into_inner);
    sums.print(began.elapsed());
    let whole = sums.failures.is_empty() && sums.seeds > 0;
    if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Panics that a simulation wants say nothing.
fn quiet_wanted_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let wanted = info.payload().downcast_ref::<String>();
        if wanted.is_none_or(|text| text != WANTED_PANIC) {
            usual(info);
        }
    }));
}
