//! What a commit is closed with.

use super::super::{Effect, Shard};
use super::programs::RATE;
use super::town::Town;
use crate::codec::encode;
use crate::commit::{Admitted, Commit};
use crate::limits;
use crate::time::Timestamp;

fn sealed(shard: &mut Shard) -> Commit {
    assert!(shard.is_dirty());
    let (before, sealed) = (shard.seals(), shard.seal().unwrap().unwrap());
    assert_eq!(shard.seals(), before + 1);
    assert!(!shard.is_dirty() && shard.seal().unwrap().is_none());
    sealed.commit
}

#[test]
fn what_is_noted_rides_in_the_next_commit() {
    let mut town = Town::new(1, 100 * RATE);
    let shard = &mut town.nodes[0].shard;
    let admitted = Admitted::default();
    shard.note_admitted(&admitted).unwrap();
    assert_eq!(sealed(shard).admitted, Some(encode(&admitted).unwrap()));
    shard.erased(7);
    assert_eq!(sealed(shard).erasures_remove, [7]);
    shard.drop_timer(Timestamp(5), 3);
    assert_eq!(sealed(shard).timers_remove, [(Timestamp(5), 3)]);
}

#[test]
fn entries_share_an_outbox_row_up_to_its_bound() {
    let half = limits::OUTBOX_ROW_BYTES_MAX / 2;
    for (more, rows) in [(0, vec![(0, 3)]), (1, vec![(0, 2), (2, 1)])] {
        let mut town = Town::new(1, 100 * RATE);
        let shard = &mut town.nodes[0].shard;
        let first = shard.state.outbox_next;
        assert!(first > 0, "the rate card came before");
        for bytes in [half - 1, half, 1 + more] {
            shard.log(vec![b'x'; bytes]);
        }
        let sealed = shard.seal().unwrap().unwrap();
        let offered = sealed.effects.iter().map(|effect| match effect {
            Effect::Offer { from, entries } => (from - first, entries.len()),
            other => panic!("{other:?}"),
        });
        assert_eq!(offered.collect::<Vec<_>>(), rows);
        assert_eq!(sealed.commit.outbox_put.len(), rows.len());
    }
}

#[test]
fn a_commit_says_up_to_which_position_the_log_has_answered() {
    let mut town = Town::new(1, 100 * RATE);
    let shard = &mut town.nodes[0].shard;
    shard.erased(7);
    assert_eq!(shard.seal().unwrap().unwrap().logged, None);
    let first = shard.state.outbox_next;
    shard.sequenced(first, &[5, 6, 7], Timestamp(1)).unwrap();
    shard.sequenced(first + 3, &[9], Timestamp(1)).unwrap();
    let sealed = shard.seal().unwrap().unwrap();
    assert_eq!(sealed.commit.outbox_remove, [first, first + 3]);
    assert_eq!(sealed.logged, Some(first + 4));
}
