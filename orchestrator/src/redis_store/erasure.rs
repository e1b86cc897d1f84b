//! Erasure from the append-only file. A destroyed data key is gone from a server's memory at once, and
//! from its file when that is rewritten. In the step that destroys, the shard notes that something waits
//! for a rewrite, and since when. Nodes look at the notes by turns; who looks asks every master for
//! a rewrite when half of the deadline is over, and takes a note away once a rewrite that began after
//! the note was read has ended everywhere. Killed anywhere: the notes stand, and the next look goes on.
//!
//! Without notes no server is asked for anything.

use super::error::strange;
use super::{RedisStore, function, limits, prefix, value};
use futures_util::future::try_join_all;
use gristmill_actors::ports::{Clock, ShardStore, StoreError};
use gristmill_actors::register::Register;
use gristmill_workflows::id::ShardId;
use gristmill_workflows::time::Timestamp;
use redis::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The register's row that says until when somebody looks.
const TURN: &str = "erasure/turn";

/// Why destroyed keys are still in an append-only file.
#[derive(Debug, thiserror::Error)]
pub enum ErasureError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A server without such a file, whose snapshots nobody here oversees.
    #[error("appendonly is no on a server: CONFIG SET appendonly yes")]
    NoFile,
    /// The server forbids the rewrite.
    #[error("{detail}: ACL SETUSER {user} +bgrewriteaof +info, or schedule BGREWRITEAOF yourself")]
    Forbidden {
        /// What it said.
        detail: String,
        /// Who asked.
        user: String,
    },
    /// The server tried and failed.
    #[error("a server's rewrite failed (aof_last_bgrewrite_status): see its log")]
    Failed,
    /// Another server is master than when the rewrite began, or the same one started anew.
    #[error("a master changed during the rewrite")]
    Changed,
    /// It goes on for longer than anybody waits.
    #[error("the rewrite is not over after {} s", limits::REWRITE_MAX.as_secs())]
    Slow,
}

/// How a deadline is kept.
#[derive(Debug, Clone, Copy)]
struct Pace {
    deadline: Duration,
    /// How old the oldest note gets before a rewrite: many erasures share it, and half of the
    /// deadline is left for what goes wrong.
    due: Duration,
    /// Between two looks.
    look: Duration,
    /// Between two questions whether the rewrite is over.
    poll: Duration,
}

impl Pace {
    fn of(deadline: Duration) -> Self {
        let look = deadline / limits::LOOKS_A_DEADLINE;
        Self { deadline, due: deadline / 2, look, poll: look.min(limits::REWRITE_POLL) }
    }

    fn turn_ms(&self) -> u64 {
        super::clock::millis(self.look.max(self.poll * 4)).max(1)
    }
}

/// That keys of a shard were destroyed and wait for a rewrite.
struct Note {
    shard: ShardId,
    count: u64,
    since: Timestamp,
}

/// What a master says of its append-only file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Master {
    run: String,
    has_file: bool,
    is_busy: bool,
    /// Rewrites that began since it started.
    rewrites: u64,
    last_is_good: bool,
}

impl Master {
    fn of_info(info: &str) -> Option<Self> {
        let lines = info.lines().filter_map(|line| line.trim_end().split_once(':'));
        let fields: BTreeMap<&str, &str> = lines.collect();
        let is = |name: &str, wanted: &str| fields.get(name).map(|found: &&str| *found == wanted);
        Some(Self {
            run: (*fields.get("run_id")?).to_owned(),
            has_file: is("aof_enabled", "1")?,
            is_busy: !is("aof_rewrite_in_progress", "0")? || !is("aof_rewrite_scheduled", "0")?,
            rewrites: fields.get("aof_rewrites")?.parse().ok()?,
            last_is_good: is("aof_last_bgrewrite_status", "ok")?,
        })
    }
}

/// How far the rewrites that began after `before` are: whether all are over.
fn is_over(before: &[Master], now: &[Master]) -> Result<bool, ErasureError> {
    let runs = |masters: &[Master]| -> Vec<String> {
        let mut runs: Vec<_> = masters.iter().map(|master| master.run.clone()).collect();
        runs.sort_unstable();
        runs
    };
    if runs(before) != runs(now) {
        return Err(ErasureError::Changed);
    }
    if now.iter().any(|master| master.is_busy) {
        return Ok(false);
    }
    let began =
        |then: &Master| now.iter().any(|it| it.run == then.run && it.rewrites > then.rewrites);
    let is_good = before.iter().all(began) && now.iter().all(|master| master.last_is_good);
    is_good.then_some(true).ok_or(ErasureError::Failed)
}

/// Keeps the deadline from here on, for as long as the store is there.
pub fn keep_erasure_deadline(store: &Arc<RedisStore>, deadline: Duration) {
    tokio::spawn(keep(Arc::downgrade(store), deadline));
}

async fn keep(store: Weak<RedisStore>, deadline: Duration) {
    let mut said = String::new();
    while let Some(store) = store.upgrade() {
        let looked = store.look_at_erasures(deadline).await;
        drop(store);
        // The same complaint is said once.
        let says = looked.err().map(|error| error.to_string()).unwrap_or_default();
        if says != said && !says.is_empty() {
            tracing::warn!("destroyed data keys are still in the append-only file: {says}");
        }
        said = says;
        tokio::time::sleep(Pace::of(deadline).look).await;
    }
}

impl RedisStore {
    /// The shards some of whose destroyed data keys are still in an append-only file, and since
    /// when the oldest is.
    ///
    /// # Errors
    /// The store's.
    pub async fn unerased(&self) -> Result<BTreeMap<ShardId, Timestamp>, StoreError> {
        let notes = self.notes().await?;
        Ok(notes.into_iter().map(|note| (note.shard, note.since)).collect())
    }

    /// One look: sees to a rewrite if one is due and nobody else does.
    ///
    /// # Errors
    /// Why destroyed keys are still in the file; the next look tries again.
    pub async fn look_at_erasures(&self, deadline: Duration) -> Result<(), ErasureError> {
        let pace = Pace::of(deadline);
        let Some(mut turn) = self.take_turn(None, &pace).await? else {
            return Ok(());
        };
        let began = self.clock.now();
        let notes = self.notes().await?;
        let Some(oldest) = notes.iter().map(|note| note.since).min() else {
            return Ok(());
        };
        let age = Duration::from_millis(began.0.saturating_sub(oldest.0));
        if age < pace.due {
            return Ok(());
        }
        if age > pace.deadline {
            tracing::error!(
                ?age,
                deadline = ?pace.deadline,
                "the deadline for erasure passed: a destroyed key is still in an append-only file"
            );
        }
        if !self.rewrite(&mut turn, &pace).await? {
            return Ok(());
        }
        for note in notes {
            let mut call = function("gm2_erased", &prefix(note.shard));
            call.arg(note.count).arg(began.0);
            self.write(&call).await?;
        }
        Ok(())
    }

    /// Has every master's file rewritten; not so if another node took over.
    async fn rewrite(&self, turn: &mut Vec<u8>, pace: &Pace) -> Result<bool, ErasureError> {
        let mut before: Option<Vec<Master>> = None;
        let polls = limits::REWRITE_MAX.as_millis() / pace.poll.as_millis().max(1);
        for _ in 0..polls {
            let masters = self.masters().await?;
            if masters.iter().any(|master| !master.has_file) {
                return Err(ErasureError::NoFile);
            }
            match &before {
                Some(before) if is_over(before, &masters)? => return Ok(true),
                // One that is under way may have begun before the keys were destroyed.
                None if masters.iter().all(|master| !master.is_busy) => {
                    self.ask_for_rewrite().await?;
                    before = Some(masters);
                }
                _ => {}
            }
            tokio::time::sleep(pace.poll).await;
            match self.take_turn(Some(turn.clone()), pace).await? {
                Some(kept) => *turn = kept,
                None => return Ok(false),
            }
        }
        Err(ErasureError::Slow)
    }

    async fn ask_for_rewrite(&self) -> Result<(), ErasureError> {
        match self.link.everywhere(&redis::cmd("BGREWRITEAOF")).await {
            Err(StoreError::Unavailable { detail }) if is_forbidden(&detail) => {
                let user = self.link.user();
                Err(ErasureError::Forbidden { detail, user })
            }
            // Unanswered, or on one of many masters: what became of it is asked next.
            Err(error) if error.is_retryable() => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(()),
        }
    }

    async fn masters(&self) -> Result<Vec<Master>, ErasureError> {
        let mut info = redis::cmd("INFO");
        info.arg(&["server", "persistence"]);
        let answers = match self.link.everywhere(&info).await {
            Err(StoreError::Unavailable { detail }) if is_forbidden(&detail) => {
                let user = self.link.user();
                return Err(ErasureError::Forbidden { detail, user });
            }
            other => other?,
        };
        let master = |answer| {
            let info = value::text(answer, "INFO")?;
            Master::of_info(&info).ok_or_else(|| strange("INFO").into())
        };
        answers.into_iter().map(master).collect()
    }

    async fn notes(&self) -> Result<Vec<Note>, StoreError> {
        let note = |shard| async move {
            let mut read = redis::cmd("HMGET");
            read.arg(format!("{}:erased", prefix(shard))).arg(&["count", "since"]);
            let answer = value::array(self.link.call(&read).await?, "a note of erasure")?;
            let [count, since]: [Value; 2] =
                answer.try_into().map_err(|_| strange("a note of erasure"))?;
            if since == Value::Nil {
                return Ok(None);
            }
            let count = value::number(count, "a note of erasure")?;
            let since = Timestamp(value::number(since, "a note of erasure")?);
            Ok::<_, StoreError>(Some(Note { shard, count, since }))
        };
        let notes = try_join_all((0..self.shards()).map(ShardId).map(note)).await?;
        Ok(notes.into_iter().flatten().collect())
    }

    /// Takes the turn, or keeps the one that is `held`. None: it is another node's.
    async fn take_turn(
        &self,
        held: Option<Vec<u8>>,
        pace: &Pace,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let now = self.clock.now();
        let expected = match held {
            Some(held) => Some(held),
            None => {
                let row = self.get(TURN.to_owned()).await?;
                let until = row.as_deref().and_then(value::leading).unwrap_or(0);
                // One that ends further ahead was taken by another clock.
                if until > now.0 && until <= now.0 + pace.turn_ms() {
                    return Ok(None);
                }
                row
            }
        };
        let mut row = (now.0 + pace.turn_ms()).to_be_bytes().to_vec();
        row.extend(self.clock.random().to_be_bytes());
        let taken = self.swap(TURN.to_owned(), expected, Some(row.clone())).await?;
        Ok(taken.then_some(row))
    }
}

/// The user may not, or the service that runs the server has taken the command away.
fn is_forbidden(detail: &str) -> bool {
    detail.contains("NOPERM") || detail.contains("unknown command")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(run: &str, busy: u8, rewrites: u64, status: &str) -> Master {
        let info = format!(
            "# Server\r\nrun_id:{run}\r\n\r\n# Persistence\r\naof_enabled:1\r\n\
             aof_rewrite_in_progress:{busy}\r\naof_rewrite_scheduled:0\r\n\
             aof_last_bgrewrite_status:{status}\r\naof_rewrites:{rewrites}\r\n"
        );
        Master::of_info(&info).unwrap()
    }

    #[test]
    fn a_rewrite_is_over_when_each_master_began_one_since_and_ended_it_well() {
        let before = [info("a", 0, 3, "err"), info("b", 0, 0, "ok")];
        let busy = [info("b", 1, 1, "ok"), info("a", 0, 4, "ok")];
        assert!(!is_over(&before, &busy).unwrap());
        let ended = [info("b", 0, 1, "ok"), info("a", 0, 4, "ok")];
        assert!(is_over(&before, &ended).unwrap());
        let failed = [info("a", 0, 4, "err"), info("b", 0, 1, "ok")];
        assert!(matches!(is_over(&before, &failed), Err(ErasureError::Failed)));
        let never_begun = [info("a", 0, 4, "ok"), info("b", 0, 0, "ok")];
        assert!(matches!(is_over(&before, &never_begun), Err(ErasureError::Failed)));
        let promoted = [info("a", 0, 4, "ok"), info("c", 0, 9, "ok")];
        assert!(matches!(is_over(&before, &promoted), Err(ErasureError::Changed)));
    }

    #[test]
    fn a_server_that_does_not_tell_is_no_master_whose_file_was_rewritten() {
        assert_eq!(Master::of_info("run_id:a\r\naof_enabled:1\r\n"), None);
    }
}
