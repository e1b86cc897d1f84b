//! The pure domain of Gristmill: words, machines and invariants.
//!
//! Nothing here is async, reads a clock, draws randomness or does I/O: time, random numbers and
//! bytes are arguments. Actors are shells that feed these machines; tests and the simulator drive
//! the very same code.

pub mod allotment;
pub mod audit;
pub mod codec;
pub mod commit;
pub mod contributor;
pub mod definition;
pub mod entry;
pub mod id;
pub mod inbox;
pub mod invariant;
pub mod journey;
pub mod lease;
pub mod ledger;
pub mod limits;
pub mod money;
pub mod payout;
pub mod placement;
pub mod policy;
pub mod price;
pub mod program;
pub mod rate;
pub mod request;
pub mod score;
pub mod sequencer;
pub mod shard;
pub mod submission;
pub mod teeth;
pub mod time;
pub mod tombstone;
