//! What happened in a simulation, in order: a digest always, and lines for whoever listens.

use super::limits::BREACHES_MAX;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// The journal of one run.
#[derive(Debug)]
pub(super) struct Journal {
    started: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    digest: u64,
    events: u64,
    breaches: Vec<String>,
    faults: BTreeMap<&'static str, u64>,
    transitions: BTreeMap<String, u64>,
}

/// What a journal holds at the end.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) digest: u64,
    pub(super) events: u64,
    pub(super) breaches: Vec<String>,
    pub(super) faults: BTreeMap<&'static str, u64>,
    pub(super) transitions: BTreeMap<String, u64>,
}

impl Journal {
    pub(super) fn new() -> Self {
        // FNV-1a, 64 bits (Fowler, Noll, Vo): its offset.
        let inner = Inner { digest: 0xcbf2_9ce4_8422_2325, ..Inner::default() };
        Self { started: Instant::now(), inner: Mutex::new(inner) }
    }

    /// Milliseconds of simulated time since the start.
    pub(super) fn passed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Something happened.
    pub(super) fn note(&self, what: std::fmt::Arguments<'_>) {
        let line = format!("{:>9} {what}", self.passed_ms());
        let mut inner = self.lock();
        inner.digest = fnv(inner.digest, line.as_bytes());
        inner.events += 1;
        drop(inner);
        tracing::info!(target: "simulator", "{line}");
    }

    /// An invariant is broken, or the system does not come to rest.
    pub(super) fn breach(&self, sentence: String) {
        self.note(format_args!("BREACH {sentence}"));
        let mut inner = self.lock();
        if inner.breaches.len() < BREACHES_MAX && !inner.breaches.contains(&sentence) {
            inner.breaches.push(sentence);
        }
    }

    /// A fault was injected.
    pub(super) fn fault(&self, kind: &'static str) {
        *self.lock().faults.entry(kind).or_default() += 1;
    }

    /// A machine took a transition.
    pub(super) fn transition(&self, which: String) {
        *self.lock().transitions.entry(which).or_default() += 1;
    }

    /// Whether something is broken already.
    pub(super) fn is_broken(&self) -> bool {
        !self.lock().breaches.is_empty()
    }

    /// Everything, once.
    pub(super) fn take(&self) -> Written {
        let inner = std::mem::take(&mut *self.lock());
        let Inner { digest, events, breaches, faults, transitions } = inner;
        Written { digest, events, breaches, faults, transitions }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// FNV-1a over further bytes.
pub(super) fn fnv(mut digest: u64, bytes: &[u8]) -> u64 {
    for byte in bytes {
        digest = (digest ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    digest
}
