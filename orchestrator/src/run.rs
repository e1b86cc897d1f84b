//! `gristmill run`: takes a manifest in, drives it to its end, reports.

use crate::cli;
use crate::config::Config;
use crate::definitions;
use crate::embedded_node::{self, Prepared};
use crate::embedded_store;
use crate::intake::{self, Intake, Taken};
use crate::interrupts::{self, Interrupts};
use crate::media_root::MediaRoot;
use crate::opened::{self, Opened};
use crate::progress;
use crate::report::{self, Report};
use gristmill_actors::node::Fatal;
use gristmill_actors::stage::StageType;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a run ended without a report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The manifest or the media root cannot be read.
    #[error("{}: {source}", path.display())]
    Input {
        /// Which path.
        path: PathBuf,
        /// What was met.
        source: std::io::Error,
    },
    /// The data directory.
    #[error(transparent)]
    Opened(#[from] opened::Error),
    /// Programs or workflows.
    #[error(transparent)]
    Definitions(#[from] definitions::Error),
    /// Taking the manifest in.
    #[error(transparent)]
    Intake(#[from] intake::Error),
    /// The node.
    #[error(transparent)]
    Node(#[from] embedded_node::Error),
    /// The report.
    #[error(transparent)]
    Report(#[from] report::Error),
    /// With `--strict`.
    #[error("{} lines are rejected, nothing was submitted", lines.len())]
    Strict {
        /// Which.
        lines: Vec<intake::RejectedLine>,
    },
    /// Signals.
    #[error(transparent)]
    Signals(#[from] interrupts::Error),
    /// Ctrl-C.
    #[error("interrupted; the same command goes on from here")]
    Interrupted,
}

impl Error {
    /// The process exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Input { .. } | Self::Definitions(_) | Self::Strict { .. } => 2,
            Self::Opened(error) => error.exit_code(),
            Self::Intake(intake::Error::Manifest(_)) => 2,
            Self::Intake(_) | Self::Report(_) | Self::Signals(_) => 4,
            Self::Node(error) => node_exit_code(error),
            Self::Interrupted => 130,
        }
    }
}

/// The exit code of a node that could not start or had to end.
#[must_use]
pub fn node_exit_code(error: &embedded_node::Error) -> u8 {
    match error {
        embedded_node::Error::Rail(_) | embedded_node::Error::Registry(_) => 2,
        embedded_node::Error::Sandbox(_)
        | embedded_node::Error::Program(_)
        | embedded_node::Error::Log(_)
        | embedded_node::Error::Fatal(_)
        | embedded_node::Error::Task(_) => 4,
    }
}

/// How the store is opened.
#[must_use]
pub fn store_options(config: &Config) -> embedded_store::Options {
    embedded_store::Options { shards: config.store.shards, intake_max: config.store.high_water }
}

/// Runs a manifest. The exit code is 0, or 3 if something stands paused or parked.
pub async fn run(config: &Config, own: &[StageType], args: &cli::Run) -> Result<u8, Error> {
    let input = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Input { path, source }
    };
    let manifest = std::fs::File::open(&args.manifest).map_err(input(&args.manifest))?;
    let folder = args.manifest.parent().filter(|folder| !folder.as_os_str().is_empty());
    let root = args.media_root.as_deref().or(folder).unwrap_or(Path::new("."));
    let media = MediaRoot::new(root, config.media.max_bytes).map_err(input(root))?;
    let programs = definitions::load_programs(config.programs_dir())?;
    let workflows = definitions::load_workflows(config.workflows_dir())?;
    let path = args.place.data_dir.clone();
    let opened = Opened::make(&path, &config.trace.origin, store_options(config))?;
    let prepared = Prepared::new(config, &opened, programs, &workflows, own)?;
    if args.strict {
        let looked = take(&prepared, media.clone(), &args.manifest, true).await?;
        if !looked.rejected.is_empty() {
            return Err(Error::Strict { lines: looked.rejected });
        }
    }
    drop(manifest);
    let mut interrupts = Interrupts::listen()?;
    let taken = tokio::select! {
        biased;
        () = interrupts.next() => return Err(Error::Interrupted),
        taken = take(&prepared, media, &args.manifest, false) => taken?,
    };
    say(&format!(
        "{} lines: {} contributions, {} repeated, {} rejected; all durable",
        taken.lines,
        taken.journeys.len(),
        taken.repeated.len(),
        taken.rejected.len()
    ));
    let (world, ports) = (prepared.world.clone(), prepared.ports.clone());
    let rail = args.rail.as_deref().or(config.rail_url());
    let running = prepared.start(config, &opened, rail).await?;
    let deadline = Duration::from_millis(config.node.stop_deadline_ms);
    let expected = taken.journeys.len() as u64;
    let rested = tokio::select! {
        biased;
        () = interrupts.next() => {
            running.stop(deadline).await?;
            return Err(Error::Interrupted);
        }
        rested = running.node.rest(config.node.rest_patience_ms) => rested,
        () = progress::show(&running.node, expected) => Ok(()),
    };
    rested.map_err(embedded_node::Error::Fatal)?;
    if !running.stop(deadline).await? {
        say("the node did not end in order; the next start looks at what it left");
    }
    let few = taken.lines <= report::RECEIPT_LINES;
    let report = Report { opened: &opened, ports: &ports, world: &world, taken: &taken };
    let summary = report.write(few || args.receipts, args.report.as_deref()).await?;
    summary.print(&args.place.data_dir)?;
    Ok(if summary.stands() { 3 } else { 0 })
}

async fn take(
    prepared: &Prepared,
    media: MediaRoot,
    manifest: &Path,
    dry: bool,
) -> Result<Taken, Error> {
    let input = |source| Error::Input { path: manifest.to_owned(), source };
    let file = std::fs::File::open(manifest).map_err(input)?;
    let now = prepared.ports.clock.now();
    let intake = Intake::new(&prepared.ports, &prepared.world, Some(media), now, dry);
    let mut shown = 0;
    let progress = |lines: u64| {
        if lines / 100_000 > shown {
            shown = lines / 100_000;
            say(&format!("{lines} lines read"));
        }
    };
    Ok(intake.take(&mut BufReader::with_capacity(1 << 20, file), progress).await?)
}

/// One line on standard error. Nobody being there to read it stops nothing.
pub(crate) fn say(line: &str) {
    if writeln!(std::io::stderr().lock(), "{line}").is_err() {
        tracing::debug!("standard error is closed");
    }
}

/// A node that had to end is the run's error.
impl From<Fatal> for Error {
    fn from(fatal: Fatal) -> Self {
        Self::Node(embedded_node::Error::Fatal(fatal))
    }
}
