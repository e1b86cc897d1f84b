//! Data keys, in a hash a shard. A destroyed key is gone from the server's memory at once, and from
//! its append-only file when that is rewritten, to which the module `erasure` sees.

use super::error::strange;
use super::{RedisStore, function, limits, prefix, value};
use gristmill_actors::ports::{KeyStore, StoreError};
use gristmill_actors::rail::BoxFuture;
use gristmill_workflows::entry::DataKey;
use gristmill_workflows::id::ShardId;
use redis::{Cmd, Pipeline, Value};
use std::collections::BTreeMap;

/// A slot's number is its shard above this many bits of its number in the shard.
const NUMBER_BITS: u32 = 48;

/// A slot's number in its shard.
pub(super) const fn number(slot: u64) -> u64 {
    slot & ((1 << NUMBER_BITS) - 1)
}

/// The slot of a number in a shard.
pub(super) fn slot(shard: ShardId, number: u64) -> u64 {
    u64::from(shard.0) << NUMBER_BITS | number
}

/// Slots by shard: their positions among those asked for, and their numbers.
fn by_shard(slots: &[u64]) -> BTreeMap<ShardId, Vec<(usize, u64)>> {
    let mut shards: BTreeMap<ShardId, Vec<(usize, u64)>> = BTreeMap::new();
    for (position, slot) in slots.iter().enumerate() {
        // 64 - 48 bits are 16 bits.
        let shard = ShardId((slot >> NUMBER_BITS) as u16);
        shards.entry(shard).or_default().push((position, number(*slot)));
    }
    shards
}

/// Whether all these slots were given out, by the highest that was.
fn all_given(shard: ShardId, given: Value, numbers: &[(usize, u64)]) -> Result<(), StoreError> {
    let given = value::maybe(given, "slots")?;
    let given = given.map_or(Ok(0), |given| value::decimal(&given, "slots"))?;
    match numbers.iter().find(|(_, number)| *number == 0 || *number > given) {
        Some((_, number)) => {
            Err(StoreError::Damaged { detail: format!("shard {shard} has no slot {number}") })
        }
        None => Ok(()),
    }
}

impl RedisStore {
    async fn new_slots(&self, shard: ShardId, count: usize) -> Result<Vec<u64>, StoreError> {
        let mut slots = Vec::with_capacity(count);
        while slots.len() < count {
            let part = (count - slots.len()).min(limits::ROWS_MAX);
            let mut bytes = vec![0; part * 32];
            getrandom::fill(&mut bytes)
                .map_err(|error| StoreError::Unavailable { detail: error.to_string() })?;
            let mut call = function("gm2_allocate", &prefix(shard));
            bytes.as_chunks::<32>().0.iter().for_each(|key| {
                call.arg(&key[..]);
            });
            let first = value::number(self.write(&call).await?, "new slots")?;
            slots.extend((first..first + part as u64).map(|number| slot(shard, number)));
        }
        Ok(slots)
    }

    /// One command about slots of one shard, once it is sure that all of them were given out.
    async fn on_slots(
        &self,
        shard: ShardId,
        command: Cmd,
        numbers: &[(usize, u64)],
    ) -> Result<Value, StoreError> {
        let mut commands = Pipeline::new();
        let mut given = redis::cmd("HGET");
        given.arg(format!("{}:head", prefix(shard))).arg("slots");
        commands.add_command(given);
        commands.add_command(command);
        let answers = self.link.pipe(&commands).await?;
        let [given, answer]: [Value; 2] = answers.try_into().map_err(|_| strange("slots"))?;
        all_given(shard, given, numbers)?;
        Ok(answer)
    }

    async fn read_keys(&self, slots: &[u64]) -> Result<Vec<Option<DataKey>>, StoreError> {
        let mut keys = vec![None; slots.len()];
        for (shard, numbers) in by_shard(slots) {
            for part in numbers.chunks(limits::ROWS_MAX) {
                let mut read = redis::cmd("HMGET");
                read.arg(format!("{}:keys", prefix(shard)));
                part.iter().for_each(|(_, number)| {
                    read.arg(number);
                });
                let answer = self.on_slots(shard, read, part).await?;
                for ((position, _), key) in part.iter().zip(value::array(answer, "keys")?) {
                    let key = value::maybe(key, "keys")?.map(<[u8; 32]>::try_from);
                    let key = key.transpose().map_err(|_| strange("keys"))?;
                    keys[*position] = key.map(DataKey);
                }
            }
        }
        Ok(keys)
    }

    async fn destroy_keys(&self, slots: &[u64]) -> Result<(), StoreError> {
        for (shard, numbers) in by_shard(slots) {
            for part in numbers.chunks(limits::ROWS_MAX) {
                let mut destroy = function("gm2_destroy", &prefix(shard));
                part.iter().for_each(|(_, number)| {
                    destroy.arg(number);
                });
                all_given(shard, self.write(&destroy).await?, part)?;
            }
        }
        Ok(())
    }
}

impl KeyStore for RedisStore {
    fn allocate(
        &self,
        shard: ShardId,
        count: usize,
    ) -> BoxFuture<'_, Result<Vec<u64>, StoreError>> {
        Box::pin(self.new_slots(shard, count))
    }

    fn keys(&self, slots: Vec<u64>) -> BoxFuture<'_, Result<Vec<Option<DataKey>>, StoreError>> {
        Box::pin(async move { self.read_keys(&slots).await })
    }

    fn destroy(&self, slots: Vec<u64>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { self.destroy_keys(&slots).await })
    }
}
