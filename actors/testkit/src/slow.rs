//! Ports that take their time: every call waits for as long as a seed says, under tokio's clock,
//! and is then answered by the port behind it. On a paused clock a day of waiting costs nothing.

use gristmill_actors::engine::{MeasureError, Measured, Measurer};
use gristmill_actors::ports::{
    Claimed, Clock, Committed, ContentIndex, Fetch, Intake, Known, Lanes, Loaded, LogError,
    LogStore, Numbered, Object, Renewed, ShardStore, StoreError, StoredContributor, StoredJourney,
    Submitted,
};
use gristmill_actors::rail::{
    Answer, BookLine, BoxFuture, PayoutRequest, Rail, RailError, RailProfile,
};
use gristmill_workflows::commit::{Commit, Place};
use gristmill_workflows::id::{Arrival, ContributionId, ContributorKey, ShardId};
use gristmill_workflows::inbox::Lane;
use gristmill_workflows::lease::{Fence, Lease};
use gristmill_workflows::submission::Modality;
use gristmill_workflows::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

use crate::virtual_clock::VirtualClock;

/// A port behind a wait. A call lasts between half the mean and one and a half of it, in whole
/// milliseconds, and takes effect at its end.
#[derive(Debug)]
pub struct Slow<T> {
    port: T,
    mean_ms: u64,
    draws: VirtualClock,
}

impl<T> Slow<T> {
    /// A port whose calls last `mean_ms` on average, drawn from `seed`. Needs a tokio runtime with
    /// its time enabled.
    #[must_use]
    pub fn new(port: T, mean_ms: u64, seed: u64) -> Self {
        Self { port, mean_ms, draws: VirtualClock::new(seed) }
    }

    /// The port behind, which answers at once.
    #[must_use]
    pub fn port(&self) -> &T {
        &self.port
    }

    async fn wait(&self) {
        let half = self.mean_ms / 2;
        let ms = self.mean_ms - half + self.draws.random() % (2 * half + 1);
        if ms > 0 {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
    }
}

/// The answer of a call to the port behind, once the wait is over.
macro_rules! after {
    ($self:ident, $call:expr) => {
        Box::pin(async move {
            $self.wait().await;
            $call.await
        })
    };
}

impl<T: ShardStore> ShardStore for Slow<T> {
    fn shards(&self) -> u16 {
        self.port.shards()
    }

    fn claim(&self, shard: ShardId, owner: u128) -> BoxFuture<'_, Result<Lease, StoreError>> {
        after!(self, self.port.claim(shard, owner))
    }

    fn renew(
        &self,
        owner: u128,
        shards: Vec<ShardId>,
    ) -> BoxFuture<'_, Result<Vec<Renewed>, StoreError>> {
        after!(self, self.port.renew(owner, shards))
    }

    fn release(&self, shard: ShardId, owner: u128) -> BoxFuture<'_, Result<(), StoreError>> {
        after!(self, self.port.release(shard, owner))
    }

    fn leases(&self, shards: Vec<ShardId>) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>> {
        after!(self, self.port.leases(shards))
    }

    fn submit(&self, items: Vec<Intake>) -> BoxFuture<'_, Result<Vec<Submitted>, StoreError>> {
        after!(self, self.port.submit(items))
    }

    fn commit(
        &self,
        shard: ShardId,
        fence: Fence,
        commit: Arc<Commit>,
    ) -> BoxFuture<'_, Result<Committed, StoreError>> {
        after!(self, self.port.commit(shard, fence, commit))
    }

    fn load(&self, shard: ShardId) -> BoxFuture<'_, Result<Loaded, StoreError>> {
        after!(self, self.port.load(shard))
    }

    fn inbox(
        &self,
        shard: ShardId,
        lane: Lane,
        after: Option<Arrival>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Numbered>, StoreError>> {
        after!(self, self.port.inbox(shard, lane, after, limit))
    }

    fn inbox_items(
        &self,
        shard: ShardId,
        arrivals: Vec<Arrival>,
    ) -> BoxFuture<'_, Result<Vec<Option<Vec<u8>>>, StoreError>> {
        after!(self, self.port.inbox_items(shard, arrivals))
    }

    fn fetch(&self, shard: ShardId, fetch: Fetch) -> BoxFuture<'_, Result<Lanes, StoreError>> {
        after!(self, self.port.fetch(shard, fetch))
    }

    fn queued(&self, shard: ShardId) -> BoxFuture<'_, Result<u64, StoreError>> {
        after!(self, self.port.queued(shard))
    }

    fn contributors(
        &self,
        shard: ShardId,
        keys: Vec<ContributorKey>,
    ) -> BoxFuture<'_, Result<Vec<StoredContributor>, StoreError>> {
        after!(self, self.port.contributors(shard, keys))
    }

    fn journeys(
        &self,
        shard: ShardId,
        arrivals: Vec<Arrival>,
    ) -> BoxFuture<'_, Result<Vec<Option<StoredJourney>>, StoreError>> {
        after!(self, self.port.journeys(shard, arrivals))
    }

    fn find(
        &self,
        shard: ShardId,
        identities: Vec<[u8; 16]>,
    ) -> BoxFuture<'_, Result<Vec<Option<Known>>, StoreError>> {
        after!(self, self.port.find(shard, identities))
    }

    fn timers(
        &self,
        shard: ShardId,
        until: Timestamp,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Timestamp, Arrival)>, StoreError>> {
        after!(self, self.port.timers(shard, until, limit))
    }

    fn sequenced(
        &self,
        shard: ShardId,
        position: u64,
    ) -> BoxFuture<'_, Result<Option<Numbered>, StoreError>> {
        after!(self, self.port.sequenced(shard, position))
    }

    fn list(
        &self,
        shard: ShardId,
        place: Place,
        after: Option<Arrival>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Numbered>, StoreError>> {
        after!(self, self.port.list(shard, place, after, limit))
    }
}

impl<T: ContentIndex> ContentIndex for Slow<T> {
    fn claim(
        &self,
        claims: Vec<([u8; 32], ContributionId)>,
    ) -> BoxFuture<'_, Result<Vec<Claimed>, StoreError>> {
        after!(self, self.port.claim(claims))
    }

    fn take_over(
        &self,
        content: [u8; 32],
        from: ContributionId,
        to: ContributionId,
    ) -> BoxFuture<'_, Result<Claimed, StoreError>> {
        after!(self, self.port.take_over(content, from, to))
    }
}

impl<T: LogStore> LogStore for Slow<T> {
    fn create(&self, objects: Vec<Object>) -> BoxFuture<'_, Result<(), LogError>> {
        after!(self, self.port.create(objects))
    }

    fn replace(&self, object: Object) -> BoxFuture<'_, Result<(), LogError>> {
        after!(self, self.port.replace(object))
    }

    fn read(&self, path: String) -> BoxFuture<'_, Result<Option<Vec<u8>>, LogError>> {
        after!(self, self.port.read(path))
    }

    fn list(&self, folder: String) -> BoxFuture<'_, Result<Vec<String>, LogError>> {
        after!(self, self.port.list(folder))
    }

    fn remove(&self, paths: Vec<String>) -> BoxFuture<'_, Result<(), LogError>> {
        after!(self, self.port.remove(paths))
    }
}

impl<T: Rail> Rail for Slow<T> {
    fn profile(&self) -> &RailProfile {
        self.port.profile()
    }

    fn submit(&self, batch: Vec<PayoutRequest>) -> BoxFuture<'_, Result<Vec<Answer>, RailError>> {
        after!(self, self.port.submit(batch))
    }

    fn ask(&self, keys: Vec<String>) -> BoxFuture<'_, Result<Vec<Answer>, RailError>> {
        after!(self, self.port.ask(keys))
    }

    fn book(&self, after: u64) -> BoxFuture<'_, Result<Vec<BookLine>, RailError>> {
        after!(self, self.port.book(after))
    }
}

impl<T: Measurer> Measurer for Slow<T> {
    fn measure(
        &self,
        bytes: Vec<u8>,
        modality: Modality,
    ) -> BoxFuture<'_, Result<Measured, MeasureError>> {
        after!(self, self.port.measure(bytes, modality))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_log::MemoryLog;
    use std::collections::BTreeSet;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_call_lasts_between_half_the_mean_and_one_and_a_half_of_it() {
        let log = Slow::new(MemoryLog::new(), 10, 1);
        let mut lasted = BTreeSet::new();
        for _ in 0..200 {
            let began = Instant::now();
            assert_eq!(log.read("none".to_owned()).await, Ok(None));
            lasted.insert(began.elapsed().as_millis());
        }
        assert_eq!(lasted, (5..=15).collect());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_of_a_port_without_a_wait_lasts_no_time() {
        let log = Slow::new(MemoryLog::new(), 0, 1);
        let began = Instant::now();
        assert_eq!(log.list("folder".to_owned()).await, Ok(Vec::new()));
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
