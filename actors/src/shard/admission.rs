//! Letting inbox items in: control lane first, contributions by permits.

use super::{Desk, Error, ShardMessage, State};
use crate::contribution::tell;
use crate::engine::Ports;
use crate::limits;
use crate::metrics;
use crate::ports::{StoreError, StoredContributor};
use gristmill_workflows::codec::{self, decode};
use gristmill_workflows::contributor::Contributor;
use gristmill_workflows::entry::DataKey;
use gristmill_workflows::id::{Arrival, ContributorKey, IdKey, ShardId};
use gristmill_workflows::inbox::{Item, Lane};
use gristmill_workflows::submission::{Mark, Submission};
use ractor::ActorRef;
use std::collections::HashMap;

/// How far the lanes were read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cursors {
    control: Option<Arrival>,
    intake: Option<Arrival>,
}

/// What one read of the inbox brought.
#[derive(Debug, Default)]
pub struct Fetched {
    control: Vec<(Arrival, Item)>,
    intake: Vec<(Arrival, Submission)>,
    contributors: HashMap<ContributorKey, StoredContributor>,
    data_keys: HashMap<u64, Option<DataKey>>,
    /// The suspect that was asked for.
    alone: Option<Arrival>,
    /// The control lane may hold more.
    more_control: bool,
    /// The intake lane may hold more.
    more_intake: bool,
}

struct Reader {
    ports: Ports,
    key: IdKey,
    shard: ShardId,
    cursors: Cursors,
    room: usize,
    alone: Option<Arrival>,
}

impl State {
    /// Something was put into the inbox, in whichever lane.
    pub(super) fn inbox_grew(&mut self) {
        self.control_grew = true;
        self.intake_grew = true;
    }

    /// How many contributions may be let in now. Small reads cost as much as large ones, so it is
    /// none until a quarter of the window is free; the control lane does not wait for that.
    fn room(&self) -> usize {
        let batch = self.window.min(limits::INBOX_BATCH);
        let room = self.window.saturating_sub(self.machine.moving()).min(batch);
        let alone = !self.suspects.is_empty() || self.alone.is_some();
        if alone || !self.intake_grew || room * 4 < batch { 0 } else { room }
    }

    /// Reads the inbox if it may have grown and there is room.
    pub(super) fn start_fetch(&mut self, myself: &ActorRef<ShardMessage>) {
        if self.fetching || self.draining {
            return;
        }
        if self.at_desk.as_ref().is_some_and(Desk::is_exclusive) {
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
        };
        let myself = myself.clone();
        tokio::spawn(async move {
            let fetched = reader.read().await;
            tell(&myself, ShardMessage::Fetched(Box::new(fetched)));
        });
    }

    pub(super) fn on_fetched(&mut self, fetched: Result<Fetched, Error>) -> Result<(), Error> {
        self.fetching = false;
        let mut fetched = match fetched {
            Err(Error::Store(error)) if error.is_retryable() => {
                tracing::warn!(shard = %self.id, %error, "the inbox could not be read");
                return Ok(());
            }
            other => other?,
        };
        self.control_grew |= fetched.more_control;
        self.intake_grew |= fetched.more_intake;
        for (arrival, item) in std::mem::take(&mut fetched.control) {
            self.cursors.control = Some(arrival);
            self.control(arrival, item, &fetched.contributors)?;
        }
        if fetched.more_control {
            return Ok(());
        }
        self.let_in(fetched)?;
        if self.at_desk.is_none() {
            self.machine.evict(self.committed_seals);
        }
        Ok(())
    }

    fn let_in(&mut self, fetched: Fetched) -> Result<(), Error> {
        let Fetched { intake, contributors, data_keys, alone, .. } = fetched;
        if intake.is_empty() {
            // A suspect whose item is gone was dealt with before the end.
            if alone.is_some() {
                self.suspects.pop_front();
                self.intake_grew = true;
            }
            return Ok(());
        }
        for (arrival, submission) in intake {
            let suspect = self.suspects.front().copied().filter(|(first, _)| *first == arrival);
            if suspect.is_none() {
                self.cursors.intake = Some(arrival);
            }
            let already = self.admitted.contains_key(&arrival);
            let stands_in_line = self.suspects.iter().any(|(other, _)| *other == arrival);
            if already || (suspect.is_none() && stands_in_line) {
                continue;
            }
            let key = self.engine.world.key.contributor(&submission.contributor);
            let row = stored(contributors.get(&key))?;
            self.machine.retain(key, || row);
            let data_key = data_keys.get(&submission.data_key).copied().flatten();
            let blind = || DataKey::blind(&self.engine.world.key, submission.id);
            let data_key = data_key.unwrap_or_else(blind);
            self.machine.admit(arrival, submission, data_key);
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
                self.starts.push(arrival);
            }
        }
        self.note_admitted(false)?;
        Ok(())
    }

    fn control(
        &mut self,
        arrival: Arrival,
        item: Item,
        contributors: &HashMap<ContributorKey, StoredContributor>,
    ) -> Result<(), Error> {
        let (now, random) = (self.now(), self.random());
        match item {
            Item::Consent(consent) => {
                let key = self.engine.world.key.contributor(&consent.contributor);
                let row = stored(contributors.get(&key))?;
                self.machine.retain(key, || row);
                if let Err(error) = self.machine.consent(key, consent, arrival) {
                    tracing::warn!(shard = %self.id, arrival, %error, "a consent was refused");
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
                let row = stored(contributors.get(&key))?;
                self.machine.retain(key, || row);
                let mark = Mark { scope: withdrawal.scope, position: arrival, at: withdrawal.at };
                self.engine.metrics.withdrawal(metrics::Withdrawal::Begun);
                self.desk.push_back(Desk::Withdrawal { arrival, key, mark });
            }
            Item::Command { id, verb } => {
                self.desk.push_back(Desk::Command { arrival, id, verb });
            }
            Item::Contribution(_) => {
                tracing::error!(shard = %self.id, arrival, "a contribution in the control lane");
            }
        }
        Ok(())
    }
}

/// The row of a contributor with every mark the store has: one may be newer than the row.
pub(super) fn stored(found: Option<&StoredContributor>) -> Result<Contributor, codec::Error> {
    let Some(found) = found else { return Ok(Contributor::default()) };
    let row = found.row.as_deref().map(decode::<Contributor>).transpose()?;
    let mut contributor = row.unwrap_or_default();
    for mark in &found.marks {
        contributor.withdraw(mark.clone());
    }
    Ok(contributor)
}

impl Reader {
    /// Intake first, then control to its end: then every control item with a lower arrival number
    /// than any contribution read is read too.
    async fn read(self) -> Result<Fetched, Error> {
        let mut fetched = Fetched { alone: self.alone, ..Fetched::default() };
        let store = &self.ports.store;
        let mut intake = Vec::new();
        if let Some(arrival) = self.alone {
            let items = store.inbox_items(self.shard, vec![arrival]).await?;
            intake.extend(items.into_iter().flatten().map(|item| (arrival, item)));
        } else if self.room > 0 {
            let after = self.cursors.intake;
            intake = store.inbox(self.shard, Lane::Intake, after, self.room).await?;
            fetched.more_intake = intake.len() == self.room;
        }
        let (after, limit) = (self.cursors.control, limits::INBOX_BATCH);
        let control = store.inbox(self.shard, Lane::Control, after, limit).await?;
        fetched.more_control = control.len() == limit;
        for (arrival, bytes) in control {
            fetched.control.push((arrival, decode(&bytes)?));
        }
        if !fetched.more_control {
            for (arrival, bytes) in intake {
                if let Item::Contribution(submission) = decode(&bytes)? {
                    fetched.intake.push((arrival, submission));
                }
            }
        } else {
            fetched.more_intake |= !intake.is_empty();
        }
        self.read_contributors(&mut fetched).await?;
        self.read_data_keys(&mut fetched).await?;
        Ok(fetched)
    }

    async fn read_contributors(&self, fetched: &mut Fetched) -> Result<(), StoreError> {
        let of_control = fetched.control.iter().filter_map(|(_, item)| match item {
            Item::Consent(consent) => Some(consent.contributor.as_str()),
            Item::Withdrawal(withdrawal) => Some(withdrawal.contributor.as_str()),
            Item::Contribution(_) | Item::Transfer(_) | Item::Command { .. } => None,
        });
        let of_intake = fetched.intake.iter().map(|(_, submission)| &*submission.contributor);
        let names = of_control.chain(of_intake);
        let mut keys: Vec<ContributorKey> = names.map(|name| self.key.contributor(name)).collect();
        keys.sort_unstable();
        keys.dedup();
        if !keys.is_empty() {
            let rows = self.ports.store.contributors(self.shard, keys.clone()).await?;
            fetched.contributors = keys.into_iter().zip(rows).collect();
        }
        Ok(())
    }

    async fn read_data_keys(&self, fetched: &mut Fetched) -> Result<(), StoreError> {
        let slots = fetched.intake.iter().map(|(_, submission)| submission.data_key);
        let slots: Vec<u64> = slots.collect();
        if !slots.is_empty() {
            let keys = self.ports.keys.keys(slots.clone()).await?;
            fetched.data_keys = slots.into_iter().zip(keys).collect();
        }
        Ok(())
    }
}
