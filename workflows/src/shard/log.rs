//! The log's answers: an outbox row is sequenced, its journeys go on.

use super::{Shard, Waiter};
use crate::codec::{self, encode};
use crate::commit::SequencedRow;
use crate::definition::Effect as StageEffect;
use crate::entry;
use crate::id::Arrival;
use crate::journey::{Journey, Logged, State};
use crate::time::Timestamp;

impl Shard {
    /// The outbox row that begins at `from` stands at these indices.
    pub fn sequenced(
        &mut self,
        from: u64,
        indices: &[u64],
        now: Timestamp,
    ) -> Result<(), codec::Error> {
        self.draft.commit.outbox_remove.push(from);
        self.draft.commit.sequenced_put.push((from, encode(&SequencedRow::pack(indices))?));
        self.draft.touched = true;
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

    /// The index of a journey's entry is known: it rides with the next commit, and a keyed stage
    /// that waited for it starts after that commit.
    fn logged(&mut self, arrival: Arrival, index: u64, now: Timestamp) {
        let leaving = self.leaving.remove(&arrival).map(|(_, moving)| moving);
        let Some(mut moving) = self.journeys.remove(&arrival).or(leaving) else {
            return;
        };
        if let Some(accepted) = &mut moving.journey.accepted {
            accepted.entry.index = Some(index);
        }
        self.log_withdrawal(&mut moving.journey);
        let definition = self.world.workflows.get(&moving.journey.workflow);
        let due = definition.and_then(|definition| definition.stage(moving.journey.stage));
        let waited = due.is_none_or(|stage| stage.signature.effect == StageEffect::Keyed);
        let moves = moving.journey.state == State::Moving;
        self.journeys.insert(arrival, moving);
        self.touch(arrival);
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
            let scope = withdrawn.scope.as_str();
            let entry = entry::withdrawal(&self.world.key, journey.submission.id, index, scope);
            withdrawn.entry = Some(Logged { position: self.log(entry), index: None });
        }
    }

    /// A journey that was moving when memory was lost goes on from its row.
    pub fn restart(&mut self, arrival: Arrival, now: Timestamp) {
        self.touch(arrival);
        self.go(arrival, now);
    }
}
