//! `gristmill simulate`.

use super::answer;
use crate::app::{Failure, configure};
use crate::cli::{Simulate, SimulatePlace, SimulateVerb};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::simulate::embedded::{self, Place};
use crate::simulate::plan::Plan;
use crate::simulate::population::Shares;
use crate::simulate::power_law::PowerLaw;
use crate::simulate::record;
use gristmill_actors::ports::Clock;
use gristmill_actors::stage::StageType;

/// Contributions a second, if nothing says how many.
const RATE: f64 = 1_000.0;

pub(super) async fn command(args: &Simulate, own: &[StageType]) -> Result<u8, Failure> {
    if let Some(SimulateVerb::Audit { place, output }) = &args.verb {
        let config = configured(place)?;
        let audited = embedded::again(&of(place, &config, own)).await.map_err(failed)?;
        answer(*output, &audited, &audited.lines())?;
        return Ok(code(audited.ok, audited.tally.quarantined + audited.tally.in_flight));
    }
    let config = configured(&args.place)?;
    let place = of(&args.place, &config, own);
    let report = Box::pin(embedded::run(&place, plan(args))).await.map_err(failed)?;
    if let Some(path) = &args.report {
        record::write_json(path, &report).map_err(|error| Failure::new(4, &error))?;
    }
    answer(args.output, &report, &report.lines())?;
    let tally = &report.audited.tally;
    let code = code(report.ok, tally.quarantined + tally.in_flight);
    Ok(if code == 0 && report.interrupted { 130 } else { code })
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
    let mut plan = Plan {
        seed: args.seed,
        run: args.run.clone().unwrap_or_else(|| format!("s{}-{now:x}", args.seed)),
        program: habits.program.clone(),
        contributors: args.contributors,
        rate: args.rate.unwrap_or(RATE),
        end_ms: None,
        session_ms: habits.session,
        shares: Shares {
            no_consent: habits.no_consent,
            withdrawals: habits.withdrawals,
            duplicates: habits.duplicates,
            conflicts: habits.conflicts,
            poison: habits.poison,
        },
        contributions: PowerLaw {
            exponent: habits.exponent,
            cutoff: habits.cutoff,
            max: habits.contributions_max,
        },
        start_ms: 0,
    };
    match (args.rate, args.duration) {
        (Some(_), end) => plan.end_ms = end,
        (None, Some(duration)) => {
            plan.rate = plan.expected_contributions() / (duration as f64 / 1000.0);
        }
        (None, None) => {}
    }
    plan
}
