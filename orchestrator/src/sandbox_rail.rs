//! A payment provider in a box: a real HTTP server that keeps a durable book and goes wrong on
//! request, so that everything up to the money can be tried without money.
//!
//! Requests, answers, the book and the faults are described in `docs/sandbox-rail.md` of this
//! crate. An answer is given when the book durably holds what it says.

pub mod book;
pub mod faults;
mod http;
pub mod limits;
mod payouts;
mod server;
mod writer;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::TcpListener;
use tokio::sync::watch;

use self::book::Book;
use self::faults::{Faults, Outage};
use self::payouts::Payouts;
use self::writer::Writer;
use crate::interrupts::{self, Interrupts};

/// How to serve.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Directory of the book, made if absent.
    pub book: PathBuf,
    /// What goes wrong.
    pub faults: Faults,
    /// Seed of all that goes wrong.
    pub seed: u64,
}

/// Why the sandbox rail does not serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The book cannot be read or written.
    #[error(transparent)]
    Book(#[from] book::Error),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Signals.
    #[error(transparent)]
    Signals(#[from] interrupts::Error),
    /// No thread or runtime could be started, or no output had.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// A sandbox rail that serves on a thread of its own until it is stopped or dropped.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    stop: watch::Sender<()>,
    ended: watch::Receiver<()>,
    thread: JoinHandle<Result<(), Error>>,
}

/// What all requests share.
struct Rail {
    payouts: Payouts,
    writer: Writer,
    outages: watch::Sender<Option<Outage>>,
}

impl Rail {
    fn open(options: &Options) -> Result<Self, Error> {
        let payouts = Payouts::new(options.faults.clone(), options.seed);
        let book = Book::open(&options.book, |line| payouts.replay(line))?;
        payouts.resume();
        let (outages, _) = watch::channel(options.faults.down);
        Ok(Self { payouts, writer: Writer::start(book)?, outages })
    }

    fn set_faults(&self, faults: Faults) {
        self.outages.send_replace(faults.down);
        self.payouts.set_faults(faults);
    }

    /// Milliseconds since the Unix epoch.
    #[expect(
        clippy::unused_self,
        clippy::disallowed_methods,
        reason = "the sandbox is a program of its own with its own clock, outside the node"
    )]
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Opens the book and starts to serve. When this returns, connections are accepted. Blocks while
/// the book is replayed.
///
/// # Errors
/// When the book is in use or corrupt, or the address is taken.
pub fn serve(options: &Options) -> Result<Running, Error> {
    let rail = Arc::new(Rail::open(options)?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("start a runtime"))?;
    let (listener, address) = {
        let _inside = runtime.enter();
        let listener = server::listen(options.listen)?;
        let address = listener
            .local_addr()
            .map_err(|source| Error::Listen { address: options.listen, source })?;
        (listener, address)
    };
    let (stop, stopped) = watch::channel(());
    let (ending, ended) = watch::channel(());
    let thread = std::thread::Builder::new()
        .name("sandbox-rail".to_owned())
        .spawn(move || {
            let result = runtime.block_on(work(listener, address, Arc::clone(&rail), stopped));
            // Connections and tasks hold the rail until the runtime is gone.
            drop(runtime);
            let closed = Arc::into_inner(rail).map_or(Ok(()), |mut rail| rail.writer.close());
            drop(ending);
            result.and(closed.map_err(Error::from))
        })
        .map_err(system("start a thread"))?;
    Ok(Running { address, stop, ended, thread })
}

async fn work(
    listener: TcpListener,
    address: SocketAddr,
    rail: Arc<Rail>,
    stop: watch::Receiver<()>,
) -> Result<(), Error> {
    tokio::select! {
        result = server::serve(listener, address, Arc::clone(&rail), stop) => result,
        () = server::apply_late(rail) => Ok(()),
    }
}

fn system(action: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::System { action, source }
}

impl Running {
    /// The address listened on, with the real port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Base of all URLs, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends when the rail serves no longer, though nobody stopped it: `stop` then tells why.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }

    /// Breaks all connections, writes the rest of the book and ends. Blocks for a moment.
    ///
    /// # Errors
    /// Why the rail had ended before, or why the rest of the book could not be written.
    pub fn stop(self) -> Result<(), Error> {
        drop(self.stop);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Serves until SIGINT or SIGTERM: the body of `gristmill sandbox-rail`. The first line on stdout
/// is `{"listening": "http://…"}`.
///
/// # Errors
/// As `serve`, or when the book breaks while serving.
pub async fn run(options: &Options) -> Result<(), Error> {
    let mut interrupts = Interrupts::listen()?;
    let running = serve(options)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{{\"listening\": \"{}\"}}", running.url())
        .and_then(|()| out.flush())
        .map_err(system("write to stdout"))?;
    drop(out);
    tokio::select! {
        () = interrupts.next() => {}
        () = running.ended() => {}
    }
    running.stop()
}
