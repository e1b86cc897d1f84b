//! The driver: hands a schedule in at its intended moments, whatever the node answers.
//!
//! What one contributor does goes through one lane in its order. A lane takes what waits, in one call,
//! and the next call when that one is answered. If the node falls behind, lanes fill, the schedule
//! is late, and the latency of every late line says so.

use super::breach::Breach;
use super::limits::{
    BATCH_LINES, BREACHES_MAX, GIVE_UP_AFTER, GIVEN_UP_MAX, LANE_LINES, TRY_AGAIN_AFTER, UPLOADS,
};
use super::lines::Lines;
use super::measured::Measured;
use super::plan::Plan;
use super::schedule::{Act, Event, Schedule};
use super::target::{Target, Told};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// A wait shorter than the clock's step is none.
const STEP: Duration = Duration::from_micros(500);

/// What was handed in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Driven {
    /// Events of the schedule, from its start.
    pub events: u64,
    /// Contributions that were given up: contributor and number.
    pub given_up: Vec<(u64, u32)>,
    /// Contributors of whom any line was given up: what their other lines came to says nothing.
    #[serde(default)]
    pub unheard: BTreeSet<u64>,
    /// Answers that should not be.
    pub breaches: Vec<Breach>,
    /// It was told to stop before the end of the schedule.
    pub interrupted: bool,
    /// The schedule was as late as its plan allows, and ended there.
    pub broke: bool,
}

/// Hands a schedule in.
#[derive(Debug)]
pub struct Driver {
    plan: Plan,
    target: Target,
    lines: Lines,
    start: Instant,
    measured: Mutex<Measured>,
    driven: Mutex<Driven>,
    late_us: AtomicU64,
}

/// A line that has no answer yet.
struct Waiting {
    event: Event,
    first_try: Option<Instant>,
    /// The node has its media.
    uploaded: bool,
}

impl Waiting {
    fn new(event: Event) -> Self {
        Self { event, first_try: None, uploaded: false }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Driver {
    /// A driver whose schedule begins now.
    #[must_use]
    pub(crate) fn new(plan: Plan, target: Target, lines: Lines, measured: Measured) -> Self {
        Self {
            plan,
            target,
            lines,
            start: Instant::now(),
            measured: Mutex::new(measured),
            driven: Mutex::default(),
            late_us: AtomicU64::new(0),
        }
    }

    /// Time since the start, in microseconds.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// How late the schedule is, in milliseconds.
    #[must_use]
    pub fn late_ms(&self) -> u64 {
        self.late_us.load(Ordering::Relaxed) / 1000
    }

    /// What is measured.
    pub fn measured(&self) -> MutexGuard<'_, Measured> {
        locked(&self.measured)
    }

    /// Hands everything in, or until it is told to stop; returns when every line has its answer.
    pub async fn drive(self: &Arc<Self>, mut stop: watch::Receiver<bool>) -> Driven {
        let mut tasks = JoinSet::new();
        let count = self.target.lanes();
        let mut lanes = Vec::with_capacity(count);
        for _ in 0..count {
            let (sender, events) = mpsc::channel(LANE_LINES);
            let driver = self.clone();
            tasks.spawn(async move { driver.lane(events).await });
            lanes.push(sender);
        }
        let late_max = self.plan.late_max_ms.map_or(u64::MAX, |ms| ms.saturating_mul(1000));
        let (mut events, mut interrupted, mut broke) = (0, false, false);
        for event in Schedule::new(&self.plan) {
            let due = self.start + Duration::from_micros(event.at);
            let now = Instant::now();
            let late = micros(now.saturating_duration_since(due));
            self.late_us.store(late, Ordering::Relaxed);
            broke = late > late_max;
            if due > now + STEP {
                tokio::select! {
                    biased;
                    _ = stop.wait_for(|stop| *stop) => interrupted = true,
                    () = tokio::time::sleep_until(due) => {}
                }
            }
            interrupted |= *stop.borrow();
            if interrupted || broke {
                break;
            }
            self.measured().intended(event.at);
            let lane = usize::try_from(event.contributor % count as u64).unwrap_or(0);
            if lanes[lane].send(event).await.is_err() {
                break;
            }
            events += 1;
        }
        drop(lanes);
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a lane of the simulation ended");
            }
        }
        let driven = std::mem::take(&mut *locked(&self.driven));
        Driven { events, interrupted, broke, ..driven }
    }

    async fn lane(&self, mut events: mpsc::Receiver<Event>) {
        let mut waiting: Vec<Waiting> = Vec::with_capacity(BATCH_LINES);
        loop {
            if waiting.is_empty() {
                let Some(event) = events.recv().await else { return };
                waiting.push(Waiting::new(event));
            }
            while waiting.len() < BATCH_LINES
                && let Ok(event) = events.try_recv()
            {
                waiting.push(Waiting::new(event));
            }
            let sent = Instant::now();
            let told = self.hand_in(&mut waiting).await;
            waiting = self.record(waiting, told, sent);
            if !waiting.is_empty() {
                tokio::time::sleep(TRY_AGAIN_AFTER).await;
            }
        }
    }

    /// Hands lines in, in their order, once their media are there; one answer each.
    async fn hand_in(&self, waiting: &mut [Waiting]) -> Vec<Told> {
        let mut told: Vec<Option<Told>> = vec![None; waiting.len()];
        let carries = |one: &Waiting| {
            !one.uploaded && matches!(one.event.act, Act::Contribution(_)) && self.lines.any_media()
        };
        let carrying: Vec<usize> =
            (0..waiting.len()).filter(|place| carries(&waiting[*place])).collect();
        for some in carrying.chunks(UPLOADS) {
            let uploads = some.iter().map(|place| self.upload(waiting[*place].event));
            for (place, answer) in some.iter().zip(join_all(uploads).await) {
                told[*place] = answer.filter(|answer| *answer != Told::Taken);
            }
        }
        let places: Vec<usize> = (0..told.len()).filter(|place| told[*place].is_none()).collect();
        let line = |place: &usize| self.lines.line(&waiting[*place].event);
        let lines: Vec<String> = places.iter().map(line).collect();
        for (place, answer) in places.into_iter().zip(self.target.hand_in(&lines).await) {
            // A withdrawal destroys what nothing names yet: it is uploaded again.
            let gone = matches!(&answer, Told::Refused { code, .. } if code == "media_missing");
            waiting[place].uploaded = !gone;
            told[place] = Some(match answer {
                Told::Refused { code, .. } if gone => Told::Refused { code, retryable: true },
                answer => answer,
            });
        }
        let unanswered = || Told::Refused { code: "unanswered".to_owned(), retryable: true };
        told.into_iter().map(|told| told.unwrap_or_else(unanswered)).collect()
    }

    /// Uploads what a contribution carries; none if that is nothing.
    async fn upload(&self, event: Event) -> Option<Told> {
        let bytes = self.lines.media(&event)?;
        Some(self.target.upload(&self.plan.name(event.contributor), bytes).await)
    }

    /// Notes answers; lines that are to be handed in again come back, in their order.
    fn record(&self, lines: Vec<Waiting>, told: Vec<Told>, sent: Instant) -> Vec<Waiting> {
        let now = self.now_us();
        let mut again = Vec::new();
        let mut measured = self.measured();
        for (mut one, told) in lines.into_iter().zip(told) {
            let at = one.event.at;
            match told {
                Told::Refused { code, retryable: true } => {
                    measured.refused(&code, now);
                    let first = *one.first_try.get_or_insert(sent);
                    if first.elapsed() < GIVE_UP_AFTER {
                        measured.counts.retried += 1;
                        again.push(one);
                    } else {
                        measured.given_up(at, now);
                        self.give_up(&one.event);
                    }
                }
                told => {
                    measured.answered(at, now);
                    self.judge(&one.event, told, &mut measured, now);
                }
            }
        }
        again
    }

    fn give_up(&self, event: &Event) {
        let mut driven = locked(&self.driven);
        if driven.unheard.len() < GIVEN_UP_MAX {
            driven.unheard.insert(event.contributor);
        }
        if let Act::Contribution(nth) = event.act
            && driven.given_up.len() < GIVEN_UP_MAX
        {
            driven.given_up.push((event.contributor, nth));
        }
    }

    fn judge(&self, event: &Event, told: Told, measured: &mut Measured, now_us: u64) {
        let counts = &mut measured.counts;
        match (event.act, told) {
            (Act::Consent, Told::Taken) => counts.consents += 1,
            (Act::Withdraw, Told::Taken) => counts.withdrawals += 1,
            (Act::Contribution(_), Told::Taken) => measured.submitted(now_us),
            (Act::Duplicate(_), Told::Taken) => counts.duplicates += 1,
            (Act::Conflict(_), Told::Refused { code, .. }) if code == "idempotency_key_reused" => {
                counts.conflicts += 1;
            }
            (Act::Poison(_), Told::Refused { .. }) => counts.poison += 1,
            (Act::Conflict(nth), Told::Taken) => {
                self.breach(event, Some(nth), "was taken with another body under a used key");
            }
            (Act::Poison(_), Told::Taken) => {
                self.breach(event, None, "had a line taken that must be refused");
            }
            (Act::Contribution(nth) | Act::Duplicate(nth), Told::Refused { code, .. }) => {
                self.breach(event, Some(nth), &format!("was refused for good: {code}"));
            }
            (_, Told::Refused { code, .. }) => {
                self.breach(event, None, &format!("was refused for good: {code}"));
            }
        }
    }

    fn breach(&self, event: &Event, nth: Option<u32>, sentence: &str) {
        let name = self.plan.name(event.contributor);
        let id = nth.map_or_else(|| name.clone(), |nth| format!("{name}/{nth}"));
        let mut driven = locked(&self.driven);
        if driven.breaches.len() < BREACHES_MAX && !driven.unheard.contains(&event.contributor) {
            driven.breaches.push(Breach::new("answers", id, sentence));
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
