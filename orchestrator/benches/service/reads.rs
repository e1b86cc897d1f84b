//! Reads of single contributions, on a schedule, while others are handed in and settle.

use super::Failure;
use super::client::{Client, contribution};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

/// Contributions handed in a second, evenly, in batches of a hundredth.
const RATE: u64 = 5_000;
const BATCH: u64 = RATE / 100;
const READ_EVERY: Duration = Duration::from_millis(5);

/// Prints percentiles of reads from the moment they were due, and how many settled meanwhile.
pub(crate) async fn run(client: &Client, lasts: Duration) -> Result<(), Failure> {
    let ids: Arc<Mutex<Vec<String>>> = Arc::default();
    let start = Instant::now();
    let load = tokio::spawn(load(client.clone(), ids.clone(), start, lasts));
    let mut tick = interval(READ_EVERY);
    let mut reads = JoinSet::new();
    let mut took = Vec::new();
    let mut nth = 0_usize;
    while start.elapsed() < lasts {
        let due = tick.tick().await;
        let id = {
            let ids = ids.lock().unwrap_or_else(PoisonError::into_inner);
            // Spread over all that were ever handed in.
            let place = nth.wrapping_mul(7_919) % ids.len().max(1);
            ids.get(place).cloned()
        };
        nth += 1;
        let Some(id) = id else { continue };
        let client = client.clone();
        reads.spawn(async move {
            let _shown = client.get(&format!("/v1/contributions/{id}")).await?;
            Ok::<Duration, Failure>(due.elapsed())
        });
        while let Some(read) = reads.try_join_next() {
            took.push(read??);
        }
    }
    while let Some(read) = reads.join_next().await {
        took.push(read??);
    }
    let settled = settled(client).await?;
    let passed = start.elapsed().as_secs_f64();
    load.await??;
    took.sort_unstable();
    let at = |part: usize| took.get(took.len() * part / 1000).copied().unwrap_or_default();
    println!(
        "reads: p50 {:?}, p99 {:?}, p99.9 {:?}, of {}, while {:.0} settled a second",
        at(500),
        at(990),
        at(999),
        took.len(),
        settled / passed
    );
    Ok(())
}

async fn load(
    client: Client,
    ids: Arc<Mutex<Vec<String>>>,
    start: Instant,
    lasts: Duration,
) -> Result<(), Failure> {
    let mut tick = interval(Duration::from_secs(1) * u32::try_from(BATCH)? / u32::try_from(RATE)?);
    let mut number = 0;
    while start.elapsed() < lasts {
        let _due = tick.tick().await;
        let mut lines = String::new();
        for one in number..number + BATCH {
            writeln!(lines, "{}", contribution(one))?;
        }
        number += BATCH;
        let answers = client.batch(lines).await?;
        for line in std::str::from_utf8(&answers)?.lines() {
            let answer: serde_json::Value = serde_json::from_str(line)?;
            let id = answer["id"].as_str().ok_or("an answer without an id")?.to_owned();
            ids.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        }
    }
    Ok(())
}

/// How many journeys were settled, as the node's metrics say.
async fn settled(client: &Client) -> Result<f64, Failure> {
    let metrics = client.get("/metrics").await?;
    let lines = std::str::from_utf8(&metrics)?.lines();
    let counts = lines
        .filter(|line| line.starts_with("gristmill_journeys_finished_total"))
        .filter(|line| line.contains("outcome=\"settled\""))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Ok(counts.sum())
}
