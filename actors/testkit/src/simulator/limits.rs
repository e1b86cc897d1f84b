//! Every bound of the simulator.

use std::time::Duration;

/// Most breaches kept of one run.
pub(super) const BREACHES_MAX: usize = 1_000;
/// Simulated time that the system may take to come to rest once faults have stopped.
pub(super) const REST_MAX: Duration = Duration::from_secs(8 * 3_600);
/// What a node is asked to wait for by itself; timers further ahead are waited for from outside.
pub(super) const PATIENCE_MS: u64 = 30_000;
/// Rounds of an operator who goes through the quarantine after the faults.
pub(super) const ROUNDS_MAX: u32 = 7;
/// Rounds in which the operator retries before rejecting.
pub(super) const RETRY_ROUNDS: u32 = 3;
/// Nodes that may end by themselves after faults have stopped.
pub(super) const ENDS_AFTER_FAULTS_MAX: u64 = 4;
/// Most nodes that are left behind and go on.
pub(super) const ZOMBIES_MAX: usize = 2;
/// Times that a client says the same thing before it counts as refused for ever.
pub(super) const CLIENT_TRIES_MAX: u32 = 10_000;
/// After this nothing is on its way any more.
pub(super) const LATEST: Duration = Duration::from_secs(12);
