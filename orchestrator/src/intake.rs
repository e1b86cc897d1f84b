//! Intake: makes a manifest durable in the inboxes, line by line and in order.
//!
//! Nothing moves before the whole manifest is durable. A repeat is recognised before its media is
//! looked at, so that a second run imports nothing twice and revives nothing that was withdrawn.

pub(crate) mod items;

use crate::manifest::{self, Code, Consent, Contribution, Line, Problem, Withdraw};
use crate::media_root::{Bytes, MediaRoot};
use gristmill_actors::engine::Ports;
use gristmill_actors::ports::{Intake as Item, MediaError, Reads, StoreError, Submitted};
use gristmill_workflows::codec::{self, encode};
use gristmill_workflows::id::{ContributionId, ShardId};
use gristmill_workflows::inbox;
use gristmill_workflows::shard::World;
use gristmill_workflows::submission::{self, Mark, Media, Scope};
use gristmill_workflows::time::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::BufRead;
use std::sync::Arc;

/// Lines that are made durable in one step.
const BATCH: usize = 512;
/// Bytes of media that one step may hold in memory.
const BATCH_MEDIA_BYTES: usize = 64 << 20;

/// Why intake stopped; lines made durable before stay durable.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The manifest could not be read.
    #[error("the manifest: {0}")]
    Manifest(#[from] std::io::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A blob could not be stored.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// A submission does not encode.
    #[error(transparent)]
    Codec(#[from] codec::Error),
}

/// A line that was rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RejectedLine {
    /// Its number, from 1.
    pub line: u64,
    /// The field, with dots.
    pub field: String,
    /// Which kind.
    pub code: Code,
    /// A sentence for a person.
    pub detail: String,
}

/// What became of a manifest.
#[derive(Debug, Default)]
pub struct Taken {
    /// The first line of each contribution.
    pub journeys: Vec<(u64, ContributionId)>,
    /// Lines that say again what an earlier one said.
    pub repeated: Vec<(u64, ContributionId)>,
    /// Lines that cannot be taken.
    pub rejected: Vec<RejectedLine>,
    /// Lines read.
    pub lines: u64,
}

/// Takes manifests in.
pub struct Intake<'a> {
    ports: &'a Ports,
    world: &'a Arc<World>,
    media: Option<MediaRoot>,
    now: Timestamp,
    /// Look only: nothing is made durable.
    dry: bool,
    seen: HashMap<ContributionId, [u8; 16]>,
    grants: HashMap<[u8; 16], [u8; 16]>,
    prefix: Sha256,
    taken: Taken,
}

impl std::fmt::Debug for Intake<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Intake").field("taken", &self.taken).finish_non_exhaustive()
    }
}

/// A line that was read: its number, what it says, and what it is known by as a control line.
type Parsed = (u64, Line, [u8; 16]);

/// Lines that are taken in together.
#[derive(Default)]
struct Round {
    ids: HashSet<ContributionId>,
    /// Lines with the key of another line of the round.
    later: Vec<Parsed>,
}

/// A line on its way into an inbox.
struct Ready {
    line: u64,
    shard: ShardId,
    identity: [u8; 16],
    body: [u8; 16],
    what: What,
}

enum What {
    Contribution(ContributionId, Contribution, Option<Bytes>),
    Consent(Consent),
    Withdraw(Withdraw, Scope),
}

impl<'a> Intake<'a> {
    /// An intake over the ports of a node that does not run yet.
    pub fn new(
        ports: &'a Ports,
        world: &'a Arc<World>,
        media: Option<MediaRoot>,
        now: Timestamp,
        dry: bool,
    ) -> Self {
        let (seen, grants) = (HashMap::new(), HashMap::new());
        let (prefix, taken) = (Sha256::new(), Taken::default());
        Self { ports, world, media, now, dry, seen, grants, prefix, taken }
    }

    /// Takes the whole manifest in; `progress` is told the number of lines so far.
    pub async fn take(
        mut self,
        input: &mut impl BufRead,
        mut progress: impl FnMut(u64),
    ) -> Result<Taken, Error> {
        let mut batch: Vec<Parsed> = Vec::with_capacity(BATCH);
        while let Some(line) = manifest::next_line(input)? {
            self.taken.lines += 1;
            let number = self.taken.lines;
            match line {
                Err(manifest::TooLong) => {
                    let detail = format!("a line is at most {} bytes", manifest::LINE_BYTES_MAX);
                    self.prefix.update(b"\ntoo long");
                    self.reject(number, Problem::new("", Code::LineTooLong, detail));
                }
                Ok(line) if line.trim_ascii().is_empty() => {}
                Ok(line) => {
                    self.prefix.update(b"\n");
                    self.prefix.update(&line);
                    match manifest::parse(&line, self.now) {
                        Ok(parsed) => batch.push((number, parsed, self.place())),
                        Err(problem) => self.reject(number, problem),
                    }
                }
            }
            if batch.len() == BATCH {
                self.settle(std::mem::take(&mut batch)).await?;
                progress(number);
            }
        }
        self.settle(batch).await?;
        progress(self.taken.lines);
        self.taken.journeys.sort_unstable_by_key(|(line, _)| *line);
        self.taken.repeated.sort_unstable_by_key(|(line, _)| *line);
        self.taken.rejected.sort_by_key(|rejected| rejected.line);
        Ok(self.taken)
    }

    /// What a control line is known by: everything the manifest says up to and with it, so that
    /// the same manifest again changes nothing, and a longer one only by what is new.
    fn place(&self) -> [u8; 16] {
        first16(&self.prefix.clone().finalize().into())
    }

    fn reject(&mut self, line: u64, problem: Problem) {
        let Problem { field, code, detail } = problem;
        self.taken.rejected.push(RejectedLine { line, field, code, detail });
    }

    async fn settle(&mut self, mut batch: Vec<Parsed>) -> Result<(), Error> {
        while !batch.is_empty() {
            batch = self.settle_firsts(batch).await?;
        }
        Ok(())
    }

    /// Takes in what has no line of the same key before it in the batch. The other lines come
    /// back: what they are depends on what became of the one before.
    async fn settle_firsts(&mut self, batch: Vec<Parsed>) -> Result<Vec<Parsed>, Error> {
        let mut ready = Vec::with_capacity(batch.len());
        let mut round = Round::default();
        for (line, parsed, place) in batch {
            match self.prepare(line, parsed, place, &mut round) {
                Ok(Some(one)) => ready.push(one),
                Ok(None) => {}
                Err(problem) => self.reject(line, problem),
            }
        }
        let known = self.find(&ready).await?;
        let mut fresh = Vec::with_capacity(ready.len());
        let mut held = 0;
        for (mut one, known) in ready.into_iter().zip(known) {
            if let Some(body) = known {
                self.known(&one, body);
                continue;
            }
            if let Err(problem) = self.look(&mut one).await? {
                self.reject(one.line, problem);
                continue;
            }
            if let What::Contribution(_, _, Some(bytes)) = &one.what {
                held += bytes.bytes.len();
            }
            fresh.push(one);
            if held > BATCH_MEDIA_BYTES {
                self.submit(std::mem::take(&mut fresh)).await?;
                held = 0;
            }
        }
        self.submit(fresh).await?;
        Ok(round.later)
    }

    /// What can be seen without the store: programs, tasks, repeats within the manifest.
    fn prepare(
        &mut self,
        line: u64,
        parsed: Line,
        place: [u8; 16],
        round: &mut Round,
    ) -> Result<Option<Ready>, Problem> {
        let key = &self.world.key;
        match parsed {
            Line::Contribution(contribution) => {
                self.known_program("program", &contribution.program)?;
                let program = &self.world.programs[&contribution.program];
                if !program.tasks.contains_key(&contribution.task) {
                    let detail = format!("the program has no task `{}`", contribution.task);
                    return Err(Problem::new("task", Code::UnknownTask, detail));
                }
                let (person, name) = (&contribution.contributor, &contribution.idempotency_key);
                let id = key.contribution(person, name);
                if let Some(body) = self.seen.get(&id) {
                    if *body != contribution.body {
                        return Err(reused());
                    }
                    self.taken.repeated.push((line, id));
                    return Ok(None);
                }
                if !round.ids.insert(id) {
                    round.later.push((line, Line::Contribution(contribution), place));
                    return Ok(None);
                }
                let shard = id.bucket.shard(self.world.shards);
                let body = contribution.body;
                let what = What::Contribution(id, contribution, None);
                Ok(Some(Ready { line, shard, identity: id.mac, body, what }))
            }
            Line::Consent(consent) => {
                self.known_program("consent.program", &consent.program)?;
                let shard = key.bucket(&consent.contributor).shard(self.world.shards);
                let identity = grant_identity(&consent.contributor, &consent.grant);
                let body = consent.body;
                if *self.grants.entry(identity).or_insert(body) != body {
                    return Err(grant_reused());
                }
                Ok(Some(Ready { line, shard, identity, body, what: What::Consent(consent) }))
            }
            Line::Withdraw(withdraw) => {
                if let Some(program) = &withdraw.program {
                    self.known_program("withdraw.program", program)?;
                }
                let shard = key.bucket(&withdraw.contributor).shard(self.world.shards);
                let scope = match (&withdraw.grant, &withdraw.program) {
                    (Some(grant), _) => Scope::Grant(grant.clone()),
                    (None, Some(program)) => Scope::Program(program.clone()),
                    (None, None) => Scope::All,
                };
                let what = What::Withdraw(withdraw, scope);
                Ok(Some(Ready { line, shard, identity: place, body: place, what }))
            }
        }
    }

    fn known_program(&self, field: &str, program: &str) -> Result<(), Problem> {
        if self.world.programs.contains_key(program) {
            return Ok(());
        }
        let detail = format!("this node serves no program `{program}`");
        Err(Problem::new(field, Code::UnknownProgram, detail))
    }

    /// The body that each identity was made durable with, if it was.
    async fn find(&self, ready: &[Ready]) -> Result<Vec<Option<[u8; 16]>>, StoreError> {
        let mut by_shard: BTreeMap<ShardId, Vec<usize>> = BTreeMap::new();
        for (n, one) in ready.iter().enumerate() {
            by_shard.entry(one.shard).or_default().push(n);
        }
        let mut known = vec![None; ready.len()];
        for (shard, places) in by_shard {
            let identities = places.iter().map(|n| ready[*n].identity).collect();
            let found = self.ports.store.find(shard, identities).await?;
            for (place, found) in places.into_iter().zip(found) {
                known[place] = found.map(|(_, body)| body);
            }
        }
        Ok(known)
    }

    /// A line whose identity was made durable before.
    fn known(&mut self, one: &Ready, body: [u8; 16]) {
        match &one.what {
            What::Contribution(id, _, _) if body == one.body => {
                self.seen.insert(*id, body);
                self.taken.journeys.push((one.line, *id));
            }
            What::Contribution(..) => self.reject(one.line, reused()),
            What::Consent(_) if body != one.body => self.reject(one.line, grant_reused()),
            What::Consent(_) | What::Withdraw(..) => {}
        }
    }

    /// What has to be looked at for a line that is new: its media, or the grant it withdraws.
    async fn look(&mut self, one: &mut Ready) -> Result<Result<(), Problem>, Error> {
        match &mut one.what {
            What::Contribution(id, contribution, bytes) => match self.read_media(contribution) {
                Ok(read) => {
                    *bytes = read;
                    self.seen.insert(*id, contribution.body);
                }
                Err(problem) => return Ok(Err(problem)),
            },
            What::Withdraw(withdraw, Scope::Grant(grant)) => {
                let identity = grant_identity(&withdraw.contributor, grant);
                if !self.grants.contains_key(&identity) {
                    let found = self.ports.store.find(one.shard, vec![identity]).await?;
                    if found.into_iter().flatten().next().is_none() {
                        let detail = "this contributor never gave this grant";
                        let problem = Problem::new("withdraw.grant", Code::UnknownGrant, detail);
                        return Ok(Err(problem));
                    }
                }
            }
            What::Withdraw(..) | What::Consent(_) => {}
        }
        Ok(Ok(()))
    }

    fn read_media(&self, contribution: &Contribution) -> Result<Option<Bytes>, Problem> {
        match (&contribution.uri, contribution.sha256) {
            (Some(uri), sha256) => match &self.media {
                Some(root) => root.read(uri, sha256).map(Some),
                None => {
                    let detail = "this node takes no files by path";
                    Err(Problem::new("media.uri", Code::MediaPath, detail))
                }
            },
            (None, Some(_)) => {
                let detail = "no stored blob of this contributor has this hash";
                Err(Problem::new("media.sha256", Code::MediaMissing, detail))
            }
            (None, None) => Ok(None),
        }
    }

    async fn submit(&mut self, fresh: Vec<Ready>) -> Result<(), Error> {
        if fresh.is_empty() {
            return Ok(());
        }
        if self.dry {
            for one in fresh {
                if let What::Contribution(id, _, _) = one.what {
                    self.taken.journeys.push((one.line, id));
                }
            }
            return Ok(());
        }
        let slots = self.slots(&fresh).await?;
        let mut items = Vec::with_capacity(fresh.len());
        let mut claims = Vec::new();
        let mut places = Vec::with_capacity(fresh.len());
        for (one, slot) in fresh.into_iter().zip(slots) {
            let Ready { line, shard, identity, body, what } = one;
            let (item, mark, id) = match what {
                What::Contribution(id, contribution, bytes) => {
                    let media = self.import(slot, bytes).await?;
                    claims.extend(media.iter().map(|media| (media.sha256, id)));
                    let item = items::submission(id, contribution, media, slot, self.now);
                    (inbox::Item::Contribution(item), None, Some(id))
                }
                What::Consent(consent) => {
                    (inbox::Item::Consent(items::consent(consent, self.now)), None, None)
                }
                What::Withdraw(withdraw, scope) => {
                    let key = self.world.key.contributor(&withdraw.contributor);
                    let mark = Mark { scope: scope.clone(), position: 0, at: self.now };
                    let contributor = withdraw.contributor;
                    let item = submission::Withdrawal { contributor, scope, at: self.now };
                    (inbox::Item::Withdrawal(item), Some((key, mark)), None)
                }
            };
            let reads = Reads::of(&item, &self.world.key);
            let (lane, item) = (item.lane(), encode(&item)?);
            let identity = Some((identity, body));
            items.push(Item { shard, lane, item, identity, mark, reads });
            places.push((line, id));
        }
        if !claims.is_empty() {
            self.ports.content.claim(claims).await?;
        }
        let answers = self.ports.store.submit(items).await?;
        for ((line, id), answer) in places.into_iter().zip(answers) {
            self.answered(line, id, answer)?;
        }
        Ok(())
    }

    fn answered(
        &mut self,
        line: u64,
        id: Option<ContributionId>,
        answer: Submitted,
    ) -> Result<(), Error> {
        match (answer, id) {
            (Submitted::Accepted(_) | Submitted::Same(_), Some(id)) => {
                self.taken.journeys.push((line, id));
            }
            (Submitted::Accepted(_) | Submitted::Same(_), None) => {}
            (Submitted::Conflict(_), Some(_)) => self.reject(line, reused()),
            (Submitted::Conflict(_), None) => self.reject(line, grant_reused()),
            (Submitted::Full, _) => {
                let detail = "an inbox is at its high-water mark".to_owned();
                return Err(Error::Store(StoreError::Unavailable { detail }));
            }
        }
        Ok(())
    }

    /// A data key's slot for every contribution.
    async fn slots(&self, fresh: &[Ready]) -> Result<Vec<u64>, StoreError> {
        let mut wanted: BTreeMap<ShardId, usize> = BTreeMap::new();
        for one in fresh.iter().filter(|one| matches!(one.what, What::Contribution(..))) {
            *wanted.entry(one.shard).or_default() += 1;
        }
        let mut slots: BTreeMap<ShardId, Vec<u64>> = BTreeMap::new();
        for (shard, count) in wanted {
            slots.insert(shard, self.ports.keys.allocate(shard, count).await?);
        }
        let mut one_by_one = Vec::with_capacity(fresh.len());
        for one in fresh {
            let slot = match one.what {
                What::Contribution(..) => slots.get_mut(&one.shard).and_then(Vec::pop),
                What::Consent(_) | What::Withdraw(..) => None,
            };
            one_by_one.push(slot.unwrap_or(0));
        }
        Ok(one_by_one)
    }

    async fn import(&self, slot: u64, bytes: Option<Bytes>) -> Result<Option<Media>, Error> {
        let Some(Bytes { bytes, sha256 }) = bytes else { return Ok(None) };
        let media = Media { sha256, bytes: bytes.len() as u64 };
        let keys = self.ports.keys.keys(vec![slot]).await?;
        let Some(key) = keys.into_iter().next().flatten() else {
            let detail = format!("the data key of slot {slot} is gone");
            return Err(Error::Store(StoreError::Damaged { detail }));
        };
        self.ports.media.put(slot, key, bytes).await?;
        Ok(Some(media))
    }
}

pub(crate) fn reused() -> Problem {
    let detail = "this contributor used this key with another body";
    Problem::new("idempotency_key", Code::IdempotencyKeyReused, detail)
}

pub(crate) fn grant_reused() -> Problem {
    let detail = "this contributor gave another consent under this id";
    Problem::new("consent.grant", Code::InvalidField, detail)
}

pub(crate) fn grant_identity(contributor: &str, grant: &str) -> [u8; 16] {
    let digest = Sha256::new()
        .chain_update(b"grant\0")
        .chain_update(contributor.as_bytes())
        .chain_update(b"\0")
        .chain_update(grant.as_bytes())
        .finalize();
    first16(&digest.into())
}

fn first16(hash: &[u8; 32]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    bytes
}
