//! Measures the embedded store with the commits of a node: 64 shards, each handing in and settling
//! contributions, as many calls at once as shards.
//!
//! `cargo run --release -p gristmill --example store_bench -- DIR [ITEMS] [BATCH]`: settles ITEMS
//! (default 500000) in batches of BATCH (default 16) a shard, then closes and opens again.

use gristmill::embedded_store::{EmbeddedStore, Options};
use gristmill_actors::ports::{Intake, Reads, ShardStore, Submitted};
use gristmill_workflows::commit::{Commit, Place};
use gristmill_workflows::id::{Arrival, ContributorKey, ShardId};
use gristmill_workflows::inbox::Lane;
use gristmill_workflows::lease::Fence;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const SHARDS: u16 = 64;

/// Latencies of one shard's calls.
#[derive(Default)]
struct Latencies {
    submits: Vec<Duration>,
    commits: Vec<Duration>,
}

/// `len` bytes that compress to about 60 %, different for every `seed`.
fn value(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len * 6 / 10 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_be_bytes());
    }
    bytes.resize(len, b'.');
    bytes
}

fn name(seed: u64) -> [u8; 16] {
    let mut name = [0; 16];
    name.copy_from_slice(&value(seed, 64)[..16]);
    name
}

async fn shard(
    store: Arc<EmbeddedStore>,
    shard: u16,
    items: u64,
    batch: u64,
) -> Outcome<Latencies> {
    let shard = ShardId(shard);
    let lease = ShardStore::claim(&*store, shard, 1).await?;
    let mut fence = Fence { owner: lease.owner, epoch: lease.epoch, seq: 0 };
    let mut latencies = Latencies::default();
    let mut active: Vec<Arrival> = Vec::new();
    for from in (0..items).step_by(usize::try_from(batch)?) {
        let seed = |n: u64| n * u64::from(SHARDS) + u64::from(shard.0);
        let item = |n: u64| Intake {
            shard,
            lane: Lane::Intake,
            item: value(seed(n), 250),
            identity: Some((name(seed(n)), [1; 16])),
            mark: None,
            reads: Reads::default(),
        };
        let begun = Instant::now();
        let answers = store.submit((from..from + batch).map(item).collect()).await?;
        latencies.submits.push(begun.elapsed());
        let accepted = |answer: &Submitted| match answer {
            Submitted::Accepted(arrival) => Some(*arrival),
            _ => None,
        };
        let arrivals: Vec<Arrival> = answers.iter().filter_map(accepted).collect();
        let mut journeys: Vec<_> = arrivals
            .iter()
            .map(|arrival| (*arrival, Place::Active, false, value(*arrival, 250)))
            .collect();
        let settled = active.drain(..);
        journeys
            .extend(settled.map(|arrival| (arrival, Place::Finished, true, value(arrival, 350))));
        let key = |arrival: &Arrival| ContributorKey(name(seed(*arrival) % 100_000));
        let contributors = arrivals.iter().map(|arrival| (key(arrival), value(*arrival, 100)));
        let commit = Commit {
            inbox_remove: arrivals.iter().map(|arrival| (Lane::Intake, *arrival)).collect(),
            contributors: contributors.collect(),
            journeys,
            state: value(from, 200),
            ..Commit::default()
        };
        fence.seq += 1;
        let begun = Instant::now();
        store.commit(shard, fence, Arc::new(commit)).await?;
        latencies.commits.push(begun.elapsed());
        active = arrivals;
    }
    Ok(latencies)
}

fn print(what: &str, mut latencies: Vec<Duration>, elapsed: Duration) {
    if latencies.is_empty() {
        return;
    }
    latencies.sort_unstable();
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    println!(
        "{what}: {} calls, {:.0}/s, p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        latencies.len(),
        latencies.len() as f64 / elapsed.as_secs_f64(),
        at(50),
        at(99),
        at(100)
    );
}

fn open(dir: &Path) -> Outcome<EmbeddedStore> {
    let begun = Instant::now();
    let store = EmbeddedStore::open(dir, Options { shards: SHARDS, ..Options::default() })?;
    println!("opened in {:.0} ms", begun.elapsed().as_secs_f64() * 1e3);
    Ok(store)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().ok_or("usage: store_bench DIR [ITEMS] [BATCH]")?;
    let items: u64 = arguments.next().map_or(Ok(500_000), |items| items.parse())?;
    let batch: u64 = arguments.next().map_or(Ok(16), |batch| batch.parse())?;
    let store = Arc::new(open(Path::new(&dir))?);
    let begun = Instant::now();
    let each = items / u64::from(SHARDS);
    let shards: Vec<_> = (0..SHARDS)
        .map(|number| tokio::spawn(shard(Arc::clone(&store), number, each, batch)))
        .collect();
    let mut all = Latencies::default();
    for shard in shards {
        let latencies = shard.await??;
        all.submits.extend(latencies.submits);
        all.commits.extend(latencies.commits);
    }
    let elapsed = begun.elapsed();
    let settled = each * u64::from(SHARDS);
    println!("{settled} items, {:.0} items/s", settled as f64 / elapsed.as_secs_f64());
    print("submits", all.submits, elapsed);
    print("commits", all.commits, elapsed);
    drop(store);
    open(Path::new(&dir)).map(drop)
}
