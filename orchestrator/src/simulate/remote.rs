//! A simulation against a node that runs, over HTTP.

use super::driver::{Driven, Driver};
use super::embedded::Error;
use super::fault::Struck;
use super::interruption::{Ends, Told};
use super::limits::{LISTED, REST_LOOK, REST_PATIENCE};
use super::lines::Lines;
use super::measured::Measured;
use super::plan::Plan;
use super::progress;
use super::remote_audit;
use super::report::{Parts, Report};
use super::resources::Resources;
use super::scan::Times;
use super::scrape::Scrape;
use super::target::Target;
use super::watch::Watch;
use crate::client::{self, Client};
use crate::definitions;
use crate::interrupts::Interrupts;
use crate::run::say;
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// Drives a node, waits until it is at rest, and audits it as far as its API shows.
///
/// # Errors
/// [`Error`] when something cannot be done at all; what is wrong is in the report.
pub(crate) async fn run(
    clients: &[Client],
    programs: Option<&Path>,
    mut plan: Plan,
    now_ms: u64,
) -> Result<Report, Error> {
    let [client, ..] = clients else { return Err(Error::NoAddress) };
    let programs = definitions::load_programs(programs)?;
    let lines = Lines::new(&plan, &programs)?;
    // Before anything is driven: the node answers, and its log has a key.
    let vkey = client.text("/trace/vkey").await?;
    let mut interrupts = Interrupts::listen()?;
    plan.start_ms = now_ms;
    let lines = lines.starting(plan.start_ms);
    let watch = Watch::begin(clients).await;
    let (target, measured) = (Target::Http(clients.to_vec()), Measured::new(&plan)?);
    let driver = Arc::new(Driver::new(plan.clone(), target, lines, measured));
    let (stop, stopped) = watch::channel(false);
    let mut driving = Box::pin(driver.drive(stopped));
    let mut shown = Box::pin(progress::show(&driver, || watch.standing()));
    let driven = loop {
        tokio::select! {
            biased;
            driven = &mut driving => break driven,
            () = interrupts.next() => {
                say("interrupted: nothing more is handed in, the auditor follows");
                stop.send_replace(true);
            }
            () = &mut shown => {}
        }
    };
    drop((driving, shown));
    drop(watch);
    let drove = driver.now_us();
    say("waiting until the node is at rest");
    let counts = driver.measured().counts.clone();
    let mut told = Told { once: driven.interrupted };
    // A listing that is read while journeys move proves nothing.
    let rested = told.unless(&mut interrupts, Ends::This, rest(client)).await?;
    rested.ok_or(Error::Interrupted)??;
    let rested = driver.now_us();
    // A key that may hand in and list need not be one that may watch.
    let stages = match Scrape::of_nodes(clients).await {
        Ok(scrape) => scrape.stages(),
        Err(error) => {
            say(&format!("how long stages took is not shown: {error}"));
            Vec::new()
        }
    };
    let audited = Box::pin(remote_audit::audit(client, &vkey, &plan, &driven, &counts));
    let audited = told.unless(&mut interrupts, Ends::Nothing, audited).await?;
    let audited = audited.ok_or(Error::Interrupted)??;
    let driven = Driven { interrupted: told.once, ..driven };
    let parts = Parts {
        target: client.base().to_owned(),
        driven: &driven,
        seconds: (drove as f64 / 1e6, rested as f64 / 1e6),
        resources: Resources::now(),
        started: None,
        disk_bytes: 0,
        audited,
        times: &Times::new()?,
        stages,
        faults: Struck::default(),
        config: None,
        virtual_time: None,
    };
    let mut measured = driver.measured();
    Ok(Report::new(plan, &mut measured, parts))
}

#[derive(Deserialize)]
struct Page {
    items: Vec<serde::de::IgnoredAny>,
    next_page_token: Option<String>,
}

/// Waits until the node has nothing queued or moving, or until what it has does not change for a
/// while.
pub(super) async fn rest(client: &Client) -> Result<(), client::Error> {
    let mut last = (0, Instant::now());
    loop {
        let mut under_way = 0;
        for state in ["queued", "moving"] {
            let mut token = String::new();
            loop {
                let path = format!("/v1/contributions?state={state}&page_size={LISTED}{token}");
                let page: Page = client.get(&path).await?;
                under_way += page.items.len();
                let Some(next) = page.next_page_token else { break };
                token = format!("&page_token={next}");
            }
        }
        if under_way == 0 {
            return Ok(());
        }
        if under_way != last.0 {
            last = (under_way, Instant::now());
        } else if last.1.elapsed() > REST_PATIENCE {
            return Ok(());
        }
        sleep(REST_LOOK).await;
    }
}
