//! Who is there, and what nodes tell each other over one channel.

use super::error::strange;
use super::link::{self, Link};
use super::{RedisStore, function, limits, owner_text, reading, value};
use gristmill_actors::ports::{Membership, Notice, Roster, StoreError};
use gristmill_actors::rail::BoxFuture;
use gristmill_workflows::id::ShardId;
use gristmill_workflows::placement::Member;
use gristmill_workflows::time::Timestamp;
use redis::Value;
use redis::aio::PubSubStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

const MEMBERS: &str = "{gm}:members";
/// The notice that the roster changed.
const CHANGED: &str = "m";

fn heard(message: &[u8]) -> Option<Notice> {
    let (kind, rest) = message.split_first()?;
    let shard = || std::str::from_utf8(rest).ok()?.parse().ok().map(ShardId);
    match kind {
        b'g' => {
            let (shard, arrived) = std::str::from_utf8(rest).ok()?.split_once(':')?;
            Some(Notice::Grew(ShardId(shard.parse().ok()?), arrived.parse().ok()?))
        }
        b'r' => shard().map(Notice::Released),
        b'm' => Some(Notice::Roster),
        _ => None,
    }
}

/// Forwards notices, over one subscription after the other. What is missed between two of them is
/// made up for by the sweeps of shards and by heartbeats.
pub(super) fn listen(
    link: Arc<Link>,
    channel: String,
    notices: broadcast::Sender<Notice>,
    mut messages: PubSubStream,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            while let Some(message) = link::next(&mut messages).await {
                if let Some(notice) = heard(&message) {
                    tell(&notices, notice);
                }
            }
            tracing::warn!("the subscription to other nodes' notices broke");
            messages = subscribed(&link, &channel).await;
            tell(&notices, Notice::Roster);
        }
    })
}

/// A new subscription, however long that takes.
async fn subscribed(link: &Link, channel: &str) -> PubSubStream {
    let mut wait = limits::SUBSCRIBE_AFTER;
    loop {
        tokio::time::sleep(wait).await;
        match link.subscribe(channel).await {
            Ok(messages) => return messages,
            Err(error) => tracing::warn!(%error, "other nodes' notices cannot be heard"),
        }
        wait = (wait * 2).min(limits::SUBSCRIBE_AFTER_MAX);
    }
}

/// Nobody being there to hear it is fine.
fn tell(notices: &broadcast::Sender<Notice>, notice: Notice) {
    drop(notices.send(notice));
}

impl RedisStore {
    /// `now`, then incarnation, end, whether it drains, and what it tells, for each.
    fn roster_of(&self, answer: Value, since: Instant) -> Result<Roster, StoreError> {
        let mut parts = value::array(answer, "a roster")?.into_iter();
        let now = value::number(parts.next().unwrap_or_default(), "a roster")?;
        self.clock.read(now, since);
        let mut members = Vec::new();
        while let Some(incarnation) = parts.next() {
            let mut next = || parts.next().ok_or_else(|| strange("a roster"));
            let incarnation = value::incarnation(&value::bytes(incarnation, "a roster")?);
            let until = Timestamp(value::number(next()?, "a roster")?);
            let draining = value::bytes(next()?, "a roster")? == b"1";
            let told = value::text(next()?, "a roster")?;
            let (name, address) = told.split_once('\n').ok_or_else(|| strange("a roster"))?;
            let (name, address) = (name.to_owned(), address.to_owned());
            let incarnation = incarnation.ok_or_else(|| strange("a roster"))?;
            members.push(Member { incarnation, name, address, draining, until });
        }
        members.sort_unstable_by_key(|member| member.incarnation);
        Ok(Roster { now: Timestamp(now), members })
    }
}

impl Membership for RedisStore {
    fn lease_ttl(&self) -> Duration {
        self.lease_ttl
    }

    fn beat(&self, member: Member) -> BoxFuture<'_, Result<Roster, StoreError>> {
        Box::pin(async move {
            let mut call = function("gm2_beat", MEMBERS);
            call.arg(owner_text(member.incarnation)).arg(u8::from(member.draining));
            call.arg(format!("{}\n{}", member.name.replace('\n', " "), member.address));
            call.arg(self.ttl_ms()).arg(&self.channel).arg(CHANGED);
            let since = Instant::now();
            self.roster_of(self.write(&call).await?, since)
        })
    }

    fn roster(&self) -> BoxFuture<'_, Result<Roster, StoreError>> {
        Box::pin(async move {
            let since = Instant::now();
            self.roster_of(self.link.call(&reading("gm2_roster", MEMBERS)).await?, since)
        })
    }

    fn leave(&self, incarnation: u128) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let mut call = function("gm2_leave", MEMBERS);
            call.arg(owner_text(incarnation)).arg(&self.channel).arg(CHANGED);
            self.link.call(&call).await.map(drop)
        })
    }

    fn ask_drain(&self, incarnation: u128) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            let mut call = function("gm2_drain", MEMBERS);
            call.arg(owner_text(incarnation)).arg(&self.channel).arg(CHANGED);
            Ok(value::number(self.write(&call).await?, "a request to drain")? == 1)
        })
    }

    fn notices(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }
}
