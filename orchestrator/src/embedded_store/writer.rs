//! The writer thread: takes every call that waits, judges them in order, makes all of it durable by
//! one commit of the engine, and answers. A watchdog ends the wait if the engine does not come back.

use super::Shared;
use super::engine::Space;
use super::files::Acknowledged;
use super::group::{Group, Staged};
use super::keys::{self, Tag};
use super::limits;
use super::memory::ShardRow;
use gristmill_actors::ports::{Claimed, Committed, Intake, StoreError, Submitted};
use gristmill_workflows::commit::Commit;
use gristmill_workflows::id::{ContributionId, ShardId};
use gristmill_workflows::lease::{Fence, Lease};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// One call.
pub(super) enum Job {
    /// `ShardStore::claim`.
    Claim(ShardId, u128, Reply<Lease>),
    /// `ShardStore::release`.
    Release(ShardId, u128, Reply<()>),
    /// `ShardStore::leases`.
    Leases(Vec<ShardId>, Reply<Vec<Lease>>),
    /// `ShardStore::submit`.
    Submit(Vec<Intake>, Reply<Vec<Submitted>>),
    /// `ShardStore::commit`.
    Commit(ShardId, Fence, Arc<Commit>, Reply<Committed>),
    /// `ContentIndex::claim`.
    ClaimContents(Vec<([u8; 32], ContributionId)>, Reply<Vec<Claimed>>),
    /// `ContentIndex::take_over`.
    TakeOver([u8; 32], ContributionId, ContributionId, Reply<Claimed>),
    /// `Register::swap`: name, what stands, what shall stand.
    Swap(String, Option<Vec<u8>>, Option<Vec<u8>>, Reply<bool>),
}

impl Job {
    /// About how many bytes it writes.
    fn bytes(&self) -> usize {
        let overhead = limits::ROW_OVERHEAD_BYTES;
        match self {
            Self::Claim(..) | Self::Release(..) | Self::TakeOver(..) => 2 * overhead,
            Self::Leases(..) => 0,
            Self::Swap(name, _, new, _) => name.len() + new.as_ref().map_or(0, Vec::len) + overhead,
            Self::ClaimContents(claims, _) => claims.len() * 2 * overhead,
            Self::Submit(items, _) => items.iter().map(|item| item.item.len() + 3 * overhead).sum(),
            Self::Commit(_, _, commit, _) => commit_bytes(commit),
        }
    }
}

fn commit_bytes(commit: &Commit) -> usize {
    let journeys = commit.journeys.iter().map(|(.., row)| row.len());
    let contributors = commit.contributors.iter().map(|(_, row)| row.len());
    let numbered = commit.outbox_put.iter().chain(&commit.sequenced_put).map(|(_, row)| row.len());
    let rows = journeys.chain(contributors).chain(numbered);
    let small = commit.inbox_remove.len() + commit.timers_put.len() + commit.timers_remove.len();
    rows.map(|row| row + limits::ROW_OVERHEAD_BYTES).sum::<usize>()
        + (small + commit.outbox_remove.len()) * limits::ROW_OVERHEAD_BYTES
        + commit.state.len()
}

/// An answer that waits for the group to be durable; given an error, it answers that instead.
type Answer = Box<dyn FnOnce(Option<&StoreError>)>;

/// What the writer thread owns.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) jobs: mpsc::Receiver<Job>,
    pub(super) shards: Vec<ShardRow>,
    pub(super) number: u64,
    pub(super) acknowledged: Acknowledged,
    pub(super) intake_max: u64,
}

impl Writer {
    /// Runs until the store is closed.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        if catch_unwind(AssertUnwindSafe(|| self.serve())).is_err() {
            shared.fail("the writer thread panicked".to_owned(), false);
        }
    }

    fn serve(&mut self) {
        let (mut company, mut began) = (0, Instant::now());
        while let Some(first) = self.jobs.blocking_recv() {
            let mut jobs = vec![first];
            if company >= limits::GROUP_COMPANY {
                self.wait_for_company(began, &mut jobs);
            }
            began = Instant::now();
            self.shared.progress.begin();
            self.gather(&mut jobs);
            company = jobs.len();
            self.run_group(jobs);
            self.shared.progress.end();
        }
    }

    /// Others are on their way: a group that waits for them saves all of them an fsync (PostgreSQL's
    /// commit_delay and commit_siblings). What a shard commits waits longer than what somebody
    /// outside waits for.
    fn wait_for_company(&mut self, began: Instant, jobs: &mut Vec<Job>) {
        loop {
            let is_commit = |job: &Job| matches!(job, Job::Commit(..));
            let every = match jobs.iter().all(is_commit) {
                true => limits::COMMITS_EVERY,
                false => limits::GROUP_EVERY,
            };
            let left = every.saturating_sub(began.elapsed());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(limits::GROUP_LOOK));
            self.gather(jobs);
        }
    }

    /// Takes what waits, as much as one group may hold.
    fn gather(&mut self, jobs: &mut Vec<Job>) {
        let mut bytes: usize = jobs.iter().map(Job::bytes).sum();
        while jobs.len() < limits::GROUP_JOBS_MAX && bytes < limits::GROUP_BYTES_MAX {
            let Ok(job) = self.jobs.try_recv() else { break };
            bytes += job.bytes();
            jobs.push(job);
        }
    }

    fn run_group(&mut self, jobs: Vec<Job>) {
        let mut stage = Stage {
            group: Group::new(
                &self.shared.engine,
                &self.shards,
                &self.shared.ahead,
                &self.shared.marked,
            ),
            intake_max: self.intake_max,
            given_up: self.shared.failure(),
        };
        let answers: Vec<Answer> = jobs.into_iter().map(|job| stage.judge(job)).collect();
        let staged = match stage.given_up {
            Some(error) => Err(error),
            None => stage.group.into_staged(),
        };
        let outcome = staged.and_then(|staged| self.write(staged));
        if let Err(StoreError::Failed { detail, full }) = &outcome {
            self.shared.fail(detail.clone(), *full);
        }
        for answer in answers {
            answer(outcome.as_ref().err());
        }
    }

    fn write(&mut self, mut staged: Staged) -> Result<(), StoreError> {
        if staged.changes.is_empty() {
            return Ok(());
        }
        let number = self.number + 1;
        staged.changes.put(Space::Queue, keys::node(Tag::Number), number.to_be_bytes());
        self.shared.engine.commit(staged.changes)?;
        self.number = number;
        for (shard, row) in staged.shards {
            self.shards[usize::from(shard.0)] = row;
        }
        if !staged.marked.is_empty() {
            let mut marked = self.shared.marked.write().unwrap_or_else(PoisonError::into_inner);
            marked.extend(staged.marked);
        }
        self.acknowledged.write(number).map_err(|error| StoreError::Failed {
            full: super::open_error::is_full(&error),
            detail: error.to_string(),
        })
    }
}

/// A group and what its calls came to.
struct Stage<'a> {
    group: Group<'a>,
    intake_max: u64,
    /// Why the group is not written.
    given_up: Option<StoreError>,
}

impl Stage<'_> {
    fn judge(&mut self, job: Job) -> Answer {
        let group = &mut self.group;
        match job {
            Job::Claim(shard, owner, reply) => {
                let result = group.claim(shard, owner);
                self.answer(reply, result)
            }
            Job::Release(shard, owner, reply) => {
                let result = group.release(shard, owner);
                self.answer(reply, result)
            }
            Job::Leases(shards, reply) => {
                let result = group.leases(&shards);
                self.answer(reply, result)
            }
            Job::Submit(items, reply) => {
                let result = group.submit(items, self.intake_max);
                self.answer(reply, result)
            }
            Job::Commit(shard, fence, commit, reply) => {
                let result = group.commit(shard, fence, &commit);
                self.answer(reply, result)
            }
            Job::ClaimContents(claims, reply) => {
                let result = group.claim_contents(&claims);
                self.answer(reply, result)
            }
            Job::Swap(name, expected, new, reply) => {
                let result = group.swap(&name, expected.as_deref(), new);
                self.answer(reply, result)
            }
            Job::TakeOver(content, from, to, reply) => {
                let result = group.hold(content, from, to);
                self.answer(reply, result)
            }
        }
    }

    fn answer<T: 'static>(&mut self, reply: Reply<T>, result: Result<T, StoreError>) -> Answer {
        if let Err(error) = &result
            && !matches!(error, StoreError::Fenced { .. })
        {
            self.given_up.get_or_insert_with(|| error.clone());
        }
        Box::new(move |given_up| {
            let result = given_up.map_or(result, |error| Err(error.clone()));
            // A caller that went away does not undo what is durable.
            drop(reply.send(result));
        })
    }
}

/// Fails the store if a group takes too long; ends when the store is closed.
pub(super) fn watch(shared: &Shared, closed: &Receiver<()>, every: Duration, stall_max: Duration) {
    while closed.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        shared.engine.free_retired();
        let busy = shared.progress.busy();
        if busy >= stall_max.min(limits::STALL_FULL_MAX) && shared.engine.is_full() {
            shared.fail("a group commit does not end, the disk is full".to_owned(), true);
        } else if busy >= stall_max {
            shared.fail("a group commit does not end".to_owned(), false);
        }
    }
}
