//! `gristmill serve`: the node as a service over HTTP.

pub mod access;
pub mod api_keys;
pub mod body;
pub mod changes;
pub mod endpoints;
pub mod fields;
pub mod handlers;
pub mod intake;
pub mod limits;
pub mod openapi;
pub mod problem;
pub mod query;
pub mod role;
pub mod router;
pub mod server;
mod singles;
mod slots;
pub mod stages;
pub mod state;
mod upkeep;
pub mod uploads;

use crate::cli;
use crate::config::Config;
use crate::definitions;
use crate::embedded_node::{self, Prepared};
use crate::interrupts::{self, Interrupts};
use crate::opened::{self, Opened};
use crate::receipts::Proofs;
use crate::redis_store::keep_erasure_deadline;
use crate::run::{node_exit_code, say, store_options};
use crate::service::api_keys::ApiKeys;
use crate::service::limits::LAST_ANSWERS;
use crate::service::state::{Parts, Service};
use crate::shared_store;
use crate::threads::{JOURNEYS_BEHIND, Threads, step_back};
use gristmill_actors::node::Fatal;
use gristmill_actors::ports::StoreError;
use gristmill_actors::stage::StageType;
use gristmill_actors::survey;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Why a service could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory.
    #[error(transparent)]
    Opened(#[from] opened::Error),
    /// Programs or workflows.
    #[error(transparent)]
    Definitions(#[from] definitions::Error),
    /// The register.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The node.
    #[error(transparent)]
    Node(#[from] embedded_node::Error),
    /// The address.
    #[error("{address}: {source}")]
    Listen {
        /// As asked for.
        address: SocketAddr,
        /// What was met.
        source: std::io::Error,
    },
    /// Another address than loopback, and no key.
    #[error(
        "{address} can be reached from elsewhere, and no API key stands: make one with \
         `gristmill keys new --role operator`, or listen on 127.0.0.1"
    )]
    NoKeys {
        /// As asked for.
        address: SocketAddr,
    },
    /// Signals.
    #[error(transparent)]
    Signals(#[from] interrupts::Error),
    /// No thread could be started.
    #[error("the service's threads: {0}")]
    Threads(std::io::Error),
    /// Nobody reads the first line.
    #[error("standard output: {0}")]
    Output(std::io::Error),
}

impl Error {
    /// The process exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Opened(error) => error.exit_code(),
            Self::Definitions(_) | Self::NoKeys { .. } | Self::Listen { .. } => 2,
            Self::Node(error) => node_exit_code(error),
            Self::Store(_) | Self::Signals(_) | Self::Threads(_) | Self::Output(_) => 4,
        }
    }
}

impl From<Fatal> for Error {
    fn from(fatal: Fatal) -> Self {
        Self::Node(embedded_node::Error::Fatal(fatal))
    }
}

/// Serves until it is told to end.
pub async fn serve(config: &Config, own: &[StageType], args: &cli::Serve) -> Result<(), Error> {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let address = args.listen.or(config.listen()).unwrap_or(loopback);
    let programs = definitions::load_programs(config.programs_dir())?;
    let workflows = definitions::load_workflows(config.workflows_dir())?;
    let listen = |source| Error::Listen { address, source };
    let threads = Threads::start("service").map_err(Error::Threads)?;
    // Those threads answer; what is started from here on stands behind them.
    step_back(JOURNEYS_BEHIND);
    let listener = {
        let _entered = threads.enter();
        server::listen(address).map_err(listen)?
    };
    let bound = listener.local_addr().map_err(listen)?;
    let data_dir = &args.place.data_dir;
    let opened = match &args.shared.store {
        Some(_) => {
            let url = format!("http://{bound}");
            let opened = shared_store::open(config, &args.shared, data_dir, &url).await?;
            opened.trace.probe().await.map_err(opened::Error::Unfit)?;
            opened
        }
        None => Opened::make(data_dir, &config.trace.origin, store_options(config))?,
    };
    let register = opened.register.clone();
    let keys = ApiKeys::open(register.clone()).await?;
    if !address.ip().is_loopback() && keys.is_empty() {
        return Err(Error::NoKeys { address });
    }
    let mut interrupts = Interrupts::listen()?;
    let prepared = Prepared::new(config, &opened, programs, &workflows, own)?;
    let world = prepared.world.clone();
    let rail = args.rail.as_deref().or(config.rail_url());
    let running = prepared.start(config, &opened, rail).await?;
    if let Some(redis) = &opened.redis {
        keep_erasure_deadline(redis, config.store.erasure_deadline());
    }
    let engine = running.node.engine().clone();
    // The node's ports: what the store refuses is counted there.
    let ports = engine.ports.clone();
    let surveyed = engine.clone();
    let survey = tokio::spawn(async move { survey::repeat(&surveyed).await });
    let (log, proofs) = (opened.log_store(), Proofs::new(&opened.dir, opened.trace.clone()));
    let media_max = config.media.max_bytes;
    let parts = Parts { world, ports, log, engine, register, keys, proofs, media_max };
    let (service, waiting) = Service::new(parts);
    let service = Arc::new(service);
    let singles = threads.spawn(singles::run(service.clone(), waiting));
    let upkeep = tokio::spawn(upkeep::run(service.clone(), config.service.upload_hours));
    let (stop, stopped) = watch::channel(false);
    let router = router::router(&service);
    let places = config.service.connections;
    let server = threads.spawn(server::serve(listener, router, places, stopped));
    announce(bound)?;
    let fatal = tokio::select! {
        () = interrupts.next() => None,
        fatal = running.node.ended() => Some(fatal),
    };
    match &fatal {
        Some(_) => service.fail(),
        None => service.drain(),
    }
    survey.abort();
    let deadline = Duration::from_millis(config.node.stop_deadline_ms);
    if !running.stop(deadline).await? {
        say("the node did not end in order; the next start looks at what it left");
    }
    upkeep.abort();
    last_answers(&stop, server).await;
    singles.abort();
    fatal.map_or(Ok(()), |fatal| Err(fatal.into()))
}

/// Ends connections as their answers end.
async fn last_answers(stop: &watch::Sender<bool>, server: JoinHandle<JoinSet<()>>) {
    if stop.send(true).is_err() {
        tracing::debug!("the server ended by itself");
    }
    if let Ok(mut connections) = server.await {
        let ended = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_ANSWERS, ended).await.is_err() {
            tracing::debug!("connections were cut");
        }
    }
}

/// Says where it listens: the first line of standard output, once the node runs.
fn announce(address: SocketAddr) -> Result<(), Error> {
    let line = serde_json::json!({ "listening": format!("http://{address}") });
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(Error::Output)
}
