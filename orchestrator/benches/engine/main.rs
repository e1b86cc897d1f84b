//! The engine program through all five stages, everything else real: one actor a contribution, the
//! fsynced embedded store, ledger, Trace to a published checkpoint, the sandbox rail over loopback
//! HTTP; then the same node at a light load, and what the machine can do at all in the same run.
//! `cargo bench -p gristmill --bench engine -- [ITEMS]`; `orchestrator/docs/performance.md` says how
//! to read it.

mod light;
mod reference;

use gristmill::embedded_store::Options;
use gristmill::http_rail::{HttpRail, sandbox_profile};
use gristmill::intake::Intake;
use gristmill::opened::Opened;
use gristmill::sandbox_rail::{self, faults::Faults};
use gristmill_actors::engine::{MeasureError, Measured, Measurer, Ports};
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
use std::sync::{Arc, OnceLock};
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

fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = std::env::args().skip(1).filter_map(|word| word.parse().ok());
    let items: u64 = numbers.next().unwrap_or(100_000);
    let folder = match std::env::var_os("GRISTMILL_BENCH_DIR") {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(bench(items, folder.path()))
}

async fn bench(items: u64, folder: &Path) -> Result<(), Box<dyn Error>> {
    let data = folder.join("data");
    let opened = Opened::make(
        &data,
        "gristmill.local/trace",
        Options { shards: SHARDS, ..Options::default() },
    )?;
    let ports: Ports = opened.ports();
    let payouts = Arc::new(OnceLock::new());
    let needs = Needs {
        ports: ports.clone(),
        measurer: Arc::new(NoMedia),
        payouts: payouts.clone(),
        rail: "sandbox".to_owned(),
    };
    let program: Program = toml::from_str(PROGRAM)?;
    let workflow: File = toml::from_str(WORKFLOW)?;
    let registry = Registry::new(&shipped(&needs), vec![workflow])?;
    let world = Arc::new(World {
        shards: opened.store.shards(),
        key: opened.dir.id_key().clone(),
        programs: [(program.id.clone(), program.clone())].into(),
        workflows: registry.definitions(),
    });
    let start = Instant::now();
    let now = ports.clock.now();
    let manifest = manifest(items, &program);
    let made = start.elapsed();
    let intake = Intake::new(&ports, &world, None, now, false);
    let taken = intake.take(&mut Cursor::new(manifest), |_| {}).await?;
    rate("intake, durable", taken.journeys.len() as u64, start.elapsed() - made);
    let book = opened.dir.rail();
    let sandbox = tokio::task::spawn_blocking(move || sandbox_rail::serve(&rail(book))).await??;
    let log = TraceLog::open(opened.log_store(), opened.dir.trace_key().clone()).await?;
    let start = Instant::now();
    let (owner, window, place) = (1, WINDOW, None);
    let parts = Parts {
        world: world.clone(),
        registry,
        ports: ports.clone(),
        log,
        payouts,
        owner,
        window,
        place,
        pauses: Arc::default(),
    };
    let rail = Arc::new(HttpRail::new(&sandbox.url(), sandbox_profile())?);
    let node = Node::start(parts, rail).await?;
    node.rest(60_000).await?;
    let took = start.elapsed();
    let glance = node.glance();
    rate("settled, published", glance.settled, took);
    println!("{glance:?}");
    println!("{:?}", node.engine().counters);
    reference::sizes(&data)?;
    let light = light::Load { node: &node, ports: &ports, world: &world, program: &program };
    light.run().await?;
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

fn manifest(items: u64, program: &Program) -> String {
    let mut text = String::new();
    let terms = serde_json::json!(program.terms);
    for n in 0..items {
        let consent = serde_json::json!({"consent": {"contributor": format!("c{n}"),
            "program": program.id, "purposes": [program.purpose], "modalities": ["none"],
            "terms": terms}});
        let item = item(&format!("c{n}"), "1", program);
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
