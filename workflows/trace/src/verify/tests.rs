use super::*;
use crate::memory_log::{MemoryLog, entries, key};
use crate::publisher::Publisher;
use crate::reader::FetchError;
use crate::tree::Frontier;

fn check(log: &MemoryLog) -> Result<Report, Error> {
    super::log(&mut log.fetch(), key().verifier(), |_| {})
}

/// The faults of a log after `damage`, as text and in order.
fn faults(log: &MemoryLog, damage: impl FnOnce(&mut MemoryLog)) -> Vec<String> {
    let mut log = log.clone();
    damage(&mut log);
    let mut faults: Vec<String> =
        check(&log).unwrap().faults.iter().map(ToString::to_string).collect();
    faults.sort();
    faults
}

fn flip(log: &mut MemoryLog, path: &str, position: usize) {
    log.0.get_mut(path).unwrap()[position] ^= 1;
}

const BAD_TILE: &str = "hashes are not those of the signed log";

#[test]
fn a_whole_log_of_any_size_has_no_faults() {
    for size in [0, 1, 2, 255, 256, 257, 300, 511, 512, 65_535, 65_536, 65_793] {
        let log = MemoryLog::with_entries(size);
        let (mut tree, mut visited) = (Frontier::new(), 0);
        let report = super::log(&mut log.fetch(), key().verifier(), |entry| {
            assert_eq!(entry.index, visited);
            assert_eq!(entry.bytes, format!("e{visited}").as_bytes());
            tree.push(entry.leaf);
            visited += 1;
        });
        let report = report.unwrap();
        assert!(report.is_whole(), "{size}: {:?}", report.faults);
        assert_eq!(report.entries, size as u64);
        assert_eq!(report.checkpoint.root, tree.root());
        let stored = log.0.len() as u64 - 1;
        assert_eq!(report.objects, stored);
    }
}

#[test]
fn every_flipped_byte_of_a_log_is_found_where_it_is() {
    let log = MemoryLog::with_entries(600);
    for (path, bytes) in log.0.iter().filter(|(path, _)| path.starts_with("tile/")) {
        for position in (0..bytes.len()).step_by(61) {
            let faults = faults(&log, |log| flip(log, path, position));
            assert_eq!(faults.len(), 1, "{path} {position}: {faults:?}");
            // The object itself, or the entry in it.
            assert!(faults[0].starts_with(&format!("{path}: ")), "{faults:?}");
        }
    }
}

#[test]
fn an_altered_entry_is_named_by_its_index() {
    let log = MemoryLog::with_entries(66_000);
    let expected = |index: u64, path: &str| {
        vec![format!("{path}: entry {index} is not the one of the signed log")]
    };
    let altered = faults(&log, |log| flip(log, "tile/entries/000", 3));
    assert_eq!(altered, expected(0, "tile/entries/000"));
    let altered = faults(&log, |log| flip(log, "tile/entries/255", 7 + 4));
    assert_eq!(altered, expected(65_281, "tile/entries/255"));
    let altered = faults(&log, |log| flip(log, "tile/entries/257.p/208", 6));
    assert_eq!(altered, expected(65_792, "tile/entries/257.p/208"));
}

#[test]
fn an_altered_tile_is_named_whatever_its_level() {
    let log = MemoryLog::with_entries(66_000);
    for path in [
        "tile/0/000",
        "tile/0/256",
        "tile/0/257.p/208",
        "tile/1/000",
        "tile/1/001.p/1",
        "tile/2/000.p/1",
    ] {
        assert_eq!(faults(&log, |log| flip(log, path, 5)), [format!("{path}: {BAD_TILE}")]);
    }
}

#[test]
fn damage_in_several_places_is_named_in_each() {
    let log = MemoryLog::with_entries(66_000);
    let found = faults(&log, |log| {
        flip(log, "tile/entries/003", 3);
        flip(log, "tile/0/007", 5);
        flip(log, "tile/entries/009", 3);
        log.0.remove("tile/0/011");
        log.0.remove("tile/entries/013");
        log.0.get_mut("tile/entries/015").unwrap().pop();
    });
    let expected = [
        format!("tile/0/007: {BAD_TILE}"),
        "tile/0/011: missing".to_owned(),
        "tile/entries/003: entry 768 is not the one of the signed log".to_owned(),
        "tile/entries/009: entry 2304 is not the one of the signed log".to_owned(),
        "tile/entries/013: missing".to_owned(),
        "tile/entries/015: bundle ends within entry 255 of 256".to_owned(),
    ];
    assert_eq!(found, expected);
}

#[test]
fn an_entry_altered_together_with_its_tile_is_found_by_the_tile_above() {
    let log = MemoryLog::with_entries(600);
    let found = faults(&log, |log| {
        flip(log, "tile/entries/001", 3);
        let bundle = &log.0["tile/entries/001"];
        let leaf = Hash::leaf(crate::bundle::decode(bundle, 256).unwrap()[0]);
        log.0.get_mut("tile/0/001").unwrap()[..32].copy_from_slice(leaf.as_bytes());
    });
    let expected = [
        format!("tile/0/001: {BAD_TILE}"),
        "tile/entries/001: entries are not those of the signed log".to_owned(),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_log_altered_as_a_whole_does_not_have_the_signed_root() {
    let (log, mut other) = (MemoryLog::with_entries(600), MemoryLog::default());
    let mut altered = entries(600);
    altered[5] = b"other".to_vec();
    other.create(Publisher::new().publish(&altered).unwrap());
    other.0.insert("checkpoint".to_owned(), log.0["checkpoint"].clone());
    let found = faults(&other, |_| {});
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("checkpoint: root "), "{found:?}");
}

#[test]
fn a_deleted_partial_tile_is_read_from_the_full_one() {
    let mut log = MemoryLog::with_entries(300);
    let old = log.0["checkpoint"].clone();
    let mut publisher = Publisher::new();
    publisher.append(&entries(300)).unwrap();
    log.create(publisher.publish(&entries(600)[300..]).unwrap());
    log.sign(&publisher);
    log.0.retain(|path, _| !path.contains("001.p/44"));
    assert!(check(&log).unwrap().is_whole());
    log.0.insert("checkpoint".to_owned(), old);
    let report = check(&log).unwrap();
    assert!(report.is_whole(), "{:?}", report.faults);
    assert_eq!(report.entries, 300);
}

#[test]
fn a_log_without_a_valid_checkpoint_is_refused() {
    let log = MemoryLog::with_entries(3);
    let refused = |damage: &dyn Fn(&mut Vec<u8>)| {
        let mut log = log.clone();
        damage(log.0.get_mut("checkpoint").unwrap());
        check(&log).unwrap_err().to_string()
    };
    assert!(refused(&|note| note[18] ^= 1).starts_with("checkpoint: signature of key"));
    assert_eq!(refused(&Vec::clear), "checkpoint: note has no signatures");
    let none = check(&MemoryLog::default()).unwrap_err().to_string();
    assert_eq!(none, "checkpoint: missing");
}

#[test]
fn a_signed_size_without_the_objects_ends_soon() {
    let mut log = MemoryLog::with_entries(3);
    let checkpoint = Checkpoint {
        origin: key().name().to_owned(),
        size: crate::limits::MAX_LOG_SIZE,
        root: Hash::EMPTY_ROOT,
    };
    log.0.insert("checkpoint".to_owned(), checkpoint.sign(&key()).unwrap().into_bytes());
    let report = check(&log).unwrap();
    assert!(report.truncated && !report.is_whole());
    assert_eq!(report.faults.len(), 2);
}

#[test]
fn an_object_that_cannot_be_fetched_is_an_error_that_names_it() {
    let log = MemoryLog::with_entries(600);
    let mut fetch = |path: &str| match path {
        "tile/0/001" => Err::<_, FetchError>("disk".into()),
        _ => Ok(log.0.get(path).cloned()),
    };
    let error = super::log(&mut fetch, key().verifier(), |_| {}).unwrap_err();
    assert_eq!(error.to_string(), "tile/0/001: cannot be fetched");
}

#[test]
fn faults_are_listed_up_to_their_bound() {
    let mut log = MemoryLog::with_entries(1_500);
    for (path, bundle) in log.0.iter_mut().filter(|(path, _)| path.contains("entries")) {
        let width = Tile::parse_path(path).unwrap().width();
        let entries: Vec<Vec<u8>> = crate::bundle::decode(bundle, width)
            .unwrap()
            .into_iter()
            .map(|entry| [b"altered ", entry].concat())
            .collect();
        *bundle = crate::bundle::encode(&entries).unwrap();
    }
    let report = check(&log).unwrap();
    assert_eq!(report.faults.len(), MAX_FAULTS);
    assert!(report.truncated);
    assert!(matches!(report.faults[0], Fault::Entry { .. }));
}

#[test]
fn a_checkpoint_extends_every_earlier_one_of_its_log() {
    let all = entries(700);
    let (mut log, mut publisher) = (MemoryLog::default(), Publisher::new());
    let mut checkpoints = vec![log.sign(&publisher)];
    for chunk in all.chunks(100) {
        log.create(publisher.publish(chunk).unwrap());
        checkpoints.push(log.sign(&publisher));
    }
    for (position, newer) in checkpoints.iter().enumerate() {
        for older in &checkpoints[..=position] {
            extends(&mut log.fetch(), older, newer).unwrap();
            let forged = Checkpoint { root: Hash::leaf(b"other"), ..older.clone() };
            let error = extends(&mut log.fetch(), &forged, newer).unwrap_err();
            assert!(matches!(error, Error::Consistency { .. }), "{error}");
        }
    }
    let backwards = extends(&mut log.fetch(), &checkpoints[2], &checkpoints[1]).unwrap_err();
    assert!(backwards.to_string().starts_with("checkpoint of size 100 does not extend that of"));
    let elsewhere = Checkpoint { origin: "elsewhere".to_owned(), ..checkpoints[1].clone() };
    let error = extends(&mut log.fetch(), &elsewhere, &checkpoints[2]).unwrap_err();
    assert!(matches!(error, Error::Origins));
}
