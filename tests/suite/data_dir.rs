//! A data directory that is full, in use, damaged, of another version or interrupted: a clear
//! error and its exit code, nothing made worse, and the same command goes on once it can.

use gristmill_tests::{
    DataDir, Gristmill, Manifest, Process, Random, assert_audited, assert_log_verified,
    assert_paid_as_reported, copy_tree, free_port, poll_until, run_arguments, skip,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(60);

/// A small file system in memory, taken away with the value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None, with a word on standard error, where it may not be mounted.
    fn mount(at: PathBuf, size: &str) -> Option<Self> {
        fs::create_dir_all(&at).unwrap();
        let option = format!("size={size}");
        let mut mount = Command::new("mount");
        match mount.args(["-t", "tmpfs", "-o", &option, "tmpfs"]).arg(&at).output() {
            Ok(output) if output.status.success() => Some(Self(at)),
            Ok(_) | Err(_) => {
                skip("a small disk can only be mounted by root");
                None
            }
        }
    }

    fn grow(&self, size: &str) {
        let option = format!("remount,size={size}");
        let status = Command::new("mount").args(["-o", &option]).arg(&self.0).status().unwrap();
        assert!(status.success(), "{} cannot grow", self.0.display());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        match Command::new("umount").arg(&self.0).status() {
            Ok(status) if status.success() => {}
            failed => eprintln!("{} stays mounted: {failed:?}", self.0.display()),
        }
    }
}

fn engine_manifest(dir: &DataDir, prefix: &str, count: usize) -> PathBuf {
    let manifest = Manifest::engine(prefix, count, count.div_ceil(6));
    dir.write("manifest.ndjson", manifest.as_bytes())
}

/// The same command settles everything, and all that must hold holds.
fn assert_goes_on(dir: &DataDir, manifest: &Path, count: usize) {
    let gristmill = Gristmill::command();
    let _settled = gristmill.run(run_arguments(dir, manifest)).expect(0);
    let report = dir.report();
    assert_eq!(report.total("settled"), count as u64, "{:?}", report.totals);
    let _log = assert_log_verified(&gristmill, dir);
    let _verdict = assert_audited(&gristmill, dir, None);
    assert_paid_as_reported(&report, &dir.path().join("rail"));
}

/// Every file's bytes by path; locks, which name who came last, and temporary files left out.
fn bytes_of(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if name == "lock" || name == ".tmp" {
            continue;
        }
        if path.is_dir() {
            files.extend(bytes_of(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

/// A run is refused with exit code 4 and every one of the words, and no byte changes.
fn assert_refused(what: &str, dir: &DataDir, manifest: &Path, words: &[&str]) {
    let before = bytes_of(dir.outside());
    let output = Gristmill::command().run(run_arguments(dir, manifest));
    assert_eq!(output.code, 4, "{what}: {output:?}");
    for word in words {
        assert!(output.stderr.contains(word), "{what}: {word:?} is not in {}", output.stderr);
    }
    let after = bytes_of(dir.outside());
    let changed: Vec<&PathBuf> = before
        .iter()
        .filter(|(path, bytes)| after.get(*path) != Some(bytes))
        .map(|(path, _)| path)
        .chain(after.keys().filter(|path| !before.contains_key(*path)))
        .collect();
    assert!(changed.is_empty(), "{what}: the refusal changed {changed:?}");
}

fn settled(prefix: &str, count: usize) -> (DataDir, PathBuf) {
    let dir = DataDir::new();
    let manifest = engine_manifest(&dir, prefix, count);
    let _settled = Gristmill::command().run(run_arguments(&dir, &manifest)).expect(0);
    (dir, manifest)
}

/// How many entries the published checkpoint covers; none before the first.
fn published(dir: &DataDir) -> Option<u64> {
    let checkpoint = fs::read_to_string(dir.path().join("trace/checkpoint")).ok()?;
    checkpoint.lines().nth(1)?.parse().ok()
}

#[test]
fn on_a_full_disk_a_run_says_so_and_goes_on_when_there_is_room_or_elsewhere() {
    let count = 1200;
    for size in ["128k", "1m", "2m", "3m", "6m"] {
        let dir = DataDir::new();
        let manifest = engine_manifest(&dir, "full", count);
        let Some(disk) = SmallDisk::mount(dir.path(), size) else { return };
        let gristmill = Gristmill::command();
        for _ in 0..2 {
            let output = gristmill.run(run_arguments(&dir, &manifest)).expect(4);
            let said = output.stderr.contains("full") || output.stderr.contains("No space left");
            assert!(said, "{size}: {}", output.stderr);
        }
        let elsewhere = DataDir::new();
        copy_tree(&dir.path(), &elsewhere.path());
        assert_goes_on(&elsewhere, &manifest, count);
        disk.grow("128m");
        assert_goes_on(&dir, &manifest, count);
    }
}

#[test]
fn what_is_not_a_data_directory_is_refused_and_left_alone() {
    let dir = DataDir::new();
    let manifest = engine_manifest(&dir, "other", 3);
    dir.write("data", b"a file");
    assert_refused("a file", &dir, &manifest, &["data"]);
    let dir = DataDir::new();
    dir.write("data/thesis.txt", b"years of work");
    assert_refused("somebody's folder", &dir, &manifest, &["data"]);
}

#[test]
fn a_file_in_the_place_of_a_folder_is_named() {
    let (dir, manifest) = settled("place", 12);
    for name in ["keys", "keys/data", "store", "trace", "media"] {
        let copy = dir.copied();
        let folder = copy.path().join(name);
        fs::remove_dir_all(&folder).unwrap();
        fs::write(&folder, b"").unwrap();
        assert_refused(name, &copy, &manifest, &[name]);
    }
}

#[test]
fn another_version_is_refused() {
    let (dir, manifest) = settled("version", 3);
    for version in ["gristmill 2\n", "", "gristmill"] {
        fs::write(dir.path().join("VERSION"), version).unwrap();
        assert_refused(version, &dir, &manifest, &["data has version"]);
    }
}

/// What is done to one file.
enum Damage {
    Flip,
    Cut,
    Remove,
}

fn damage(path: &Path, damage: &Damage) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    match damage {
        Damage::Flip => bytes[middle] ^= 0x10,
        Damage::Cut => bytes.truncate(middle),
        Damage::Remove => return fs::remove_file(path).unwrap(),
    }
    fs::write(path, bytes).unwrap();
}

/// The one file with the longest name of a folder, such as a journal.
fn any_file(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.is_file())
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap()
}

#[test]
fn damage_is_refused_by_name_and_not_made_worse() {
    let (dir, manifest) = settled("damage", 60);
    for (name, how) in [
        ("keys/id.key", Damage::Cut),
        ("keys/id.key", Damage::Remove),
        ("keys/trace.key", Damage::Flip),
        ("keys/trace.key", Damage::Cut),
        ("keys/trace.key", Damage::Remove),
        ("store/live/identity", Damage::Flip),
        ("store/live/identity", Damage::Remove),
        ("store/live/acknowledged", Damage::Remove),
        ("store/live/engine/version", Damage::Remove),
        ("trace/checkpoint", Damage::Flip),
        ("trace/checkpoint", Damage::Cut),
    ] {
        let copy = dir.copied();
        damage(&copy.path().join(name), &how);
        let word = name.rsplit('/').next().unwrap();
        assert_refused(name, &copy, &manifest, &[word]);
    }
}

#[test]
fn damage_inside_the_stores_engine_is_refused_every_time() {
    let (dir, manifest) = settled("journal", 60);
    for how in [Damage::Flip, Damage::Cut, Damage::Remove] {
        let copy = dir.copied();
        damage(&any_file(&copy.path().join("store/live/engine")), &how);
        for _ in 0..2 {
            let output = Gristmill::command().run(run_arguments(&copy, &manifest)).expect(4);
            assert!(output.stderr.contains("store"), "{}", output.stderr);
        }
    }
}

#[test]
fn a_damaged_log_object_is_named_and_stays_as_it_is() {
    let (dir, manifest) = settled("object", 60);
    for folder in ["trace/sequenced", "trace/checkpoints"] {
        let copy = dir.copied();
        damage(&any_file(&copy.path().join(folder)), &Damage::Flip);
        let word = folder.rsplit('/').next().unwrap();
        assert_refused(folder, &copy, &manifest, &[word]);
    }
}

/// A run that stands, since its rail is not there.
fn standing(dir: &DataDir, manifest: &Path) -> Process {
    let mut arguments = run_arguments(dir, manifest);
    arguments.push(format!("--rail=http://127.0.0.1:{}", free_port()));
    let process = Gristmill::command().spawn(arguments);
    poll_until(SOON, "published entries", || published(dir).filter(|size| *size > 0));
    process
}

#[test]
fn a_second_run_is_refused_and_told_who_holds_the_directory() {
    let dir = DataDir::new();
    let manifest = engine_manifest(&dir, "locked", 30);
    let mut first = standing(&dir, &manifest);
    let second = Gristmill::command().run(run_arguments(&dir, &manifest)).expect(4);
    let holder = format!("process {}", first.id());
    assert!(second.stderr.contains(&holder), "{holder} is not in {}", second.stderr);
    let audit = Gristmill::command().run(["audit", &dir.flag()]).expect(4);
    assert!(audit.stderr.contains(&holder), "{holder} is not in {}", audit.stderr);
    assert!(first.is_running());
    let _killed = first.kill();
    assert_goes_on(&dir, &manifest, 30);
}

#[test]
fn interrupted_or_terminated_it_ends_with_130_and_the_next_run_goes_on() {
    for signal in [Process::interrupt, Process::terminate] {
        let dir = DataDir::new();
        let manifest = engine_manifest(&dir, "signal", 600);
        let mut process = standing(&dir, &manifest);
        signal(&mut process);
        let _interrupted = process.wait(SOON).expect(130);
        assert_goes_on(&dir, &manifest, 600);
    }
}

#[test]
fn interrupted_at_any_moment_the_same_command_goes_on() {
    let dir = DataDir::new();
    let manifest = engine_manifest(&dir, "moments", 1500);
    let mut random = Random::seeded("moments of interruption");
    for _ in 0..8 {
        let mut process = Gristmill::command().spawn(run_arguments(&dir, &manifest));
        let moment = random.between(Duration::from_millis(10), Duration::from_millis(1200));
        let end = Instant::now() + moment;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            std::thread::park_timeout(left);
        }
        process.interrupt();
        let output = process.wait(SOON);
        assert!(matches!(output.code, 0 | 130), "{moment:?}: {output:?}");
    }
    assert_goes_on(&dir, &manifest, 1500);
    let paused = dir.report().journeys.iter().filter(|journey| journey.attempts != 1).count();
    assert_eq!(paused, 0, "an interruption burnt attempts");
}
