//! A simulation against nodes that it starts itself, over HTTP, with faults on a schedule. At its end
//! the nodes are stopped and the auditor reads everything that they left.

use super::auditor::{self, Audited, NodeSaid};
use super::driver::{Driven, Driver};
use super::embedded::{Error, Place};
use super::fault::{Fault, Mark, Struck};
use super::fleet::{Fleet, Kept, Setup, node_dir, rail_dir, redis_dir, store_of};
use super::interruption::{Ends, Told};
use super::lines::Lines;
use super::measured::{Counts, Measured};
use super::plan::Plan;
use super::progress;
use super::record::Record;
use super::remote;
use super::report::{Parts, Report};
use super::resources::{Resources, bytes_under};
use super::scrape::Scrape;
use super::target::Target;
use super::watch::Watch;
use crate::audit::RailSource;
use crate::cli::SharedStore;
use crate::client::Client;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::definitions;
use crate::interrupts::Interrupts;
use crate::opened::Opened;
use crate::redis_store::Durability;
use crate::run::{say, store_options};
use crate::shared_store;
use gristmill_actors::ports::Clock;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Nodes that a simulation starts.
#[derive(Debug)]
pub struct Nodes<'a> {
    /// How many.
    pub count: usize,
    /// Over a Redis server of its own; none: one node on an embedded store.
    pub redis: Option<Durability>,
    /// A configuration file for them.
    pub config: Option<&'a Path>,
    /// A folder of programs for them.
    pub programs: Option<&'a Path>,
    /// What goes wrong when.
    pub faults: &'a [Fault],
}

/// Starts nodes, drives them, waits for rest, stops them, audits.
///
/// # Errors
/// [`Error`] when something cannot be done at all; what is wrong is in the report.
pub(crate) async fn run(
    place: &Place<'_>,
    nodes: &Nodes<'_>,
    mut plan: Plan,
) -> Result<Report, Error> {
    let Place { config, data_dir, .. } = *place;
    Record::refuse(data_dir)?;
    let programs = definitions::load_programs(config.programs_dir())?;
    let lines = Lines::new(&plan, &programs)?;
    let mut interrupts = Interrupts::listen()?;
    let Nodes { count, redis, config: file, programs, faults } = *nodes;
    let setup = Setup { data_dir, nodes: count, redis, config: file, programs };
    for fault in faults {
        setup.has(fault.what)?;
    }
    let mut fleet = Fleet::start(&setup).await?;
    let urls = fleet.urls();
    let clients: Vec<Client> =
        urls.iter().map(|url| Client::new(url, None)).collect::<Result<_, _>>()?;
    plan.start_ms = SystemClock::new().now().0;
    let lines = lines.starting(plan.start_ms);
    let mut record = Record { plan, driven: None, counts: Counts::default() };
    record.write(data_dir)?;
    let (measured, watch) = (Measured::new(&record.plan)?, Watch::begin(&clients).await);
    let target = Target::Http(clients.clone());
    let driver = Arc::new(Driver::new(record.plan.clone(), target, lines, measured));
    let (driven, struck) = drive(&driver, &watch, &mut fleet, faults, &mut interrupts).await;
    drop(watch);
    let drove = driver.now_us();
    record.counts = driver.measured().counts.clone();
    record.driven = Some(driven.clone());
    record.write(data_dir)?;
    say("waiting until the nodes are at rest");
    let mut told = Told { once: driven.interrupted };
    let at_rest = told.unless(&mut interrupts, Ends::This, rest(&clients)).await?.unwrap_or(false);
    let (rested, resources, started) = (driver.now_us(), Resources::now(), fleet.used());
    let counted = Scrape::of_nodes(&clients).await;
    let counted = counted.inspect_err(|error| say(&format!("a node says nothing: {error}"))).ok();
    let stages = counted.as_ref().map(Scrape::stages).unwrap_or_default();
    // What went wrong may have ended a node that had counted, or lost a store's answer.
    let whole = at_rest && struck.marks.is_empty();
    let said = counted.filter(|_| whole).map(|counted| NodeSaid { counted, ..NodeSaid::default() });
    if !fleet.stop_nodes(Duration::from_millis(config.node.stop_deadline_ms)).await {
        say("a node did not end in order");
    }
    say("the auditor reads everything");
    let port = fleet.redis_port().zip(redis);
    let store = port.map(|(port, durability)| store_of(data_dir, port, durability));
    let opened = open(config, data_dir, store).await?;
    let rail = RailSource::Url(fleet.rail().to_owned());
    let sources = auditor::sources(&opened, Some(rail));
    let audited = Box::pin(auditor::audit(&sources, &record, said));
    let audited = told.unless(&mut interrupts, Ends::Nothing, audited).await?;
    let (audited, times) = audited.ok_or(Error::Interrupted)??;
    let folder = data_dir.to_owned();
    let bytes = tokio::task::spawn_blocking(move || bytes_under(&folder)).await;
    let stored = redis.map_or("an embedded store".to_owned(), |level| format!("Redis, {level:?}"));
    let driven = Driven { interrupted: told.once, ..driven };
    let parts = Parts {
        target: format!("{count} of its own, {stored}"),
        driven: &driven,
        seconds: (drove as f64 / 1e6, rested as f64 / 1e6),
        resources,
        started: Some(started),
        disk_bytes: bytes.map_err(Error::Task)?.map_err(Error::Folder)?,
        audited,
        times: &times,
        stages,
        faults: struck,
        config: Some(config),
        virtual_time: None,
    };
    let mut measured = driver.measured();
    Ok(Report::new(record.plan, &mut measured, parts))
}

/// Waits until the nodes are at rest, by the first that says so; false if none does.
async fn rest(clients: &[Client]) -> bool {
    for client in clients {
        match remote::rest(client).await {
            Ok(()) => return true,
            Err(error) => say(&format!("a node does not say whether it is at rest: {error}")),
        }
    }
    false
}

/// What the nodes left, with none of them on it.
async fn open(
    config: &Config,
    data_dir: &Path,
    store: Option<SharedStore>,
) -> Result<Opened, Error> {
    let first = node_dir(data_dir, 0);
    let Some(store) = store else {
        return Ok(Opened::existing(&first, &config.trace.origin, store_options(config))?);
    };
    Ok(shared_store::open(config, &store, &first, "").await?)
}

/// Asks the auditor again; none if no nodes of its own were driven here.
///
/// # Errors
/// [`Error`].
pub(crate) async fn again(place: &Place<'_>, record: &Record) -> Result<Option<Audited>, Error> {
    let Place { config, data_dir, .. } = *place;
    if !node_dir(data_dir, 0).exists() {
        return Ok(None);
    }
    let kept = match redis_dir(data_dir).exists() {
        true => Some(Kept::start(data_dir).await?),
        false => None,
    };
    let store = kept.as_ref().map(|kept| store_of(data_dir, kept.port(), Durability::Always));
    let opened = open(config, data_dir, store).await?;
    let rail = RailSource::Folder(rail_dir(data_dir));
    let sources = auditor::sources(&opened, Some(rail));
    Ok(Some(Box::pin(auditor::audit(&sources, record, None)).await?.0))
}

/// Drives until the end, or until the first interrupt, while things go wrong.
async fn drive(
    driver: &Arc<Driver>,
    watch: &Watch,
    fleet: &mut Fleet,
    faults: &[Fault],
    interrupts: &mut Interrupts,
) -> (Driven, Struck) {
    let (stop, stopped) = watch::channel(false);
    let (over, ended) = watch::channel(false);
    let mut driving = Box::pin(driver.drive(stopped));
    let mut shown = Box::pin(progress::show(driver, || watch.standing()));
    let mut striking = Box::pin(strike(fleet, faults, ended));
    let mut struck = None;
    let driven = loop {
        tokio::select! {
            biased;
            driven = &mut driving => break driven,
            () = interrupts.next() => {
                say("interrupted: nothing more is handed in, the auditor follows");
                stop.send_replace(true);
            }
            done = &mut striking, if struck.is_none() => struck = Some(done),
            () = &mut shown => {}
        }
    };
    over.send_replace(true);
    let struck = match struck {
        Some(struck) => struck,
        None => striking.await,
    };
    (driven, struck)
}

/// Lets everything go wrong that is due before the end.
async fn strike(fleet: &mut Fleet, faults: &[Fault], mut ended: watch::Receiver<bool>) -> Struck {
    let start = Instant::now();
    let mut due = faults.to_vec();
    due.sort_by_key(|fault| fault.at);
    let mut struck = Struck::default();
    for fault in due {
        tokio::select! {
            biased;
            _ = ended.wait_for(|ended| *ended) => {
                struck.missed.push(fault.to_string());
                continue;
            }
            () = sleep_until(start + fault.at) => {}
        }
        let at_s = start.elapsed().as_secs_f64();
        let what = match fleet.strike(fault.what).await {
            Ok(what) => what,
            Err(error) => format!("{fault} was not done, or not mended: {error}"),
        };
        say(&format!("after {at_s:.1} s: {what}"));
        struck.marks.push(Mark { at_s, what });
    }
    struck
}
