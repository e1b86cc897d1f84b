//! Which node owns which shard: rendezvous hashing over the live members, at most one shard more on
//! a node than on another, and the steps that lead there.
//!
//! Healthy shards move one at a time: their owner ends them in order and gives their lease back.
//! What nobody holds is claimed at once. A node that drains hands everything over at once. Who is
//! right about an owner is never decided here: leases fence.
//!
//! A node leaves a shard alone whose records are beyond it. So that a newer one among the members has
//! it, a shard that nobody held for a while is taken in by a node that is not its home, a *stray*:
//! it keeps the shard until a member comes or goes. Who cannot read it either leaves it alone for as
//! long as the first one.

use crate::codec::Record;
use crate::id::ShardId;
use crate::lease::Lease;
use crate::limits::{HAND_OVER_MS_MAX, LEFT_ALONE_MS, LOOK_AGAIN_MS, STRAYS_LOOK_MS};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One node as it tells the others about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Made anew at every process start.
    pub incarnation: u128,
    /// What operators call it.
    pub name: String,
    /// Where its service listens; empty without one.
    pub address: String,
    /// It gives its shards away and takes no more.
    pub draining: bool,
    /// The store's clock after which it counts as dead, unless it says something before.
    pub until: Timestamp,
}

impl Record for Member {
    const SCHEMA: u8 = 11;
    const VERSION: u8 = 1;
}

/// Every shard's home among `members` (incarnations, in any order); empty without members.
///
/// A shard goes to the member with the highest weight for it (highest random weight hashing, Thaler
/// and Ravishankar 1998) that has not its fair share yet.
#[must_use]
pub fn homes(shards: u16, members: &[u128]) -> Vec<u128> {
    let share = usize::from(shards).div_ceil(members.len().max(1));
    let mut loads = vec![0; members.len()];
    let mut homes = Vec::with_capacity(usize::from(shards));
    for shard in 0..shards {
        let free = (0..members.len()).filter(|nth| loads[*nth] < share);
        let best = free.max_by_key(|nth| (weight(members[*nth], shard), members[*nth]));
        let Some(best) = best else { break };
        loads[best] += 1;
        homes.push(members[best]);
    }
    homes
}

/// splitmix64 (Steele, Lea, Flood 2014) over the member's two halves and the shard.
fn weight(member: u128, shard: u16) -> u64 {
    let halves = [(member >> 64) as u64, member as u64, u64::from(shard)];
    halves.into_iter().fold(0, |state, part| {
        let mut mixed = (state ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

/// How a node has a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// Held, or being claimed.
    Kept,
    /// Told to end in order, at this moment.
    Leaving(Timestamp),
}

/// What a node has to do next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Steps {
    /// Shards whose leases are to be looked at: those that belong here, now and then all others.
    pub look: Vec<ShardId>,
    /// Shards to end in order.
    pub hand_over: Vec<ShardId>,
    /// Shards that did not end in order in time.
    pub cut_off: Vec<ShardId>,
}

/// One node's view of who has what.
#[derive(Debug, Clone)]
pub struct Placement {
    me: u128,
    shards: u16,
    draining: bool,
    /// Those that may own shards, in order.
    members: Vec<u128>,
    homes: Vec<u128>,
    held: BTreeMap<ShardId, Hold>,
    /// Shards at home here that are not held: not looked at before this moment.
    wanted: BTreeMap<ShardId, Timestamp>,
    /// Shards held here that are at home on a node that does not have them.
    strays: BTreeSet<ShardId>,
    /// Shards at home elsewhere that nobody held at the last look.
    free: BTreeSet<ShardId>,
    /// Shards that this node does not understand: not tried before this moment.
    alone: BTreeMap<ShardId, Timestamp>,
    /// When shards at home elsewhere are looked at.
    strays_due: Timestamp,
}

impl Placement {
    /// A node that has nothing and knows nobody.
    #[must_use]
    pub fn new(me: u128, shards: u16) -> Self {
        Self {
            me,
            shards,
            draining: false,
            members: Vec::new(),
            homes: Vec::new(),
            held: BTreeMap::new(),
            wanted: BTreeMap::new(),
            strays: BTreeSet::new(),
            free: BTreeSet::new(),
            alone: BTreeMap::new(),
            strays_due: Timestamp(0),
        }
    }

    /// Who lives at `now`. A change makes all that is wanted be looked at again.
    pub fn roster(&mut self, members: &[Member], now: Timestamp) {
        let live = members.iter().filter(|member| member.until > now);
        self.draining |= live.clone().any(|it| it.incarnation == self.me && it.draining);
        let owners = live.filter(|member| !member.draining);
        let mut owners: Vec<u128> = owners.map(|member| member.incarnation).collect();
        owners.retain(|owner| !(self.draining && *owner == self.me));
        owners.sort_unstable();
        owners.dedup();
        if owners != self.members {
            self.homes = homes(self.shards, &owners);
            self.members = owners;
            self.want(now);
        }
    }

    /// From now on everything is handed over, and nothing claimed.
    pub fn drain(&mut self, now: Timestamp) {
        self.draining = true;
        self.members.retain(|member| *member != self.me);
        self.homes = homes(self.shards, &self.members);
        self.want(now);
    }

    fn want(&mut self, now: Timestamp) {
        self.strays.clear();
        self.free.clear();
        self.alone.clear();
        self.strays_due = now.plus_ms(STRAYS_LOOK_MS);
        let mine = (0..).zip(&self.homes).filter(|(_, home)| **home == self.me);
        let wanted = mine.map(|(shard, _)| ShardId(shard));
        let wanted = wanted.filter(|shard| !self.held.contains_key(shard));
        self.wanted = wanted.map(|shard| (shard, now)).collect();
    }

    /// What the store says of a wanted shard's lease: true if it is to be claimed now, which the
    /// node then does.
    pub fn seen(&mut self, shard: ShardId, lease: &Lease, now: Timestamp) -> bool {
        let Some(due) = self.wanted.get_mut(&shard) else {
            return self.seen_elsewhere(shard, lease, now);
        };
        if lease.is_held(now) && lease.owner != self.me {
            *due = lease.until.min(now.plus_ms(LOOK_AGAIN_MS));
            return false;
        }
        self.wanted.remove(&shard);
        self.held.insert(shard, Hold::Kept);
        true
    }

    fn seen_elsewhere(&mut self, shard: ShardId, lease: &Lease, now: Timestamp) -> bool {
        if self.draining || self.held.contains_key(&shard) {
            return false;
        }
        if lease.is_held(now) {
            self.free.remove(&shard);
            return false;
        }
        let is_tried = self.alone.get(&shard).is_some_and(|until| *until > now);
        if self.free.insert(shard) || is_tried {
            return false;
        }
        self.free.remove(&shard);
        self.strays.insert(shard);
        self.held.insert(shard, Hold::Kept);
        true
    }

    /// A shard runs here, or is about to, whatever placement says of it.
    pub fn kept(&mut self, shard: ShardId) {
        self.wanted.remove(&shard);
        self.held.entry(shard).or_insert(Hold::Kept);
    }

    /// A shard does not run here: it was handed over, lost, or could not be claimed.
    pub fn gone(&mut self, shard: ShardId, now: Timestamp) {
        self.held.remove(&shard);
        self.strays.remove(&shard);
        if self.homes.get(usize::from(shard.0)) == Some(&self.me) {
            self.wanted.insert(shard, now);
        }
    }

    /// A shard does not run here, since it holds what this node does not understand: it is tried
    /// again after a while, or when a member comes or goes.
    pub fn left_alone(&mut self, shard: ShardId, now: Timestamp) {
        let until = now.plus_ms(LEFT_ALONE_MS);
        self.gone(shard, until);
        self.alone.insert(shard, until);
    }

    /// Somebody gave a shard's lease back.
    pub fn released(&mut self, shard: ShardId, now: Timestamp) {
        if self.alone.get(&shard).is_some_and(|until| *until > now) {
            return;
        }
        if let Some(due) = self.wanted.get_mut(&shard) {
            *due = now;
        }
    }

    /// What is to be done at `now`. Shards to look at are not named again before they were seen or
    /// some time has passed.
    pub fn steps(&mut self, now: Timestamp) -> Steps {
        let mut steps = Steps::default();
        for (shard, due) in self.wanted.iter_mut().filter(|(_, due)| **due <= now) {
            *due = now.plus_ms(LOOK_AGAIN_MS);
            steps.look.push(*shard);
        }
        if self.looks_for_strays() && self.strays_due <= now {
            self.strays_due = now.plus_ms(STRAYS_LOOK_MS);
            let others = (0..).zip(&self.homes).filter(|(_, home)| **home != self.me);
            let others = others.map(|(shard, _)| ShardId(shard));
            steps.look.extend(others.filter(|shard| !self.held.contains_key(shard)));
        }
        let mut moving = 0;
        for (shard, hold) in &mut self.held {
            let Hold::Leaving(since) = hold else { continue };
            moving += 1;
            if since.plus_ms(HAND_OVER_MS_MAX) <= now {
                *since = now;
                steps.cut_off.push(*shard);
            }
        }
        let at_once = if self.draining { usize::MAX } else { 1usize.saturating_sub(moving) };
        let has_home_elsewhere = |shard: &ShardId| {
            self.homes.get(usize::from(shard.0)).map_or(self.draining, |home| *home != self.me)
        };
        let leaving = self.held.iter_mut().filter(|(_, hold)| **hold == Hold::Kept);
        let leaving = leaving.filter(|(shard, _)| !self.strays.contains(shard));
        for (shard, hold) in leaving.filter(|(shard, _)| has_home_elsewhere(shard)).take(at_once) {
            *hold = Hold::Leaving(now);
            steps.hand_over.push(*shard);
        }
        steps
    }

    /// When [`Placement::steps`] has something new to say, unless something happens before.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        let leaving = self.held.values().filter_map(|hold| match hold {
            Hold::Leaving(since) => Some(since.plus_ms(HAND_OVER_MS_MAX)),
            Hold::Kept => None,
        });
        let strays = self.looks_for_strays().then_some(self.strays_due);
        self.wanted.values().copied().chain(leaving).chain(strays).min()
    }

    fn looks_for_strays(&self) -> bool {
        !self.draining && self.members.len() > 1
    }

    /// Shards that run here, or are about to.
    pub fn held(&self) -> impl Iterator<Item = ShardId> + '_ {
        self.held.keys().copied()
    }

    /// Whether everything is handed over, now and for good.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.draining && self.held.is_empty()
    }

    /// Whether it gives everything away.
    #[must_use]
    pub const fn is_draining(&self) -> bool {
        self.draining
    }

    /// Whether this node is the one that carries out what only one node should: the first in the
    /// order of a shard that does not exist. Two that think so at once must do no harm.
    #[must_use]
    pub fn is_first(&self) -> bool {
        let first = self.members.iter().max_by_key(|member| (weight(**member, u16::MAX), **member));
        first == Some(&self.me)
    }
}

#[cfg(test)]
mod tests;
