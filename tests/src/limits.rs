//! Every bound of the harness.

use std::time::Duration;

/// How long one command may take before its test fails; scenarios with more to do name their own.
pub const COMMAND_DEADLINE: Duration = Duration::from_secs(120);
/// How long a killed process may take to be gone.
pub const KILL_DEADLINE: Duration = Duration::from_secs(10);
/// How long a service may take until it is ready, and to end after SIGTERM.
pub const SERVICE_DEADLINE: Duration = Duration::from_secs(60);
/// How long one answer of a service may take.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(60);
/// Most bytes of one answer.
pub const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How long a poll rests between two looks.
pub const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Most bytes kept of each of a process's two outputs; past it the pipe is closed.
pub const OUTPUT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Largest value that [`crate::size`] accepts.
pub const SIZE_MAX: u32 = 100_000_000;
