//! Flat cost: the engine program on a store that holds many finished and parked journeys, in turn with
//! the same on one that began empty; then how long the full one takes from its opening to the first
//! contribution that settles.
//!
//! What the store holds is copied from one journey that settled, each under an id of its own, and put
//! there as the node does: into an inbox, then by a commit.

use super::{Stand, manifest, rail};
use gristmill::sandbox_rail;
use gristmill_actors::ports::{Committed, Intake, Reads, ShardStore, Submitted};
use gristmill_workflows::codec::{decode, encode};
use gristmill_workflows::commit::{Commit, Place};
use gristmill_workflows::id::{Arrival, ShardId};
use gristmill_workflows::inbox::{Item, Lane};
use gristmill_workflows::journey::{Journey, State};
use gristmill_workflows::lease::Fence;
use gristmill_workflows::request::Wait;
use gristmill_workflows::submission::Submission;
use gristmill_workflows::time::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROUNDS: usize = 3;
/// Contributions of one round.
const ITEMS: u64 = 100_000;
/// Journeys of a shard that one commit puts there.
const BATCH: u64 = 512;
const MONTH_MS: u64 = 30 * 86_400_000;
const OWNER: u128 = 9;
/// Processor time of a second in which nothing is done but looking.
const IDLE: Duration = Duration::from_millis(50);
/// Seconds that the engine may take to come to rest.
const IDLE_LOOKS: u32 = 900;
/// How often it is looked, 100 ms apart, whether a store is closed.
const CLOSING_LOOKS: u32 = 100;

pub(crate) async fn bench(finished: u64, parked: u64, folder: &Path) -> Result<(), Box<dyn Error>> {
    let book = folder.join("book");
    let sandbox = tokio::task::spawn_blocking(move || sandbox_rail::serve(&rail(book))).await??;
    let url = sandbox.url();
    let mut empty = Driven::open(&folder.join("empty"), &url)?;
    let mut full = Driven::open(&folder.join("full"), &url)?;
    full.drive("template", 1).await?;
    let start = Instant::now();
    fill(&full.stand, finished, parked).await.map_err(|error| -> Box<dyn Error> { error })?;
    println!(
        "{finished} finished and {parked} parked journeys put there in {:.0} s",
        start.elapsed().as_secs_f64()
    );
    settle_down().await?;
    let (mut of_empty, mut of_full) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        of_empty.push(empty.drive(&format!("r{round}"), ITEMS).await?);
        of_full.push(full.drive(&format!("r{round}"), ITEMS).await?);
        println!(
            "settled a second: {:.0} on a store that began empty, {:.0} on the full one",
            of_empty[round], of_full[round]
        );
    }
    of_empty.sort_unstable_by(f64::total_cmp);
    of_full.sort_unstable_by(f64::total_cmp);
    println!("medians: {:.0} %", 100.0 * of_full[ROUNDS / 2] / of_empty[ROUNDS / 2]);
    let settled = full.settled;
    drop(full);
    serve(&folder.join("full"), &url, settled).await?;
    sandbox.stop()?;
    Ok(())
}

/// Waits until the engine has put in order what it was just given.
async fn settle_down() -> Result<(), Box<dyn Error>> {
    let mut looks = tokio::time::interval(Duration::from_secs(1));
    let mut before = Duration::MAX;
    for _ in 0..IDLE_LOOKS {
        looks.tick().await;
        let now = processor_time();
        if now.saturating_sub(before) < IDLE && before != Duration::MAX {
            return Ok(());
        }
        before = now;
    }
    Err("the engine does not come to rest".into())
}

/// What this process has taken so far.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::from_secs(time.tv_sec.unsigned_abs())
        + Duration::from_nanos(time.tv_nsec.unsigned_abs())
}

/// A store under nodes that come and go.
struct Driven<'a> {
    stand: Stand,
    rail: &'a str,
    settled: u64,
}

impl<'a> Driven<'a> {
    fn open(data: &Path, rail: &'a str) -> Result<Self, Box<dyn Error>> {
        Ok(Self { stand: Stand::open(data)?, rail, settled: 0 })
    }

    /// Contributions that settle a second, from a node's start to their published entries.
    async fn drive(&mut self, prefix: &str, items: u64) -> Result<f64, Box<dyn Error>> {
        let _taken = self.stand.take(manifest(prefix, items, &self.stand.program)).await?;
        self.settled += items;
        let start = Instant::now();
        let node = self.stand.node(self.rail).await?;
        node.rest(60_000).await?;
        let (took, settled) = (start.elapsed(), node.glance().settled);
        if !node.stop(Duration::from_secs(10)).await || settled != self.settled {
            return Err(format!("{settled} of {} settled", self.settled).into());
        }
        Ok(items as f64 / took.as_secs_f64())
    }
}

/// From a closed store to a contribution that was handed in and settled.
async fn serve(data: &Path, url: &str, before: u64) -> Result<(), Box<dyn Error>> {
    let (start, stand) = reopened(data).await?;
    let opened = start.elapsed();
    let node = stand.node(url).await?;
    let started = start.elapsed();
    let _taken = stand.take(manifest("first", 1, &stand.program)).await?;
    for shard in (0..stand.world.shards).map(ShardId) {
        node.notify(shard);
    }
    let mut looks = tokio::time::interval(Duration::from_millis(1));
    while node.glance().settled <= before {
        looks.tick().await;
    }
    println!(
        "from its opening, s: open {:.2}, started {:.2}, the first contribution settled {:.2}",
        opened.as_secs_f64(),
        started.as_secs_f64(),
        start.elapsed().as_secs_f64()
    );
    if !node.stop(Duration::from_secs(10)).await {
        return Err("the node did not stop in order".into());
    }
    Ok(())
}

/// Opens a store as soon as who had it before has let go of it.
async fn reopened(data: &Path) -> Result<(Instant, Stand), Box<dyn Error>> {
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    for _ in 0..CLOSING_LOOKS {
        looks.tick().await;
        let start = Instant::now();
        if let Ok(stand) = Stand::open(data) {
            return Ok((start, stand));
        }
    }
    Ok((Instant::now(), Stand::open(data)?))
}

/// A journey that settled, and its contributor.
struct Template {
    journey: Journey,
    contributor: Vec<u8>,
}

async fn fill(stand: &Stand, finished: u64, parked: u64) -> Result<(), Failure> {
    let template = Arc::new(template(stand).await?);
    let shards = u64::from(stand.world.shards);
    let mut filling = tokio::task::JoinSet::new();
    for shard in (0..stand.world.shards).map(ShardId) {
        let part = |all: u64| all / shards + u64::from(u64::from(shard.0) < all % shards);
        let store = stand.opened.store.clone();
        let (lease, loaded) = (store.claim(shard, OWNER).await?, store.load(shard).await?);
        let shard = Filled {
            shard,
            world: stand.world.clone(),
            template: template.clone(),
            state: loaded.state.unwrap_or_default(),
            fence: Fence { owner: OWNER, epoch: lease.epoch, seq: lease.seq },
            until: Timestamp(stand.opened.ports().clock.now().0 + MONTH_MS),
        };
        let (finished, parked) = (part(finished), part(parked));
        filling.spawn(async move { shard.fill(&*store, finished, parked).await });
    }
    while let Some(filled) = filling.join_next().await {
        filled??;
    }
    Ok(())
}

async fn template(stand: &Stand) -> Result<Template, Failure> {
    let (store, key) = (&stand.opened.store, &stand.world.key);
    for shard in (0..stand.world.shards).map(ShardId) {
        let rows = store.list(shard, Place::Finished, None, 1).await?;
        let Some((_, row)) = rows.first() else { continue };
        let journey: Journey = decode(row)?;
        let whose = key.contributor(&journey.submission.contributor);
        let stored = store.contributors(shard, vec![whose]).await?.pop();
        let contributor = stored.and_then(|stored| stored.row).ok_or("no contributor")?;
        return Ok(Template { journey, contributor });
    }
    Err("nothing settled".into())
}

/// A shard that is being filled.
struct Filled {
    shard: ShardId,
    world: Arc<gristmill_workflows::shard::World>,
    template: Arc<Template>,
    state: Vec<u8>,
    fence: Fence,
    until: Timestamp,
}

impl Filled {
    async fn fill(
        mut self,
        store: &dyn ShardStore,
        finished: u64,
        parked: u64,
    ) -> Result<(), Failure> {
        let mut names = 0;
        for (of, place) in [(finished, Place::Finished), (parked, Place::Active)] {
            let mut left = of;
            while left > 0 {
                let count = left.min(BATCH);
                self.put(store, &mut names, count, place).await?;
                left -= count;
            }
        }
        Ok(())
    }

    async fn put(
        &mut self,
        store: &dyn ShardStore,
        names: &mut u64,
        count: u64,
        place: Place,
    ) -> Result<(), Failure> {
        let submissions: Vec<Submission> = (0..count).map(|_| self.submission(names)).collect();
        let mut items = Vec::with_capacity(submissions.len());
        for submission in &submissions {
            let mac = submission.id.mac;
            items.push(Intake {
                shard: self.shard,
                lane: Lane::Intake,
                item: encode(&Item::Contribution(submission.clone()))?,
                identity: Some((mac, mac)),
                mark: None,
                reads: Reads::default(),
            });
        }
        let mut commit = Commit { state: self.state.clone(), ..Commit::default() };
        for (submission, answer) in submissions.into_iter().zip(store.submit(items).await?) {
            let Submitted::Accepted(arrival) = answer else { return Err("not accepted".into()) };
            commit.inbox_remove.push((Lane::Intake, arrival));
            let whose = self.world.key.contributor(&submission.contributor);
            commit.contributors.push((whose, self.template.contributor.clone()));
            if place == Place::Active {
                commit.timers_put.push((self.until, arrival));
            }
            let journey = self.journey(arrival, submission, place);
            commit.journeys.push((arrival, place, false, encode(&journey)?));
        }
        self.fence.seq += 1;
        match store.commit(self.shard, self.fence, Arc::new(commit)).await? {
            Committed::Applied => Ok(()),
            other => Err(format!("{other:?}").into()),
        }
    }

    /// Of somebody whose shard this is.
    fn submission(&self, names: &mut u64) -> Submission {
        let id = loop {
            *names += 1;
            let name = format!("f{}-{names}", self.shard);
            let id = self.world.key.contribution(&name, "1");
            if id.bucket.shard(self.world.shards) == self.shard {
                break (name, id);
            }
        };
        let (contributor, id) = id;
        Submission { id, contributor, ..(*self.template.journey.submission).clone() }
    }

    fn journey(&self, arrival: Arrival, submission: Submission, place: Place) -> Journey {
        let journey = self.template.journey.clone();
        if place == Place::Finished {
            return Journey { arrival, submission: Arc::new(submission), ..journey };
        }
        let mut parked = Journey::begin(arrival, submission, journey.workflow);
        parked.state = State::Parked { wait: Wait::Timer, until: Some(self.until), signal: None };
        parked.held = journey.held;
        parked.outputs = journey.outputs;
        parked.timeline = journey.timeline;
        parked
    }
}

type Failure = Box<dyn Error + Send + Sync>;
