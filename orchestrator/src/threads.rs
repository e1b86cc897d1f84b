//! Threads beside those that drive journeys: they may wait for the disk.
//!
//! A read from memory takes microseconds; on a busy machine, handing it to another thread and being
//! woken by its answer takes milliseconds. Threads that drive journeys must never wait for a disk.
//! Those that only answer clients, or only read for shards, may.

use std::cell::Cell;
use std::io;
use std::{panic, thread};
use tokio::runtime::{Builder, EnterGuard, Handle, Runtime};
use tokio::task::JoinHandle;

/// How far a service's threads that drive journeys stand behind those that answer (see nice(2)).
pub(crate) const JOURNEYS_BEHIND: i32 = 5;

thread_local! {
    static MAY_WAIT: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread may wait for the disk.
pub(crate) fn may_wait() -> bool {
    MAY_WAIT.get()
}

/// Puts this thread, and those that it starts, behind others of the machine: at a nice value of `by`, see
/// nice(2). Who is short of processor time then answers first and catches up later. Elsewhere than on
/// Linux priorities are those of whole processes: nothing is done.
pub(crate) fn step_back(by: i32) {
    if cfg!(target_os = "linux")
        && let Err(error) = rustix::process::setpriority_process(None, by)
    {
        tracing::warn!(%error, by, "a thread could not be put behind others");
    }
}

/// Runs something on a thread of its own that stands behind others, as do all that it starts.
pub(crate) fn in_background<T: Send>(by: i32, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let work = || {
            step_back(by);
            work()
        };
        let thread = thread::Builder::new().spawn_scoped(scope, work)?;
        Ok(thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic)))
    })
}

/// A runtime beside the one that the actors run on; its tasks end when it is dropped.
#[derive(Debug)]
pub(crate) struct Threads {
    runtime: Option<Runtime>,
}

impl Threads {
    /// As many as the machine has cores. They read the embedded store themselves.
    pub(crate) fn start(name: &str) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .thread_name(name)
            .on_thread_start(|| MAY_WAIT.set(true))
            .build()?;
        Ok(Self { runtime: Some(runtime) })
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is there until this is dropped")
    }

    /// Sockets that are made while this is held are looked after by these threads.
    pub(crate) fn enter(&self) -> EnterGuard<'_> {
        self.runtime().enter()
    }

    /// For who is to run tasks on these threads.
    pub(crate) fn handle(&self) -> Handle {
        self.runtime().handle().clone()
    }

    /// Runs a task on these threads.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.runtime().spawn(task)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting for its threads would block one of the other runtime's.
            runtime.shutdown_background();
        }
    }
}
