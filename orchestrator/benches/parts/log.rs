//! The public log: durable appends in batches, and hashing.

use crate::rate;
use gristmill::log_files::LogFiles;
use gristmill_actors::trace_log::TraceLog;
use gristmill_trace::hash::Hash;
use gristmill_trace::key::SigningKey;
use gristmill_trace::tree::Frontier;
use gristmill_workflows::id::ShardId;
use gristmill_workflows::sequencer::Offer;
use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Bytes of an entry: about what a contribution's has.
const ENTRY: usize = 880;
/// Entries of one call.
const BATCH: u64 = 8_192;
const BATCHES: u64 = 30;

fn entry(number: u64) -> Vec<u8> {
    let mut entry = vec![b'.'; ENTRY];
    entry[..8].copy_from_slice(&number.to_be_bytes());
    entry
}

/// Appends whose indices are durable when a call is answered, published behind each call; then the
/// same without publishing.
pub(crate) async fn append(folder: &Path, key: &SigningKey) -> Result<(), Box<dyn Error>> {
    for published in [true, false] {
        let folder = folder.join(if published { "published" } else { "sequenced" });
        std::fs::create_dir_all(&folder)?;
        let store = Arc::new(LogFiles::open(&folder)?);
        let mut log = TraceLog::open(store, key.clone()).await?;
        let mut calls = Vec::new();
        for call in 0..BATCHES {
            let from = call * BATCH;
            let entries: Vec<Vec<u8>> = (from..from + BATCH).map(entry).collect();
            calls.push(Offer { shard: ShardId(0), epoch: 1, from, entries });
        }
        let began = Instant::now();
        for offer in calls {
            let below = offer.from + BATCH;
            log.sequence(vec![offer]).await?;
            log.acknowledge(ShardId(0), below);
            if published || log.is_full() {
                log.publish().await?;
            }
        }
        let what = match published {
            true => "append: entries durable, tiles and checkpoint behind each batch",
            false => "append: entries durable, published when the backlog is full",
        };
        rate(what, BATCH * BATCHES, began.elapsed());
    }
    Ok(())
}

/// Leaves, and the tree above them.
pub(crate) fn hashing() {
    let entries: Vec<Vec<u8>> = (0..BATCH).map(entry).collect();
    let began = Instant::now();
    for _ in 0..BATCHES {
        for entry in &entries {
            black_box(Hash::leaf(black_box(entry)));
        }
    }
    rate("hashing: leaves of 880 bytes", BATCH * BATCHES, began.elapsed());
    let leaf = Hash::leaf(b"leaf");
    let mut frontier = Frontier::new();
    let began = Instant::now();
    for _ in 0..BATCH * BATCHES {
        frontier.push(black_box(leaf));
    }
    black_box(frontier.root());
    rate("hashing: leaves put into the tree", BATCH * BATCHES, began.elapsed());
}
