//! Two nodes, a rail and the Redis server between them (`appendfsync always`) on this machine: what is
//! handed in while every stage is paused, let go, until it is settled.

use super::client::{Client, contribution};
use super::{Failure, Server, batches, settled};
use std::fmt::Write as _;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const NODES: usize = 2;
const ITEMS: u64 = 100_000;
const LINES: u64 = 10_000;
const LOOK: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(120);

/// A Redis server, killed when dropped.
struct Redis {
    process: Child,
    port: u16,
}

impl Redis {
    fn start(folder: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(folder)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--dir"]).arg(folder);
        let process = command.stdout(Stdio::null()).spawn()?;
        let server = Self { process, port };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > until {
                return Err("redis-server does not answer".into());
            }
            std::thread::sleep(LOOK);
        }
        Ok(server)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let ended = self.process.kill().and_then(|()| self.process.wait());
        if let Err(error) = ended {
            eprintln!("redis-server was not stopped: {error}");
        }
    }
}

/// Every node has the keys that the first one made.
fn keys(folder: &Path, node: usize) -> Result<PathBuf, Failure> {
    let data = folder.join(node.to_string());
    if node > 0 {
        let (from, to) = (folder.join("0/keys"), data.join("keys"));
        fs::create_dir_all(&to)?;
        for key in ["trace.key", "id.key"] {
            fs::copy(from.join(key), to.join(key))?;
        }
    }
    Ok(data)
}

/// Prints how many settled a second.
pub(crate) async fn run(folder: &Path) -> Result<(), Failure> {
    let redis = Redis::start(&folder.join("redis"))?;
    let mut rail = Command::new(env!("CARGO_BIN_EXE_gristmill"));
    rail.args(["sandbox-rail", "--listen=127.0.0.1:0", "--book"]).arg(folder.join("rail"));
    let rail = Server::start(rail)?;
    let store = format!("redis://127.0.0.1:{}/0", redis.port);
    let mut nodes = Vec::new();
    for node in 0..NODES {
        let data = keys(folder, node)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
        command.args(["serve", "--listen=127.0.0.1:0", "--durability=always", "--rail"]);
        command.arg(&rail.url).arg("--store").arg(&store).arg("--data-dir").arg(data);
        command.arg("--shared-dir").arg(folder.join("shared"));
        nodes.push(Server::start(command)?);
    }
    let clients: Vec<Client> = nodes.iter().map(|node| Client::of(&node.url)).collect();
    let [first, ..] = clients.as_slice() else { return Err("no node".into()) };
    first.consent().await?;
    batches::pause(first).await?;
    let start = Instant::now();
    for (number, client) in (0..ITEMS / LINES).zip(clients.iter().cycle()) {
        let mut lines = String::new();
        for item in number * LINES..(number + 1) * LINES {
            writeln!(lines, "{}", contribution(item))?;
        }
        let _answers = client.batch(lines).await?;
    }
    let taken = start.elapsed().as_secs_f64();
    batches::resume(first).await?;
    let start = Instant::now();
    loop {
        let mut done = 0.0;
        for client in &clients {
            done += settled(client).await?;
        }
        if done >= ITEMS as f64 {
            break;
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("{done} of {ITEMS} settled").into());
        }
        tokio::time::sleep(LOOK).await;
    }
    let took = start.elapsed().as_secs_f64();
    let rate = |took: f64| ITEMS as f64 / took;
    println!(
        "{NODES} nodes over Redis, appendfsync always: {ITEMS} taken, {:.0}/s; settled, {:.0}/s",
        rate(taken),
        rate(took)
    );
    Ok(())
}
