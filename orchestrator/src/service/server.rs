//! Connections: accepted up to a bound, each limited in time and in the size of its requests'
//! heads. When all places are taken, the connection that has been idle for longest gives way.

use crate::service::limits::{HEAD_BYTES_MAX, HEAD_TIMEOUT, HEADERS_MAX};
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep};

/// Pause after a failed accept, such as for want of file descriptors.
const BREATH: Duration = Duration::from_millis(20);
const BACKLOG: u32 = 1_024;

/// Listens on an address.
///
/// # Errors
/// What the system says.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What is known of a connection from outside.
#[derive(Debug, Default)]
struct Seen {
    /// Requests under way: none or one.
    busy: AtomicUsize,
    /// When the last one ended, in milliseconds since the server began.
    idle_since: AtomicU64,
    /// Its place is needed.
    give_way: Notify,
}

/// Serves until `stop` changes; then ends connections as their answers end.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    places: usize,
    mut stop: watch::Receiver<bool>,
) -> JoinSet<()> {
    let began = Instant::now();
    let mut seen: HashMap<Id, Arc<Seen>> = HashMap::new();
    let mut connections: JoinSet<()> = JoinSet::new();
    let mut refused = false;
    loop {
        tokio::select! {
            _ = stop.changed() => return connections,
            Some(ended) = connections.join_next_with_id() => {
                let id = ended.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
                seen.remove(&id);
                if let Err(error) = ended {
                    // What it panicked with may hold what a client sent.
                    tracing::error!(panicked = error.is_panic(), "a connection ended by itself");
                }
            }
            accepted = listener.accept() => {
                let stream = match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        if !std::mem::replace(&mut refused, true) {
                            tracing::error!(%error, "connections cannot be taken");
                        }
                        sleep(BREATH).await;
                        continue;
                    }
                };
                refused = false;
                if seen.len() >= places && !make_room(&mut seen) {
                    // All of them are at work: the newcomer is the one to wait.
                    drop(stream);
                    continue;
                }
                let one = Arc::new(Seen::default());
                one.idle_since.store(ms(began), Ordering::Relaxed);
                let connection = Connection { seen: one.clone(), began, router: router.clone() };
                let task = connections.spawn(connection.serve(stream, stop.clone()));
                seen.insert(task.id(), one);
            }
        }
    }
}

fn ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Lets the connection that has been idle for longest give way; false if none is idle.
fn make_room(seen: &mut HashMap<Id, Arc<Seen>>) -> bool {
    let idle = seen.iter().filter(|(_, one)| one.busy.load(Ordering::Relaxed) == 0);
    let longest = idle.min_by_key(|(_, one)| one.idle_since.load(Ordering::Relaxed));
    let Some(id) = longest.map(|(id, _)| *id) else { return false };
    if let Some(one) = seen.remove(&id) {
        one.give_way.notify_one();
    }
    true
}

struct Connection {
    seen: Arc<Seen>,
    began: Instant,
    router: Router,
}

impl Connection {
    async fn serve(self, stream: TcpStream, mut stop: watch::Receiver<bool>) {
        // Answers are written whole; waiting for more to send would only delay them.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let (seen, began) = (self.seen.clone(), self.began);
        let router = TowerToHyperService::new(self.router);
        let service = service_fn(move |request: Request<Incoming>| {
            seen.busy.fetch_add(1, Ordering::Relaxed);
            let answer = router.call(request.map(Body::new));
            let seen = seen.clone();
            async move {
                let answer: Result<Response, Infallible> = answer.await;
                seen.idle_since.store(ms(began), Ordering::Relaxed);
                seen.busy.fetch_sub(1, Ordering::Relaxed);
                answer
            }
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.seen.give_way.notified() => return,
            _ = stop.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            // How a connection ended concerns its client; the text may hold what it sent.
            tracing::trace!(timeout = error.is_timeout(), "a connection broke");
        }
    }
}
