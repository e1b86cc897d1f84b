//! The client verbs against a running node over a real socket, and against the data directory that
//! it leaves.

use crate::rail::Rail;
use crate::service::{PATIENCE, hand_in, say_of_stage};
use gristmill_tests::{DataDir, Gristmill, Manifest, Output, Service, poll_until, repository};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

/// Runs a verb against a node, named by its environment.
fn verb(service: &Service, arguments: &[&str]) -> Output {
    Gristmill::command().env("GRISTMILL_URL", service.url()).run(arguments)
}

/// The same, as JSON, when it ends with `code`.
fn asked(service: &Service, code: i32, arguments: &[&str]) -> Value {
    verb(service, &[arguments, &["--output=json"]].concat()).expect(code).json()
}

fn ids(rows: &Value) -> Vec<String> {
    let id = |row: &Value| row["id"].as_str().expect("an id").to_owned();
    rows.as_array().expect("a list").iter().map(id).collect()
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a temporary folder has a plain name")
}

#[test]
fn looking_at_a_node_shows_what_its_data_directory_shows() {
    let dir = DataDir::new();
    let service = Service::start(&dir);
    let all: Vec<String> = (0..5).map(|n| hand_in(&service, &format!("p{n}"), "k")).collect();
    for id in &all {
        service.await_state(id, "settled");
    }
    let id = all[0].as_str();
    let out = format!("--out={}", dir.outside().display());
    let receipts = poll_until(PATIENCE, "the entries to be published", || {
        let output = verb(&service, &["receipt", id, &out, "--output=json"]);
        (output.code == 0).then(|| output.json())
    });
    // Every entry is in the log by then; what is shown does not change any more.
    let looks: [&[&str]; 4] =
        [&["show", id], &["why", id], &["list"], &["list", "--state=settled"]];
    let over = |how: &str| looks.map(|look| verb(&service, &[look, &[how]].concat()).expect(0));
    let (json, table) = (over("--output=json"), over("--output=table"));
    let pages = pages(&service);
    assert_eq!(pages.len(), 5);
    let of_one = asked(&service, 0, &["list", "--contributor=p3"]);
    assert_eq!(ids(&of_one), [all[3].clone()]);
    let receipt = receipts["receipts"][0].as_str().unwrap().to_owned();
    let over_http = std::fs::read(&receipt).unwrap();
    let key = dir.write("vkey", &service.get("/trace/vkey").expect(200).body);
    drop(Gristmill::command().run(["receipt", "verify", &receipt, "--key", path(&key)]).expect(0));
    assert_eq!(service.stop().code, 0);
    let here = |look: &[&str], how: &str| {
        Gristmill::command().run([look, &[how, &dir.flag()]].concat()).expect(0)
    };
    for (nth, look) in looks.iter().enumerate() {
        assert_eq!(here(look, "--output=json").json(), json[nth].json(), "{look:?}");
        assert_eq!(here(look, "--output=table").stdout, table[nth].stdout, "{look:?}");
    }
    let arguments = ["receipt", id, &dir.flag(), "--output=json"];
    let here = Gristmill::command().run(arguments).expect(0).json();
    assert_eq!(
        here["receipts"].as_array().map(Vec::len),
        receipts["receipts"].as_array().map(Vec::len)
    );
    assert_eq!(std::fs::read(here["receipts"][0].as_str().unwrap()).unwrap(), over_http);
    let after = format!("--after={}", pages[1]);
    let rest = ["list", &after, &dir.flag(), "--output=json"];
    assert_eq!(ids(&Gristmill::command().run(rest).expect(0).json()), pages[2..]);
}

/// The listing in pages of two.
fn pages(service: &Service) -> Vec<String> {
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let mut arguments = vec!["list".to_owned(), "--limit=2".to_owned()];
        arguments.push("--output=json".to_owned());
        arguments.extend(after.map(|id: String| format!("--after={id}")));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let page = verb(service, &arguments).expect(0);
        let more = page.stderr.contains("--after ");
        seen.extend(ids(&page.json()));
        if !more {
            return seen;
        }
        after = seen.last().cloned();
    }
}

#[test]
fn a_manifest_with_media_is_streamed_once_and_a_longer_one_by_what_is_new() {
    let dir = DataDir::new();
    let service = Service::start(&dir);
    let example = std::fs::read(repository().join("workflows/examples/seoul.ndjson")).unwrap();
    let manifest = dir.write("seoul.ndjson", &example);
    let root = format!("--media-root={}", repository().join("workflows/examples").display());
    let arguments = ["submit", path(&manifest), &root];
    let sent = asked(&service, 0, &arguments);
    let lines: Vec<Value> = example
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    let contributions = lines.iter().filter(|line| line["idempotency_key"].is_string()).count();
    let rejected = sent["rejected_lines"].as_array().map_or(0, Vec::len);
    assert_eq!(
        sent["contributions"].as_u64().unwrap() as usize + rejected,
        contributions,
        "{sent}"
    );
    assert!(sent["media_bytes"].as_u64().unwrap() > 0, "{sent}");
    let count = |state: &str| {
        let state = format!("--state={state}");
        ids(&asked(&service, 0, &["list", "--limit=1000", &state])).len()
    };
    poll_until(PATIENCE, "every journey to end", || {
        let ended: usize = ["settled", "rejected", "withdrawn"].map(count).into_iter().sum();
        (ended + rejected == contributions).then_some(())
    });
    assert!(count("settled") > contributions / 2);
    let again = asked(&service, 0, &arguments);
    assert_eq!(again["resumed_after"], sent["lines"]);
    assert_eq!((&again["consents"], &again["withdrawals"]), (&json!(0), &json!(0)), "{again}");
    let more = [&example[..], b"\nnothing\n"].concat();
    let manifest = dir.write("seoul.ndjson", &more);
    let told = verb(&service, &["submit", path(&manifest), &root]).expect(0);
    assert!(told.stdout.contains("malformed_json"), "{}", told.stdout);
    dir.write("seoul.ndjson", &more[1..]);
    let changed = verb(&service, &["submit", path(&manifest), &root]).expect(2);
    assert!(changed.stderr.contains("others than those"), "{}", changed.stderr);
}

#[test]
fn an_interrupted_submit_goes_on_and_says_no_withdrawal_twice() {
    let dir = DataDir::new();
    let few = Gristmill::command()
        .env("GRISTMILL_STORE__HIGH_WATER", "3")
        .env("GRISTMILL_STORE__SHARDS", "1");
    let service = Service::start_with(&few, &dir, &[]);
    say_of_stage(&service, "consent", "pause");
    let mut manifest = Manifest::new("engine");
    manifest.consent("ana", "g1");
    manifest.withdraw("ana");
    manifest.consent("ana", "g2");
    for key in 0..10 {
        manifest.contribution("ana", &key.to_string());
    }
    let manifest = dir.write("m.ndjson", manifest.as_bytes());
    let arguments = ["submit", path(&manifest), "--output=json"];
    let command = Gristmill::command().env("GRISTMILL_URL", service.url());
    let mut submit = command.spawn(arguments);
    poll_until(PATIENCE, "lines to wait for room", || {
        submit.stderr().contains("wait for room").then_some(())
    });
    submit.interrupt();
    let output = submit.wait(PATIENCE).expect(130);
    assert!(output.stderr.contains("goes on from here"), "{}", output.stderr);
    say_of_stage(&service, "consent", "resume");
    let taken = command.run(arguments).expect(0).json();
    assert_eq!((&taken["resumed_after"], &taken["withdrawals"]), (&json!(2), &json!(0)), "{taken}");
    assert_eq!(taken["contributions"], 10);
    let settled = ["list", "--state=settled"];
    poll_until(PATIENCE, "all to settle", || {
        (ids(&asked(&service, 0, &settled)).len() == 10).then_some(())
    });
    let grants = service.get("/v1/consents?contributor=ana").expect(200).json();
    let state = |nth: usize| grants["items"][nth]["state"].as_str().unwrap();
    assert_eq!((state(0), state(1)), ("withdrawn", "given"), "{grants}");
}

#[test]
fn a_batch_verb_counts_first_keeps_its_rate_and_says_what_failed() {
    let dir = DataDir::new();
    let rail = Rail::start(&dir.outside().join("book"), "fail=1");
    let service = Service::start_with(&Gristmill::command(), &dir, &["--rail", &rail.url]);
    let count = 15;
    service.hand_in_all(Manifest::engine("refused", count, 4).as_bytes());
    let listed = poll_until(PATIENCE, "the quarantine to fill", || {
        let listed = ids(&asked(&service, 0, &["quarantine", "list"]));
        (listed.len() == count).then_some(listed)
    });
    let dry = ["quarantine", "reject", "--all", "--dry-run"];
    let refused = asked(&service, 1, &dry);
    assert_eq!(
        (&refused["count"], refused["failed"].as_array().map(Vec::len)),
        (&json!(0), Some(count))
    );
    assert_eq!(refused["failed"][0]["problem"]["code"], "already_accepted");
    let would = asked(&service, 0, &["retry", "--stage=payout", "--dry-run"]);
    assert_eq!((&would["count"], &would["dry_run"]), (&json!(count), &json!(true)));
    assert_eq!(asked(&service, 0, &["retry", "--cause=panic", "--dry-run"])["count"], 0);
    let changes = service.get("/v1/admin/audit").expect(200).json();
    assert_eq!(changes["items"], json!([]), "a dry run is no change");
    let why = verb(&service, &["retry", "--cause=permanent"]).expect(2).stderr;
    assert!(why.contains("--reason"), "{why}");
    rail.faults(&json!({}));
    let start = Instant::now();
    let retry = ["retry", "--cause=permanent", "--reason=the rail is well", "--rate=10"];
    let told = asked(&service, 0, &retry);
    assert!(start.elapsed() >= Duration::from_secs(1), "ten at once, then the others");
    assert_eq!((&told["count"], &told["failed"]), (&json!(count), &json!([])), "{told}");
    for id in &listed {
        service.await_state(id, "settled");
    }
    let again = asked(&service, 1, &["quarantine", "retry", &listed[0], "--reason=again"]);
    assert_eq!(again["failed"][0]["problem"]["code"], "not_paused");
    let changes = service.get("/v1/admin/audit").expect(200).json();
    let of_one = |item: &Value| (item["verb"].clone(), item["reason"].clone());
    let expected = (json!("quarantine retry"), json!("the rail is well"));
    let items = changes["items"].as_array().unwrap();
    assert_eq!(items.iter().map(of_one).collect::<Vec<_>>(), [expected.clone(), expected]);
    drop(verb(&service, &["retry"]).expect(2));
    drop(verb(&service, &["retry", "--all", &listed[0], "--reason=both"]).expect(2));
}

#[test]
fn stages_and_withdrawals_are_told_to_a_node_and_to_a_data_directory() {
    let dir = DataDir::new();
    let service = Service::start(&dir);
    let pause = ["stage", "pause", "payout", "--reason=a test"];
    assert_eq!(asked(&service, 0, &pause)["paused"], true);
    let parked = hand_in(&service, "ana", "1");
    service.await_state(&parked, "parked");
    let why = asked(&service, 0, &["why", &parked]);
    assert!(why["why"].as_str().unwrap().contains("paused"), "{why}");
    let resume = ["stage", "resume", "payout", "--reason=a test"];
    assert_eq!(asked(&service, 0, &resume)["paused"], false);
    service.await_state(&parked, "settled");
    let stages = verb(&service, &["stage", "list"]).expect(0).stdout;
    assert!(stages.contains("payout"), "{stages}");
    drop(verb(&service, &["stage", "pause", "none", "--reason=a test"]).expect(2));
    let on_behalf = ["withdraw", "--contributor=ana", "--program=engine", "--reason=by letter"];
    let withdrawn = asked(&service, 0, &on_behalf);
    assert!(withdrawn["withdrawn_at"].is_string(), "{withdrawn}");
    drop(verb(&service, &["withdraw", "--contributor=ana", "--grant=never"]).expect(2));
    hand_in(&service, "bob", "1");
    assert_eq!(service.stop().code, 0);

    let here = |code: i32, arguments: &[&str]| {
        let flag = dir.flag();
        let all = [arguments, &[flag.as_str(), "--output=json"]].concat();
        Gristmill::command().run(all).expect(code)
    };
    assert_eq!(here(0, &pause).json()["paused"], true);
    drop(here(2, &["stage", "pause", "none", "--reason=a test"]));
    let bob = here(0, &["withdraw", "--contributor=bob", "--program=engine"]).json();
    assert!(bob["withdrawn_at"].is_string(), "{bob}");
    drop(here(2, &["withdraw", "--contributor=bob", "--grant=never"]));
    let manifest = dir.write("m.ndjson", Manifest::engine("carol", 3, 1).as_bytes());
    assert_eq!(here(0, &["submit", path(&manifest)]).json()["contributions"], 3);

    let service = Service::start(&dir);
    assert_eq!(asked(&service, 0, &["stage", "list"])[2]["stage"], "payout");
    let grants = service.get("/v1/consents?contributor=bob").expect(200).json();
    assert_eq!(grants["items"][0]["state"], "withdrawn", "{grants}");
    let of_carol = ["list", "--contributor=carol-p0", "--stage=payout", "--state=parked"];
    poll_until(PATIENCE, "what was handed in to come to the paused stage", || {
        (ids(&asked(&service, 0, &of_carol)).len() == 3).then_some(())
    });
    let changes = service.get("/v1/admin/audit").expect(200).json();
    let key = |item: &Value| item["key"].as_str().unwrap().to_owned();
    let keys: Vec<String> = changes["items"].as_array().unwrap().iter().map(key).collect();
    assert_eq!(keys, ["open", "open", "open", "data-dir"], "{changes}");
}

#[test]
fn a_key_comes_from_the_environment_or_from_a_file() {
    let dir = DataDir::new();
    let service = Service::start(&dir);
    let new = |role: &str| {
        let role = format!("--role={role}");
        let made = asked(&service, 0, &["keys", "new", &role, "--reason=a test"]);
        made["secret"].as_str().unwrap().to_owned()
    };
    let operator = new("operator");
    let with_key = Gristmill::command()
        .env("GRISTMILL_URL", service.url())
        .env("GRISTMILL_API_KEY", &operator);
    let made = with_key.run(["keys", "new", "--role=submitter", "--reason=a test"]).expect(0);
    let file = dir.write("key", made.stdout.as_bytes());
    let flag = format!("--api-key-file={}", file.display());
    drop(verb(&service, &["list"]).expect(2));
    drop(with_key.run(["list"]).expect(0));
    drop(verb(&service, &["list", &flag]).expect(0));
    drop(with_key.run(["stage", "list"]).expect(0));
    let refused = with_key.run(["stage", "list", &flag]).expect(2).stderr;
    assert!(refused.contains("403 forbidden"), "{refused}");
    drop(verb(&service, &["list", "--api-key-file=/nowhere"]).expect(2));
}

#[test]
fn an_exit_code_says_what_kind_of_failure_it_was() {
    let dir = DataDir::new();
    let service = Service::start(&dir);
    let none = format!("c{}", "0".repeat(36));
    let told = verb(&service, &["show", &none]).expect(2).stderr;
    assert!(told.contains("404 not_found"), "{told}");
    drop(verb(&service, &["list", "--state=gone"]).expect(2));
    drop(verb(&service, &["list", "--after=nothing"]).expect(2));
    say_of_stage(&service, "consent", "pause");
    let queued = hand_in(&service, "ana", "1");
    drop(verb(&service, &["receipt", &queued]).expect(1));
    let url = |url: &str| Gristmill::command().run(["list", "--url", url]);
    drop(url("https://node").expect(2));
    let both = ["list", "--url", service.url(), &dir.flag()];
    drop(Gristmill::command().run(both).expect(2));
    drop(url("http://127.0.0.1:1").expect(4));
}

#[test]
fn an_answer_that_is_no_problem_is_told_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answers = [
        ("404 Not Found", "<html>no such page</html>", "status 404 without a problem"),
        ("500 Internal Server Error", "{\"title\": \"?\"}", "status 500 without a problem"),
        ("200 OK", "<html>welcome</html>", "not the answer of a node"),
        ("200 OK", "{\"items\": 1}", "not the answer of a node"),
    ];
    for (status, body, expected) in answers {
        let list = Gristmill::command().spawn(["list", "--url", &url]);
        let (mut stream, _) =
            poll_until(PATIENCE, "the verb to connect", || listener.accept().ok());
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend_from_slice(&byte);
        }
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        stream.write_all(answer.as_bytes()).unwrap();
        let output = list.wait(PATIENCE).expect(4);
        assert!(output.stderr.contains(expected), "{}", output.stderr);
    }
}
