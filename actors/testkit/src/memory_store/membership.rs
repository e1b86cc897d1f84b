//! The nodes over one store in memory.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use gristmill_actors::ports::{Membership, Notice, Roster, StoreError};
use gristmill_actors::rail::BoxFuture;
use gristmill_workflows::placement::Member;
use tokio::sync::broadcast;

use super::MemoryStore;

impl MemoryStore {
    fn members(&self) -> MutexGuard<'_, BTreeMap<u128, Member>> {
        self.inner.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alive(&self) -> Roster {
        let now = self.lease_time().now;
        let mut members = self.members();
        members.retain(|_, member| member.until > now);
        Roster { now, members: members.values().cloned().collect() }
    }
}

impl Membership for MemoryStore {
    fn lease_ttl(&self) -> Duration {
        Duration::from_millis(self.inner.shape.lease_ttl_ms)
    }

    fn beat(&self, member: Member) -> BoxFuture<'_, Result<Roster, StoreError>> {
        Box::pin(async move {
            let time = self.lease_time();
            let until = time.now.plus_ms(time.ttl_ms);
            let mut before = self.alive().members.into_iter();
            let before = before.rfind(|known| known.incarnation == member.incarnation);
            let asked = before.as_ref().is_some_and(|before| before.draining);
            let draining = member.draining || asked;
            let is_new = before.is_none_or(|before| before.draining != draining);
            let member = Member { draining, until, ..member };
            self.members().insert(member.incarnation, member);
            if is_new {
                self.notice(Notice::Roster);
            }
            Ok(self.alive())
        })
    }

    fn roster(&self) -> BoxFuture<'_, Result<Roster, StoreError>> {
        Box::pin(async move { Ok(self.alive()) })
    }

    fn leave(&self, incarnation: u128) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            if self.members().remove(&incarnation).is_some() {
                self.notice(Notice::Roster);
            }
            Ok(())
        })
    }

    fn ask_drain(&self, incarnation: u128) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            let mut members = self.members();
            let Some(member) = members.get_mut(&incarnation) else { return Ok(false) };
            member.draining = true;
            drop(members);
            self.notice(Notice::Roster);
            Ok(true)
        })
    }

    fn notices(&self) -> broadcast::Receiver<Notice> {
        self.inner.notices.subscribe()
    }
}
