//! Withdrawals on their way into the inbox, as the node that puts them there announces them.
//!
//! What is accepted while a withdrawal becomes durable cannot be committed any more: the store refuses
//! it, and the shard's memory with hundreds of journeys is built anew. So from its announcement until
//! its item was read nothing of this contributor is accepted, and it is put into the inbox only when what was
//! accepted before is durable. Withdrawals that nobody announced (another node took them) break such a
//! commit as before.

use super::State;
use gristmill_workflows::id::{Arrival, ContributorKey};
use gristmill_workflows::shard::Proposal;
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// What a shard knows of them.
#[derive(Debug, Default)]
pub(super) struct Announced {
    whose: BTreeMap<ContributorKey, Waiting>,
    /// Durable, and not read yet.
    unread: Vec<(Arrival, ContributorKey)>,
    /// Who waits until the commit of this seal is durable.
    asking: Vec<(u64, oneshot::Sender<()>)>,
}

/// What waits for one contributor's withdrawals.
#[derive(Debug, Default)]
struct Waiting {
    withdrawals: u32,
    proposals: Vec<(Arrival, Box<Proposal>)>,
}

impl Announced {
    /// Answers whoever waited for this commit or an earlier one.
    pub(super) fn committed(&mut self, seals: u64) {
        for (_, reply) in self.asking.extract_if(.., |(seal, _)| *seal <= seals) {
            if reply.send(()).is_err() {
                tracing::trace!("the withdrawal went ahead");
            }
        }
    }

    /// One withdrawal less; proposals that nothing holds any more.
    fn less(&mut self, key: ContributorKey) -> Vec<(Arrival, Box<Proposal>)> {
        let Some(waiting) = self.whose.get_mut(&key) else { return Vec::new() };
        waiting.withdrawals -= 1;
        if waiting.withdrawals > 0 {
            return Vec::new();
        }
        self.whose.remove(&key).map(|waiting| waiting.proposals).unwrap_or_default()
    }
}

impl State {
    pub(super) fn on_announced(&mut self, key: ContributorKey, reply: oneshot::Sender<()>) {
        // A grant of budget would let the shard decide them whatever is announced.
        let for_budget = self.machine.take_waiting(key).into_iter();
        let held = self.announced.whose.entry(key).or_default();
        held.withdrawals += 1;
        held.proposals.extend(for_budget.map(|(arrival, proposal)| (arrival, Box::new(proposal))));
        self.announced.asking.push((self.machine.changed(key), reply));
        self.announced.committed(self.committed_seals);
    }

    /// It is durable under an arrival number, or nobody knows of any.
    pub(super) fn on_withdrawn(&mut self, key: ContributorKey, arrived: Option<Arrival>) {
        match arrived {
            Some(arrived) if self.cursors.control < Some(arrived) => {
                self.announced.unread.push((arrived, key));
            }
            _ => self.let_decide(key),
        }
    }

    /// The control lane was read: what stands in it is known.
    pub(super) fn read_announced(&mut self) {
        let read = self.cursors.control;
        let known = |(arrival, _): &mut (Arrival, _)| Some(*arrival) <= read;
        let known: Vec<_> = self.announced.unread.extract_if(.., known).collect();
        for (_, key) in known {
            self.let_decide(key);
        }
    }

    fn let_decide(&mut self, key: ContributorKey) {
        for (arrival, proposal) in self.announced.less(key) {
            self.on_proposed(arrival, proposal);
        }
    }

    /// Keeps a proposal that may accept a contribution while its contributor takes consent back; gives
    /// others back.
    pub(super) fn hold(
        &mut self,
        arrival: Arrival,
        proposal: Box<Proposal>,
    ) -> Option<Box<Proposal>> {
        let whose = || self.machine.unaccepted(arrival);
        let key = (!self.announced.whose.is_empty()).then(whose).flatten();
        match key.and_then(|key| self.announced.whose.get_mut(&key)) {
            Some(waiting) => {
                waiting.proposals.push((arrival, proposal));
                None
            }
            None => Some(proposal),
        }
    }
}
