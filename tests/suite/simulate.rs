//! The load simulator: a small population is driven and audited clean; a data directory that lost an
//! item, a line of the rail's book or a byte of the log is not.

use gristmill_tests::{DataDir, Gristmill, Output, Service, built, poll_until};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Everything happens within seconds, and every habit is frequent.
const HABITS: [&str; 8] = [
    "--session=500ms",
    "--rate=600",
    "--no-consent=0.05",
    "--withdrawals=0.2",
    "--duplicates=0.1",
    "--conflicts=0.05",
    "--poison=0.05",
    "--contributions-max=50",
];
const DEADLINE: Duration = Duration::from_secs(120);

fn simulate(dir: &DataDir, more: &[&str]) -> Output {
    let first = ["simulate", "--embedded", &dir.flag(), "--output=json"];
    let arguments = [&first[..], &HABITS, more].concat();
    Gristmill::command().deadline(DEADLINE).run(arguments)
}

fn audited(data: &Path) -> Output {
    let data = format!("--data-dir={}", data.display());
    Gristmill::command().run(["simulate", "audit", &data, "--output=json"])
}

fn count(value: &Value) -> u64 {
    value.as_u64().expect("a count")
}

/// The ids that a verdict names: of the simulation's own checks and of the invariants.
fn named(verdict: &Value) -> Vec<String> {
    let own = verdict["breaches"].as_array().expect("breaches").iter();
    let own = own.map(|breach| breach["id"].as_str().expect("an id").to_owned());
    let checks = verdict["invariants"]["checks"].as_array().expect("checks").iter();
    let ids = checks.flat_map(|check| check["violations"].as_array().expect("violations"));
    own.chain(ids.map(|id| id.as_str().expect("an id").to_owned())).collect()
}

#[test]
fn a_small_population_is_driven_and_audited_clean_and_what_is_damaged_later_is_named() {
    let dir = DataDir::new();
    let file = dir.outside().join("simulated.json");
    let report = format!("--report={}", file.display());
    let page = dir.outside().join("simulated.html");
    let as_page = format!("--report={}", page.display());
    let people = ["--contributors=400", "--seed=7", &report, &as_page];
    let told = simulate(&dir, &people).expect(0).json();
    looks(&fs::read_to_string(page).unwrap());
    compared(&file);
    let written: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(written, told);
    let (counts, tally) = (&told["counts"], &told["audited"]["tally"]);
    for what in ["consents", "withdrawals", "duplicates", "conflicts", "poison"] {
        assert!(count(&counts[what]) > 0, "{what}: {counts}");
    }
    assert!(["settled", "rejected"].iter().all(|what| count(&tally[*what]) > 0), "{tally}");
    let states = ["settled", "rejected", "withdrawn", "quarantined", "in_flight"];
    let sum: u64 = states.iter().map(|state| count(&tally[*state])).sum();
    assert_eq!(sum, count(&counts["submitted"]));
    let engine = &told["audited"]["programs"]["engine"];
    assert_eq!(engine["store"], engine["log"]);
    assert_eq!(told["latency"]["settled"]["count"], tally["settled"]);
    says_where_time_went(&told);
    // A data directory holds one simulation; the auditor can be asked again.
    drop(simulate(&dir, &["--contributors=1"]).expect(2));
    let again = audited(&dir.path()).expect(0).json();
    assert_eq!(again["tally"], *tally);
    lost(&dir);
    rewritten(&dir);
}

/// The page needs nothing else and says the verdict before anything.
fn looks(page: &str) {
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    for outside in ["http://", "https://", "src=", "<script", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let verdict = page.find("everything is accounted for").expect("a verdict");
    assert!(verdict < page.find("<svg").expect("a chart"));
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    assert!(!page.contains("NaN"));
}

/// A report is as good as itself, and worse than one that settled more a second.
fn compared(file: &Path) {
    let mut better: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    better["settled_rate"] = (better["settled_rate"].as_f64().unwrap() * 2.0).into();
    let better_file = file.with_extension("better.json");
    fs::write(&better_file, better.to_string()).unwrap();
    let (file, better) = (file.display().to_string(), better_file.display().to_string());
    let compare = |code, first: &str, second: &str| {
        let verb = ["simulate", "compare", first, second, "--worse-by=10"];
        drop(Gristmill::command().run(verb).expect(code));
    };
    compare(0, &file, &file);
    compare(1, &better, &file);
    compare(2, &file, "no-such-file.json");
    let told: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let other = format!("{file}.other.json");
    fs::write(&other, json!({ "counts": told["counts"] }).to_string()).unwrap();
    compare(2, &file, &other);
    let mut broken = told;
    broken["ok"] = false.into();
    fs::write(&other, broken.to_string()).unwrap();
    compare(1, &file, &other);
}

/// What a report says of stages, backlog and configuration.
fn says_where_time_went(told: &Value) {
    let stages = told["stages"].as_array().expect("stages");
    for name in ["consent", "valuation", "trace", "payout"] {
        let stage = stages.iter().find(|stage| stage["stage"] == name).expect(name);
        assert!(count(&stage["run"]["count"]) > 0, "{stage}");
    }
    let intervals = told["intervals"].as_array().expect("intervals");
    let submitted: u64 = intervals.iter().map(|one| count(&one["submitted"])).sum();
    assert_eq!(submitted, count(&told["counts"]["submitted"]));
    assert!(intervals.iter().any(|one| one["backlog_ms"].is_u64()), "{intervals:?}");
    assert!(count(&told["config"]["node"]["window"]) > 0, "{}", told["config"]);
}

/// A journey is dropped: its id is named.
fn lost(dir: &DataDir) {
    let list = ["list", &dir.flag(), "--state=settled", "--output=json"];
    let settled = Gristmill::command().run(list).expect(0).json();
    let id = settled[0]["id"].as_str().expect("an id").to_owned();
    let copy = dir.copied();
    let mut damage = Command::new(built("examples/damage_store"));
    let damaged = damage.arg(copy.path()).args(["drop", &id]).output().unwrap();
    assert!(damaged.status.success(), "{damaged:?}");
    let verdict = audited(&copy.path()).expect(1).json();
    assert!(named(&verdict).contains(&id), "{verdict}");
}

/// A line of the rail's book is taken away, a byte of the log is changed.
fn rewritten(dir: &DataDir) {
    let copy = dir.copied();
    let book = copy.path().join("rail/book.ndjson");
    let text = fs::read_to_string(&book).unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    let first: Value = serde_json::from_str(first).unwrap();
    fs::write(&book, rest).unwrap();
    let verdict = audited(&copy.path()).expect(1).json();
    assert!(named(&verdict).contains(&first["key"].as_str().unwrap().to_owned()), "{verdict}");
    let copy = dir.copied();
    let tile = copy.path().join("trace/tile/0/000");
    let mut bytes = fs::read(&tile).unwrap();
    bytes[40] ^= 1;
    fs::write(&tile, bytes).unwrap();
    let verdict = audited(&copy.path()).expect(1).json();
    assert!(named(&verdict).contains(&"tile/0/000".to_owned()), "{verdict}");
}

#[test]
fn a_node_behind_an_address_is_driven_and_audited_as_far_as_it_shows() {
    let dir = DataDir::new();
    let service = Service::start(&dir);
    let url = format!("--url={}", service.url());
    let run = |seed: &str| {
        let first = ["simulate", &url, "--contributors=150", seed, "--output=json"];
        let arguments = [&first[..], &HABITS, &["--photo=0.2", "--broken=0.1"]].concat();
        Gristmill::command().deadline(DEADLINE).run(arguments).expect(0).json()
    };
    // A second run finds the first one's contributions beside its own.
    for seed in ["--seed=1", "--seed=2"] {
        let told = run(seed);
        let audited = &told["audited"];
        assert!(count(&audited["tally"]["settled"]) > 0, "{audited}");
        for program in ["engine", "seoul"] {
            let sums = &audited["programs"][program];
            assert!(sums["store"] == sums["log"] && count(&sums["log"]["count"]) > 0, "{sums}");
        }
        assert!(count(&audited["samples"]["receipts"]) > 10, "{audited}");
        assert!(count(&audited["samples"]["statements"]) > 10, "{audited}");
    }
    assert_eq!(service.stop().code, 0);
    drop(Gristmill::command().run(["audit", &dir.flag()]).expect(0));
    let gone = Gristmill::command().deadline(DEADLINE).run(["simulate", &url]);
    assert_eq!(gone.code, 4, "{}", gone.stderr);
}

#[test]
fn media_come_to_what_they_are_and_the_same_of_two_people_is_accepted_once() {
    let dir = DataDir::new();
    let shares = ["--voice=0.2", "--photo=0.4", "--video=0.2", "--broken=0.2", "--copies=0.3"];
    let more = [&shares[..], &["--contributors=120"]].concat();
    let told = simulate(&dir, &more).expect(0).json();
    let audited_now = &told["audited"];
    for reason in ["undecodable", "duplicate"] {
        assert!(count(&audited_now["reasons"][reason]) > 0, "{reason}: {audited_now}");
    }
    let sums = &audited_now["programs"]["seoul"];
    assert!(sums["store"] == sums["log"] && count(&sums["log"]["count"]) > 20, "{sums}");
    let again = audited(&dir.path()).expect(0).json();
    assert_eq!(again["reasons"], audited_now["reasons"]);
    // The same people in virtual time, who hand in the same.
    let flat = ["simulate", "--virtual", "--contributors=120", "--output=json"];
    let run = || {
        let arguments = [&flat[..], &HABITS, &shares].concat();
        let told = Gristmill::command().deadline(DEADLINE).run(arguments).expect(0).json();
        (told["audited"]["reasons"].clone(), told["latency"].clone())
    };
    let first = run();
    assert!(count(&first.0["duplicate"]) > 0, "{first:?}");
    assert_eq!(first, run());
    // More than everybody cannot hand in media.
    let much = ["simulate", "--virtual", "--voice=0.6", "--photo=0.6"];
    drop(Gristmill::command().run(much).expect(2));
    let no_task = ["simulate", "--virtual", "--voice=0.6", "--media-program=engine"];
    drop(Gristmill::command().run(no_task).expect(2));
}

#[test]
fn an_interrupt_ends_the_load_and_the_auditor_speaks_all_the_same() {
    let dir = DataDir::new();
    let arguments = ["simulate", "--embedded", &dir.flag(), "--output=json", "--duration=1h"];
    let mut process = Gristmill::command().spawn(arguments);
    let settled = dir.path().join("rail/book.ndjson");
    poll_until(DEADLINE, "something to be paid", || {
        fs::metadata(&settled).is_ok_and(|book| book.len() > 0).then_some(())
    });
    process.interrupt();
    let told = process.wait(DEADLINE).expect(130).json();
    assert_eq!((&told["interrupted"], &told["ok"]), (&true.into(), &true.into()));
    assert!(count(&told["audited"]["tally"]["settled"]) > 0);
    drop(audited(&dir.path()).expect(0));
}

/// The rail is away, so that nothing ends: what is waited for is cut short, and the verdict comes.
#[test]
fn an_interrupt_while_waiting_for_rest_is_no_breach() {
    let dir = DataDir::new();
    let first = ["simulate", "--embedded", &dir.flag(), "--output=json", "--contributors=60"];
    let arguments = [&first[..], &HABITS, &["--fault=rail-down=10m@1ms"]].concat();
    let mut process = Gristmill::command().spawn(arguments);
    let record = dir.path().join("simulation.json");
    poll_until(DEADLINE, "everything to be handed in", || {
        let record: Value = serde_json::from_slice(&fs::read(&record).ok()?).ok()?;
        record["driven"].is_object().then_some(())
    });
    process.interrupt();
    let told = process.wait(DEADLINE).expect(3).json();
    assert_eq!((&told["interrupted"], &told["ok"]), (&true.into(), &true.into()), "{told}");
    assert!(count(&told["audited"]["tally"]["in_flight"]) > 0);
}

#[test]
fn every_profile_runs_in_small_and_is_what_its_name_says() {
    let run = |profile: &str, more: &[&str]| {
        let dir = DataDir::new();
        let (data, profile) = (dir.flag(), format!("--profile={profile}"));
        let first = ["simulate", "--embedded", &data, "--output=json", "--session=500ms"];
        let arguments = [&first[..], &[&profile, "--duration=5s"], more].concat();
        let told = Gristmill::command().deadline(DEADLINE).run(arguments).expect(0).json();
        assert!(count(&told["audited"]["tally"]["settled"]) > 0, "{profile}: {told}");
        told
    };
    let intended = |told: &Value| -> Vec<u64> {
        let intervals = told["intervals"].as_array().expect("intervals").iter();
        intervals.map(|one| count(&one["intended"])).collect()
    };
    let rate = |told: &Value| told["intended_rate"].as_f64().expect("a rate");
    assert!((rate(&run("day", &["--rate=300"])) - 300.0).abs() < 1.0);
    // The spike is the fifth of ten parts: half of the third second.
    let spike = run("spike", &["--rate=100"]);
    let seconds = intended(&spike);
    assert!(seconds[2] > 2 * seconds[1] && seconds[2] > 2 * seconds[4], "{seconds:?}");
    assert!((rate(&spike) - 190.0).abs() < 1.0);
    let few = ["--rate=300", "--withdrawals=0"];
    let quiet = run("flat", &few);
    assert_eq!(count(&quiet["counts"]["withdrawals"]), 0);
    let storm = run("withdrawal-storm", &few);
    assert!(count(&storm["counts"]["withdrawals"]) > 100, "{}", storm["counts"]);
    // No answer comes within a millisecond: the ramp breaks at once.
    let ramp = run("breakpoint", &["--rate=300", "--slo-ms=1"]);
    assert!(ramp["breakpoint"]["at_s"].is_number(), "{}", ramp["breakpoint"]);
    let seconds = intended(&ramp);
    assert!(seconds[0] * 2 < seconds[4], "{seconds:?}");
}

/// A whole day, with a rail that is away for half an hour of it; twice, byte for byte the same but for
/// what the machine and its clock say.
#[test]
fn a_day_in_virtual_time_takes_seconds_and_comes_to_the_same_twice() {
    let run = || {
        let day = ["simulate", "--virtual", "--profile=day", "--rate=0.02", "--output=json"];
        let fault = ["--fault=rail-down=30m@12h"];
        let arguments = [&day[..], &HABITS[2..], &fault].concat();
        let mut told = Gristmill::command().deadline(DEADLINE).run(arguments).expect(0).json();
        let virtual_time = told["virtual_time"].as_object_mut().expect("a run in virtual time");
        assert!(virtual_time.remove("wall_seconds").is_some());
        assert!(told["audited"].as_object_mut().unwrap().remove("seconds").is_some());
        for machine in ["host", "resources"] {
            assert!(told.as_object_mut().unwrap().remove(machine).is_some());
        }
        for interval in told["intervals"].as_array_mut().unwrap() {
            assert!(interval.as_object_mut().unwrap().remove("memory_kib").is_some());
        }
        told
    };
    let told = run();
    assert!(told["drove_seconds"].as_f64().unwrap() > 86_000.0, "{told}");
    let tally = &told["audited"]["tally"];
    assert!(count(&tally["settled"]) > 800 && count(&tally["rejected"]) > 0, "{tally}");
    assert_eq!(count(&tally["quarantined"]) + count(&tally["in_flight"]), 0);
    assert_eq!(told["faults"][0]["at_s"], 43_200.0);
    // Who came while the rail was away waited for it; nobody waited long otherwise.
    let settled = &told["latency"]["settled"];
    assert!(count(&settled["max"]) > 60_000_000 && count(&settled["p50"]) < 1_000_000, "{settled}");
    assert_eq!(told, run());
}

#[test]
fn the_same_seed_hands_in_the_same() {
    let run = || {
        let dir = DataDir::new();
        let told = simulate(&dir, &["--contributors=60", "--seed=3", "--run=same"]).expect(0);
        let told = told.json();
        (told["events"].clone(), told["counts"].clone())
    };
    assert_eq!(run(), run());
}

#[test]
fn what_cannot_be_asked_for_is_told() {
    let dir = DataDir::new();
    for wrong in ["--contributors=0", "--contributors=30000001", "--no-consent=2", "--rate=0"] {
        drop(Gristmill::command().run(["simulate", "--embedded", &dir.flag(), wrong]).expect(2));
    }
    let rail = "--rail=http://127.0.0.1:9";
    for wrong in [
        &["--program=x"][..],
        &["--report=no/such/folder/report.json"],
        // Nobody takes down a rail that the simulation did not start.
        &[rail, "--fault=rail-down@1s"],
    ] {
        let first = ["simulate", "--embedded", &dir.flag()];
        drop(Gristmill::command().run([&first[..], wrong].concat()).expect(2));
    }
    for wrong in [
        ["--virtual", "--embedded"],
        ["--virtual", "--data-dir=x"],
        ["--virtual", "--fault=kill-node@1s"],
        ["--embedded", "--store-ms=1"],
        ["--embedded", "--redis=always"],
    ] {
        drop(Gristmill::command().run([&["simulate"], &wrong[..]].concat()).expect(2));
    }
    drop(audited(&dir.path()).expect(2));
}
