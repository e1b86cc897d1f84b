//! `gristmill simulate`.

use super::{answer, print};
use crate::app::{Failure, configure};
use crate::cli::{Calls, Habits, Node, Simulate, SimulatePlace, SimulateVerb};
use crate::client::Client;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::redis_store::Durability;
use crate::simulate::compare::{compare, is_report};
use crate::simulate::curve::Profile;
use crate::simulate::embedded::{self, Place};
use crate::simulate::limits::{BREAK_LATE_MS, CONTRIBUTORS_MAX, RECORD_BYTES_MAX};
use crate::simulate::nodes::{self, Nodes};
use crate::simulate::page::page;
use crate::simulate::plan::Plan;
use crate::simulate::population::{MediaShares, Shares};
use crate::simulate::power_law::PowerLaw;
use crate::simulate::report::CallTimes;
use crate::simulate::{record, remote, virtual_time};
use gristmill_actors::ports::Clock;
use gristmill_actors::stage::StageType;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Contributions a second, if nothing says how many.
const RATE: f64 = 1_000.0;
/// People, if nothing says how many.
const PEOPLE: u64 = 1_000;
/// So many times the people that are needed on average stand ready.
const SPARE: f64 = 1.3;

pub(super) async fn command(args: &Simulate, own: &[StageType]) -> Result<u8, Failure> {
    if let Some(SimulateVerb::Compare { first, second, worse_by }) = &args.verb {
        let compared = compare(&read(first)?, &read(second)?, worse_by.unwrap_or(f64::INFINITY));
        print(&compared.lines)?;
        return Ok(u8::from(!compared.ok || !compared.worse.is_empty()));
    }
    if let Some(SimulateVerb::Audit { place, output }) = &args.verb {
        let config = configured(place)?;
        let audited = embedded::again(&of(place, &config, own)).await.map_err(failed)?;
        answer(*output, &audited, &audited.lines())?;
        return Ok(code(audited.ok, audited.tally.quarantined + audited.tally.in_flight));
    }
    let Habits { voice, photo, video, .. } = args.habits;
    if voice + photo + video > 1.0 {
        let text = "--voice, --photo and --video together are at most 1".to_owned();
        return Err(Failure { text, code: 2 });
    }
    check_reports(&args.report)?;
    let config = configured(&args.place)?;
    let place = of(&args.place, &config, own);
    let faults = &args.fault;
    let clients = clients(args)?;
    let report = match args.nodes {
        Some(count) => {
            let nodes = nodes(args, count)?;
            Box::pin(nodes::run(&place, &nodes, plan(args))).await
        }
        None if !clients.is_empty() => {
            let now = SystemClock::new().now().0;
            let programs = config.programs_dir();
            Box::pin(remote::run(&clients, programs, plan(args), now)).await
        }
        None if args.virtual_time => {
            let Calls { store_ms, log_ms, rail_ms, measure_ms } = args.calls;
            let calls = CallTimes { store_ms, log_ms, rail_ms, measure_ms };
            virtual_time::run(&place, faults, calls, plan(args)).await
        }
        None => Box::pin(embedded::run(&place, faults, plan(args))).await,
    };
    let report = report.map_err(failed)?;
    // Whoever reads standard output may have gone: the files are written all the same.
    let answered = answer(args.output, &report, &report.lines());
    for path in &args.report {
        let written = match path.extension().is_some_and(|ending| ending == "html") {
            true => record::write_text(path, page(&report).as_bytes()),
            false => record::write_json(path, &report),
        };
        written.map_err(|error| Failure::new(4, &error))?;
    }
    answered?;
    let tally = &report.audited.tally;
    let code = code(report.ok, tally.quarantined + tally.in_flight);
    Ok(if code == 0 && report.interrupted { 130 } else { code })
}

/// A JSON report.
fn read(path: &Path) -> Result<Value, Failure> {
    let wrong = |error: String| Failure { text: format!("{}: {error}", path.display()), code: 2 };
    let bytes = crate::durable_files::read(path, RECORD_BYTES_MAX);
    let bytes = bytes.map_err(|error| wrong(error.to_string()))?;
    let bytes = bytes.ok_or_else(|| wrong("there is no such file".to_owned()))?;
    let json = serde_json::from_slice(&bytes);
    let json = json.map_err(|error| wrong(format!("no report: {error}")))?;
    match is_report(&json) {
        true => Ok(json),
        false => Err(wrong("JSON, but no report of a simulation".to_owned())),
    }
}

/// Refuses before an hour of driving what could not be written after it.
fn check_reports(paths: &[PathBuf]) -> Result<(), Failure> {
    for path in paths {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if folder.is_some_and(|folder| !folder.is_dir()) || path.is_dir() {
            let text =
                format!("--report {}: there is no such folder, or it is one", path.display());
            return Err(Failure { text, code: 2 });
        }
    }
    Ok(())
}

/// The nodes behind the addresses that are named.
fn clients(args: &Simulate) -> Result<Vec<Client>, Failure> {
    let of = |url: &String| {
        let node = Node {
            url: Some(url.clone()),
            api_key_file: args.api_key_file.clone(),
            data_dir: None,
            config: None,
            programs: None,
        };
        Client::of(&node)
    };
    let clients = args.url.iter().map(of).collect::<Result<Vec<_>, _>>()?;
    Ok(clients.into_iter().flatten().collect())
}

/// Nodes of its own.
fn nodes(args: &Simulate, count: u64) -> Result<Nodes<'_>, Failure> {
    let usage = |text: &str| Failure { text: text.to_owned(), code: 2 };
    if count > 1 && args.redis.is_none() {
        return Err(usage("--nodes: more than one need --redis: an embedded store is one node's"));
    }
    if matches!(args.redis, Some(Durability::Replicated(_))) {
        return Err(usage("--redis: always or everysec"));
    }
    Ok(Nodes {
        count: usize::try_from(count).unwrap_or(usize::MAX),
        redis: args.redis,
        config: args.place.config.as_deref(),
        programs: args.place.programs.as_deref(),
        faults: &args.fault,
    })
}

fn configured(place: &SimulatePlace) -> Result<Config, Failure> {
    configure(place.config.as_deref(), place.programs.as_deref())
}

fn of<'a>(place: &'a SimulatePlace, config: &'a Config, own: &'a [StageType]) -> Place<'a> {
    Place { config, own, data_dir: &place.data_dir, rail: place.rail.as_deref() }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn failed(error: embedded::Error) -> Failure {
    Failure::new(error.exit_code(), &error)
}

fn code(ok: bool, standing: u64) -> u8 {
    match (ok, standing) {
        (false, _) => 1,
        (true, 0) => 0,
        (true, _) => 3,
    }
}

fn plan(args: &Simulate) -> Plan {
    let habits = &args.habits;
    let now = SystemClock::new().now().0;
    // Runs by the machine's clock may follow each other on one node; one in virtual time repeats.
    let run = match args.virtual_time {
        true => format!("s{}", args.seed),
        false => format!("s{}-{now:x}", args.seed),
    };
    let length = args.profile.length_ms().map(|ms| (ms as f64 / args.time_scale) as u64);
    let mut plan = Plan {
        seed: args.seed,
        run: args.run.clone().unwrap_or(run),
        program: habits.program.clone(),
        media_program: habits.media_program.clone(),
        contributors: args.contributors.unwrap_or(PEOPLE),
        profile: args.profile,
        rate: args.rate.unwrap_or(RATE),
        end_ms: args.duration.or(length),
        session_ms: habits.session,
        storm: args.storm,
        slo_ms: args.slo_ms,
        late_max_ms: (args.profile == Profile::Breakpoint).then_some(BREAK_LATE_MS),
        shares: Shares {
            no_consent: habits.no_consent,
            withdrawals: habits.withdrawals,
            duplicates: habits.duplicates,
            conflicts: habits.conflicts,
            poison: habits.poison,
            media: MediaShares {
                voice: habits.voice,
                photo: habits.photo,
                video: habits.video,
                broken: habits.broken,
                copies: habits.copies,
            },
        },
        contributions: PowerLaw {
            exponent: habits.exponent,
            cutoff: habits.cutoff,
            max: habits.contributions_max,
        },
        start_ms: 0,
    };
    // Of people, rate and length, what is not given follows from the others.
    let mean = plan.population().mean_contributions();
    if let Some(end) = plan.end_ms {
        let seconds = end as f64 / 1000.0 * plan.curve().mean();
        if args.rate.is_none() && args.contributors.is_some() {
            plan.rate = plan.contributors as f64 * mean / seconds;
            if args.profile == Profile::Flat {
                plan.end_ms = None;
            }
        } else if args.contributors.is_none() {
            let people = (plan.rate * seconds / mean * SPARE).ceil() as u64;
            plan.contributors = people.clamp(PEOPLE, CONTRIBUTORS_MAX);
        }
    }
    plan
}
