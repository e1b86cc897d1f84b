//! Damages the embedded store of a stopped node, for the tests of the audit. Never shipped.
//!
//! `damage_store DATA_DIR drop ID` takes the journey of a contribution away;
//! `damage_store DATA_DIR posting ID MICRO` adds to its first posting;
//! `damage_store DATA_DIR price ID MICRO` adds to its price;
//! `damage_store DATA_DIR home PROGRAM MICRO` adds to what a program's home says is left.

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use gristmill_workflows::codec::{decode, encode};
use gristmill_workflows::commit::ShardState;
use gristmill_workflows::journey::Journey;
use std::error::Error;
use std::path::Path;

type IsJourney = fn(&[u8]) -> bool;

/// Where journeys stand (`src/embedded_store/keys.rs`): keyspace, and what tells their keys apart.
const PLACES: [(&str, IsJourney); 2] =
    [("queue", |key| key.get(TAG_AT) == Some(&6)), ("finished", |key| key.len() == 18)];
/// Where the shards' own states stand.
const STATE: (&str, u8) = ("queue", 16);
/// Where a tag stands in a key.
const TAG_AT: usize = 2;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn find(db: &Database, id: &str) -> Outcome<(Keyspace, Vec<u8>, Journey)> {
    for (name, is_journey) in PLACES {
        let space = db.keyspace(name, KeyspaceCreateOptions::default)?;
        for row in space.iter() {
            let (key, row) = row.into_inner()?;
            if !is_journey(&key) {
                continue;
            }
            let journey: Journey = decode(&row)?;
            if journey.submission.id.to_string() == id {
                return Ok((space, key.to_vec(), journey));
            }
        }
    }
    Err(format!("no journey has the id {id}").into())
}

fn add_to_home(db: &Database, program: &str, micro: u64) -> Outcome<()> {
    let (name, tag) = STATE;
    let space = db.keyspace(name, KeyspaceCreateOptions::default)?;
    for row in space.iter() {
        let (key, row) = row.into_inner()?;
        if key.get(TAG_AT) != Some(&tag) {
            continue;
        }
        let mut state: ShardState = decode(&row)?;
        if let Some(home) = state.homes.get_mut(program) {
            home.balance += micro;
            return Ok(space.insert(key, encode(&state)?)?);
        }
    }
    Err(format!("no shard is the home of {program}").into())
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [dir, damage @ ..] = arguments.as_slice() else { return Err("no data directory".into()) };
    let db = Database::builder(Path::new(dir).join("store/live/engine")).open()?;
    match damage {
        ["drop", id] => {
            let (space, key, _) = find(&db, id)?;
            space.remove(key)?;
        }
        ["posting", id, micro] => {
            let (space, key, mut journey) = find(&db, id)?;
            let posting = journey.postings.first_mut().ok_or("it moved no money")?;
            posting.micro += micro.parse::<u64>()?;
            space.insert(key, encode(&journey)?)?;
        }
        ["price", id, micro] => {
            let (space, key, mut journey) = find(&db, id)?;
            let (_, price) = journey.price.as_mut().ok_or("it has no price")?;
            price.micro += micro.parse::<u64>()?;
            space.insert(key, encode(&journey)?)?;
        }
        ["home", program, micro] => add_to_home(&db, program, micro.parse()?)?,
        other => return Err(format!("no such damage: {other:?}").into()),
    }
    db.persist(PersistMode::SyncAll)?;
    Ok(())
}
