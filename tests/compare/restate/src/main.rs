//! Five durable steps an item on Restate. `serve ADDRESS` is the service; `load INGRESS` hands items
//! in over the server's ingress and waits for each.

#[path = "../../load.rs"]
mod load;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use load::{Load, Task, Watch};
use restate_sdk::prelude::*;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

struct Item;

#[restate_sdk::service]
impl Item {
    /// Every step is a `run`: its result is in the server's log before the next one starts.
    #[handler]
    async fn settle(&self, ctx: Context<'_>, item: u64) -> Result<u64, HandlerError> {
        let mut value = item;
        for step in ["one", "two", "three", "four", "five"] {
            let before = value;
            value = ctx.run(|| async move { Ok(before + 1) }).name(step).await?;
        }
        Ok(value)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let (verb, address) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    match verb.as_str() {
        "serve" => {
            let endpoint = Endpoint::builder().bind(Item).build();
            HttpServer::new(endpoint).listen_and_serve(address.parse()?).await;
            Ok(())
        }
        "load" => load(&address).await,
        _ => Err("serve ADDRESS or load INGRESS".into()),
    }
}

struct Loader {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    watch: Watch,
    next: AtomicU64,
    failed: AtomicU64,
}

impl Loader {
    async fn item(&self, intended: Instant) {
        let item = self.next.fetch_add(1, Ordering::Relaxed);
        match self.call(item).await {
            Ok(value) if value == item + 5 => self.watch.finished(intended),
            Ok(_) | Err(_) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    async fn call(&self, item: u64) -> Result<u64, Box<dyn Error + Send + Sync>> {
        let body = Full::new(Bytes::from(item.to_string()));
        let request = Request::post(&self.url).header("content-type", "application/json");
        let answer = self.client.request(request.body(body)?).await?;
        let body = answer.into_body().collect().await?.to_bytes();
        Ok(std::str::from_utf8(&body)?.parse()?)
    }
}

async fn load(ingress: &str) -> Result<(), Box<dyn Error>> {
    let task = Task::from_arguments()?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let loader = Arc::new(Loader {
        client,
        url: format!("{ingress}/Item/settle"),
        watch: Watch::new(&task),
        next: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    });
    let telling = {
        let loader = loader.clone();
        tokio::spawn(async move { loader.watch.tell().await.map_err(|error| error.to_string()) })
    };
    match task.load {
        Load::InFlight(items) => in_flight(&loader, items).await?,
        Load::Rate(rate) => at_rate(&loader, rate).await,
    }
    telling.await??;
    match loader.failed.load(Ordering::Relaxed) {
        0 => Ok(()),
        failed => Err(format!("{failed} items failed").into()),
    }
}

async fn in_flight(loader: &Arc<Loader>, items: usize) -> Result<(), Box<dyn Error>> {
    let permits = Arc::new(Semaphore::new(items));
    while loader.watch.goes_on() {
        let permit = permits.clone().acquire_owned().await?;
        let loader = loader.clone();
        tokio::spawn(async move {
            loader.item(Instant::now()).await;
            drop(permit);
        });
    }
    Ok(())
}

async fn at_rate(loader: &Arc<Loader>, rate: f64) {
    let mut tick = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
    while loader.watch.goes_on() {
        let intended = tick.tick().await.into_std();
        let loader = loader.clone();
        tokio::spawn(async move { loader.item(intended).await });
    }
}
