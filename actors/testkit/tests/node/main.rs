//! One node over memory and a paused clock.
#![cfg(test)]

mod commit_faults;
mod retries;
mod town;
