//! The verbs beside `run`: each opens what it needs, prints its result, and says an exit code.

mod check;
mod keys;
mod look;
mod nodes;
mod quarantine;
mod remote;
mod say;
mod simulate;
mod submit;

use crate::app::{Failure, configure};
use crate::cli::{self, Command, Output, Place};
use crate::config::Config;
use crate::definitions;
use crate::embedded_node::Prepared;
use crate::opened::Opened;
use crate::run::store_options;
use crate::service;
use crate::service::changes::Changes;
use crate::service::role::Caller;
use gristmill_actors::register::Register;
use gristmill_actors::stage::StageType;
use serde::Serialize;
use std::io::Write;
use std::sync::Arc;

/// Carries a verb out.
pub(crate) async fn command(command: Command, own: &[StageType]) -> Result<u8, Failure> {
    match command {
        Command::Show { id, node, output } => look::show(&node, &id, output, own).await,
        Command::Why { id, node, output } => look::why(&node, &id, output, own).await,
        Command::Submit(args) => submit::command(&args, own).await,
        Command::Withdraw(args) => say::withdraw(&args, own).await,
        Command::Retry(chosen) => quarantine::command(cli::Quarantine::Retry(chosen), own).await,
        Command::Stage { verb } => say::stage(&verb, own).await,
        Command::List(args) => look::list(&args, own).await,
        Command::Quarantine { verb } => quarantine::command(verb, own).await,
        Command::Keys { verb } => keys::command(verb).await,
        Command::Receipt(args) => look::receipt(args, own).await,
        Command::Trace { verb: cli::Trace::Verify { log, key, output } } => {
            check::trace(&log, &key, output).await
        }
        Command::Config { verb } => check::config(verb, own),
        Command::Workflow { verb: cli::Workflow::Check { files, config } } => {
            check::workflow(&files, config.as_deref(), own)
        }
        Command::Audit { place, rail, shared, output } => {
            check::audit(&place, rail.as_deref(), &shared, output).await
        }
        Command::Nodes(args) => nodes::nodes(&args).await,
        Command::Shards(args) => nodes::shards(&args).await,
        Command::Drain { node, shared } => nodes::drain(&node, &shared).await,
        Command::Serve(args) => serve(&args, own).await,
        Command::Simulate(args) => simulate::command(&args, own).await,
        Command::Run(_) | Command::SandboxRail(_) | Command::MediaWorker => Ok(0),
    }
}

async fn serve(args: &cli::Serve, own: &[StageType]) -> Result<u8, Failure> {
    let config = configure(args.place.config.as_deref(), args.place.programs.as_deref())?;
    let served = service::serve(&config, own, args).await;
    served.map_err(|error| Failure::new(error.exit_code(), &error))?;
    Ok(0)
}

/// An open data directory with the definitions that its node would run by.
pub(crate) struct Stood {
    pub(crate) config: Config,
    pub(crate) opened: Opened,
    pub(crate) prepared: Prepared,
}

impl Stood {
    pub(crate) fn open(place: &Place, own: &[StageType]) -> Result<Self, Failure> {
        let config = configure(place.config.as_deref(), place.programs.as_deref())?;
        let programs = definitions::load_programs(config.programs_dir());
        let programs = programs.map_err(|error| Failure::new(2, &error))?;
        let workflows = definitions::load_workflows(config.workflows_dir());
        let workflows = workflows.map_err(|error| Failure::new(2, &error))?;
        let options = store_options(&config);
        let opened = Opened::existing(&place.data_dir, &config.trace.origin, options)
            .map_err(|error| Failure::new(error.exit_code(), &error))?;
        let prepared = Prepared::new(&config, &opened, programs, &workflows, own)
            .map_err(|error| Failure::new(crate::run::node_exit_code(&error), &error))?;
        Ok(Self { config, opened, prepared })
    }

    /// Where changes of this data directory are noted.
    pub(crate) fn changes(&self) -> Changes {
        let register: Arc<dyn Register> = self.opened.register.clone();
        Changes::new(register, self.prepared.ports.clock.clone())
    }
}

/// Who changes something in a data directory that no node runs on.
pub(crate) fn at_hand() -> Caller {
    Caller { key: "data-dir".to_owned(), ..Caller::open() }
}

/// Notes a change in a data directory, before it is carried out.
pub(crate) async fn note(
    changes: &Changes,
    verb: &str,
    target: &str,
    reason: &str,
) -> Result<(), Failure> {
    let noted = changes.note(&at_hand(), verb, target, reason).await;
    noted.map_err(|problem| Failure { text: problem.detail, code: 4 })
}

/// Prints lines to standard output. A reader that went away ends the verb quietly.
pub(crate) fn print(lines: &[String]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    for line in lines {
        match writeln!(out, "{line}") {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            other => other.map_err(|error| Failure::new(4, &error))?,
        }
    }
    Ok(())
}

/// Prints a result as JSON, or as lines for people.
pub(crate) fn answer(
    output: Output,
    value: &impl Serialize,
    lines: &[String],
) -> Result<(), Failure> {
    match output {
        Output::Table => print(lines),
        Output::Json => {
            let text = serde_json::to_string_pretty(value);
            print(&[text.map_err(|error| Failure::new(4, &error))?])
        }
    }
}
