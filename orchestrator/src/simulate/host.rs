//! The machine and the build that a report was made with.

use serde::Serialize;

/// The machine and the build.
#[derive(Debug, Clone, Serialize)]
pub struct Host {
    /// The version of the program.
    pub version: &'static str,
    /// The commit that it was built from: what git said, or `GRISTMILL_COMMIT` of the build.
    pub commit: Option<&'static str>,
    /// Built without optimisation for speed: its figures say little.
    pub debug_build: bool,
    /// Processors that this process may use.
    pub cpus: usize,
    /// What they are called; empty where the system does not say.
    pub cpu: String,
    /// Memory of the machine, in KiB; zero where the system does not say.
    pub memory_kib: u64,
    /// The kernel's release; empty where the system does not say.
    pub kernel: String,
}

impl Host {
    /// This machine.
    #[must_use]
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let (cpus, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
        let memory = value(&memory, "MemTotal").and_then(|text| text.split(' ').next());
        Self {
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("GRISTMILL_COMMIT"),
            debug_build: cfg!(debug_assertions),
            cpus: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            cpu: value(&cpus, "model name").unwrap_or_default().to_owned(),
            memory_kib: memory.and_then(|kib| kib.parse().ok()).unwrap_or(0),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

/// The first value of a name in a file of the Linux kernel (proc(5)).
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_whole_name() {
        let text = "model\t: 1\nmodel name\t: Some CPU\nmodel name\t: other\n";
        assert_eq!(value(text, "model name"), Some("Some CPU"));
        assert_eq!(value(text, "name"), None);
    }
}
