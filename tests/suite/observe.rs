//! Dashboards and alerts against a real Prometheus that scrapes a node under load: every
//! expression is valid and finds something.

use crate::scrape::PATIENCE;
use gristmill_tests::{
    DataDir, Gristmill, Manifest, Service, free_port, has_program, poll_until, repository,
};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Contributions handed in at a time while Prometheus looks.
const LOAD: usize = 60;

fn dashboards(name: &str) -> String {
    fs::read_to_string(repository().join("dashboards").join(name)).unwrap()
}

fn dashboard() -> Value {
    serde_json::from_str(&dashboards("overview.json")).unwrap()
}

/// Panels, those of folded rows included.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let mut all = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        all.push(panel);
        all.extend(panel["panels"].as_array().into_iter().flatten());
    }
    all
}

/// Every expression of the dashboard, by the title of its panel, as Grafana would send it.
fn expressions(dashboard: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for panel in panels(dashboard) {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            let sent = expression
                .replace("$__rate_interval", "20s")
                .replace("$job", ".*")
                .replace("$instance", ".*");
            assert!(!sent.contains('$'), "a variable that the test does not know: {sent}");
            found.push((panel["title"].as_str().unwrap().to_owned(), sent));
        }
    }
    found
}

/// A Prometheus with the shipped configuration, but for addresses and intervals.
struct Prometheus {
    child: Child,
    address: String,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("prometheus cannot be killed: {error}");
        }
    }
}

impl Prometheus {
    fn start(dir: &DataDir, target: &str) -> Self {
        let rules = repository().join("dashboards/alerts.yml");
        let config = dashboards("prometheus.yml")
            .replace("127.0.0.1:7700", target)
            .replace("interval: 15s", "interval: 1s")
            .replace("- alerts.yml", &format!("- {}", rules.display()));
        assert!(config.contains(target) && config.contains("scrape_interval: 1s"));
        let config = dir.write("prometheus.yml", config.as_bytes());
        let address = format!("127.0.0.1:{}", free_port());
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.outside().join("tsdb").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let prometheus = Self { child, address };
        poll_until(PATIENCE, "Prometheus to be ready", || {
            prometheus.get("/-/ready").ok().map(drop)
        });
        prometheus
    }

    fn get(&self, path: &str) -> Result<String, ureq::Error> {
        ureq::get(format!("http://{}{path}", self.address)).call()?.into_body().read_to_string()
    }

    fn api(&self, path: &str) -> Value {
        let body = self.get(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
    }

    /// The finite values of an expression now.
    fn query(&self, expression: &str) -> Vec<f64> {
        let encode = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        };
        let encoded: String = expression.bytes().map(encode).collect();
        let answer = self.api(&format!("/api/v1/query?query={encoded}"));
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        let result = answer["data"]["result"].as_array().unwrap();
        let value = |sample: &Value| sample["value"][1].as_str().unwrap().parse().unwrap();
        result.iter().map(value).filter(|value: &f64| value.is_finite()).collect()
    }

    /// The alerts as Prometheus understood them.
    fn alerts(&self) -> Vec<Value> {
        let rules = self.api("/api/v1/rules");
        let groups = rules["data"]["groups"].as_array().unwrap();
        groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
    }
}

/// What stands before the comparison with a number that ends an alert's expression.
fn compared(query: &str) -> &str {
    let ends = [" > ", " < "].into_iter().filter_map(|sign| query.rsplit_once(sign));
    let mut ends = ends.filter(|(_, number)| number.parse::<f64>().is_ok());
    ends.next().unwrap_or_else(|| panic!("no comparison with a number ends {query}")).0
}

fn promtool(arguments: &[&str], input: &str) {
    use std::io::Write;
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
}

#[test]
fn promtool_takes_the_rules_the_configuration_and_the_metrics() {
    if !has_program("promtool") {
        return;
    }
    let path = |name: &str| repository().join("dashboards").join(name).display().to_string();
    promtool(&["check", "rules", &path("alerts.yml")], "");
    promtool(&["check", "config", &path("prometheus.yml")], "");
    let dir = DataDir::new();
    let service = Service::start(&dir);
    promtool(&["check", "metrics"], &service.get("/metrics").expect(200).text());
    let _ended = service.stop().expect(0);
}

#[test]
fn every_expression_finds_something_on_a_node_under_load() {
    if !has_program("prometheus") {
        return;
    }
    let dir = DataDir::new();
    let book = format!("--book={}", dir.outside().join("book").display());
    let faults = "--fault=lost_reply=0.1,fail=0.05,http_500=0.05";
    let arguments = ["sandbox-rail", "--listen=127.0.0.1:0", &book, faults];
    let mut rail = Gristmill::command().spawn(arguments);
    let line: Value = serde_json::from_str(&rail.first_line(PATIENCE)).unwrap();
    let service = Service::start_with(
        &Gristmill::command(),
        &dir,
        &["--rail", line["listening"].as_str().unwrap()],
    );
    let prometheus = Prometheus::start(&dir, service.address());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                if done.load(Ordering::Acquire) {
                    return;
                }
                service.hand_in_all(Manifest::engine(&format!("load{number}"), LOAD, 6).as_bytes());
            }
        });
        let finish = Finish(&done);
        let dashboard = dashboard();
        let mut pending = expressions(&dashboard);
        assert!(pending.len() > 20, "the dashboard has expressions");
        assert!(prometheus.query("gristmill_what_nobody_counts").is_empty());
        let mut alerts = BTreeSet::new();
        let loaded = || Some(prometheus.alerts()).filter(|alerts| !alerts.is_empty());
        for alert in poll_until(PATIENCE, "the rules to be read", loaded) {
            let name = alert["name"].as_str().unwrap().to_owned();
            let query = alert["query"].as_str().unwrap();
            pending.push((name.clone(), compared(query).to_owned()));
            assert!(alerts.insert(name), "{alert}");
        }
        let end = Instant::now() + PATIENCE;
        while !pending.is_empty() {
            assert!(Instant::now() < end, "these found nothing: {pending:#?}");
            pending.retain(|(_, expression)| prometheus.query(expression).is_empty());
        }
        let evaluated = || {
            let alerts = prometheus.alerts();
            let healthy = alerts.iter().all(|alert| alert["health"] == "ok");
            healthy.then_some(alerts)
        };
        for alert in poll_until(PATIENCE, "every rule to be evaluated", evaluated) {
            assert_is_cared_for(&alert);
        }
        drop(finish);
        assert_sections(&alerts);
    });
    let _ended = service.stop();
}

/// Ends the load, whatever the checks came to.
struct Finish<'a>(&'a AtomicBool);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Somebody knows how urgent an alert is, what it says and what to do.
fn assert_is_cared_for(alert: &Value) {
    let severity = alert["labels"]["severity"].as_str().unwrap();
    assert!(["page", "ticket"].contains(&severity), "{alert}");
    assert!(alert["duration"].is_number(), "{alert}");
    let text = |name: &str| alert["annotations"][name].as_str().unwrap().to_owned();
    assert!(!text("summary").is_empty());
    let name = alert["name"].as_str().unwrap().to_lowercase();
    assert_eq!(text("runbook_url"), format!("dashboards/runbook.md#{name}"));
}

/// One section an alert, one alert a section.
fn assert_sections(alerts: &BTreeSet<String>) {
    let text = dashboards("runbook.md");
    let sections = text.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_owned);
    assert_eq!(&sections.collect::<BTreeSet<_>>(), alerts);
}

#[test]
fn the_dashboard_keeps_its_own_rules() {
    let dashboard = dashboard();
    assert_eq!(dashboard["uid"], "gristmill-overview");
    assert_eq!(dashboard["editable"], false);
    let panels = panels(&dashboard);
    let mut ids = BTreeSet::new();
    let mut places: Vec<[u64; 4]> = Vec::new();
    for panel in &panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: an id is given twice");
        let place = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        let [x, y, w, h] = place;
        assert!(x + w <= 24, "{title} is too wide");
        let over = places
            .iter()
            .find(|[ox, oy, ow, oh]| x < ox + ow && *ox < x + w && y < oy + oh && *oy < y + h);
        assert_eq!(over, None, "{title} lies over another panel");
        places.push(place);
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["description"].as_str().is_some_and(|text| text.len() > 10), "{title}");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title}");
        let targets = panel["targets"].as_array().unwrap();
        let letters: BTreeSet<&str> =
            targets.iter().map(|target| target["refId"].as_str().unwrap()).collect();
        assert!(letters.len() == targets.len() && !targets.is_empty(), "{title}");
        for target in targets {
            let expression = target["expr"].as_str().unwrap();
            assert!(expression.contains("job=~\"$job\", instance=~\"$instance\""), "{expression}");
            let window = expression.contains("rate(") || expression.contains("increase(");
            assert!(!window || expression.contains("[$__rate_interval]"), "{expression}");
        }
    }
}

#[test]
fn every_metric_is_on_the_dashboard_or_in_an_alert() {
    let shown = dashboards("overview.json") + &dashboards("alerts.yml");
    for (name, ..) in crate::metrics::CONTRACT {
        assert!(shown.contains(&format!("gristmill_{name}")), "nobody looks at {name}");
    }
}
