//! The log's writer over the memory store: what stands after every fault, and what is refused.
#![cfg(test)]

use gristmill_actors::ports::{LogError, LogStore};
use gristmill_actors::trace_log::limits::{CHECKPOINTS_KEPT, PRUNE_AFTER_MS};
use gristmill_actors::trace_log::{Error, TraceLog};
use gristmill_testkit::memory_log::{LogFault, MemoryLog};
use gristmill_trace::checkpoint::Checkpoint;
use gristmill_trace::hash::Hash;
use gristmill_trace::key::SigningKey;
use gristmill_trace::verify;
use gristmill_workflows::id::ShardId;
use gristmill_workflows::sequencer::{Answer, Offer};
use gristmill_workflows::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

fn key() -> SigningKey {
    SigningKey::from_seed("example.com/log", &[7; 32]).unwrap()
}

async fn open(store: &MemoryLog) -> Result<TraceLog, Error> {
    TraceLog::open(Arc::new(store.clone()), key()).await
}

fn entry(shard: u16, position: u64) -> Vec<u8> {
    format!("{{\"shard\":{shard},\"position\":{position}}}").into_bytes()
}

fn offer(shard: u16, from: u64, count: u64) -> Offer {
    let entries = (from..from + count).map(|position| entry(shard, position)).collect();
    Offer { shard: ShardId(shard), epoch: 1, from, entries }
}

/// Checks the whole log as a stranger would; its entries in order.
fn verified(store: &MemoryLog) -> (Checkpoint, Vec<Vec<u8>>) {
    let (objects, key) = (store.objects(), key());
    let mut entries = Vec::new();
    let report = verify::log(&mut |path| Ok(objects.get(path).cloned()), key.verifier(), |entry| {
        entries.push(entry.bytes.to_vec())
    });
    let report = report.unwrap();
    assert!(report.is_whole(), "{:?}", report.faults);
    (report.checkpoint, entries)
}

fn extends(store: &MemoryLog, older: &Checkpoint, newer: &Checkpoint) {
    let objects = store.objects();
    verify::extends(&mut |path| Ok(objects.get(path).cloned()), older, newer).unwrap();
}

/// Three shards offer rows to a log that may die at any write; what each was told must stay true.
#[derive(Default)]
struct Shards {
    told: BTreeMap<u64, Vec<u8>>,
    next: BTreeMap<u16, u64>,
    newest: Option<Checkpoint>,
}

impl Shards {
    /// Offers the next row of each shard; the same row again until it is answered.
    async fn round(&mut self, store: &MemoryLog, log: &mut TraceLog) -> Result<(), Error> {
        let from = |shard| self.next.get(&shard).copied().unwrap_or(0);
        let row = |shard| offer(shard, from(shard), 20 * u64::from(shard) + from(shard) % 97);
        let offers: Vec<Offer> = [1, 2, 3].into_iter().map(row).collect();
        let answers = log.sequence(offers.clone()).await?;
        for (offer, answer) in offers.into_iter().zip(answers) {
            let Answer::At(first) = answer else { panic!("{answer:?}") };
            let end = offer.from + offer.entries.len() as u64;
            for (index, entry) in (first..).zip(offer.entries) {
                assert!(self.told.insert(index, entry).is_none(), "index {index} twice");
            }
            self.next.insert(offer.shard.0, end);
            log.acknowledge(offer.shard, end);
        }
        log.publish().await?;
        let view = log.view().unwrap();
        self.seen(store, view.checkpoint());
        Ok(())
    }

    /// A reader sees a checkpoint: it extends all that were seen before.
    fn seen(&mut self, store: &MemoryLog, checkpoint: &Checkpoint) {
        if let Some(newest) = &self.newest {
            extends(store, newest, checkpoint);
        }
        self.newest = Some(checkpoint.clone());
    }

    async fn rounds(&mut self, store: &MemoryLog, log: &mut TraceLog) -> Result<(), Error> {
        for _ in 0..5 {
            self.round(store, log).await?;
        }
        Ok(())
    }

    fn check(&self, store: &MemoryLog) {
        let (checkpoint, entries) = verified(store);
        assert_eq!(self.newest.as_ref(), Some(&checkpoint));
        assert_eq!(checkpoint.size, entries.len() as u64);
        assert_eq!(self.told.len(), entries.len());
        for (index, entry) in (0..).zip(&entries) {
            assert_eq!(self.told.get(&index), Some(entry), "index {index}");
        }
    }
}

#[tokio::test]
async fn every_write_may_fail_persist_unseen_or_come_late() {
    let whole = MemoryLog::new();
    let mut log = open(&whole).await.unwrap();
    Shards::default().rounds(&whole, &mut log).await.unwrap();
    let writes = whole.writes().len();
    assert!(writes > 40, "{writes}");
    for nth in 0..writes {
        for fault in [LogFault::Failed, LogFault::Persisted, LogFault::Late] {
            for late_at in [0, 1, 2] {
                one_fault(nth, fault, late_at).await;
                if fault != LogFault::Late {
                    break;
                }
            }
        }
    }
}

/// `late_at`: rounds after the new start before what was left for later is applied.
async fn one_fault(nth: usize, fault: LogFault, late_at: u64) {
    let (store, mut shards) = (MemoryLog::new(), Shards::default());
    let mut log = open(&store).await.unwrap();
    store.fail(nth, fault);
    let error = shards.rounds(&store, &mut log).await.unwrap_err();
    assert!(matches!(error, Error::Store(LogError::Failed { .. })), "{nth} {fault:?}: {error}");
    assert!(!error.is_full());
    drop(log);
    let mut log = open(&store).await.unwrap();
    for round in 0..3 {
        if round == late_at {
            store.apply_late();
        }
        match shards.round(&store, &mut log).await {
            Ok(()) => {}
            // What came late took the place: stop, open, offer again.
            Err(Error::Store(LogError::Differs { .. })) => {
                log = open(&store).await.unwrap();
                shards.round(&store, &mut log).await.unwrap();
            }
            Err(error) => panic!("{nth} {fault:?} {late_at}: {error}"),
        }
    }
    log = open(&store).await.unwrap();
    shards.round(&store, &mut log).await.unwrap();
    shards.check(&store);
}

#[tokio::test]
async fn what_was_sequenced_and_not_published_is_published_after_a_new_start() {
    let store = MemoryLog::new();
    let mut log = open(&store).await.unwrap();
    let answers = log.sequence(vec![offer(1, 0, 300), offer(2, 0, 2)]).await.unwrap();
    assert_eq!(answers, [Answer::At(0), Answer::At(300)]);
    assert_eq!(store.writes(), ["sequenced/00000000000000000000"]);
    let mut log = open(&store).await.unwrap();
    assert_eq!((log.sequenced_size(), log.published_size()), (302, 0));
    assert_eq!(log.entry(301).await.unwrap(), entry(2, 1));
    assert_eq!(log.publish().await.unwrap().size, 302);
    let answers = log.sequence(vec![offer(2, 0, 2), offer(2, 2, 1)]).await.unwrap();
    assert_eq!(answers, [Answer::At(300), Answer::At(302)]);
    let order = store.writes();
    let expected = [
        "sequenced/00000000000000000000",
        "tile/entries/000",
        "tile/0/000",
        "tile/entries/001.p/46",
        "tile/0/001.p/46",
        "tile/1/000.p/1",
        "checkpoints/00000000000000000302",
        "checkpoint",
        "sequenced/00000000000000000302",
    ];
    assert_eq!(order, expected);
}

#[tokio::test]
async fn an_empty_log_is_published_once() {
    let store = MemoryLog::new();
    let mut log = open(&store).await.unwrap();
    assert!(log.view().is_none());
    assert_eq!(log.publish().await.unwrap().root, Hash::EMPTY_ROOT);
    log.publish().await.unwrap();
    assert_eq!(store.writes().len(), 2);
    let mut log = open(&store).await.unwrap();
    log.publish().await.unwrap();
    assert_eq!(store.writes().len(), 2);
    assert!(matches!(log.entry(0).await, Err(Error::Index { index: 0, size: 0 })));
}

#[tokio::test]
async fn entries_and_receipts_are_read_from_a_view_while_the_log_grows() {
    let store = MemoryLog::new();
    let mut log = open(&store).await.unwrap();
    log.sequence(vec![offer(1, 0, 700)]).await.unwrap();
    log.publish().await.unwrap();
    let mut view = log.view().unwrap().clone();
    log.sequence(vec![offer(1, 700, 70_000)]).await.unwrap_err();
    log = open(&store).await.unwrap();
    for nth in 0..6 {
        log.sequence(vec![offer(1, 700 + nth * 12_000, 12_000)]).await.unwrap();
        log.publish().await.unwrap();
    }
    for index in [0, 255, 256, 511, 699] {
        let bytes = view.entry(index).await.unwrap();
        assert_eq!(bytes, entry(1, index));
        let receipt = view.receipt(index, b"extra".to_vec()).await.unwrap();
        assert_eq!(receipt.verify(&bytes, log.verifier()).unwrap().size, 700);
    }
    assert_eq!(view.entries(690).await.unwrap().len(), 10);
    let mut newest = log.view().unwrap().clone();
    assert_eq!(newest.size(), 72_700);
    assert_eq!(newest.root_at(700).await.unwrap(), view.root());
    assert_eq!(newest.root_at(72_700).await.unwrap(), newest.root());
    assert_eq!(newest.root_at(0).await.unwrap(), Hash::EMPTY_ROOT);
    assert!(newest.root_at(72_701).await.is_err());
    assert!(newest.inclusion(72_700).await.is_err());
    assert!(matches!(newest.entry(72_700).await, Err(Error::Index { .. })));
    let receipt = newest.receipt(72_000, Vec::new()).await.unwrap();
    assert!(receipt.verify(&entry(1, 72_000), log.verifier()).is_ok());
}

#[tokio::test]
async fn a_log_grows_on_while_it_is_published() {
    let store = MemoryLog::new();
    let mut log = open(&store).await.unwrap();
    log.sequence(vec![offer(1, 0, 10)]).await.unwrap();
    let publication = log.begin().unwrap();
    assert!(log.begin().is_none());
    log.sequence(vec![offer(1, 10, 10)]).await.unwrap();
    assert!(matches!(log.publish().await, Err(Error::Backlog)));
    let written = publication.write().await;
    assert_eq!(log.finish(written).unwrap().size, 10);
    assert_eq!((log.published_size(), log.sequenced_size()), (10, 20));
    store.fail(2, LogFault::Full);
    assert!(log.publish().await.unwrap_err().is_full());
    assert_eq!(log.publish().await.unwrap().size, 20);
    assert_eq!(verified(&store).1.len(), 20);
}

#[tokio::test]
async fn files_do_not_pile_up_once_shards_have_acknowledged() {
    let store = MemoryLog::new();
    let mut log = open(&store).await.unwrap();
    let count =
        |folder: &str| store.objects().keys().filter(|path| path.starts_with(folder)).count();
    for nth in 0..60 {
        log.sequence(vec![offer(1, nth * 7, 7), offer(2, nth, 1)]).await.unwrap();
        log.publish().await.unwrap();
        log.acknowledge(ShardId(1), nth * 7 + 7);
    }
    assert_eq!(count("sequenced/"), 60, "shard 2 has acknowledged nothing");
    assert_eq!(count("checkpoints/"), CHECKPOINTS_KEPT);
    let full = 480_usize.div_ceil(256) - 1;
    let partials = store.objects().keys().filter(|path| path.contains(".p/")).count();
    assert!(partials <= 3 * CHECKPOINTS_KEPT, "{partials}");
    assert_eq!(count("tile/0/") - (partials - count("tile/1/")) / 2, full);
    log.acknowledge(ShardId(2), 60);
    for nth in 60..63 {
        log.sequence(vec![offer(1, nth * 7, 7)]).await.unwrap();
        log.publish().await.unwrap();
    }
    assert!(count("sequenced/") < 6, "{}", count("sequenced/"));
    let mut log = open(&store).await.unwrap();
    assert_eq!(log.cursor(ShardId(2)).next, 60);
    assert_eq!(log.entry(0).await.unwrap(), entry(1, 0));
    assert_eq!(verified(&store).1.len() as u64, log.sequenced_size());
}

#[tokio::test]
async fn a_crash_among_removals_leaves_a_log_that_opens() {
    let store = MemoryLog::new();
    let mut log = open(&store).await.unwrap();
    for nth in 0..6 {
        log.sequence(vec![offer(1, nth, 1)]).await.unwrap();
        log.publish().await.unwrap();
    }
    store.damage("sequenced/00000000000000000002", None);
    assert_eq!(open(&store).await.unwrap().sequenced_size(), 6);
}

#[tokio::test]
async fn of_two_writers_at_most_one_goes_on() {
    let store = MemoryLog::new();
    let mut old = open(&store).await.unwrap();
    let mut new = open(&store).await.unwrap();
    new.sequence(vec![offer(1, 0, 3)]).await.unwrap();
    let other = Offer { entries: vec![b"other".to_vec()], ..offer(1, 0, 1) };
    let error = old.sequence(vec![other.clone()]).await.unwrap_err();
    assert!(matches!(error, Error::Store(LogError::Differs { .. })), "{error}");
    assert!(matches!(old.sequence(vec![other.clone()]).await, Err(Error::Stopped)));
    // A writer that slept while its place was taken, published and taken away again.
    let mut old = open(&store).await.unwrap();
    for nth in 1..5 {
        new.sequence(vec![offer(1, nth * 3, 3)]).await.unwrap();
        new.acknowledge(ShardId(1), nth * 3 + 3);
        new.publish().await.unwrap();
    }
    assert!(!store.objects().contains_key("sequenced/00000000000000000003"));
    let error = old.sequence(vec![Offer { from: 3, ..other }]).await.unwrap_err();
    assert!(matches!(error, Error::Superseded { first: 3, published: 15 }), "{error}");
    assert_eq!(open(&store).await.unwrap().sequenced_size(), 15);
}

/// Two writers of a shared log; one slept while its place was taken, published and taken away.
async fn slept(store: &MemoryLog) -> (TraceLog, TraceLog) {
    let mut awake = open(store).await.unwrap().share();
    let asleep = open(store).await.unwrap().share();
    for nth in 0..5 {
        awake.sequence(vec![offer(1, nth * 3, 3)]).await.unwrap();
        awake.publish().await.unwrap();
    }
    for now in [0, PRUNE_AFTER_MS] {
        awake.committed(Timestamp(now), BTreeMap::from([(ShardId(1), 15)]));
    }
    awake.sequence(vec![offer(1, 15, 1)]).await.unwrap();
    awake.publish().await.unwrap();
    assert!(!store.objects().contains_key("sequenced/00000000000000000000"));
    (awake, asleep)
}

#[tokio::test]
async fn objects_of_a_shared_log_stay_for_the_margin_and_what_a_store_forgot_is_found() {
    let store = MemoryLog::new();
    let mut publisher = open(&store).await.unwrap().share();
    let mut other = open(&store).await.unwrap().share();
    let objects = || store.objects().keys().filter(|path| path.starts_with("sequenced/")).count();
    let committed = |below| BTreeMap::from([(ShardId(1), below), (ShardId(2), 0)]);
    for nth in 0..10 {
        publisher.sequence(vec![offer(1, nth * 3, 3)]).await.unwrap();
        publisher.acknowledge(ShardId(1), nth * 3 + 3);
        publisher.publish().await.unwrap();
    }
    assert_eq!(objects(), 10, "that its own shard has committed is not enough");
    publisher.committed(Timestamp(0), committed(15));
    publisher.committed(Timestamp(PRUNE_AFTER_MS - 1), committed(30));
    publisher.sequence(vec![offer(1, 30, 1)]).await.unwrap();
    publisher.publish().await.unwrap();
    assert_eq!(objects(), 11, "nor that it has for a short while");
    // Another node, whose store forgot all since position 15.
    assert_eq!(other.above(ShardId(1), &[], 15).await.unwrap().len(), 6);
    publisher.committed(Timestamp(PRUNE_AFTER_MS), committed(30));
    publisher.sequence(vec![offer(1, 31, 1)]).await.unwrap();
    publisher.publish().await.unwrap();
    assert_eq!(objects(), 7, "five were seen committed for the whole margin");
    let found = other.reopened().await.unwrap().above(ShardId(1), &[], 15).await.unwrap();
    assert_eq!((found[0].from, found.len()), (15, 7));
    other.trim().await.unwrap();
    for mut log in [other, open(&store).await.unwrap().share()] {
        let error = log.above(ShardId(1), &[], 12).await.unwrap_err();
        assert!(matches!(error, Error::Pruned { shard: ShardId(1), from: 12 }), "{error}");
        assert_eq!(log.above(ShardId(1), &[], 32).await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_shard_that_does_not_commit_keeps_what_it_needs_of_a_shared_log_and_no_more() {
    let store = MemoryLog::new();
    let mut publisher = open(&store).await.unwrap().share();
    let mut other = open(&store).await.unwrap().share();
    let objects = || {
        let objects = store.objects().into_keys().filter(|path| path.starts_with("sequenced/"));
        objects.collect::<Vec<String>>()
    };
    let stuck = [offer(2, 0, 1), offer(2, 1, 1)];
    for nth in 0..100 {
        let both = stuck.iter().filter(|stuck| nth == 3 + stuck.from * 40).cloned();
        let offers = both.chain([offer(1, nth, 1)]).collect();
        publisher.sequence(offers).await.unwrap();
        publisher.publish().await.unwrap();
    }
    other.catch_up().await.unwrap();
    for now in [0, PRUNE_AFTER_MS] {
        // Of shard 2 nothing is known.
        publisher.committed(Timestamp(now), BTreeMap::from([(ShardId(1), 100)]));
    }
    for nth in 100..104 {
        publisher.sequence(vec![offer(1, nth, 1)]).await.unwrap();
        publisher.publish().await.unwrap();
    }
    let left = objects();
    assert_eq!(left.len(), 2 + 4, "{left:?}");
    other.follow().await.unwrap();
    other.trim().await.unwrap();
    assert_eq!(objects(), left);
    for mut log in [publisher, other.reopened().await.unwrap(), other, open(&store).await.unwrap()]
    {
        let expected = [Answer::At(3), Answer::At(44), Answer::Forgotten];
        let offers = [stuck.to_vec(), vec![offer(1, 2, 1)]].concat();
        assert_eq!(log.sequence(offers).await.unwrap(), expected);
        let found = log.share().above(ShardId(2), &[], 1).await.unwrap();
        assert_eq!(found.iter().map(|found| found.first).collect::<Vec<u64>>(), [44]);
    }
    assert_eq!(objects(), left, "opening takes nothing of them away");
    // One that says what was not published is not believed.
    store.damage(&left[0], Some(store.objects()[&left[1]].clone()));
    assert!(open(&store).await.is_err(), "it has another's name");
    let lie = MemoryLog::new();
    let mut liar = open(&lie).await.unwrap();
    for nth in 0..4 {
        liar.sequence(vec![offer(3, nth, 1)]).await.unwrap();
    }
    store.damage(&left[0], Some(lie.objects()[&left[0]].clone()));
    let mut log = open(&store).await.unwrap();
    assert_eq!(objects(), left[1..]);
    assert_eq!(log.sequence(vec![stuck[0].clone()]).await.unwrap(), [Answer::Forgotten]);
}

#[tokio::test]
async fn what_an_older_owner_offers_late_is_refused_or_found_by_the_next_one() {
    let store = MemoryLog::new();
    let mut old = open(&store).await.unwrap().share();
    let mut new = open(&store).await.unwrap().share();
    let own = |from: u64| Offer { epoch: 2, entries: vec![b"own".to_vec()], ..offer(1, from, 1) };
    old.sequence(vec![offer(1, 0, 2)]).await.unwrap();
    new.fence(ShardId(1), 2);
    assert_eq!(new.above(ShardId(1), &[], 2).await.unwrap(), []);
    // The new one has committed a row at the position that the old one takes now.
    assert_eq!(old.sequence(vec![offer(1, 2, 3)]).await.unwrap(), [Answer::At(2)]);
    assert_eq!(new.sequence(vec![own(2)]).await.unwrap(), [Answer::Forgotten]);
    let rows = [(2, own(2).entries)];
    let found = new.above(ShardId(1), &rows, 3).await.unwrap();
    assert_eq!((found.len(), found[0].from, found[0].entries.len()), (1, 2, 3));
    assert_eq!(new.sequence(vec![own(5)]).await.unwrap(), [Answer::At(5)]);
    let answers = old.sequence(vec![offer(1, 6, 1)]).await.unwrap();
    assert_eq!(answers, [Answer::Fenced], "an object of the new one says its epoch");
    // An object that only says the epoch, since it holds another shard's entries, is enough.
    new.fence(ShardId(4), 7);
    new.sequence(vec![offer(3, 0, 1)]).await.unwrap();
    assert_eq!(old.sequence(vec![offer(4, 0, 1)]).await.unwrap(), [Answer::Fenced]);
    let again = [own(2).entries, own(5).entries].into_iter().zip([2, 5]);
    let rows: Vec<_> = again.map(|(entries, from)| (from, entries)).collect();
    assert_eq!(new.above(ShardId(1), &rows[1..], 6).await.unwrap(), [], "it stands where it was");
    let found = new.above(ShardId(1), &rows[..1], 6).await.unwrap();
    assert_eq!(found.iter().map(|found| found.from).collect::<Vec<u64>>(), [2, 5]);
}

#[tokio::test]
async fn a_writer_of_a_shared_log_that_slept_creates_nothing() {
    let store = MemoryLog::new();
    let (_, mut asleep) = slept(&store).await;
    let before = store.objects();
    let error = asleep.sequence(vec![offer(2, 0, 1)]).await.unwrap_err();
    assert!(matches!(error, Error::Superseded { first: 0, published: 16 }), "{error}");
    assert_eq!(store.objects(), before);
    let mut again = asleep.reopened().await.unwrap();
    assert_eq!(again.sequence(vec![offer(2, 0, 1)]).await.unwrap(), [Answer::At(16)]);
}

#[tokio::test]
async fn a_writer_that_falls_asleep_before_it_creates_takes_the_void_object_away() {
    let store = MemoryLog::new();
    let (_, mut asleep) = slept(&store).await;
    let checkpoint = store.objects()["checkpoint"].clone();
    // It looks before the others publish, and creates after.
    store.show_once("checkpoint", None);
    let error = asleep.sequence(vec![offer(2, 0, 1)]).await.unwrap_err();
    assert!(matches!(error, Error::Superseded { first: 0, published: 16 }), "{error}");
    assert!(!store.objects().contains_key("sequenced/00000000000000000000"));
    assert_eq!(store.objects()["checkpoint"], checkpoint);
}

#[tokio::test]
async fn a_void_object_of_a_writer_that_died_goes_when_the_log_is_opened() {
    let store = MemoryLog::new();
    let (_, _) = slept(&store).await;
    let other = MemoryLog::new();
    open(&other).await.unwrap().sequence(vec![offer(2, 0, 1)]).await.unwrap();
    let path = "sequenced/00000000000000000000";
    store.damage(path, Some(other.objects()[path].clone()));
    let mut log = open(&store).await.unwrap();
    assert!(!store.objects().contains_key(path));
    assert_eq!(log.sequence(vec![offer(2, 0, 1)]).await.unwrap(), [Answer::At(16)]);
}

async fn refused(damage: impl FnOnce(&MemoryLog)) -> String {
    let store = MemoryLog::new();
    let mut log = open(&store).await.unwrap();
    for nth in 0..3 {
        log.sequence(vec![offer(1, nth * 100, 100)]).await.unwrap();
        log.publish().await.unwrap();
    }
    damage(&store);
    let before = store.objects();
    let error = open(&store).await.map(|_| ()).unwrap_err();
    assert_eq!(store.objects(), before);
    error.to_string()
}

fn flip(store: &MemoryLog, path: &str) {
    let mut bytes = store.objects()[path].clone();
    *bytes.last_mut().unwrap() ^= 1;
    store.damage(path, Some(bytes));
}

#[tokio::test]
async fn a_damaged_log_is_refused_and_left_as_it_is() {
    let newest = "sequenced/00000000000000000200";
    let ahead = refused(|store| store.damage(newest, None)).await;
    assert_eq!(ahead, "the checkpoint has 300 entries, but only 200 are sequenced");
    let tile = refused(|store| store.damage("tile/1/000.p/1", None)).await;
    assert_eq!(tile, "tile/1/000.p/1: missing");
    let root = refused(|store| flip(store, "tile/0/001.p/44")).await;
    assert!(root.starts_with("right edge tiles have root"), "{root}");
    let bundle = refused(|store| flip(store, "tile/entries/001.p/44")).await;
    assert!(bundle.contains("entry 299 does not have the hash in its tile"), "{bundle}");
    let object = refused(|store| flip(store, newest)).await;
    assert!(object.ends_with("is damaged"), "{object}");
    let signature = refused(|store| flip(store, "checkpoint")).await;
    assert!(signature.starts_with("checkpoint: "), "{signature}");
    let foreign = refused(|store| {
        let other = SigningKey::from_seed("example.com/log", &[8; 32]).unwrap();
        let (checkpoint, _) = verified(store);
        let note = checkpoint.sign(&other).unwrap();
        store.damage("checkpoint", Some(note.into_bytes()));
    });
    assert_eq!(foreign.await, "checkpoint: note is not signed by a known key");
    let name = refused(|store| store.damage("sequenced/1", Some(Vec::new()))).await;
    assert_eq!(name, "sequenced/1 does not hold what its name says");
    let roots = refused(|store| {
        let (checkpoint, _) = verified(store);
        let root = Hash::leaf(b"another");
        let note = Checkpoint { root, ..checkpoint }.sign(&key()).unwrap();
        store.damage("checkpoint", Some(note.into_bytes()));
    });
    assert_eq!(roots.await, "two checkpoints of size 300 have different roots");
    let branch = refused(|store| {
        let (checkpoint, _) = verified(store);
        let root = Hash::leaf(b"another");
        let note = Checkpoint { root, size: 200, ..checkpoint }.sign(&key()).unwrap();
        store.damage("checkpoint", Some(note.into_bytes()));
    });
    assert!(branch.await.contains("200"));
}

#[tokio::test]
async fn a_missing_object_that_is_not_published_is_refused() {
    let store = MemoryLog::new();
    let mut log = open(&store).await.unwrap();
    for nth in 0..3 {
        log.sequence(vec![offer(1, nth, 1)]).await.unwrap();
    }
    store.damage("sequenced/00000000000000000001", None);
    let error = open(&store).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Chain { .. }), "{error}");
    store.damage("sequenced/00000000000000000000", None);
    let error = open(&store).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Chain { .. }), "{error}");
}

#[tokio::test]
async fn a_checkpoint_set_back_is_put_right() {
    let store = MemoryLog::new();
    let mut log = open(&store).await.unwrap();
    log.sequence(vec![offer(1, 0, 5)]).await.unwrap();
    log.publish().await.unwrap();
    let old = store.objects()["checkpoint"].clone();
    log.sequence(vec![offer(1, 5, 5)]).await.unwrap();
    log.publish().await.unwrap();
    for damage in [Some(old), None] {
        store.damage("checkpoint", damage);
        let mut log = open(&store).await.unwrap();
        assert_eq!(log.publish().await.unwrap().size, 10);
        assert_eq!(verified(&store).0.size, 10);
    }
}

#[tokio::test]
async fn what_can_never_be_published_is_not_sequenced() {
    let store = MemoryLog::new();
    let mut log = open(&store).await.unwrap();
    let long = Offer { entries: vec![vec![0; 65_536]], ..offer(1, 0, 0) };
    let error = log.sequence(vec![offer(2, 0, 1), long]).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { shard: ShardId(1), from: 0 }), "{error}");
    assert_eq!(log.sequenced_size(), 0);
    let answers = log.sequence(vec![offer(2, 0, 1), offer(2, 5, 1)]).await.unwrap();
    assert_eq!(answers, [Answer::At(0), Answer::Gap { next: 1 }]);
}

#[tokio::test]
async fn a_large_backlog_is_split_and_published_in_between() {
    let store = MemoryLog::new();
    let mut log = open(&store).await.unwrap();
    let row = |from| Offer { entries: vec![vec![b'x'; 60_000]; 100], ..offer(1, from, 0) };
    for nth in 0..16 {
        log.sequence(vec![row(nth * 100)]).await.unwrap();
    }
    assert!(log.published_size() > 0);
    assert!(store.list("sequenced".to_owned()).await.unwrap().len() == 16);
    drop(log);
    let mut log = open(&store).await.unwrap();
    assert_eq!(log.publish().await.unwrap().size, 1600);
    assert_eq!(verified(&store).1.len(), 1600);
}
