//! What the rail knows of each key, and what a request does to it.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use gristmill_actors::rail::{BookLine, BookState};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use super::faults::{Faults, Probability, first, roll};
use super::limits::{
    LATE_AT_LEAST, LATE_AT_MOST, MAX_ACCOUNT_CHARS, MAX_ATTEMPTS_TRACKED, MAX_KEY_CHARS, MAX_LATE,
    MAX_MINOR,
};
use super::writer::Writer;

/// The code of payouts that end `failed`.
const REFUSED: &str = "account_refused";

/// A payout as asked for: one line of a batch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order<'a> {
    #[serde(borrow)]
    pub(super) key: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) account: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) currency: Cow<'a, str>,
    pub(super) minor: u64,
}

/// A value that cannot be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Invalid {
    pub(super) field: &'static str,
    pub(super) code: &'static str,
    pub(super) detail: &'static str,
}

/// What the rail says of one payout: one line of a batch's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Reply<'a> {
    pub(super) key: &'a str,
    /// 201 new, 200 known, 202 pending, 400 invalid, 409 another body, 504 no answer.
    pub(super) status: u16,
    pub(super) state: Option<BookState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) minor: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<&'static str>,
}

/// How a request fares, whatever it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Answered,
    LostReply,
    ServerError,
    TooManyRequests,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Paid,
    Failed,
    Pending,
    /// Accepted, unknown to `GET` until it is applied.
    Hidden,
}

/// 48 bytes a key with its hash, since every key is kept.
struct Entry {
    body: u64,
    minor: u64,
    at_ms: u64,
    phase: Phase,
}

struct State {
    faults: Faults,
    /// A tree: a hash table of a nation would be there twice for a moment when it doubles.
    entries: BTreeMap<u128, Entry>,
    /// Ordered by when they are due, in milliseconds of the rail's clock.
    late: BinaryHeap<Reverse<(u64, u128)>>,
    /// The `pending` lines of the book that wait for their end.
    late_lines: HashMap<u128, BookLine>,
    attempts: HashMap<u128, u32>,
}

/// All payouts of one book.
pub(super) struct Payouts {
    state: Mutex<State>,
    seed: u64,
    /// Told when a payout was made late.
    pub(super) late: Notify,
}

impl Order<'_> {
    /// Whether every value is within its limits.
    pub(super) fn check(&self) -> Result<(), Invalid> {
        if !is_name(&self.key, MAX_KEY_CHARS) {
            let detail = "a key has 1 to 300 characters, none of them a control character";
            return Err(Invalid { field: "key", code: "invalid_key", detail });
        }
        if !is_name(&self.account, MAX_ACCOUNT_CHARS) {
            let detail = "an account has 1 to 128 characters, none of them a control character";
            return Err(Invalid { field: "account", code: "invalid_account", detail });
        }
        if self.currency.len() != 3 || !self.currency.bytes().all(|byte| byte.is_ascii_uppercase())
        {
            let detail = "a currency is three capital letters (ISO 4217)";
            return Err(Invalid { field: "currency", code: "invalid_currency", detail });
        }
        if !(1..=MAX_MINOR).contains(&self.minor) {
            let detail = "an amount is 1 to 9007199254740991 minor units";
            return Err(Invalid { field: "minor", code: "invalid_minor", detail });
        }
        Ok(())
    }

    fn line(&self, state: BookState, at_ms: u64) -> BookLine {
        BookLine {
            seq: 0,
            key: self.key.clone().into_owned(),
            account: self.account.clone().into_owned(),
            currency: self.currency.clone().into_owned(),
            minor: self.minor,
            state,
            at_ms,
        }
    }
}

fn is_name(text: &str, most: usize) -> bool {
    // Bytes first: counting characters of a megabyte would be wasted.
    !text.is_empty()
        && text.len() <= most * 4
        && text.chars().count() <= most
        && !text.chars().any(char::is_control)
}

impl Payouts {
    /// Nothing known yet; `replay` follows for each line of the book, then `resume`.
    pub(super) fn new(faults: Faults, seed: u64) -> Self {
        let state = State {
            faults,
            entries: BTreeMap::new(),
            late: BinaryHeap::new(),
            late_lines: HashMap::new(),
            attempts: HashMap::new(),
        };
        Self { state: Mutex::new(state), seed, late: Notify::new() }
    }

    /// Learns a line of the book.
    pub(super) fn replay(&self, line: &BookLine) {
        let id = key_id(&line.key);
        let body = fingerprint(&line.account, &line.currency, line.minor);
        let phase = match line.state {
            BookState::Paid => Phase::Paid,
            BookState::Failed => Phase::Failed,
            BookState::Pending => Phase::Pending,
        };
        let mut state = self.lock();
        if phase == Phase::Pending {
            state.late_lines.insert(id, line.clone());
        } else {
            state.late_lines.remove(&id);
        }
        // A resend after the key was forgotten counts from its own time, a late application does
        // not.
        let at_ms = state
            .entries
            .get(&id)
            .filter(|entry| entry.phase == Phase::Pending)
            .map_or(line.at_ms, |entry| entry.at_ms);
        state.entries.insert(id, Entry { body, minor: line.minor, at_ms, phase });
    }

    /// Makes what the book left pending due at once.
    pub(super) fn resume(&self) {
        let mut state = self.lock();
        state.late = state.late_lines.keys().map(|id| Reverse((0, *id))).collect();
    }

    /// Replaces the fault settings.
    pub(super) fn set_faults(&self, faults: Faults) {
        let mut state = self.lock();
        state.faults = faults;
        state.attempts.clear();
    }

    /// How long every answer waits.
    pub(super) fn slow(&self) -> Duration {
        self.lock().faults.slow
    }

    /// Decides how a request fares. `content` is all that makes it the same request when resent.
    pub(super) fn fate(&self, content: &[&[u8]]) -> Fate {
        let mut state = self.lock();
        let State { faults, attempts, .. } = &mut *state;
        let fates = [
            (faults.http_429, "http_429", Fate::TooManyRequests),
            (faults.http_500, "http_500", Fate::ServerError),
            (faults.lost_reply, "lost_reply", Fate::LostReply),
        ];
        if fates.iter().all(|(probability, ..)| *probability == Probability::NEVER) {
            return Fate::Answered;
        }
        let mut digest = Sha256::new();
        for part in content {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        let subject = u128::from_le_bytes(first(&digest.finalize()));
        if attempts.len() >= MAX_ATTEMPTS_TRACKED && !attempts.contains_key(&subject) {
            attempts.clear();
        }
        let attempt = attempts.entry(subject).or_default();
        let struck = fates
            .into_iter()
            .find(|(probability, name, _)| probability.strikes(self.seed, name, subject, *attempt));
        *attempt = attempt.saturating_add(1);
        struck.map_or(Fate::Answered, |(.., fate)| fate)
    }

    /// Carries out one valid order. The second reply is there when the order is handled twice.
    pub(super) fn submit<'a>(
        &self,
        order: &'a Order<'_>,
        writer: &Writer,
        now_ms: u64,
    ) -> (Reply<'a>, Option<Reply<'a>>) {
        let id = key_id(&order.key);
        let body = fingerprint(&order.account, &order.currency, order.minor);
        let mut state = self.lock();
        let forget = state.faults.forget_keys_after;
        if let Some(entry) = state.entries.get_mut(&id)
            && forget.is_none_or(|after| now_ms.saturating_sub(entry.at_ms) <= millis(after))
        {
            return (entry.repeat(&order.key, body), None);
        }
        let strikes = |probability: Probability, name| probability.strikes(self.seed, name, id, 0);
        let late = strikes(state.faults.late_apply, "late_apply") && state.late.len() < MAX_LATE;
        let twice = strikes(state.faults.duplicate, "duplicate");
        let outcome = if strikes(state.faults.fail, "fail") { Phase::Failed } else { Phase::Paid };
        let mut entry = Entry { body, minor: order.minor, at_ms: now_ms, phase: outcome };
        let mut line = order.line(BookState::Pending, now_ms);
        if late {
            let number = roll(self.seed, "late", id, 0);
            entry.phase = if number & 1 == 0 { Phase::Pending } else { Phase::Hidden };
            let spread = millis(LATE_AT_MOST) - millis(LATE_AT_LEAST);
            let due = now_ms + millis(LATE_AT_LEAST) + (number >> 1) % spread;
            state.late.push(Reverse((due, id)));
            writer.append(&mut line);
            state.late_lines.insert(id, line);
            self.late.notify_one();
        } else {
            line.state = outcome.shown().unwrap_or(BookState::Pending);
            writer.append(&mut line);
        }
        let reply = entry.first(&order.key);
        let second =
            (twice && entry.phase != Phase::Hidden).then(|| entry.repeat(&order.key, body));
        state.entries.insert(id, entry);
        (reply, second)
    }

    /// What is known of a key.
    pub(super) fn ask<'a>(&self, key: &'a str) -> Option<Reply<'a>> {
        let state = self.lock();
        let entry = state.entries.get(&key_id(key))?;
        let shown = entry.phase.shown()?;
        Some(entry.reply(key, 200, shown))
    }

    /// When the next late payout is due, in milliseconds of the rail's clock.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.lock().late.peek().map(|Reverse((due, _))| *due)
    }

    /// Applies the late payouts that are due.
    pub(super) fn apply_due(&self, writer: &Writer, now_ms: u64) {
        let mut state = self.lock();
        while let Some(Reverse((due, id))) = state.late.peek().copied()
            && due <= now_ms
        {
            state.late.pop();
            let Some(mut line) = state.late_lines.remove(&id) else {
                continue;
            };
            let failed = state.faults.fail.strikes(self.seed, "fail", id, 0);
            let outcome = if failed { Phase::Failed } else { Phase::Paid };
            line.state = if failed { BookState::Failed } else { BookState::Paid };
            line.at_ms = now_ms;
            writer.append(&mut line);
            if let Some(entry) = state.entries.get_mut(&id) {
                entry.phase = outcome;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding the payouts")
    }
}

impl Phase {
    const fn shown(self) -> Option<BookState> {
        match self {
            Self::Paid => Some(BookState::Paid),
            Self::Failed => Some(BookState::Failed),
            Self::Pending => Some(BookState::Pending),
            Self::Hidden => None,
        }
    }
}

impl Entry {
    fn reply<'a>(&self, key: &'a str, status: u16, state: BookState) -> Reply<'a> {
        let code = (state == BookState::Failed).then_some(REFUSED);
        Reply { key, status, state: Some(state), minor: Some(self.minor), code }
    }

    /// The reply to the request that made this entry.
    fn first<'a>(&self, key: &'a str) -> Reply<'a> {
        match self.phase.shown() {
            Some(BookState::Pending) => self.reply(key, 202, BookState::Pending),
            Some(state) => self.reply(key, 201, state),
            None => Reply { key, status: 504, state: None, minor: None, code: Some("no_answer") },
        }
    }

    /// The reply to a request under the key of this entry.
    fn repeat<'a>(&mut self, key: &'a str, body: u64) -> Reply<'a> {
        if self.body != body {
            let code = Some("idempotency_key_reused");
            return Reply { key, status: 409, state: None, minor: None, code };
        }
        if self.phase == Phase::Hidden {
            // What was once said to be pending must not be unknown later.
            self.phase = Phase::Pending;
        }
        match self.phase.shown() {
            Some(BookState::Pending) | None => self.reply(key, 202, BookState::Pending),
            Some(state) => self.reply(key, 200, state),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Stands for the key: 128 bits of SHA-256, so that two keys are never taken for one.
fn key_id(key: &str) -> u128 {
    u128::from_le_bytes(first(&Sha256::digest(key.as_bytes())))
}

/// Stands for the body of a request: tells a resend from a reused key.
fn fingerprint(account: &str, currency: &str, minor: u64) -> u64 {
    let digest = Sha256::new()
        .chain_update(minor.to_le_bytes())
        .chain_update(currency.as_bytes())
        .chain_update([0])
        .chain_update(account.as_bytes())
        .finalize();
    u64::from_le_bytes(first(&digest))
}
