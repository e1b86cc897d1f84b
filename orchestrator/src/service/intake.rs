//! Intake over HTTP: makes what a client sends durable in the inboxes of the shards, on whichever
//! node it came to, and tells the shards.

use crate::intake::items;
use crate::intake::{grant_identity, grant_reused, reused};
use crate::manifest::{Consent, Contribution, Line, Withdraw};
use crate::service::problem::{Code, Problem};
use crate::service::state::Service;
use crate::service::uploads;
use gristmill_actors::ports::{Intake as Item, Reads, Submitted};
use gristmill_workflows::codec::encode;
use gristmill_workflows::id::{Arrival, ContributionId, ShardId};
use gristmill_workflows::inbox;
use gristmill_workflows::submission::{self, Mark, Media, Scope};
use gristmill_workflows::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What became durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Durable {
    /// A contribution, new or a repeat.
    Contribution {
        /// Its id.
        id: ContributionId,
        /// It was durable before.
        repeated: bool,
    },
    /// A grant, new or a repeat.
    Consent {
        /// Its id.
        grant: String,
    },
    /// A withdrawal.
    Withdrawal {
        /// When.
        at: Timestamp,
    },
}

/// What a line came to.
pub type Answer = Result<Durable, Problem>;

/// A line on its way into an inbox.
struct Ready {
    shard: ShardId,
    item: What,
    identity: Option<([u8; 16], [u8; 16])>,
}

enum What {
    Contribution {
        id: ContributionId,
        contribution: Contribution,
        media: Option<Media>,
        slot: Option<u64>,
    },
    Consent(Consent),
    Withdrawal(Withdraw, Scope),
}

/// The answers of one step, filled in place.
struct Step<'a> {
    service: &'a Service,
    now: Timestamp,
    answers: Vec<Option<Answer>>,
    ready: Vec<(usize, Ready)>,
}

impl Service {
    /// Makes lines durable, in their order; one answer each. What is refused leaves nothing.
    pub async fn submit(&self, lines: Vec<Line>) -> Vec<Answer> {
        let count = lines.len();
        let answers = (0..count).map(|_| None).collect();
        let mut step =
            Step { service: self, now: self.ports.clock.now(), answers, ready: Vec::new() };
        for (nth, line) in lines.into_iter().enumerate() {
            match step.prepare(line) {
                Ok(ready) => step.ready.push((nth, ready)),
                Err(problem) => step.answers[nth] = Some(Err(problem)),
            }
        }
        let done = match step.look().await {
            Ok(()) => step.write().await,
            Err(problem) => Err(problem),
        };
        let unanswered = match done {
            Ok(()) => Problem::new(Code::Internal, "no answer"),
            Err(problem) => problem,
        };
        step.answers.into_iter().map(|one| one.unwrap_or(Err(unanswered.clone()))).collect()
    }

    /// Makes one line durable, together with others that wait for nothing but the store.
    pub async fn submit_one(&self, line: Line) -> Answer {
        let waits_for_more = match &line {
            Line::Contribution(contribution) => contribution.sha256.is_some(),
            Line::Consent(_) => false,
            Line::Withdraw(_) => true,
        };
        if !waits_for_more {
            return self.singles.submit(line).await;
        }
        // Boxed: most lines do not come here, and carry no room for it.
        let answer = Box::pin(self.submit(vec![line])).await.pop();
        answer.unwrap_or_else(|| Err(Problem::new(Code::Internal, "no answer")))
    }

    /// Keeps media that a contributor will name, durably.
    ///
    /// # Errors
    /// A [`Problem`] when they are not durable.
    pub async fn keep_media(
        &self,
        contributor: &str,
        sha256: &[u8; 32],
        bytes: Vec<u8>,
    ) -> Result<(), Problem> {
        let key = &self.world.key;
        let shard = key.bucket(contributor).shard(self.world.shards);
        let slot = self.slots.take(shard, 1).await?.pop();
        let slot =
            slot.ok_or_else(|| Problem::new(Code::Internal, "the key store gave no slot"))?;
        if !self.uploads.keep(key.contributor(contributor), sha256, bytes, slot).await? {
            self.slots.give_back(shard, vec![slot]);
        }
        Ok(())
    }

    fn known_program(&self, field: &str, program: &str) -> Result<(), Problem> {
        if self.world.programs.contains_key(program) {
            return Ok(());
        }
        let detail = "this node serves no such program";
        Err(Problem::field(Code::UnknownProgram, field, detail))
    }
}

impl Step<'_> {
    /// What can be seen without the store.
    fn prepare(&self, line: Line) -> Result<Ready, Problem> {
        let world = &self.service.world;
        let key = &world.key;
        match line {
            Line::Contribution(contribution) => {
                self.service.known_program("program", &contribution.program)?;
                let program = world.programs.get(&contribution.program);
                if !program.is_some_and(|program| program.tasks.contains_key(&contribution.task)) {
                    let detail = "the program has no such task";
                    return Err(Problem::field(Code::UnknownTask, "task", detail));
                }
                if contribution.uri.is_some() {
                    let detail = "a contribution names the sha256 of an upload, no uri";
                    return Err(Problem::field(Code::MediaPath, "media.uri", detail));
                }
                let (person, name) = (&contribution.contributor, &contribution.idempotency_key);
                let id = key.contribution(person, name);
                let identity = Some((id.mac, contribution.body));
                let shard = id.bucket.shard(world.shards);
                let item = What::Contribution { id, contribution, media: None, slot: None };
                Ok(Ready { shard, item, identity })
            }
            Line::Consent(consent) => {
                self.service.known_program("program", &consent.program)?;
                let shard = key.bucket(&consent.contributor).shard(world.shards);
                let identity =
                    Some((grant_identity(&consent.contributor, &consent.grant), consent.body));
                Ok(Ready { shard, item: What::Consent(consent), identity })
            }
            Line::Withdraw(withdraw) => {
                if let Some(program) = &withdraw.program {
                    self.service.known_program("program", program)?;
                }
                let shard = key.bucket(&withdraw.contributor).shard(world.shards);
                let scope = match (&withdraw.grant, &withdraw.program) {
                    (Some(grant), _) => Scope::Grant(grant.clone()),
                    (None, Some(program)) => Scope::Program(program.clone()),
                    (None, None) => Scope::All,
                };
                Ok(Ready { shard, item: What::Withdrawal(withdraw, scope), identity: None })
            }
        }
    }

    /// What has to be looked at: grants that are to be taken back, and media.
    async fn look(&mut self) -> Result<(), Problem> {
        let mut given = HashSet::new();
        let mut ready = Vec::with_capacity(self.ready.len());
        for (nth, mut one) in std::mem::take(&mut self.ready) {
            if let What::Contribution { contribution, .. } = &one.item
                && contribution.sha256.is_some()
            {
                match self.look_at_media(&mut one).await? {
                    Some(answer) => {
                        self.answers[nth] = Some(answer);
                        continue;
                    }
                    None => {
                        ready.push((nth, one));
                        continue;
                    }
                }
            }
            if let What::Consent(_) = &one.item {
                given.extend(one.identity.map(|(name, _)| name));
            }
            if let What::Withdrawal(withdraw, Scope::Grant(grant)) = &one.item {
                let name = grant_identity(&withdraw.contributor, grant);
                let known = given.contains(&name) || {
                    let found = self.service.ports.store.find(one.shard, vec![name]).await?;
                    found.into_iter().flatten().next().is_some()
                };
                if !known {
                    let detail = "this contributor never gave this grant";
                    let problem = Problem::field(Code::UnknownGrant, "grant", detail);
                    self.answers[nth] = Some(Err(problem));
                    continue;
                }
            }
            ready.push((nth, one));
        }
        self.ready = ready;
        Ok(())
    }

    /// A contribution with media is looked up first: a repeat imports nothing, and revives nothing
    /// that was destroyed. An answer, if it is not to be made durable.
    async fn look_at_media(&self, one: &mut Ready) -> Result<Option<Answer>, Problem> {
        let service = self.service;
        let What::Contribution { id, contribution, media, slot } = &mut one.item else {
            return Ok(None);
        };
        let Some(sha256) = contribution.sha256 else { return Ok(None) };
        let id = *id;
        let known = service.ports.store.find(one.shard, vec![id.mac]).await?;
        if let Some((_, body)) = known.into_iter().next().flatten() {
            let same = body == contribution.body;
            let repeat = Ok(Durable::Contribution { id, repeated: true });
            return Ok(Some(if same { repeat } else { Err(reused().into()) }));
        }
        let whose = service.world.key.contributor(&contribution.contributor);
        let bytes = match service.uploads.take(whose, &sha256, id).await {
            Err(problem) if problem.code == Code::MediaMissing => return Ok(Some(Err(problem))),
            Err(problem) => return Err(problem),
            Ok(uploads::Media::Own { slot: own, bytes }) => {
                *slot = Some(own);
                bytes
            }
            Ok(uploads::Media::Copy { from, bytes }) => {
                let own = service.slots.take(one.shard, 1).await?.pop();
                let no_slot = || Problem::new(Code::Internal, "the key store gave no slot");
                let own = own.ok_or_else(no_slot)?;
                match service.uploads.copy(from, own).await {
                    Err(problem) if problem.code == Code::MediaMissing => {
                        service.slots.give_back(one.shard, vec![own]);
                        return Ok(Some(Err(problem)));
                    }
                    copied => copied?,
                }
                *slot = Some(own);
                bytes
            }
        };
        *media = Some(Media { sha256, bytes });
        service.ports.content.claim(vec![(sha256, id)]).await?;
        Ok(None)
    }

    async fn write(&mut self) -> Result<(), Problem> {
        if self.ready.is_empty() {
            return Ok(());
        }
        self.take_slots().await?;
        let (mut items, mut places) = (Vec::new(), Vec::new());
        let mut taken_back = BTreeSet::new();
        for (nth, one) in std::mem::take(&mut self.ready) {
            let shard = one.shard;
            if let What::Withdrawal(withdraw, _) = &one.item {
                taken_back.insert(withdraw.contributor.clone());
            }
            let (item, durable, slot) = self.item(one)?;
            items.push(item);
            places.push((nth, shard, durable, slot));
        }
        let announced = self.service.engine.announce(&items).await;
        let submitted = self.service.ports.store.submit(items).await;
        let submitted = submitted.inspect_err(|_| self.service.slots.forget())?;
        announced.submitted(&submitted);
        let mut grown: BTreeMap<ShardId, Arrival> = BTreeMap::new();
        for ((_, shard, ..), submitted) in places.iter().zip(&submitted) {
            if let Submitted::Accepted(arrival) | Submitted::Same(arrival) = submitted {
                let last = grown.entry(*shard).or_default();
                *last = (*last).max(*arrival);
            }
        }
        for (shard, arrived) in grown {
            self.service.engine.notify(shard, Some(arrived));
        }
        for contributor in taken_back {
            let whose = self.service.world.key.contributor(&contributor);
            if let Err(problem) = self.service.uploads.forget(whose).await {
                // The withdrawal stands; the sweep destroys what is left.
                tracing::warn!(code = problem.code.word(), "uploads were not all destroyed");
            }
        }
        let mut unused: BTreeMap<ShardId, Vec<u64>> = BTreeMap::new();
        for ((nth, shard, durable, slot), submitted) in places.into_iter().zip(submitted) {
            if !matches!(submitted, Submitted::Accepted(_)) {
                unused.entry(shard).or_default().extend(slot);
            }
            self.answers[nth] = Some(answer(durable, submitted));
        }
        for (shard, slots) in unused {
            self.service.slots.give_back(shard, slots);
        }
        Ok(())
    }

    /// A data key's slot for every contribution.
    async fn take_slots(&mut self) -> Result<(), Problem> {
        let mut wanted: BTreeMap<ShardId, usize> = BTreeMap::new();
        for (_, one) in &self.ready {
            if let What::Contribution { slot: None, .. } = &one.item {
                *wanted.entry(one.shard).or_default() += 1;
            }
        }
        let mut slots = BTreeMap::new();
        for (shard, count) in wanted {
            slots.insert(shard, self.service.slots.take(shard, count).await?);
        }
        for (_, one) in &mut self.ready {
            if let What::Contribution { slot: slot @ None, .. } = &mut one.item {
                *slot = slots.get_mut(&one.shard).and_then(Vec::pop);
            }
        }
        Ok(())
    }

    fn item(&self, one: Ready) -> Result<(Item, Durable, Option<u64>), Problem> {
        let Ready { shard, item, identity } = one;
        let (item, mark, durable, slot) = match item {
            What::Contribution { id, contribution, media, slot } => {
                let no_slot = || Problem::new(Code::Internal, "the key store gave no slot");
                let slot = slot.ok_or_else(no_slot)?;
                // A slot with a blob in it is never given to another.
                let free = media.is_none().then_some(slot);
                let submission = items::submission(id, contribution, media, slot, self.now);
                let durable = Durable::Contribution { id, repeated: false };
                (inbox::Item::Contribution(submission), None, durable, free)
            }
            What::Consent(consent) => {
                let durable = Durable::Consent { grant: consent.grant.clone() };
                (inbox::Item::Consent(items::consent(consent, self.now)), None, durable, None)
            }
            What::Withdrawal(withdraw, scope) => {
                let key = self.service.world.key.contributor(&withdraw.contributor);
                let mark = Mark { scope: scope.clone(), position: 0, at: self.now };
                let contributor = withdraw.contributor;
                let item = submission::Withdrawal { contributor, scope, at: self.now };
                let durable = Durable::Withdrawal { at: self.now };
                (inbox::Item::Withdrawal(item), Some((key, mark)), durable, None)
            }
        };
        let reads = Reads::of(&item, &self.service.world.key);
        let (lane, item) = (item.lane(), encode(&item)?);
        Ok((Item { shard, lane, item, identity, mark, reads }, durable, slot))
    }
}

fn answer(durable: Durable, submitted: Submitted) -> Answer {
    match (submitted, durable) {
        (Submitted::Accepted(_), durable) => Ok(durable),
        (Submitted::Same(_), Durable::Contribution { id, .. }) => {
            Ok(Durable::Contribution { id, repeated: true })
        }
        (Submitted::Same(_), durable) => Ok(durable),
        (Submitted::Conflict(_), Durable::Contribution { .. }) => Err(reused().into()),
        (Submitted::Conflict(_), _) => {
            let problem = Problem::from(grant_reused());
            Err(Problem { field: Some("grant".to_owned()), ..problem })
        }
        (Submitted::Full, _) => {
            let detail = "as many contributions of this shard wait as are let in";
            Err(Problem::new(Code::InboxFull, detail))
        }
    }
}
