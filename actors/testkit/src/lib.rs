//! Virtual time, the memory store with faults, the model rail and the checkers of the invariants.
pub mod faults;
pub mod memory_log;
pub mod memory_store;
pub mod model_rail;
pub mod rail_conformance;
pub mod store_conformance;
pub mod virtual_clock;
