//! Which call meets which fault.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gristmill_actors::ports::{Intake, StoreError};
use gristmill_workflows::commit::Commit;
use gristmill_workflows::id::{ContributionId, ShardId};
use gristmill_workflows::lease::Fence;
use tokio::sync::watch;

/// A method of the store's ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// `ShardStore::claim`
    Claim,
    /// `ShardStore::renew`
    Renew,
    /// `ShardStore::release`
    Release,
    /// `ShardStore::leases`
    Leases,
    /// `ShardStore::submit`
    Submit,
    /// `ShardStore::commit`
    Commit,
    /// `ShardStore::load`
    Load,
    /// `ShardStore::inbox` and `ShardStore::fetch`
    Inbox,
    /// `ShardStore::inbox_items`
    InboxItems,
    /// `ShardStore::contributors`
    Contributors,
    /// `ShardStore::journeys`
    Journeys,
    /// `ShardStore::find`
    Find,
    /// `ShardStore::timers`
    Timers,
    /// `ShardStore::sequenced`
    Sequenced,
    /// `ShardStore::list`
    List,
    /// `ContentIndex::claim`
    ContentClaim,
    /// `ContentIndex::take_over`
    TakeOver,
}

/// One call, as a predicate sees it.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Which method.
    pub operation: Operation,
    /// The how-manieth of its operation under this script, from 1.
    pub number: u64,
    /// Which shard; of a submit, its first item's; none for contents.
    pub shard: Option<ShardId>,
    /// The rows, if it is a commit.
    pub commit: Option<&'a Commit>,
}

impl<'a> Call<'a> {
    pub(super) const fn of(
        operation: Operation,
        shard: Option<ShardId>,
        commit: Option<&'a Commit>,
    ) -> Self {
        Self { operation, number: 0, shard, commit }
    }
}

/// What a call meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Not applied, answered `Unavailable`.
    Failed,
    /// Applied, answered `Ambiguous`.
    FailedButPersisted,
    /// Answered `Ambiguous` now; a write is applied when the n-th later call of any operation
    /// arrives (1 = the next one), if its fence still holds by then. A late claim of a shard is
    /// never applied.
    AppliedLate(u64),
    /// No answer and nothing applied until [`Faults::release`]; then it goes through.
    Hang,
    /// Not applied, answered `Failed`, as is every later call until [`Faults::revive`].
    Die,
    /// Applied, and then as [`Fault::Die`]: the write got to the disk, its answer did not.
    DieApplied,
}

type Predicate = Box<dyn Fn(&Call<'_>) -> bool + Send>;

struct Rule {
    applies: Predicate,
    fault: Fault,
    left: u64,
}

#[derive(Debug)]
pub(super) enum Write {
    Submit(Vec<Intake>),
    Commit(ShardId, Fence, Arc<Commit>),
    ContentClaim(Vec<([u8; 32], ContributionId)>),
    TakeOver([u8; 32], ContributionId, ContributionId),
}

pub(super) enum Verdict {
    Pass,
    /// Apply, then answer this.
    Apply(StoreError),
    Later(u64),
    Wait(watch::Receiver<u64>),
    Refuse(StoreError),
}

impl Verdict {
    pub(super) const fn is_late(&self) -> bool {
        matches!(self, Self::Later(_))
    }
}

#[derive(Default)]
struct Script {
    calls: BTreeMap<Operation, u64>,
    all_calls: u64,
    rules: Vec<Rule>,
    late: VecDeque<(u64, Write)>,
    late_answers: Vec<Result<(), StoreError>>,
    met: Vec<(Operation, u64, Fault)>,
    dead: bool,
}

/// A script of faults. Clones share it.
#[derive(Clone)]
pub struct Faults {
    script: Arc<Mutex<Script>>,
    releases: Arc<watch::Sender<u64>>,
}

impl Default for Faults {
    fn default() -> Self {
        Self { script: Arc::default(), releases: Arc::new(watch::Sender::new(0)) }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("met", &self.script().met).finish_non_exhaustive()
    }
}

impl Faults {
    /// The `number`-th call of an operation, from 1 and counted from the script's beginning, meets
    /// `fault`.
    pub fn at(&self, operation: Operation, number: u64, fault: Fault) {
        self.when(1, fault, move |call| call.operation == operation && call.number == number);
    }

    /// The first `times` calls for which `applies` holds meet `fault`. Of several rules that hold
    /// for a call, the one given first is used.
    pub fn when(
        &self,
        times: u64,
        fault: Fault,
        applies: impl Fn(&Call<'_>) -> bool + Send + 'static,
    ) {
        let rule = Rule { applies: Box::new(applies), fault, left: times };
        self.script().rules.push(rule);
    }

    /// Lets every call go on that hangs now.
    pub fn release(&self) {
        self.releases.send_modify(|releases| *releases += 1);
    }

    /// A new process: calls are answered again after a [`Fault::Die`].
    pub fn revive(&self) {
        self.script().dead = false;
    }

    /// Calls of an operation so far.
    #[must_use]
    pub fn calls(&self, operation: Operation) -> u64 {
        self.script().calls.get(&operation).copied().unwrap_or(0)
    }

    /// Faults that were met: operation, call number, fault, in order.
    #[must_use]
    pub fn met(&self) -> Vec<(Operation, u64, Fault)> {
        self.script().met.clone()
    }

    /// What the store answered to writes that were applied late, in order.
    #[must_use]
    pub fn late_answers(&self) -> Vec<Result<(), StoreError>> {
        self.script().late_answers.clone()
    }

    pub(super) fn judge(&self, call: Call<'_>) -> (Vec<Write>, Verdict) {
        let mut script = self.script();
        script.all_calls += 1;
        let count = script.calls.entry(call.operation).or_default();
        *count += 1;
        let call = Call { number: *count, ..call };
        let now = script.all_calls;
        let (due, late) = script.late.drain(..).partition(|(at, _)| *at <= now);
        script.late = late;
        let due: VecDeque<(u64, Write)> = due;
        let verdict = self.verdict(&mut script, &call);
        (due.into_iter().map(|(_, write)| write).collect(), verdict)
    }

    fn verdict(&self, script: &mut Script, call: &Call<'_>) -> Verdict {
        if script.dead {
            return Verdict::Refuse(dead());
        }
        let rule = script.rules.iter_mut().find(|rule| rule.left > 0 && (rule.applies)(call));
        let Some(rule) = rule else { return Verdict::Pass };
        rule.left -= 1;
        let fault = rule.fault;
        script.met.push((call.operation, call.number, fault));
        script.dead = matches!(fault, Fault::Die | Fault::DieApplied);
        match fault {
            Fault::Failed => {
                Verdict::Refuse(StoreError::Unavailable { detail: "scripted".to_owned() })
            }
            Fault::FailedButPersisted => Verdict::Apply(ambiguous()),
            Fault::AppliedLate(calls) => Verdict::Later(calls),
            Fault::Hang => Verdict::Wait(self.releases.subscribe()),
            Fault::Die => Verdict::Refuse(dead()),
            Fault::DieApplied => Verdict::Apply(dead()),
        }
    }

    pub(super) fn keep(&self, calls: u64, write: Write) {
        let mut script = self.script();
        let at = script.all_calls + calls.max(1);
        script.late.push_back((at, write));
    }

    pub(super) fn late_answer(&self, answer: Result<(), StoreError>) {
        self.script().late_answers.push(answer);
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn ambiguous() -> StoreError {
    StoreError::Ambiguous { detail: "scripted".to_owned() }
}

fn dead() -> StoreError {
    StoreError::Failed { detail: "scripted".to_owned(), full: false }
}
