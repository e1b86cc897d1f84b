//! Several nodes over one Redis, under load, while something dies: every acknowledged contribution
//! settles once, is paid once, and the audit finds nothing.
//!
//! `GRISTMILL_TEST_CLUSTER_ROUNDS` is how often each scenario does its harm.

use gristmill_tests::{Gristmill, Manifest, Process, has_program, poll_until, size, skip};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Short, so that a scenario waits for few seconds; the default is 5 s.
const LEASE_MS: u64 = 1_500;
const START: Duration = Duration::from_secs(60);
const SETTLE: Duration = Duration::from_secs(120);
const STOP: Duration = Duration::from_secs(60);
const ANSWER: Duration = Duration::from_secs(20);
const BATCH: usize = 40;
/// What a loaded machine may take on top of the lease; the aim is 1 s.
const ROOM: Duration = Duration::from_secs(3);

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// One server with an append-only file that is synced before every answer.
struct Redis {
    dir: TempDir,
    port: u16,
    child: Child,
}

impl Redis {
    fn start() -> Self {
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        let child = Self::spawn(&dir, port);
        let redis = Self { dir, port, child };
        redis.wait();
        redis
    }

    fn spawn(dir: &TempDir, port: u16) -> Child {
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.args(["--appendonly", "yes", "--appendfsync", "always"]);
        command.arg("--dir").arg(dir.path()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    fn wait(&self) {
        poll_until(START, "redis-server", || (self.ask(&["PING"]) == "PONG").then_some(()));
    }

    fn ask(&self, command: &[&str]) -> String {
        let port = self.port.to_string();
        let asked = Command::new("redis-cli").args(["-p", &port]).args(command).output();
        String::from_utf8_lossy(&asked.unwrap().stdout).trim().to_owned()
    }

    /// SIGKILL, and the same server on the same directory again.
    fn kill_and_start(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = Self::spawn(&self.dir, self.port);
        self.wait();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// One request over a connection of its own; the status and the body, or nothing if there was none.
fn request(to: SocketAddr, head: &str, body: &[u8]) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    let length = body.len();
    let head = format!(
        "{head} HTTP/1.0\r\nHost: {to}\r\nContent-Type: application/x-ndjson\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

struct Node {
    process: Process,
    listens: SocketAddr,
}

/// Redis, a rail, a shared directory, and nodes by number.
struct Town {
    redis: Redis,
    rail: Option<Process>,
    rail_url: String,
    dir: TempDir,
    nodes: Vec<Option<Node>>,
    /// Where nodes listen, for whoever hands in.
    addresses: Arc<Mutex<Vec<Option<SocketAddr>>>>,
}

impl Town {
    /// A town of nodes that runs; none where there is no Redis.
    fn start(nodes: usize) -> Option<Self> {
        if !has_program("redis-server") {
            skip("redis-server is not installed");
            return None;
        }
        let (redis, dir) = (Redis::start(), tempfile::tempdir().unwrap());
        let book = dir.path().join("rail");
        let book = book.to_str().unwrap();
        let rail = ["sandbox-rail", "--listen", "127.0.0.1:0", "--book", book];
        let mut rail = Gristmill::command().spawn(rail);
        let rail_url = listening(&rail.first_line(START));
        let (nodes, addresses) = ((0..nodes).map(|_| None).collect(), Arc::default());
        let mut town = Self { redis, rail: Some(rail), rail_url, dir, nodes, addresses };
        town.addresses.lock().unwrap().resize(town.nodes.len(), None);
        for number in 0..town.nodes.len() {
            town.up(number);
        }
        Some(town)
    }

    fn folder(&self, number: usize) -> PathBuf {
        self.dir.path().join(format!("n{number}"))
    }

    fn store_arguments(&self, number: usize) -> Vec<String> {
        let folder = |path: PathBuf| path.to_str().unwrap().to_owned();
        vec![
            "--data-dir".to_owned(),
            folder(self.folder(number)),
            "--store".to_owned(),
            format!("redis://127.0.0.1:{}", self.redis.port),
            "--shared-dir".to_owned(),
            folder(self.dir.path().join("shared")),
            "--rail".to_owned(),
            self.rail_url.clone(),
        ]
    }

    /// Starts a node. All nodes have the keys that the first one made.
    fn up(&mut self, number: usize) {
        let keys = self.folder(number).join("keys");
        if number > 0 && !keys.exists() {
            std::fs::create_dir_all(&keys).unwrap();
            for name in ["trace.key", "id.key"] {
                std::fs::copy(self.folder(0).join("keys").join(name), keys.join(name)).unwrap();
            }
        }
        let mut arguments =
            vec!["serve".to_owned(), "--listen".to_owned(), "127.0.0.1:0".to_owned()];
        arguments.extend(self.store_arguments(number));
        arguments.extend(["--name".to_owned(), format!("n{number}")]);
        arguments.extend(["--lease-ms".to_owned(), LEASE_MS.to_string()]);
        let mut process = Gristmill::command().spawn(arguments);
        let url = listening(&process.first_line(START));
        let listens = url.trim_start_matches("http://").parse().unwrap();
        self.addresses.lock().unwrap()[number] = Some(listens);
        self.nodes[number] = Some(Node { process, listens });
    }

    fn node(&mut self, number: usize) -> &mut Process {
        &mut self.nodes[number].as_mut().unwrap().process
    }

    fn take_down(&mut self, number: usize) -> Process {
        self.addresses.lock().unwrap()[number] = None;
        self.nodes[number].take().unwrap().process
    }

    /// How many shards the living nodes own, as the store says.
    fn shards(&self) -> Vec<(String, u64)> {
        let url = format!("redis://127.0.0.1:{}", self.redis.port);
        let verb = ["nodes", "--store", &url, "--output", "json"];
        let nodes = Gristmill::command().run(verb).expect(0).json();
        let row = |node: &Value| {
            (node["name"].as_str().unwrap().to_owned(), node["shards"].as_u64().unwrap())
        };
        nodes.as_array().unwrap().iter().map(row).collect()
    }

    /// Waits until every shard has another owner than one node; says how long that took.
    fn until_without(&self, number: usize) -> Duration {
        let began = Instant::now();
        let name = format!("n{number}");
        poll_until(START, "another owner of every shard", || {
            let shards = self.shards();
            let others = shards.iter().filter(|(known, _)| *known != name);
            (others.map(|(_, shards)| shards).sum::<u64>() == 16).then_some(())
        });
        began.elapsed()
    }

    /// Waits until all of them are settled, as seen from a node, then ends every node in order and
    /// audits.
    fn ends_well(mut self, ids: &BTreeSet<String>) {
        let listens = self.nodes.iter().flatten().next().unwrap().listens;
        let mut waiting = ids.clone();
        let end = Instant::now() + SETTLE;
        while !waiting.is_empty() {
            waiting.retain(|id| state(listens, id).as_deref() != Some("settled"));
            if Instant::now() > end {
                let standing: Vec<_> =
                    waiting.iter().take(5).map(|id| (id, state(listens, id))).collect();
                let logs: Vec<String> =
                    self.nodes.iter().flatten().map(|node| node.process.stderr()).collect();
                panic!("{} do not settle: {standing:?}\n{}", waiting.len(), logs.join("\n---\n"));
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        for number in 0..self.nodes.len() {
            if self.nodes[number].is_some() {
                let mut process = self.take_down(number);
                process.terminate();
                let _ended = process.wait(STOP).expect(0);
            }
        }
        let mut audit = vec!["audit".to_owned()];
        audit.extend(self.store_arguments(0));
        audit.extend(["--output".to_owned(), "json".to_owned()]);
        let _sound = Gristmill::command().run(audit).expect(0);
        drop(self.rail.take());
    }
}

fn listening(line: &str) -> String {
    let line: Value = serde_json::from_str(line).unwrap();
    line["listening"].as_str().unwrap().to_owned()
}

fn state(node: SocketAddr, id: &str) -> Option<String> {
    let (status, body) = request(node, &format!("GET /v1/contributions/{id}"), b"")?;
    let body: Value = serde_json::from_str(&body).ok()?;
    (status == 200).then(|| body["state"].as_str().unwrap_or_default().to_owned())
}

/// Hands in batches until it is told to stop; each one again, at any node, until it is acknowledged.
struct Load {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<(BTreeSet<String>, Duration)>>,
}

impl Load {
    fn start(town: &Town, name: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, addresses) = (stop.clone(), town.addresses.clone());
        let name = name.to_owned();
        let thread = std::thread::spawn(move || {
            let (mut ids, mut longest, mut number) = (BTreeSet::new(), Duration::ZERO, 0);
            while !stopped.load(Ordering::Acquire) {
                let batch = Manifest::engine(&format!("{name}{number}"), BATCH, 4);
                let began = Instant::now();
                poll_until(SETTLE, "an acknowledgement of a batch", || {
                    number += 1;
                    let up: Vec<SocketAddr> =
                        addresses.lock().unwrap().iter().flatten().copied().collect();
                    let to = *up.get(number % up.len().max(1))?;
                    ids.extend(hand_in(to, batch.as_bytes())?);
                    Some(())
                });
                longest = longest.max(began.elapsed());
            }
            (ids, longest)
        });
        Self { stop, thread: Some(thread) }
    }

    /// Every id that was acknowledged, and how long the slowest batch took.
    fn stop(mut self) -> (BTreeSet<String>, Duration) {
        self.stop.store(true, Ordering::Release);
        let (ids, longest) = self.thread.take().unwrap().join().unwrap();
        eprintln!("{} acknowledged, the slowest batch took {longest:?}", ids.len());
        (ids, longest)
    }
}

/// The ids of a batch, if every line of it was acknowledged.
fn hand_in(to: SocketAddr, batch: &[u8]) -> Option<Vec<String>> {
    let (status, body) = request(to, "POST /v1/contributions:batch", batch)?;
    if status != 200 {
        return None;
    }
    let lines: Option<Vec<Value>> =
        body.lines().map(|line| serde_json::from_str(line).ok()).collect();
    let lines = lines?;
    let refused = lines.iter().find(|line| line.get("problem").is_some());
    if let Some(refused) = refused {
        assert_eq!(refused["problem"]["retryable"], true, "{refused}");
        return None;
    }
    let sent = batch.iter().filter(|byte| **byte == b'\n').count();
    let ids = lines.iter().filter_map(|line| line["id"].as_str().map(str::to_owned)).collect();
    (lines.len() == sent).then_some(ids)
}

fn rounds() -> u32 {
    size("GRISTMILL_TEST_CLUSTER_ROUNDS", 3)
}

/// Load for a while, so that harm meets work.
fn a_moment(milliseconds: u64) {
    let end = Instant::now() + Duration::from_millis(milliseconds);
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

#[test]
fn nodes_are_killed_again_and_again() {
    let Some(mut town) = Town::start(3) else { return };
    let load = Load::start(&town, "k");
    for round in 0..rounds() as usize {
        a_moment(700);
        let victim = round % 3;
        let _gone = town.take_down(victim).kill();
        let took = town.until_without(victim);
        eprintln!("its last shard moved {took:?} after the death of n{victim}");
        assert!(took < Duration::from_millis(LEASE_MS) + ROOM, "{took:?}");
        town.up(victim);
    }
    a_moment(500);
    let (ids, _) = load.stop();
    town.ends_well(&ids);
}

#[test]
fn a_node_that_sleeps_through_its_leases_changes_nothing_when_it_wakes() {
    let Some(mut town) = Town::start(2) else { return };
    let load = Load::start(&town, "z");
    for round in 0..rounds() as usize {
        a_moment(700);
        let sleeper = round % 2;
        let listens = town.addresses.lock().unwrap()[sleeper].take();
        town.node(sleeper).pause();
        town.until_without(sleeper);
        a_moment(500);
        town.node(sleeper).resume();
        town.addresses.lock().unwrap()[sleeper] = listens;
    }
    a_moment(500);
    let (ids, _) = load.stop();
    town.ends_well(&ids);
}

#[test]
fn redis_is_killed_and_comes_back_with_its_file() {
    let Some(mut town) = Town::start(2) else { return };
    let load = Load::start(&town, "r");
    for _ in 0..rounds() {
        a_moment(700);
        town.redis.kill_and_start();
    }
    a_moment(500);
    let (ids, _) = load.stop();
    town.ends_well(&ids);
}

#[test]
fn all_nodes_are_restarted_one_after_the_other() {
    let Some(mut town) = Town::start(3) else { return };
    let load = Load::start(&town, "s");
    for number in 0..3 {
        a_moment(500);
        let mut process = town.take_down(number);
        process.terminate();
        let _ended = process.wait(STOP).expect(0);
        let took = town.until_without(number);
        eprintln!("its last shard moved {took:?} after n{number} ended in order");
        town.up(number);
    }
    a_moment(500);
    let (ids, longest) = load.stop();
    assert!(longest < Duration::from_secs(3), "a batch waited {longest:?}");
    town.ends_well(&ids);
}
