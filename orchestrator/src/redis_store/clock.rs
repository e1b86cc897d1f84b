//! The server's clock, as this node knows it: readings that ride on answers, and the machine's
//! monotonic clock between them. A machine whose wall clock is wrong changes nothing.

use super::limits;
use crate::clock::SystemClock;
use gristmill_actors::ports::Clock;
use gristmill_workflows::time::Timestamp;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The server's clock. It never goes backwards in one process.
#[derive(Debug)]
pub struct ServerClock {
    base: Instant,
    /// The server's time when this clock was made.
    origin: AtomicU64,
    latest: AtomicU64,
    random: SystemClock,
}

impl ServerClock {
    /// A clock that stands at a reading.
    pub(super) fn new(reading: u64) -> Self {
        Self {
            base: Instant::now(),
            origin: AtomicU64::new(reading),
            latest: AtomicU64::new(reading),
            random: SystemClock::new(),
        }
    }

    /// Milliseconds since the clock was made.
    fn passed(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes up a reading that was asked for `since`. What took long says too little.
    pub(super) fn read(&self, reading: u64, since: Instant) {
        let took = since.elapsed();
        if took <= limits::CLOCK_READING_MAX {
            let half = u64::try_from((took / 2).as_millis()).unwrap_or(0);
            let origin = (reading + half).saturating_sub(self.passed());
            self.origin.store(origin, Ordering::Relaxed);
        }
    }
}

impl Clock for ServerClock {
    fn now(&self) -> Timestamp {
        let now = self.origin.load(Ordering::Relaxed).saturating_add(self.passed());
        Timestamp(self.latest.fetch_max(now, Ordering::Relaxed).max(now))
    }

    fn random(&self) -> u64 {
        self.random.random()
    }
}

/// Why a wait of `limits` is what it is, in milliseconds.
pub(super) const fn millis(duration: Duration) -> u64 {
    duration.as_secs() * 1000 + duration.subsec_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_readings_and_never_goes_back() {
        let clock = ServerClock::new(1_000_000);
        assert!(clock.now() >= Timestamp(1_000_000));
        clock.read(5_000_000, Instant::now());
        assert!(clock.now() >= Timestamp(5_000_000) && clock.now() < Timestamp(5_060_000));
        clock.read(2_000_000, Instant::now());
        assert!(clock.now() >= Timestamp(5_000_000));
    }
}
