//! A small honest world, written by hand with the real encoders.

use crate::audit::{Audit, Check, LogBook, Published, RailBook, RailLine};
use crate::commit::{OutboxRow, Place, SequencedRow, ShardState};
use crate::contributor::Contributor;
use crate::definition::WorkflowRef;
use crate::entry::{self, DataKey};
use crate::id::{Arrival, Bucket, ContributionId, ContributorKey, IdKey, ShardId};
use crate::inbox::Item;
use crate::journey::{Accepted, Held, Journey, Logged, Payout, PayoutState, Reserved, State};
use crate::ledger::{Account, Posting};
use crate::money::Currency;
use crate::price::{Capped, Price};
use crate::program::{Band, Program, Rates, Task, Unit};
use crate::request::Reason;
use crate::submission::{Modality, Submission, Terms};
use crate::time::Timestamp;
use crate::tombstone::Tombstone;
use gristmill_trace::hash::Hash;
use gristmill_trace::tree::Frontier;
use std::collections::BTreeMap;

pub(super) const SHARDS: u16 = 2;
const BUDGET: u64 = 1_000_000_000;
const DATA_KEY: DataKey = DataKey([3; 32]);

#[derive(Clone)]
pub(super) struct Line {
    pub(super) key: String,
    pub(super) account: String,
    pub(super) minor: u64,
}

#[derive(Clone)]
pub(super) struct World {
    pub(super) key: IdKey,
    pub(super) log: Vec<(u64, Vec<u8>)>,
    pub(super) leaves: bool,
    pub(super) published: Vec<Published>,
    pub(super) current: Option<Published>,
    pub(super) rail: Vec<Line>,
    pub(super) states: BTreeMap<ShardId, ShardState>,
    pub(super) sequenced: Vec<(ShardId, u64, SequencedRow)>,
    pub(super) outbox: Vec<(ShardId, u64, OutboxRow)>,
    pub(super) inbox: Vec<(ShardId, Arrival, Item)>,
    pub(super) tombstones: Vec<(ShardId, Tombstone)>,
    pub(super) journeys: Vec<(ShardId, Place, Journey)>,
    pub(super) contributors: BTreeMap<ContributorKey, (ShardId, Contributor)>,
    pub(super) acknowledged: Vec<(ShardId, Arrival, ContributionId)>,
    pub(super) arrived: Arrival,
}

/// How far a contribution got.
#[derive(PartialEq, Eq)]
pub(super) enum Fate {
    Settled,
    /// Accepted, its entry is still in the outbox.
    Accepted,
    Rejected,
    Queued,
}

fn won() -> Currency {
    Currency::try_from("KRW".to_owned()).unwrap()
}

pub(super) fn program() -> Program {
    let task = Task {
        modality: Modality::Voice,
        languages: Vec::new(),
        unit: Unit::Ms,
        rate_micro: 30_000,
        item_cap_micro: 50_000_000,
        floor: 5000,
    };
    let bands = vec![Band { from: 5000, bp: 8000 }, Band { from: 7000, bp: 10_000 }];
    Program {
        id: "seoul".into(),
        workflow: "contribution".into(),
        currency: won(),
        budget_micro: BUDGET,
        purpose: "ai".into(),
        terms: terms(),
        day_cap_micro: Some(500_000_000),
        utc_offset_minutes: 540,
        rates: Rates { version: 1, bands, demand_bp: 11_000 },
        tasks: [("read-aloud".to_owned(), task)].into(),
    }
}

fn terms() -> Terms {
    Terms { version: "1".into(), sha256: "00".repeat(32), uri: "u".into() }
}

impl World {
    /// A card, four settled contributions of two people, one of them below a won, one accepted, one
    /// rejected, one queued.
    pub(super) fn honest() -> Self {
        let mut world = Self::empty();
        world.settle("kr-1", "a", 100, &Fate::Settled);
        world.settle("kr-1", "b", 100, &Fate::Settled);
        world.settle("kr-2", "a", 10, &Fate::Settled);
        world.settle("kr-2", "b", 2000, &Fate::Settled);
        world.settle("kr-3", "a", 200, &Fate::Rejected);
        world.settle("kr-3", "b", 0, &Fate::Queued);
        world.checkpoint();
        world.settle("kr-1", "c", 77, &Fate::Accepted);
        world
    }

    fn empty() -> Self {
        let key = IdKey::new([7; 32]);
        let mut world = Self {
            log: Vec::new(),
            leaves: true,
            published: Vec::new(),
            current: None,
            rail: Vec::new(),
            states: BTreeMap::new(),
            sequenced: Vec::new(),
            outbox: Vec::new(),
            inbox: Vec::new(),
            journeys: Vec::new(),
            tombstones: Vec::new(),
            contributors: BTreeMap::new(),
            acknowledged: Vec::new(),
            arrived: 0,
            key,
        };
        let home = Bucket::of_program("seoul").shard(SHARDS);
        let card = entry::rate_card(&world.key, "seoul", &program().card_json());
        world.post(home, Account::Deposits, Account::Home, BUDGET);
        let state = world.states.entry(home).or_default();
        let program = state.homes.entry("seoul".to_owned()).or_default();
        (program.balance, program.deposited) = (BUDGET, BUDGET);
        world.append(home, card);
        world
    }

    fn post(&mut self, shard: ShardId, from: Account, to: Account, micro: u64) {
        self.states.entry(shard).or_default().ledger.post(won(), Posting { from, to, micro });
    }

    /// Money for one contribution, from the home to its shard.
    fn grant(&mut self, shard: ShardId, micro: u64) {
        let home = Bucket::of_program("seoul").shard(SHARDS);
        self.post(home, Account::Home, Account::Transit, micro);
        self.post(shard, Account::Transit, Account::Allotment, micro);
        let state = self.states.entry(home).or_default();
        state.homes.get_mut("seoul").unwrap().balance -= micro;
        let state = self.states.entry(shard).or_default();
        state.allotments.entry("seoul".to_owned()).or_default().balance += micro;
    }

    fn position(&mut self, shard: ShardId) -> u64 {
        let state = self.states.entry(shard).or_default();
        state.outbox_next += 1;
        state.outbox_next - 1
    }

    fn append(&mut self, shard: ShardId, entry: Vec<u8>) -> Logged {
        let position = self.position(shard);
        let index = self.log.len() as u64;
        self.sequenced.push((shard, position, SequencedRow::pack(&[index])));
        self.log.push((index, entry));
        Logged { position, index: Some(index) }
    }

    /// A rate card of another program with the same prices; its index.
    pub(super) fn card_of(&mut self, name: &str) -> u64 {
        let card = entry::rate_card(&self.key, name, &program().card_json());
        let logged = self.append(Bucket::of_program(name).shard(SHARDS), card);
        logged.index.unwrap()
    }

    pub(super) fn checkpoint(&mut self) {
        let mut tree = Frontier::new();
        self.log.iter().for_each(|(_, entry)| tree.push(Hash::leaf(entry)));
        let checkpoint = Published { size: tree.size(), root: tree.root() };
        self.published.push(checkpoint);
        self.current = Some(checkpoint);
    }

    pub(super) fn settle(&mut self, contributor: &str, name: &str, units: u64, fate: &Fate) {
        let id = self.key.contribution(contributor, name);
        let shard = id.bucket.shard(SHARDS);
        self.arrived += 1;
        let arrival = self.arrived;
        let submission = submission(id, contributor, name);
        self.acknowledged.push((shard, arrival, id));
        if *fate == Fate::Queued {
            self.inbox.push((shard, arrival, Item::Contribution(submission)));
            return;
        }
        let hash = [1; 16];
        let workflow = WorkflowRef { name: "contribution".into(), version: 1, hash };
        let mut journey = Journey::begin(arrival, submission, workflow);
        self.run(shard, &mut journey, units, fate);
        let place = if journey.state.is_terminal() { Place::Finished } else { Place::Active };
        if place == Place::Finished {
            let rejected = matches!(journey.state, State::Rejected(_));
            let outcome = if rejected { "rejected:duplicate" } else { "settled" };
            let finished = &mut self.states.entry(shard).or_default().finished;
            *finished.entry(outcome.to_owned()).or_default() += 1;
        }
        self.journeys.push((shard, place, journey));
    }

    fn moved(
        &mut self,
        shard: ShardId,
        journey: &mut Journey,
        from: Account,
        to: Account,
        micro: u64,
    ) {
        journey.post(from, to, micro);
        self.post(shard, from, to, micro);
    }

    fn run(&mut self, shard: ShardId, journey: &mut Journey, units: u64, fate: &Fate) {
        use Account::{Allotment, Carry, InFlight, Paid, Payable};
        let full = units * 30_000 * 11_000 / 10_000;
        let (micro, capped) =
            if full > 50_000_000 { (50_000_000, Capped::Item) } else { (full, Capped::None) };
        self.grant(shard, micro);
        self.moved(shard, journey, Allotment, Account::Reserved, micro);
        if *fate == Fate::Rejected {
            self.moved(shard, journey, Account::Reserved, Allotment, micro);
            journey.state = State::Rejected(Reason::known("duplicate"));
            return;
        }
        let state = self.states.entry(shard).or_default();
        state.allotments.get_mut("seoul").unwrap().balance -= micro;
        let (quality_bp, demand_bp) = (10_000, 11_000);
        let price =
            Price { units, score: 8000, rate_micro: 30_000, quality_bp, demand_bp, capped, micro };
        journey.reserved = Some(Reserved { card: 0, day: None });
        journey.held = Some(Held { grant: "g-1".into(), position: 1, terms: terms().into() });
        self.moved(shard, journey, Account::Reserved, Payable, micro);
        let bytes = contribution(&self.key, journey, &price);
        journey.price = Some((won(), price));
        let accepted =
            |entry| Some(Accepted { at: Timestamp(5), card: 0, scorer: "scorer/1".into(), entry });
        if *fate == Fate::Accepted {
            let position = self.position(shard);
            self.outbox.push((shard, position, OutboxRow(vec![bytes])));
            journey.accepted = accepted(Logged { position, index: None });
            return;
        }
        let logged = self.append(shard, bytes);
        journey.accepted = accepted(logged);
        journey.state = State::Settled;
        let person = &journey.submission.contributor;
        let (whose, account) = (self.key.contributor(person), self.key.account(person));
        let row = &mut self.contributors.entry(whose).or_insert((shard, Contributor::default())).1;
        let total = row.carry(won()) + micro;
        let (minor, carry) = (total / 1_000_000, total % 1_000_000);
        row.set_carry(won(), carry);
        self.moved(shard, journey, Payable, Carry, micro);
        if minor == 0 {
            return;
        }
        self.moved(shard, journey, Carry, Payable, minor * 1_000_000);
        self.moved(shard, journey, Payable, InFlight, minor * 1_000_000);
        self.moved(shard, journey, InFlight, Paid, minor * 1_000_000);
        let id = self.key.payout(journey.submission.id, "acceptance", 1);
        let said = entry::Payout {
            id: &id,
            cause: "acceptance",
            of: logged.index.unwrap(),
            minor,
            currency: "KRW",
            rail: "sandbox",
            account: &account,
            carry,
        };
        let bytes = entry::payout(&self.key, &DATA_KEY, &said);
        let logged = Logged { index: None, ..self.append(shard, bytes) };
        self.rail.push(Line { key: id.clone(), account: account.clone(), minor });
        journey.payouts.push(Payout {
            id,
            number: 1,
            account,
            minor,
            carry,
            state: PayoutState::Paid,
            sent: Some(Timestamp(6)),
            entry: Some(logged),
        });
    }

    /// Everything that finished expires.
    pub(super) fn expire(&mut self) {
        for (shard, place, journey) in std::mem::take(&mut self.journeys) {
            match place {
                Place::Active => self.journeys.push((shard, place, journey)),
                Place::Finished => {
                    let left = Tombstone::of(&journey, &self.key).unwrap();
                    self.tombstones.push((shard, left));
                }
            }
        }
    }

    /// Feeds everything to an audit.
    pub(super) fn audit(&self) -> Vec<Check> {
        let mut log = LogBook::new(self.key.clone(), &self.published, self.current);
        for (index, bytes) in &self.log {
            let leaf = self.leaves.then(|| Hash::leaf(bytes));
            log.entry(*index, bytes, leaf);
        }
        self.audit_with(log)
    }

    pub(super) fn audit_with(&self, log: LogBook) -> Vec<Check> {
        let mut rail = RailBook::default();
        for Line { key, account, minor } in &self.rail {
            let line = RailLine { key, account, currency: "KRW", minor: *minor, paid: true };
            rail.line(&RailLine { paid: false, ..line });
            rail.line(&line);
        }
        let mut audit = Audit::new(self.key.clone(), SHARDS, log, Some(rail));
        self.states.iter().for_each(|(shard, state)| audit.shard_state(*shard, state));
        self.outbox.iter().for_each(|(shard, from, row)| audit.outbox(*shard, *from, row));
        for (shard, from, row) in &self.sequenced {
            audit.sequenced(*shard, *from, row.clone());
        }
        self.inbox.iter().for_each(|(shard, arrival, item)| audit.inbox(*shard, *arrival, item));
        self.journeys.iter().for_each(|(shard, place, row)| audit.journey(*shard, *place, row));
        self.tombstones.iter().for_each(|(shard, left)| audit.tombstone(*shard, left));
        for (key, (shard, row)) in &self.contributors {
            audit.contributor(*shard, *key, row);
        }
        for (shard, arrival, id) in &self.acknowledged {
            audit.acknowledged(*shard, *arrival, *id);
        }
        audit.finish()
    }
}

fn submission(id: ContributionId, contributor: &str, name: &str) -> Submission {
    Submission {
        id,
        contributor: contributor.into(),
        idempotency_key: name.into(),
        program: "seoul".into(),
        task: "read-aloud".into(),
        modality: Modality::Voice,
        language: None,
        media: None,
        transcript: None,
        captured_at: None,
        data_key: 0,
        at: Timestamp(1),
    }
}

fn contribution(key: &IdKey, journey: &Journey, price: &Price) -> Vec<u8> {
    let entry = entry::Contribution {
        submission: &journey.submission,
        grant: "g-1",
        terms: &terms(),
        card: 0,
        price,
        currency: "KRW",
        scorer: "scorer/1",
        workflow: &journey.workflow.hash_hex(),
    };
    entry::contribution(key, &DATA_KEY, &entry)
}
