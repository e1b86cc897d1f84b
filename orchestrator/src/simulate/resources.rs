//! What this process and its data directory use.

use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use std::path::Path;

/// What this process uses. In an embedded simulation that is node and driver together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Resources {
    /// CPU time since its start, in milliseconds.
    pub cpu_ms: u64,
    /// Memory in use, in KiB; zero where the system does not say.
    pub memory_kib: u64,
    /// The most memory it ever used, in KiB; zero where the system does not say.
    pub memory_peak_kib: u64,
}

impl Resources {
    /// What it uses now.
    #[must_use]
    pub fn now() -> Self {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
        Self { cpu_ms: seconds * 1000 + nanos / 1_000_000, ..Self::default() }.with_memory("self")
    }

    /// What another process has used; zeros if there is none.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let cpu_ms = ticks(&stat) * 1000 / clock_ticks_per_second().max(1);
        Self { cpu_ms, ..Self::default() }.with_memory(&pid.to_string())
    }

    fn with_memory(self, process: &str) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let (memory_kib, memory_peak_kib) = (kib(&status, "VmRSS:"), kib(&status, "VmHWM:"));
        Self { memory_kib, memory_peak_kib, ..self }
    }

    /// Takes in what another process used; their peaks need not have come at one moment.
    pub fn add(&mut self, other: Self) {
        self.cpu_ms += other.cpu_ms;
        self.memory_kib += other.memory_kib;
        self.memory_peak_kib += other.memory_peak_kib;
    }
}

/// The CPU time of a process in clock ticks, user and system (proc(5): fields 14 and 15; the name of the
/// program, field 2, may hold anything).
fn ticks(stat: &str) -> u64 {
    let (_, rest) = stat.rsplit_once(')').unwrap_or_default();
    let fields = rest.split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// A size in a status file of the Linux kernel (proc(5)).
fn kib(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Bytes of every file under a folder. Blocks.
///
/// # Errors
/// What the file system says.
pub fn bytes_under(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        bytes += match kind.is_dir() {
            true => bytes_under(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_by_name() {
        let status = "Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t 1024 kB\n";
        assert_eq!((kib(status, "VmRSS:"), kib(status, "VmHWM:")), (1024, 2048));
        assert_eq!(kib("", "VmRSS:"), 0);
    }

    #[test]
    fn the_time_of_a_process_is_read_whatever_its_name_holds() {
        let stat = "7 (a) b c) S 1 7 7 0 -1 4194304 100 0 0 0 31 11 5 6 20 0 1 0 100 1 1";
        assert_eq!(ticks(stat), 42);
        assert_eq!(ticks(""), 0);
        assert!(Resources::of(std::process::id()).memory_kib > 0);
    }

    #[test]
    fn a_folders_bytes_are_those_of_its_files_at_any_depth() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        std::fs::write(folder.path().join("a/b"), [0; 10]).unwrap();
        std::fs::write(folder.path().join("c"), [0; 5]).unwrap();
        assert_eq!(bytes_under(folder.path()).unwrap(), 15);
    }
}
