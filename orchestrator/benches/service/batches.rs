//! Batches of contributions while every stage is paused: how many become durable a second.

use super::Failure;
use super::client::{Client, contribution};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const CLIENTS: usize = 4;
const LINES: u64 = 10_000;
const STAGES: [&str; 5] = ["consent", "fixed_score", "valuation", "trace", "payout"];

/// Pauses every stage of the engine's workflow.
pub(crate) async fn pause(client: &Client) -> Result<(), Failure> {
    for stage in STAGES {
        let path = format!("/v1/admin/stages/{stage}/pause");
        let _paused = client.post(&path, r#"{"reason":"bench"}"#.to_owned()).await?;
    }
    Ok(())
}

/// Lets every stage go on.
pub(crate) async fn resume(client: &Client) -> Result<(), Failure> {
    for stage in STAGES {
        let path = format!("/v1/admin/stages/{stage}/resume");
        let _resumed = client.post(&path, r#"{"reason":"bench"}"#.to_owned()).await?;
    }
    Ok(())
}

/// Hands in as fast as it is acknowledged, and prints how fast that was.
pub(crate) async fn run(client: &Client, lasts: Duration) -> Result<(), Failure> {
    let next = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (client, next) = (client.clone(), next.clone());
        clients.spawn(async move {
            let mut done = 0;
            while start.elapsed() < lasts {
                let first = next.fetch_add(LINES, Ordering::Relaxed);
                let mut lines = String::new();
                for number in first..first + LINES {
                    writeln!(lines, "{}", contribution(number))?;
                }
                let _answers = client.batch(lines).await?;
                done += LINES;
            }
            Ok::<u64, Failure>(done)
        });
    }
    let mut acknowledged = 0;
    while let Some(done) = clients.join_next().await {
        acknowledged += done??;
    }
    let took = start.elapsed().as_secs_f64();
    let rate = acknowledged as f64 / took;
    println!("batches, stages paused: {acknowledged} durable in {took:.1} s, {rate:.0}/s");
    Ok(())
}
