//! What must hold once everything is at rest.

use super::Sim;
use super::witness::word;
use crate::checkers::{self, Published, Remains};
use gristmill_actors::ports::ShardStore;
use gristmill_trace::verify;
use gristmill_workflows::codec::decode;
use gristmill_workflows::id::{Arrival, ShardId};
use gristmill_workflows::journey::{Journey, PayoutState, State};
use gristmill_workflows::request::Cause;
use std::collections::BTreeSet;

/// A journey that is not terminal.
pub(super) struct Standing {
    pub(super) journey: Journey,
}

impl Sim {
    /// Every journey that is not terminal, by shard and arrival.
    pub(super) fn standing(&self) -> Vec<Standing> {
        let mut standing = Vec::new();
        for shard in (0..self.plan.shards).map(ShardId) {
            let Some(rows) = self.store.rows(shard) else { continue };
            for row in rows.active.values() {
                match decode::<Journey>(row) {
                    Ok(journey) => standing.push(Standing { journey }),
                    Err(error) => self.journal.breach(format!("I1: a row of {shard}: {error}")),
                }
            }
        }
        standing
    }

    /// What is still queued, by shard.
    pub(super) fn queued(&self) -> Vec<(ShardId, Arrival)> {
        let shards = (0..self.plan.shards).map(ShardId);
        let rows = shards.filter_map(|shard| Some((shard, self.store.rows(shard)?)));
        let items = |(shard, rows): (ShardId, crate::memory_store::ShardRows)| {
            let items = rows.intake.into_keys().chain(rows.control.into_keys());
            items.map(|arrival| (shard, arrival)).collect::<Vec<_>>()
        };
        rows.flat_map(items).collect()
    }

    /// Holds everything that is left against everything that was said.
    pub(super) fn judge(&self) {
        for (shard, arrival) in self.queued() {
            self.journal.breach(format!("I1: item {arrival} of shard {shard} is still queued"));
        }
        for Standing { journey } in self.standing() {
            if !may_stand(&journey) {
                let key = &journey.submission.idempotency_key;
                let state = &journey.state;
                self.journal
                    .breach(format!("I1: {key} of stage {} stays {state:?}", journey.stage));
            }
        }
        self.judge_log();
        self.judge_erasure();
    }

    fn judge_log(&self) {
        let objects = self.log.objects();
        let mut entries = Vec::new();
        let key = self.signing_key();
        let read =
            verify::log(&mut |path| Ok(objects.get(path).cloned()), key.verifier(), |entry| {
                entries.push(entry.bytes.to_vec());
            });
        let current = match read {
            Ok(report) => {
                for fault in &report.faults {
                    self.journal.breach(format!("I7: the log: {fault:?}"));
                }
                let checkpoint = report.checkpoint;
                Some(Published { size: checkpoint.size, root: checkpoint.root })
            }
            Err(error) => {
                self.journal.breach(format!("I7: the log: {error}"));
                None
            }
        };
        if let Some(current) = current {
            self.journal
                .note(format_args!("log: {} entries, root {:?}", current.size, current.root));
        }
        let names = (0..self.plan.people).map(|n| format!("person-{n}"));
        let names: Vec<String> = names.collect();
        for (index, entry) in entries.iter().enumerate() {
            let text = String::from_utf8_lossy(entry);
            if names.iter().any(|name| text.contains(name)) {
                self.journal.breach(format!("I9: entry {index} names a person"));
            }
        }
        let (published, acknowledged) = (self.witness.published(), self.acknowledged());
        let remains = Remains {
            key: self.key.clone(),
            store: &self.store,
            entries: &entries,
            published: &published,
            current,
            rail: &self.rail.lines(),
            acknowledged: &acknowledged,
        };
        match checkers::check(&remains) {
            Ok(checks) => {
                for line in checkers::lines(&checks) {
                    self.journal.breach(line);
                }
            }
            Err(error) => self.journal.breach(format!("I1: the store does not decode: {error}")),
        }
    }

    /// Blobs stand only of what is kept: settled and not withdrawn, or not ended yet.
    fn judge_erasure(&self) {
        let blobs: BTreeSet<u64> = self.media.slots().into_iter().collect();
        for shard in (0..self.store.shards()).map(ShardId) {
            let Some(rows) = self.store.rows(shard) else { continue };
            if !rows.erasures.is_empty() {
                self.journal.breach(format!("I9: shard {shard} has data keys left to destroy"));
            }
            for row in rows.finished.values().chain(rows.active.values()) {
                let Ok(journey) = decode::<Journey>(row) else { continue };
                let gone = journey.state.is_terminal() && journey.state != State::Settled;
                let gone = gone || journey.withdrawn.is_some();
                if gone && blobs.contains(&journey.submission.data_key) {
                    let key = &journey.submission.idempotency_key;
                    let state = word(&journey.state);
                    self.journal.breach(format!("I9: the media of {key} stand, and it is {state}"));
                }
            }
        }
    }
}

/// Whether a journey may stand after an operator has gone through the quarantine: only where the
/// rail's own word leaves nothing that could be done safely.
fn may_stand(journey: &Journey) -> bool {
    let State::Paused { cause, .. } = &journey.state else { return false };
    let payout = journey.payout().map(|payout| payout.state);
    match cause {
        Cause::RailWindowExpired => true,
        Cause::Permanent => matches!(payout, Some(PayoutState::Suspense | PayoutState::Failed)),
        _ => false,
    }
}
