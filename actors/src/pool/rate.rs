//! A stage's rate: this node's own, or leased from a row that all nodes of the store share.

use super::PoolMessage;
use crate::contribution::tell;
use crate::limits;
use crate::ports::{Clock, StoreError};
use crate::register::Register;
use gristmill_workflows::codec::{self, decode, encode};
use gristmill_workflows::rate::{self, Leased, Slice};
use ractor::ActorRef;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Where rates are leased.
#[derive(Clone)]
pub(crate) struct Leases {
    pub(crate) register: Arc<dyn Register>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Leases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Leases")
    }
}

/// Why no starts were leased.
#[derive(Debug, thiserror::Error)]
pub enum RateError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The row does not decode or encode.
    #[error(transparent)]
    Codec(#[from] codec::Error),
    /// Others were quicker, again and again.
    #[error("other nodes lease all the time")]
    Crowded,
}

/// When the next attempt may start.
#[derive(Debug)]
pub(super) struct Rate {
    stage: &'static str,
    per_s: u32,
    leases: Option<Leases>,
    next: Instant,
    /// Starts left of the slice that begins with `next`; without leases there is no end of them.
    left: u64,
    asking: bool,
}

impl Rate {
    pub(super) fn new(stage: &'static str, per_s: u32, leases: Option<Leases>) -> Self {
        Self { stage, per_s, leases, next: Instant::now(), left: 0, asking: false }
    }

    fn gap(&self) -> Duration {
        Duration::from_micros(rate::gap(self.per_s))
    }

    /// When the next start may be; none if starts have to be leased first, which it then does.
    pub(super) fn next(
        &mut self,
        waiting: usize,
        now: Instant,
        pool: &ActorRef<PoolMessage>,
    ) -> Option<Instant> {
        if self.per_s == 0 {
            return Some(now);
        }
        let Some(leases) = &self.leases else { return Some(self.next) };
        let gap = self.gap();
        // What lies behind is over: a slice is no credit for later.
        while self.left > 0 && self.next + gap <= now {
            self.next += gap;
            self.left -= 1;
        }
        if self.left > 0 {
            return Some(self.next);
        }
        if !std::mem::replace(&mut self.asking, true) {
            let (leases, stage, per_s) = (leases.clone(), self.stage, self.per_s);
            let pool = pool.clone();
            tokio::spawn(async move {
                let leased = leases.lease(stage, per_s, waiting as u64).await;
                if let Err(error) = &leased {
                    tracing::warn!(stage, %error, "no starts were leased");
                    tokio::time::sleep(limits::RATE_AGAIN_AFTER).await;
                }
                tell(&pool, PoolMessage::Leased(leased.ok()));
            });
        }
        None
    }

    /// A start was made.
    pub(super) fn started(&mut self, now: Instant) {
        if self.per_s > 0 {
            self.next = self.next.max(now) + self.gap();
            self.left = self.left.saturating_sub(1);
        }
    }

    pub(super) fn leased(&mut self, slice: Option<(Instant, u64)>) {
        self.asking = false;
        if let Some((from, starts)) = slice {
            self.next = self.next.max(from);
            self.left = starts;
        }
    }
}

impl Leases {
    async fn lease(
        &self,
        stage: &str,
        per_s: u32,
        wanted: u64,
    ) -> Result<(Instant, u64), RateError> {
        let name = format!("rate/{stage}");
        for _ in 0..limits::RATE_TRIES {
            let row = self.register.get(name.clone()).await?;
            let stands: Option<Leased> = row.as_deref().map(decode).transpose()?;
            let (slice, next) = rate::lease(stands, per_s, wanted, self.clock.now());
            let next = Some(encode(&next)?);
            if self.register.swap(name.clone(), row, next).await? {
                return Ok((self.moment(slice), slice.starts));
            }
        }
        Err(RateError::Crowded)
    }

    /// The moment of this process at which a slice begins.
    fn moment(&self, slice: Slice) -> Instant {
        let now = self.clock.now().0.saturating_mul(1000);
        Instant::now() + Duration::from_micros(slice.from.saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rail::BoxFuture;
    use crate::register::Row;
    use gristmill_workflows::time::Timestamp;
    use std::sync::Mutex;

    /// One row; between any two calls another node may come.
    #[derive(Default)]
    struct Shared(Mutex<Option<Vec<u8>>>);

    impl Register for Shared {
        fn get(&self, _: String) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>> {
            Box::pin(async {
                tokio::task::yield_now().await;
                Ok(self.0.lock().unwrap().clone())
            })
        }

        fn swap(
            &self,
            _: String,
            expected: Option<Vec<u8>>,
            new: Option<Vec<u8>>,
        ) -> BoxFuture<'_, Result<bool, StoreError>> {
            Box::pin(async move {
                tokio::task::yield_now().await;
                let mut row = self.0.lock().unwrap();
                let stands = *row == expected;
                if stands {
                    *row = new;
                }
                Ok(stands)
            })
        }

        fn scan(
            &self,
            _: String,
            _: Option<String>,
            _: usize,
        ) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
            Box::pin(async { Ok(Vec::new()) })
        }
    }

    struct StoreClock(Instant);

    impl Clock for StoreClock {
        fn now(&self) -> Timestamp {
            Timestamp(1_000_000 + self.0.elapsed().as_millis() as u64)
        }

        fn random(&self) -> u64 {
            7
        }
    }

    async fn node(leases: Leases, starts: Arc<Mutex<Vec<Instant>>>) {
        let gap = Duration::from_micros(rate::gap(50));
        for round in 0..40 {
            let (from, count) = leases.lease("think", 50, 1 + round % 20).await.unwrap();
            for nth in 0..count {
                tokio::time::sleep_until(from + gap * nth as u32).await;
                starts.lock().unwrap().push(Instant::now());
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_nodes_together_keep_to_one_rate() {
        let register: Arc<dyn Register> = Arc::new(Shared::default());
        let leases = Leases { register, clock: Arc::new(StoreClock(Instant::now())) };
        let starts: Arc<Mutex<Vec<Instant>>> = Arc::default();
        let (one, other) = (node(leases.clone(), starts.clone()), node(leases, starts.clone()));
        tokio::join!(one, other);
        let mut starts = starts.lock().unwrap().clone();
        starts.sort_unstable();
        let busiest = starts.iter().zip(starts.iter().skip(50)).map(|(a, b)| *b - *a).min();
        // The store's clock counts whole milliseconds.
        // The store's clock counts whole milliseconds.
        assert!(busiest >= Some(Duration::from_millis(995)), "{busiest:?}");
        let whole = *starts.last().unwrap() - starts[0];
        let rate = starts.len() as f64 / whole.as_secs_f64();
        assert!(rate > 40.0, "{rate} starts a second");
    }
}
