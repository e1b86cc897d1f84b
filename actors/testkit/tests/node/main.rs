//! One node over memory and a paused clock.
#![cfg(test)]

mod commit_faults;
mod endings;
mod expiry;
mod newer;
mod retries;
mod town;
mod withdrawals;
