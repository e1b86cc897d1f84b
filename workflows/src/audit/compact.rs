//! Collections that take few bytes an item and never copy what they hold: logs and books of rails
//! have tens of millions of lines.

use crate::limits;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Items of one segment.
const SEGMENT: usize = 1 << 16;
/// Slots of the smallest table.
const SLOTS: usize = 1 << 10;

/// A number below 2^40 in five bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Short([u8; 5]);

impl Short {
    /// Every number that is larger is held as 2^40 - 1.
    pub(super) fn of(number: u64) -> Self {
        let bytes = number.min((1 << 40) - 1).to_le_bytes();
        Self([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4]])
    }

    pub(super) fn get(self) -> u64 {
        let [a, b, c, d, e] = self.0;
        u64::from_le_bytes([a, b, c, d, e, 0, 0, 0])
    }
}

/// A list that grows by segments.
#[derive(Debug)]
pub(super) struct Segments<T>(Vec<Vec<T>>);

impl<T> Default for Segments<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Segments<T> {
    pub(super) fn push(&mut self, item: T) {
        match self.0.last_mut().filter(|last| last.len() < SEGMENT) {
            Some(last) => last.push(item),
            None => {
                let mut segment = Vec::with_capacity(SEGMENT);
                segment.push(item);
                self.0.push(segment);
            }
        }
    }

    pub(super) fn get(&self, place: u64) -> Option<&T> {
        let place = usize::try_from(place).ok()?;
        self.0.get(place / SEGMENT)?.get(place % SEGMENT)
    }

    pub(super) fn get_mut(&mut self, place: u64) -> Option<&mut T> {
        let place = usize::try_from(place).ok()?;
        self.0.get_mut(place / SEGMENT)?.get_mut(place % SEGMENT)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten()
    }
}

/// A set of small numbers.
#[derive(Debug, Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// Puts a number in; true if it was not there.
    pub(super) fn set(&mut self, number: u64) -> bool {
        let place = usize::try_from(number / 64).unwrap_or(usize::MAX);
        if self.0.len() <= place {
            self.0.resize(place + 1, 0);
        }
        let bit = 1 << (number % 64);
        let known = self.0[place] & bit != 0;
        self.0[place] |= bit;
        !known
    }

    pub(super) fn has(&self, number: u64) -> bool {
        let place = usize::try_from(number / 64).unwrap_or(usize::MAX);
        self.0.get(place).is_some_and(|word| word & 1 << (number % 64) != 0)
    }
}

/// Byte strings of one length, numbered in the order in which they came.
#[derive(Debug)]
pub(super) struct Numbered<const N: usize> {
    items: Segments<[u8; N]>,
    len: u64,
    /// Numbers by hash, one more than they are; zero is a free slot. At most four of five are taken.
    slots: Vec<Short>,
}

impl<const N: usize> Default for Numbered<N> {
    fn default() -> Self {
        Self { items: Segments::default(), len: 0, slots: vec![Short::default(); SLOTS] }
    }
}

impl<const N: usize> Numbered<N> {
    /// With a table for so many: it is neither made anew as they come nor larger than they need.
    pub(super) fn with_room(items: u64) -> Self {
        let items = usize::try_from(items.min(limits::AUDIT_ROOM_MAX)).unwrap_or(0);
        let slots = (items / 4 * 5 + 5).max(SLOTS);
        Self { slots: vec![Short::default(); slots], ..Self::default() }
    }

    /// The number of an item.
    pub(super) fn find(&self, item: &[u8; N]) -> Option<u64> {
        self.look(item).ok()
    }

    /// Takes an item in: its new number, or as an error the one it has.
    pub(super) fn insert(&mut self, item: [u8; N]) -> Result<u64, u64> {
        let slot = match self.look(&item) {
            Ok(known) => return Err(known),
            Err(slot) => slot,
        };
        let number = self.len;
        self.items.push(item);
        self.len += 1;
        self.slots[slot] = Short::of(number + 1);
        if self.len as usize > self.slots.len() / 5 * 4 {
            self.grow();
        }
        Ok(number)
    }

    /// An item by its number.
    pub(super) fn get(&self, number: u64) -> Option<&[u8; N]> {
        self.items.get(number)
    }

    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// Its number, or the slot where it would stand.
    fn look(&self, item: &[u8; N]) -> Result<u64, usize> {
        let mut slot = start(item, self.slots.len());
        loop {
            let Some(number) = self.slots[slot].get().checked_sub(1) else { return Err(slot) };
            if self.items.get(number) == Some(item) {
                return Ok(number);
            }
            slot = (slot + 1) % self.slots.len();
        }
    }

    fn grow(&mut self) {
        // Half again as large: a table just grown is not mostly air.
        let count = self.slots.len() / 2 * 3;
        self.slots = Vec::new();
        self.slots.resize(count, Short::default());
        for (number, item) in (1..).zip(self.items.iter()) {
            let mut slot = start(item, count);
            while self.slots[slot].get() != 0 {
                slot = (slot + 1) % count;
            }
            self.slots[slot] = Short::of(number);
        }
    }
}

/// Where an item is looked for first.
fn start<const N: usize>(item: &[u8; N], slots: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    item.hash(&mut hasher);
    // The upper half of the product: uniform below `slots` (Lemire 2019).
    ((u128::from(hasher.finish()) * slots as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_numbered_once_and_found_after_the_table_grew() {
        let mut numbered = Numbered::<8>::default();
        let items = SEGMENT as u64 * 2 + 3;
        for number in 0..items {
            assert_eq!(numbered.insert(number.to_be_bytes()), Ok(number));
        }
        for number in 0..items {
            assert_eq!(numbered.find(&number.to_be_bytes()), Some(number));
            assert_eq!(numbered.get(number), Some(&number.to_be_bytes()));
        }
        assert_eq!(numbered.insert(7u64.to_be_bytes()), Err(7));
        assert_eq!((numbered.find(&items.to_be_bytes()), numbered.len()), (None, items));
        assert_eq!(numbered.get(items), None);
    }

    #[test]
    fn a_table_with_room_for_its_items_is_not_made_anew() {
        for items in [1, SLOTS as u64, 20_003] {
            let mut numbered = Numbered::<8>::with_room(items);
            let slots = numbered.slots.len();
            assert!((0..items).all(|number| numbered.insert(number.to_be_bytes()).is_ok()));
            assert_eq!(numbered.slots.len(), slots, "{items}");
            let more = items..2 * items;
            assert!(more.into_iter().all(|number| numbered.insert(number.to_be_bytes()).is_ok()));
            assert_eq!(numbered.find(&(2 * items - 1).to_be_bytes()), Some(2 * items - 1));
        }
    }

    #[test]
    fn bits_are_set_once_and_short_numbers_end_at_their_most() {
        let mut bits = Bits::default();
        assert!(bits.set(70) && !bits.set(70) && bits.set(6));
        assert!(bits.has(70) && bits.has(6) && !bits.has(7) && !bits.has(1000));
        for number in [0, 1, 0x12_3456_789a, (1 << 40) - 1] {
            assert_eq!(Short::of(number).get(), number);
        }
        assert_eq!(Short::of(u64::MAX).get(), (1 << 40) - 1);
    }
}
