//! The report as one HTML page that needs nothing else: the verdict on top, then figures and charts.

use super::breach::Breach;
use super::chart::{Chart, Line, escaped, number, put};
use super::fault::Mark;
use super::measured::{Interval, Percentiles};
use super::report::{Breakpoint, Curve, Report};
use super::scrape::{Spread, StageTimes};

const STYLE: &str = "\
:root{color-scheme:light dark;--fg:#1b1b1f;--bg:#fff;--soft:#666;--grid:#ddd;--a:#0b62c4;--b:#d1690a;\
--c:#2c8a3d;--d:#a3278f}\
@media(prefers-color-scheme:dark){:root{--fg:#e6e6ea;--bg:#141417;--soft:#9a9aa2;--grid:#333;\
--a:#6db1ff;--b:#ffa657;--c:#6fd083;--d:#f08be0}}\
body{font:15px/1.45 system-ui,sans-serif;color:var(--fg);background:var(--bg);max-width:800px;\
margin:1.5rem auto;padding:0 1rem}\
h1{font-size:1.3rem}h2{font-size:1.05rem;margin-top:1.8rem}\
.verdict{padding:.7rem 1rem;border-radius:6px;color:#fff;font-weight:600}\
.ok{background:#1d7a36}.bad{background:#b3261e}\
table{border-collapse:collapse;width:100%}td,th{padding:.2rem .5rem;text-align:right;\
border-bottom:1px solid var(--grid)}td:first-child,th:first-child{text-align:left}\
figure{margin:1.2rem 0}figcaption span,.soft{color:var(--soft)}figcaption i{display:inline-block;\
width:.8em;height:.25em;margin:0 .3em .2em .8em}\
svg{width:100%;height:auto}svg text{font-size:11px;fill:var(--soft)}.g{stroke:var(--grid)}.e{stroke:var(--b);stroke-width:2;stroke-dasharray:4 3}\
polyline{fill:none;stroke-width:1.6;stroke-linejoin:round}\
.l0{stroke:var(--a)}.l1{stroke:var(--b)}.l2{stroke:var(--c)}.l3{stroke:var(--d)}\
.k0{background:var(--a)}.k1{background:var(--b)}.k2{background:var(--c)}.k3{background:var(--d)}\
pre{overflow-x:auto;font-size:.85rem}";

/// The page of a report.
#[must_use]
pub fn page(report: &Report) -> String {
    let mut out = String::with_capacity(64 * 1024);
    let run = escaped(&report.plan.run);
    put(
        &mut out,
        format_args!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>Simulation {run}</title>\
             <style>{STYLE}</style></head><body>\n<h1>Simulation {run}</h1>\n"
        ),
    );
    verdict(&mut out, report);
    figures(&mut out, report);
    latency(&mut out, report);
    stages(&mut out, report);
    for chart in charts(report) {
        out.push_str(&chart.figure());
    }
    audit(&mut out, report);
    settings(&mut out, report);
    out.push_str("</body></html>\n");
    out
}

fn verdict(out: &mut String, report: &Report) {
    let (class, word) = match report.ok {
        true => ("ok", "everything is accounted for"),
        false => ("bad", "NOT accounted for"),
    };
    let tally = &report.audited.tally;
    put(
        out,
        format_args!(
            "<p class=\"verdict {class}\">Auditor: {word}<br>submitted {} = settled {} + rejected \
             {} + withdrawn {} + quarantined {} + in flight {}</p>\n",
            report.audited.submitted,
            tally.settled,
            tally.rejected,
            tally.withdrawn,
            tally.quarantined,
            tally.in_flight
        ),
    );
    if report.interrupted {
        out.push_str("<p><b>Interrupted before the end of its schedule.</b></p>\n");
    }
    if report.host.debug_build {
        out.push_str("<p><b>A debug build: its figures say little.</b></p>\n");
    }
    if !report.audited.breaches.is_empty() {
        out.push_str("<table><tr><th>check</th><th>what</th><th></th></tr>\n");
        for Breach { check, id, sentence } in &report.audited.breaches {
            let (check, id, sentence) = (escaped(check), escaped(id), escaped(sentence));
            put(out, format_args!("<tr><td>{check}</td><td>{id}</td><td>{sentence}</td></tr>\n"));
        }
        out.push_str("</table>\n");
    }
}

fn row(out: &mut String, name: &str, value: &str) {
    put(out, format_args!("<tr><td>{}</td><td>{}</td></tr>\n", escaped(name), escaped(value)));
}

fn figures(out: &mut String, report: &Report) {
    let (counts, host) = (&report.counts, &report.host);
    let settled = report.audited.tally.settled.max(1);
    let reached = counts.submitted as f64 / report.drove_seconds.max(0.001);
    out.push_str("<h2>Figures</h2>\n<table>\n");
    row(out, "contributions submitted", &counts.submitted.to_string());
    row(out, "intended, a second", &number(report.intended_rate));
    row(out, "reached, a second", &number(reached));
    if let Some(Breakpoint { at_s, bore }) = report.breakpoint {
        let told = format!("{} after {at_s:.0} s", number(bore));
        row(out, "borne before it broke, lines a second", &told);
    }
    row(out, "settled a second, until rest", &number(report.settled_rate));
    row(out, "driven for, then until rest", &seconds(report));
    let refused: u64 = counts.refused.values().sum();
    row(out, "told to come again later", &refused.to_string());
    row(out, "handed in again, given up", &format!("{}, {}", counts.retried, counts.given_up));
    row(out, "consents, withdrawals", &format!("{}, {}", counts.consents, counts.withdrawals));
    let second = format!("{}, {}", counts.duplicates, counts.conflicts);
    row(out, "repeats recognised, second bodies refused", &second);
    row(out, "poison refused", &counts.poison.to_string());
    if report.disk_bytes > 0 {
        let cpu = report.cpu_ms() as f64 / settled as f64;
        row(out, "CPU a settled contribution, ms", &format!("{cpu:.3}"));
        let bytes = report.disk_bytes / settled;
        row(out, "bytes on disk a settled contribution", &bytes.to_string());
    }
    row(
        out,
        "most memory of this process, MiB",
        &(report.resources.memory_peak_kib / 1024).to_string(),
    );
    if let Some(started) = report.started {
        let most = (started.memory_peak_kib / 1024).to_string();
        row(out, "most memory of what it started, each, summed, MiB", &most);
        let cpu = format!("{}, {}", report.resources.cpu_ms, started.cpu_ms);
        row(out, "CPU of this process, of what it started, ms", &cpu);
    }
    for Mark { at_s, what } in &report.faults {
        row(out, "made to go wrong", &format!("{what}, after {at_s:.1} s"));
    }
    for fault in &report.faults_missed {
        row(out, "was to go wrong, and was over before", fault);
    }
    row(out, "target", &report.target);
    let memory = host.memory_kib >> 20;
    row(out, "machine", &format!("{} x {}, {memory} GiB", host.cpus, host.cpu));
    let commit = host.commit.unwrap_or("not told");
    row(out, "version, commit, kernel", &format!("{}, {commit}, {}", host.version, host.kernel));
    out.push_str("</table>\n");
}

fn seconds(report: &Report) -> String {
    let rest = report.rested_seconds - report.drove_seconds;
    format!("{:.1} s, {rest:.1} s", report.drove_seconds)
}

fn latency(out: &mut String, report: &Report) {
    out.push_str(
        "<h2>Latency from the intended start, ms</h2>\n<table><tr><th></th><th>p50</th>\
         <th>p90</th><th>p99</th><th>p99.9</th><th>max</th><th>of</th></tr>\n",
    );
    let latency = &report.latency;
    for (name, percentiles) in [
        ("answered", &latency.answered),
        ("settled", &latency.settled),
        ("of that, until intake", &latency.intake),
        ("intake to acceptance", &latency.acceptance),
        ("acceptance to the end", &latency.settlement),
    ] {
        let Percentiles { count, p50, p90, p99, p999, max } = *percentiles;
        if count == 0 {
            continue;
        }
        let cells = [p50, p90, p99, p999, max].map(|us| format!("<td>{:.1}</td>", ms(us)));
        let cells = cells.concat();
        put(out, format_args!("<tr><td>{name}</td>{cells}<td>{count}</td></tr>\n"));
    }
    out.push_str("</table>\n");
}

/// How long each stage took, by the nodes' own metrics.
fn stages(out: &mut String, report: &Report) {
    if report.stages.is_empty() {
        return;
    }
    out.push_str(
        "<h2>Stages, ms</h2>\n<table><tr><th></th><th>attempts</th><th>mean</th><th>p50</th>\
         <th>p99</th><th>queued p50</th><th>queued p99</th></tr>\n",
    );
    for StageTimes { stage, run, wait } in &report.stages {
        let Spread { count, mean_ms, p50_ms, p99_ms } = run;
        let cells = [*mean_ms, *p50_ms, *p99_ms, wait.p50_ms, wait.p99_ms];
        let cells = cells.map(|ms| format!("<td>{ms:.2}</td>")).concat();
        let stage = escaped(stage);
        put(out, format_args!("<tr><td>{stage}</td><td>{count}</td>{cells}</tr>\n"));
    }
    out.push_str(
        "</table>\n<p class=\"soft\">By the nodes' histograms: percentiles are read between their \
         bounds.</p>\n",
    );
}

fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

fn charts(report: &Report) -> Vec<Chart> {
    let second = report.interval_ms as f64 / 1000.0;
    let line = |name, value: &dyn Fn(&Interval) -> f64| {
        let at = |(nth, interval): (usize, &Interval)| (nth as f64 * second, value(interval));
        Line { name, points: report.intervals.iter().enumerate().map(at).collect() }
    };
    let slow = |name, value: &dyn Fn(&Percentiles) -> u64| {
        let all = report.intervals.iter().enumerate();
        let answered = all.filter(|(_, interval)| interval.latency.count > 0);
        let at = |(nth, interval): (usize, &Interval)| {
            (nth as f64 * second, ms(value(&interval.latency)))
        };
        Line { name, points: answered.map(at).collect() }
    };
    let events: Vec<(f64, String)> =
        report.faults.iter().map(|mark| (mark.at_s, mark.what.clone())).collect();
    let over = |title, unit, decades, lines| Chart {
        title,
        unit,
        across: "seconds since the start",
        marks: Vec::new(),
        events: events.clone(),
        decades,
        lines,
    };
    let mut charts = vec![
        over(
            "Rate of lines",
            "a second",
            false,
            vec![
                line("intended", &|one| one.intended as f64 / second),
                line("answered", &|one| one.answered as f64 / second),
                line("come again later", &|one| one.refused as f64 / second),
            ],
        ),
        over(
            "Latency of answers over time",
            "ms, decades",
            true,
            vec![
                slow("p50", &|one| one.p50),
                slow("p90", &|one| one.p90),
                slow("p99", &|one| one.p99),
                slow("p99.9", &|one| one.p999),
            ],
        ),
        by_percentile(report),
        over(
            "How late the schedule was",
            "ms",
            false,
            vec![line("late", &|one| one.late_ms as f64)],
        ),
    ];
    // Nodes behind an address need not show it.
    if report.intervals.iter().any(|one| one.under_way > 0) {
        let lines = vec![line("under way", &|one| one.under_way as f64)];
        charts.push(over("Contributions under way", "contributions", false, lines));
        let lines = vec![line("the oldest under way", &|one| one.backlog_ms as f64)];
        charts.push(over("Age of the backlog", "ms", false, lines));
    }
    let mut memory = line("in use", &|one| one.memory_kib as f64 / 1024.0);
    // Answers may come after the last look at the process.
    memory.points.retain(|(_, used)| *used > 0.0);
    charts.push(over("Memory of this process", "MiB", false, vec![memory]));
    charts
}

/// Latency of answers and of settlement by percentile.
fn by_percentile(report: &Report) -> Chart {
    let curve = |name, curve: &Curve| {
        let place = |(quantile, us): &(f64, u64)| (nines(*quantile), ms(*us));
        Line { name, points: curve.iter().map(place).collect() }
    };
    let marks = [(0.0, "0"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %")];
    Chart {
        title: "Latency by percentile",
        unit: "ms, decades",
        across: "share of all",
        marks: marks.map(|(quantile, name)| (nines(quantile), name)).to_vec(),
        events: Vec::new(),
        decades: true,
        lines: vec![
            curve("answered", &report.curves.answered),
            curve("settled", &report.curves.settled),
        ],
    }
}

/// How many nines a quantile has: 0.99 has two.
fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).max(1e-6).log10()
}

fn audit(out: &mut String, report: &Report) {
    out.push_str("<h2>The auditor</h2>\n<pre>");
    for line in report.audited.lines() {
        put(out, format_args!("{}\n", escaped(&line)));
    }
    out.push_str("</pre>\n");
}

fn settings(out: &mut String, report: &Report) {
    let plan = serde_json::to_string_pretty(&report.plan).expect("a plan has string keys");
    let plan = escaped(&plan);
    put(out, format_args!("<h2>Seed and configuration</h2>\n<pre>{plan}</pre>\n"));
    if let Some(config) = &report.config {
        let config = serde_json::to_string_pretty(config).expect("its tables have string keys");
        let config = escaped(&config);
        put(out, format_args!("<h2>Configuration of the nodes</h2>\n<pre>{config}</pre>\n"));
    }
}
