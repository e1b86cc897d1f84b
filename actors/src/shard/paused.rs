//! Journeys that wait at a paused stage: parked, without an actor. When a stage goes on they are
//! looked for in pages, as far as permits reach, so that a long queue of them costs no memory.

use super::{Desk, State};
use crate::limits;
use gristmill_workflows::id::Arrival;

impl State {
    /// Some stage was paused or goes on.
    pub(super) fn on_pauses_changed(&mut self) {
        self.paused_from = Some(None);
        self.inbox_grew(None);
    }

    /// Reads the next page of them, if there may be one and there is room.
    pub(super) fn look_at_paused(&mut self) {
        let Some(after) = self.paused_from else { return };
        let room = self.window.saturating_sub(self.machine.moving()).min(limits::TIMER_BATCH);
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
