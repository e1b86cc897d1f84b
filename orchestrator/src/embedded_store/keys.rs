//! Keys of rows: shard (2 bytes), tag (1), then what tells the rows of a tag apart, all big endian,
//! so that the rows of one shard and tag stand together and in order. Finished journeys have a space to
//! themselves and keys of another form, see [`finished`].

use gristmill_workflows::id::{Arrival, ContributorKey, ShardId};
use gristmill_workflows::inbox::Lane;
use gristmill_workflows::time::Timestamp;

/// Rows of the whole node stand under a shard number that no shard has (`SHARDS_MAX` is 4096).
const NODE: ShardId = ShardId(u16::MAX);

/// Tells the kinds of rows apart; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Tag {
    /// The store's uuid, in every keyspace (node).
    Uuid = 1,
    /// The number of the last group (node).
    Number = 2,
    /// `ShardRow`.
    Shard = 3,
    /// Inbox items of the control lane.
    Control = 4,
    /// Inbox items of the intake lane.
    Intake = 5,
    /// Journeys that are not terminal.
    Active = 6,
    // 7 was finished journeys, before they had a space to themselves.
    /// Contributors.
    Contributor = 8,
    /// Marks of withdrawals.
    Mark = 9,
    /// Identities of what was handed in.
    Identity = 10,
    /// Timers.
    Timer = 11,
    /// Entries due to the log.
    Outbox = 12,
    /// Where entries stand in the log.
    Sequenced = 13,
    /// Data keys to destroy.
    Erasure = 14,
    /// `Admitted`.
    Admitted = 15,
    /// `ShardState`.
    State = 16,
    /// Who handed in a content first (node).
    Content = 17,
    /// A row of the register.
    Register = 18,
    /// Up to which arrival number intake items are noted as let in.
    Noted = 19,
}

/// The tag of a lane's items.
pub(super) const fn lane(lane: Lane) -> Tag {
    match lane {
        Lane::Control => Tag::Control,
        Lane::Intake => Tag::Intake,
    }
}

/// How many arrival numbers of each shard make a stretch, as a power of two.
const STRETCH_BITS: u32 = 10;

/// A finished journey: the stretch of its arrival number (8 bytes), shard (2), arrival number (8).
///
/// All shards finish at about the same pace, so what is flushed lies behind what was flushed before, and
/// little of that has to be merged again and again. Under keys that begin with the shard each flush
/// would lie between all older ones.
pub(super) fn finished(shard: ShardId, arrival: Arrival) -> [u8; 18] {
    let head: [u8; 10] = join((arrival >> STRETCH_BITS).to_be_bytes(), shard.0.to_be_bytes());
    join(head, arrival.to_be_bytes())
}

/// The last arrival number of the stretch that holds this one.
pub(super) const fn stretch_end(arrival: Arrival) -> Arrival {
    arrival | ((1 << STRETCH_BITS) - 1)
}

/// The first arrival number of the stretch that holds this one.
pub(super) const fn stretch_start(arrival: Arrival) -> Arrival {
    arrival >> STRETCH_BITS << STRETCH_BITS
}

/// The last key that a finished journey can have.
pub(super) fn finished_last() -> [u8; 18] {
    finished(ShardId(u16::MAX), Arrival::MAX)
}

/// The arrival number that the key of a finished journey carries.
pub(super) fn finished_arrival(key: &[u8]) -> Option<Arrival> {
    bytes_at(key, 10).map(u64::from_be_bytes)
}

/// The one row of a tag, or the start of all of them.
pub(super) fn only(shard: ShardId, tag: Tag) -> [u8; 3] {
    let [high, low] = shard.0.to_be_bytes();
    [high, low, tag as u8]
}

/// The node's one row of a tag.
pub(super) fn node(tag: Tag) -> [u8; 3] {
    only(NODE, tag)
}

/// A row by a number: an arrival, an outbox position, a slot.
pub(super) fn numbered(shard: ShardId, tag: Tag, number: u64) -> [u8; 11] {
    join(only(shard, tag), number.to_be_bytes())
}

/// A row by 16 bytes: an identity or a contributor.
pub(super) fn named(shard: ShardId, tag: Tag, name: [u8; 16]) -> [u8; 19] {
    join(only(shard, tag), name)
}

/// A timer: when due, whose.
pub(super) fn timer(shard: ShardId, due: Timestamp, whose: Arrival) -> [u8; 19] {
    join(numbered(shard, Tag::Timer, due.0), whose.to_be_bytes())
}

/// A mark of a contributor.
pub(super) fn mark(shard: ShardId, contributor: ContributorKey, position: Arrival) -> [u8; 27] {
    join(named(shard, Tag::Mark, contributor.0), position.to_be_bytes())
}

/// A content by its hash.
pub(super) fn content(hash: [u8; 32]) -> [u8; 35] {
    join(node(Tag::Content), hash)
}

/// The key of a register's row, or of the first whose name begins so.
pub(super) fn register(name: &str) -> Vec<u8> {
    [&node(Tag::Register)[..], name.as_bytes()].concat()
}

/// The `N` bytes at an offset of a key; none if the key is not that long.
pub(super) fn bytes_at<const N: usize>(key: &[u8], offset: usize) -> Option<[u8; N]> {
    key.get(offset..offset + N)?.try_into().ok()
}

/// The number that a key of `numbered` or `timer` carries behind its tag.
pub(super) fn number_of(key: &[u8]) -> Option<u64> {
    bytes_at(key, 3).map(u64::from_be_bytes)
}

fn join<const A: usize, const B: usize, const N: usize>(head: [u8; A], tail: [u8; B]) -> [u8; N] {
    let mut key = [0; N];
    key[..A].copy_from_slice(&head);
    key[A..].copy_from_slice(&tail);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_by_shard_then_tag_then_number() {
        let low = numbered(ShardId(1), Tag::Intake, u64::MAX);
        let middle = numbered(ShardId(1), Tag::Active, 0);
        let high = numbered(ShardId(2), Tag::Control, 0);
        assert!(low < middle && middle < high);
        assert!(timer(ShardId(1), Timestamp(255), 9) < timer(ShardId(1), Timestamp(256), 0));
    }

    #[test]
    fn keys_of_finished_journeys_order_by_stretch_then_shard_then_number() {
        let low = finished(ShardId(9), 1023);
        let middle = finished(ShardId(1), 1024);
        let high = finished(ShardId(2), 1024);
        assert!(low < middle && middle < finished(ShardId(1), 1025) && middle < high);
        assert!(high < finished_last() && finished_last()[..] < node(Tag::Uuid)[..]);
        assert_eq!([0, 1023, 1024].map(stretch_end), [1023, 1023, 2047]);
        assert_eq!([0, 1023, 1024, 2047].map(stretch_start), [0, 0, 1024, 1024]);
        assert_eq!(stretch_end(Arrival::MAX), Arrival::MAX);
        assert_eq!(finished_arrival(&high), Some(1024));
    }

    #[test]
    fn the_parts_of_a_key_come_back() {
        let key = timer(ShardId(3), Timestamp(7), 8);
        assert_eq!(number_of(&key), Some(7));
        assert_eq!(bytes_at(&key, 11).map(u64::from_be_bytes), Some(8));
        assert_eq!(number_of(&key[..10]), None);
    }
}
