//! One node over memory and a paused clock.
#![cfg(test)]

mod commit_faults;
mod newer;
mod retries;
mod town;
