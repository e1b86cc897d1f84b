//! The log's answers: an outbox row is sequenced, its journeys go on.

use super::{Shard, Waiter};
use crate::codec::{self, encode};
use crate::commit::SequencedRow;
use crate::definition::Effect as StageEffect;
use crate::entry;
use crate::id::{Arrival, ContributionId};
use crate::journey::{Journey, Logged, State};
use crate::submission::Scope;
use crate::time::Timestamp;
use std::sync::Arc;

impl Shard {
    /// The outbox row that begins at `from` stands at these indices.
    pub fn sequenced(
        &mut self,
        from: u64,
        indices: &[u64],
        now: Timestamp,
    ) -> Result<(), codec::Error> {
        self.clear(from, indices.len());
        self.draft.commit.sequenced_put.push((from, encode(&SequencedRow::pack(indices))?));
        self.draft.lazy = true;
        for (nth, index) in indices.iter().enumerate() {
            match self.log_waits.remove(&(from + nth as u64)) {
                Some(Waiter::Journey(arrival)) => self.logged(arrival, *index, now),
                Some(Waiter::Card(program)) => self.card_logged(&program, *index),
                None => {
                    let position = from + nth as u64;
                    self.indices.insert(position, (self.seals + 1, *index));
                }
            }
        }
        Ok(())
    }

    /// The index of a journey's entry is known: it rides with the next commit. A keyed stage that
    /// waited for nothing else starts at once: the index stands in the log, and all the rest was
    /// committed with the entry.
    fn logged(&mut self, arrival: Arrival, index: u64, now: Timestamp) {
        let leaving = self.leaving.remove(&arrival).map(|(_, moving)| moving);
        let Some(mut moving) = self.journeys.remove(&arrival).or(leaving) else {
            return;
        };
        let journey = Arc::make_mut(&mut moving.journey);
        if let Some(accepted) = &mut journey.accepted {
            accepted.entry.index = Some(index);
        }
        self.log_withdrawal(journey);
        let definition = self.world.workflows.get(&moving.journey.workflow);
        let due = definition.and_then(|definition| definition.stage(moving.journey.stage));
        let waited = due.is_none_or(|stage| stage.signature.effect == StageEffect::Keyed);
        let moves = moving.journey.state == State::Moving;
        let cleared = std::mem::take(&mut moving.cleared);
        let ready = moves && waited && cleared && !Self::release_again(&mut moving, now);
        self.journeys.insert(arrival, moving);
        self.draft.journeys.insert(arrival);
        if ready {
            self.ready.push(arrival);
            return;
        }
        self.draft.touched = true;
        if waited && moves {
            self.go(arrival, now);
        }
    }

    /// A withdrawal entry follows the contribution's own, once that has its index.
    pub(super) fn log_withdrawal(&mut self, journey: &mut Journey) {
        let index = journey.accepted.as_ref().and_then(|accepted| accepted.entry.index);
        let (Some(index), Some(withdrawn)) = (index, &mut journey.withdrawn) else {
            return;
        };
        if withdrawn.entry.is_none() {
            let id = journey.submission.id;
            withdrawn.entry = Some(self.withdrawal_entry(id, index, &withdrawn.scope));
        }
    }

    /// Logs that the contribution whose entry stands at `index` was withdrawn, unless the log has
    /// that already.
    pub(super) fn withdrawal_entry(
        &mut self,
        id: ContributionId,
        index: u64,
        scope: &Scope,
    ) -> Logged {
        let entry = entry::withdrawal(&self.world.key, id, index, scope.as_str());
        let stands = self.claim_adopted("withdrawal", &id.to_string());
        stands.unwrap_or_else(|| Logged { position: self.log(entry), index: None })
    }

    /// A journey that was moving when memory was lost goes on from its row.
    pub fn restart(&mut self, arrival: Arrival, now: Timestamp) {
        self.touch(arrival);
        self.go(arrival, now);
    }
}
