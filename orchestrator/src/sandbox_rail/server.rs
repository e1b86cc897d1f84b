//! Connections: accepted, limited, broken when the rail is down.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::faults::Outage;
use super::http::answer;
use super::limits::{MAX_CONNECTIONS, REQUEST_TIMEOUT};
use super::{Error, Rail};

/// Pause after a failed accept or bind, such as for want of file descriptors.
const BREATH: Duration = Duration::from_millis(20);
/// How long the address is fought for after an outage.
const REBIND_ATTEMPTS: u32 = 500;
const BACKLOG: u32 = 1_024;

/// Listens on `address`. The address can be taken again at once after the listener is gone.
pub(super) fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bind().map_err(|source| Error::Listen { address, source })
}

/// Serves until `stop` is dropped, or until the book breaks.
pub(super) async fn serve(
    mut listener: TcpListener,
    address: SocketAddr,
    rail: Arc<Rail>,
    mut stop: watch::Receiver<()>,
) -> Result<(), Error> {
    let mut outages = rail.outages.subscribe();
    let mut connections = JoinSet::new();
    let mut outage = outages.borrow_and_update().map(begin);
    loop {
        tokio::select! {
            _ = stop.changed() => return Ok(()),
            () = rail.writer.broken() => return Ok(()),
            Ok(()) = outages.changed() => outage = outages.borrow_and_update().map(begin),
            () = reached(outage.map(|(from, _)| from)) => {
                // How a connection ended concerns nobody but its client.
                connections.shutdown().await;
                drop(listener);
                tokio::select! {
                    _ = stop.changed() => return Ok(()),
                    () = reached(outage.map(|(_, to)| to)) => {}
                }
                outage = None;
                listener = listen_again(address).await?;
            }
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&rail)));
                }
                Err(_) => sleep(BREATH).await,
            },
        }
    }
}

/// Applies late payouts when they are due. Never ends.
pub(super) async fn apply_late(rail: Arc<Rail>) {
    loop {
        rail.payouts.apply_due(&rail.writer, rail.now_ms());
        match rail.payouts.next_due() {
            None => rail.payouts.late.notified().await,
            Some(due) => {
                let wait = Duration::from_millis(due.saturating_sub(rail.now_ms()).max(1));
                tokio::select! {
                    () = sleep(wait) => {}
                    () = rail.payouts.late.notified() => {}
                }
            }
        }
    }
}

fn begin(outage: Outage) -> (Instant, Instant) {
    let from = Instant::now() + outage.starts;
    (from, from + outage.lasts)
}

async fn reached(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

async fn listen_again(address: SocketAddr) -> Result<TcpListener, Error> {
    for _ in 1..REBIND_ATTEMPTS {
        if let Ok(listener) = listen(address) {
            return Ok(listener);
        }
        sleep(BREATH).await;
    }
    listen(address)
}

async fn connection(stream: TcpStream, rail: Arc<Rail>) -> Result<(), hyper::Error> {
    // Answers are written whole; waiting for more to send would only delay them.
    if stream.set_nodelay(true).is_err() {
        return Ok(());
    }
    let service = service_fn(move |request| answer(Arc::clone(&rail), request));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await
}
