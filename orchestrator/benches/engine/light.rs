//! A light load: one contribution every 10 ms, and how long each took from acknowledged to settled.

use gristmill::intake::Intake;
use gristmill_actors::engine::Ports;
use gristmill_actors::node::Node;
use gristmill_workflows::codec::decode;
use gristmill_workflows::commit::Place;
use gristmill_workflows::id::ShardId;
use gristmill_workflows::journey::{EventKind, Journey};
use gristmill_workflows::program::Program;
use gristmill_workflows::shard::World;
use std::error::Error;
use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

const ITEMS: usize = 1000;
const EVERY: Duration = Duration::from_millis(10);
const PAGE: usize = 4096;
const KEY: &str = "light";

/// The node under load.
pub(crate) struct Load<'a> {
    pub(crate) node: &'a Node,
    pub(crate) ports: &'a Ports,
    pub(crate) world: &'a Arc<World>,
    pub(crate) program: &'a Program,
}

impl Load<'_> {
    /// Hands in, waits, and prints percentiles over what the journeys' own timelines say.
    pub(crate) async fn run(&self) -> Result<(), Box<dyn Error>> {
        let mut tick = tokio::time::interval(EVERY);
        for n in 0..ITEMS {
            tick.tick().await;
            let line = super::item(&format!("c{n}"), KEY, self.program).to_string();
            let now = self.ports.clock.now();
            let intake = Intake::new(self.ports, self.world, None, now, false);
            let taken = intake.take(&mut Cursor::new(line), |_| {}).await?;
            for (_, id) in &taken.journeys {
                self.node.notify(id.bucket.shard(self.world.shards));
            }
        }
        self.node.rest(60_000).await?;
        let mut took = Vec::with_capacity(ITEMS);
        for shard in (0..self.world.shards).map(ShardId) {
            self.collect(shard, &mut took).await?;
        }
        took.sort_unstable();
        let at = |part: usize| took.get((took.len() * part / 1000).min(took.len() - 1));
        println!(
            "at {}/s, accepted to settled, ms: p50 {:?}, p99 {:?}, most {:?}, of {}",
            1000 / EVERY.as_millis(),
            at(500),
            at(990),
            took.last(),
            took.len()
        );
        Ok(())
    }

    async fn collect(&self, shard: ShardId, took: &mut Vec<u64>) -> Result<(), Box<dyn Error>> {
        let mut after = None;
        loop {
            let page = self.ports.store.list(shard, Place::Finished, after, PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(*last);
            for (_, row) in &page {
                let journey: Journey = decode(row)?;
                let settled = journey.timeline.iter().find(|e| e.kind == EventKind::Settled);
                if let Some(event) = settled.filter(|_| journey.submission.idempotency_key == KEY) {
                    took.push(event.at.0.saturating_sub(journey.submission.at.0));
                }
            }
        }
    }
}
