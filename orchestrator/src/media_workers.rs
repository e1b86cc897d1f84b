//! The pool of media worker processes: `gristmill media-worker`, started when first needed.
//!
//! A worker that dies, hangs or answers nonsense is a verdict on the item it held and is replaced;
//! a worker that cannot be started is not. Workers form process groups of their own, so that an
//! interrupt typed at the terminal reaches the node alone, and end when the node's end of their
//! pipe closes, however the node ends.

use crate::limits::EXIT_LIMIT;
use crate::limits::HELLO_LIMIT;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gristmill_media::{Bound, Limits, Measures, Modality, worker};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

/// Pause after the first start that failed; it doubles with every further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// The allocator's address space grows by this many KiB: its default is all that a worker may have.
const ARENA: (&str, &str) = ("MIMALLOC_ARENA_RESERVE", "65536");

/// Longest pause between starts.
const LAST_BACKOFF: Duration = Duration::from_secs(10);

/// Items a worker measures before it is replaced, so that no leak of a decoder lives long.
const ITEMS_PER_WORKER: u32 = 1_000;

/// Times an item is given to a fresh worker after the one that held it was killed from outside.
const SECOND_CHANCES: u32 = 1;

/// Signals that come from outside a worker: hang-up, interrupt, kill, terminate. The system's
/// out-of-memory killer is among them, so a second such death is a verdict too.
const SIGNALS_FROM_OUTSIDE: [i32; 4] = [1, 2, 9, 15];

/// Why an item was not measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// A verdict on the item: its content cannot be measured.
    #[error(transparent)]
    Content(#[from] gristmill_media::Error),
    /// A verdict on the item: its decoder died, hung or went over a limit of its process.
    #[error("decoder limit: {0}")]
    DecoderLimit(Death),
    /// No verdict: no worker could be started. Asking again later may help.
    #[error("no media worker: {0}")]
    Unavailable(StartError),
}

impl MeasureError {
    /// Whether asking again later may give another answer.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// How a decoder came to its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Death {
    /// It took longer than the wall limit and was killed.
    #[error("wall limit")]
    Hang,
    /// A signal ended it: its processor time or its memory ran out.
    #[error("killed by signal {0}")]
    Signal(i32),
    /// It exited on its own.
    #[error("exited with {0}")]
    Exit(i32),
    /// Its answer was not one, or its status could not be learnt.
    #[error("no answer")]
    NoAnswer,
}

/// Why no worker could be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program could not be run.
    #[error("start: {0}")]
    Spawn(#[source] std::io::Error),
    /// It ran, but did not say that it is ready, or speaks another version.
    #[error("the program did not say that it is ready")]
    NotReady,
    /// A start failed a moment ago; the next is tried after this pause.
    #[error("waiting {0:?} after a failed start")]
    Backoff(Duration),
    /// The pool is shutting down.
    #[error("stopped")]
    Stopped,
}

/// The pool. Idle until the first item; at most one item a worker.
#[derive(Debug)]
pub struct MediaWorkers {
    program: PathBuf,
    arguments: Vec<OsString>,
    wall_limit: Duration,
    limits: Limits,
    permits: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    idle: VecDeque<Worker>,
    failures: u32,
    retry_at: Option<Instant>,
}

#[derive(Debug)]
struct Worker {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    items: u32,
}

impl MediaWorkers {
    /// A pool of at most `workers` processes of `program` with `arguments`, each of which has
    /// `wall_limit` for one item. Nothing is started yet. `limits` must be those that the worker
    /// itself runs with.
    #[must_use]
    pub fn start(
        program: PathBuf,
        arguments: Vec<OsString>,
        workers: usize,
        wall_limit: Duration,
        limits: Limits,
    ) -> Self {
        let permits = Semaphore::new(workers.max(1));
        let state = Mutex::new(State::default());
        Self { program, arguments, wall_limit, limits, permits, state }
    }

    /// Measures one item; waits while all workers are busy. Dropping the future kills the worker.
    ///
    /// # Errors
    /// [`MeasureError`]: two kinds of verdict, and one that asks to try again.
    pub async fn measure(
        &self,
        bytes: &[u8],
        expected: Modality,
    ) -> Result<Measures, MeasureError> {
        let (found, limit) = (bytes.len() as u64, self.limits.max_bytes);
        if found > limit {
            return Err(
                gristmill_media::Error::TooLarge { bound: Bound::Bytes, found, limit }.into()
            );
        }
        let permit = self.permits.acquire().await;
        let _permit = permit.map_err(|_| MeasureError::Unavailable(StartError::Stopped))?;
        let mut chances = SECOND_CHANCES;
        loop {
            let mut worker = self.worker().await.map_err(MeasureError::Unavailable)?;
            let exchange = worker.exchange(bytes, expected, &self.limits);
            match timeout(self.wall_limit, exchange).await {
                Ok(Ok(answer)) => {
                    self.keep(worker);
                    return Ok(answer?);
                }
                Ok(Err(_)) => match worker.bury().await {
                    Death::Signal(signal)
                        if chances > 0 && SIGNALS_FROM_OUTSIDE.contains(&signal) =>
                    {
                        chances -= 1;
                    }
                    death => return Err(MeasureError::DecoderLimit(death)),
                },
                // Dropping the worker kills it.
                Err(_) => return Err(MeasureError::DecoderLimit(Death::Hang)),
            }
        }
    }

    /// Lets no further item in and ends the idle workers.
    pub fn stop(&self) {
        self.permits.close();
        self.state().idle.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that panics runs under the lock, and the state is whole between statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An idle worker that still lives, or a new one.
    async fn worker(&self) -> Result<Worker, StartError> {
        loop {
            let Some(mut worker) = self.state().idle.pop_back() else {
                break;
            };
            if matches!(worker.child.try_wait(), Ok(None)) {
                return Ok(worker);
            }
        }
        if let Some(retry_at) = self.state().retry_at {
            let now = Instant::now();
            if now < retry_at {
                return Err(StartError::Backoff(retry_at - now));
            }
        }
        let started = self.launch().await;
        let mut state = self.state();
        if started.is_ok() {
            state.failures = 0;
            state.retry_at = None;
        } else {
            let pause = FIRST_BACKOFF.saturating_mul(1 << state.failures.min(16)).min(LAST_BACKOFF);
            state.failures = state.failures.saturating_add(1);
            state.retry_at = Some(Instant::now() + pause);
        }
        started
    }

    async fn launch(&self) -> Result<Worker, StartError> {
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .env(ARENA.0, ARENA.1)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .process_group(0)
            .spawn()
            .map_err(StartError::Spawn)?;
        let input = child.stdin.take().ok_or(StartError::NotReady)?;
        let output = child.stdout.take().ok_or(StartError::NotReady)?;
        let mut worker = Worker { child, input, output, items: 0 };
        let mut hello = [0; worker::HELLO.len()];
        match timeout(HELLO_LIMIT, worker.output.read_exact(&mut hello)).await {
            Ok(Ok(_)) if &hello == worker::HELLO => Ok(worker),
            _ => Err(StartError::NotReady),
        }
    }

    /// Takes a worker back, unless it has served long enough: then its input closes and it ends.
    fn keep(&self, worker: Worker) {
        if worker.items < ITEMS_PER_WORKER && !self.permits.is_closed() {
            self.state().idle.push_back(worker);
        }
    }
}

impl Worker {
    async fn exchange(
        &mut self,
        bytes: &[u8],
        expected: Modality,
        limits: &Limits,
    ) -> Result<worker::Answer, worker::Error> {
        let head = worker::request_head(expected, bytes.len(), limits)?;
        self.input.write_all(&head).await?;
        self.input.write_all(bytes).await?;
        self.input.flush().await?;
        let mut head = [0; 4];
        self.output.read_exact(&mut head).await?;
        let mut content = vec![0; worker::answer_length(head)?];
        self.output.read_exact(&mut content).await?;
        self.items += 1;
        worker::decode_answer(&content)
    }

    /// Waits for the end of a process whose pipe broke, and says how it died. One that does not end
    /// is killed, and then its status would say nothing.
    async fn bury(mut self) -> Death {
        drop(self.input);
        match timeout(EXIT_LIMIT, self.child.wait()).await {
            Ok(Ok(status)) => death_of(status),
            Ok(Err(_)) | Err(_) => Death::NoAnswer,
        }
    }
}

fn death_of(status: ExitStatus) -> Death {
    match (status.signal(), status.code()) {
        (Some(signal), _) => Death::Signal(signal),
        (None, Some(code)) => Death::Exit(code),
        (None, None) => Death::NoAnswer,
    }
}

#[cfg(test)]
mod tests;
