//! What this process and its data directory use.

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
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let (memory_kib, memory_peak_kib) = (kib(&status, "VmRSS:"), kib(&status, "VmHWM:"));
        Self { cpu_ms: seconds * 1000 + nanos / 1_000_000, memory_kib, memory_peak_kib }
    }
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
    fn a_folders_bytes_are_those_of_its_files_at_any_depth() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        std::fs::write(folder.path().join("a/b"), [0; 10]).unwrap();
        std::fs::write(folder.path().join("c"), [0; 5]).unwrap();
        assert_eq!(bytes_under(folder.path()).unwrap(), 15);
    }
}
