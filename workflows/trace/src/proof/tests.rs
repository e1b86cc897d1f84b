use super::*;
use crate::memory_log::{MemoryLog, entries, naive_root};
use crate::reader::{self, TileReader};

const LARGEST: usize = 40;

fn leaves(count: usize) -> Vec<Hash> {
    entries(count).iter().map(|entry| Hash::leaf(entry)).collect()
}

fn node(leaves: &[Hash]) -> impl FnMut(u8, u64) -> Result<Hash, Error> {
    move |level, n| {
        let width = 1 << level;
        let start = usize::try_from(n).unwrap() * width;
        Ok(naive_root(&leaves[start..start + width]))
    }
}

/// RFC 6962 section 2.1.1, word by word.
fn naive_path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return vec![];
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut path, sibling) = if index < left.len() {
        (naive_path(index, left), naive_root(right))
    } else {
        (naive_path(index - left.len(), right), naive_root(left))
    };
    path.push(sibling);
    path
}

/// RFC 6962 section 2.1.2, word by word.
fn naive_subproof(old: usize, leaves: &[Hash], complete: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if complete { vec![] } else { vec![naive_root(leaves)] };
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut path, sibling) = if old <= left.len() {
        (naive_subproof(old, left, complete), naive_root(right))
    } else {
        (naive_subproof(old - left.len(), right, false), naive_root(left))
    };
    path.push(sibling);
    path
}

/// Every proof that differs from `path` by one changed, missing or added hash.
fn damaged(path: &[Hash]) -> Vec<Vec<Hash>> {
    let other = Hash::leaf(b"other");
    let mut all = vec![[path, &[other]].concat(), [&[other], path].concat()];
    for position in 0..path.len() {
        let mut changed = path.to_vec();
        changed[position] = other;
        all.push(changed);
        let mut shorter = path.to_vec();
        shorter.remove(position);
        all.push(shorter);
    }
    all
}

#[test]
fn every_small_inclusion_proof_is_the_naive_one_and_holds() {
    let all = leaves(LARGEST);
    for size in 1..=LARGEST {
        let log = &all[..size];
        let root = naive_root(log);
        for index in 0..size {
            let (i, s) = (index as u64, size as u64);
            let path = inclusion(i, s, node(log)).unwrap();
            assert_eq!(path, naive_path(index, log), "{index} in {size}");
            assert_eq!(verify_inclusion(log[index], i, s, root, &path), Ok(()));
            assert!(verify_inclusion(Hash::EMPTY_ROOT, i, s, root, &path).is_err());
            assert!(verify_inclusion(log[index], i, s, Hash::EMPTY_ROOT, &path).is_err());
            for path in damaged(&path) {
                assert!(verify_inclusion(log[index], i, s, root, &path).is_err());
            }
            for other in (0..size as u64).filter(|other| *other != i) {
                assert!(verify_inclusion(log[index], other, s, root, &path).is_err());
            }
        }
    }
}

#[test]
fn every_small_consistency_proof_is_the_naive_one_and_holds() {
    let all = leaves(LARGEST);
    for new in 1..=LARGEST {
        let new_root = naive_root(&all[..new]);
        for old in 1..=new {
            let old_root = naive_root(&all[..old]);
            let (o, n) = (old as u64, new as u64);
            let path = consistency(o, n, node(&all[..new])).unwrap();
            assert_eq!(path, naive_subproof(old, &all[..new], true), "{old} in {new}");
            assert_eq!(verify_consistency(o, n, old_root, new_root, &path), Ok(()));
            let other = Hash::leaf(b"other");
            assert!(verify_consistency(o, n, other, new_root, &path).is_err());
            assert!(verify_consistency(o, n, old_root, other, &path).is_err());
            for path in damaged(&path) {
                assert!(verify_consistency(o, n, old_root, new_root, &path).is_err());
            }
            for other in (1..n).filter(|other| *other != o) {
                assert!(verify_consistency(other, n, old_root, new_root, &path).is_err());
            }
        }
    }
}

#[test]
fn the_empty_log_is_a_prefix_of_every_log() {
    let root = naive_root(&leaves(5));
    assert_eq!(consistency(0, 5, node(&leaves(5))), Ok(vec![]));
    assert_eq!(verify_consistency(0, 5, Hash::EMPTY_ROOT, root, &[]), Ok(()));
    assert_eq!(verify_consistency(0, 5, root, root, &[]), Err(Error::OldRoot));
    assert_eq!(verify_consistency(0, 5, Hash::EMPTY_ROOT, root, &[root]), Err(Error::Length));
}

#[test]
fn positions_outside_the_log_are_refused() {
    let none = |_: u8, _: u64| Ok::<_, Error>(Hash::EMPTY_ROOT);
    assert_eq!(inclusion(5, 5, none), Err(Error::Index { index: 5, size: 5 }));
    let sizes = Error::Sizes { old: u64::MAX, new: u64::MAX };
    assert_eq!(inclusion(5, u64::MAX, none), Err(sizes));
    assert_eq!(consistency(6, 5, none), Err(Error::Sizes { old: 6, new: 5 }));
    assert_eq!(consistency(u64::MAX, u64::MAX, none), Err(sizes));
    let root = Hash::EMPTY_ROOT;
    assert!(verify_inclusion(root, 0, 0, root, &[]).is_err());
    assert!(verify_inclusion(root, u64::MAX - 1, u64::MAX, root, &[root; 64]).is_err());
    assert!(verify_inclusion(root, 1 << 63, (1 << 63) + 1, root, &[root; 2]).is_err());
    assert!(verify_consistency(6, 5, root, root, &[]).is_err());
    assert!(verify_consistency(u64::MAX - 1, u64::MAX, root, root, &[root; 70]).is_err());
}

#[test]
fn proofs_are_made_from_stored_tiles() {
    let count = 66_000;
    let all = leaves(count);
    let log = MemoryLog::with_entries(count);
    let root = naive_root(&all);
    let mut fetch = log.fetch();
    let mut tiles = TileReader::new(count as u64, &mut fetch);
    for index in [0, 1, 255, 256, 511, 32_768, 65_535, 65_536, 65_791, 65_792, 65_999] {
        let path = inclusion::<reader::Error>(index, count as u64, |level, n| tiles.node(level, n));
        let leaf = all[usize::try_from(index).unwrap()];
        assert_eq!(verify_inclusion(leaf, index, count as u64, root, &path.unwrap()), Ok(()));
    }
    for old in [1, 255, 256, 257, 40_000, 65_535, 65_536, 65_537, 65_999, 66_000] {
        let path = consistency::<reader::Error>(old, count as u64, |level, n| tiles.node(level, n));
        let old_root = naive_root(&all[..usize::try_from(old).unwrap()]);
        let checked = verify_consistency(old, count as u64, old_root, root, &path.unwrap());
        assert_eq!(checked, Ok(()));
    }
}
