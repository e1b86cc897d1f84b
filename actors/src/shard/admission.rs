//! Letting inbox items in: control lane first, contributions by permits.

use super::{Desk, Error, ShardMessage, State};
use crate::contribution::tell;
use crate::engine::Ports;
use crate::limits;
use crate::metrics;
use crate::ports::{Fetch, Lanes, StoreError, StoredContributor};
use gristmill_workflows::codec::{self, decode};
use gristmill_workflows::contributor::Contributor;
use gristmill_workflows::entry::DataKey;
use gristmill_workflows::id::{Arrival, ContributorKey, IdKey, ShardId};
use gristmill_workflows::inbox::Item;
use gristmill_workflows::submission::{Mark, Submission};
use gristmill_workflows::teeth::{Tooth, bites};
use ractor::ActorRef;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// How far the lanes were read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cursors {
    pub(super) control: Option<Arrival>,
    intake: Option<Arrival>,
}

/// What one read of the inbox brought.
#[derive(Debug, Default)]
pub struct Fetched {
    control: Vec<(Arrival, Item)>,
    intake: Vec<(Arrival, ContributorKey, Submission)>,
    contributors: HashMap<ContributorKey, Contributor>,
    data_keys: HashMap<u64, Option<DataKey>>,
    /// The suspect that was asked for.
    alone: Option<Arrival>,
    /// The control lane may hold more.
    more_control: bool,
    /// The intake lane may hold more.
    more_intake: bool,
    /// The store noted what of the intake lane was read.
    noted: bool,
    /// Both lanes were read in one step, after this arrival number was given out.
    arrived: Option<Arrival>,
    /// The intake lane was read, too.
    both: bool,
}

struct Reader {
    ports: Ports,
    key: IdKey,
    shard: ShardId,
    cursors: Cursors,
    room: usize,
    alone: Option<Arrival>,
    owner: u128,
    epoch: u64,
    /// Whose rows need not be read: they stay in memory for as long as this reads.
    residents: Arc<HashSet<ContributorKey>>,
}

impl State {
    /// Something was put into the inbox, in whichever lane, up to this arrival number if that is
    /// known: what was read is not read for again.
    pub(super) fn inbox_grew(&mut self, arrived: Option<Arrival>) {
        match arrived {
            Some(arrived) if arrived <= self.seen => {}
            Some(arrived) if self.fetching => self.told = self.told.max(arrived),
            _ => {
                self.control_grew = true;
                self.intake_grew = true;
            }
        }
    }

    /// How many contributions may be let in now. Small reads cost as much as large ones, so it is
    /// none until a quarter of the window is free; the control lane does not wait for that.
    fn room(&self) -> usize {
        let batch = self.window.min(limits::INBOX_BATCH);
        let room = self.permits().min(batch);
        let alone = !self.suspects.is_empty() || self.alone.is_some();
        if alone || !self.intake_grew || room * 4 < batch { 0 } else { room }
    }

    /// Reads the inbox if it may have grown and there is room.
    pub(super) fn start_fetch(&mut self, myself: &ActorRef<ShardMessage>) {
        let busy = self.fetching || self.is_full() || self.desk.len() >= limits::DESK_MAX;
        if busy || self.draining {
            return;
        }
        if self.engine.pauses.close_the_entrance() {
            self.intake_grew = false;
        }
        let room = self.room();
        let free = self.alone.is_none() && self.intake_grew;
        let alone = self.suspects.front().filter(|_| free).map(|(arrival, _)| *arrival);
        let wants_intake = room > 0 || alone.is_some();
        if !self.control_grew && !wants_intake {
            return;
        }
        self.control_grew = false;
        self.intake_grew &= !wants_intake;
        self.fetching = true;
        let reader = Reader {
            ports: self.engine.ports.clone(),
            key: self.engine.world.key.clone(),
            shard: self.id,
            cursors: self.cursors,
            room,
            alone,
            owner: self.owner,
            epoch: self.epoch,
            residents: self.machine.residents(),
        };
        let (ports, myself) = (self.engine.ports.clone(), myself.clone());
        ports.spawn_read(async move {
            let fetched = reader.read().await;
            tell(&myself, ShardMessage::Fetched(Box::new(fetched)));
        });
    }

    pub(super) async fn on_fetched(
        &mut self,
        myself: &ActorRef<ShardMessage>,
        fetched: Result<Fetched, Error>,
    ) -> Result<(), Error> {
        self.fetching = false;
        let told = std::mem::take(&mut self.told);
        let mut fetched = match fetched {
            Err(Error::Store(error)) if error.is_retryable() => {
                tracing::warn!(shard = %self.id, %error, "the inbox could not be read");
                if told > self.seen {
                    self.inbox_grew(None);
                }
                return Ok(());
            }
            other => other?,
        };
        self.control_grew |= fetched.more_control;
        self.intake_grew |= fetched.more_intake;
        self.read_up_to(&fetched, told);
        for (arrival, item) in std::mem::take(&mut fetched.control) {
            self.cursors.control = Some(arrival);
            self.control(arrival, item, &fetched.contributors);
        }
        self.read_announced();
        if !fetched.more_control {
            let starts = self.let_in(fetched)?;
            for arrival in starts {
                self.run(myself, arrival).await;
            }
        }
        // What is at the desk may have been read before the last commits.
        let durable = if self.at_desk.is_some() { self.reads.began } else { self.committed_seals };
        let shards = usize::from(self.engine.world.shards);
        self.machine.evict(durable, limits::RESIDENTS / shards);
        Ok(())
    }

    /// How far everything that came was read.
    fn read_up_to(&mut self, fetched: &Fetched, told: Arrival) {
        let Some(arrived) = fetched.arrived else {
            if told > 0 {
                self.inbox_grew(None);
            }
            return;
        };
        // What came to the intake lane meanwhile is seen, and was not read.
        self.intake_grew |= !fetched.both && arrived > self.seen;
        self.seen = self.seen.max(arrived);
        if told > self.seen {
            self.inbox_grew(None);
        }
    }

    /// Lets contributions in. Those that are noted already may start; the others do after the commit
    /// that notes them.
    fn let_in(&mut self, fetched: Fetched) -> Result<Vec<Arrival>, Error> {
        let Fetched { intake, contributors, data_keys, alone, noted, .. } = fetched;
        // A suspect was not read by what notes.
        let noted = noted && self.counted && alone.is_none();
        let mut starts = Vec::new();
        if intake.is_empty() {
            // A suspect whose item is gone was dealt with before the end.
            if alone.is_some() {
                self.suspects.pop_front();
                self.intake_grew = true;
            }
            return Ok(starts);
        }
        let row = |key| contributors.get(&key).cloned().unwrap_or_default();
        for (arrival, key, submission) in intake {
            let suspect = self.suspects.front().copied().filter(|(first, _)| *first == arrival);
            if suspect.is_none() {
                self.cursors.intake = Some(arrival);
            }
            let already = self.admitted.contains_key(&arrival);
            let stands_in_line = self.suspects.iter().any(|(other, _)| *other == arrival);
            if already || (suspect.is_none() && stands_in_line) {
                continue;
            }
            self.machine.retain(key, || row(key));
            let data_key = data_keys.get(&submission.data_key).copied().flatten();
            let blind = || DataKey::blind(&self.engine.world.key, submission.id);
            let data_key = data_key.unwrap_or_else(blind);
            self.machine.admit(arrival, key, submission, data_key);
            let count = suspect.map_or(0, |(_, count)| count);
            if suspect.is_some() {
                self.suspects.pop_front();
                self.alone = Some(arrival);
            }
            self.admitted.insert(arrival, count);
            if Self::is_poison(count) {
                let now = self.now();
                self.machine.quarantine(arrival, now);
            } else {
                starts.push(arrival);
            }
        }
        if noted {
            // The commit that takes the first of them out of the inbox notes them all.
            self.note_due = true;
        } else {
            self.starts.append(&mut starts);
            self.note_admitted(false)?;
        }
        Ok(starts)
    }

    fn control(
        &mut self,
        arrival: Arrival,
        item: Item,
        contributors: &HashMap<ContributorKey, Contributor>,
    ) {
        let (now, random) = (self.now(), self.random());
        let row = |key| contributors.get(&key).cloned().unwrap_or_default();
        match item {
            Item::Consent(consent) => {
                let key = self.engine.world.key.contributor(&consent.contributor);
                self.machine.retain(key, || row(key));
                let lapsed = self.machine.consent(key, consent, arrival);
                if lapsed > 0 {
                    tracing::warn!(shard = %self.id, arrival, lapsed, "older grants made room");
                }
                self.machine.release(key);
                self.machine.done(arrival);
            }
            Item::Transfer(transfer) => {
                self.machine.transfer(&transfer, now, random);
                self.machine.done(arrival);
            }
            Item::Withdrawal(withdrawal) => {
                let key = self.engine.world.key.contributor(&withdrawal.contributor);
                self.machine.retain(key, || row(key));
                let mark = Mark { scope: withdrawal.scope, position: arrival, at: withdrawal.at };
                self.engine.metrics.withdrawal(metrics::Withdrawal::Begun);
                self.withdraw(arrival, key, mark, now);
            }
            Item::Command { id, verb } => {
                let after = self.decided();
                self.desk.push_back(Desk::Command { arrival, id, verb, after });
            }
            Item::Contribution(_) => {
                tracing::error!(shard = %self.id, arrival, "a contribution in the control lane");
            }
        }
    }
}

/// The row of a contributor with every mark the store has: one may be newer than the row.
pub(super) fn stored(found: &StoredContributor) -> Result<Contributor, codec::Error> {
    let row = found.row.as_deref().map(decode::<Contributor>).transpose()?;
    let mut contributor = row.unwrap_or_default();
    for mark in &found.marks {
        contributor.withdraw(mark.clone());
    }
    Ok(contributor)
}

impl Reader {
    async fn read(self) -> Result<Fetched, Error> {
        let store = &self.ports.store;
        let limit = limits::INBOX_BATCH;
        let lanes = store.fetch(
            self.shard,
            Fetch {
                owner: self.owner,
                epoch: self.epoch,
                notes: !bites(Tooth::AttemptCountedAtTheEnd),
                control: (self.cursors.control, limit),
                intake: (self.cursors.intake, if self.alone.is_some() { 0 } else { self.room }),
            },
        );
        let Lanes { control, mut intake, noted, arrived, contributors, data_keys } = lanes.await?;
        let mut fetched = Fetched {
            alone: self.alone,
            more_control: control.len() == limit,
            more_intake: self.room > 0 && intake.len() == self.room,
            noted,
            arrived,
            both: self.alone.is_none() && self.room > 0,
            data_keys: data_keys.into_iter().collect(),
            ..Fetched::default()
        };
        for (key, row) in &contributors {
            fetched.contributors.insert(*key, stored(row)?);
        }
        if let Some(arrival) = self.alone {
            let items = store.inbox_items(self.shard, vec![arrival]).await?;
            intake.extend(items.into_iter().flatten().map(|item| (arrival, item)));
        }
        for (arrival, bytes) in control {
            fetched.control.push((arrival, decode(&bytes)?));
        }
        if fetched.more_control {
            fetched.more_intake |= self.room > 0 || self.alone.is_some();
        } else {
            for (arrival, bytes) in intake {
                if let Item::Contribution(submission) = decode(&bytes)? {
                    let key = self.key.contributor(&submission.contributor);
                    fetched.intake.push((arrival, key, submission));
                }
            }
        }
        self.read_contributors(&mut fetched).await?;
        self.read_data_keys(&mut fetched).await?;
        Ok(fetched)
    }

    async fn read_contributors(&self, fetched: &mut Fetched) -> Result<(), Error> {
        let of_control = fetched.control.iter().filter_map(|(_, item)| item.contributor());
        let of_control = of_control.map(|name| self.key.contributor(name));
        let of_intake = fetched.intake.iter().map(|(_, key, _)| *key);
        let mut keys: Vec<ContributorKey> = of_control.chain(of_intake).collect();
        keys.sort_unstable();
        keys.dedup();
        let known = |key: &ContributorKey| {
            fetched.contributors.contains_key(key) || self.residents.contains(key)
        };
        keys.retain(|key| !known(key));
        if !keys.is_empty() {
            let rows = self.ports.store.contributors(self.shard, keys.clone()).await?;
            for (key, row) in keys.into_iter().zip(&rows) {
                fetched.contributors.insert(key, stored(row)?);
            }
        }
        Ok(())
    }

    async fn read_data_keys(&self, fetched: &mut Fetched) -> Result<(), StoreError> {
        let slots = fetched.intake.iter().map(|(.., submission)| submission.data_key);
        let unknown = slots.filter(|slot| !fetched.data_keys.contains_key(slot));
        let slots: Vec<u64> = unknown.collect();
        if !slots.is_empty() {
            let keys = self.ports.keys.keys(slots.clone()).await?;
            fetched.data_keys.extend(slots.into_iter().zip(keys));
        }
        Ok(())
    }
}
