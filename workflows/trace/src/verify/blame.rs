//! Which of two differing objects is wrong: the stored tile, or what lies below it.
//!
//! A tile is trusted when its hash is in a trusted tile above, and the right edge is trusted when
//! it has the checkpoint's root. So the verdicts go from the top level down.

use std::collections::BTreeMap;

use super::{Fault, Report};
use crate::edge::{Edge, HashTile};
use crate::hash::{Hash, subtree_root};
use crate::limits::TILE_WIDTH;
use crate::tile::{Kind, Tile};

/// A stored hash tile that differs from the one derived from the entries.
pub(super) struct Suspect {
    level: u8,
    tile: Tile,
    stored: Vec<Hash>,
    derived: Vec<Hash>,
}

impl Suspect {
    pub(super) fn new(derived: HashTile, stored: Vec<Hash>) -> Option<Self> {
        let Kind::Hashes { level } = derived.tile.kind() else {
            return None;
        };
        Some(Self { level, tile: derived.tile, stored, derived: derived.hashes })
    }

    fn key(&self) -> (u8, u64) {
        (self.level, self.tile.index())
    }

    /// Positions at which the stored and the derived tile differ.
    fn differing(&self) -> impl Iterator<Item = u64> {
        let pairs = (0..).zip(self.stored.iter().zip(&self.derived));
        pairs.filter(|(_, (stored, derived))| stored != derived).map(|(position, _)| position)
    }
}

/// Which version of a tile the signed root commits to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Stored,
    Derived,
    Neither,
}

type Suspects = BTreeMap<(u8, u64), Suspect>;

/// Adds the faults that explain the suspects and the root of the entries.
pub(super) fn blame(edge: &Edge, suspects: Vec<Suspect>, report: &mut Report) {
    let (size, expected) = (report.checkpoint.size, report.checkpoint.root);
    let suspects: Suspects = suspects.into_iter().map(|suspect| (suspect.key(), suspect)).collect();
    let actual = edge.root();
    if actual == expected {
        // All entries are right, so every tile that differs from them is wrong.
        for suspect in suspects.values() {
            report.add(Fault::Tile { path: suspect.tile.path() });
        }
        return;
    }
    let edge_is_trusted = stored_root(edge, &suspects) == Some(expected);
    if !edge_is_trusted {
        report.add(Fault::Root { size, expected, actual });
    }
    let mut verdicts = BTreeMap::new();
    for (key, suspect) in suspects.iter().rev() {
        let verdict = if suspect.tile.is_full() {
            let trusted = trusted_root(suspect, &suspects, &verdicts);
            let is = |hashes: &[Hash]| trusted == Some(subtree_root(hashes));
            match (is(&suspect.stored), is(&suspect.derived)) {
                (true, _) => Verdict::Stored,
                (_, true) => Verdict::Derived,
                _ => Verdict::Neither,
            }
        } else if edge_is_trusted {
            Verdict::Stored
        } else {
            Verdict::Neither
        };
        verdicts.insert(*key, verdict);
        add_faults(suspect, verdict, &suspects, report);
    }
}

/// The root of the stored right edge; a tile that is not suspect is as the derived one.
fn stored_root(edge: &Edge, suspects: &Suspects) -> Option<Hash> {
    let mut levels = edge.levels().to_vec();
    for suspect in suspects.values().filter(|suspect| !suspect.tile.is_full()) {
        levels.get_mut(usize::from(suspect.level))?.clone_from(&suspect.stored);
    }
    Edge::from_levels(edge.size(), levels).ok().map(|edge| edge.root())
}

/// The hash of a full tile in the tile above it, if that is trusted.
fn trusted_root(
    suspect: &Suspect,
    suspects: &Suspects,
    verdicts: &BTreeMap<(u8, u64), Verdict>,
) -> Option<Hash> {
    let width = TILE_WIDTH as u64;
    let above = (suspect.level + 1, suspect.tile.index() / width);
    let position = (suspect.tile.index() % width) as usize;
    match suspects.get(&above) {
        // The tile above is as it is derived from the tiles below, this one among them.
        None => Some(subtree_root(&suspect.derived)),
        Some(parent) => match verdicts.get(&above)? {
            Verdict::Stored => parent.stored.get(position).copied(),
            Verdict::Derived => parent.derived.get(position).copied(),
            Verdict::Neither => None,
        },
    }
}

fn add_faults(suspect: &Suspect, verdict: Verdict, suspects: &Suspects, report: &mut Report) {
    let first = suspect.tile.index() * TILE_WIDTH as u64;
    let size = report.checkpoint.size;
    let bundle = |index| Tile::in_log(Kind::Entries, index, size).map(|tile| tile.path());
    if verdict != Verdict::Stored {
        report.add(Fault::Tile { path: suspect.tile.path() });
    }
    if suspect.level == 0 {
        let Some(path) = bundle(suspect.tile.index()) else {
            return;
        };
        match verdict {
            Verdict::Stored => {
                for position in suspect.differing() {
                    report.add(Fault::Entry { path: path.clone(), index: first + position });
                }
            }
            Verdict::Derived => {}
            Verdict::Neither => report.add(Fault::Entries { path }),
        }
    } else if verdict == Verdict::Stored {
        // Below a right hash lies a tile that agrees with its entries, and both are wrong.
        let level = suspect.level - 1;
        for index in suspect.differing().map(|position| first + position) {
            if suspects.contains_key(&(level, index)) {
                continue;
            }
            if let Some(tile) = Tile::in_log(Kind::Hashes { level }, index, size) {
                report.add(Fault::Tile { path: tile.path() });
            }
            if let Some(path) = bundle(index).filter(|_| level == 0) {
                report.add(Fault::Entries { path });
            }
        }
    }
}
