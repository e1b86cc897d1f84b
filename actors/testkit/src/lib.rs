//! Virtual time, the memory store with faults, the model rail and the checkers of the invariants.
pub mod model_rail;
pub mod rail_conformance;
