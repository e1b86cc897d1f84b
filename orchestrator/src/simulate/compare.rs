//! Two reports side by side.

use serde_json::Value;

/// What is compared: its name, where it stands in a report, by what it is divided, and whether more
/// of it is better.
const FIGURES: [(&str, &str, f64, Better); 14] = [
    ("intended a second", "/plan/rate", 1.0, Better::Neither),
    ("submitted", "/counts/submitted", 1.0, Better::Neither),
    ("settled", "/audited/tally/settled", 1.0, Better::Neither),
    ("settled a second", "/settled_rate", 1.0, Better::More),
    ("driven for, s", "/drove_seconds", 1.0, Better::Neither),
    ("until rest, s", "/rested_seconds", 1.0, Better::Less),
    ("answered p50, ms", "/latency/answered/p50", 1e3, Better::Less),
    ("answered p99, ms", "/latency/answered/p99", 1e3, Better::Less),
    ("answered p99.9, ms", "/latency/answered/p999", 1e3, Better::Less),
    ("settled p50, ms", "/latency/settled/p50", 1e3, Better::Less),
    ("settled p99, ms", "/latency/settled/p99", 1e3, Better::Less),
    ("CPU, ms", "/resources/cpu_ms", 1.0, Better::Less),
    ("most memory, MiB", "/resources/memory_peak_kib", 1024.0, Better::Less),
    ("on disk, bytes", "/disk_bytes", 1.0, Better::Less),
];

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
}

/// Compares two reports; `allowed` is in percent.
#[must_use]
pub fn compare(first: &Value, second: &Value, allowed: f64) -> Compared {
    let mut lines = vec![format!("{:<22} {:>14} {:>14} {:>9}", "", "first", "second", "change")];
    let mut worse = Vec::new();
    for (name, pointer, divisor, better) in FIGURES {
        let of = |report: &Value| report.pointer(pointer).and_then(Value::as_f64);
        let (Some(a), Some(b)) = (of(first), of(second)) else { continue };
        let (a, b) = (a / divisor, b / divisor);
        let change = if a == 0.0 { 0.0 } else { (b - a) / a * 100.0 };
        let loss = match better {
            Better::More => -change,
            Better::Less => change,
            Better::Neither => 0.0,
        };
        let mark = if loss > allowed { " worse" } else { "" };
        if loss > allowed {
            worse.push(name);
        }
        lines.push(format!("{name:<22} {a:>14.2} {b:>14.2} {change:>+8.1}%{mark}"));
    }
    for what in ["/plan/seed", "/plan/contributors", "/host/cpu", "/host/commit", "/target"] {
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
    Compared { lines, worse }
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
        let told = compare(&fast, &json!({"ok": false}), 0.0).lines;
        assert!(told.iter().any(|line| line.contains("NOT accounted for")));
    }
}
