//! Golden bytes of every durable record: what an older binary wrote must stay readable.

use super::{Record, decode, encode};
use crate::allotment::{Allotment, Card, Home, Message, Peer, Transfer};
use crate::commit::{Admitted, OutboxRow, SequencedRow, ShardState};
use crate::contributor::{Contributor, DayCount, Grant};
use crate::definition::WorkflowRef;
use crate::id::{Bucket, ContributionId, IdKey, ShardId, hex};
use crate::inbox::{Item, Verb};
use crate::journey::{
    Accepted, Event, EventKind, Held, Journey, Logged, Payout, PayoutState, Reserved, State,
    WithdrawnAt,
};
use crate::lease::Lease;
use crate::ledger::{Account, Ledger, Posting};
use crate::money::Currency;
use crate::price::{Capped, Price};
use crate::rate::Leased;
use crate::request::{Cause, Reason, Wait};
use crate::sequencer::{Cursor, Offer, Sequenced};
use crate::submission::{Consent, Mark, Media, Modality, Scope, Submission, Terms, Withdrawal};
use crate::time::Timestamp;
use crate::tombstone::Tombstone;
use std::fmt::Debug;
use std::path::Path;

/// `GRISTMILL_BLESS=1` writes them anew; a changed file needs a new version of its record.
fn holds<R: Record + PartialEq + Debug>(name: &str, record: &R) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/codec/golden")
        .join(format!("{name}.v{}.hex", R::VERSION));
    let bytes = encode(record).unwrap();
    if std::env::var_os("GRISTMILL_BLESS").is_some() {
        std::fs::write(&path, hex(&bytes) + "\n").unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(hex(&bytes), golden.trim_end(), "{name}");
    assert_eq!(decode::<R>(&bytes).as_ref(), Ok(record), "{name}");
}

fn won() -> Currency {
    Currency::try_from("KRW".to_owned()).unwrap()
}

fn terms() -> Terms {
    Terms { version: "1".into(), sha256: "ab".repeat(32), uri: "terms/한글".into() }
}

fn submission() -> Submission {
    Submission {
        id: IdKey::new([7; 32]).contribution("kr-0001", "clip-1"),
        contributor: "kr-0001".into(),
        idempotency_key: "clip-1".into(),
        program: "seoul".into(),
        task: "read-aloud".into(),
        modality: Modality::Voice,
        language: Some("ko".into()),
        media: Some(Media { sha256: [9; 32], bytes: 4 }),
        transcript: Some("안녕".into()),
        captured_at: Some(Timestamp(1)),
        data_key: 5,
        at: Timestamp(2),
    }
}

fn consent() -> Consent {
    Consent {
        contributor: "kr-0001".into(),
        grant: "g-1".into(),
        program: "seoul".into(),
        purposes: vec!["training".into()],
        modalities: vec![Modality::Voice, Modality::Image, Modality::Video, Modality::None],
        terms: terms().into(),
        expires_at: Some(Timestamp(9)),
        at: Timestamp(1),
    }
}

fn workflow() -> WorkflowRef {
    WorkflowRef { name: "contribution".into(), version: 1, hash: [4; 16] }
}

fn journey() -> Journey {
    let mut journey = Journey::begin(12, submission(), workflow());
    let entry = Logged { position: 3, index: Some(70) };
    journey.state = State::Paused { cause: Cause::Permanent, detail: "closed".into() };
    journey.stage = 4;
    journey.attempts = 2;
    journey.failed_attempts = 3;
    journey.outputs = vec![(0, b"{}".to_vec())];
    journey.signals = vec!["ready".into()];
    journey.held = Some(Held { grant: "g-1".into(), position: 8, terms: terms().into() });
    let price = Price {
        units: 3200,
        score: 8123,
        rate_micro: 30_000,
        quality_bp: 10_000,
        demand_bp: 11_000,
        capped: Capped::Day,
        micro: 105_600_000,
    };
    journey.price = Some((won(), price));
    journey.reserved = Some(Reserved { card: 0, day: Some(20_000) });
    journey.accepted = Some(Accepted { at: Timestamp(5), card: 0, scorer: "s/1".into(), entry });
    journey.payouts = vec![Payout {
        id: "p0".into(),
        number: 1,
        account: "a0".into(),
        minor: 105,
        carry: 600_000,
        state: PayoutState::Failed,
        sent: Some(Timestamp(6)),
        entry: Some(Logged { position: 4, index: None }),
    }];
    let scope = Scope::Program("seoul".into());
    journey.withdrawn = Some(WithdrawnAt { at: Timestamp(7), scope, entry: None });
    journey.previous = Some(11);
    journey.chained = true;
    let kind = EventKind::Parked(Wait::Backoff);
    journey.timeline = vec![Event { at: Timestamp(5), stage: 1, kind }];
    journey.postings =
        vec![Posting { from: Account::Allotment, to: Account::Reserved, micro: 105_600_000 }];
    journey
}

fn state() -> ShardState {
    let mut ledger = Ledger::default();
    ledger.post(won(), Posting { from: Account::Deposits, to: Account::Home, micro: 7 });
    let card = Card { hash: [2; 16], index: 3 };
    let allotment = Allotment {
        balance: 5,
        card: Some(card),
        ask: (2, Some(9)),
        give_back: (1, None),
        exhausted_at: Some(8),
    };
    let peer = Peer { answered: Some((1, 5, false)), granted: 5, return_number: 0, returned: 0 };
    let home = Home {
        balance: 7,
        deposited: 12,
        card: Some(card),
        card_due: Some(([3; 16], 4)),
        peers: [(ShardId(1), peer)].into(),
        waiting: vec![(ShardId(1), 2, 9)],
        recalled: vec![ShardId(2)],
        swept: true,
    };
    ShardState {
        ledger,
        allotments: [("seoul".to_owned(), allotment)].into(),
        homes: [("seoul".to_owned(), home)].into(),
        outbox_next: 5,
        now: Timestamp(10),
        finished: [("settled".to_owned(), 2)].into(),
    }
}

#[test]
fn inbox_items_have_their_golden_bytes() {
    let withdrawal =
        Withdrawal { contributor: "kr-0001".into(), scope: Scope::All, at: Timestamp(3) };
    let message = Message::Grant {
        number: 1,
        micro: 2,
        card: Card { hash: [2; 16], index: 3 },
        exhausted: true,
    };
    let transfer = Transfer { program: "seoul".into(), from: ShardId(3), message };
    let id = ContributionId { bucket: Bucket(258), mac: [6; 16] };
    holds("item-contribution", &Item::Contribution(submission()));
    holds("item-consent", &Item::Consent(consent()));
    holds("item-withdrawal", &Item::Withdrawal(withdrawal));
    holds("item-transfer", &Item::Transfer(transfer));
    holds("item-command", &Item::Command { id, verb: Verb::Signal("ready".into()) });
}

#[test]
fn rows_of_a_shard_have_their_golden_bytes() {
    holds("journey", &journey());
    let rejected = Journey {
        state: State::Rejected(Reason::known("no_grant")),
        ..Journey::begin(1, submission(), workflow())
    };
    holds("journey-rejected", &rejected);
    let mark = Mark { scope: Scope::Grant("g-1".into()), position: 9, at: Timestamp(4) };
    holds("mark", &mark);
    let contributor = Contributor {
        grants: vec![Grant { consent: consent().into(), position: 8 }],
        marks: vec![mark],
        days: vec![DayCount { program: "seoul".into(), day: 20_000, micro: 3 }],
        counters: vec![("fraud".into(), 1)],
        carry: vec![(won(), 600_000)],
        latest: Some(12),
    };
    holds("contributor", &contributor);
    holds("shard-state", &state());
}

#[test]
fn what_is_left_of_a_finished_journey_has_its_golden_bytes() {
    let state = State::Settled;
    let payout = Payout {
        id: IdKey::new([7; 32]).payout(submission().id, "acceptance", 1),
        ..journey().payouts.remove(0)
    };
    let journey = Journey { state, payouts: vec![payout], ..journey() };
    let tombstone = Tombstone::of(&journey, &IdKey::new([7; 32])).unwrap();
    holds("tombstone", &tombstone);
    let kept = tombstone.journey();
    assert_eq!(kept.payouts[0].id, journey.payouts[0].id);
    assert_eq!((kept.previous, kept.state), (journey.previous, journey.state));
}

#[test]
fn rows_about_order_have_their_golden_bytes() {
    holds("outbox-row", &OutboxRow(vec![b"{}".to_vec(), b"[]".to_vec()]));
    holds("sequenced-row", &SequencedRow::pack(&[4, 5, 9]));
    holds("admitted", &Admitted { ids: vec![(1, 0)], waiting: vec![(2, 3)], clean: true });
    holds("lease", &Lease { owner: 1 << 100, epoch: 2, seq: 3, until: Timestamp(4) });
    holds("rate", &Leased { free: 1_700_000_000_000_000 });
    let offer = Offer { shard: ShardId(1), epoch: 2, from: 3, entries: vec![b"{}".to_vec()] };
    let cursors = [(ShardId(1), Cursor { epoch: 2, next: 4 })].into();
    holds("sequenced", &Sequenced { first: 9, before: [1; 32], cursors, offers: vec![offer] });
}
