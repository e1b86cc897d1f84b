//! What people do: consents, contributions, repeats, withdrawals, and an operator's words. A client
//! says the same thing again until it is answered.

use super::Sim;
use super::chance::Chance;
use super::journal::fnv;
use super::limits::CLIENT_TRIES_MAX;
use super::plan::Plan;
use super::town::{Behaviour, MEDIA, PLAIN, terms};
use super::wire::Wire;
use gristmill_actors::ports::{
    ContentIndex, Intake, KeyStore, MediaStore, Reads, ShardStore, StoreError, Submitted,
};
use gristmill_workflows::codec::encode;
use gristmill_workflows::id::{Arrival, ContributionId, ShardId};
use gristmill_workflows::inbox::{Item, Verb};
use gristmill_workflows::submission::{
    Consent, Mark, Media, Modality, Scope, Submission, Withdrawal,
};
use std::sync::Arc;
use std::time::Duration;

/// One contribution, as its client knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hand {
    pub(super) person: String,
    pub(super) key: String,
    program: &'static str,
    task: &'static str,
    /// What the bytes are; equal ones are equal content.
    content: u8,
}

/// Something that somebody does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// A grant for one program.
    Consent { person: String, grant: String, program: &'static str, ends_after_ms: Option<u64> },
    /// A contribution is handed in, for the first time or again.
    Hand(Hand),
    /// Consent is taken back.
    Withdraw { person: String, scope: Scope, number: u64 },
    /// An operator's word.
    Command { person: String, key: String, verb: Verb },
}

/// Everything that people do in a plan, by when it happens.
pub(super) fn acts(seed: u64, plan: &Plan) -> Vec<(u64, Act)> {
    let chance = Chance::new(seed, 2);
    let mut acts = Vec::new();
    let person = |chance: &Chance| format!("person-{}", chance.below(plan.people));
    for n in 0..plan.people {
        for program in [PLAIN, MEDIA] {
            if chance.hits(9_200) {
                let at = chance.below(200);
                acts.push((at, consent(&format!("person-{n}"), "first", program, &chance)));
            }
        }
    }
    let mut hands = Vec::new();
    for n in 0..plan.contributions {
        let hand = hand(person(&chance), n, plan, &chance);
        let at = 300 + chance.below(plan.faults_ms * 2 / 3);
        acts.push((at, Act::Hand(hand.clone())));
        if chance.hits(plan.repeats) {
            let mut again = hand.clone();
            if chance.hits(3_000) {
                again.content = again.content.wrapping_add(1);
            }
            acts.push((chance.below(plan.faults_ms) + 300, Act::Hand(again)));
        }
        hands.push(hand);
    }
    for number in 0..plan.withdrawals {
        let person = person(&chance);
        let at = chance.below(plan.faults_ms);
        let scope = match chance.below(4) {
            0 => Scope::All,
            1 => Scope::Program(PLAIN.to_owned()),
            2 => Scope::Program(MEDIA.to_owned()),
            _ => Scope::Grant(format!("first-{PLAIN}")),
        };
        acts.push((at, Act::Withdraw { person: person.clone(), scope, number }));
        if chance.hits(5_000) {
            let grant = format!("again-{number}");
            acts.push((at + chance.below(5_000), consent(&person, &grant, PLAIN, &chance)));
        }
    }
    for _ in 0..plan.commands {
        if let Some(hand) = chance.one(&hands).cloned() {
            let verb = match chance.below(5) {
                0 => Verb::Retry,
                1 => Verb::Reject,
                2 => Verb::Signal("go".to_owned()),
                _ => Verb::Pause,
            };
            let Hand { person, key, .. } = hand;
            let at = chance.below(plan.faults_ms);
            acts.push((at, Act::Command { person, key, verb }));
        }
    }
    acts.sort_by_key(|(at, _)| *at);
    acts
}

fn consent(person: &str, name: &str, program: &'static str, chance: &Chance) -> Act {
    let ends_after_ms = chance.hits(1_000).then(|| chance.between(1_000, 60_000));
    let grant = format!("{name}-{program}");
    Act::Consent { person: person.to_owned(), grant, program, ends_after_ms }
}

fn hand(person: String, number: u64, plan: &Plan, chance: &Chance) -> Hand {
    let media = chance.hits(3_500);
    let behaviour = Behaviour::draw(chance, plan);
    let behaviour = match behaviour {
        Behaviour::PanicsInActor(times) if media => Behaviour::Panics(times),
        other => other,
    };
    let tasks: &[&'static str] = if media { &["photo"] } else { &["small", "large", "capped"] };
    Hand {
        person,
        key: format!("{number}-{}", behaviour.word()),
        program: if media { MEDIA } else { PLAIN },
        task: chance.one(tasks).copied().unwrap_or("small"),
        content: u8::try_from(chance.below(200)).unwrap_or(0),
    }
}

/// Why an act did not come to its end yet.
enum Again {
    Later,
    Refused,
}

impl From<StoreError> for Again {
    fn from(_: StoreError) -> Self {
        Self::Later
    }
}

/// Does one thing, however long it takes.
pub(super) async fn act(wire: Wire, act: Act) {
    for _ in 0..CLIENT_TRIES_MAX {
        let done = match &act {
            Act::Consent { person, grant, program, ends_after_ms } => {
                give(&wire, person, grant, program, *ends_after_ms).await
            }
            Act::Hand(hand) => hand_in(&wire, hand).await,
            Act::Withdraw { person, scope, number } => {
                withdraw(&wire, person, scope.clone(), *number).await
            }
            Act::Command { person, key, verb } => {
                command(&wire, wire.sim.key.contribution(person, key), verb.clone()).await
            }
        };
        match done {
            Ok(()) | Err(Again::Refused) => return,
            Err(Again::Later) => {
                let ms = wire.sim.chance.between(50, 1_500);
                tokio::time::sleep(Duration::from_millis(ms)).await;
            }
        }
    }
    wire.sim.journal.breach(format!("I1: nobody ever answered to {act:?}"));
}

async fn give(
    wire: &Wire,
    person: &str,
    grant: &str,
    program: &str,
    ends_after_ms: Option<u64>,
) -> Result<(), Again> {
    let sim = &wire.sim;
    let at = sim.now();
    let shard = sim.key.bucket(person).shard(sim.plan.shards);
    let consent = Consent {
        contributor: person.to_owned(),
        grant: grant.to_owned(),
        program: program.to_owned(),
        purposes: vec!["ai-training".to_owned()],
        modalities: vec![Modality::Image],
        terms: terms().into(),
        expires_at: ends_after_ms.map(|ms| at.plus_ms(ms)),
        at,
    };
    let identity = identity(&[b"grant", person.as_bytes(), grant.as_bytes()]);
    put(wire, shard, Item::Consent(consent), Some((identity, identity)), None).await.map(drop)
}

async fn withdraw(wire: &Wire, person: &str, scope: Scope, number: u64) -> Result<(), Again> {
    let sim = &wire.sim;
    let at = sim.now();
    let shard = sim.key.bucket(person).shard(sim.plan.shards);
    let mark = Mark { scope: scope.clone(), position: 0, at };
    let key = sim.key.contributor(person);
    let item = Item::Withdrawal(Withdrawal { contributor: person.to_owned(), scope, at });
    let identity = identity(&[b"withdrawal", &number.to_be_bytes()]);
    let put = put(wire, shard, item, Some((identity, identity)), Some((key, mark))).await?;
    sim.journal.note(format_args!("{person} withdrew: {put:?}"));
    Ok(())
}

/// An operator's or client's word on one journey.
pub(super) async fn say(wire: &Wire, id: ContributionId, verb: Verb) {
    for _ in 0..CLIENT_TRIES_MAX {
        if command(wire, id, verb.clone()).await.is_ok() {
            return;
        }
    }
}

async fn command(wire: &Wire, id: ContributionId, verb: Verb) -> Result<(), Again> {
    let shard = id.bucket.shard(wire.sim.plan.shards);
    wire.sim.journal.note(format_args!("an operator says {verb:?} of {id}"));
    put(wire, shard, Item::Command { id, verb }, None, None).await.map(drop)
}

async fn hand_in(wire: &Wire, hand: &Hand) -> Result<(), Again> {
    let sim = wire.sim.clone();
    let id = sim.key.contribution(&hand.person, &hand.key);
    let shard = id.bucket.shard(sim.plan.shards);
    let body = identity(&[hand.program.as_bytes(), hand.task.as_bytes(), &[hand.content]]);
    let found = wire.find(shard, vec![id.mac]).await?;
    if let Some((arrival, known)) = found.into_iter().next().flatten() {
        if known != body {
            return Err(Again::Refused);
        }
        sim.acknowledge(shard, arrival, id);
        return Ok(());
    }
    let slots = wire.allocate(shard, 1).await?;
    let slot = slots.first().copied().unwrap_or(0);
    let media = import(wire, hand, slot, id).await?;
    let submission = Submission {
        id,
        contributor: hand.person.clone(),
        idempotency_key: hand.key.clone(),
        program: hand.program.to_owned(),
        task: hand.task.to_owned(),
        modality: if media.is_some() { Modality::Image } else { Modality::None },
        language: None,
        media,
        transcript: None,
        captured_at: None,
        data_key: slot,
        at: sim.now(),
    };
    let item = Item::Contribution(submission);
    match put(wire, shard, item, Some((id.mac, body)), None).await? {
        Submitted::Accepted(arrival) | Submitted::Same(arrival) => {
            sim.acknowledge(shard, arrival, id);
            Ok(())
        }
        Submitted::Conflict(_) => Err(Again::Refused),
        Submitted::Full => Err(Again::Later),
    }
}

async fn import(
    wire: &Wire,
    hand: &Hand,
    slot: u64,
    id: ContributionId,
) -> Result<Option<Media>, Again> {
    if hand.program != MEDIA {
        return Ok(None);
    }
    let Some(key) = wire.keys(vec![slot]).await?.into_iter().next().flatten() else {
        return Err(Again::Later);
    };
    let bytes = vec![hand.content; 3];
    let stored = wire.put(slot, key, bytes.clone()).await;
    if stored.is_err() {
        return Err(Again::Later);
    }
    let half = identity(&[b"content", &bytes]);
    let mut sha256 = [0; 32];
    sha256[..16].copy_from_slice(&half);
    let index: &dyn ContentIndex = wire;
    index.claim(vec![(sha256, id)]).await?;
    Ok(Some(Media { sha256, bytes: bytes.len() as u64 }))
}

async fn put(
    wire: &Wire,
    shard: ShardId,
    item: Item,
    identity: Option<([u8; 16], [u8; 16])>,
    mark: Option<(gristmill_workflows::id::ContributorKey, Mark)>,
) -> Result<Submitted, Again> {
    let lane = item.lane();
    let item = encode(&item).map_err(|_| Again::Refused)?;
    let items = vec![Intake { shard, lane, item, identity, mark, reads: Reads::default() }];
    // Some withdrawals come by a node that has the shard, others do not.
    let taker = items[0].mark.as_ref().and_then(|_| wire.sim.taker());
    let announced = match &taker {
        Some(engine) => Some(engine.announce(&items).await),
        None => None,
    };
    let answers = wire.submit(items).await?;
    wire.sim.grew(shard);
    if let Some(announced) = announced {
        announced.submitted(&answers);
    }
    answers.into_iter().next().ok_or(Again::Later)
}

/// 16 bytes that stand for these.
fn identity(parts: &[&[u8]]) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (n, half) in bytes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let start = 0xcbf2_9ce4_8422_2325 ^ n as u64;
        let digest = parts.iter().fold(start, |digest, part| fnv(fnv(digest, part), &[0xff]));
        *half = digest.to_be_bytes();
    }
    bytes
}

/// What was acknowledged, and where.
pub(super) type Acknowledged = (ShardId, Arrival, ContributionId);

/// Does everything of a plan at its time; ends when the last act is done.
pub(super) async fn live(sim: Arc<Sim>, wire: Wire, acts: Vec<(u64, Act)>) {
    let mut people = tokio::task::JoinSet::new();
    for (at, what) in acts {
        let due = Duration::from_millis(at.saturating_sub(sim.journal.passed_ms()));
        tokio::time::sleep(due).await;
        people.spawn(act(wire.clone(), what));
    }
    while people.join_next().await.is_some() {}
}
