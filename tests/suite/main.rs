//! One test binary with every scenario of the outside, and the checks of the repository itself.
#![cfg(test)]

mod data_dir;
mod kills;
mod rail;
mod source;
mod tidy;
mod walls;
