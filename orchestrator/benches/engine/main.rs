//! The engine program through all five stages, everything else real: one actor a contribution, the
//! fsynced embedded store, ledger, Trace to a published checkpoint, the sandbox rail over loopback
//! HTTP; then the same node at a light load, and what the machine can do at all in the same run.
//! `cargo bench -p gristmill --bench engine -- [ITEMS]`; `orchestrator/docs/performance.md` says how
//! to read it. With `full [FINISHED [PARKED]]` the rate on a store that holds so much already, beside
//! the rate on an empty one.

mod full;
mod light;
mod reference;

use gristmill::embedded_store::Options;
use gristmill::http_rail::{HttpRail, sandbox_profile};
use gristmill::intake::Intake;
use gristmill::opened::Opened;
use gristmill::sandbox_rail::{self, faults::Faults};
use gristmill_actors::engine::{MeasureError, Measured, Measurer, PayoutSlot, Ports};
use gristmill_actors::node::{Node, Parts};
use gristmill_actors::rail::BoxFuture;
use gristmill_actors::registry::Registry;
use gristmill_actors::stages::{Needs, shipped};
use gristmill_actors::trace_log::TraceLog;
use gristmill_workflows::definition::File;
use gristmill_workflows::program::Program;
use gristmill_workflows::shard::World;
use gristmill_workflows::submission::Modality;
use std::error::Error;
use std::fmt::Write as _;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const PROGRAM: &str = include_str!("../../../workflows/programs/engine.toml");
const WORKFLOW: &str = include_str!("../../../workflows/engine.toml");
const SHARDS: u16 = 16;
const WINDOW: usize = 8192;

struct NoMedia;

impl Measurer for NoMedia {
    fn measure(&self, _: Vec<u8>, _: Modality) -> BoxFuture<'_, Result<Measured, MeasureError>> {
        Box::pin(async { Err(MeasureError::Verdict("undecodable")) })
    }
}

/// A node's world over a store that is open.
struct Stand {
    opened: Opened,
    world: Arc<World>,
    program: Program,
}

impl Stand {
    /// Opens a data directory, making it first.
    fn open(data: &Path) -> Result<Self, Box<dyn Error>> {
        let options = Options { shards: SHARDS, ..Options::default() };
        let opened = Opened::make(data, "gristmill.local/trace", options)?;
        let program: Program = toml::from_str(PROGRAM)?;
        let registry = registry(&opened.ports(), &PayoutSlot::default())?;
        let world = Arc::new(World {
            shards: opened.store.shards(),
            key: opened.dir.id_key().clone(),
            programs: [(program.id.clone(), program.clone())].into(),
            workflows: registry.definitions(),
        });
        Ok(Self { opened, world, program })
    }

    /// Makes the items of a manifest durable; how many they are, and how long that took.
    async fn take(&self, manifest: String) -> Result<(u64, Duration), Box<dyn Error>> {
        let (start, ports) = (Instant::now(), self.opened.ports());
        let intake = Intake::new(&ports, &self.world, None, ports.clock.now(), false);
        let taken = intake.take(&mut Cursor::new(manifest), |_| {}).await?;
        Ok((taken.journeys.len() as u64, start.elapsed()))
    }

    async fn node(&self, rail: &str) -> Result<Node, Box<dyn Error>> {
        let (ports, payouts) = (self.opened.ports(), PayoutSlot::default());
        let (owner, window, place) = (1, WINDOW, None);
        let parts = Parts {
            world: self.world.clone(),
            registry: registry(&ports, &payouts)?,
            log: TraceLog::open(self.opened.log_store(), self.opened.dir.trace_key().clone())
                .await?,
            ports,
            payouts,
            owner,
            window,
            place,
            retention: None,
            pauses: Arc::default(),
        };
        Ok(Node::start(parts, Arc::new(HttpRail::new(rail, sandbox_profile())?)).await?)
    }
}

fn registry(ports: &Ports, payouts: &PayoutSlot) -> Result<Registry, Box<dyn Error>> {
    let needs = Needs {
        ports: ports.clone(),
        measurer: Arc::new(NoMedia),
        payouts: payouts.clone(),
        rail: "sandbox".to_owned(),
    };
    let workflow: File = toml::from_str(WORKFLOW)?;
    Ok(Registry::new(&shipped(&needs), vec![workflow])?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_full = words.first().is_some_and(|word| word == "full");
    let mut numbers = words.iter().filter_map(|word| word.parse().ok());
    let folder = match std::env::var_os("GRISTMILL_BENCH_DIR") {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if is_full {
        let finished = numbers.next().unwrap_or(1_000_000);
        let parked = numbers.next().unwrap_or(finished / 10);
        return runtime.block_on(full::bench(finished, parked, folder.path()));
    }
    runtime.block_on(bench(numbers.next().unwrap_or(100_000), folder.path()))
}

async fn bench(items: u64, folder: &Path) -> Result<(), Box<dyn Error>> {
    let data = folder.join("data");
    let stand = Stand::open(&data)?;
    let (count, took) = stand.take(manifest("", items, &stand.program)).await?;
    rate("intake, durable", count, took);
    let book = stand.opened.dir.rail();
    let sandbox = tokio::task::spawn_blocking(move || sandbox_rail::serve(&rail(book))).await??;
    let start = Instant::now();
    let node = stand.node(&sandbox.url()).await?;
    node.rest(60_000).await?;
    let took = start.elapsed();
    let glance = node.glance();
    rate("settled, published", glance.settled, took);
    println!("{glance:?}");
    println!("{:?}", node.engine().counters);
    reference::sizes(&data)?;
    let (ports, world, program) = (&stand.opened.ports(), &stand.world, &stand.program);
    light::Load { node: &node, ports, world, program }.run().await?;
    reference::rates(folder)?;
    if !node.stop(Duration::from_secs(10)).await {
        return Err("the node did not stop in order".into());
    }
    sandbox.stop()?;
    if glance.settled != items {
        return Err(format!("{} of {items} settled", glance.settled).into());
    }
    Ok(())
}

fn rail(book: PathBuf) -> sandbox_rail::Options {
    let listen = ([127, 0, 0, 1], 0).into();
    sandbox_rail::Options { listen, book, faults: Faults::default(), seed: 0 }
}

fn rate(what: &str, count: u64, took: Duration) {
    let rate = count as f64 / took.as_secs_f64();
    println!("{what}: {count} in {:.2} s, {rate:.0}/s", took.as_secs_f64());
}

/// `items` people with consent, and a contribution of each.
fn manifest(prefix: &str, items: u64, program: &Program) -> String {
    let mut text = String::new();
    let terms = serde_json::json!(program.terms);
    for n in 0..items {
        let consent = serde_json::json!({"consent": {"contributor": format!("{prefix}c{n}"),
            "program": program.id, "purposes": [program.purpose], "modalities": ["none"],
            "terms": terms}});
        let item = item(&format!("{prefix}c{n}"), "1", program);
        if writeln!(text, "{consent}\n{item}").is_err() {
            break;
        }
    }
    text
}

fn item(contributor: &str, key: &str, program: &Program) -> serde_json::Value {
    serde_json::json!({"contributor": contributor, "idempotency_key": key,
        "program": program.id, "task": "none", "modality": "none"})
}
