//! Process harness and scenarios: starts the built `gristmill` binary as a user would, kills it,
//! and reads what it left behind. Only the outside contract is used: commands, exit codes, files.
//!
//! A harness fails the test that called it, so its functions panic with a sentence that says what
//! was expected, rather than return errors that every scenario would unwrap.
#![expect(clippy::panic, reason = "a harness fails its test by panicking")]

mod data_dir;
mod disk;
pub mod limits;
mod manifest;
mod poll;
mod process;
mod random;
mod report;
mod service;
mod skip;
mod sound;
mod syscalls;

pub use data_dir::{DataDir, copy_tree, repository};
pub use disk::{Disk, Names};
pub use manifest::Manifest;
pub use poll::poll_until;
pub use process::{Gristmill, Output, Process, built, free_port};
pub use random::Random;
pub use report::{Amount, Journey, Payout, RejectedLine, Report};
pub use service::{Answer, Service};
pub use skip::{has_program, shared, size, skip};
pub use sound::{
    assert_audited, assert_log_verified, assert_paid_as_reported, paid_once, run_arguments,
};
pub use syscalls::{Change, TRACED, changes};
