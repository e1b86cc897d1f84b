//! Processes that a simulation starts for itself: a rail, nodes, and the Redis server between them.
//! All of them end with it.

use super::fault::What;
use super::limits::START_PATIENCE;
use super::resources::Resources;
use crate::cli::SharedStore;
use crate::client::{self, Call, Client};
use crate::redis_store::Durability;
use crate::shared_store::SharedPlace;
use hyper::Method;
use hyper::body::Bytes;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, sleep, timeout};

/// Between two looks at whether the server answers.
const LOOK: Duration = Duration::from_millis(50);

/// Why the processes could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder, a file of its log, or a program.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was met.
        source: std::io::Error,
    },
    /// A process did not say where it listens.
    #[error("{what} did not start; {} says why", log.display())]
    Start {
        /// Which.
        what: String,
        /// What it wrote on standard error.
        log: PathBuf,
    },
    /// The rail does not take its faults.
    #[error("the rail: {0}")]
    Rail(#[from] client::Error),
    /// A fault of a process that is not there.
    #[error("--fault {what}: the simulation started no such process")]
    NotThere {
        /// Which fault.
        what: &'static str,
    },
}

/// How nodes are started.
#[derive(Debug, Clone)]
pub struct Setup<'a> {
    /// The simulation's data directory.
    pub data_dir: &'a Path,
    /// How many nodes.
    pub nodes: usize,
    /// Over a Redis server of its own, this durable; none: one node on an embedded store.
    pub redis: Option<Durability>,
    /// A configuration file for the nodes.
    pub config: Option<&'a Path>,
    /// A folder of programs for the nodes.
    pub programs: Option<&'a Path>,
}

impl Setup<'_> {
    /// Whether a fault is of a process that will run.
    ///
    /// # Errors
    /// [`Error::NotThere`].
    pub fn has(&self, what: What) -> Result<(), Error> {
        match what {
            What::StopRedis(_) if self.redis.is_none() => {
                Err(Error::NotThere { what: "stop-redis" })
            }
            What::KillNode | What::RailDown(_) | What::StopRedis(_) => Ok(()),
        }
    }
}

/// A process that said where it listens.
struct Listening {
    child: Child,
    url: String,
    /// Held, so that it can go on writing.
    _stdout: BufReader<ChildStdout>,
}

/// A Redis server.
struct Redis {
    folder: PathBuf,
    port: u16,
    appendfsync: &'static str,
    child: Child,
}

/// What runs.
pub(crate) struct Fleet {
    program: PathBuf,
    data_dir: PathBuf,
    arguments: Vec<String>,
    redis: Option<Redis>,
    rail: Listening,
    nodes: Vec<Listening>,
    killed: usize,
    /// What killed processes had used.
    gone: Resources,
}

#[derive(Deserialize)]
struct Announcement {
    listening: String,
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::File { path, source }
}

/// The folder of a node of a simulation.
pub(crate) fn node_dir(data_dir: &Path, node: usize) -> PathBuf {
    data_dir.join(format!("node-{node}"))
}

/// The folder of its rail's book.
pub(crate) fn rail_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("rail")
}

/// The folder of its Redis server.
pub(crate) fn redis_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("redis")
}

/// The store of a simulation's nodes, as each of them is told.
pub(crate) fn store_of(data_dir: &Path, port: u16, durability: Durability) -> SharedStore {
    SharedStore {
        store: Some(format!("redis://127.0.0.1:{port}/0")),
        store_credentials: None,
        shared_dir: Some(SharedPlace::Directory(data_dir.join("shared"))),
        bucket_credentials: None,
        durability,
        accept_weaker: false,
        lease_ms: 2_000,
        name: None,
    }
}

impl Redis {
    async fn start(folder: &Path, appendfsync: &'static str) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(at(folder))?;
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.map_err(at(folder))?.port();
        let child = Self::spawn(folder, port, appendfsync)?;
        let redis = Self { folder: folder.to_owned(), port, appendfsync, child };
        redis.answers().await?;
        Ok(redis)
    }

    fn spawn(folder: &Path, port: u16, appendfsync: &str) -> Result<Child, Error> {
        let log = folder.join("server.log");
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.args(["--appendonly", "yes", "--appendfsync", appendfsync, "--dir"]).arg(folder);
        command.stdin(Stdio::null()).stdout(File::create(&log).map_err(at(&log))?);
        command.kill_on_drop(true).process_group(0);
        command.spawn().map_err(at(Path::new("redis-server")))
    }

    /// Waits until it takes connections; what it loads first, its clients wait for themselves.
    async fn answers(&self) -> Result<(), Error> {
        let until = Instant::now() + START_PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            if Instant::now() > until {
                let log = self.folder.join("server.log");
                return Err(Error::Start { what: "redis-server".to_owned(), log });
            }
            sleep(LOOK).await;
        }
        Ok(())
    }
}

const fn appendfsync(durability: Durability) -> &'static str {
    match durability {
        Durability::Everysec => "everysec",
        Durability::Always | Durability::Replicated(_) => "always",
    }
}

/// Starts this program's own file with other arguments; it says where it listens.
async fn start(
    program: &Path,
    what: &str,
    data_dir: &Path,
    arguments: &[String],
) -> Result<Listening, Error> {
    let log = data_dir.join(format!("{what}.log"));
    let stderr = File::options().create(true).append(true).open(&log).map_err(at(&log))?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
    // A group of its own: Ctrl-C is for the simulation alone.
    command.kill_on_drop(true).process_group(0);
    let mut child = command.spawn().map_err(at(program))?;
    let failed = || Error::Start { what: what.to_owned(), log: log.clone() };
    let mut stdout = BufReader::new(child.stdout.take().ok_or_else(failed)?);
    let mut line = String::new();
    let read = timeout(START_PATIENCE, stdout.read_line(&mut line)).await;
    let said: Option<Announcement> = match read {
        Ok(Ok(_)) => serde_json::from_str(&line).ok(),
        Ok(Err(_)) | Err(_) => None,
    };
    let url = said.ok_or_else(failed)?.listening;
    Ok(Listening { child, url, _stdout: stdout })
}

impl Fleet {
    /// Starts everything, in the order in which it is needed.
    pub(crate) async fn start(setup: &Setup<'_>) -> Result<Self, Error> {
        let data_dir = setup.data_dir;
        fs::create_dir_all(data_dir).map_err(at(data_dir))?;
        let program = std::env::current_exe().map_err(at(Path::new("gristmill")))?;
        let book = rail_dir(data_dir).display().to_string();
        let rail = ["sandbox-rail", "--listen", "127.0.0.1:0", "--book", &book];
        let rail: Vec<String> = rail.iter().map(|&word| word.to_owned()).collect();
        let rail = start(&program, "rail", data_dir, &rail).await?;
        let mut arguments = vec!["serve".to_owned(), "--rail".to_owned(), rail.url.clone()];
        let mut redis = None;
        if let Some(durability) = setup.redis {
            let server = Redis::start(&redis_dir(data_dir), appendfsync(durability)).await?;
            let store = store_of(data_dir, server.port, durability);
            let shared = data_dir.join("shared").display().to_string();
            let lease = store.lease_ms.to_string();
            arguments.extend(["--store".to_owned(), store.store.unwrap_or_default()]);
            arguments.extend(["--shared-dir".to_owned(), shared]);
            let level = appendfsync(durability).to_owned();
            arguments.extend(["--durability".to_owned(), level, "--lease-ms".to_owned(), lease]);
            redis = Some(server);
        }
        for (flag, path) in [("--config", setup.config), ("--programs", setup.programs)] {
            if let Some(path) = path {
                arguments.extend([flag.to_owned(), path.display().to_string()]);
            }
        }
        let mut fleet = Self {
            program,
            data_dir: data_dir.to_owned(),
            arguments,
            redis,
            rail,
            nodes: Vec::new(),
            killed: 0,
            gone: Resources::default(),
        };
        for node in 0..setup.nodes {
            fleet.keys(node)?;
            let listening = fleet.node(node, "127.0.0.1:0").await?;
            fleet.nodes.push(listening);
        }
        Ok(fleet)
    }

    /// Every node has the keys that the first one made.
    fn keys(&self, node: usize) -> Result<(), Error> {
        if node == 0 {
            return Ok(());
        }
        let (from, to) = (node_dir(&self.data_dir, 0), node_dir(&self.data_dir, node));
        let to = to.join("keys");
        fs::create_dir_all(&to).map_err(at(&to))?;
        for name in ["trace.key", "id.key"] {
            let path = to.join(name);
            fs::copy(from.join("keys").join(name), &path).map_err(at(&path))?;
        }
        Ok(())
    }

    async fn node(&self, node: usize, listen: &str) -> Result<Listening, Error> {
        let dir = node_dir(&self.data_dir, node).display().to_string();
        let own = ["--data-dir".to_owned(), dir, "--listen".to_owned(), listen.to_owned()];
        let arguments = [&self.arguments[..], &own].concat();
        start(&self.program, &format!("node-{node}"), &self.data_dir, &arguments).await
    }

    /// Where the nodes listen.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.url.clone()).collect()
    }

    /// The rail's address.
    pub(crate) fn rail(&self) -> &str {
        &self.rail.url
    }

    /// The port of the Redis server.
    pub(crate) fn redis_port(&self) -> Option<u16> {
        self.redis.as_ref().map(|redis| redis.port)
    }

    /// Lets something go wrong, and mends it; what happened, for the report.
    pub(crate) async fn strike(&mut self, what: What) -> Result<String, Error> {
        match what {
            What::KillNode => {
                let node = self.killed % self.nodes.len();
                self.killed += 1;
                let listen = self.nodes[node].url.replace("http://", "");
                self.gone.add(used(&self.nodes[node].child));
                let killed = self.nodes[node].child.kill().await;
                killed.map_err(at(&node_dir(&self.data_dir, node)))?;
                self.nodes[node] = self.node(node, &listen).await?;
                Ok(format!("node {node} killed"))
            }
            What::RailDown(away) => {
                rail_down(self.rail(), away).await?;
                Ok(format!("rail down for {} s", away.as_secs_f64()))
            }
            What::StopRedis(away) => {
                let redis = self.redis.as_mut().ok_or(Error::NotThere { what: "stop-redis" })?;
                self.gone.add(used(&redis.child));
                redis.child.kill().await.map_err(at(&redis.folder))?;
                sleep(away).await;
                redis.child = Redis::spawn(&redis.folder, redis.port, redis.appendfsync)?;
                redis.answers().await?;
                Ok(format!("Redis away for {} s", away.as_secs_f64()))
            }
        }
    }

    /// What nodes, rail and server have used since they started, those that were killed included.
    pub(crate) fn used(&self) -> Resources {
        let nodes = self.nodes.iter().chain([&self.rail]).map(|process| &process.child);
        let server = self.redis.iter().map(|redis| &redis.child);
        let mut all = self.gone;
        nodes.chain(server).for_each(|child| all.add(used(child)));
        all
    }

    /// Ends the nodes in order; the server and the rail stay for the auditor. False if one was late.
    pub(crate) async fn stop_nodes(&mut self, patience: Duration) -> bool {
        let mut in_order = true;
        for node in &mut self.nodes {
            let pid = node.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
            let told = pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
            in_order &= told && matches!(timeout(patience, node.child.wait()).await, Ok(Ok(_)));
        }
        self.nodes.clear();
        in_order
    }
}

/// What a process has used; nothing of one that is gone.
fn used(child: &Child) -> Resources {
    child.id().map(Resources::of).unwrap_or_default()
}

/// A server for the store of a simulation that has ended; its port.
pub(crate) struct Kept(Redis);

impl Kept {
    pub(crate) async fn start(data_dir: &Path) -> Result<Self, Error> {
        Ok(Self(Redis::start(&redis_dir(data_dir), "always").await?))
    }

    pub(crate) const fn port(&self) -> u16 {
        self.0.port
    }
}

/// Tells a sandbox rail to break and refuse connections from now on for a while.
pub(crate) async fn rail_down(url: &str, away: Duration) -> Result<(), client::Error> {
    let call = Call {
        method: Method::PUT,
        path: "/v1/faults",
        accept: "text/plain",
        content: Some("text/plain"),
        body: Bytes::from(format!("down={}ms@0ms", away.as_millis())),
        repeatable: true,
    };
    Client::new(url, None)?.call(call).await.map(drop)
}
