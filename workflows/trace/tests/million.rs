//! How long a large log takes to write and to check. Run with
//! `GRISTMILL_MEASURE=1 cargo test --release … -- --nocapture`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use gristmill_trace::checkpoint::Checkpoint;
use gristmill_trace::key::SigningKey;
use gristmill_trace::publisher::Publisher;
use gristmill_trace::verify;

#[test]
fn a_million_entries_are_checked_within_five_seconds() {
    if std::env::var_os("GRISTMILL_MEASURE").is_none() {
        eprintln!("skipped: a measurement, made with GRISTMILL_MEASURE=1");
        return;
    }
    let key = SigningKey::from_seed("example.com/log", &[7; 32]).unwrap();
    let mut publisher = Publisher::new();
    let mut log = HashMap::new();
    let mut written = Duration::ZERO;
    for batch in 0..1_000 {
        // About the length of a contribution entry.
        let entries: Vec<String> =
            (0..1_000).map(|item| format!("{:0>400}", batch * 1_000 + item)).collect();
        let started = Instant::now();
        let objects = publisher.publish(&entries).unwrap();
        written += started.elapsed();
        for object in objects {
            log.insert(object.tile.path(), object.bytes);
        }
    }
    let (size, root) = (publisher.size(), publisher.root());
    let note = Checkpoint { origin: key.name().to_owned(), size, root }.sign(&key).unwrap();
    log.insert(verify::CHECKPOINT_PATH.to_owned(), note.into_bytes());
    let started = Instant::now();
    let mut fetch = |path: &str| Ok(log.get(path).cloned());
    let report = verify::log(&mut fetch, key.verifier(), |_| {}).unwrap();
    let checked = started.elapsed();
    eprintln!("1000000 entries of 400 bytes: written in {written:?}, checked in {checked:?}");
    assert!(report.is_whole());
    assert!(checked < Duration::from_secs(5), "{checked:?}");
}
