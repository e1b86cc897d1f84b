//! SIGKILL at any moment, any number of times, then the same command again: everything settles
//! exactly once. `GRISTMILL_TEST_KILLS` is the number of kills of the engine's scenario.

use gristmill_tests::{
    DataDir, Gristmill, Journey, Manifest, Random, Report, assert_audited, assert_log_verified,
    assert_paid_as_reported, limits::KILL_DEADLINE, poll_until, repository, run_arguments, size,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

const CONTRIBUTIONS: usize = 3000;
const CONTRIBUTORS: usize = 500;
/// A run that has to go through what many kills left; suspects of a kill run one at a time.
const LAST_RUN: Duration = Duration::from_secs(110);
const FIRST_MOMENT: Duration = Duration::from_millis(5);

/// One scenario's commands and moments.
struct Killer<'a> {
    gristmill: Gristmill,
    manifest: &'a Path,
    random: Random,
    whole: Duration,
    /// Kills that met a running process, over all data directories.
    hits: u32,
}

impl Killer<'_> {
    /// Mostly early, where there is work; one time in eight up to one and a half times a whole run.
    fn moment(&mut self) -> Duration {
        let most = if self.random.below(8) == 0 { self.whole * 3 / 2 } else { self.whole / 3 };
        self.random.between(FIRST_MOMENT, most)
    }

    /// Starts the command and kills it at a moment; whether the command ended before.
    fn strike(&mut self, dir: &DataDir) -> bool {
        let moment = self.moment();
        let process = self.gristmill.spawn(run_arguments(dir, self.manifest));
        let end = Instant::now() + moment;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            std::thread::park_timeout(left);
        }
        let children = children(process.id());
        let output = process.kill();
        poll_until(KILL_DEADLINE, "the end of the media workers of a killed node", || {
            children.iter().all(|child| !is_alive(*child)).then_some(())
        });
        if output.code == 137 {
            self.hits += 1;
            return false;
        }
        assert!(matches!(output.code, 0 | 3), "after {} kills: {output:?}", self.hits);
        true
    }

    /// Strikes until a run ended by itself or there were enough hits, then runs to the end.
    fn round(&mut self, dir: &DataDir, kills: u32) -> Report {
        let before = self.hits;
        while self.hits < kills && !self.strike(dir) {}
        let hits = self.hits - before;
        let output = self.gristmill.run(run_arguments(dir, self.manifest));
        let report = dir.report();
        let quarantined: Vec<&Journey> =
            report.journeys.iter().filter(|journey| journey.state == "paused").collect();
        let suspected = |journey: &&Journey| journey.cause.as_deref() == Some("killed_node");
        assert!(quarantined.iter().all(suspected), "{quarantined:#?}");
        eprintln!("{hits} kills, {} quarantined as killed_node", quarantined.len());
        if quarantined.is_empty() {
            let _settled = output.expect(0);
            return report;
        }
        let _quarantined = output.expect(3);
        let retry = ["quarantine", "retry", "--all", &dir.flag()];
        let _retried = self.gristmill.run(retry).expect(0);
        let _settled = self.gristmill.run(run_arguments(dir, self.manifest)).expect(0);
        dir.report()
    }

    /// Everything that must hold at the end, and that a further run changes nothing.
    fn hold(&self, dir: &DataDir) {
        let report = dir.report();
        let _log = assert_log_verified(&self.gristmill, dir);
        let _verdict = assert_audited(&self.gristmill, dir, None);
        let book = dir.path().join("rail");
        assert_paid_as_reported(&report, &book);
        let bytes = |name: &str| fs::read(dir.path().join(name)).unwrap();
        let before = ["report.json", "trace/checkpoint", "rail/book.ndjson"].map(bytes);
        let _again = self.gristmill.run(run_arguments(dir, self.manifest)).expect(0);
        assert_eq!(dir.report(), report);
        let after = ["report.json", "trace/checkpoint", "rail/book.ndjson"].map(bytes);
        assert!(before == after, "a further run changed the report, the log or the book");
    }
}

/// State and parent of a process, from the file `stat` of procfs; none when it is gone.
fn stat(id: u32) -> Option<(String, u32)> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name before it may have spaces and brackets of its own.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

fn children(parent: u32) -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter(|id| stat(*id).is_some_and(|(_, of)| of == parent)).collect()
}

fn is_alive(id: u32) -> bool {
    stat(id).is_some_and(|(state, _)| state != "Z")
}

fn undisturbed(gristmill: &Gristmill, manifest: &Path) -> (Report, Duration) {
    let dir = DataDir::new();
    let start = Instant::now();
    let _settled = gristmill.run(run_arguments(&dir, manifest)).expect(0);
    (dir.report(), start.elapsed())
}

/// What does not hang on the order in which journeys went: all but ids, indices and carries.
fn substance(report: &Report) -> Vec<String> {
    let line = |journey: &Journey| {
        let Journey { line, state, reason, score, amount, .. } = journey;
        format!("{line} {state} {reason:?} {score:?} {amount:?}")
    };
    report.journeys.iter().map(line).collect()
}

/// Whole minor units paid to each person.
fn paid_by_person(report: &Report) -> BTreeMap<&str, u64> {
    let mut paid = BTreeMap::new();
    for journey in &report.journeys {
        for payout in journey.payouts.iter().filter(|payout| payout.state == "paid") {
            *paid.entry(journey.contributor.as_str()).or_default() += payout.minor;
        }
    }
    paid
}

fn killed_and_restarted(manifest: &Path, kills: u32, random: Random) {
    let gristmill = Gristmill::command().deadline(LAST_RUN);
    let (expected, whole) = undisturbed(&gristmill, manifest);
    let mut killer = Killer { gristmill, manifest, random, whole, hits: 0 };
    while killer.hits < kills {
        let dir = DataDir::new();
        let report = killer.round(&dir, kills);
        assert_eq!(substance(&report), substance(&expected));
        assert_eq!(paid_by_person(&report), paid_by_person(&expected));
        assert_eq!(report.money, expected.money);
        assert_eq!(report.trace["size"], expected.trace["size"]);
        killer.hold(&dir);
    }
}

#[test]
fn whenever_and_however_often_it_is_killed_every_contribution_settles_exactly_once() {
    let outside = DataDir::new();
    let manifest = Manifest::engine("kill", CONTRIBUTIONS, CONTRIBUTORS);
    let path = outside.write("manifest.ndjson", manifest.as_bytes());
    let kills = size("GRISTMILL_TEST_KILLS", 50);
    killed_and_restarted(&path, kills, Random::seeded("kills of the engine"));
}

#[test]
fn a_withdrawal_killed_at_any_moment_reaches_everything_once() {
    let outside = DataDir::new();
    let mut manifest = Manifest::engine("back", 300, 60);
    let first = outside.write("first.ndjson", manifest.as_bytes());
    for person in (0..60).step_by(2) {
        manifest.withdraw(&format!("back-p{person}"));
    }
    let second = outside.write("second.ndjson", manifest.as_bytes());
    let gristmill = Gristmill::command().deadline(LAST_RUN);
    let before = DataDir::new();
    let _settled = gristmill.run(run_arguments(&before, &first)).expect(0);
    let dir = before.copied();
    let start = Instant::now();
    let _withdrawn = gristmill.run(run_arguments(&before, &second)).expect(0);
    let (whole, expected) = (start.elapsed(), before.report());
    let random = Random::seeded("kills of withdrawals");
    let mut killer = Killer { gristmill, manifest: &second, random, whole, hits: 0 };
    for _ in 0..10 {
        killer.strike(&dir);
    }
    let report = killer.round(&dir, 0);
    for journey in &report.journeys {
        let person = journey.contributor.strip_prefix("back-p").unwrap();
        let withdrawn = person.parse::<u32>().unwrap().is_multiple_of(2);
        assert_eq!(journey.state, "settled", "{journey:?}");
        assert_eq!(!journey.withdrawn_at.is_null(), withdrawn, "{journey:?}");
        assert_eq!(journey.receipts.is_empty(), withdrawn, "{journey:?}");
    }
    assert_eq!(substance(&report), substance(&expected));
    assert_eq!(report.trace["size"], expected.trace["size"]);
    assert_eq!(report.money, expected.money);
    killer.hold(&dir);
}

#[test]
fn real_media_killed_at_any_moment_come_to_the_same_end() {
    let manifest = repository().join("workflows/examples/seoul.ndjson");
    killed_and_restarted(&manifest, 15, Random::seeded("kills over real media"));
}
