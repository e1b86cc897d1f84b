//! Contributions one a request, beside a handler that only parses them: node and bare in turn.

use super::Failure;
use super::client::{Client, contribution};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const CONNECTIONS: usize = 768;
const ROUNDS: usize = 3;

/// Prints rates and the ratio of their medians.
pub(crate) async fn run(node: &Client, bare: &Client, lasts: Duration) -> Result<(), Failure> {
    let next = Arc::new(AtomicU64::new(0));
    let (mut nodes, mut bares) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bares.push(rate(bare, &next, lasts).await?);
        nodes.push(rate(node, &next, lasts).await?);
    }
    nodes.sort_unstable();
    bares.sort_unstable();
    let ratio = 100 * nodes[ROUNDS / 2] / bares[ROUNDS / 2].max(1);
    println!("single contributions a second: {nodes:?}, bare {bares:?}, medians {ratio} %");
    Ok(())
}

async fn rate(client: &Client, next: &Arc<AtomicU64>, lasts: Duration) -> Result<u64, Failure> {
    let start = Instant::now();
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (client, next) = (client.clone(), next.clone());
        connections.spawn(async move {
            let mut done = 0;
            while start.elapsed() < lasts {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let _answer = client.post("/v1/contributions", contribution(number)).await?;
                done += 1;
            }
            Ok::<u64, Failure>(done)
        });
    }
    let mut done = 0;
    while let Some(connection) = connections.join_next().await {
        done += connection??;
    }
    Ok((done as f64 / start.elapsed().as_secs_f64()) as u64)
}
