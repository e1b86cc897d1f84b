//! One node over memory and a paused clock.
#![cfg(test)]

mod bounds;
mod commit_faults;
mod endings;
mod expiry;
mod newer;
mod pauses;
mod restarts;
mod retries;
mod timers;
mod town;
mod withdrawals;
