//! A simulation against a node in this process, over a data directory of its own.

use super::auditor::{self, NodeSaid};
use super::driver::{Driven, Driver};
use super::lines::Lines;
use super::measured::{Counts, Measured};
use super::plan::Plan;
use super::progress::{self, Standing};
use super::record::{self, Record};
use super::report::{Parts as ReportParts, Report};
use super::resources::{Resources, bytes_under};
use super::target::Target;
use crate::client;
use crate::config::Config;
use crate::definitions;
use crate::embedded_node::{self, Prepared, Running};
use crate::interrupts::{self, Interrupts};
use crate::opened::{self, Opened};
use crate::receipts::Proofs;
use crate::run::{node_exit_code, say, store_options};
use crate::service::api_keys::ApiKeys;
use crate::service::state::{Parts, Service};
use crate::{log_folder, log_http};
use gristmill_actors::ports::StoreError;
use gristmill_actors::stage::StageType;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Why a simulation ended without a report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The data directory.
    #[error(transparent)]
    Opened(#[from] opened::Error),
    /// Programs or workflows.
    #[error(transparent)]
    Definitions(#[from] definitions::Error),
    /// The node.
    #[error(transparent)]
    Node(#[from] embedded_node::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The record.
    #[error(transparent)]
    Record(#[from] record::Error),
    /// The auditor.
    #[error(transparent)]
    Auditor(#[from] auditor::Error),
    /// Signals.
    #[error(transparent)]
    Signals(#[from] interrupts::Error),
    /// A histogram.
    #[error(transparent)]
    Histogram(#[from] hdrhistogram::CreationError),
    /// The size of the data directory.
    #[error("the data directory's size: {0}")]
    Folder(std::io::Error),
    /// The node's metrics.
    #[error("the node's metrics: {0}")]
    Metrics(String),
    /// No such program, or it has no task without media.
    #[error("no program `{program}` with a task without media; `engine` is one")]
    Program {
        /// Which.
        program: String,
    },
    /// The node behind an address.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// The address of its log.
    #[error(transparent)]
    Address(log_http::Error),
    /// The key of its log.
    #[error(transparent)]
    Key(log_folder::KeyError),
    /// Its log.
    #[error(transparent)]
    Log(gristmill_trace::verify::Error),
    /// A thread ended.
    #[error("a task of the runtime ended: {0}")]
    Task(tokio::task::JoinError),
    /// Ctrl-C, twice.
    #[error("interrupted before the auditor had spoken; `gristmill simulate audit` asks it again")]
    Interrupted,
}

impl Error {
    /// The process exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Opened(error) => error.exit_code(),
            Self::Node(error) => node_exit_code(error),
            Self::Definitions(_) | Self::Program { .. } => 2,
            Self::Record(record::Error::Stands { .. } | record::Error::Absent { .. }) => 2,
            Self::Interrupted => 130,
            Self::Client(error) => error.exit_code(),
            Self::Store(_)
            | Self::Record(_)
            | Self::Auditor(_)
            | Self::Signals(_)
            | Self::Histogram(_)
            | Self::Folder(_)
            | Self::Address(_)
            | Self::Key(_)
            | Self::Log(_)
            | Self::Task(_)
            | Self::Metrics(_) => 4,
        }
    }
}

/// Where an embedded simulation runs.
#[derive(Debug)]
pub struct Place<'a> {
    /// The effective configuration.
    pub config: &'a Config,
    /// An author's own stages.
    pub own: &'a [StageType],
    /// The data directory.
    pub data_dir: &'a Path,
    /// A running rail; none: an own sandbox rail.
    pub rail: Option<&'a str>,
}

/// Drives, waits for rest, audits.
///
/// # Errors
/// [`Error`] when something cannot be done at all; what is wrong is in the report.
pub(crate) async fn run(place: &Place<'_>, mut plan: Plan) -> Result<Report, Error> {
    let Place { config, own, data_dir, .. } = *place;
    let rail = place.rail.or(config.rail_url());
    Record::refuse(data_dir)?;
    let programs = definitions::load_programs(config.programs_dir())?;
    let workflows = definitions::load_workflows(config.workflows_dir())?;
    let absent = || Error::Program { program: plan.program.clone() };
    let program = programs.get(&plan.program).ok_or_else(absent)?.clone();
    let opened = Opened::make(data_dir, &config.trace.origin, store_options(config))?;
    let mut interrupts = Interrupts::listen()?;
    let prepared = Prepared::new(config, &opened, programs, &workflows, own)?;
    let world = prepared.world.clone();
    let running = prepared.start(config, &opened, rail).await?;
    let service = service(config, &opened, &running, world).await?;
    plan.start_ms = service.ports.clock.now().0;
    let lines = Lines::new(&plan, &program).ok_or_else(absent)?;
    let mut record = Record { plan, driven: None, counts: Counts::default() };
    record.write(data_dir)?;
    let (before, measured) = (glance(&running), Measured::new(&record.plan)?);
    let target = Target::Embedded(service);
    let driver = Arc::new(Driver::new(record.plan.clone(), target, lines, measured));
    let driven = drive(&driver, &running, before, &mut interrupts).await;
    let drove = driver.now_us();
    record.counts = driver.measured().counts.clone();
    record.driven = Some(driven.clone());
    record.write(data_dir)?;
    rest(config, &driver, &running, before, &mut interrupts).await?;
    let rested = driver.now_us();
    let (counted, resources) = (counted(&running)?, Resources::now());
    let said = NodeSaid { before, after: glance(&running), counted };
    if !running.stop(Duration::from_millis(config.node.stop_deadline_ms)).await? {
        say("the node did not end in order");
    }
    say("the auditor reads everything");
    let audited = Box::pin(auditor::audit(&opened, &record, rail, Some(said)));
    let (audited, times) = tokio::select! {
        biased;
        () = interrupts.next() => return Err(Error::Interrupted),
        audited = audited => audited?,
    };
    let folder = data_dir.to_owned();
    let bytes = tokio::task::spawn_blocking(move || bytes_under(&folder)).await;
    let parts = ReportParts {
        target: "embedded".to_owned(),
        driven: &driven,
        seconds: (drove as f64 / 1e6, rested as f64 / 1e6),
        resources,
        disk_bytes: bytes.map_err(Error::Task)?.map_err(Error::Folder)?,
        audited,
        times: &times,
    };
    let mut measured = driver.measured();
    Ok(Report::new(record.plan, &mut measured, parts))
}

/// Asks the auditor again.
///
/// # Errors
/// [`Error`] when no simulation was run here, or something cannot be read at all.
pub(crate) async fn again(place: &Place<'_>) -> Result<auditor::Audited, Error> {
    let record = Record::read(place.data_dir)?;
    let config = place.config;
    let rail = place.rail.or(config.rail_url());
    let opened = Opened::existing(place.data_dir, &config.trace.origin, store_options(config))?;
    Ok(Box::pin(auditor::audit(&opened, &record, rail, None)).await?.0)
}

/// Intake of a node in this process, as its service does it.
async fn service(
    config: &Config,
    opened: &Opened,
    running: &Running,
    world: Arc<gristmill_workflows::shard::World>,
) -> Result<Arc<Service>, Error> {
    let engine = running.node.engine().clone();
    let keys = ApiKeys::open(opened.register.clone()).await?;
    let parts = Parts {
        world,
        ports: engine.ports.clone(),
        log: opened.log_store(),
        engine,
        register: opened.register.clone(),
        keys,
        proofs: Proofs::new(&opened.dir, &opened.trace),
        media_max: config.media.max_bytes,
    };
    // Lines come in batches only: nobody waits behind the receiver of single ones.
    let (service, _singles) = Service::new(parts);
    Ok(Arc::new(service))
}

fn glance(running: &Running) -> (u64, u64) {
    let glance = running.node.glance();
    (glance.settled, glance.refused)
}

/// Drives until the end, or until the first interrupt.
async fn drive(
    driver: &Arc<Driver>,
    running: &Running,
    before: (u64, u64),
    interrupts: &mut Interrupts,
) -> Driven {
    let (stop, stopped) = watch::channel(false);
    let mut driving = Box::pin(driver.drive(stopped));
    let mut shown = Box::pin(progress::show(driver, || standing(running, before)));
    loop {
        tokio::select! {
            biased;
            driven = &mut driving => return driven,
            () = interrupts.next() => {
                say("interrupted: nothing more is handed in, the auditor follows");
                stop.send_replace(true);
            }
            () = &mut shown => {}
        }
    }
}

async fn rest(
    config: &Config,
    driver: &Arc<Driver>,
    running: &Running,
    before: (u64, u64),
    interrupts: &mut Interrupts,
) -> Result<(), Error> {
    tokio::select! {
        biased;
        rested = running.node.rest(config.node.rest_patience_ms) => {
            Ok(rested.map_err(embedded_node::Error::Fatal)?)
        }
        () = interrupts.next() => Err(Error::Interrupted),
        () = progress::show(driver, || standing(running, before)) => Ok(()),
    }
}

fn standing(running: &Running, before: (u64, u64)) -> Option<Standing> {
    let (settled, refused) = glance(running);
    Some(Standing { settled: settled - before.0, refused: refused - before.1 })
}

/// What the node's metrics counted: settled, and rejected or withdrawn.
fn counted(running: &Running) -> Result<(u64, u64), Error> {
    let rendered = running.node.engine().metrics.render();
    let text = rendered.map_err(|error| Error::Metrics(error.to_string()))?;
    let mut counted = (0, 0);
    for line in text.lines().filter(|line| line.starts_with("gristmill_journeys_finished_total{")) {
        let value = line.rsplit(' ').next().and_then(|value| value.parse::<u64>().ok());
        let value = value.ok_or_else(|| Error::Metrics(format!("no number in {line}")))?;
        if line.contains("outcome=\"settled\"") {
            counted.0 += value;
        } else {
            counted.1 += value;
        }
    }
    Ok(counted)
}
