//! Numbers from a seed, for everything that a simulation leaves to chance.

use std::sync::atomic::{AtomicU64, Ordering};

/// The step of splitmix64: 2^64 over the golden ratio, odd.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug)]
pub(super) struct Chance(AtomicU64);

impl Chance {
    /// Numbers that follow from `seed`; another `stream` gives others.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let chance = Self(AtomicU64::new(seed ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93)));
        let first = chance.next();
        Self(AtomicU64::new(first))
    }

    /// The next 64 bits.
    pub(super) fn next(&self) -> u64 {
        let state = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 if the bound is.
    pub(super) fn below(&self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn between(&self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True in `bp` of 10,000 cases.
    pub(super) fn hits(&self, bp: u64) -> bool {
        bp > 0 && self.below(10_000) < bp
    }

    /// One of these, or nothing of an empty list.
    pub(super) fn one<'a, T>(&self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.index(of.len()))
    }

    /// A place in a list of this length.
    pub(super) fn index(&self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }
}
