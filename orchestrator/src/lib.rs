//! The node: adapters, configuration and the command line of Gristmill.
//!
//! A library with a ten-line program: an author's own binary is
//! `gristmill::main_with(gristmill::stages![FraudCheck])`.

mod app;
pub mod audit;
pub mod bucket;
pub mod checks;
pub mod cli;
mod client;
pub mod clock;
pub mod config;
pub mod data_dir;
pub mod definitions;
pub mod durable_files;
pub mod embedded_node;
pub mod embedded_store;
pub mod entry_shape;
pub mod http_rail;
pub mod intake;
pub mod interrupts;
pub mod journeys;
pub mod key_files;
pub mod limits;
pub mod log_bucket;
pub mod log_files;
pub mod log_folder;
pub mod log_http;
pub mod manifest;
pub mod measuring;
pub mod media_bucket;
pub mod media_files;
pub mod media_root;
mod media_seal;
pub mod media_workers;
pub mod opened;
mod progress;
pub mod receipt_check;
mod receipt_files;
pub mod receipts;
pub mod redis_store;
pub mod report;
pub mod report_row;
pub mod run;
pub mod sandbox_rail;
pub mod service;
pub mod shared_store;
pub mod show;
pub mod simulate;
pub mod strict_json;
mod threads;
pub mod toml_file;
pub mod trace_verify;
mod verbs;

pub use app::main_with;

pub use gristmill_actors::stages;

/// Journeys are made and dropped on every thread by the thousand: the allocator of the C library
/// spends a quarter of a node's time on that, and keeps what it was given in pieces.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
