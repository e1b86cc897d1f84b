//! Ractor shells around the machines of workflows, the ports they need, and the Stage trait.
pub mod ports;
pub mod rail;
