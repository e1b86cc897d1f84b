//! The store on Redis, or Valkey: many nodes share it. One server, Sentinels, or a cluster.
//!
//! All keys of a shard share one hash tag, `{gm:0017}`. What must be one step is a function of the
//! library `gristmill_v2`; what is only read is read plainly, since a shard's rows change by its
//! owner's commits only. An `Ok` is as durable as the server was checked to make it ([`Durability`]):
//! `always`: fsynced; `everysec`: a crash of the server may lose the last second; `replicated`:
//! fsynced and taken up by that many replicas.

mod address;
mod checks;
mod clock;
mod contents;
mod data_keys;
mod encoding;
mod erasure;
mod error;
mod lanes;
mod limits;
mod link;
mod members;
mod progress;
mod register;
mod rows;
mod value;

pub use address::Address;
pub use checks::Durability;
pub use clock::ServerClock;
pub use erasure::{ErasureError, keep_erasure_deadline};
pub use error::OpenError;

use self::error::strange;
use self::link::Link;
use futures_util::future::join_all;
use gristmill_actors::ports::{
    Committed, Fetch, Intake, Lanes, Loaded, Notice, Renewed, ShardStore, StoreError,
    StoredContributor, StoredJourney, Submitted,
};
use gristmill_actors::rail::BoxFuture;
use gristmill_workflows::commit::{Commit, Place};
use gristmill_workflows::id::{Arrival, ContributorKey, ShardId};
use gristmill_workflows::inbox::Lane;
use gristmill_workflows::lease::{Fence, Lease};
use gristmill_workflows::time::Timestamp;
use redis::{Cmd, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

/// What a store is opened with.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many shards, 1 to 4096, if the store is made now; one that stands keeps its number.
    pub shards: u16,
    /// Items that a shard's intake lane holds at the most; a further one is answered `Full`.
    pub intake_max: u64,
    /// How long a lease, and a member's word, lasts.
    pub lease_ttl: Duration,
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// Go on, with a warning, if the server is weaker than that.
    pub accept_weaker: bool,
    /// What must be the same on every node: names and fingerprints of keys.
    pub fingerprints: Vec<(&'static str, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            shards: 64,
            intake_max: limits::INTAKE_MAX,
            lease_ttl: Duration::from_secs(5),
            durability: Durability::Always,
            accept_weaker: false,
            fingerprints: Vec::new(),
        }
    }
}

/// The store. Dropping it ends its subscription; what was sent is not taken back.
pub struct RedisStore {
    link: Arc<Link>,
    clock: Arc<ServerClock>,
    progress: progress::Progress,
    shards: u16,
    intake_max: u64,
    lease_ttl: Duration,
    durability: Durability,
    channel: String,
    notices: broadcast::Sender<Notice>,
    listener: JoinHandle<()>,
}

impl std::fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisStore").field("link", &self.link).finish_non_exhaustive()
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl RedisStore {
    /// Connects, checks the server against the durability, loads the library, and settles what all
    /// nodes must agree on.
    ///
    /// # Errors
    /// [`OpenError`] says what to change.
    pub async fn open(address: Address, options: Options) -> Result<Self, OpenError> {
        let link = Arc::new(Link::new(address)?);
        checks::check(&link, options.durability, options.accept_weaker).await?;
        link.load_library().await?;
        let shards = settle(&link, &options).await?;
        let since = Instant::now();
        let seconds = link.call(&redis::cmd("TIME")).await?;
        let clock = ServerClock::new(read_time(seconds)?);
        tracing::debug!(took = ?since.elapsed(), "the server's clock was read");
        let (notices, _) = broadcast::channel(gristmill_actors::limits::NOTICES_MAX);
        let channel = format!("gm1:{}", link.db());
        let messages = link.subscribe(&channel).await?;
        let listener = members::listen(link.clone(), channel.clone(), notices.clone(), messages);
        Ok(Self {
            link,
            clock: Arc::new(clock),
            progress: progress::Progress::default(),
            shards,
            intake_max: options.intake_max,
            lease_ttl: options.lease_ttl,
            durability: options.durability,
            channel,
            notices,
            listener,
        })
    }

    /// The server's clock, for the decisions of this node.
    #[must_use]
    pub fn clock(&self) -> Arc<ServerClock> {
        self.clock.clone()
    }

    fn ttl_ms(&self) -> u64 {
        clock::millis(self.lease_ttl)
    }

    /// A call of a function of the library that changes something; what it says holds at the
    /// configured durability when this returns.
    async fn write(&self, command: &Cmd) -> Result<Value, StoreError> {
        match self.send(command).await {
            Err(StoreError::Unavailable { detail }) if detail.contains("Function not found") => {
                // A server that was emptied, or took over without it.
                self.link.load_library().await?;
                self.send(command).await
            }
            other => other,
        }
    }

    /// A command, and behind it on the same connection the wait for replicas.
    async fn send(&self, command: &Cmd) -> Result<Value, StoreError> {
        let Durability::Replicated(replicas) = self.durability else {
            return self.link.call(command).await;
        };
        let mut commands = redis::Pipeline::new();
        commands.add_command(command.clone());
        commands.add_command(wait(replicas));
        let answers = self.link.pipe(&commands).await?;
        let [answer, took]: [Value; 2] = answers.try_into().map_err(|_| strange("WAIT"))?;
        taken_up(took, replicas)?;
        Ok(answer)
    }

    fn check_shard(&self, shard: ShardId) -> Result<(), StoreError> {
        let shards = self.shards;
        let none =
            || StoreError::Damaged { detail: format!("no shard {shard} in a store of {shards}") };
        (shard.0 < shards).then_some(()).ok_or_else(none)
    }

    /// Puts items of one shard into its inbox, in their order.
    async fn submit_to(
        &self,
        shard: ShardId,
        items: &[&Intake],
    ) -> Result<Vec<Submitted>, StoreError> {
        self.check_shard(shard)?;
        let is_control = items.iter().all(|item| item.lane == Lane::Control);
        let name = if is_control { "gm2_submit_control" } else { "gm2_submit" };
        let mut call = function(name, &prefix(shard));
        call.arg(self.intake_max).arg(&self.channel).arg(format!("g{}", shard.0));
        items.iter().for_each(|item| encoding::item(&mut call, item));
        let answers = value::array(self.write(&call).await?, "a submit")?;
        if answers.len() != items.len() {
            return Err(strange("a submit"));
        }
        answers
            .into_iter()
            .map(|answer| encoding::submitted(&value::bytes(answer, "a submit")?))
            .collect()
    }
}

/// Waits until replicas have taken up everything sent before on the same connection.
fn wait(replicas: u8) -> Cmd {
    let mut wait = redis::cmd("WAIT");
    wait.arg(replicas).arg(clock::millis(limits::REPLICAS_MAX));
    wait
}

fn taken_up(took: Value, replicas: u8) -> Result<(), StoreError> {
    let took = value::number(took, "WAIT")?;
    if took >= u64::from(replicas) {
        return Ok(());
    }
    let detail = format!("{took} of {replicas} replicas took it up in time");
    Err(StoreError::Ambiguous { detail })
}

fn read_time(time: Value) -> Result<u64, StoreError> {
    let parts = value::array(time, "TIME")?;
    let numbers: Result<Vec<u64>, _> =
        parts.into_iter().map(|part| value::number(part, "TIME")).collect();
    match numbers?[..] {
        [seconds, micros] => Ok(seconds * 1000 + micros / 1000),
        _ => Err(strange("TIME")),
    }
}

/// Settles the number of shards and the fingerprints with the other nodes.
async fn settle(link: &Link, options: &Options) -> Result<u16, OpenError> {
    let mut call = function("gm2_settle", "{gm}:store");
    call.arg("protocol").arg("1").arg("shards").arg(options.shards);
    for (name, own) in &options.fingerprints {
        call.arg(name).arg(own);
    }
    let answers = value::array(link.call(&call).await?, "a settlement")?;
    let texts: Result<Vec<String>, StoreError> =
        answers.into_iter().map(|answer| value::text(answer, "a settlement")).collect();
    let texts = texts?;
    let [protocol, shards, rest @ ..] = &texts[..] else {
        return Err(strange("a settlement").into());
    };
    if protocol != "1" {
        let (stored, own) = (protocol.clone(), "1".to_owned());
        return Err(OpenError::Differs { name: "protocol", stored, own });
    }
    for ((name, own), stored) in options.fingerprints.iter().zip(rest) {
        if own != stored {
            let (stored, own) = (stored.clone(), own.clone());
            return Err(OpenError::Differs { name, stored, own });
        }
    }
    let shards = shards.parse().map_err(|_| strange("a settlement"))?;
    Ok(shards)
}

fn prefix(shard: ShardId) -> String {
    format!("{{gm:{shard}}}")
}

fn function(name: &str, key: &str) -> Cmd {
    let mut call = redis::cmd("FCALL");
    call.arg(name).arg(1).arg(key);
    call
}

fn reading(name: &str, key: &str) -> Cmd {
    let mut call = redis::cmd("FCALL_RO");
    call.arg(name).arg(1).arg(key);
    call
}

fn owner_text(owner: u128) -> String {
    format!("{owner:032x}")
}

impl ShardStore for RedisStore {
    fn shards(&self) -> u16 {
        self.shards
    }

    fn claim(&self, shard: ShardId, owner: u128) -> BoxFuture<'_, Result<Lease, StoreError>> {
        Box::pin(async move {
            self.check_shard(shard)?;
            let mut call = function("gm2_claim", &prefix(shard));
            call.arg(owner_text(owner)).arg(self.ttl_ms());
            let since = Instant::now();
            let answer = value::array(self.write(&call).await?, "a claim")?;
            let mut answer = answer.into_iter();
            let mut next = || answer.next().ok_or_else(|| strange("a claim"));
            let said = value::text(next()?, "a claim")?;
            self.clock.read(value::number(next()?, "a claim")?, since);
            if said != "claimed" {
                return Err(StoreError::Fenced { shard });
            }
            let epoch = value::number(next()?, "a claim")?;
            let until = Timestamp(value::number(next()?, "a claim")?);
            Ok(Lease { owner, epoch, seq: 0, until })
        })
    }

    fn renew(
        &self,
        owner: u128,
        shards: Vec<ShardId>,
    ) -> BoxFuture<'_, Result<Vec<Renewed>, StoreError>> {
        Box::pin(async move {
            let since = Instant::now();
            let renew = |shard| async move {
                let mut call = function("gm2_renew", &prefix(shard));
                call.arg(owner_text(owner)).arg(self.ttl_ms());
                match self.link.call(&call).await {
                    Ok(answer) => self.renewed(answer, since),
                    Err(error) if error.is_retryable() => Ok(Renewed::Unknown),
                    Err(error) => Err(error),
                }
            };
            join_all(shards.into_iter().map(renew)).await.into_iter().collect()
        })
    }

    fn release(&self, shard: ShardId, owner: u128) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let mut call = function("gm2_release", &prefix(shard));
            call.arg(owner_text(owner)).arg(&self.channel).arg(format!("r{}", shard.0));
            self.link.call(&call).await.map(drop)
        })
    }

    fn leases(&self, shards: Vec<ShardId>) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>> {
        Box::pin(async move {
            let lease = |shard| async move {
                let mut call = redis::cmd("HMGET");
                call.arg(format!("{}:head", prefix(shard)));
                call.arg(&["owner", "epoch", "seq", "until"]);
                encoding::lease(self.link.call(&call).await?)
            };
            join_all(shards.into_iter().map(lease)).await.into_iter().collect()
        })
    }

    fn submit(&self, items: Vec<Intake>) -> BoxFuture<'_, Result<Vec<Submitted>, StoreError>> {
        Box::pin(async move {
            let mut shards: BTreeMap<ShardId, Vec<usize>> = BTreeMap::new();
            for (nth, item) in items.iter().enumerate() {
                shards.entry(item.shard).or_default().push(nth);
            }
            let submit = |(shard, nths): (ShardId, Vec<usize>)| {
                let items = &items;
                async move {
                    let mut answers = Vec::with_capacity(nths.len());
                    for part in nths.chunks(limits::SUBMIT_MAX) {
                        let part: Vec<&Intake> = part.iter().map(|nth| &items[*nth]).collect();
                        answers.extend(self.submit_to(shard, &part).await?);
                    }
                    Ok(nths.into_iter().zip(answers).collect::<Vec<_>>())
                }
            };
            let answers = join_all(shards.into_iter().map(submit)).await;
            let answers: Result<Vec<_>, StoreError> = answers.into_iter().collect();
            let mut answers: Vec<_> = answers?.into_iter().flatten().collect();
            answers.sort_by_key(|(nth, _)| *nth);
            Ok(answers.into_iter().map(|(_, answer)| answer).collect())
        })
    }

    fn commit(
        &self,
        shard: ShardId,
        fence: Fence,
        commit: Arc<Commit>,
    ) -> BoxFuture<'_, Result<Committed, StoreError>> {
        Box::pin(async move {
            self.check_shard(shard)?;
            let mut call = function("gm2_commit", &prefix(shard));
            call.arg(owner_text(fence.owner)).arg(fence.epoch).arg(fence.seq).arg(self.ttl_ms());
            let known = self.progress.of(shard, fence.epoch, |_| {});
            encoding::commit(&mut call, &commit, known.read);
            let committed = encoding::committed(shard, self.write(&call).await?)?;
            if committed == Committed::Applied {
                self.progress.of(shard, fence.epoch, |known| known.seq = known.seq.max(fence.seq));
            }
            Ok(committed)
        })
    }

    fn load(&self, shard: ShardId) -> BoxFuture<'_, Result<Loaded, StoreError>> {
        Box::pin(self.read_load(shard))
    }

    fn fetch(&self, shard: ShardId, fetch: Fetch) -> BoxFuture<'_, Result<Lanes, StoreError>> {
        Box::pin(self.read_lanes(shard, fetch))
    }

    fn inbox(
        &self,
        shard: ShardId,
        lane: Lane,
        after: Option<Arrival>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Arrival, Vec<u8>)>, StoreError>> {
        Box::pin(self.read_inbox(shard, lane, after, limit))
    }

    fn inbox_items(
        &self,
        shard: ShardId,
        arrivals: Vec<Arrival>,
    ) -> BoxFuture<'_, Result<Vec<Option<Vec<u8>>>, StoreError>> {
        Box::pin(self.read_inbox_items(shard, arrivals))
    }

    fn queued(&self, shard: ShardId) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.read_queued(shard))
    }

    fn contributors(
        &self,
        shard: ShardId,
        keys: Vec<ContributorKey>,
    ) -> BoxFuture<'_, Result<Vec<StoredContributor>, StoreError>> {
        Box::pin(self.read_contributors(shard, keys))
    }

    fn journeys(
        &self,
        shard: ShardId,
        arrivals: Vec<Arrival>,
    ) -> BoxFuture<'_, Result<Vec<Option<StoredJourney>>, StoreError>> {
        Box::pin(self.read_journeys(shard, arrivals))
    }

    fn find(
        &self,
        shard: ShardId,
        identities: Vec<[u8; 16]>,
    ) -> BoxFuture<'_, Result<Vec<Option<(Arrival, [u8; 16])>>, StoreError>> {
        Box::pin(self.read_known(shard, identities))
    }

    fn timers(
        &self,
        shard: ShardId,
        until: Timestamp,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Timestamp, Arrival)>, StoreError>> {
        Box::pin(self.read_timers(shard, until, limit))
    }

    fn sequenced(
        &self,
        shard: ShardId,
        position: u64,
    ) -> BoxFuture<'_, Result<Option<(u64, Vec<u8>)>, StoreError>> {
        Box::pin(self.read_sequenced(shard, position))
    }

    fn list(
        &self,
        shard: ShardId,
        place: Place,
        after: Option<Arrival>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Arrival, Vec<u8>)>, StoreError>> {
        Box::pin(self.read_page(shard, place, after, limit))
    }
}

impl RedisStore {
    fn renewed(&self, answer: Value, since: Instant) -> Result<Renewed, StoreError> {
        let mut answer = value::array(answer, "a renewal")?.into_iter();
        let mut next = || answer.next().ok_or_else(|| strange("a renewal"));
        let said = value::text(next()?, "a renewal")?;
        self.clock.read(value::number(next()?, "a renewal")?, since);
        match said.as_str() {
            "renewed" => Ok(Renewed::Until(Timestamp(value::number(next()?, "a renewal")?))),
            _ => Ok(Renewed::Lost),
        }
    }
}
