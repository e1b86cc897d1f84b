//! The actor that keeps a node's place among others over one store: heartbeat, leases, rebalancing,
//! drain.
//!
//! It feeds the pure [`Placement`] and tells the node what to start and to end. A lease that cannot
//! be prolonged in time ends its shard here, before another node may claim it; were that too late,
//! the store would refuse what the shard commits (I6).

use crate::contribution::tell;
use crate::engine::Engine;
use crate::limits;
use crate::node::NodeMessage;
use crate::ports::{Membership, Notice, Renewed, ShardStore, StoreError};
use crate::register::Register;
use gristmill_workflows::id::ShardId;
use gristmill_workflows::placement::{Member, Placement};
use gristmill_workflows::time::Timestamp;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

/// A node's place among others.
#[derive(Clone)]
pub struct Place {
    /// The nodes over the store.
    pub members: Arc<dyn Membership>,
    /// Small rows that they share.
    pub register: Arc<dyn Register>,
    /// What operators call this one.
    pub name: String,
    /// Where its service listens; empty without one.
    pub address: String,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a node holds and knows of others, for whoever watches it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holdings {
    /// Who is there, as of the last heartbeat.
    pub members: Vec<Member>,
    /// Shards that run here, or are about to.
    pub held: Vec<ShardId>,
    /// It gives everything away.
    pub draining: bool,
    /// It carries out what only one node should.
    pub first: bool,
}

/// The actor.
#[derive(Debug)]
pub(crate) struct MembershipActor;

/// What it is told.
#[derive(Debug)]
pub(crate) enum MembershipMessage {
    /// Something may be due.
    Wake(Timestamp),
    /// Another node, or this one, said something.
    Heard(Notice),
    /// A notice may have been missed.
    Missed,
    /// The node runs a shard.
    Started(ShardId),
    /// The node does not run a shard, or no longer.
    Gone(ShardId),
    /// The node does not run a shard, since it holds what is beyond this node.
    LeftAlone(ShardId),
    /// Hand everything over.
    Drain,
}

/// What it starts with.
pub(crate) struct Arguments {
    pub(crate) place: Place,
    pub(crate) incarnation: u128,
    pub(crate) engine: Arc<Engine>,
    pub(crate) node: ActorRef<NodeMessage>,
    pub(crate) holdings: watch::Sender<Holdings>,
}

pub(crate) struct State {
    place: Place,
    incarnation: u128,
    engine: Arc<Engine>,
    node: ActorRef<NodeMessage>,
    holdings: watch::Sender<Holdings>,
    ttl: u64,
    placement: Placement,
    members: Vec<Member>,
    /// When each lease of this node is over, as far as is known.
    until: BTreeMap<ShardId, Timestamp>,
    beat_due: Timestamp,
    renew_due: Timestamp,
    wake_set: Option<Timestamp>,
}

impl Actor for MembershipActor {
    type Msg = MembershipMessage;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        arguments: Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let Arguments { place, incarnation, engine, node, holdings } = arguments;
        let now = engine.ports.clock.now();
        listen(&place, &myself);
        let ttl = u64::try_from(place.members.lease_ttl().as_millis())?;
        let placement = Placement::new(incarnation, engine.world.shards);
        Ok(State {
            place,
            incarnation,
            engine,
            node,
            holdings,
            ttl,
            placement,
            members: Vec::new(),
            until: BTreeMap::new(),
            beat_due: now,
            renew_due: now.plus_ms(ttl / limits::RENEWALS_A_LEASE),
            wake_set: None,
        })
    }

    async fn post_start(
        &self,
        myself: ActorRef<Self::Msg>,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        state.go_on(&myself).await;
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: MembershipMessage,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let now = state.now();
        match message {
            MembershipMessage::Wake(due) => {
                state.wake_set = state.wake_set.filter(|set| *set != due);
            }
            MembershipMessage::Heard(Notice::Released(shard)) => {
                state.placement.released(shard, now);
            }
            MembershipMessage::Heard(Notice::Roster) => state.beat_due = now,
            MembershipMessage::Heard(Notice::Grew(shard, arrived)) => {
                state.engine.notify(shard, Some(arrived));
            }
            MembershipMessage::Missed => {
                state.beat_due = now;
                state.placement.held().for_each(|shard| state.engine.notify(shard, None));
            }
            MembershipMessage::Started(shard) => {
                state.placement.kept(shard);
                state.until.insert(shard, now.plus_ms(state.ttl));
            }
            MembershipMessage::Gone(shard) => state.gone(shard, now),
            MembershipMessage::LeftAlone(shard) => {
                state.until.remove(&shard);
                state.placement.left_alone(shard, now);
            }
            MembershipMessage::Drain => {
                state.placement.drain(now);
                state.beat_due = now;
            }
        }
        state.go_on(&myself).await;
        Ok(())
    }
}

/// Forwards notices until the actor is gone.
fn listen(place: &Place, myself: &ActorRef<MembershipMessage>) {
    let mut notices = place.members.notices();
    let myself = myself.clone();
    tokio::spawn(async move {
        loop {
            let message = match notices.recv().await {
                Ok(notice) => MembershipMessage::Heard(notice),
                Err(RecvError::Lagged(_)) => MembershipMessage::Missed,
                Err(RecvError::Closed) => return,
            };
            if myself.send_message(message).is_err() {
                return;
            }
        }
    });
}

impl State {
    fn now(&self) -> Timestamp {
        self.engine.ports.clock.now()
    }

    fn store(&self) -> &dyn ShardStore {
        &*self.engine.ports.store
    }

    async fn go_on(&mut self, myself: &ActorRef<MembershipMessage>) {
        if self.beat_due <= self.now() {
            self.beat().await;
        }
        if self.renew_due <= self.now() {
            self.renew().await;
        }
        self.end_lost();
        self.take_steps().await;
        self.show();
        self.set_wake(myself);
    }

    /// A call that may not take longer than what the lease leaves time for.
    async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let patience = Duration::from_millis(self.ttl / limits::RENEWALS_A_LEASE);
        let late = |_| StoreError::Ambiguous { detail: "no answer in time".to_owned() };
        tokio::time::timeout(patience, call).await.unwrap_or_else(|elapsed| Err(late(elapsed)))
    }

    async fn beat(&mut self) {
        let member = Member {
            incarnation: self.incarnation,
            name: self.place.name.clone(),
            address: self.place.address.clone(),
            draining: self.placement.is_draining(),
            until: Timestamp(0),
        };
        match self.in_time(self.place.members.beat(member)).await {
            Ok(roster) => {
                self.placement.roster(&roster.members, roster.now);
                self.members = roster.members;
            }
            Err(error) => tracing::warn!(%error, "the heartbeat was not answered"),
        }
        self.beat_due = self.now().plus_ms(self.ttl / limits::BEATS_A_LEASE);
    }

    async fn renew(&mut self) {
        let shards: Vec<ShardId> = self.until.keys().copied().collect();
        if !shards.is_empty() {
            let call = self.store().renew(self.incarnation, shards.clone());
            match self.in_time(call).await {
                Ok(answers) => {
                    for (shard, answer) in shards.into_iter().zip(answers) {
                        self.renewed(shard, answer);
                    }
                }
                Err(error) => tracing::warn!(%error, "leases were not prolonged"),
            }
        }
        self.renew_due = self.now().plus_ms(self.ttl / limits::RENEWALS_A_LEASE);
    }

    fn renewed(&mut self, shard: ShardId, answer: Renewed) {
        match answer {
            Renewed::Until(until) => {
                self.until.insert(shard, until);
            }
            Renewed::Lost => {
                self.until.insert(shard, Timestamp(0));
            }
            Renewed::Unknown => {}
        }
    }

    /// Ends shards whose leases are over; they are claimed again once the store lets it.
    fn end_lost(&mut self) {
        let now = self.now();
        let over = self.until.iter().filter(|(_, until)| **until <= now);
        for shard in over.map(|(shard, _)| *shard).collect::<Vec<_>>() {
            tracing::warn!(%shard, "the lease is over, the shard ends here");
            tell(&self.node, NodeMessage::CutOff(shard));
            self.gone(shard, now);
        }
    }

    fn gone(&mut self, shard: ShardId, now: Timestamp) {
        self.until.remove(&shard);
        self.placement.gone(shard, now);
    }

    async fn take_steps(&mut self) {
        let steps = self.placement.steps(self.now());
        for shard in steps.hand_over {
            tell(&self.node, NodeMessage::HandOver(shard));
        }
        for shard in steps.cut_off {
            tracing::warn!(%shard, "the shard does not end in order, it is cut off");
            tell(&self.node, NodeMessage::CutOff(shard));
            let released = self.in_time(self.store().release(shard, self.incarnation)).await;
            if let Err(error) = released {
                tracing::warn!(%shard, %error, "the lease was not given back, it runs out");
            }
            self.gone(shard, self.now());
        }
        if steps.look.is_empty() {
            return;
        }
        match self.in_time(self.store().leases(steps.look.clone())).await {
            Ok(leases) => {
                let now = self.now();
                for (shard, lease) in steps.look.into_iter().zip(leases) {
                    if self.placement.seen(shard, &lease, now) {
                        tell(&self.node, NodeMessage::StartShard(shard));
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "leases could not be looked at"),
        }
    }

    fn show(&self) {
        let holdings = Holdings {
            members: self.members.clone(),
            held: self.placement.held().collect(),
            draining: self.placement.is_draining(),
            first: self.placement.is_first(),
        };
        self.holdings.send_if_modified(|shown| {
            let is_new = *shown != holdings;
            *shown = holdings;
            is_new
        });
    }

    /// Wakes at the next moment that something is due: a member whose word ends is known to be dead
    /// at once, not a heartbeat later.
    fn set_wake(&mut self, myself: &ActorRef<MembershipMessage>) {
        let now = self.now();
        let others = self.members.iter().filter(|member| member.incarnation != self.incarnation);
        let silent = others.map(|member| member.until).filter(|until| *until > now).min();
        if silent.is_some_and(|silent| silent < self.beat_due) {
            self.beat_due = silent.unwrap_or(now);
        }
        let leases = self.until.values().copied().min();
        let dues = [Some(self.beat_due), Some(self.renew_due), leases, self.placement.next_due()];
        let Some(due) = dues.into_iter().flatten().min() else { return };
        if self.wake_set.is_some_and(|set| set > now && set <= due) {
            return;
        }
        self.wake_set = Some(due);
        let wait = Duration::from_millis(due.0.saturating_sub(now.0).max(1));
        let myself = myself.clone();
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            if myself.send_message(MembershipMessage::Wake(due)).is_err() {
                tracing::trace!("the node is gone");
            }
        });
    }
}
