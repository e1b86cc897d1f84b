//! `gristmill simulate`: contributors by the million with human habits, driven against a node in an
//! open loop; and the auditor, who proves at the end that every item is accounted for.
//!
//! Three parts that know nothing of each other's insides: the plan and what follows from it by pure
//! functions ([`population`], [`schedule`], [`lines`]), the driver ([`driver`], [`measured`]), and
//! the auditor ([`auditor`]), who reads the schedule a second time.

pub mod auditor;
pub mod breach;
pub mod chart;
pub mod compare;
pub mod curve;
pub mod draws;
pub mod driver;
pub mod embedded;
pub mod fault;
pub mod fingerprint;
pub mod fleet;
pub mod habits;
pub mod host;
mod interruption;
pub mod limits;
pub mod lines;
pub mod measured;
pub mod media;
pub mod nodes;
pub mod page;
pub mod plan;
pub mod population;
pub mod power_law;
pub mod progress;
pub mod public_sums;
pub mod record;
pub mod remote;
pub mod remote_audit;
pub mod report;
pub mod resources;
pub mod scan;
pub mod schedule;
pub mod scrape;
pub mod target;
mod virtual_node;
pub mod virtual_time;
mod watch;
