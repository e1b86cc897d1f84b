//! Reads of a shard's rows.

use super::error::strange;
use super::{RedisStore, encoding, limits, prefix, reading, value};
use gristmill_actors::ports::{Loaded, StoreError, StoredContributor, StoredJourney};
use gristmill_workflows::commit::Place;
use gristmill_workflows::id::{Arrival, ContributorKey, ShardId};
use gristmill_workflows::inbox::Lane;
use gristmill_workflows::time::Timestamp;
use redis::{Cmd, Pipeline, Value};

pub(super) type Numbered = Vec<(u64, Vec<u8>)>;

const fn lane_name(lane: Lane) -> &'static str {
    match lane {
        Lane::Control => "control",
        Lane::Intake => "intake",
    }
}

fn on(name: &str, shard: ShardId, suffix: &str) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(format!("{}:{suffix}", prefix(shard)));
    command
}

/// Fields of a hash by name, one answer a name.
fn fields<'n>(shard: ShardId, suffix: &str, names: impl Iterator<Item = &'n [u8]>) -> Cmd {
    let mut command = on("HMGET", shard, suffix);
    names.for_each(|name| {
        command.arg(name);
    });
    command
}

/// The arrival number in an entry's id.
fn arrival(id: &str) -> Result<Arrival, StoreError> {
    let number = id.split_once('-').ok_or_else(|| strange("an inbox"))?.0;
    value::decimal(number.as_bytes(), "an inbox")
}

/// The entries of a stream: ids of which only the first part counts, and one field each.
fn entries(answer: Value) -> Result<Numbered, StoreError> {
    let entry = |entry: Value| {
        let mut parts = value::array(entry, "an inbox")?.into_iter();
        let (Some(id), Some(fields)) = (parts.next(), parts.next()) else {
            return Err(strange("an inbox"));
        };
        let id = value::text(id, "an inbox")?;
        let item = value::array(fields, "an inbox")?.into_iter().nth(1);
        let item = item.ok_or_else(|| strange("an inbox"))?;
        Ok((arrival(&id)?, value::bytes(item, "an inbox")?))
    };
    value::array(answer, "an inbox")?.into_iter().map(entry).collect()
}

impl RedisStore {
    pub(super) async fn read_load(&self, shard: ShardId) -> Result<Loaded, StoreError> {
        self.check_shard(shard)?;
        let mut commands = Pipeline::new();
        commands.add_command(on("HMGET", shard, "head").arg(&["state", "admitted"]).clone());
        commands.add_command(on("HGETALL", shard, "outbox"));
        commands.add_command(on("SMEMBERS", shard, "erasures"));
        commands.add_command(on("SMEMBERS", shard, "noted"));
        let answers: [Value; 4] =
            self.link.pipe(&commands).await?.try_into().map_err(|_| strange("a load"))?;
        let [head, outbox, erasures, noted] = answers;
        let mut head = value::array(head, "a load")?.into_iter();
        let mut next = || value::maybe(head.next().unwrap_or_default(), "a load");
        let (state, admitted) = (next()?, next()?);
        let row = |(position, row)| {
            Ok((value::number(position, "an outbox")?, value::bytes(row, "an outbox")?))
        };
        let outbox: Result<Numbered, StoreError> =
            value::pairs(outbox, "an outbox")?.into_iter().map(row).collect();
        let mut outbox = outbox?;
        outbox.sort_unstable_by_key(|(position, _)| *position);
        let slots = value::array(erasures, "erasures")?.into_iter();
        let slots: Result<Vec<u64>, _> =
            slots.map(|slot| value::number(slot, "erasures")).collect();
        let mut erasures = slots?;
        erasures.sort_unstable();
        let noted = value::array(noted, "noted items")?.into_iter();
        let noted: Result<Vec<u64>, _> =
            noted.map(|id| arrival(&value::text(id, "noted items")?)).collect();
        let mut noted = noted?;
        noted.sort_unstable();
        Ok(Loaded { state, admitted, outbox, erasures, noted })
    }

    pub(super) async fn read_inbox(
        &self,
        shard: ShardId,
        lane: Lane,
        after: Option<Arrival>,
        limit: usize,
    ) -> Result<Numbered, StoreError> {
        self.check_shard(shard)?;
        let from = after.map_or_else(|| "-".to_owned(), |after| format!("({after}-0"));
        let mut command = on("XRANGE", shard, lane_name(lane));
        command.arg(from).arg("+").arg("COUNT").arg(limit);
        // Nothing lies above the highest id, and the server says so by an error.
        if after == Some(Arrival::MAX) {
            Ok(Vec::new())
        } else {
            entries(self.link.call(&command).await?)
        }
    }

    pub(super) async fn read_inbox_items(
        &self,
        shard: ShardId,
        arrivals: Vec<Arrival>,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.check_shard(shard)?;
        let mut items = Vec::with_capacity(arrivals.len());
        for part in arrivals.chunks(limits::ROWS_MAX / 2) {
            let mut commands = Pipeline::new();
            for arrival in part {
                for lane in [Lane::Intake, Lane::Control] {
                    let mut command = on("XRANGE", shard, lane_name(lane));
                    command.arg(format!("{arrival}-0")).arg(format!("{arrival}-0"));
                    commands.add_command(command);
                }
            }
            let mut answers = self.link.pipe(&commands).await?.into_iter();
            while let (Some(intake), Some(control)) = (answers.next(), answers.next()) {
                let found = entries(intake)?.pop().or(entries(control)?.pop());
                items.push(found.map(|(_, item)| item));
            }
        }
        Ok(items)
    }

    pub(super) async fn read_queued(&self, shard: ShardId) -> Result<u64, StoreError> {
        self.check_shard(shard)?;
        let command = on("XLEN", shard, lane_name(Lane::Intake));
        value::number(self.link.call(&command).await?, "the length of an inbox")
    }

    pub(super) async fn read_contributors(
        &self,
        shard: ShardId,
        keys: Vec<ContributorKey>,
    ) -> Result<Vec<StoredContributor>, StoreError> {
        self.check_shard(shard)?;
        let mut found = Vec::with_capacity(keys.len());
        for part in keys.chunks(limits::ROWS_MAX) {
            let names = || part.iter().map(|key| &key.0[..]);
            let mut commands = Pipeline::new();
            commands.add_command(fields(shard, "people", names()));
            commands.add_command(fields(shard, "marks", names()));
            let answers = self.link.pipe(&commands).await?;
            let [rows, marks]: [Value; 2] =
                answers.try_into().map_err(|_| strange("contributors"))?;
            let rows = value::array(rows, "contributors")?.into_iter();
            for (row, marks) in rows.zip(value::array(marks, "marks")?) {
                let marks = value::maybe(marks, "marks")?;
                let marks = marks.as_deref().map_or(Ok(Vec::new()), encoding::marks)?;
                found.push(StoredContributor { row: value::maybe(row, "contributors")?, marks });
            }
        }
        Ok(found)
    }

    /// A journey only moves from the active to the finished ones, so one that moves between the two
    /// looks is found by the second.
    pub(super) async fn read_journeys(
        &self,
        shard: ShardId,
        arrivals: Vec<Arrival>,
    ) -> Result<Vec<Option<StoredJourney>>, StoreError> {
        self.check_shard(shard)?;
        let mut journeys = Vec::with_capacity(arrivals.len());
        for part in arrivals.chunks(limits::ROWS_MAX) {
            let mut commands = Pipeline::new();
            commands.add_command(on("HMGET", shard, "active").arg(part).clone());
            commands.add_command(on("HMGET", shard, "finished").arg(part).clone());
            let answers = self.link.pipe(&commands).await?;
            let [active, finished]: [Value; 2] =
                answers.try_into().map_err(|_| strange("journeys"))?;
            let active = value::array(active, "journeys")?.into_iter();
            for (active, finished) in active.zip(value::array(finished, "journeys")?) {
                let of = |place| move |row| StoredJourney { place, row };
                let active = value::maybe(active, "journeys")?.map(of(Place::Active));
                let finished = value::maybe(finished, "journeys")?.map(of(Place::Finished));
                journeys.push(active.or(finished));
            }
        }
        Ok(journeys)
    }

    pub(super) async fn read_known(
        &self,
        shard: ShardId,
        identities: Vec<[u8; 16]>,
    ) -> Result<Vec<Option<(Arrival, [u8; 16])>>, StoreError> {
        self.check_shard(shard)?;
        let mut found = Vec::with_capacity(identities.len());
        for part in identities.chunks(limits::ROWS_MAX) {
            let command = fields(shard, "known", part.iter().map(|name| &name[..]));
            for row in value::array(self.link.call(&command).await?, "identities")? {
                let row = value::maybe(row, "identities")?;
                found.push(row.as_deref().map(encoding::known).transpose()?);
            }
        }
        Ok(found)
    }

    pub(super) async fn read_timers(
        &self,
        shard: ShardId,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<(Timestamp, Arrival)>, StoreError> {
        self.check_shard(shard)?;
        let mut command = on("ZRANGEBYSCORE", shard, "timers");
        command.arg("-inf").arg(until.0).arg("LIMIT").arg(0).arg(limit);
        let mut timers = Vec::new();
        for member in value::array(self.link.call(&command).await?, "timers")? {
            let member = value::bytes(member, "timers")?;
            let whose = member.get(8..).and_then(value::leading);
            let (due, whose) =
                value::leading(&member).zip(whose).ok_or_else(|| strange("timers"))?;
            timers.push((Timestamp(due), whose));
        }
        Ok(timers)
    }

    pub(super) async fn read_sequenced(
        &self,
        shard: ShardId,
        position: u64,
    ) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        self.check_shard(shard)?;
        let mut command = on("ZREVRANGEBYSCORE", shard, "sequenced");
        command.arg(position).arg("-inf").arg("LIMIT").arg(0).arg(1);
        let found = value::array(self.link.call(&command).await?, "sequenced rows")?.pop();
        let Some(member) = found else { return Ok(None) };
        let mut member = value::bytes(member, "sequenced rows")?;
        let first = value::leading(&member).ok_or_else(|| strange("sequenced rows"))?;
        Ok(Some((first, member.split_off(8))))
    }

    pub(super) async fn read_page(
        &self,
        shard: ShardId,
        place: Place,
        after: Option<Arrival>,
        limit: usize,
    ) -> Result<Numbered, StoreError> {
        self.check_shard(shard)?;
        let mut call = reading("gm2_page", &prefix(shard));
        call.arg(match place {
            Place::Active => "active",
            Place::Finished => "finished",
        });
        call.arg(after.map_or_else(String::new, |after| after.to_string()));
        call.arg(limit.min(limits::ROWS_MAX));
        let pairs = value::pairs(self.link.call(&call).await?, "a page")?;
        let row =
            |(number, row)| Ok((value::number(number, "a page")?, value::bytes(row, "a page")?));
        pairs.into_iter().map(row).collect()
    }
}
