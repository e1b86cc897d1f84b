//! The node as a service, over real sockets, beside a bare handler under the same client: batches
//! while every stage is paused, single contributions, and reads while contributions settle.
//! And, if asked for, two nodes over a Redis server.
//! `cargo bench -p gristmill --bench service -- [SECONDS] [batches] [singles] [reads] [nodes]`;
//! `orchestrator/docs/performance.md` says how to read it.

mod bare;
mod batches;
mod client;
mod nodes;
mod reads;
mod singles;

use client::Client;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What went wrong in a part of the bench.
type Failure = Box<dyn Error + Send + Sync>;

const SECONDS: u64 = 30;
const PARTS: [&str; 3] = ["batches", "singles", "reads"];
/// Only if asked for: it takes a redis-server.
const NODES: &str = "nodes";
/// The argument with which this program serves the bare handler.
const BARE: &str = "bare";

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if words.iter().any(|word| word == BARE) {
        return runtime.block_on(bare::serve());
    }
    let seconds = words.iter().find_map(|word| word.parse().ok()).unwrap_or(SECONDS);
    let folder = match std::env::var_os("GRISTMILL_BENCH_DIR") {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let lasts = Duration::from_secs(seconds);
    let parts: Vec<&str> =
        PARTS.into_iter().chain([NODES]).filter(|part| words.iter().any(|w| w == part)).collect();
    let parts = if parts.is_empty() { PARTS.to_vec() } else { parts };
    for part in parts {
        runtime.block_on(run(part, &folder.path().join(part), lasts))?;
    }
    Ok(())
}

/// One part, on a node of its own.
async fn run(part: &str, data: &Path, lasts: Duration) -> Result<(), Failure> {
    if part == NODES {
        return nodes::run(data).await;
    }
    let node = Server::node(data)?;
    let client = Client::of(&node.url);
    client.consent().await?;
    match part {
        "batches" => {
            batches::pause(&client).await?;
            batches::run(&client, lasts).await
        }
        "singles" => {
            let bare = Server::bare()?;
            batches::pause(&client).await?;
            singles::run(&client, &Client::of(&bare.url), lasts / 6).await
        }
        _ => reads::run(&client, lasts).await,
    }
}

/// A server in a process of its own, killed when dropped.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn node(data: &Path) -> Result<Self, Failure> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
        command.arg("serve").arg("--data-dir").arg(data).arg("--listen=127.0.0.1:0");
        Self::start(command)
    }

    fn bare() -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(BARE);
        Self::start(command)
    }

    fn start(mut command: Command) -> Result<Self, Failure> {
        let mut process = command.stdout(Stdio::piped()).spawn()?;
        let output = process.stdout.take().ok_or("a process without output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let told: serde_json::Value = serde_json::from_str(&line)?;
        let url = told["listening"].as_str().ok_or("no address on the first line")?.to_owned();
        Ok(Self { process, url })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let ended = self.process.kill().and_then(|()| self.process.wait());
        if let Err(error) = ended {
            eprintln!("a server was not stopped: {error}");
        }
    }
}

/// How many journeys were settled, as the node's metrics say.
async fn settled(client: &Client) -> Result<f64, Failure> {
    let metrics = client.get("/metrics").await?;
    let lines = std::str::from_utf8(&metrics)?.lines();
    let counts = lines
        .filter(|line| line.starts_with("gristmill_journeys_finished_total"))
        .filter(|line| line.contains("outcome=\"settled\""))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Ok(counts.sum())
}
