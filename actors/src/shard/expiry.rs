//! Finished journeys are kept for a configured time; after it their rows make way for tombstones.
//!
//! The sweep begins a pass over the finished rows every now and then. A pass reads them page by page;
//! what is over on a page rides in one commit, and the next page is read after that. What a crash
//! interrupts, the next pass finds again. Where every row from the first one on is a tombstone
//! already, and nothing older can still end, later passes begin behind.

use super::desk::Reader;
use super::{Desk, Error, State};
use crate::limits;
use gristmill_workflows::commit::Place;
use gristmill_workflows::id::Arrival;
use gristmill_workflows::inbox::Lane;
use gristmill_workflows::journey::Journey;
use gristmill_workflows::time::Timestamp;
use gristmill_workflows::tombstone::{self, Finished};
use std::sync::atomic::Ordering;

/// Where the passes of one shard stand.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    /// Every row up to here is a tombstone, and none that is not will ever stand there.
    done: Option<Arrival>,
    /// The pass under way has met nothing but tombstones so far.
    unbroken: bool,
    /// Below this, rows may still end: what was active or queued when the pass began.
    open: Arrival,
    /// When the next pass begins; none while one is under way.
    next: Option<Timestamp>,
}

/// What a page of finished rows brought.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Journeys whose time is over.
    over: Vec<Journey>,
    /// The last tombstone before the first row that is none.
    done: Option<Arrival>,
    /// Every row is a tombstone.
    unbroken: bool,
    /// The last row, if there are more.
    next: Option<Arrival>,
    /// The first that is active or queued, if that was asked for.
    open: Option<Arrival>,
}

impl State {
    /// Begins a pass if one is due.
    pub(super) fn expire_later(&mut self) {
        let Some(retention) = self.engine.retention_ms else { return };
        let now = self.now();
        if self.draining || self.expiry.next.is_none_or(|next| next > now) {
            return;
        }
        self.expiry.next = None;
        self.expiry.unbroken = true;
        let before = Timestamp(now.0.saturating_sub(retention));
        let after = self.expiry.done;
        self.desk.push_back(Desk::Expire { after, before, first: true });
    }

    /// Rows that are over become tombstones with the open commit; the next page follows.
    pub(super) fn expire(&mut self, before: Timestamp, page: &Page) -> Result<(), Error> {
        if let Some(open) = page.open {
            self.expiry.open = open;
        }
        if self.expiry.unbroken {
            let done = page.done.filter(|done| *done < self.expiry.open);
            self.expiry.done = self.expiry.done.max(done);
        }
        self.expiry.unbroken &= page.unbroken;
        let mut expired = 0;
        for journey in &page.over {
            expired += u64::from(self.machine.expire(journey)?);
        }
        if expired > 0 {
            self.reads.tombstones = self.decided();
            self.engine.counters.expired.fetch_add(expired, Ordering::Relaxed);
        }
        match page.next {
            Some(next) if !self.draining => {
                self.desk.push_back(Desk::Expire { after: Some(next), before, first: false });
            }
            _ => {
                let now = self.now();
                self.expiry.rest(now, self.engine.retention_ms);
            }
        }
        Ok(())
    }
}

impl Expiry {
    /// A shard that was just loaded begins its first pass with the first sweep.
    pub(super) fn begin(now: Timestamp) -> Self {
        Self { next: Some(now), ..Self::default() }
    }

    fn rest(&mut self, now: Timestamp, retention: Option<u64>) {
        let part = retention.unwrap_or(u64::MAX) / limits::EXPIRIES_A_RETENTION;
        self.next = Some(now.plus_ms(part.min(limits::EXPIRY_EVERY_MS)));
    }
}

impl Reader {
    pub(super) async fn expiry(
        &self,
        after: Option<Arrival>,
        before: Timestamp,
        first: bool,
    ) -> Result<Page, Error> {
        let (store, limit) = (&self.ports.store, limits::EXPIRY_BATCH);
        let mut page = Page { unbroken: true, ..Page::default() };
        if first {
            // Looked at before the finished ones, which everything goes to from there.
            let queued = store.inbox(self.shard, Lane::Intake, None, 1).await?;
            let active = store.list(self.shard, Place::Active, None, 1).await?;
            let oldest = queued.iter().chain(&active).map(|(arrival, _)| *arrival).min();
            page.open = Some(oldest.unwrap_or(Arrival::MAX));
        }
        let rows = store.list(self.shard, Place::Finished, after, limit).await?;
        page.next = rows.last().filter(|_| rows.len() == limit).map(|(arrival, _)| *arrival);
        for (arrival, row) in rows {
            match Finished::read(&row)? {
                Finished::Expired(_) if page.unbroken => page.done = Some(arrival),
                Finished::Expired(_) => {}
                Finished::Journey(journey) => {
                    page.unbroken = false;
                    if tombstone::ended_at(&journey).is_some_and(|ended| ended <= before) {
                        page.over.push(*journey);
                    }
                }
            }
        }
        for journey in &mut page.over {
            self.resolve(journey).await?;
        }
        Ok(page)
    }
}
