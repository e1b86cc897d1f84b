//! A simulation against a node in this process, over a data directory of its own.

use super::auditor::{self, NodeSaid};
use super::driver::{Driven, Driver};
use super::fault::{Fault, Mark, Struck, What};
use super::fleet;
use super::interruption::{Ends, Told};
use super::lines::{self, Lines};
use super::measured::{Counts, Measured};
use super::nodes;
use super::plan::Plan;
use super::progress::{self, Standing};
use super::record::{self, Record};
use super::report::{Parts as ReportParts, Report};
use super::resources::{Resources, bytes_under};
use super::scrape::{self, Scrape};
use super::target::Target;
use crate::audit::RailSource;
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
use gristmill_actors::node::Node;
use gristmill_actors::ports::StoreError;
use gristmill_actors::stage::StageType;
use gristmill_testkit::model_rail::ModelRail;
use gristmill_testkit::slow::Slow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

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
    Metrics(#[from] scrape::Error),
    /// No such program, or it has no task for what is handed in.
    #[error(transparent)]
    Program(#[from] lines::Error),
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
    /// Processes of its own.
    #[error(transparent)]
    Fleet(#[from] fleet::Error),
    /// An address is needed, and none was named.
    #[error("no address of a node")]
    NoAddress,
    /// The thread of virtual time, or its runtime.
    #[error("no runtime with a virtual clock: {0}")]
    VirtualTime(std::io::Error),
    /// The thread of virtual time ended without an answer.
    #[error("the simulation in virtual time ended by itself")]
    Ended,
    /// The key of a log in memory.
    #[error("the log's key: {0}")]
    LogKey(#[from] gristmill_trace::key::Error),
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
            Self::Definitions(_) | Self::Program(_) | Self::NoAddress => 2,
            Self::Fleet(fleet::Error::NotThere { .. }) => 2,
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
            | Self::Fleet(_)
            | Self::Task(_)
            | Self::VirtualTime(_)
            | Self::Ended
            | Self::LogKey(_)
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
pub(crate) async fn run(
    place: &Place<'_>,
    faults: &[Fault],
    mut plan: Plan,
) -> Result<Report, Error> {
    let downs = downs(faults)?;
    let Place { config, own, data_dir, .. } = *place;
    let rail = place.rail.or(config.rail_url());
    if rail.is_some() && !downs.is_empty() {
        return Err(fleet::Error::NotThere { what: "rail-down" }.into());
    }
    Record::refuse(data_dir)?;
    let programs = definitions::load_programs(config.programs_dir())?;
    let lines = Lines::new(&plan, &programs)?;
    let workflows = definitions::load_workflows(config.workflows_dir())?;
    let opened = Opened::make(data_dir, &config.trace.origin, store_options(config))?;
    let mut interrupts = Interrupts::listen()?;
    let prepared = Prepared::new(config, &opened, programs, &workflows, own)?;
    let world = prepared.world.clone();
    let running = prepared.start(config, &opened, rail).await?;
    let service = service(config, &opened, &running, world).await?;
    plan.start_ms = service.ports.clock.now().0;
    let lines = lines.starting(plan.start_ms);
    let mut record = Record { plan, driven: None, counts: Counts::default() };
    record.write(data_dir)?;
    let (before, measured) = (glance(&running.node), Measured::new(&record.plan)?);
    let target = Target::Embedded(service);
    let driver = Arc::new(Driver::new(record.plan.clone(), target, lines, measured));
    let struck = StruckRail::Http(running.rail().to_owned());
    let (over, ended) = watch::channel(false);
    let struck = tokio::spawn(strike(struck, downs, ended));
    let driven = drive(&driver, &running, before, &mut interrupts).await;
    over.send_replace(true);
    let faults = struck.await.map_err(Error::Task)?;
    let drove = driver.now_us();
    record.counts = driver.measured().counts.clone();
    record.driven = Some(driven.clone());
    record.write(data_dir)?;
    let mut told = Told { once: driven.interrupted };
    let resting = rest(config, &driver, &running, before);
    let at_rest = told.unless(&mut interrupts, Ends::This, resting).await?.transpose()?.is_some();
    let rested = driver.now_us();
    let (counted, resources) = (Scrape::of(&running.node.engine().metrics)?, Resources::now());
    let (stages, after) = (counted.stages(), Some(glance(&running.node)));
    let in_order = running.stop(Duration::from_millis(config.node.stop_deadline_ms)).await?;
    if !in_order {
        say("the node did not end in order");
    }
    // What still moves ends after it was counted.
    let said = (at_rest && in_order).then_some(NodeSaid { before, after, counted });
    say("the auditor reads everything");
    let sources = auditor::sources(&opened, rail.map(at));
    let audited = Box::pin(auditor::audit(&sources, &record, said));
    let audited = told.unless(&mut interrupts, Ends::Nothing, audited).await?;
    let (audited, times) = audited.ok_or(Error::Interrupted)??;
    let folder = data_dir.to_owned();
    let bytes = tokio::task::spawn_blocking(move || bytes_under(&folder)).await;
    let driven = Driven { interrupted: told.once, ..driven };
    let parts = ReportParts {
        target: "embedded".to_owned(),
        driven: &driven,
        seconds: (drove as f64 / 1e6, rested as f64 / 1e6),
        resources,
        started: None,
        disk_bytes: bytes.map_err(Error::Task)?.map_err(Error::Folder)?,
        audited,
        times: &times,
        stages,
        faults,
        config: Some(config),
        virtual_time: None,
    };
    let mut measured = driver.measured();
    Ok(Report::new(record.plan, &mut measured, parts))
}

/// When the rail of a node in this process is away for how long; nothing else can go wrong there.
pub(super) fn downs(faults: &[Fault]) -> Result<Vec<(Duration, Duration)>, fleet::Error> {
    let down = |fault: &Fault| match fault.what {
        What::RailDown(away) => Ok((fault.at, away)),
        What::KillNode => Err(fleet::Error::NotThere { what: "kill-node" }),
        What::StopRedis(_) => Err(fleet::Error::NotThere { what: "stop-redis" }),
    };
    let mut downs = faults.iter().map(down).collect::<Result<Vec<_>, _>>()?;
    downs.sort_unstable();
    Ok(downs)
}

/// The rail that faults strike.
#[derive(Debug)]
pub(super) enum StruckRail {
    /// A sandbox rail at an address.
    Http(String),
    /// A rail in memory.
    Model(Arc<Slow<ModelRail>>),
}

/// Takes the rail away whenever that is due before the end.
pub(super) async fn strike(
    rail: StruckRail,
    downs: Vec<(Duration, Duration)>,
    mut ended: watch::Receiver<bool>,
) -> Struck {
    let start = Instant::now();
    let mut struck = Struck::default();
    for (at, away) in downs {
        tokio::select! {
            biased;
            _ = ended.wait_for(|ended| *ended) => {
                struck.missed.push(Fault { at, what: What::RailDown(away) }.to_string());
                continue;
            }
            () = sleep_until(start + at) => {}
        }
        let told = match &rail {
            StruckRail::Http(url) => fleet::rail_down(url, away).await,
            StruckRail::Model(rail) => {
                rail.port().down_for(away);
                Ok(())
            }
        };
        let what = match told {
            Ok(()) => format!("rail down for {} s", away.as_secs_f64()),
            Err(error) => format!("the rail was not taken down: {error}"),
        };
        struck.marks.push(Mark { at_s: start.elapsed().as_secs_f64(), what });
    }
    struck
}

/// Asks the auditor again.
///
/// # Errors
/// [`Error`] when no simulation was run here, or something cannot be read at all.
pub(crate) async fn again(place: &Place<'_>) -> Result<auditor::Audited, Error> {
    let record = Record::read(place.data_dir)?;
    if let Some(audited) = nodes::again(place, &record).await? {
        return Ok(audited);
    }
    let config = place.config;
    let rail = place.rail.or(config.rail_url());
    let opened = Opened::existing(place.data_dir, &config.trace.origin, store_options(config))?;
    let sources = auditor::sources(&opened, rail.map(at));
    Ok(Box::pin(auditor::audit(&sources, &record, None)).await?.0)
}

/// The book of a running rail.
fn at(rail: &str) -> RailSource {
    RailSource::Url(rail.to_owned())
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
        proofs: Proofs::new(&opened.dir, opened.trace.clone()),
        media_max: config.media.max_bytes,
    };
    // Lines come in batches only: nobody waits behind the receiver of single ones.
    let (service, _singles) = Service::new(parts);
    Ok(Arc::new(service))
}

pub(super) fn glance(node: &Node) -> (u64, u64) {
    let glance = node.glance();
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
    let mut shown = Box::pin(progress::show(driver, || standing(&running.node, before)));
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
) -> Result<(), Error> {
    tokio::select! {
        biased;
        rested = running.node.rest(config.node.rest_patience_ms) => {
            Ok(rested.map_err(embedded_node::Error::Fatal)?)
        }
        () = progress::show(driver, || standing(&running.node, before)) => Ok(()),
    }
}

pub(super) fn standing(node: &Node, before: (u64, u64)) -> Option<Standing> {
    let (settled, refused) = glance(node);
    Some(Standing { settled: settled - before.0, refused: refused - before.1 })
}
