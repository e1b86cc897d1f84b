//! Ctrl-C and SIGTERM: from the moment that they are listened to none is lost, whatever the process
//! is busy with.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The system lets this process listen to no signals.
#[derive(Debug, thiserror::Error)]
#[error("Ctrl-C and SIGTERM cannot be listened to: {0}")]
pub struct Error(#[from] io::Error);

/// Both, listened to. Neither ends the process by itself any more.
#[derive(Debug)]
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// Begins to listen.
    pub(crate) fn listen() -> Result<Self, Error> {
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { interrupt, terminate })
    }

    /// The next of them, at once if one came since the last.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
