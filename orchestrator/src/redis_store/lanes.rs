//! Both lanes of an inbox, with what their reader needs, in one request.

use super::error::strange;
use super::rows::Numbered;
use super::{RedisStore, data_keys, encoding, function, owner_text, prefix, value};
use gristmill_actors::ports::{Fetch, Lanes, StoreError, StoredContributor};
use gristmill_workflows::entry::DataKey;
use gristmill_workflows::id::{Arrival, ContributorKey, ShardId};
use redis::{Cmd, Value};

const WHAT: &str = "a read of an inbox";

fn lane(call: &mut Cmd, (after, limit): (Option<Arrival>, usize)) {
    call.arg(after.map_or_else(String::new, |after| after.to_string())).arg(limit);
}

fn items(answer: Value) -> Result<Numbered, StoreError> {
    let item = |(number, item)| Ok((value::number(number, WHAT)?, value::bytes(item, WHAT)?));
    value::pairs(answer, WHAT)?.into_iter().map(item).collect()
}

impl RedisStore {
    pub(super) async fn read_lanes(
        &self,
        shard: ShardId,
        fetch: Fetch,
    ) -> Result<Lanes, StoreError> {
        self.check_shard(shard)?;
        let mut call = function("gm2_fetch", &prefix(shard));
        call.arg(owner_text(fetch.owner)).arg(fetch.epoch).arg(u8::from(fetch.notes));
        lane(&mut call, fetch.control);
        lane(&mut call, fetch.intake);
        let known = self.progress.of(shard, fetch.epoch, |known| known.sent += 1);
        call.arg(known.read).arg(known.seq).arg(known.sent);
        let mut parts = value::array(self.write(&call).await?, WHAT)?.into_iter();
        let mut next = || parts.next().ok_or_else(|| strange(WHAT));
        if value::bytes(next()?, WHAT)? != b"fetched" {
            return Err(StoreError::Fenced { shard });
        }
        let arrived = Some(value::number(next()?, WHAT)?);
        let given = value::number(next()?, WHAT)?;
        let (control, intake) = (items(next()?)?, items(next()?)?);
        if !control.is_empty() || !intake.is_empty() {
            let read = known.sent;
            self.progress.of(shard, fetch.epoch, |known| known.read = known.read.max(read));
        }
        let contributors = contributors(next()?, next()?, next()?)?;
        let data_keys = keys(shard, given, next()?, next()?)?;
        let noted = fetch.notes;
        Ok(Lanes { control, intake, noted, arrived, contributors, data_keys })
    }
}

/// Rows and marks by name; no marks at all if nobody has any.
fn contributors(
    names: Value,
    rows: Value,
    marks: Value,
) -> Result<Vec<(ContributorKey, StoredContributor)>, StoreError> {
    let mut marks = value::array(marks, WHAT)?.into_iter();
    let rows = value::array(rows, WHAT)?;
    let mut found = Vec::with_capacity(rows.len());
    for (name, row) in value::array(names, WHAT)?.into_iter().zip(rows) {
        let name = value::bytes(name, WHAT)?.try_into().map_err(|_| strange(WHAT))?;
        let marks = value::maybe(marks.next().unwrap_or_default(), WHAT)?;
        let marks = marks.as_deref().map_or(Ok(Vec::new()), encoding::marks)?;
        let row = value::maybe(row, WHAT)?;
        found.push((ContributorKey(name), StoredContributor { row, marks }));
    }
    Ok(found)
}

/// Keys by slot; a slot that was never given out is damage.
fn keys(
    shard: ShardId,
    given: u64,
    slots: Value,
    keys: Value,
) -> Result<Vec<(u64, Option<DataKey>)>, StoreError> {
    let mut found = Vec::new();
    for (slot, key) in value::array(slots, WHAT)?.into_iter().zip(value::array(keys, WHAT)?) {
        let number = value::number(slot, WHAT)?;
        if number == 0 || number > given {
            let detail = format!("shard {shard} has no slot {number}");
            return Err(StoreError::Damaged { detail });
        }
        let key = value::maybe(key, WHAT)?.map(<[u8; 32]>::try_from);
        let key = key.transpose().map_err(|_| strange(WHAT))?;
        found.push((data_keys::slot(shard, number), key.map(DataKey)));
    }
    Ok(found)
}
