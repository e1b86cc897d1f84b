//! Servers of the tests' own, on free ports, in directories of their own.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// One `redis-server` with `appendfsync always`; killed when dropped.
pub struct Server {
    dir: TempDir,
    child: Child,
    pub port: u16,
    is_cluster: bool,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A port whose neighbour 10,000 above, the cluster's bus, is free too.
fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if port < 55_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}

fn spawn(dir: &TempDir, port: u16, is_cluster: bool) -> Option<Child> {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
    command.args(["--appendonly", "yes", "--appendfsync", "always"]);
    command.arg("--dir").arg(dir.path());
    if is_cluster {
        command.args(["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]);
    }
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    match child {
        Ok(child) => Some(child),
        Err(error) => {
            eprintln!("skipped: redis-server cannot be started: {error}");
            None
        }
    }
}

pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

impl Server {
    /// Starts one; none, with a line on standard error, where there is none to start.
    pub fn start() -> Option<Self> {
        Self::start_as(false)
    }

    fn start_as(is_cluster: bool) -> Option<Self> {
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        let child = spawn(&dir, port, is_cluster)?;
        let server = Self { dir, child, port, is_cluster };
        server.wait();
        Some(server)
    }

    fn wait(&self) {
        until("the server answers", || {
            TcpStream::connect(("127.0.0.1", self.port)).is_ok() && self.ask(&["PING"]) == "PONG"
        });
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// SIGKILL, then the same server on the same directory again.
    pub fn kill_and_start(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(&self.dir, self.port, self.is_cluster).unwrap();
        self.wait();
    }

    /// Whether these bytes are in a file of the server's.
    pub fn file_holds(&self, bytes: &[u8]) -> bool {
        let files = std::fs::read_dir(self.dir.path().join("appendonlydir")).unwrap();
        // One that is gone before it is read holds nothing.
        let read = files.map(|file| std::fs::read(file.unwrap().path()).unwrap_or_default());
        read.into_iter().any(|file| file.windows(bytes.len()).any(|found| found == bytes))
    }

    /// The answer to a command, as text.
    pub fn ask(&self, command: &[&str]) -> String {
        let port = self.port.to_string();
        let asked = Command::new("redis-cli").args(["-p", &port]).args(command).output();
        String::from_utf8(asked.unwrap().stdout).unwrap().trim().to_owned()
    }

    /// Keeps a copy of every key.
    pub fn remember(&self) {
        self.copy("{gm*", "'before:' .. key");
    }

    /// Is again what it was when it last kept copies, as a replica is that is promoted without what
    /// came later.
    pub fn forget(&self) {
        let script = "for _, key in ipairs(redis.call('KEYS', '{gm*')) do redis.call('DEL', key) end \
                      return redis.status_reply('OK')";
        self.command(&["EVAL", script, "0"]);
        self.copy("before:*", "string.sub(key, 8)");
    }

    fn copy(&self, from: &str, to: &str) {
        let script = format!(
            "for _, key in ipairs(redis.call('KEYS', '{from}')) do \
             redis.call('COPY', key, {to}, 'REPLACE') end return redis.status_reply('OK')"
        );
        self.command(&["EVAL", &script, "0"]);
    }

    /// A command that must be answered `OK`.
    pub fn command(&self, command: &[&str]) {
        assert_eq!(self.ask(command), "OK", "{command:?}");
    }
}

/// A Sentinel that watches a server as the master `gm`; killed when dropped.
pub struct Sentinel {
    _dir: TempDir,
    child: Child,
    pub port: u16,
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Sentinel {
    pub fn of(server: &Server) -> Self {
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        let file = dir.path().join("sentinel.conf");
        let watched = server.port;
        let lines =
            format!("port {port}\nbind 127.0.0.1\nsentinel monitor gm 127.0.0.1 {watched} 1\n");
        std::fs::write(&file, lines).unwrap();
        let mut command = Command::new("redis-server");
        let child = command.arg(&file).arg("--sentinel").stdout(Stdio::null()).spawn().unwrap();
        until("the sentinel listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { _dir: dir, child, port }
    }
}

/// A cluster of masters; none where there is no server to start.
pub fn cluster(masters: usize) -> Option<Vec<Server>> {
    let servers: Option<Vec<Server>> = (0..masters).map(|_| Server::start_as(true)).collect();
    let servers = servers?;
    let hosts: Vec<String> = servers.iter().map(|it| format!("127.0.0.1:{}", it.port)).collect();
    let mut create = Command::new("redis-cli");
    create.args(["--cluster", "create"]).args(&hosts).arg("--cluster-yes");
    assert!(create.output().unwrap().status.success());
    for server in &servers {
        until("the cluster stands", || {
            let info = server.ask(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains(&format!("cluster_size:{masters}"))
        });
    }
    Some(servers)
}
