//! The hot parts alone: decisions of one shard, records encoded and decoded, commits of the embedded
//! store, durable appends to the public log, hashing. `cargo bench -p gristmill --bench parts`;
//! `orchestrator/docs/performance.md` has results.

mod log;
mod town;

use gristmill::data_dir::DataDir;
use gristmill::embedded_store::{EmbeddedStore, Options};
use gristmill_actors::ports::ShardStore;
use gristmill_workflows::codec::{decode, encode};
use gristmill_workflows::id::ShardId;
use gristmill_workflows::journey::Journey;
use gristmill_workflows::lease::Fence;
use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use town::Town;

/// Journeys of one commit.
const BATCH: u64 = 512;
/// Batches that are decided, and then committed.
const BATCHES: u64 = 100;
/// Times that a journey is encoded and decoded.
const RECORDS: u32 = 200_000;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let dir = DataDir::open(&folder.path().join("keys"), "gristmill.local/trace")?;
    let mut town = Town::new(dir.id_key().clone())?;
    let (mut commits, mut took) = (Vec::new(), Duration::ZERO);
    for _ in 0..BATCHES {
        let arrivals = town.arrive(BATCH);
        let began = Instant::now();
        let sealed = town.settle(&arrivals)?;
        took += began.elapsed();
        commits.extend(sealed);
    }
    rate("decide: journeys from consent to settled, one shard, sealed", BATCH * BATCHES, took);
    let finished = commits.iter().rev().find_map(|commit| commit.journeys.last());
    codec(&finished.ok_or("no journey ended")?.3)?;
    let store = EmbeddedStore::open(
        &folder.path().join("store"),
        Options { shards: 1, ..Options::default() },
    )?;
    runtime.block_on(commit(&store, commits))?;
    runtime.block_on(log::append(&folder.path().join("trace"), dir.trace_key()))?;
    log::hashing();
    Ok(())
}

fn codec(row: &[u8]) -> Result<(), Box<dyn Error>> {
    let journey: Journey = decode(row)?;
    let began = Instant::now();
    for _ in 0..RECORDS {
        black_box(encode(black_box(&journey))?);
    }
    rate(
        &format!("codec: settled journeys of {} bytes encoded", row.len()),
        RECORDS,
        began.elapsed(),
    );
    let began = Instant::now();
    for _ in 0..RECORDS {
        black_box(decode::<Journey>(black_box(row))?);
    }
    rate("codec: the same decoded", RECORDS, began.elapsed());
    Ok(())
}

/// The commits that were decided, one after the other, each durable before the next.
async fn commit(
    store: &EmbeddedStore,
    commits: Vec<gristmill_workflows::commit::Commit>,
) -> Result<(), Box<dyn Error>> {
    let lease = store.claim(ShardId(0), 1).await?;
    let mut fence = Fence { owner: lease.owner, epoch: lease.epoch, seq: 0 };
    let rows: usize = commits.iter().map(|commit| commit.journeys.len()).sum();
    let (count, began) = (commits.len(), Instant::now());
    for commit in commits {
        fence.seq += 1;
        store.commit(ShardId(0), fence, Arc::new(commit)).await?;
    }
    let took = began.elapsed();
    rate("commit: durable commits of one shard, one at a time", count, took);
    rate("commit: rows of journeys in them", rows, took);
    Ok(())
}

fn rate(what: &str, count: impl TryInto<u64>, took: Duration) {
    let count = count.try_into().unwrap_or(u64::MAX);
    let a_second = count as f64 / took.as_secs_f64();
    let each = took.as_secs_f64() * 1e6 / count as f64;
    println!("{what}: {count} in {:.2} s, {a_second:.0}/s, {each:.2} µs each", took.as_secs_f64());
}
