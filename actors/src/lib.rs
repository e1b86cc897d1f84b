//! Ractor shells around the machines of `gristmill_workflows`, the ports they need, the [`stage`]
//! trait, and the shipped stages.

extern crate self as gristmill_actors;

#[doc(hidden)]
pub use serde;

pub mod announcement;
mod claims;
mod contribution;
pub mod engine;
pub mod limits;
pub mod membership;
pub mod metrics;
pub mod node;
pub mod pauses;
mod payouts;
mod pool;
pub mod ports;
pub mod rail;
pub mod register;
pub mod registry;
mod shard;
pub mod stage;
pub mod stages;
pub mod survey;
pub mod trace_log;
mod trace_role;
