//! Arguments of `simulate`.

use super::Output;
use crate::redis_store::Durability;
use crate::simulate::curve::Profile;
use crate::simulate::fault::Fault;
use crate::simulate::limits::{CONTRIBUTIONS_MAX, CONTRIBUTORS_MAX, NODES_MAX, SLO_MS_MAX};
use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `simulate`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Simulate {
    /// `audit`
    #[command(subcommand)]
    pub verb: Option<SimulateVerb>,
    /// Drive a node in this process, over a data directory of its own.
    #[arg(long, required_unless_present_any = ["url", "nodes", "virtual_time"],
        conflicts_with = "url")]
    pub embedded: bool,
    /// Drive a node in this process on a paused clock, with store, log and rail in memory: whole
    /// days in seconds. Nothing is written.
    #[arg(long = "virtual",
        conflicts_with_all = ["url", "nodes", "embedded", "data_dir", "rail"])]
    pub virtual_time: bool,
    /// How long calls last in virtual time.
    #[command(flatten)]
    pub calls: Calls,
    /// Drive the node that runs at this address, http://host:port. Given more than once: lines go to
    /// the nodes in turn.
    #[arg(long)]
    pub url: Vec<String>,
    /// Start so many nodes, each in a process of its own, and drive them over HTTP.
    #[arg(long, conflicts_with_all = ["url", "embedded", "rail"],
        value_parser = clap::value_parser!(u64).range(1..=NODES_MAX))]
    pub nodes: Option<u64>,
    /// Start a Redis server for them: always or everysec. Without it there is one node, on an
    /// embedded store.
    #[arg(long, requires = "nodes", conflicts_with_all = ["url", "embedded", "virtual_time"])]
    pub redis: Option<Durability>,
    /// What goes wrong when: kill-node@30s, rail-down=10s@30s, stop-redis=2s@30s. May be repeated.
    #[arg(long, conflicts_with = "url")]
    pub fault: Vec<Fault>,
    /// A file with an API key for it. Default: the key itself in `GRISTMILL_API_KEY`.
    #[arg(long, requires = "url", conflicts_with_all = ["nodes", "embedded", "virtual_time"])]
    pub api_key_file: Option<PathBuf>,
    /// People. Default: as many as rate and duration need, or 1000.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=CONTRIBUTORS_MAX))]
    pub contributors: Option<u64>,
    /// What everything is drawn from: the same seed makes the same people do the same.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Contributions a second, on average. Without it all contributors come within --duration;
    /// without either: 1000.
    #[arg(long, value_parser = positive)]
    pub rate: Option<f64>,
    /// How long to drive, as 90s, 10m or 2h. With --rate nothing is handed in after it.
    #[arg(long, value_parser = duration_ms)]
    pub duration: Option<u64>,
    /// How the rate goes over the run.
    #[arg(long, value_enum, default_value = "flat")]
    pub profile: Profile,
    /// How many times faster than its own time a profile runs: a day at 144 takes 10 minutes.
    #[arg(long, default_value_t = 1.0, value_parser = positive, conflicts_with = "duration")]
    pub time_scale: f64,
    /// Consenting people who take consent back in a storm of withdrawals.
    #[arg(long, default_value_t = 0.5, value_parser = share)]
    pub storm: f64,
    /// A ramp breaks where 1 of 100 answers is later than so many milliseconds.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=SLO_MS_MAX))]
    pub slo_ms: u64,
    /// The prefix of every contributor's name; default: the seed and the time, with --virtual the
    /// seed alone.
    #[arg(long, value_parser = run_name)]
    pub run: Option<String>,
    /// How people behave.
    #[command(flatten)]
    pub habits: Habits,
    /// Where.
    #[command(flatten)]
    pub place: SimulatePlace,
    /// Write the report to this file: a page if it ends in .html, else JSON. May be repeated.
    #[arg(long)]
    pub report: Vec<PathBuf>,
    /// How.
    #[arg(long, value_enum, default_value = "table")]
    pub output: Output,
}

/// What a run by the machine's clock is asked for with.
const NOT_VIRTUAL: [&str; 3] = ["embedded", "url", "nodes"];

/// How long calls last in virtual time.
#[derive(Debug, Clone, Copy, Args)]
pub struct Calls {
    /// With --virtual: how long a call of the store lasts on average, in milliseconds.
    #[arg(long, default_value_t = 2, conflicts_with_all = NOT_VIRTUAL, value_parser = call_ms())]
    pub store_ms: u64,
    /// With --virtual: how long a call of the log's objects lasts on average.
    #[arg(long, default_value_t = 5, conflicts_with_all = NOT_VIRTUAL, value_parser = call_ms())]
    pub log_ms: u64,
    /// With --virtual: how long a call of the rail lasts on average.
    #[arg(long, default_value_t = 30, conflicts_with_all = NOT_VIRTUAL, value_parser = call_ms())]
    pub rail_ms: u64,
    /// With --virtual: how long measuring one medium lasts on average.
    #[arg(long, default_value_t = 20, conflicts_with_all = NOT_VIRTUAL, value_parser = call_ms())]
    pub measure_ms: u64,
}

/// Up to a minute.
fn call_ms() -> RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(0..=60_000)
}

/// Where a simulation runs.
#[derive(Debug, Clone, Args)]
pub struct SimulatePlace {
    /// The data directory; none that a simulation was run on already.
    #[arg(long, default_value = ".gristmill-simulation")]
    pub data_dir: PathBuf,
    /// A configuration file (TOML).
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// A folder of programs instead of the shipped ones.
    #[arg(long)]
    pub programs: Option<PathBuf>,
    /// A running rail's address; default: an own sandbox rail.
    #[arg(long)]
    pub rail: Option<String>,
}

/// How people behave. Shares are from 0 to 1.
#[derive(Debug, Clone, Args)]
pub struct Habits {
    /// The program that people without media hand in to; it has a task without media.
    #[arg(long, default_value = "engine")]
    pub program: String,
    /// The program that people with media hand in to; it has a task for each kind of theirs.
    #[arg(long, default_value = "seoul")]
    pub media_program: String,
    /// People who hand in voice clips; together with --photo and --video at most 1.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub voice: f64,
    /// People who hand in photos.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub photo: f64,
    /// People who hand in videos.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub video: f64,
    /// Media that do not decode.
    #[arg(long, default_value_t = 0.02, value_parser = share)]
    pub broken: f64,
    /// Media that somebody else handed in before, byte for byte.
    #[arg(long, default_value_t = 0.02, value_parser = share)]
    pub copies: f64,
    /// Contributors who hand in without consent.
    #[arg(long, default_value_t = 0.01, value_parser = share)]
    pub no_consent: f64,
    /// Contributors who take consent back: a third each before, during and after.
    #[arg(long, default_value_t = 0.02, value_parser = share)]
    pub withdrawals: f64,
    /// Contributions handed in twice, byte for byte.
    #[arg(long, default_value_t = 0.02, value_parser = share)]
    pub duplicates: f64,
    /// Contributions whose key is used again with another body.
    #[arg(long, default_value_t = 0.005, value_parser = share)]
    pub conflicts: f64,
    /// Contributions with a line beside them that must be refused.
    #[arg(long, default_value_t = 0.005, value_parser = share)]
    pub poison: f64,
    /// Exponent of the power law of contributions a contributor.
    #[arg(long, default_value_t = 2.0, value_parser = positive)]
    pub exponent: f64,
    /// Where the power law's exponential cutoff sets in, in contributions.
    #[arg(long, default_value_t = 200.0, value_parser = positive)]
    pub cutoff: f64,
    /// Most contributions of one contributor; 1: one each.
    #[arg(long, default_value_t = 1_000,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(CONTRIBUTIONS_MAX)))]
    pub contributions_max: u32,
    /// How long a contributor hands in, as 500ms or 5s.
    #[arg(long, default_value = "5s", value_parser = duration_ms)]
    pub session: u64,
}

/// What else `simulate` does.
#[derive(Debug, Subcommand)]
pub enum SimulateVerb {
    /// Ask the auditor again, of a data directory that a simulation was run on.
    Audit {
        /// Where.
        #[command(flatten)]
        place: SimulatePlace,
        /// How.
        #[arg(long, value_enum, default_value = "table")]
        output: Output,
    },
    /// Compare two JSON reports.
    Compare {
        /// The one that is compared with.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// End with 1 if the second is worse by more than so many percent in any figure.
        #[arg(long, value_parser = positive)]
        worse_by: Option<f64>,
    },
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let fits = (0.0..=1.0).contains(&share);
    fits.then_some(share).ok_or_else(|| "a share is from 0 to 1".to_owned())
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let fits = number.is_finite() && number > 0.0;
    fits.then_some(number).ok_or_else(|| "must be above 0".to_owned())
}

/// A name that needs no escaping in JSON and leaves room for an index.
fn run_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let fits = (1..=64).contains(&text.len()) && text.chars().all(plain);
    fits.then(|| text.to_owned()).ok_or_else(|| "1 to 64 of A-Z a-z 0-9 - _ .".to_owned())
}

/// A duration in milliseconds.
pub(crate) fn duration_ms(text: &str) -> Result<u64, String> {
    let wrong = || "a duration is a number with ms, s, m, h or d: 90s".to_owned();
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    let ms = number.checked_mul(unit).filter(|ms| *ms > 0);
    ms.ok_or_else(|| "must be above 0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration_ms("90s"), Ok(90_000));
        assert_eq!(duration_ms("250ms"), Ok(250));
        assert_eq!(duration_ms("2h"), Ok(7_200_000));
        for wrong in ["", "90", "s", "0s", "1w", "-1s", "99999999999999999999d"] {
            assert!(duration_ms(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn shares_and_names_are_checked() {
        assert_eq!(share("0.5"), Ok(0.5));
        assert!(share("1.1").is_err() && share("NaN").is_err() && positive("0").is_err());
        assert!(run_name("a-1").is_ok() && run_name("").is_err() && run_name("a\"").is_err());
    }
}
