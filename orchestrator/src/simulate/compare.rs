//! Two reports side by side.

use serde_json::Value;

/// What is compared: its name, where it stands in a report, how it is read, and whether more of it is
/// better.
const FIGURES: [(&str, &str, Read, Better); 17] = [
    ("intended a second", "/intended_rate", Read::By(1.0), Better::Neither),
    ("submitted", "/counts/submitted", Read::By(1.0), Better::Neither),
    ("settled", "/audited/tally/settled", Read::By(1.0), Better::Neither),
    ("settled a second", "/settled_rate", Read::By(1.0), Better::More),
    ("driven for, s", "/drove_seconds", Read::By(1.0), Better::Neither),
    ("until rest, s", "/rested_seconds", Read::By(1.0), Better::Neither),
    ("given up", "/counts/given_up", Read::By(1.0), Better::Less),
    ("answered p50, ms", "/latency/answered/p50", Read::By(1e3), Better::Less),
    ("answered p99, ms", "/latency/answered/p99", Read::By(1e3), Better::Less),
    ("answered p99.9, ms", "/latency/answered/p999", Read::By(1e3), Better::Less),
    ("settled p50, ms", "/latency/settled/p50", Read::By(1e3), Better::Less),
    ("settled p99, ms", "/latency/settled/p99", Read::By(1e3), Better::Less),
    ("settled p99.9, ms", "/latency/settled/p999", Read::By(1e3), Better::Less),
    ("CPU a settled one, ms", "/resources/cpu_ms", Read::EachSettled, Better::Less),
    ("CPU of nodes, each, ms", "/started/cpu_ms", Read::EachSettled, Better::Less),
    ("most memory, MiB", "/resources/memory_peak_kib", Read::By(1024.0), Better::Less),
    ("bytes a settled one", "/disk_bytes", Read::EachSettled, Better::Less),
];

/// How a figure is read.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Read {
    /// Divided by this.
    By(f64),
    /// Divided by how many settled: runs may differ in size.
    EachSettled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Better {
    More,
    Less,
    Neither,
}

/// The comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// A table for people.
    pub lines: Vec<String>,
    /// Figures that are worse in the second report by more than was allowed.
    pub worse: Vec<&'static str>,
    /// In the second report everything is accounted for.
    pub ok: bool,
}

/// Whether JSON is a report of a simulation.
#[must_use]
pub fn is_report(json: &Value) -> bool {
    json["ok"].is_boolean() && json["plan"].is_object() && json["audited"].is_object()
}

fn figure(report: &Value, pointer: &str, read: Read) -> Option<f64> {
    let of = |pointer: &str| report.pointer(pointer).and_then(Value::as_f64);
    let by = match read {
        Read::By(divisor) => divisor,
        Read::EachSettled => of("/audited/tally/settled")?.max(1.0),
    };
    of(pointer).map(|value| value / by)
}

/// Compares two reports; `allowed` is in percent.
#[must_use]
pub fn compare(first: &Value, second: &Value, allowed: f64) -> Compared {
    let mut lines = vec![format!("{:<22} {:>14} {:>14} {:>9}", "", "first", "second", "change")];
    let mut worse = Vec::new();
    for (name, pointer, read, better) in FIGURES {
        let of = |report| figure(report, pointer, read);
        let (Some(a), Some(b)) = (of(first), of(second)) else { continue };
        let change = if a == b { 0.0 } else { (b - a) / a * 100.0 };
        let loss = match better {
            Better::More => -change,
            Better::Less => change,
            Better::Neither => 0.0,
        };
        let mark = if loss > allowed { " worse" } else { "" };
        if loss > allowed {
            worse.push(name);
        }
        lines.push(format!("{name:<22} {a:>14.3} {b:>14.3} {change:>+8.1}%{mark}"));
    }
    for what in [
        "/plan/seed",
        "/plan/contributors",
        "/plan/profile",
        "/host/cpu",
        "/host/commit",
        "/target",
        "/config",
    ] {
        let (a, b) = (first.pointer(what), second.pointer(what));
        if a != b {
            let text = |value: Option<&Value>| value.map_or_else(String::new, Value::to_string);
            lines.push(format!("differs: {what} {} {}", text(a), text(b)));
        }
    }
    for (which, report) in [("first", first), ("second", second)] {
        if report["ok"] != true {
            lines.push(format!("the {which} report is NOT accounted for"));
        }
    }
    Compared { lines, worse, ok: second["ok"] == true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_worse_by_more_than_allowed_is_told() {
        let report = |rate: f64, p99: u64| json!({"ok": true, "settled_rate": rate, "latency": {"answered": {"p99": p99}}});
        let (fast, slow) = (report(1000.0, 5_000), report(800.0, 5_200));
        assert_eq!(compare(&fast, &slow, 5.0).worse, ["settled a second"]);
        assert_eq!(compare(&fast, &slow, 1.0).worse.len(), 2);
        assert_eq!(compare(&slow, &fast, 0.0).worse, Vec::<&str>::new());
        let told = compare(&fast, &json!({"ok": false}), 0.0);
        assert!(told.lines.iter().any(|line| line.contains("NOT accounted for")));
        assert!(!told.ok);
    }

    #[test]
    fn runs_of_another_size_are_compared_by_what_one_contribution_took() {
        let report = |settled: u64, cpu: u64, given_up: u64| {
            json!({"ok": true, "audited": {"tally": {"settled": settled}},
                "resources": {"cpu_ms": cpu}, "counts": {"given_up": given_up}})
        };
        let (small, large) = (report(100, 50, 0), report(1000, 500, 0));
        assert_eq!(compare(&small, &large, 1.0).worse, Vec::<&str>::new());
        assert_eq!(compare(&small, &report(1000, 900, 0), 1.0).worse, ["CPU a settled one, ms"]);
        // From nothing to something is more than any percentage.
        assert_eq!(compare(&small, &report(1000, 500, 1), 1e6).worse, ["given up"]);
    }

    #[test]
    fn other_json_is_no_report() {
        assert!(is_report(&json!({"ok": true, "plan": {}, "audited": {}})));
        for other in
            [json!({}), json!([1]), json!({"ok": true}), json!({"plan": {}, "audited": {}})]
        {
            assert!(!is_report(&other), "{other}");
        }
    }
}
