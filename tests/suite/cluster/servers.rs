//! Servers of the scenarios' own: single, replicated under a Sentinel, clustered, behind a proxy.

use gristmill_tests::{limits::KILL_DEADLINE, poll_until};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};
use std::time::Duration;
use tempfile::TempDir;

const START: Duration = Duration::from_secs(60);

/// A port whose neighbour 10,000 above, a cluster's bus, is free too.
pub fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if port < 55_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}

/// One server with an append-only file that is synced before every answer.
pub struct Redis {
    dir: TempDir,
    pub port: u16,
    more: Vec<String>,
    /// It believes that it is two days later.
    is_later: bool,
    child: Child,
}

impl Redis {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(more: &[&str]) -> Self {
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        let more: Vec<String> = more.iter().map(|&it| it.to_owned()).collect();
        let child = spawn(&dir, port, &more, false);
        let redis = Self { dir, port, more, is_later: false, child };
        redis.wait();
        redis
    }

    fn wait(&self) {
        poll_until(START, "redis-server", || (self.ask(&["PING"]) == "PONG").then_some(()));
    }

    pub fn ask(&self, command: &[&str]) -> String {
        let port = self.port.to_string();
        let asked = Command::new("redis-cli").args(["-p", &port]).args(command).output();
        String::from_utf8_lossy(&asked.unwrap().stdout).trim().to_owned()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The same server on the same directory again, after a kill.
    pub fn again(&mut self) {
        self.child = spawn(&self.dir, self.port, &self.more, self.is_later);
        self.wait();
    }

    /// From its next start on it is two days later there.
    pub fn sleeps_for_two_days(&mut self) {
        self.is_later = true;
    }

    /// How much memory it says that its data take, in bytes.
    pub fn memory(&self) -> u64 {
        let said = self.ask(&["INFO", "memory"]);
        let used = said.lines().find_map(|line| line.strip_prefix("used_memory_dataset:"));
        used.and_then(|bytes| bytes.trim().parse().ok()).expect("a number of bytes")
    }
}

fn spawn(dir: &TempDir, port: u16, more: &[String], is_later: bool) -> Child {
    let mut command = Command::new("redis-server");
    if is_later {
        command.env("LD_PRELOAD", later(dir));
    }
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
    command.args(["--appendonly", "yes", "--appendfsync", "always"]);
    command.arg("--dir").arg(dir.path()).args(more);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// What makes a server believe that it is two days later.
fn later(dir: &TempDir) -> PathBuf {
    let library = dir.path().join("later.so");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-x", "c", "-", "-o"]).arg(&library).stdin(Stdio::piped());
    let mut compiling = cc.spawn().unwrap();
    compiling.stdin.take().unwrap().write_all(include_bytes!("later.c")).unwrap();
    assert!(compiling.wait().unwrap().success());
    library
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A server that also listens for TLS, its address, and the file that says whom to trust.
pub fn over_tls() -> (Redis, String, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1").unwrap();
    let steps = [
        "req -x509 -newkey rsa:2048 -nodes -subj /CN=trusted -days 2 -keyout ca.key -out ca.pem",
        "req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout own.key -out own.csr",
        "x509 -req -in own.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names \
         -out own.pem",
    ];
    for step in steps {
        let mut openssl = Command::new("openssl");
        let made = openssl.args(step.split_whitespace()).current_dir(dir.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (port, cert, key, trusted) = (free_port(), at("own.pem"), at("own.key"), at("ca.pem"));
    let redis = Redis::start_with(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &trusted,
        "--tls-auth-clients",
        "no",
    ]);
    (redis, format!("rediss://localhost:{port}"), dir)
}

/// Three masters and three replicas; the first three are the masters.
pub fn cluster() -> Vec<Redis> {
    let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1500"];
    let servers: Vec<Redis> = (0..6).map(|_| Redis::start_with(&options)).collect();
    let hosts: Vec<String> = servers.iter().map(|it| format!("127.0.0.1:{}", it.port)).collect();
    let mut create = Command::new("redis-cli");
    create.args(["--cluster", "create"]).args(&hosts);
    create.args(["--cluster-replicas", "1", "--cluster-yes"]);
    assert!(create.output().unwrap().status.success());
    for server in &servers {
        poll_until(START, "the cluster", || {
            let info = server.ask(&["CLUSTER", "INFO"]);
            let linked = server.ask(&["INFO", "replication"]);
            let linked =
                linked.contains("master_link_status:up") || linked.contains("state=online");
            (info.contains("cluster_state:ok") && linked).then_some(())
        });
    }
    servers
}

/// A master and its replica.
pub fn replicated() -> Vec<Redis> {
    let master = Redis::start();
    let port = master.port.to_string();
    let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &port]);
    poll_until(START, "the replica", || {
        master.ask(&["INFO", "replication"]).contains("state=online").then_some(())
    });
    vec![master, replica]
}

/// A master, its replica, and a Sentinel's port that watches them as `gm`.
pub fn watched() -> (Vec<Redis>, Sentinel) {
    let servers = replicated();
    let port = servers[0].port;
    let (dir, own) = (tempfile::tempdir().unwrap(), free_port());
    let file = dir.path().join("sentinel.conf");
    let text = format!(
        "port {own}\nbind 127.0.0.1\nsentinel monitor gm 127.0.0.1 {port} 1\n\
         sentinel down-after-milliseconds gm 800\nsentinel failover-timeout gm 4000\n"
    );
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new("redis-server");
    command.arg(&file).arg("--sentinel").stdout(Stdio::null()).stderr(Stdio::null());
    let sentinel = Sentinel { _dir: dir, port: own, child: command.spawn().unwrap() };
    poll_until(START, "the Sentinel", || {
        sentinel.ask(&["SENTINEL", "replicas", "gm"]).contains("127.0.0.1").then_some(())
    });
    (servers, sentinel)
}

/// A running Sentinel.
pub struct Sentinel {
    _dir: TempDir,
    pub port: u16,
    child: Child,
}

impl Sentinel {
    pub fn ask(&self, command: &[&str]) -> String {
        let port = self.port.to_string();
        let asked = Command::new("redis-cli").args(["-p", &port]).args(command).output();
        String::from_utf8_lossy(&asked.unwrap().stdout).trim().to_owned()
    }

    pub fn master(&self) -> String {
        self.ask(&["SENTINEL", "get-master-addr-by-name", "gm"])
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What a proxy does to bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Weather {
    /// Passes them on.
    Fair,
    /// Keeps what the node sends, until it is fair again.
    NothingOut,
    /// Keeps what the server answers, until it is fair again.
    NothingBack,
    /// Keeps both.
    Nothing,
    /// Passes what the node sends, then throws the answer away and cuts the connection.
    AnswersLost,
    /// Passes everything on late.
    Slow,
}

/// A TCP proxy in front of a server.
pub struct Proxy {
    pub port: u16,
    weather: Arc<AtomicU8>,
    to: Arc<AtomicU16>,
}

impl Proxy {
    pub fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let weather = Arc::new(AtomicU8::new(Weather::Fair as u8));
        let to = Arc::new(AtomicU16::new(to));
        let shared = (weather.clone(), to.clone());
        std::thread::spawn(move || {
            for node in listener.incoming().flatten() {
                let (weather, to) = shared.clone();
                std::thread::spawn(move || carry(&node, to.load(Ordering::Acquire), &weather));
            }
        });
        Self { port, weather, to }
    }

    /// New connections lead to another server.
    pub fn leads_to(&self, port: u16) {
        self.to.store(port, Ordering::Release);
    }

    pub fn set(&self, weather: Weather) {
        self.weather.store(weather as u8, Ordering::Release);
    }
}

fn carry(node: &TcpStream, to: u16, weather: &Arc<AtomicU8>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { return };
    let (from_node, to_server) = (node.try_clone().unwrap(), server.try_clone().unwrap());
    let out = weather.clone();
    let outward = std::thread::spawn(move || {
        copy(&from_node, &to_server, &out, &[Weather::NothingOut, Weather::Nothing], false);
    });
    copy(&server, node, weather, &[Weather::NothingBack, Weather::Nothing], true);
    drop(outward.join());
}

fn copy(from: &TcpStream, to: &TcpStream, weather: &AtomicU8, held: &[Weather], back: bool) {
    let (mut from, mut to) = (from, to);
    let mut bytes = [0; 65_536];
    from.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let is = |one: Weather| weather.load(Ordering::Acquire) == one as u8;
    loop {
        let count = match from.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                continue;
            }
            Err(_) => break,
        };
        if back && is(Weather::AnswersLost) {
            break;
        }
        if is(Weather::Slow) {
            std::thread::park_timeout(Duration::from_millis(40));
        }
        poll_until(START + KILL_DEADLINE, "fair weather", || {
            (!held.iter().any(|one| is(*one))).then_some(())
        });
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    drop(from.shutdown(Shutdown::Both));
    drop(to.shutdown(Shutdown::Both));
}
