//! The service's own threads: what a client waits for waits for no step of a journey.

use crate::embedded_store::waits;
use std::io;
use tokio::runtime::{Builder, EnterGuard, Runtime};
use tokio::task::JoinHandle;

/// A runtime beside the one that the actors run on; its tasks end when it is dropped.
#[derive(Debug)]
pub(super) struct Threads {
    runtime: Option<Runtime>,
}

impl Threads {
    /// As many as the machine has cores. They read the embedded store themselves.
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .thread_name("service")
            .on_thread_start(waits::allow)
            .build()?;
        Ok(Self { runtime: Some(runtime) })
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is there until this is dropped")
    }

    /// Sockets that are made while this is held are looked after by these threads.
    pub(super) fn enter(&self) -> EnterGuard<'_> {
        self.runtime().enter()
    }

    /// Runs a task on these threads.
    pub(super) fn spawn<T: Send + 'static>(
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
