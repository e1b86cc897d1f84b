//! The side of Gristmill in the comparison with peers: a node in this process and the load on it.
//! Arguments beside those of `../load.rs`: `--data-dir DIR`, `--program five|engine`, `--window N`,
//! and with a store on Redis `--store URL --durability always|everysec`. With `--alone` what the embedded
//! store wrote is written once more at the end, by its engine alone.

mod alone;
#[path = "../../load.rs"]
mod load;
mod steps;
mod watched;

use gristmill::cli::SharedStore;
use gristmill::config::Config;
use gristmill::definitions::{load_programs, load_workflows};
use gristmill::embedded_node::{Prepared, Running};
use gristmill::embedded_store::Options;
use gristmill::manifest;
use gristmill::opened::Opened;
use gristmill::receipts::Proofs;
use gristmill::service::api_keys::ApiKeys;
use gristmill::service::state::{Parts, Service};
use gristmill::shared_store;
use gristmill_workflows::program::Program;
use load::{Load, Task, Watch, argument};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use steps::{StepFive, StepFour, StepOne, StepThree, StepTwo};
use watched::{INTENDED, Watched};

/// People, each with consent. Items go round among them.
const PEOPLE: u64 = 10_000;
/// Items of one call of the intake.
const BATCH: u32 = 256;
/// Calls of the intake at a time.
const LANES: usize = 4;
const STOP_DEADLINE: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (watched, groups) = Box::pin(drive()).await?;
    let Some(calls) = watched.recorded() else { return Ok(()) };
    drop(watched);
    let dir = folder()?.join("alone");
    let of_engine = tokio::task::spawn_blocking(move || {
        alone::write(&dir, &calls, groups).map_err(|error| error.to_string())
    });
    let alone::Alone { items, batches, rows, bytes, took } = of_engine.await??;
    let seconds = took.as_secs_f64();
    println!(
        "{{\"at\": \"alone\", \"items\": {items}, \"seconds\": {seconds}, \"items_per_s\": {}, \
         \"batches\": {batches}, \"rows\": {rows}, \"bytes\": {bytes}}}",
        items as f64 / seconds
    );
    Ok(())
}

/// Puts the load on a node. What it wrote, if that is kept, and in how many groups.
async fn drive() -> Result<(Arc<Watched>, u64), Box<dyn Error>> {
    let task = Task::from_arguments()?;
    let name = argument("--program").unwrap_or_else(|| "five".to_owned());
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut programs = load_programs(None)?;
    programs.extend(load_programs(Some(&own.join("programs")))?);
    let program = programs.get(&name).ok_or("no such program")?.clone();
    let workflows = load_workflows(Some(&own.join("workflows")))?;
    let mut config = Config::default();
    if let Some(window) = argument("--window") {
        config.node.window = window.parse()?;
    }
    let mut opened = open(&config).await?;
    // People come first; the watch begins when they are in.
    let items = match task.load {
        Load::InFlight(items) => items,
        Load::Rate(_) => 0,
    };
    let people = consents(&program);
    let store = opened.store.clone();
    let stages = gristmill_actors::stages![StepOne, StepTwo, StepThree, StepFour, StepFive];
    let watch = Arc::new(Watch::new(&task));
    let watched = Arc::new(Watched::new(store, watch.clone(), items));
    opened.store = watched.clone();
    let prepared = Prepared::new(&config, &opened, programs, &workflows, &stages)?;
    let running = prepared.start(&config, &opened, None).await?;
    let service = Arc::new(service(&config, &opened, &running).await?);
    for batch in people.chunks(1000) {
        hand_in(&service, batch).await?;
    }
    let records = std::env::args().any(|word| word == "--alone");
    let mut groups = 0;
    if records {
        groups = alone::groups(&folder()?)?;
        watched.record();
    }
    let next = AtomicU64::new(0);
    let loader = Arc::new(Loader { service, watch, watched: watched.clone(), program, next });
    let telling = {
        let loader = loader.clone();
        tokio::spawn(async move { loader.watch.tell().await.map_err(|error| error.to_string()) })
    };
    match task.load {
        Load::InFlight(_) => loader.in_flight().await?,
        Load::Rate(rate) => loader.at_rate(rate).await,
    }
    telling.await??;
    running.node.rest(STOP_DEADLINE.as_millis().try_into()?).await?;
    let (glance, handed_in) = (running.node.glance(), loader.next.load(Ordering::Relaxed));
    running.stop(STOP_DEADLINE).await?;
    if glance.settled != handed_in {
        return Err(format!("{} of {handed_in} settled", glance.settled).into());
    }
    if records {
        groups = alone::groups(&folder()?)? - groups;
    }
    Ok((watched, groups))
}

fn folder() -> Result<PathBuf, Box<dyn Error>> {
    Ok(PathBuf::from(argument("--data-dir").ok_or("--data-dir is needed")?))
}

async fn open(config: &Config) -> Result<Opened, Box<dyn Error>> {
    let folder = folder()?;
    let Some(store) = argument("--store") else {
        let options = Options { shards: config.store.shards, ..Options::default() };
        return Ok(Opened::make(&folder, &config.trace.origin, options)?);
    };
    let durability = argument("--durability").ok_or("--durability is needed")?;
    let shared = SharedStore {
        store: Some(store),
        store_credentials: None,
        shared_dir: None,
        bucket_credentials: None,
        durability: durability.parse()?,
        accept_weaker: false,
        lease_ms: 5_000,
        name: None,
    };
    Ok(shared_store::open(config, &shared, &folder, "127.0.0.1:0").await?)
}

/// Intake as the service does it.
async fn service(
    config: &Config,
    opened: &Opened,
    running: &Running,
) -> Result<Service, Box<dyn Error>> {
    let engine = running.node.engine().clone();
    let parts = Parts {
        world: engine.world.clone(),
        ports: engine.ports.clone(),
        log: opened.log_store(),
        keys: ApiKeys::open(opened.register.clone()).await?,
        engine,
        register: opened.register.clone(),
        proofs: Proofs::new(&opened.dir, opened.trace.clone()),
        media_max: config.media.max_bytes,
    };
    let (service, _singles) = Service::new(parts);
    Ok(service)
}

fn consents(program: &Program) -> Vec<String> {
    let consent = |person| {
        serde_json::json!({"consent": {"contributor": format!("p{person}"),
            "program": program.id, "purposes": [program.purpose], "modalities": ["none"],
            "terms": program.terms}})
    };
    (0..PEOPLE).map(|person| consent(person).to_string()).collect()
}

async fn hand_in(service: &Service, lines: &[String]) -> Result<(), Box<dyn Error>> {
    let now = service.ports.clock.now();
    let mut read = Vec::with_capacity(lines.len());
    for line in lines {
        read.push(manifest::parse(line.as_bytes(), now).map_err(|refusal| format!("{refusal:?}"))?);
    }
    for answer in service.submit(read).await {
        answer.map_err(|problem| format!("{problem:?}"))?;
    }
    Ok(())
}

struct Loader {
    service: Arc<Service>,
    watch: Arc<Watch>,
    watched: Arc<Watched>,
    program: Program,
    next: AtomicU64,
}

impl Loader {
    fn line(&self) -> String {
        let item = self.next.fetch_add(1, Ordering::Relaxed);
        let (person, key, program) = (item % PEOPLE, item / PEOPLE, &self.program.id);
        format!(
            r#"{{"contributor":"p{person}","idempotency_key":"{key}","program":"{program}","task":"none","modality":"none"}}"#
        )
    }

    /// As many items as may be under way, in batches.
    async fn in_flight(self: &Arc<Self>) -> Result<(), Box<dyn Error>> {
        let mut lanes = tokio::task::JoinSet::new();
        for _ in 0..LANES {
            let loader = self.clone();
            lanes.spawn(async move { loader.lane().await.map_err(|error| error.to_string()) });
        }
        while let Some(ended) = lanes.join_next().await {
            ended??;
        }
        Ok(())
    }

    async fn lane(&self) -> Result<(), Box<dyn Error>> {
        while self.watch.goes_on() {
            self.watched.permits.acquire_many(BATCH).await?.forget();
            let lines: Vec<String> = (0..BATCH).map(|_| self.line()).collect();
            INTENDED.scope(Instant::now(), hand_in(&self.service, &lines)).await?;
        }
        Ok(())
    }

    /// One after the other at its moment, whatever is under way.
    async fn at_rate(self: &Arc<Self>, rate: f64) {
        let mut tick = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
        let mut items = tokio::task::JoinSet::new();
        while self.watch.goes_on() {
            let intended = tick.tick().await.into_std();
            let loader = self.clone();
            items.spawn(async move {
                let line = [loader.line()];
                let handed_in = hand_in(&loader.service, &line);
                if let Err(error) = INTENDED.scope(intended, handed_in).await {
                    eprintln!("an item was not taken: {error}");
                }
            });
        }
        // What is counted as handed in is, before anybody waits for its end.
        items.join_all().await;
    }
}
