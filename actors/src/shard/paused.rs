//! Journeys that wait at a paused stage: parked, without an actor. When a stage goes on they are
//! looked for in pages, as far as permits reach, so that a long queue of them costs no memory.

use super::desk::Reader;
use super::{Desk, Error, State};
use crate::limits;
use crate::pauses::Pauses;
use gristmill_workflows::codec::decode;
use gristmill_workflows::commit::Place;
use gristmill_workflows::id::Arrival;
use gristmill_workflows::journey::{Journey, State as Standing};
use gristmill_workflows::request::Wait;
use gristmill_workflows::shard::World;

/// Whether a journey waits at a stage that is not paused, or not any more.
pub(super) fn may_go_on(journey: &Journey, world: &World, pauses: &Pauses) -> bool {
    let waits = matches!(journey.state, Standing::Parked { wait: Wait::StagePaused, .. });
    let definition = world.workflows.get(&journey.workflow);
    let stage = definition.and_then(|definition| definition.stage(journey.stage));
    waits && stage.is_none_or(|stage| !pauses.holds(stage.signature.name))
}

impl State {
    /// Some stage was paused or goes on.
    pub(super) fn on_pauses_changed(&mut self) {
        self.paused_from = Some(None);
        self.inbox_grew(None);
    }

    /// Reads the next page of them, if there may be one and there is room.
    pub(super) fn look_at_paused(&mut self) {
        let Some(after) = self.paused_from else { return };
        let room = self.permits().min(limits::TIMER_BATCH);
        let looks = |desk: &Desk| matches!(desk, Desk::Paused { .. });
        let looking = self.at_desk.as_ref().is_some_and(looks) || self.desk.iter().any(looks);
        // Small reads cost as much as large ones.
        let enough = room * 4 >= self.window.min(limits::TIMER_BATCH);
        if enough && !looking {
            self.paused_from = None;
            self.desk.push_back(Desk::Paused { after, room });
        }
    }

    /// A page was read. If stages changed meanwhile, the look begins anew.
    pub(super) fn looked_at_paused(&mut self, next: Option<Arrival>) {
        if self.paused_from.is_none() {
            self.paused_from = next.map(Some);
        }
    }
}

impl Reader {
    /// Up to `room` journeys that wait at a stage that is not paused now, and where to look on.
    pub(super) async fn paused(
        &self,
        after: Option<Arrival>,
        room: usize,
    ) -> Result<(Vec<Arrival>, Option<Arrival>), Error> {
        let (place, limit) = (Place::Active, limits::STAGE_PAUSED_BATCH);
        let rows = self.ports.store.list(self.shard, place, after, limit).await?;
        let mut next = rows.last().filter(|_| rows.len() == limit).map(|(arrival, _)| *arrival);
        let mut waiting = Vec::new();
        for (arrival, row) in rows {
            let journey: Journey = decode(&row)?;
            if !may_go_on(&journey, &self.world, &self.pauses) {
                continue;
            }
            waiting.push(arrival);
            if waiting.len() == room {
                next = Some(arrival);
                break;
            }
        }
        Ok((waiting, next))
    }
}
