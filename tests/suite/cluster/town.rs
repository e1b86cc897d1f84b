//! A town of nodes over one store, and the load on it.

use super::servers::Redis;
use super::{ANSWER, BATCH, LEASE_MS, SETTLE, START, STOP};
use gristmill_tests::{
    Gristmill, Manifest, Output, Process, has_program, poll_until, repository, skip,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// One request over a connection of its own; the status and the body, or nothing if there was none.
pub fn request(to: SocketAddr, head: &str, body: &[u8]) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    let length = body.len();
    let kind = if head.ends_with(":batch") { "application/x-ndjson" } else { "application/json" };
    let head = format!(
        "{head} HTTP/1.0\r\nHost: {to}\r\nContent-Type: {kind}\r\n\
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

pub struct Node {
    process: Process,
    pub listens: SocketAddr,
}

/// Redis, a rail, a shared directory, and nodes by number.
pub struct Town {
    pub servers: Vec<Redis>,
    /// Where the store is, for verbs and the audit.
    url: String,
    /// Where nodes of their own way find it.
    urls: BTreeMap<usize, String>,
    clocks: BTreeMap<usize, &'static str>,
    /// Whom nodes and verbs trust besides the machine's own.
    trusted: Option<PathBuf>,
    /// A folder of a bucket instead of a shared directory.
    bucket: Option<String>,
    more: Vec<String>,
    /// What nodes find in their environment.
    environment: Vec<(&'static str, String)>,
    rail: Option<Process>,
    rail_url: String,
    dir: TempDir,
    pub nodes: Vec<Option<Node>>,
    /// Where nodes listen, for whoever hands in.
    pub addresses: Arc<Mutex<Vec<Option<SocketAddr>>>>,
}

impl Town {
    /// A town of nodes that runs; none where there is no Redis.
    pub fn start(nodes: usize) -> Option<Self> {
        Self::over(nodes, super::one_server)
    }

    pub fn over(nodes: usize, make: impl FnOnce() -> (Vec<Redis>, String)) -> Option<Self> {
        let mut town = Self::empty(nodes, make, &[])?;
        town.up_all();
        Some(town)
    }

    /// A town whose nodes are not up yet; they get more arguments.
    pub fn empty(
        nodes: usize,
        make: impl FnOnce() -> (Vec<Redis>, String),
        more: &[&str],
    ) -> Option<Self> {
        if !has_program("redis-server") {
            skip("redis-server is not installed");
            return None;
        }
        let ((servers, url), dir) = (make(), tempfile::tempdir().unwrap());
        let book = dir.path().join("rail");
        let book = book.to_str().unwrap();
        let rail = ["sandbox-rail", "--listen", "127.0.0.1:0", "--book", book];
        let mut rail = Gristmill::command().spawn(rail);
        let rail_url = listening(&rail.first_line(START));
        let (nodes, addresses) = ((0..nodes).map(|_| None).collect(), Arc::default());
        let more = more.iter().map(|&it| it.to_owned()).collect();
        let (urls, clocks, rail) = (BTreeMap::new(), BTreeMap::new(), Some(rail));
        let town = Self {
            servers,
            url,
            urls,
            clocks,
            trusted: None,
            bucket: None,
            more,
            environment: Vec::new(),
            rail,
            rail_url,
            dir,
            nodes,
            addresses,
        };
        town.addresses.lock().unwrap().resize(town.nodes.len(), None);
        Some(town)
    }

    pub fn up_all(&mut self) {
        for number in 0..self.nodes.len() {
            self.up(number);
        }
    }

    /// Nodes and verbs trust what this file says.
    pub fn trusts(&mut self, file: PathBuf) {
        self.trusted = Some(file);
    }

    /// The public log and media are in a folder of a bucket.
    pub fn keeps_in(&mut self, bucket: String) {
        self.bucket = Some(bucket);
    }

    /// The log's verifier key.
    pub fn verifier_key(&self) -> String {
        self.folder(0).join("trace/vkey").to_str().unwrap().to_owned()
    }

    /// A verb of the command line, in the nodes' environment.
    pub fn verb(&self, arguments: &[&str]) -> Output {
        self.command().run(arguments)
    }

    /// Where the store is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Nodes are configured so: `GRISTMILL_SECTION__KEY`.
    pub fn configure(&mut self, name: &'static str, value: &str) {
        self.environment.push((name, value.to_owned()));
    }

    /// Payouts of engine contributions start at this rate a second.
    pub fn pay_slowly(&mut self, rate: usize) {
        let (from, to) = (repository().join("workflows"), self.dir.path().join("workflows"));
        std::fs::create_dir(&to).unwrap();
        std::fs::copy(from.join("contribution.toml"), to.join("contribution.toml")).unwrap();
        // The payout's policy is what the file ends with.
        let engine = std::fs::read_to_string(from.join("engine.toml")).unwrap();
        std::fs::write(to.join("engine.toml"), format!("{engine}rate_per_s = {rate}\n")).unwrap();
        self.configure("GRISTMILL_WORKFLOWS__DIR", to.to_str().unwrap());
    }

    fn command(&self) -> Gristmill {
        let trusted = self.trusted.iter().map(|file| ("SSL_CERT_FILE", file.as_os_str()));
        let configured = self.environment.iter().map(|(name, value)| (*name, value.as_ref()));
        let all = trusted.chain(configured);
        all.fold(Gristmill::command(), |command, (name, value)| command.env(name, value))
    }

    /// A node finds the store elsewhere than the others.
    pub fn finds(&mut self, number: usize, port: u16) {
        self.urls.insert(number, format!("redis://127.0.0.1:{port}"));
    }

    /// A node's clock is wrong.
    pub fn wrong_clock(&mut self, number: usize, by: &'static str) {
        self.clocks.insert(number, by);
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
            self.url.clone(),
            "--shared-dir".to_owned(),
            self.bucket.clone().unwrap_or_else(|| folder(self.dir.path().join("shared"))),
            "--rail".to_owned(),
            self.rail_url.clone(),
        ]
    }

    /// Starts a node. All nodes have the keys that the first one made.
    pub fn up(&mut self, number: usize) {
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
        arguments.extend(self.more.iter().cloned());
        if let (Some(url), Some(at)) =
            (self.urls.get(&number), arguments.iter().position(|it| *it == self.url))
        {
            arguments[at].clone_from(url);
        }
        let mut command = self.command();
        if let Some(by) = self.clocks.get(&number) {
            let library = faketime().expect("the library was looked for before");
            // The program of that name would stay between the node and its signals.
            command = command.env("LD_PRELOAD", library).env("FAKETIME", by);
            command = command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let mut process = command.spawn(arguments);
        let url = listening(&process.first_line(START));
        let listens = url.trim_start_matches("http://").parse().unwrap();
        self.addresses.lock().unwrap()[number] = Some(listens);
        self.nodes[number] = Some(Node { process, listens });
    }

    pub fn node(&mut self, number: usize) -> &mut Process {
        &mut self.nodes[number].as_mut().unwrap().process
    }

    pub fn take_down(&mut self, number: usize) -> Process {
        self.addresses.lock().unwrap()[number] = None;
        self.nodes[number].take().unwrap().process
    }

    /// How many shards the living nodes own, as the store says.
    fn shards(&self) -> Vec<(String, u64)> {
        let verb = ["nodes", "--store", &self.url, "--output", "json"];
        let nodes = self.command().run(verb).expect(0).json();
        let row = |node: &Value| {
            (node["name"].as_str().unwrap().to_owned(), node["shards"].as_u64().unwrap())
        };
        nodes.as_array().unwrap().iter().map(row).collect()
    }

    /// Waits until every shard has another owner than one node; says how long that took.
    pub fn until_without(&self, number: usize) -> Duration {
        let began = Instant::now();
        let name = format!("n{number}");
        poll_until(START, "another owner of every shard", || {
            let shards = self.shards();
            let others = shards.iter().filter(|(known, _)| *known != name);
            (others.map(|(_, shards)| shards).sum::<u64>() == 16).then_some(())
        });
        began.elapsed()
    }

    /// Waits until what is known of them is settled; those that are not.
    pub fn lost(&self, node: SocketAddr, ids: &BTreeSet<String>) -> BTreeSet<String> {
        let (mut waiting, mut lost) = (ids.clone(), BTreeSet::new());
        let end = Instant::now() + SETTLE;
        while !waiting.is_empty() {
            waiting.retain(|id| match request(node, &format!("GET /v1/contributions/{id}"), b"") {
                Some((404, _)) => {
                    lost.insert(id.clone());
                    false
                }
                Some((200, body)) => !body.contains("\"state\":\"settled\""),
                _ => true,
            });
            if Instant::now() > end {
                let why = |id| request(node, &format!("GET /v1/contributions/{id}"), b"");
                let why: Vec<_> = waiting.iter().take(3).map(why).collect();
                let logs: Vec<String> =
                    self.nodes.iter().flatten().map(|node| node.process.stderr()).collect();
                panic!("{} do not settle: {why:#?}\n{}", waiting.len(), logs.join("\n---\n"));
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        lost
    }

    /// How many payments the rail has in its book, and how many keys.
    pub fn paid(&self) -> (usize, usize) {
        let to: SocketAddr = self.rail_url.trim_start_matches("http://").parse().unwrap();
        let (mut after, mut keys, mut count) = ("0".to_owned(), BTreeSet::new(), 0);
        loop {
            let (status, page) = request(to, &format!("GET /v1/book?after={after}"), b"").unwrap();
            assert_eq!(status, 200, "{page}");
            let rows: Vec<Value> =
                page.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let Some(last) = rows.last() else { return (count, keys.len()) };
            after = last["seq"].to_string();
            let paid = rows.iter().filter(|row| row["state"] == "paid");
            let paid: Vec<String> = paid.map(|row| row["key"].to_string()).collect();
            count += paid.len();
            keys.extend(paid);
        }
    }

    /// Ends every node in order.
    pub fn end_all(&mut self) {
        for number in 0..self.nodes.len() {
            if self.nodes[number].is_some() {
                let mut process = self.take_down(number);
                process.terminate();
                let _ended = process.wait(STOP).expect(0);
            }
        }
    }

    /// Waits until all of them are settled, as seen from a node, then ends every node in order and
    /// audits.
    pub fn ends_well(mut self, ids: &BTreeSet<String>) {
        self.settles(ids);
        drop(self.rail.take());
    }

    /// As [`Town::ends_well`]; the town can be looked at then.
    pub fn settles(&mut self, ids: &BTreeSet<String>) {
        let listens = self.nodes.iter().flatten().next().unwrap().listens;
        let mut waiting = ids.clone();
        let end = Instant::now() + SETTLE;
        while !waiting.is_empty() {
            waiting.retain(|id| !is_over(state(listens, id).as_deref()));
            if Instant::now() > end {
                let standing: Vec<_> =
                    waiting.iter().take(5).map(|id| (id, state(listens, id))).collect();
                let logs: Vec<String> =
                    self.nodes.iter().flatten().map(|node| node.process.stderr()).collect();
                panic!("{} do not settle: {standing:?}\n{}", waiting.len(), logs.join("\n---\n"));
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        self.end_all();
        let _sound = self.audit_now().expect(0);
    }

    /// What the audit says once every node has ended.
    pub fn audit_now(&self) -> Output {
        let mut audit = vec!["audit".to_owned()];
        audit.extend(self.store_arguments(0));
        audit.extend(["--output".to_owned(), "json".to_owned()]);
        self.command().run(audit)
    }
}

/// What makes a program's wall clock wrong.
pub fn faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten();
    let libraries = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    libraries.into_iter().find(|library| library.exists())
}

fn listening(line: &str) -> String {
    let line: Value = serde_json::from_str(line).unwrap();
    line["listening"].as_str().unwrap().to_owned()
}

fn is_over(state: Option<&str>) -> bool {
    matches!(state, Some("settled" | "withdrawn"))
}

pub fn state(node: SocketAddr, id: &str) -> Option<String> {
    let (status, body) = request(node, &format!("GET /v1/contributions/{id}"), b"")?;
    let body: Value = serde_json::from_str(&body).ok()?;
    (status == 200).then(|| body["state"].as_str().unwrap_or_default().to_owned())
}

/// A batch that was acknowledged, and its ids.
pub type Acknowledged = (Vec<u8>, Vec<String>);

/// Hands in batches until it is told to stop; each one again, at any node, until it is acknowledged.
pub struct Load {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<(BTreeSet<String>, Duration)>>,
    batches: Arc<Mutex<Vec<Acknowledged>>>,
}

impl Load {
    pub fn start(town: &Town, name: &str) -> Self {
        Self::of(town, name, |_| {})
    }

    /// As [`Load::start`]; `change` sees every batch before it goes.
    pub fn of(town: &Town, name: &str, change: impl Fn(&mut Manifest) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, addresses) = (stop.clone(), town.addresses.clone());
        let name = name.to_owned();
        let batches = Arc::new(Mutex::new(Vec::new()));
        let done = batches.clone();
        let thread = std::thread::spawn(move || {
            let (mut ids, mut longest, mut number) = (BTreeSet::new(), Duration::ZERO, 0);
            while !stopped.load(Ordering::Acquire) {
                let mut batch = Manifest::engine(&format!("{name}{number}"), BATCH, 4);
                change(&mut batch);
                let began = Instant::now();
                poll_until(SETTLE, "an acknowledgement of a batch", || {
                    number += 1;
                    let up: Vec<SocketAddr> =
                        addresses.lock().unwrap().iter().flatten().copied().collect();
                    let to = *up.get(number % up.len().max(1))?;
                    let fresh = hand_in(to, batch.as_bytes())?;
                    ids.extend(fresh.iter().cloned());
                    done.lock().unwrap().push((batch.as_bytes().to_vec(), fresh));
                    Some(())
                });
                longest = longest.max(began.elapsed());
            }
            (ids, longest)
        });
        Self { stop, thread: Some(thread), batches }
    }

    /// Every batch that was acknowledged so far.
    pub fn acknowledged(&self) -> Vec<Acknowledged> {
        self.batches.lock().unwrap().clone()
    }

    /// Every id that was acknowledged, and how long the slowest batch took.
    pub fn stop(mut self) -> (BTreeSet<String>, Duration) {
        self.stop.store(true, Ordering::Release);
        let (ids, longest) = self.thread.take().unwrap().join().unwrap();
        eprintln!("{} acknowledged, the slowest batch took {longest:?}", ids.len());
        (ids, longest)
    }
}

/// The ids of a batch, if every line of it was acknowledged.
pub fn hand_in(to: SocketAddr, batch: &[u8]) -> Option<Vec<String>> {
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
