//! Erasure is physical: after a withdrawal every file of the data directory is read raw, and nothing
//! that opens or shows the contribution is left; everybody else's and the log's proofs stand.

use gristmill_tests::{
    DataDir, Gristmill, Journey, Manifest, Report, assert_audited, assert_log_verified, repository,
    run_arguments,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

/// A run of this many bytes of media tells whose it is.
const RUN: usize = 32;
/// A run with fewer different bytes is silence, sky or padding.
const TELLING: usize = 12;

fn media(name: &str) -> PathBuf {
    repository().join("workflows/examples/media").join(name)
}

fn run(dir: &DataDir, manifest: &Manifest) -> Report {
    let path = dir.write("manifest.ndjson", manifest.as_bytes());
    let mut arguments = run_arguments(dir, &path);
    arguments.push(format!("--media-root={}", media("").display()));
    let _done = Gristmill::command().run(arguments).expect(0);
    dir.report()
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            let bytes = fs::read(&path).unwrap();
            all.insert(path, bytes);
        }
    }
    all
}

/// What must not be found, by what it is.
#[derive(Default)]
struct Traces {
    /// Whole secrets in every way they may be written.
    secrets: Vec<(String, Vec<u8>)>,
    /// The first eight bytes of every run of the media, with the runs.
    runs: HashMap<[u8; 8], Vec<[u8; RUN]>>,
}

impl Traces {
    fn secret(&mut self, what: &str, bytes: &[u8]) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.secrets.push((what.to_owned(), bytes.to_vec()));
        self.secrets.push((format!("{what} in hex"), hex.into_bytes()));
    }

    fn media(&mut self, bytes: &[u8]) {
        for run in bytes.windows(RUN) {
            if run.iter().collect::<BTreeSet<_>>().len() >= TELLING {
                let runs = self.runs.entry(run[..8].try_into().unwrap()).or_default();
                runs.push(run.try_into().unwrap());
            }
        }
    }

    /// What is found in the files of a folder.
    fn found(&self, folder: &Path) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (path, bytes) in files(folder) {
            for (what, secret) in &self.secrets {
                if contains(&bytes, secret) {
                    found.insert(format!("{what} in {}", path.display()));
                }
            }
            let known = |run: &[u8]| {
                let start = <[u8; 8]>::try_from(&run[..8]).unwrap();
                self.runs.get(&start).is_some_and(|runs| runs.iter().any(|one| one == run))
            };
            if bytes.windows(RUN).any(|run| run[0] != run[1] && known(run)) {
                found.insert(format!("media in {}", path.display()));
            }
        }
        found
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == part[0]) {
        if rest[at..].starts_with(part) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

/// The bytes of standard base64 with padding.
fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.trim_end_matches('=').bytes();
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0);
    for digit in digits {
        let value = DIGITS.iter().position(|known| *known == digit).expect("base64");
        held = held << 6 | value as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    bytes
}

/// Everything that opens one settled contribution: its data key, its salts, its openings.
fn traces(dir: &DataDir, journey: &Journey) -> Traces {
    let mut traces = Traces::default();
    for receipt in &journey.receipts {
        let text = fs::read_to_string(dir.path().join(receipt)).unwrap();
        let extra = text.lines().find_map(|line| line.strip_prefix("extra ")).unwrap();
        traces.secrets.push((format!("openings of {receipt}"), extra.as_bytes().to_vec()));
        let extra: Value = serde_json::from_slice(&base64(extra)).unwrap();
        for (field, opening) in extra["openings"].as_object().unwrap() {
            let salt = opening["salt"].as_str().unwrap();
            traces.secrets.push((format!("salt of {field} in base64"), salt.into()));
            traces.secret(&format!("salt of {field}"), &base64(salt));
        }
    }
    let list = fs::read_to_string(dir.path().join("receipts/.slots")).unwrap();
    let slot = list.lines().find(|line| line.ends_with(&journey.id)).unwrap();
    let slot = u64::from_str_radix(&slot[..16], 16).unwrap();
    let (shard, place) = (slot >> 48, (slot & ((1 << 48) - 1)) as usize);
    let keys = fs::read(dir.path().join(format!("keys/data/{shard:04}"))).unwrap();
    traces.secret("data key", &keys[place * 32..][..32]);
    traces
}

fn people() -> Manifest {
    let mut manifest = Manifest::new("seoul");
    for person in ["away", "stays", "never", "equal"] {
        manifest.consent(person, &format!("grant-{person}"));
    }
    manifest.media("away", "clip", "voice-ko", "voice", "voice-01.wav");
    manifest.media("away", "photo", "street-photo", "image", "photo-01.jpg");
    manifest.media("stays", "other", "street-photo", "image", "photo-02.jpg");
    manifest
}

#[test]
fn after_a_withdrawal_nothing_on_the_disk_opens_or_shows_the_contribution() {
    let dir = DataDir::new();
    let mut manifest = people();
    let before = run(&dir, &manifest);
    let mut all = Vec::new();
    for (key, name) in [("clip", "voice-01.wav"), ("photo", "photo-01.jpg")] {
        let journey = before.journey(key);
        assert_eq!((journey.state.as_str(), journey.receipts.len()), ("settled", 2), "{journey:?}");
        let mut traces = traces(&dir, journey);
        // The search finds what stands, or it would prove nothing.
        let found = traces.found(&dir.path()).into_iter().collect::<String>();
        for what in ["data key", "openings"] {
            assert!(found.contains(what), "{what} is not in {found}");
        }
        traces.media(&fs::read(media(name)).unwrap());
        assert!(!traces.found(&media("")).is_empty());
        let receipt = dir.write(&format!("{key}.receipt"), b"");
        fs::copy(dir.path().join(&journey.receipts[0]), &receipt).unwrap();
        all.push((traces, receipt));
    }
    manifest.withdraw("away");
    let after = run(&dir, &manifest);
    for (traces, _) in &all {
        assert_eq!(traces.found(&dir.path()), BTreeSet::new());
    }
    for key in ["clip", "photo"] {
        let journey = after.journey(key);
        assert_eq!(journey.amount, before.journey(key).amount);
        assert!(!journey.withdrawn_at.is_null() && journey.receipts.is_empty(), "{journey:?}");
    }
    let gristmill = Gristmill::command();
    let _log = assert_log_verified(&gristmill, &dir);
    let _verdict = assert_audited(&gristmill, &dir, None);
    let key = after.trace["vkey"].as_str().unwrap();
    let stays = dir.path().join(&after.journey("other").receipts[0]);
    let kept = all.iter().map(|(_, receipt)| receipt).chain([&stays]);
    for receipt in kept {
        let receipt = receipt.display().to_string();
        let _proof = gristmill.run(["receipt", "verify", &receipt, "--key", key]).expect(0);
    }
}

#[test]
fn the_same_manifest_again_neither_imports_the_media_nor_revives_the_grant() {
    let dir = DataDir::new();
    let mut manifest = people();
    let first = manifest.clone();
    let _before = run(&dir, &manifest);
    manifest.withdraw("away");
    let _withdrawn = run(&dir, &manifest);
    let blobs = |dir: &DataDir| files(&dir.path().join("media"));
    let (blobs_before, keys_before) = (blobs(&dir), files(&dir.path().join("keys/data")));
    assert_eq!(blobs_before.len(), 1, "{:?}", blobs_before.keys());
    let again = run(&dir, &first);
    assert!(!again.journey("clip").withdrawn_at.is_null());
    assert!(blobs(&dir) == blobs_before && files(&dir.path().join("keys/data")) == keys_before);
    let mut more = first;
    more.media("away", "late", "street-photo", "image", "photo-03.jpg");
    let late = run(&dir, &more);
    let late = late.journey("late");
    assert_eq!(
        (late.state.as_str(), late.reason.as_deref()),
        ("rejected", Some("grant_withdrawn"))
    );
    assert!(blobs(&dir) == blobs_before, "a refused contribution left its blob");
    let _verdict = assert_audited(&Gristmill::command(), &dir, None);
}

#[test]
fn equal_media_of_another_contributor_stand_when_the_first_are_withdrawn() {
    let dir = DataDir::new();
    let mut manifest = people();
    manifest.media("never", "first", "street-photo", "image", "photo-04.jpg");
    manifest.media("equal", "second", "street-photo", "image", "photo-04.jpg");
    manifest.withdraw("never");
    let report = run(&dir, &manifest);
    assert_eq!(report.journey("first").state, "withdrawn");
    let second = report.journey("second");
    assert_eq!((second.state.as_str(), second.receipts.len()), ("settled", 2), "{second:?}");
    let found = traces(&dir, second).found(&dir.path()).into_iter().collect::<String>();
    assert!(found.contains("data key") && found.contains("openings"), "{found}");
    // Two of `away`, one of `stays`, one of `equal`; none of `never`.
    assert_eq!(files(&dir.path().join("media")).len(), 4);
    let _verdict = assert_audited(&Gristmill::command(), &dir, None);
}
