//! A process that is killed while it commits loses nothing it was told.

use gristmill::embedded_store::{EmbeddedStore, Options};
use gristmill_actors::ports::{Committed, Intake, Reads, ShardStore, Submitted};
use gristmill_workflows::commit::{Commit, Place};
use gristmill_workflows::id::{Arrival, ShardId};
use gristmill_workflows::inbox::Lane;
use gristmill_workflows::lease::Fence;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const DIR: &str = "GRISTMILL_TEST_STORE_DIR";
const ROUND: &str = "GRISTMILL_TEST_STORE_ROUND";
const SHARDS: u16 = 4;
const ROUNDS: u32 = 12;
/// How long a process may take to say its lines.
const PATIENCE: Duration = Duration::from_secs(60);
/// Submits before a shard's commit that settles them.
const ITEMS: u32 = 8;

fn open(dir: &Path) -> EmbeddedStore {
    EmbeddedStore::open(dir, Options { shards: SHARDS, ..Options::default() }).unwrap()
}

fn identity(round: u32, shard: u16, n: u32) -> [u8; 16] {
    let mut identity = [0; 16];
    identity[..4].copy_from_slice(&round.to_be_bytes());
    identity[4..6].copy_from_slice(&shard.to_be_bytes());
    identity[6..10].copy_from_slice(&n.to_be_bytes());
    identity
}

/// Says what is acknowledged, past the test harness's capture.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Hands in and settles without end, and says what was acknowledged.
async fn work(store: Arc<EmbeddedStore>, round: u32, shard: u16) {
    let lease = ShardStore::claim(&*store, ShardId(shard), 1).await.unwrap();
    let mut fence = Fence { owner: lease.owner, epoch: lease.epoch, seq: 0 };
    for turn in 0.. {
        let mut arrivals = Vec::new();
        for n in turn * ITEMS..(turn + 1) * ITEMS {
            let item = Intake {
                shard: ShardId(shard),
                lane: Lane::Intake,
                item: vec![u8::try_from(n % 251).unwrap(); 300],
                identity: Some((identity(round, shard, n), [1; 16])),
                mark: None,
                reads: Reads::default(),
            };
            let answers = store.submit(vec![item]).await.unwrap();
            let Submitted::Accepted(arrival) = answers[0] else { panic!("{answers:?}") };
            say(&format!("!in {shard} {n} {arrival}\n"));
            arrivals.push(arrival);
        }
        fence.seq += 1;
        let finished = |arrival: &Arrival| (*arrival, Place::Finished, false, b"done".to_vec());
        let commit = Commit {
            inbox_remove: arrivals.iter().map(|arrival| (Lane::Intake, *arrival)).collect(),
            journeys: arrivals.iter().map(finished).collect(),
            state: turn.to_be_bytes().to_vec(),
            ..Commit::default()
        };
        let answer = store.commit(ShardId(shard), fence, Arc::new(commit)).await;
        assert_eq!(answer, Ok(Committed::Applied));
        for arrival in arrivals {
            say(&format!("!done {shard} {arrival}\n"));
        }
    }
}

/// The body of the process that is killed; does nothing when the suite runs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_to_be_killed() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let round = std::env::var(ROUND).unwrap().parse().unwrap();
    let store = Arc::new(open(Path::new(&dir)));
    say("!open\n");
    let shards: Vec<_> =
        (0..SHARDS).map(|shard| tokio::spawn(work(Arc::clone(&store), round, shard))).collect();
    for shard in shards {
        shard.await.unwrap();
    }
}

#[derive(Default)]
struct Told {
    accepted: BTreeMap<(u32, u16, u32), Arrival>,
    done: Vec<(u16, Arrival)>,
}

/// When the process is killed.
#[derive(Clone, Copy)]
enum Kill {
    /// Once it has said so many lines.
    Lines(usize),
    /// After a while, whatever it does then.
    After(Duration),
}

/// Runs the process until it is killed, and takes in what it said.
fn round(dir: &Path, round: u32, kill: Kill, told: &mut Told) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::the_process_to_be_killed", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let (lines, said) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        out.lines().map(Result::unwrap).for_each(|line| lines.send(line).unwrap());
    });
    let begun = Instant::now();
    let (most, patience) = match kill {
        Kill::Lines(lines) => (lines, PATIENCE),
        Kill::After(patience) => (usize::MAX, patience),
    };
    let mut heard = Vec::new();
    while heard.len() < most
        && let Ok(line) = said.recv_timeout(patience.saturating_sub(begun.elapsed()))
    {
        heard.push(line);
    }
    assert_eq!(child.try_wait().unwrap(), None, "the process ended by itself");
    child.kill().unwrap();
    child.wait().unwrap();
    heard.extend(said);
    reader.join().unwrap();
    heard.iter().for_each(|line| told.take_in(round, line));
}

impl Told {
    fn take_in(&mut self, round: u32, line: &str) {
        let Some((_, said)) = line.split_once('!') else { return };
        let words: Vec<&str> = said.split(' ').collect();
        match words[..] {
            ["in", shard, n, arrival] => {
                let item = (round, shard.parse().unwrap(), n.parse().unwrap());
                self.accepted.insert(item, arrival.parse().unwrap());
            }
            ["done", shard, arrival] => {
                self.done.push((shard.parse().unwrap(), arrival.parse().unwrap()));
            }
            _ => {}
        }
    }
}

async fn check(store: &EmbeddedStore, told: &Told) {
    let mut taken = BTreeMap::new();
    for ((round, shard, n), arrival) in &told.accepted {
        let found = store.find(ShardId(*shard), vec![identity(*round, *shard, *n)]).await.unwrap();
        assert_eq!(found, [Some((*arrival, [1; 16]))], "round {round} shard {shard} item {n}");
        assert_eq!(taken.insert((*shard, *arrival), (*round, *n)), None, "a number came twice");
    }
    for (shard, arrival) in &told.done {
        let journey = store.journeys(ShardId(*shard), vec![*arrival]).await.unwrap();
        assert_eq!(journey[0].as_ref().map(|journey| journey.place), Some(Place::Finished));
        let item = store.inbox_items(ShardId(*shard), vec![*arrival]).await.unwrap();
        assert_eq!(item, [None]);
    }
    for ((shard, arrival), _) in taken {
        let item = store.inbox_items(ShardId(shard), vec![arrival]).await.unwrap();
        let journey = store.journeys(ShardId(shard), vec![arrival]).await.unwrap();
        assert!(item[0].is_some() != journey[0].is_some(), "neither waiting nor settled, or both");
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut told = Told::default();
    for number in 0..ROUNDS {
        let kill = Kill::Lines(10 + usize::try_from(number).unwrap() * 53);
        round(dir.path(), number, kill, &mut told);
        let store = open(dir.path());
        check(&store, &told).await;
    }
    eprintln!("{} accepted, {} settled over {ROUNDS} kills", told.accepted.len(), told.done.len());
    assert!(!told.done.is_empty(), "nothing was settled before the kills");
}

#[test]
fn a_creation_killed_at_any_moment_is_made_anew() {
    for number in 0..ROUNDS {
        let dir = tempfile::tempdir().unwrap();
        let mut told = Told::default();
        let kill = Kill::After(Duration::from_millis(u64::from(2 + number * 3)));
        round(dir.path(), 0, kill, &mut told);
        drop(open(dir.path()));
    }
}
