//! A node in this process over an open data directory.

use crate::config::Config;
use crate::definitions::{self, WorkflowFile};
use crate::http_rail::{self, HttpRail};
use crate::limits::{LOG_OPEN_AFTER, LOG_OPENS_MAX};
use crate::measuring::Measuring;
use crate::opened::Opened;
use crate::sandbox_rail::{self, faults::Faults};
use crate::service::stages as stages_said;
use gristmill_actors::engine::{PayoutSlot, Ports};
use gristmill_actors::node::{Fatal, Node, Parts};
use gristmill_actors::rail::{Rail, RailProfile};
use gristmill_actors::registry::Registry;
use gristmill_actors::stage::StageType;
use gristmill_actors::stages::{self, Needs};
use gristmill_actors::trace_log::{self, TraceLog};
use gristmill_workflows::program::Program;
use gristmill_workflows::shard::World;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Why no node could be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The rail's address.
    #[error(transparent)]
    Rail(#[from] http_rail::Error),
    /// The own sandbox rail.
    #[error("the sandbox rail: {0}")]
    Sandbox(#[from] sandbox_rail::Error),
    /// This program's own file, which media workers run.
    #[error("this program's own file cannot be found: {0}")]
    Program(std::io::Error),
    /// Workflows and programs that do not fit together.
    #[error(transparent)]
    Registry(#[from] definitions::Error),
    /// The public log.
    #[error("the public log: {0}")]
    Log(#[from] trace_log::Error),
    /// The node.
    #[error(transparent)]
    Fatal(#[from] Fatal),
    /// A task of the runtime ended.
    #[error("a task of the runtime ended: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// What a node is made of, before it runs.
pub struct Prepared {
    /// Programs, workflows and the key for ids.
    pub world: Arc<World>,
    /// The outside.
    pub ports: Ports,
    registry: Registry,
    payouts: PayoutSlot,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").field("registry", &self.registry).finish_non_exhaustive()
    }
}

/// A node that runs, and the sandbox rail it started for itself.
#[derive(Debug)]
pub struct Running {
    /// The node.
    pub node: Node,
    rail: String,
    sandbox: Option<sandbox_rail::Running>,
}

/// Every stage type of this binary: the shipped ones and an author's.
pub fn stage_types(needs: &Needs, own: &[StageType]) -> Vec<StageType> {
    let mut types = stages::shipped(needs);
    types.extend_from_slice(own);
    types
}

impl Prepared {
    /// Puts programs, workflows and stages together over an open data directory.
    pub fn new(
        config: &Config,
        opened: &Opened,
        programs: BTreeMap<String, Program>,
        files: &[WorkflowFile],
        own: &[StageType],
    ) -> Result<Self, Error> {
        let ports = opened.ports();
        let payouts: PayoutSlot = Arc::new(OnceLock::new());
        let measurer = Arc::new(Measuring::start(&config.media).map_err(Error::Program)?);
        let rail = config.rail.name.clone();
        let needs = Needs { ports: ports.clone(), measurer, payouts: payouts.clone(), rail };
        let registry = definitions::check(&stage_types(&needs, own), files, &programs)?;
        let world = Arc::new(World {
            shards: opened.store.shards(),
            key: opened.dir.id_key().clone(),
            programs,
            workflows: registry.definitions(),
        });
        Ok(Self { world, ports, registry, payouts })
    }

    /// Starts the node: it takes up what stands in the store, and moves it.
    pub async fn start(
        self,
        config: &Config,
        opened: &Opened,
        rail_url: Option<&str>,
    ) -> Result<Running, Error> {
        let log = open_log(opened).await?;
        let (sandbox, url) = match rail_url {
            Some(url) => (None, url.to_owned()),
            None => {
                let running = own_sandbox(opened).await?;
                let url = running.url();
                (Some(running), url)
            }
        };
        let rail: Arc<dyn Rail> = Arc::new(HttpRail::new(&url, profile(config))?);
        let pauses = Arc::new(stages_said::pauses(&*opened.register).await.map_err(Fatal::Store)?);
        let parts = Parts {
            world: self.world,
            registry: self.registry,
            ports: self.ports,
            log,
            payouts: self.payouts,
            owner: opened.incarnation,
            window: config.node.window,
            retention: config.retention.finished(),
            pauses,
            place: opened.place.clone(),
        };
        let node = Node::start(parts, rail).await?;
        Ok(Running { node, rail: url, sandbox })
    }
}

impl Running {
    /// The rail's address.
    #[must_use]
    pub fn rail(&self) -> &str {
        &self.rail
    }

    /// Ends the node in order; true if every shard said so in time.
    pub async fn stop(self, deadline: Duration) -> Result<bool, Error> {
        let drained = self.node.stop(deadline).await;
        if let Some(sandbox) = self.sandbox {
            sandbox.stop()?;
        }
        Ok(drained)
    }
}

/// Opens the log. Where other nodes write it meanwhile, it may change while it is read.
async fn open_log(opened: &Opened) -> Result<TraceLog, trace_log::Error> {
    let mut tries = 0;
    loop {
        let log = TraceLog::open(opened.log_store(), opened.dir.trace_key().clone()).await;
        if log.is_ok() || opened.place.is_none() || tries >= LOG_OPENS_MAX {
            return log;
        }
        tries += 1;
        tokio::time::sleep(LOG_OPEN_AFTER).await;
    }
}

/// The sandbox rail replays its book when it starts, which blocks.
async fn own_sandbox(opened: &Opened) -> Result<sandbox_rail::Running, Error> {
    let options = sandbox_rail::Options {
        listen: ([127, 0, 0, 1], 0).into(),
        book: opened.dir.rail(),
        faults: Faults::default(),
        seed: 0,
    };
    Ok(tokio::task::spawn_blocking(move || sandbox_rail::serve(&options)).await??)
}

/// What the configured rail promises.
pub(crate) fn profile(config: &Config) -> RailProfile {
    RailProfile {
        name: config.rail.name.clone(),
        key_window: Duration::from_millis(config.rail.key_window_ms),
        settle_time: Duration::from_millis(config.rail.settle_time_ms),
        max_batch: config.rail.max_batch,
        ..http_rail::sandbox_profile()
    }
}
