//! A rail in memory: the model of what a rail does, with faults on demand, under tokio's clock.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use gristmill_actors::rail::{
    Ambiguity, Answer, BookLine, BookState, BoxFuture, KeyScope, PayoutRequest, Rail, RailError,
    RailProfile, Unavailability,
};
use tokio::time::Instant;

/// Most lines in one page of the book.
const BOOK_PAGE: usize = 5_000;

/// What goes wrong with a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The batch is applied; the call ends `Ambiguous`.
    LostReply,
    /// The batch is not applied; the call ends `Ambiguous`.
    ServerError,
    /// The batch is not applied; the call ends `Unavailable`.
    TooManyRequests,
    /// The whole batch is refused as malformed: `Rejected`, nothing applied.
    BatchRejected,
    /// New payouts are applied after this time. Until then the answer is `Pending`, or, if not
    /// `shown`, the submission answers `Unknown` and asking answers `NotFound`.
    LateApply {
        /// How long after the submission.
        after: Duration,
        /// Whether the rail says that the payout is pending.
        shown: bool,
    },
    /// New payouts move another amount than asked for.
    OtherAmount {
        /// Whole minor units that move.
        minor: u64,
    },
    /// New payouts end `Failed` for good.
    ConfirmedFailure {
        /// The rail's code.
        code: String,
    },
    /// Known keys are taken for new ones: what is resent is paid again.
    ForgottenKeys,
}

#[derive(Debug, Clone)]
enum Phase {
    Ended(Answer),
    Late { due: Instant, shown: bool },
}

#[derive(Debug)]
struct Entry {
    request: PayoutRequest,
    phase: Phase,
    /// When the key was first used, or used again after it was forgotten.
    since: Instant,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<String, Entry>,
    /// The late ones by when they are due.
    late: BTreeSet<(Instant, String)>,
    book: Vec<BookLine>,
    standing: Vec<Fault>,
    scripted: VecDeque<Option<Fault>>,
    down_until: Option<Instant>,
    calls: u64,
}

/// A rail in memory. Deterministic: no randomness, time only from `tokio::time`.
#[derive(Debug)]
pub struct ModelRail {
    profile: RailProfile,
    started: Instant,
    state: Mutex<State>,
}

impl Default for ModelRail {
    /// A rail named `model` with a key an item, a day's `key_window` and 3 s of `settle_time`.
    fn default() -> Self {
        Self::new(RailProfile {
            name: "model".to_owned(),
            key_window: Duration::from_secs(24 * 60 * 60),
            settle_time: Duration::from_secs(3),
            max_batch: 1_000,
            key_scope: KeyScope::Item,
        })
    }
}

impl ModelRail {
    /// An empty rail that promises `profile`. Keys are forgotten after `key_window`.
    #[must_use]
    pub fn new(profile: RailProfile) -> Self {
        Self { profile, started: Instant::now(), state: Mutex::default() }
    }

    /// Replaces the faults that every submission meets.
    pub fn stand(&self, faults: Vec<Fault>) {
        self.lock().standing = faults;
    }

    /// Adds what the next submissions meet beside the standing faults, one an entry, in order.
    pub fn script(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.lock().scripted.extend(faults);
    }

    /// Every call ends `Unavailable` for this long.
    pub fn down_for(&self, lasts: Duration) {
        self.lock().down_until = Some(Instant::now() + lasts);
    }

    /// How many submissions arrived, refused ones included, those while down not.
    #[must_use]
    pub fn submissions(&self) -> u64 {
        self.lock().calls
    }

    /// The whole book.
    #[must_use]
    pub fn lines(&self) -> Vec<BookLine> {
        self.arrive().map_or_else(|_| self.lock().book.clone(), |state| state.book.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding the model rail")
    }

    /// The state at this moment, with everything applied that is due.
    fn arrive(&self) -> Result<MutexGuard<'_, State>, RailError> {
        let mut state = self.lock();
        let now = Instant::now();
        let at_ms = self.now_ms(now);
        state.apply_due(now, at_ms);
        if state.down_until.is_some_and(|until| now < until) {
            let cause = Unavailability::NoConnection;
            return Err(RailError::Unavailable { cause, retry_after: None });
        }
        Ok(state)
    }

    fn now_ms(&self, now: Instant) -> u64 {
        u64::try_from((now - self.started).as_millis()).unwrap_or(u64::MAX)
    }

    fn submit_now(&self, batch: Vec<PayoutRequest>) -> Result<Vec<Answer>, RailError> {
        let now = Instant::now();
        let mut state = self.arrive()?;
        state.calls += 1;
        let mut faults = state.standing.clone();
        faults.extend(state.scripted.pop_front().flatten());
        let too_long = batch.len() > self.profile.max_batch;
        if too_long || faults.contains(&Fault::BatchRejected) {
            return Err(RailError::Rejected {
                status: 400,
                code: if too_long { "too_many_lines" } else { "batch_rejected" }.to_owned(),
                detail: "nothing of the batch was applied".to_owned(),
            });
        }
        if faults.contains(&Fault::TooManyRequests) {
            return Err(RailError::Unavailable {
                cause: Unavailability::TooManyRequests,
                retry_after: Some(Duration::from_secs(1)),
            });
        }
        if faults.contains(&Fault::ServerError) {
            let cause = Ambiguity::ServerError { status: 500 };
            return Err(RailError::Ambiguous { cause });
        }
        let (at_ms, key_window) = (self.now_ms(now), self.profile.key_window);
        let answers = batch
            .into_iter()
            .map(|request| state.pay(request, &faults, now, at_ms, key_window))
            .collect();
        if faults.contains(&Fault::LostReply) {
            return Err(RailError::Ambiguous { cause: Ambiguity::ConnectionBroken });
        }
        Ok(answers)
    }
}

impl State {
    fn pay(
        &mut self,
        request: PayoutRequest,
        faults: &[Fault],
        now: Instant,
        at_ms: u64,
        key_window: Duration,
    ) -> Answer {
        if request.minor == 0 {
            return Answer::Failed { code: "invalid_minor".to_owned() };
        }
        let forget = faults.contains(&Fault::ForgottenKeys);
        if let Some(entry) = self.entries.get_mut(&request.key)
            && !forget
            && now - entry.since <= key_window
        {
            return entry.repeat(&request);
        }
        let mut phase = Phase::Ended(Answer::Paid { minor: request.minor });
        for fault in faults {
            match fault {
                Fault::OtherAmount { minor } => {
                    phase = Phase::Ended(Answer::Paid { minor: *minor });
                }
                Fault::ConfirmedFailure { code } => {
                    phase = Phase::Ended(Answer::Failed { code: code.clone() });
                }
                Fault::LateApply { after, shown } => {
                    phase = Phase::Late { due: now + *after, shown: *shown };
                }
                _ => {}
            }
        }
        if let Phase::Late { due, .. } = phase {
            self.late.insert((due, request.key.clone()));
        }
        let entry = Entry { request, phase, since: now };
        let answer = entry.answer().unwrap_or(Answer::Unknown);
        self.write(&entry, at_ms);
        self.entries.insert(entry.request.key.clone(), entry);
        answer
    }

    fn apply_due(&mut self, now: Instant, at_ms: u64) {
        while let Some((due, key)) = self.late.pop_first() {
            if due > now {
                self.late.insert((due, key));
                return;
            }
            if let Some(mut entry) = self.entries.remove(&key) {
                entry.phase = Phase::Ended(Answer::Paid { minor: entry.request.minor });
                self.write(&entry, at_ms);
                self.entries.insert(key, entry);
            }
        }
    }

    fn write(&mut self, entry: &Entry, at_ms: u64) {
        let PayoutRequest { key, account, currency, minor } = entry.request.clone();
        let (state, minor) = match &entry.phase {
            Phase::Ended(Answer::Paid { minor }) => (BookState::Paid, *minor),
            Phase::Ended(_) => (BookState::Failed, minor),
            Phase::Late { .. } => (BookState::Pending, minor),
        };
        let seq = self.book.len() as u64 + 1;
        self.book.push(BookLine { seq, key, account, currency, minor, state, at_ms });
    }
}

impl Entry {
    /// What the rail says of the payout, if it says that it knows it.
    fn answer(&self) -> Option<Answer> {
        match &self.phase {
            Phase::Ended(answer) => Some(answer.clone()),
            Phase::Late { shown: true, .. } => Some(Answer::Pending),
            Phase::Late { shown: false, .. } => None,
        }
    }

    fn repeat(&mut self, request: &PayoutRequest) -> Answer {
        if self.request != *request {
            return Answer::Conflict;
        }
        if let Phase::Late { shown, .. } = &mut self.phase {
            *shown = true;
        }
        self.answer().unwrap_or(Answer::Pending)
    }
}

impl Rail for ModelRail {
    fn profile(&self) -> &RailProfile {
        &self.profile
    }

    fn submit(&self, batch: Vec<PayoutRequest>) -> BoxFuture<'_, Result<Vec<Answer>, RailError>> {
        Box::pin(async move { self.submit_now(batch) })
    }

    fn ask(&self, keys: Vec<String>) -> BoxFuture<'_, Result<Vec<Answer>, RailError>> {
        Box::pin(async move {
            let state = self.arrive()?;
            let answer = |key: &String| {
                state.entries.get(key).and_then(Entry::answer).unwrap_or(Answer::NotFound)
            };
            Ok(keys.iter().map(answer).collect())
        })
    }

    fn book(&self, after: u64) -> BoxFuture<'_, Result<Vec<BookLine>, RailError>> {
        Box::pin(async move {
            let state = self.arrive()?;
            let page = state.book.iter().skip_while(|line| line.seq <= after).take(BOOK_PAGE);
            Ok(page.cloned().collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rail_conformance::{self, Subject};

    impl Subject for ModelRail {
        fn rail(&self) -> &dyn Rail {
            self
        }

        fn inject(&self, fault: Option<rail_conformance::Fault>) -> BoxFuture<'_, ()> {
            use rail_conformance::Fault as Asked;
            let late = |shown| Fault::LateApply { after: Duration::from_secs(2), shown };
            self.stand(match fault {
                None | Some(Asked::Duplicate) => Vec::new(),
                Some(Asked::LostReply) => vec![Fault::LostReply],
                Some(Asked::ServerError) => vec![Fault::ServerError],
                Some(Asked::TooManyRequests) => vec![Fault::TooManyRequests],
                Some(Asked::LateApply) => vec![late(self.submissions().is_multiple_of(2))],
                Some(Asked::ConfirmedFailure) => {
                    vec![Fault::ConfirmedFailure { code: "account_refused".to_owned() }]
                }
                Some(Asked::ForgottenKeys) => vec![Fault::ForgottenKeys],
                Some(Asked::Down(lasts)) => {
                    self.down_for(lasts);
                    Vec::new()
                }
            });
            Box::pin(async {})
        }
    }

    fn request(key: &str, minor: u64) -> PayoutRequest {
        let (account, currency) = ("account".to_owned(), "KRW".to_owned());
        PayoutRequest { key: key.to_owned(), account, currency, minor }
    }

    #[tokio::test(start_paused = true)]
    async fn the_model_rail_conforms() {
        rail_conformance::check_all(&ModelRail::default()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_script_names_one_fault_a_submission() {
        let rail = ModelRail::default();
        let other = Fault::OtherAmount { minor: 7 };
        rail.script([Some(Fault::BatchRejected), None, Some(other), Some(Fault::LostReply)]);
        let submit = |key| rail.submit(vec![request(key, 5)]);
        assert!(matches!(submit("a").await, Err(RailError::Rejected { .. })));
        assert_eq!(submit("a").await, Ok(vec![Answer::Paid { minor: 5 }]));
        assert_eq!(submit("b").await, Ok(vec![Answer::Paid { minor: 7 }]));
        assert!(submit("c").await.unwrap_err().is_ambiguous());
        assert_eq!(submit("c").await, Ok(vec![Answer::Paid { minor: 5 }]));
        assert_eq!(rail.submissions(), 5);
        let moved: Vec<u64> = rail.lines().iter().map(|line| line.minor).collect();
        assert_eq!(moved, [5, 7, 5]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_forgotten_after_its_window() {
        let rail = ModelRail::default();
        let window = rail.profile().key_window;
        rail.submit(vec![request("a", 5)]).await.unwrap();
        tokio::time::advance(window).await;
        rail.submit(vec![request("a", 5)]).await.unwrap();
        assert_eq!(rail.lines().len(), 1);
        tokio::time::advance(Duration::from_millis(1)).await;
        rail.submit(vec![request("a", 5)]).await.unwrap();
        assert_eq!(rail.lines().len(), 2);
    }
}
