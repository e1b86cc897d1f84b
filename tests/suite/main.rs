//! One test binary with every scenario of the outside, and the checks of the repository itself.
#![cfg(test)]

mod audit;
mod author;
mod bad_input;
mod cluster;
mod data_dir;
mod deploy;
mod erasure;
mod example;
mod go;
mod kills;
mod metrics;
mod observe;
mod power;
mod rail;
mod reasons;
mod scrape;
mod service;
mod service_codes;
mod service_hostile;
mod service_kills;
mod service_roles;
mod simulate;
mod simulate_faults;
mod source;
mod story;
mod tidy;
mod verbs;
mod walls;
mod window;
