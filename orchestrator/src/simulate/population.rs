//! The population: who the contributors are and what each of them does, derived from the seed by
//! index. Nothing is kept of anybody.

use super::draws::Draws;
use super::power_law::{Counts, PowerLaw};
use gristmill_workflows::submission::Modality;
use serde::{Deserialize, Serialize};

/// Streams of draws, so that one habit does not change another.
const HABITS: u64 = 1;
const STORMS: u64 = 2;
const ITEMS: u64 = 3;
const MODALITIES: u64 = 1 << 45;
const MEDIA: u64 = 1 << 47;

/// A copy is of what somebody handed in who came up to so many people earlier.
const COPY_REACH: u64 = 1_000;
/// So many of them are looked at for something to copy.
const COPY_LOOKS: u32 = 16;

/// How often people do what, each from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Shares {
    /// Contributors who hand in without having given consent.
    pub no_consent: f64,
    /// Contributors who take their consent back.
    pub withdrawals: f64,
    /// Contributions handed in a second time, byte for byte.
    pub duplicates: f64,
    /// Contributions whose key is used a second time with another body.
    pub conflicts: f64,
    /// Contributions with a line beside them that must be refused.
    pub poison: f64,
    /// Media: who hands them in, and what is wrong with them.
    #[serde(default)]
    pub media: MediaShares,
}

/// Who hands in media, and how often something is wrong with them; each from 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct MediaShares {
    /// People who hand in voice clips.
    pub voice: f64,
    /// People who hand in photos.
    pub photo: f64,
    /// People who hand in videos.
    pub video: f64,
    /// Media that do not decode.
    pub broken: f64,
    /// Media that somebody else handed in before, byte for byte.
    pub copies: f64,
}

impl MediaShares {
    /// Somebody hands in media.
    #[must_use]
    pub fn any(&self) -> bool {
        self.voice + self.photo + self.video > 0.0
    }
}

/// What a contribution carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carries {
    /// What kind of media.
    pub modality: Modality,
    /// They do not decode.
    pub broken: bool,
    /// The contributor and the number of the contribution that had these bytes first: itself, or of
    /// a copy its original.
    pub of: (u64, u32),
}

/// When consent is taken back; the three are equally frequent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawal {
    /// After it was given, before the first contribution.
    Before,
    /// Within a moment of the first contribution, while it may be moving.
    Moving,
    /// When the contributor has handed everything in: some of it is logged or paid.
    After,
}

/// What is wrong with a line that must be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poison {
    /// It breaks off.
    Malformed,
    /// It has a field that no contribution has.
    UnknownField,
    /// It names a task that the program does not have.
    UnknownTask,
    /// Its contributor holds a control character.
    ControlCharacter,
}

/// One contributor's habits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contributor {
    /// Contributions, at least 1.
    pub contributions: u32,
    /// Gives consent first.
    pub consents: bool,
    /// Takes it back.
    pub withdraws: Option<Withdrawal>,
    /// What they hand in.
    pub modality: Modality,
}

/// What else comes with one contribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beside {
    /// It is handed in a second time.
    pub duplicate: bool,
    /// Its key is used a second time.
    pub conflict: bool,
    /// A line that must be refused.
    pub poison: Option<Poison>,
}

/// Everybody, as a function of their index.
#[derive(Debug, Clone)]
pub struct Population {
    seed: u64,
    shares: Shares,
    counts: Counts,
}

impl Population {
    /// Of a seed.
    #[must_use]
    pub fn new(seed: u64, shares: Shares, law: &PowerLaw) -> Self {
        Self { seed, shares, counts: Counts::new(law) }
    }

    /// The seed it is derived from.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Contributions of one contributor on average.
    #[must_use]
    pub fn mean_contributions(&self) -> f64 {
        self.counts.mean()
    }

    /// The contributor of an index.
    #[must_use]
    pub fn contributor(&self, index: u64) -> Contributor {
        let mut draws = Draws::of(self.seed, HABITS, index);
        let contributions = self.counts.at(draws.unit());
        let consents = !draws.happens(self.shares.no_consent);
        let withdraws = draws.happens(self.shares.withdrawals);
        let when = match draws.bits() % 3 {
            0 => Withdrawal::Before,
            1 => Withdrawal::Moving,
            _ => Withdrawal::After,
        };
        let withdraws = (consents && withdraws).then_some(when);
        Contributor { contributions, consents, withdraws, modality: self.modality(index) }
    }

    fn modality(&self, index: u64) -> Modality {
        let MediaShares { voice, photo, video, .. } = self.shares.media;
        let drawn = Draws::of(self.seed, MODALITIES, index).unit();
        match drawn {
            drawn if drawn < voice => Modality::Voice,
            drawn if drawn < voice + photo => Modality::Image,
            drawn if drawn < voice + photo + video => Modality::Video,
            _ => Modality::None,
        }
    }

    /// What one contribution of a contributor carries, counted from 0.
    #[must_use]
    pub fn carries(&self, index: u64, nth: u32) -> Carries {
        let modality = self.modality(index);
        let own = Carries { modality, broken: false, of: (index, nth) };
        if modality == Modality::None {
            return own;
        }
        let (broken, copies) = self.wrong(index, nth);
        if broken || !copies {
            return Carries { broken, ..own };
        }
        let mut draws = Draws::of(self.seed, MEDIA + u64::from(nth), index);
        let original = (0..COPY_LOOKS).find_map(|_| {
            let reach = index.min(COPY_REACH);
            let other = index - 1 - draws.bits().checked_rem(reach)?;
            let fits = self.modality(other) == modality && self.wrong(other, 0) == (false, false);
            fits.then_some(other)
        });
        Carries { of: original.map_or(own.of, |other| (other, 0)), ..own }
    }

    /// Whether a contribution's media are broken, and whether they are meant to be copied.
    fn wrong(&self, index: u64, nth: u32) -> (bool, bool) {
        let mut draws = Draws::of(self.seed, MEDIA + u64::from(nth), !index);
        (draws.happens(self.shares.media.broken), draws.happens(self.shares.media.copies))
    }

    /// Somebody may have copied what a contribution carries.
    #[must_use]
    pub fn may_be_copied(&self, nth: u32) -> bool {
        nth == 0 && self.shares.media.copies > 0.0
    }

    /// Whether the contributor of an index takes consent back in a storm, if this share does.
    #[must_use]
    pub fn storms(&self, index: u64, share: f64) -> bool {
        let consents = self.contributor(index).consents;
        consents && Draws::of(self.seed, STORMS, index).happens(share)
    }

    /// What comes with one contribution of a contributor, counted from 0.
    #[must_use]
    pub fn beside(&self, index: u64, nth: u32) -> Beside {
        let mut draws = Draws::of(self.seed, ITEMS + u64::from(nth), index);
        let duplicate = draws.happens(self.shares.duplicates);
        let conflict = draws.happens(self.shares.conflicts);
        let poisoned = draws.happens(self.shares.poison);
        let poison = match draws.bits() % 4 {
            0 => Poison::Malformed,
            1 => Poison::UnknownField,
            2 => Poison::UnknownTask,
            _ => Poison::ControlCharacter,
        };
        Beside { duplicate, conflict, poison: poisoned.then_some(poison) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAW: PowerLaw = PowerLaw { exponent: 2.0, cutoff: 200.0, max: 1000 };
    const SHARES: Shares = Shares {
        no_consent: 0.1,
        withdrawals: 0.3,
        duplicates: 0.05,
        conflicts: 0.02,
        poison: 0.01,
        media: MediaShares { voice: 0.2, photo: 0.3, video: 0.1, broken: 0.1, copies: 0.1 },
    };

    #[test]
    fn a_contributor_is_the_same_whenever_it_is_asked_for() {
        let (one, two) = (Population::new(5, SHARES, &LAW), Population::new(5, SHARES, &LAW));
        let backwards: Vec<Contributor> = (0..1000).rev().map(|n| two.contributor(n)).collect();
        let forwards: Vec<Contributor> = (0..1000).map(|n| one.contributor(n)).collect();
        assert!(forwards.iter().eq(backwards.iter().rev()));
        let other = Population::new(6, SHARES, &LAW);
        assert!((0..1000).any(|n| other.contributor(n) != one.contributor(n)));
    }

    #[test]
    fn habits_come_in_their_shares() {
        let population = Population::new(9, SHARES, &LAW);
        let all: Vec<Contributor> = (0..100_000).map(|n| population.contributor(n)).collect();
        let share = |count: usize| count as f64 / 100_000.0;
        let without = share(all.iter().filter(|one| !one.consents).count());
        assert!((without - 0.1).abs() < 0.01, "{without}");
        // Only who gave consent takes it back.
        let withdrawn = share(all.iter().filter(|one| one.withdraws.is_some()).count());
        assert!((withdrawn - 0.27).abs() < 0.01, "{withdrawn}");
        for when in [Withdrawal::Before, Withdrawal::Moving, Withdrawal::After] {
            let third = share(all.iter().filter(|one| one.withdraws == Some(when)).count());
            assert!((third - 0.09).abs() < 0.01, "{when:?}: {third}");
        }
        let beside: Vec<Beside> = (0..100_000).map(|n| population.beside(n, 0)).collect();
        let duplicates = share(beside.iter().filter(|one| one.duplicate).count());
        assert!((duplicates - 0.05).abs() < 0.005, "{duplicates}");
        let poison = share(beside.iter().filter(|one| one.poison.is_some()).count());
        assert!((poison - 0.01).abs() < 0.003, "{poison}");
    }

    #[test]
    fn media_come_in_their_shares_and_a_copy_is_of_an_earlier_original() {
        let population = Population::new(9, SHARES, &LAW);
        let all: Vec<(u64, Carries)> =
            (0..50_000).map(|index| (index, population.carries(index, 0))).collect();
        let share = |count: usize| count as f64 / 50_000.0;
        let of = |modality| all.iter().filter(|(_, one)| one.modality == modality).count();
        for (modality, expected) in
            [(Modality::Voice, 0.2), (Modality::Image, 0.3), (Modality::Video, 0.1)]
        {
            let found = share(of(modality));
            assert!((found - expected).abs() < 0.01, "{modality:?}: {found}");
        }
        let broken = share(all.iter().filter(|(_, one)| one.broken).count());
        assert!((broken - 0.06).abs() < 0.005, "{broken}");
        let copies: Vec<_> = all.iter().filter(|(index, one)| one.of.0 != *index).collect();
        let share = share(copies.len());
        assert!((share - 0.052).abs() < 0.006, "{share}");
        for (index, one) in copies {
            let original = population.carries(one.of.0, one.of.1);
            assert!(one.of.0 < *index && original == *one, "{one:?} {original:?}");
        }
    }
}
