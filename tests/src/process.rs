//! The built binary as a process: started, read, signalled, waited for.

use crate::limits::{COMMAND_DEADLINE, KILL_DEADLINE, OUTPUT_BYTES_MAX};
use crate::poll::{poll, poll_until};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How to start the binary; each call of [`Self::run`] or [`Self::spawn`] starts it once.
#[derive(Debug, Clone)]
pub struct Gristmill {
    program: PathBuf,
    deadline: Duration,
    folder: Option<PathBuf>,
    environment: Vec<(OsString, OsString)>,
    /// A program and its arguments that the binary is started by.
    under: Vec<OsString>,
}

/// What a finished process left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The exit code; 128 + N for a process ended by signal N, as a shell says it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// A running process, killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    what: String,
    stdout: Reader,
    stderr: Reader,
}

/// Collects one output of a process as it comes.
#[derive(Debug)]
struct Reader {
    text: Arc<Mutex<String>>,
    thread: Option<JoinHandle<()>>,
}

impl Default for Gristmill {
    fn default() -> Self {
        Self::command()
    }
}

impl Gristmill {
    /// The binary named by `GRISTMILL_BIN`, else the one beside the test executable's folder.
    ///
    /// # Panics
    /// When there is none.
    pub fn command() -> Self {
        let program = match std::env::var_os("GRISTMILL_BIN") {
            Some(path) => PathBuf::from(path),
            None => built("gristmill"),
        };
        Self::at(program)
    }

    /// Another binary of the same build, such as an author's own: it stands beside the first.
    ///
    /// # Panics
    /// When it was not built.
    pub fn binary(name: &str) -> Self {
        Self::at(Self::command().program.with_file_name(name))
    }

    fn at(program: PathBuf) -> Self {
        assert!(
            program.is_file(),
            "{} is missing: build it with `cargo build --workspace --bins --tests`",
            program.display()
        );
        Self {
            program,
            deadline: COMMAND_DEADLINE,
            folder: None,
            environment: Vec::new(),
            under: Vec::new(),
        }
    }

    /// Where the binary is.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// With another deadline than [`COMMAND_DEADLINE`] for [`Self::run`].
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Started by another program, such as a tracer, which takes the command line as its last
    /// arguments.
    #[must_use]
    pub fn under(mut self, program: &[&str]) -> Self {
        self.under = program.iter().map(OsString::from).collect();
        self
    }

    /// Started in a folder.
    #[must_use]
    pub fn in_folder(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// With one more environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it has not ended by the deadline; what it printed so far is in the message.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        self.spawn(arguments).wait(self.deadline)
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Process {
        let mut command = match self.under.split_first() {
            Some((tracer, options)) => {
                let mut command = Command::new(tracer);
                command.args(options).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.args(arguments);
        // Configuration of the person who runs the tests is not part of a test.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("GRISTMILL_") || name == "RUST_LOG" {
                command.env_remove(name);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        let what = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let stdout = Reader::new(child.stdout.take().expect("standard output is piped"));
        let stderr = Reader::new(child.stderr.take().expect("standard error is piped"));
        Process { child, what, stdout, stderr }
    }
}

impl Process {
    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.so_far()
    }

    /// Standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.so_far()
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.status().is_none()
    }

    /// The first whole line of standard output, such as `{"listening": "http://…"}`.
    ///
    /// # Panics
    /// When none came by the deadline, or the process ended without one.
    pub fn first_line(&mut self, deadline: Duration) -> String {
        let what = format!("the first line of {}", self.what);
        poll_until(deadline, &what, || {
            let ended = !self.is_running();
            if ended {
                self.stdout.join();
            }
            let text = self.stdout.so_far();
            let line = text.split_once('\n').map(|(line, _)| line.to_owned());
            assert!(
                line.is_some() || !ended,
                "{} ended without a line on standard output:\n{}",
                self.what,
                self.stderr.so_far()
            );
            line
        })
    }

    /// SIGINT, as Ctrl-C sends it.
    pub fn interrupt(&mut self) {
        self.signal(Signal::INT);
    }

    /// SIGTERM.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// SIGSTOP: it does nothing until [`Self::resume`], and knows nothing of it.
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    /// SIGKILL, and waits until the process is gone. It may have ended by itself before.
    pub fn kill(mut self) -> Output {
        self.signal(Signal::KILL);
        self.wait(KILL_DEADLINE)
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it has not ended by the deadline; it is killed, and what it printed is in the message.
    pub fn wait(mut self, deadline: Duration) -> Output {
        let Some(status) = poll(deadline, || self.status()) else {
            panic!(
                "{} still runs after {deadline:?}\n--- standard output\n{}--- standard error\n{}",
                self.what,
                self.stdout.so_far(),
                self.stderr.so_far()
            );
        };
        // A child of the process may outlive it and hold the pipes; what it prints is not awaited
        // longer than a killed process is.
        poll(KILL_DEADLINE, || (self.stdout.ended() && self.stderr.ended()).then_some(()));
        let by_signal = || 128 + status.signal().unwrap_or(0);
        Output {
            code: status.code().unwrap_or_else(by_signal),
            stdout: self.stdout.so_far(),
            stderr: self.stderr.so_far(),
        }
    }

    fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap_or_else(|error| panic!("{}: {error}", self.what))
    }

    fn signal(&mut self, signal: Signal) {
        if self.status().is_some() {
            return;
        }
        // Not yet waited for, so the id cannot belong to another process.
        kill_process(Pid::from_child(&self.child), signal)
            .unwrap_or_else(|error| panic!("{}: {error}", self.what));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none())
            && let Err(error) = self.child.kill().and_then(|()| self.child.wait())
        {
            eprintln!("{}: cannot be killed: {error}", self.what);
        }
    }
}

impl Reader {
    fn new(stream: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&text);
        let thread = std::thread::spawn(move || {
            let mut lines = BufReader::new(stream.take(OUTPUT_BYTES_MAX));
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
                let mut text = kept.lock().unwrap_or_else(PoisonError::into_inner);
                text.push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Self { text, thread: Some(thread) }
    }

    fn so_far(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("a reader does not panic");
        }
    }
}

impl Output {
    /// The same, when the exit code is `code`.
    ///
    /// # Panics
    /// When it is another; both outputs are in the message.
    #[must_use]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "exit code {} instead of {code}\n--- standard output\n{}--- standard error\n{}",
            self.code, self.stdout, self.stderr
        );
        self
    }

    /// Standard output as one JSON value.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON: {error}\n{}", self.stdout))
    }
}

/// A loopback port that was free a moment ago. Where a program takes port 0, prefer that.
///
/// # Panics
/// When the machine gives none.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("a loopback port is free")
        .port()
}

/// Where this build put a binary, or `examples/NAME`.
///
/// # Panics
/// When the caller is no test of this build.
pub fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    // target/debug/deps/suite-0123 → target/debug/NAME
    let folder = test.parent().and_then(Path::parent).expect("a test stands in target/*/deps");
    folder.join(name)
}

#[cfg(test)]
mod tests;
