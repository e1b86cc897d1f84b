//! The fingerprint of a set of contributions: whatever the order they are added in, equal sets have
//! equal fingerprints, and it is as small for millions as for one.

use super::draws::Draws;

/// What the numbers are drawn under.
const STREAM: u64 = 3 << 40;

/// How many contributions, and the sum of a number drawn for each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// How many.
    pub count: u64,
    sum: u128,
}

impl Fingerprint {
    /// Adds one by its contributor's index and its number.
    pub fn add(&mut self, contributor: u64, nth: u32) {
        let mut draws = Draws::of(contributor, STREAM, u64::from(nth));
        let number = u128::from(draws.bits()) << 64 | u128::from(draws.bits());
        self.count += 1;
        self.sum = self.sum.wrapping_add(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_matter_and_every_member_does() {
        let of = |members: &[(u64, u32)]| {
            let mut fingerprint = Fingerprint::default();
            members.iter().for_each(|(contributor, nth)| fingerprint.add(*contributor, *nth));
            fingerprint
        };
        assert_eq!(of(&[(1, 0), (2, 5)]), of(&[(2, 5), (1, 0)]));
        for other in [&[(1, 0)][..], &[(1, 0), (2, 4)], &[(1, 0), (5, 2)], &[(1, 0), (1, 0)]] {
            assert_ne!(of(&[(1, 0), (2, 5)]), of(other));
        }
    }
}
