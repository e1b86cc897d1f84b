use super::*;
use crate::journeys::find;
use crate::journeys::town::{AT, Town};
use gristmill_actors::rail::BoxFuture;
use gristmill_trace::key::Verifier;
use gristmill_trace::publisher::Publisher;
use gristmill_workflows::entry;
use gristmill_workflows::id::ShardId;
use gristmill_workflows::journey::{Accepted, Held, Logged, Payout, State};
use gristmill_workflows::price::{Capped, Price};
use gristmill_workflows::submission::Terms;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Data keys in memory: slot n holds n in every byte, unless it was destroyed.
#[derive(Debug, Default)]
pub(crate) struct Keys(Mutex<HashMap<u64, ()>>);

impl KeyStore for Keys {
    fn allocate(&self, _: ShardId, count: usize) -> BoxFuture<'_, Result<Vec<u64>, StoreError>> {
        Box::pin(async move { Ok(vec![0; count]) })
    }

    fn keys(&self, slots: Vec<u64>) -> BoxFuture<'_, Result<Vec<Option<DataKey>>, StoreError>> {
        let destroyed = self.0.lock().unwrap();
        let key = |slot: u64| {
            let key = DataKey([u8::try_from(slot).unwrap(); 32]);
            (!destroyed.contains_key(&slot)).then_some(key)
        };
        let keys = slots.into_iter().map(key).collect();
        Box::pin(async move { Ok(keys) })
    }

    fn destroy(&self, slots: Vec<u64>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.0.lock().unwrap().extend(slots.into_iter().map(|slot| (slot, ())));
        Box::pin(async { Ok(()) })
    }
}

/// A data directory with a published log of settled journeys `kr-0`, `kr-1`, …
pub(crate) struct Published {
    pub(crate) town: Town,
    keys: Keys,
    folder: tempfile::TempDir,
    dir: DataDir,
    ids: Vec<ContributionId>,
    pub(crate) entries: Vec<Vec<u8>>,
}

const TERMS: (&str, &str, &str) = ("1", "aa", "https://example.com/terms");

fn price() -> Price {
    Price {
        units: 5,
        score: 9000,
        rate_micro: 500_000,
        quality_bp: 10_000,
        demand_bp: 10_000,
        capped: Capped::None,
        micro: 2_500_000,
    }
}

impl Published {
    pub(crate) async fn new(count: usize) -> Self {
        Self::with_seed([3; 32], count).await
    }

    /// A log whose key is made of a seed; entries: a card, then two a journey.
    pub(crate) async fn with_seed(seed: [u8; 32], count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        std::fs::create_dir_all(path.join("keys")).unwrap();
        let key = gristmill_trace::key::SigningKey::from_seed("test.local/trace", &seed).unwrap();
        std::fs::write(path.join("keys/trace.key"), key.to_private_text()).unwrap();
        let town = Town::new();
        std::fs::write(path.join("keys/id.key"), "07".repeat(32)).unwrap();
        let dir = DataDir::open(&path, "test.local/trace").unwrap();
        let terms = Terms { version: TERMS.0.into(), sha256: TERMS.1.into(), uri: TERMS.2.into() };
        let mut entries = vec![entry::rate_card(&town.key, "engine", b"{}")];
        let mut ids = Vec::new();
        for nth in 0..count {
            let person = format!("kr-{nth}");
            let (first, price) = (entries.len() as u64, price());
            let mut bytes = Vec::new();
            let id = town
                .journey(&person, "a", |journey| {
                    Arc::make_mut(&mut journey.submission).data_key = nth as u64;
                    fill(journey, first, &terms, &town.key);
                    let data_key = DataKey([u8::try_from(nth).unwrap(); 32]);
                    let contribution = entry::Contribution {
                        submission: &journey.submission,
                        grant: "g-1",
                        terms: &terms,
                        card: 0,
                        price: &price,
                        currency: "KRW",
                        scorer: "fixed/1",
                        workflow: "00",
                    };
                    let paid = &journey.payouts[0];
                    let payout = entry::Payout {
                        id: &paid.id,
                        cause: "acceptance",
                        of: first,
                        minor: paid.minor,
                        currency: "KRW",
                        rail: "sandbox",
                        account: &paid.account,
                        carry: paid.carry,
                    };
                    bytes.push(entry::contribution(&town.key, &data_key, &contribution));
                    bytes.push(entry::payout(&town.key, &data_key, &payout));
                })
                .await;
            entries.append(&mut bytes);
            ids.push(id);
        }
        publish(&dir, &entries);
        Self { town, keys: Keys::default(), folder, dir, ids, entries }
    }

    pub(crate) fn verifier(&self) -> Verifier {
        self.dir.trace_key().verifier().clone()
    }

    pub(crate) fn trace(&self) -> PathBuf {
        self.dir.trace()
    }

    async fn write(&self) -> Vec<Made> {
        let found = find(&self.town.store, &self.ids).await.unwrap();
        let found: Vec<Found> = found.into_iter().map(Option::unwrap).collect();
        let receipts = Receipts::open(&self.dir, &self.town.store, &self.keys).unwrap();
        receipts.write(&found).await.unwrap()
    }

    /// The two receipts of a journey, as text.
    pub(crate) async fn receipts(&self, nth: usize) -> (String, String) {
        let made = self.write().await.swap_remove(nth);
        let paths = made.paths.unwrap();
        let read = |path: &String| {
            std::fs::read_to_string(self.folder.path().join("data").join(path)).unwrap()
        };
        (read(&paths[0]), read(&paths[1]))
    }
}

fn fill(journey: &mut Journey, index: u64, terms: &Terms, key: &gristmill_workflows::id::IdKey) {
    journey.price = Some(("KRW".to_owned().try_into().unwrap(), price()));
    journey.held = Some(Held { grant: "g-1".to_owned(), position: 1, terms: terms.clone().into() });
    let logged = |index| Logged { position: index, index: Some(index) };
    let scorer = "fixed/1".to_owned();
    journey.accepted = Some(Accepted { at: AT, card: 0, scorer, entry: logged(index) });
    journey.payouts.push(Payout {
        id: key.payout(journey.submission.id, "acceptance", 1),
        number: 1,
        account: "acc".to_owned(),
        minor: 2,
        carry: 500_000,
        state: PayoutState::Paid,
        sent: Some(AT),
        entry: Some(logged(index + 1)),
    });
    journey.state = State::Settled;
}

/// Publishes entries as a log's writer would, in two steps.
pub(crate) fn publish(dir: &DataDir, entries: &[Vec<u8>]) {
    let mut publisher = Publisher::new();
    for part in [&entries[..1], &entries[1..]] {
        for object in publisher.publish(part).unwrap() {
            let path = dir.trace().join(object.tile.path());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, object.bytes).unwrap();
        }
        let origin = dir.trace_key().name().to_owned();
        let (size, root) = (publisher.size(), publisher.root());
        let note = Checkpoint { origin, size, root }.sign(dir.trace_key()).unwrap();
        let folder = dir.trace().join("checkpoints");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{size:020}")), &note).unwrap();
        std::fs::write(dir.trace().join("checkpoint"), &note).unwrap();
    }
}

#[tokio::test]
async fn what_has_expired_asks_for_no_key_and_harms_no_other() {
    let published = Published::new(2).await;
    let found = find(&published.town.store, &published.ids).await.unwrap();
    let mut found: Vec<Found> = found.into_iter().map(Option::unwrap).collect();
    let Found::Journey { shard, mut journey } = found.remove(0) else { panic!("it settled") };
    // No such slot.
    Arc::make_mut(&mut journey.submission).data_key = 999;
    let contributor = published.town.key.contributor(&journey.submission.contributor);
    found.insert(0, Found::Expired { shard, contributor, journey });
    let receipts = Receipts::open(&published.dir, &published.town.store, &published.keys).unwrap();
    let made = receipts.write(&found).await.unwrap();
    assert_eq!(made[0].paths, Err(Absent::Expired));
    assert_eq!(made[1].paths.as_ref().map(Vec::len), Ok(2));
}

#[tokio::test]
async fn what_has_no_receipt_says_why() {
    let published = Published::new(2).await;
    published.keys.destroy(vec![0]).await.unwrap();
    let mut found = find(&published.town.store, &published.ids).await.unwrap();
    let queued = published.town.queue("kr-9", "a").await;
    found.extend(find(&published.town.store, &[queued]).await.unwrap());
    let mut found: Vec<Found> = found.into_iter().map(Option::unwrap).collect();
    let receipts = Receipts::open(&published.dir, &published.town.store, &published.keys).unwrap();
    let made = receipts.write(&found[2..]).await.unwrap();
    assert_eq!(made[0].paths, Err(Absent::NotAccepted));
    let made = receipts.write(&found[..1]).await.unwrap();
    assert_eq!(made[0].paths, Err(Absent::Erased));
    if let Found::Journey { journey, .. } = &mut found[1]
        && let Some(accepted) = &mut journey.accepted
    {
        accepted.entry.index = Some(5);
        let made = receipts.write(&found[1..2]).await.unwrap();
        assert_eq!(made[0].paths, Err(Absent::NotPublished));
    }
}

#[tokio::test]
async fn an_entry_of_someone_else_gets_no_receipt() {
    let published = Published::new(2).await;
    let mut found = find(&published.town.store, &published.ids).await.unwrap();
    if let Some(Found::Journey { journey, .. }) = &mut found[0]
        && let Some(accepted) = &mut journey.accepted
    {
        accepted.entry.index = Some(3);
    }
    let found: Vec<Found> = found.into_iter().map(Option::unwrap).collect();
    let receipts = Receipts::open(&published.dir, &published.town.store, &published.keys).unwrap();
    let error = receipts.write(&found).await.unwrap_err();
    assert!(matches!(error, Error::Foreign { index: 3, .. }), "{error}");
}
