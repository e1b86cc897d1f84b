//! A simulation in virtual time: a node in this process on a paused clock, which jumps to whatever
//! is due next as soon as nothing is left to do. Latencies are of that clock; how long calls to the
//! store, the log and the rail last is drawn from the seed. One thread, one seed, one outcome.

use super::auditor::{self, NodeSaid};
use super::driver::{Driven, Driver};
use super::embedded::{Error, Place, StruckRail, downs, glance, standing, strike};
use super::fault::Fault;
use super::lines::Lines;
use super::measured::{Counts, Measured};
use super::plan::Plan;
use super::progress;
use super::record::Record;
use super::report::{CallTimes, Parts, Report, VirtualTime};
use super::resources::Resources;
use super::scrape::Scrape;
use super::target::Target;
use super::virtual_node::VirtualNode;
use crate::config::Config;
use crate::definitions;
use crate::embedded_node;
use crate::interrupts::Interrupts;
use crate::run::say;
use gristmill_actors::stage::StageType;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Builder;
use tokio::sync::{oneshot, watch};

/// What is simulated; owned, since it goes to a thread of its own.
struct Setup {
    config: Config,
    own: Vec<StageType>,
    downs: Vec<(Duration, Duration)>,
    calls: CallTimes,
    plan: Plan,
}

/// Drives, waits for rest, audits; all of it on a thread whose clock is virtual.
///
/// # Errors
/// [`Error`] when something cannot be done at all; what is wrong is in the report.
pub(crate) async fn run(
    place: &Place<'_>,
    faults: &[Fault],
    calls: CallTimes,
    plan: Plan,
) -> Result<Report, Error> {
    let (config, own) = (place.config.clone(), place.own.to_vec());
    let setup = Setup { config, own, downs: downs(faults)?, calls, plan };
    let mut interrupts = Interrupts::listen()?;
    let (stop, stopped) = watch::channel(false);
    let (answer, mut answered) = oneshot::channel();
    let thread = std::thread::Builder::new().name("virtual-time".to_owned());
    let work = move || {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let report = match runtime {
            Ok(runtime) => runtime.block_on(Box::pin(simulate(setup, stopped))),
            Err(error) => Err(Error::VirtualTime(error)),
        };
        // After a second interrupt nobody waits for it.
        drop(answer.send(report));
    };
    thread.spawn(work).map_err(Error::VirtualTime)?;
    loop {
        tokio::select! {
            biased;
            report = &mut answered => return report.map_err(|_| Error::Ended)?,
            () = interrupts.next() => {
                if stop.send_replace(true) {
                    return Err(Error::Interrupted);
                }
                say("interrupted: nothing more is handed in, the auditor follows");
            }
        }
    }
}

async fn simulate(setup: Setup, stopped: watch::Receiver<bool>) -> Result<Report, Error> {
    let began = Instant::now();
    let Setup { config, own, downs, calls, mut plan } = setup;
    let place = Place { config: &config, own: &own, data_dir: Path::new(""), rail: None };
    let programs = definitions::load_programs(config.programs_dir())?;
    let lines = Lines::new(&plan, &programs)?;
    let VirtualNode { node, service, rail, left } =
        VirtualNode::start(&place, programs, &plan, calls).await?;
    plan.start_ms = service.ports.clock.now().0;
    let lines = lines.starting(plan.start_ms);
    let (before, measured) = (glance(&node), Measured::new(&plan)?);
    let target = Target::Embedded(service);
    let driver = Arc::new(Driver::new(plan.clone(), target, lines, measured));
    let (over, ended) = watch::channel(false);
    let struck = tokio::spawn(strike(StruckRail::Model(rail.clone()), downs, ended));
    let driven: Driven = tokio::select! {
        biased;
        driven = driver.drive(stopped) => driven,
        () = progress::show_ahead(&driver, || standing(&node, before)) => Driven::default(),
    };
    over.send_replace(true);
    let faults = struck.await.map_err(Error::Task)?;
    let drove = driver.now_us();
    node.rest(config.node.rest_patience_ms).await.map_err(embedded_node::Error::Fatal)?;
    let rested = driver.now_us();
    let virtual_time = VirtualTime { wall_seconds: began.elapsed().as_secs_f64(), calls };
    let (counted, resources) = (Scrape::of(&node.engine().metrics)?, Resources::now());
    let stages = counted.stages();
    let said = NodeSaid { before, after: Some(glance(&node)), counted };
    if !node.stop(Duration::from_millis(config.node.stop_deadline_ms)).await {
        say("the node did not end in order");
    }
    say("the auditor reads everything");
    let counts: Counts = driver.measured().counts.clone();
    let record = Record { plan, driven: Some(driven.clone()), counts };
    let sources = left.sources(rail.port());
    let (audited, times) = Box::pin(auditor::audit(&sources, &record, Some(said))).await?;
    let parts = Parts {
        target: "a node in virtual time".to_owned(),
        driven: &driven,
        seconds: (drove as f64 / 1e6, rested as f64 / 1e6),
        resources,
        started: None,
        disk_bytes: 0,
        audited,
        times: &times,
        stages,
        faults,
        config: Some(&config),
        virtual_time: Some(virtual_time),
    };
    let mut measured = driver.measured();
    Ok(Report::new(record.plan, &mut measured, parts))
}
