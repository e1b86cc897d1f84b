//! Virtual time, the memory store with faults, the model rail and the checkers of the invariants.
pub mod checkers;
pub mod faults;
pub mod keys_conformance;
pub mod log_conformance;
pub mod media_conformance;
pub mod memory_keys;
pub mod memory_log;
pub mod memory_media;
pub mod memory_register;
pub mod memory_store;
pub mod model_rail;
pub mod rail_conformance;
pub mod register_conformance;
pub mod simulator;
pub mod slow;
pub mod store_conformance;
pub mod virtual_clock;
