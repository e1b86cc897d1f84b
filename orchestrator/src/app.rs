//! The program: arguments, configuration, logging, one verb, one exit code.

use crate::cli::{self, Cli, Command};
use crate::config::{Config, Overrides};
use crate::run::{self, say};
use crate::{measuring, sandbox_rail, threads, verbs};
use clap::Parser;
use gristmill_actors::stage::StageType;
use std::path::Path;
use std::process::ExitCode;

/// After so many tasks a worker looks for answers of the store's threads and for ready sockets. The
/// runtime's own 61 lets a read wait for a hundred steps of journeys under load.
const TASKS_BETWEEN_LOOKS: u32 = 7;

/// The whole program with an author's own stages beside the shipped ones.
#[must_use]
#[expect(clippy::needless_pass_by_value, reason = "so that an author's main is one call")]
pub fn main_with(own: Vec<StageType>) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    if matches!(cli.command, Command::MediaWorker) {
        return measuring::media_worker();
    }
    let answers_others = matches!(cli.command, Command::Serve(_));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .global_queue_interval(TASKS_BETWEEN_LOOKS)
        .event_interval(TASKS_BETWEEN_LOOKS)
        .on_thread_start(move || {
            // Threads of their own answer; these drive journeys, which nobody waits for so closely.
            if answers_others {
                threads::step_back(threads::JOURNEYS_BEHIND);
            }
        })
        .build();
    match runtime {
        Ok(runtime) => ExitCode::from(runtime.block_on(command(cli.command, &own))),
        Err(error) => {
            say(&format!("gristmill: no runtime: {error}"));
            ExitCode::from(4)
        }
    }
}

fn usage(error: &clap::Error) -> ExitCode {
    let asked_for = !error.use_stderr();
    if error.print().is_err() {
        tracing::debug!("nobody reads the usage");
    }
    ExitCode::from(if asked_for { 0 } else { 2 })
}

async fn command(command: Command, own: &[StageType]) -> u8 {
    let result = match command {
        Command::Run(args) => run_command(&args, own).await,
        Command::SandboxRail(args) => sandbox(args).await,
        Command::MediaWorker => Ok(0),
        other => verbs::command(other, own).await,
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            say(&format!("gristmill: {}", failure.text));
            failure.code
        }
    }
}

/// What a verb ends with when it fails: a sentence for a person, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) text: String,
    pub(crate) code: u8,
}

impl Failure {
    pub(crate) fn new(code: u8, error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            let inner_text = inner.to_string();
            if !text.contains(&inner_text) {
                text = format!("{text}: {inner_text}");
            }
            cause = inner.source();
        }
        Self { text, code }
    }
}

/// The effective configuration; it also sets logging up.
pub(crate) fn configure(file: Option<&Path>, programs: Option<&Path>) -> Result<Config, Failure> {
    let programs = programs.map(Path::to_owned);
    let overrides = Overrides { programs, ..Overrides::default() };
    let config = Config::load(file, std::env::vars_os(), &overrides)
        .map_err(|error| Failure::new(2, &error))?;
    let filter = tracing_subscriber::EnvFilter::builder().parse_lossy(&config.log.filter);
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if subscriber.try_init().is_err() {
        tracing::debug!("logging was set up before");
    }
    Ok(config)
}

async fn run_command(args: &cli::Run, own: &[StageType]) -> Result<u8, Failure> {
    let config = configure(args.place.config.as_deref(), args.place.programs.as_deref())?;
    match run::run(&config, own, args).await {
        Ok(code) => Ok(code),
        Err(error) => {
            if let run::Error::Strict { lines } = &error {
                for line in lines {
                    say(&format!("line {}: {}: {}", line.line, line.field, line.detail));
                }
            }
            Err(Failure::new(error.exit_code(), &error))
        }
    }
}

async fn sandbox(args: cli::SandboxRail) -> Result<u8, Failure> {
    let faults = sandbox_rail::faults::Faults::parse(&args.fault.join(","));
    let faults = faults.map_err(|error| Failure::new(2, &error))?;
    let options =
        sandbox_rail::Options { listen: args.listen, book: args.book, faults, seed: args.seed };
    let served = sandbox_rail::run(&options).await;
    served.map(|()| 0).map_err(|error| {
        let code = if matches!(error, sandbox_rail::Error::Book(_)) { 4 } else { 2 };
        Failure::new(code, &error)
    })
}
