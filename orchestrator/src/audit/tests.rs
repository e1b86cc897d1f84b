use super::*;
use crate::journeys::town::Town;
use crate::log_folder::LogFolder;
use crate::receipts::tests::Published;
use crate::sandbox_rail::book::BOOK_FILE;
use gristmill_workflows::codec::encode;
use gristmill_workflows::commit::Commit;
use gristmill_workflows::sequencer::{Offer, Sequenced};
use std::fs;

/// A published log with its batch, an empty store, and an empty book.
struct Node {
    log: Published,
    folder: tempfile::TempDir,
    empty: Town,
}

impl Node {
    async fn new() -> Self {
        let log = Published::new(3).await;
        let entries = log.entries.clone();
        let offers = vec![Offer { shard: ShardId(0), epoch: 1, from: 0, entries }];
        let cursors = BTreeMap::new();
        let batch = encode(&Sequenced { first: 0, before: [0; 32], cursors, offers }).unwrap();
        fs::create_dir(log.trace().join("sequenced")).unwrap();
        fs::write(log.trace().join("sequenced/00000000000000000000"), batch).unwrap();
        Self { log, folder: tempfile::tempdir().unwrap(), empty: Town::new() }
    }

    /// Violations of the log and the rail alone, over a store without rows.
    async fn found(&self, code: &str) -> Vec<String> {
        let verdict = self.audit(&self.empty).await;
        let check = verdict.checks.iter().find(|check| check.invariant == code).unwrap();
        check.violations.clone()
    }

    async fn audit(&self, town: &Town) -> Verdict {
        let verifier = self.log.verifier();
        let sources = Sources {
            store: &town.store,
            id_key: &town.key,
            verifier: &verifier,
            trace: LogFolder::new(&self.log.trace()),
            rail: RailSource::Folder(self.folder.path().to_owned()),
            report: Some(self.folder.path().join("report.json")),
        };
        audit(&sources).await.unwrap()
    }

    fn flip(&self, path: &str, at: usize) {
        let file = self.log.trace().join(path);
        let mut bytes = fs::read(&file).unwrap();
        bytes[at] ^= 1;
        fs::write(file, bytes).unwrap();
    }

    fn report(&self, ids: &[String], size: u64) {
        let rows: Vec<_> = ids.iter().map(|id| serde_json::json!({ "id": id })).collect();
        let report = serde_json::json!({"journeys": rows, "trace": {"size": size}});
        fs::write(self.folder.path().join("report.json"), report.to_string()).unwrap();
    }
}

#[tokio::test]
async fn a_whole_log_has_no_violation_of_its_own() {
    let node = Node::new().await;
    assert_eq!(node.found("I7").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_flipped_byte_is_told_by_its_path() {
    let bundle = "tile/entries/000.p/7";
    for (path, at) in [(bundle, 400), (bundle, 0), ("tile/0/000.p/7", 40)] {
        let node = Node::new().await;
        node.flip(path, at);
        assert_eq!(node.found("I7").await, [path]);
    }
    let node = Node::new().await;
    node.flip("checkpoint", 3);
    assert_eq!(node.found("I7").await, ["checkpoint"]);
    let node = Node::new().await;
    node.flip("sequenced/00000000000000000000", 60);
    assert_eq!(node.found("I7").await, ["sequenced/00000000000000000000"]);
}

#[tokio::test]
async fn a_checkpoint_that_shrank_is_told() {
    let node = Node::new().await;
    let trace = node.log.trace();
    fs::copy(trace.join("checkpoints/00000000000000000001"), trace.join("checkpoint")).unwrap();
    assert_eq!(node.found("I7").await, ["1"]);
    fs::remove_file(trace.join("checkpoints/00000000000000000007")).unwrap();
    node.report(&[], 7);
    assert_eq!(node.found("I7").await, ["1"]);
}

#[tokio::test]
async fn a_node_that_was_killed_before_it_served_its_checkpoint_is_clean() {
    let node = Node::new().await;
    let trace = node.log.trace();
    fs::copy(trace.join("checkpoints/00000000000000000001"), trace.join("checkpoint")).unwrap();
    let admitted = encode(&Admitted::default()).unwrap();
    let commit = Commit { admitted: Some(admitted), ..Commit::default() };
    let state = encode(&gristmill_workflows::commit::ShardState::default()).unwrap();
    node.empty.commit(ShardId(0), Commit { state, ..commit }).await;
    assert_eq!(node.found("I7").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_doubled_and_a_broken_line_of_the_book_are_told() {
    let node = Node::new().await;
    let id = node.empty.key.payout(node.empty.key.contribution("kr-1", "a"), "acceptance", 1);
    let line = format!(
        r#"{{"seq":1,"key":"{id}","account":"x","currency":"KRW","minor":2,"state":"paid","at_ms":1}}"#
    );
    let book = node.folder.path().join(BOOK_FILE);
    fs::write(book, format!("{line}\n{line}\nbroken\n")).unwrap();
    let found = node.found("I3").await;
    assert_eq!(found, [id, format!("rail/{BOOK_FILE} line 3")]);
}

#[tokio::test]
async fn rows_that_are_gone_or_do_not_read_are_told_by_their_ids() {
    let node = Node::new().await;
    let town = Town::new();
    let good = town.journey("kr-1", "1", |_| {}).await;
    let broken = town.journey("kr-2", "1", |_| {}).await;
    let gone = town.key.contribution("kr-3", "1");
    let unnamed = town.journey("kr-4", "1", |_| {}).await;
    for id in [broken, unnamed] {
        let shard = town.shard(id);
        let mut rows = town.store.rows(shard).unwrap();
        let arrival = rows.identities[&id.mac].0;
        rows.active.get_mut(&arrival).unwrap()[20] ^= 1;
        town.store.replace_rows(shard, rows);
    }
    node.report(&[good.to_string(), broken.to_string(), gone.to_string()], 7);
    let verdict = node.audit(&town).await;
    let lost = &verdict.checks[0];
    let shard = town.shard(unnamed);
    let arrival = town.store.rows(shard).unwrap().identities[&unnamed.mac].0;
    let mut expected =
        vec![broken.to_string(), gone.to_string(), format!("shard {shard} item {arrival}")];
    expected.sort();
    let mut found = lost.violations.clone();
    found.sort();
    assert_eq!((lost.invariant, found), ("I1", expected), "{:?}", lost.details);
    assert!(!verdict.ok);
    assert!(verdict.lines().last().unwrap().contains("NOT"));
}

#[tokio::test]
async fn a_journey_that_another_one_names_is_missed() {
    let node = Node::new().await;
    let town = Town::new();
    let id = town
        .journey("kr-1", "1", |journey| {
            journey.chained = true;
            journey.previous = Some(77);
        })
        .await;
    let verdict = node.audit(&town).await;
    assert_eq!(verdict.checks[0].violations, [format!("shard {} item 77", town.shard(id))]);
}

#[tokio::test]
async fn rows_of_every_kind_are_fed() {
    let node = Node::new().await;
    let town = Town::new();
    town.queue("kr-1", "1").await;
    town.journey("kr-1", "2", |_| {}).await;
    let done = gristmill_workflows::journey::State::Settled;
    let id = town.journey("kr-1", "3", |journey| journey.state = done).await;
    town.sequenced(town.shard(id), 0, &[0]).await;
    let verdict = node.audit(&town).await;
    assert_eq!(verdict.checks[0].checked, 3);
}
