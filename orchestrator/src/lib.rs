//! The node: adapters, configuration and the command line of Gristmill.
pub mod embedded_store;
pub mod http_rail;
pub mod sandbox_rail;
