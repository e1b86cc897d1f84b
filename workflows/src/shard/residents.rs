//! Contributors' rows in memory. They stay for a while after their last use: a contribution often follows
//! its consent, and one contribution another.

use crate::contributor::Contributor;
use crate::id::ContributorKey;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// One row.
#[derive(Debug, Default)]
pub(super) struct Resident {
    pub(super) row: Arc<Contributor>,
    /// The seal that holds its last change.
    pub(super) changed: u64,
    users: u32,
    /// Which release of all was its last.
    released: u64,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Residents {
    rows: HashMap<ContributorKey, Resident>,
    /// Whose they are; shared with whoever reads the store meanwhile.
    keys: Arc<HashSet<ContributorKey>>,
    /// Whose last user went, by the release, in order. Who was used again stands here in vain.
    unused: VecDeque<(u64, ContributorKey)>,
    releases: u64,
}

impl Residents {
    pub(super) fn get(&self, key: ContributorKey) -> Option<&Resident> {
        self.rows.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: ContributorKey) -> Option<&mut Resident> {
        self.rows.get_mut(&key)
    }

    pub(super) fn keys(&self) -> &Arc<HashSet<ContributorKey>> {
        &self.keys
    }

    /// One user more, who brings the row along where it is not in memory.
    pub(super) fn retain(&mut self, key: ContributorKey, row: impl FnOnce() -> Contributor) {
        let keys = &mut self.keys;
        let resident = self.rows.entry(key).or_insert_with(|| {
            Arc::make_mut(keys).insert(key);
            Resident { row: Arc::new(row()), ..Resident::default() }
        });
        resident.users += 1;
    }

    /// One user less; the row stays until [`Self::forget`].
    pub(super) fn release(&mut self, key: ContributorKey) {
        let Some(resident) = self.rows.get_mut(&key) else {
            return;
        };
        resident.users = resident.users.saturating_sub(1);
        if resident.users == 0 {
            self.releases += 1;
            resident.released = self.releases;
            self.unused.push_back((self.releases, key));
        }
    }

    /// Forgets who was released before the last `keep` releases and is not in use, up to the first whose
    /// last change is not durable.
    pub(super) fn forget(
        &mut self,
        keep: usize,
        is_durable: impl Fn(ContributorKey, &Resident) -> bool,
    ) {
        while self.unused.len() > keep
            && let Some((release, key)) = self.unused.front().copied()
        {
            let unused = |resident: &&Resident| resident.users == 0 && resident.released == release;
            if let Some(resident) = self.rows.get(&key).filter(unused) {
                if !is_durable(key, resident) {
                    return;
                }
                self.rows.remove(&key);
                Arc::make_mut(&mut self.keys).remove(&key);
            }
            self.unused.pop_front();
        }
    }

    /// How many users all of them have.
    #[cfg(test)]
    pub(super) fn users(&self) -> u32 {
        self.rows.values().map(|resident| resident.users).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> ContributorKey {
        ContributorKey([number; 16])
    }

    /// Contributors 1 to `count`, each used once, released in that order.
    fn released(count: u8) -> Residents {
        let mut residents = Residents::default();
        for number in 1..=count {
            residents.retain(key(number), Contributor::default);
            residents.release(key(number));
        }
        residents
    }

    fn who(residents: &Residents) -> Vec<u8> {
        let of_rows = residents.rows.keys().copied().collect::<HashSet<_>>();
        assert_eq!(of_rows, **residents.keys(), "whose rows there are");
        let mut who: Vec<u8> = of_rows.into_iter().map(|key| key.0[0]).collect();
        who.sort_unstable();
        who
    }

    #[test]
    fn who_was_released_first_is_forgotten_first() {
        let mut residents = released(4);
        residents.forget(4, |_, _| true);
        assert_eq!(who(&residents), [1, 2, 3, 4]);
        residents.forget(2, |_, _| true);
        assert_eq!(who(&residents), [3, 4]);
    }

    #[test]
    fn who_was_used_again_counts_from_the_last_release() {
        let mut residents = released(3);
        residents.retain(key(1), || unreachable!("its row is in memory"));
        residents.forget(1, |_, _| true);
        assert_eq!(who(&residents), [1, 3], "it is in use");
        residents.release(key(1));
        residents.forget(1, |_, _| true);
        assert_eq!(who(&residents), [1]);
        residents.forget(0, |_, _| true);
        assert!(who(&residents).is_empty());
    }

    #[test]
    fn a_row_whose_change_is_not_durable_stays_and_so_do_those_behind_it() {
        let mut residents = released(3);
        residents.forget(0, |whose, _| whose != key(2));
        assert_eq!(who(&residents), [2, 3]);
        residents.forget(0, |_, _| true);
        assert!(who(&residents).is_empty());
    }

    #[test]
    fn nothing_piles_up_for_one_who_comes_again_and_again() {
        let mut residents = Residents::default();
        for _ in 0..100 {
            residents.retain(key(1), Contributor::default);
            residents.release(key(1));
            residents.forget(2, |_, _| true);
        }
        assert_eq!((who(&residents), residents.unused.len()), (vec![1], 2));
    }
}
