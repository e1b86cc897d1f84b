//! Verbs on the nodes that share a store.

use super::answer;
use crate::app::{Failure, configure};
use crate::cli::Shared;
use crate::redis_store::RedisStore;
use crate::shared_store;
use gristmill_actors::ports::{Membership, ShardStore, StoreError};
use gristmill_workflows::id::ShardId;
use serde::Serialize;
use std::collections::BTreeMap;

/// One node, as printed.
#[derive(Debug, Serialize)]
struct Node {
    incarnation: String,
    name: String,
    address: String,
    state: &'static str,
    shards: usize,
}

/// One shard, as printed.
#[derive(Debug, Serialize)]
struct Shard {
    shard: u16,
    node: Option<String>,
    epoch: u64,
    /// For how many seconds a destroyed data key has waited to leave the append-only file.
    unerased_s: Option<u64>,
}

async fn open(args: &Shared) -> Result<RedisStore, Failure> {
    if args.shared.store.is_none() {
        return Err(Failure { code: 2, text: "--store is needed".to_owned() });
    }
    let config = configure(None, None)?;
    let store = shared_store::connect(&config, &args.shared, Vec::new()).await;
    store.map_err(|error| Failure::new(error.exit_code(), &error))
}

/// Every shard, and who holds its lease now.
async fn held(store: &RedisStore) -> Result<Vec<Shard>, StoreError> {
    let roster = store.roster().await?;
    let shards: Vec<ShardId> = (0..store.shards()).map(ShardId).collect();
    let leases = store.leases(shards.clone()).await?;
    let unerased = store.unerased().await?;
    let name = |owner: u128| {
        let known = roster.members.iter().find(|member| member.incarnation == owner);
        known.map_or_else(|| format!("{owner:032x}"), |member| member.name.clone())
    };
    let shard = |(shard, lease): (ShardId, gristmill_workflows::lease::Lease)| Shard {
        shard: shard.0,
        node: lease.is_held(roster.now).then(|| name(lease.owner)),
        epoch: lease.epoch,
        unerased_s: unerased.get(&shard).map(|since| roster.now.0.saturating_sub(since.0) / 1000),
    };
    Ok(shards.into_iter().zip(leases).map(shard).collect())
}

pub(super) async fn nodes(args: &Shared) -> Result<u8, Failure> {
    let store = open(args).await?;
    let roster = store.roster().await.map_err(|error| Failure::new(4, &error))?;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for shard in held(&store).await.map_err(|error| Failure::new(4, &error))? {
        *counts.entry(shard.node.unwrap_or_default()).or_default() += 1;
    }
    let node = |member: gristmill_workflows::placement::Member| Node {
        incarnation: format!("{:032x}", member.incarnation),
        state: if member.draining { "draining" } else { "up" },
        shards: counts.get(&member.name).copied().unwrap_or(0),
        name: member.name,
        address: member.address,
    };
    let nodes: Vec<Node> = roster.members.into_iter().map(node).collect();
    let line = |node: &Node| {
        let Node { incarnation, name, address, state, shards } = node;
        format!("{name}  {state}  {shards} shards  {address}  {incarnation}")
    };
    let lines: Vec<String> = nodes.iter().map(line).collect();
    answer(args.output, &nodes, &lines)?;
    Ok(0)
}

pub(super) async fn shards(args: &Shared) -> Result<u8, Failure> {
    let store = open(args).await?;
    let shards = held(&store).await.map_err(|error| Failure::new(4, &error))?;
    let line = |shard: &Shard| {
        let node = shard.node.as_deref().unwrap_or("nobody");
        let unerased = shard.unerased_s.map_or_else(String::new, |seconds| {
            format!("  a data key destroyed {seconds} s ago is in the append-only file still")
        });
        format!("{:04}  {node}  epoch {}{unerased}", shard.shard, shard.epoch)
    };
    let lines: Vec<String> = shards.iter().map(line).collect();
    answer(args.output, &shards, &lines)?;
    Ok(0)
}

pub(super) async fn drain(node: &str, args: &Shared) -> Result<u8, Failure> {
    let store = open(args).await?;
    let members = store.roster().await.map_err(|error| Failure::new(4, &error))?.members;
    let is_it = |incarnation: u128| format!("{incarnation:032x}") == node;
    let named = members.iter().find(|it| it.name == node || is_it(it.incarnation));
    let Some(named) = named else {
        return Err(Failure { code: 1, text: format!("no node {node} is up") });
    };
    let asked =
        store.ask_drain(named.incarnation).await.map_err(|error| Failure::new(4, &error))?;
    let line = format!("{} was asked to hand its shards over", named.name);
    answer(args.output, &asked, &[line])?;
    Ok(u8::from(!asked))
}
