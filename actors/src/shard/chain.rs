//! A contributor's chain of journeys, along which a withdrawal walks: whole ones, and those that
//! expired.

use super::desk::{Reader, Stood};
use super::{Error, State};
use crate::limits;
use gristmill_workflows::id::{Arrival, ContributorKey};
use gristmill_workflows::shard::Chain;
use gristmill_workflows::submission::Mark;
use gristmill_workflows::tombstone::{Finished, Tombstone};

/// A journey of the chain.
#[derive(Debug)]
pub(super) enum Link {
    Stood(Box<Stood>),
    Expired(Box<Tombstone>),
}

impl State {
    /// Takes back what was just read of the chain, from `next` on; says where the walk goes on.
    pub(super) fn walk_along(
        &mut self,
        key: ContributorKey,
        mark: &Mark,
        next: Arrival,
        chain: Vec<Link>,
    ) -> Result<Chain, Error> {
        let mut walked = Chain::Next(next);
        let now = self.now();
        for link in chain {
            walked = match link {
                Link::Stood(stood) => self.machine.withdraw_standing(stood.journey, mark, now),
                Link::Expired(left) => {
                    let walked = self.machine.withdraw_expired(key, *left, mark)?;
                    self.reads.tombstones = self.decided();
                    walked
                }
            };
            if walked == Chain::NotYet {
                break;
            }
        }
        // Nothing was read: a store that failed over may have lost the rest of the chain.
        let at_its_end = walked == Chain::Next(next);
        Ok(if at_its_end { self.machine.walk_on(key, Chain::Done) } else { walked })
    }
}

impl Reader {
    /// A part of a contributor's chain, newest first.
    pub(super) async fn chain(&self, first: Arrival) -> Result<Vec<Link>, Error> {
        let mut chain = Vec::new();
        let mut next = Some(first);
        while let Some(arrival) = next.filter(|_| chain.len() < limits::CHAIN_BATCH) {
            let rows = self.ports.store.journeys(self.shard, vec![arrival]).await?;
            let Some(row) = rows.into_iter().flatten().next() else { break };
            let link = match Finished::read(&row.row)? {
                Finished::Expired(tombstone) => Link::Expired(tombstone),
                Finished::Journey(journey) => {
                    let Some(stood) = self.with_parts(vec![*journey]).await?.pop() else { break };
                    Link::Stood(Box::new(stood))
                }
            };
            next = match &link {
                Link::Stood(stood) => stood.journey.previous,
                Link::Expired(tombstone) => tombstone.previous,
            };
            chain.push(link);
        }
        Ok(chain)
    }
}
