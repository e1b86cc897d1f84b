//! Coordinates and paths of tiles (C2SP tlog-tiles).

use std::fmt;

use crate::limits::{
    HASH_BYTES, MAX_LOG_SIZE, MAX_TILE_LEVEL, MAX_TILE_PATH_BYTES, TILE_HEIGHT, TILE_WIDTH,
};

/// Why a tile or a tile path is not one of tlog-tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The level is above 63.
    #[error("tile level is above 63")]
    Level,
    /// The width is not 1 to 256.
    #[error("tile width is not 1 to 256")]
    Width,
    /// The index is beyond the largest log.
    #[error("tile index is beyond the largest log")]
    Index,
    /// The path does not have the form that this tile's path has.
    #[error("not a tile path")]
    Path,
}

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The entries themselves: an entry bundle.
    Entries,
    /// Hashes of complete subtrees of `256^level` leaves.
    Hashes {
        /// 0 to 63.
        level: u8,
    },
}

/// The coordinates of one tile or entry bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    kind: Kind,
    index: u64,
    width: u16,
}

impl Tile {
    /// The `index`-th tile of a kind with `width` (1 to 256) elements.
    ///
    /// # Errors
    /// [`Error`] names the coordinate that is out of range.
    pub fn new(kind: Kind, index: u64, width: usize) -> Result<Self, Error> {
        if matches!(kind, Kind::Hashes { level } if level > MAX_TILE_LEVEL) {
            return Err(Error::Level);
        }
        if index > MAX_LOG_SIZE / TILE_WIDTH as u64 {
            return Err(Error::Index);
        }
        match u16::try_from(width) {
            Ok(width @ 1..=256) => Ok(Self { kind, index, width }),
            _ => Err(Error::Width),
        }
    }

    /// The `index`-th tile of a kind as a log of `size` entries has it: full, partial, or none.
    #[must_use]
    pub fn in_log(kind: Kind, index: u64, size: u64) -> Option<Self> {
        let level = match kind {
            Kind::Entries => 0,
            Kind::Hashes { level } => level,
        };
        let before = index.checked_mul(TILE_WIDTH as u64)?;
        let width = hashes_at(level, size).saturating_sub(before).min(TILE_WIDTH as u64);
        Self::new(kind, index, usize::try_from(width).ok()?).ok()
    }

    /// What the tile holds.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Position among the tiles of its kind, from 0.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// Elements in the tile, 1 to 256.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.width as usize
    }

    /// Whether the tile has all its 256 elements and will never change.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.width() == TILE_WIDTH
    }

    /// The full tile at the same place.
    #[must_use]
    pub const fn full(&self) -> Self {
        Self { width: TILE_WIDTH as u16, ..*self }
    }

    /// Bytes of a hash tile of this width; a bundle's length depends on its entries.
    #[must_use]
    pub const fn hash_bytes(&self) -> usize {
        self.width() * HASH_BYTES
    }

    /// The path below the log's prefix: `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`.
    #[must_use]
    pub fn path(&self) -> String {
        self.to_string()
    }

    /// Reads the form that [`Tile::path`] writes, and no other.
    ///
    /// # Errors
    /// [`Error`] when the path is not the one canonical path of a tile.
    pub fn parse_path(path: &str) -> Result<Self, Error> {
        if path.len() > MAX_TILE_PATH_BYTES {
            return Err(Error::Path);
        }
        let rest = path.strip_prefix("tile/").ok_or(Error::Path)?;
        let (kind, rest) = rest.split_once('/').ok_or(Error::Path)?;
        let kind = match kind {
            "entries" => Kind::Entries,
            level => Kind::Hashes { level: level.parse().map_err(|_| Error::Path)? },
        };
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, width.parse().map_err(|_| Error::Path)?),
            None => (rest, TILE_WIDTH),
        };
        let mut number = 0_u64;
        for element in index.split('/') {
            let digits: u64 = element.trim_start_matches('x').parse().map_err(|_| Error::Path)?;
            number = number
                .checked_mul(1000)
                .and_then(|number| number.checked_add(digits))
                .ok_or(Error::Index)?;
        }
        let tile = Self::new(kind, number, width)?;
        // The loop above is lenient; a tile has one path only, so compare with it.
        if tile.path() == path { Ok(tile) } else { Err(Error::Path) }
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Entries => formatter.write_str("tile/entries/")?,
            Kind::Hashes { level } => write!(formatter, "tile/{level}/")?,
        }
        let mut divisor = 1000_u64;
        while self.index / divisor >= 1000 {
            divisor *= 1000;
        }
        while divisor > 1 {
            if self.index >= divisor {
                write!(formatter, "x{:03}/", self.index / divisor % 1000)?;
            }
            divisor /= 1000;
        }
        write!(formatter, "{:03}", self.index % 1000)?;
        if !self.is_full() {
            write!(formatter, ".p/{}", self.width)?;
        }
        Ok(())
    }
}

/// Hashes that a log of `size` entries has at a tile level: `floor(size / 256^level)`.
#[must_use]
pub fn hashes_at(level: u8, size: u64) -> u64 {
    size.checked_shr(u32::from(level) * TILE_HEIGHT).unwrap_or(0)
}

/// Elements in the partial tile of a level at `size`, 0 when there is none.
#[must_use]
pub fn partial_width(level: u8, size: u64) -> usize {
    (hashes_at(level, size) % TILE_WIDTH as u64) as usize
}

/// Tile levels that a log of `size` entries has.
#[must_use]
pub fn levels(size: u64) -> u8 {
    let bits = u64::BITS - size.leading_zeros();
    bits.div_ceil(TILE_HEIGHT) as u8
}

/// The tiles that a log of `to` entries has and a log of `from` entries has not: bundles first,
/// then hash tiles by level; in each, full tiles first, then the partial one. None if `to <= from`.
pub fn changed(from: u64, to: u64) -> impl Iterator<Item = Tile> {
    let hashes = (0..levels(to)).map(|level| (Kind::Hashes { level }, level));
    std::iter::once((Kind::Entries, 0)).chain(hashes).flat_map(move |(kind, level)| {
        let (old, new) = (hashes_at(level, from), hashes_at(level, to));
        let first = old / TILE_WIDTH as u64;
        let end = if new > old { new.div_ceil(TILE_WIDTH as u64) } else { first };
        (first..end).filter_map(move |index| Tile::in_log(kind, index, to))
    })
}

/// The partial tiles of a log of `size` entries: its bundle first, then hash tiles by level.
pub fn partials(size: u64) -> impl Iterator<Item = Tile> {
    let hashes = (0..levels(size)).map(|level| (Kind::Hashes { level }, level));
    std::iter::once((Kind::Entries, 0)).chain(hashes).filter_map(move |(kind, level)| {
        let tile = Tile::in_log(kind, hashes_at(level, size) / TILE_WIDTH as u64, size)?;
        (!tile.is_full()).then_some(tile)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(level: u8, index: u64, width: usize) -> Tile {
        Tile::new(Kind::Hashes { level }, index, width).unwrap()
    }

    #[test]
    fn paths_are_those_of_the_specification() {
        let table = [
            (hashes(0, 0, 256), "tile/0/000"),
            (hashes(0, 999, 256), "tile/0/999"),
            (hashes(1, 1000, 256), "tile/1/x001/000"),
            (hashes(0, 1_234_067, 256), "tile/0/x001/x234/067"),
            (hashes(63, 1_000_000, 1), "tile/63/x001/x000/000.p/1"),
            (hashes(0, 1, 44), "tile/0/001.p/44"),
            (hashes(0, 1 << 54, 256), "tile/0/x018/x014/x398/x509/x481/984"),
            (Tile::new(Kind::Entries, 1, 44).unwrap(), "tile/entries/001.p/44"),
            (Tile::new(Kind::Entries, 70_123, 255).unwrap(), "tile/entries/x070/123.p/255"),
        ];
        for (tile, path) in table {
            assert_eq!(tile.path(), path);
            assert_eq!(Tile::parse_path(path), Ok(tile));
        }
    }

    #[test]
    fn other_spellings_of_a_path_are_refused() {
        for path in [
            "",
            "tile",
            "tile/",
            "tile/0",
            "tile/0/",
            "tile/0/0",
            "tile/0/0000",
            "tile/00/000",
            "tile/64/000",
            "tile/-1/000",
            "tile/+1/000",
            "tile/0/x000/001",
            "tile/0/x001",
            "tile/0/001/000",
            "tile/0/xx01/000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/+1",
            "tile/0/000.p/",
            "tile/0/000.p",
            "tile/0/000/",
            "/tile/0/000",
            "tile/0/000.p/1/x",
            "tile/entries/0000",
            "tile/data/000",
            "tile/0/+01",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
            "tile/0/é01",
            "tile/256/000",
            "tile/0/x018/x014/x398/x509/x481/985",
        ] {
            assert!(Tile::parse_path(path).is_err(), "{path}");
        }
        assert_eq!(Tile::parse_path(&"tile/0/".repeat(20)), Err(Error::Path));
    }

    #[test]
    fn coordinates_out_of_range_are_refused() {
        assert_eq!(Tile::new(Kind::Hashes { level: 64 }, 0, 1), Err(Error::Level));
        assert_eq!(Tile::new(Kind::Entries, u64::MAX, 1), Err(Error::Index));
        assert_eq!(Tile::new(Kind::Entries, 0, 0), Err(Error::Width));
        assert_eq!(Tile::new(Kind::Entries, 0, 257), Err(Error::Width));
        assert_eq!(Tile::in_log(Kind::Hashes { level: 63 }, u64::MAX, u64::MAX), None);
    }

    fn paths(tiles: impl Iterator<Item = Tile>) -> Vec<String> {
        tiles.map(|tile| tile.path()).collect()
    }

    #[test]
    fn a_log_of_256_entries_has_one_full_tile_and_a_partial_one_above() {
        assert_eq!(paths(changed(0, 256)), ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
        assert_eq!(paths(partials(256)), ["tile/1/000.p/1"]);
    }

    #[test]
    fn a_log_of_70_000_entries_has_the_widths_of_the_specification() {
        assert_eq!([0, 1, 2, 3, 63].map(|level| partial_width(level, 70_000)), [112, 17, 1, 0, 0]);
        let all: Vec<Tile> = changed(0, 70_000).collect();
        let full = |level| {
            let kind = Kind::Hashes { level };
            all.iter().filter(|tile| tile.kind() == kind && tile.is_full()).count()
        };
        assert_eq!([full(0), full(1), full(2)], [273, 1, 0]);
        let expected =
            ["tile/entries/273.p/112", "tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"];
        assert_eq!(paths(partials(70_000)), expected);
    }

    #[test]
    fn growth_changes_only_what_the_new_entries_touch() {
        assert_eq!(paths(changed(0, 0)), [""; 0]);
        assert_eq!(paths(changed(5, 5)), [""; 0]);
        assert_eq!(paths(changed(6, 5)), [""; 0]);
        assert_eq!(paths(changed(300, 301)), ["tile/entries/001.p/45", "tile/0/001.p/45"]);
        let expected = [
            "tile/entries/000",
            "tile/entries/001.p/1",
            "tile/0/000",
            "tile/0/001.p/1",
            "tile/1/000.p/1",
        ];
        assert_eq!(paths(changed(255, 257)), expected);
        assert_eq!(levels(0), 0);
        assert_eq!(levels(255), 1);
        assert_eq!(levels(256), 2);
        assert_eq!(levels(u64::MAX), 8);
    }
}
