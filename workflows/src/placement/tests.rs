use super::*;

fn member(incarnation: u128) -> Member {
    let (name, address) = (format!("node-{incarnation}"), String::new());
    Member { incarnation, name, address, draining: false, until: Timestamp(1_000) }
}

fn members(incarnations: &[u128]) -> Vec<Member> {
    incarnations.iter().map(|incarnation| member(*incarnation)).collect()
}

fn claim_all(placement: &mut Placement, now: Timestamp) -> Vec<ShardId> {
    let look = placement.steps(now).look;
    look.into_iter().filter(|shard| placement.seen(*shard, &Lease::default(), now)).collect()
}

#[test]
fn every_member_has_its_fair_share_and_few_shards_move() {
    let (three, four) = (homes(64, &[11, 22, 33]), homes(64, &[11, 22, 33, 44]));
    for member in [11, 22, 33] {
        let share = three.iter().filter(|home| **home == member).count();
        assert!((20..=22).contains(&share), "{share}");
    }
    let moved = three.iter().zip(&four).filter(|(before, after)| before != after).count();
    assert!((16..=28).contains(&moved), "{moved}");
    assert_eq!(homes(64, &[44, 33, 22, 11]), four, "the order of members does not matter");
    assert_eq!(homes(4, &[7]), [7; 4]);
    assert_eq!(homes(4, &[]), [0u128; 0]);
}

#[test]
fn a_node_alone_claims_everything_at_once() {
    let mut alone = Placement::new(1, 8);
    assert_eq!(alone.steps(Timestamp(0)), Steps::default());
    alone.roster(&members(&[1]), Timestamp(0));
    assert_eq!(claim_all(&mut alone, Timestamp(0)).len(), 8);
    assert_eq!((alone.held().count(), alone.next_due()), (8, None));
    assert!(alone.is_first());
}

#[test]
fn healthy_shards_move_one_at_a_time_and_orphans_are_claimed_at_once() {
    let mut old = Placement::new(1, 8);
    old.roster(&members(&[1]), Timestamp(0));
    claim_all(&mut old, Timestamp(0));
    old.roster(&members(&[1, 2]), Timestamp(10));
    let mut given = Vec::new();
    while let [shard] = old.steps(Timestamp(10)).hand_over[..] {
        assert_eq!(old.steps(Timestamp(10)).hand_over, [], "one at a time");
        old.gone(shard, Timestamp(10));
        given.push(shard);
    }
    assert_eq!((given.len(), old.held().count()), (4, 4));
    old.roster(&members(&[1]), Timestamp(20));
    assert_eq!(claim_all(&mut old, Timestamp(20)), given, "all orphans at once");
}

#[test]
fn a_lease_that_another_holds_is_looked_at_when_it_is_over_or_given_back() {
    let mut placement = Placement::new(1, 1);
    placement.roster(&members(&[1]), Timestamp(0));
    let theirs = Lease { owner: 9, epoch: 1, seq: 0, until: Timestamp(700) };
    assert_eq!(placement.steps(Timestamp(0)).look, [ShardId(0)]);
    assert!(!placement.seen(ShardId(0), &theirs, Timestamp(0)));
    assert_eq!(placement.next_due(), Some(Timestamp(700)));
    assert_eq!(placement.steps(Timestamp(600)).look, []);
    placement.released(ShardId(0), Timestamp(600));
    assert_eq!(placement.steps(Timestamp(600)).look, [ShardId(0)]);
    assert!(placement.seen(ShardId(0), &theirs, Timestamp(700)));
    placement.gone(ShardId(0), Timestamp(701));
    assert_eq!(placement.next_due(), Some(Timestamp(701)), "lost or refused: wanted again");
}

#[test]
fn a_shard_that_runs_here_is_held_whoever_has_it_at_home() {
    let mut placement = Placement::new(1, 2);
    placement.roster(&members(&[1]), Timestamp(0));
    placement.kept(ShardId(1));
    assert_eq!(placement.held().collect::<Vec<_>>(), [ShardId(1)]);
    assert_eq!(placement.steps(Timestamp(0)).look, [ShardId(0)]);
    placement.roster(&members(&[2]), Timestamp(0));
    assert_eq!(placement.steps(Timestamp(0)).hand_over, [ShardId(1)]);
}

#[test]
fn a_draining_node_hands_over_everything_and_claims_nothing() {
    let mut placement = Placement::new(1, 4);
    placement.roster(&members(&[1]), Timestamp(0));
    claim_all(&mut placement, Timestamp(0));
    placement.drain(Timestamp(1));
    assert_eq!(placement.steps(Timestamp(1)).hand_over.len(), 4);
    for shard in (0..4).map(ShardId) {
        assert!(!placement.is_drained());
        placement.gone(shard, Timestamp(2));
    }
    assert!(placement.is_drained() && !placement.is_first());
    placement.roster(&members(&[1]), Timestamp(3));
    assert_eq!(placement.steps(Timestamp(3)), Steps::default());
}

#[test]
fn a_shard_that_does_not_end_in_time_is_cut_off() {
    let mut placement = Placement::new(1, 1);
    placement.roster(&members(&[1]), Timestamp(0));
    claim_all(&mut placement, Timestamp(0));
    placement.drain(Timestamp(0));
    placement.steps(Timestamp(0));
    let late = Timestamp(HAND_OVER_MS_MAX);
    assert_eq!(placement.next_due(), Some(late));
    assert_eq!(placement.steps(late).cut_off, [ShardId(0)]);
}

#[test]
fn a_member_asked_to_drain_learns_it_from_the_roster() {
    let mut placement = Placement::new(1, 2);
    let asked = Member { draining: true, ..member(1) };
    placement.roster(&[asked, member(2)], Timestamp(0));
    assert!(placement.is_draining());
    let dead = Member { until: Timestamp(5), ..member(2) };
    let mut other = Placement::new(3, 2);
    other.roster(&[dead, member(3)], Timestamp(5));
    assert_eq!(other.steps(Timestamp(5)).look.len(), 2, "the dead have no share");
    assert!(!other.is_draining());
}

/// Worked out with another splitmix64: nodes of two releases must place shards alike.
#[test]
fn a_members_weight_for_a_shard_never_changes() {
    assert_eq!(weight(1, 0), 0x44e5_b981_00c6_7fb0);
    assert_eq!(weight(1, 1), 0x4653_9195_8fc6_1f13);
    assert_eq!(weight((5 << 64) | 7, 63), 0xace5_f144_15b5_8cc3);
}

/// A lease that is over, or nobody's.
fn free() -> Lease {
    Lease::default()
}

fn held_until(owner: u128, until: u64) -> Lease {
    Lease { owner, epoch: 1, seq: 0, until: Timestamp(until) }
}

/// What a node looks at beside what is its own, and which of it it claims.
fn look(node: &mut Placement, lease: &Lease, now: u64) -> (usize, Vec<ShardId>) {
    let now = Timestamp(now);
    let look = node.steps(now).look;
    let count = look.len();
    (count, look.into_iter().filter(|shard| node.seen(*shard, lease, now)).collect())
}

#[test]
fn what_nobody_holds_in_two_looks_is_taken_in_and_kept_until_the_members_change() {
    let mut node = Placement::new(2, 8);
    let both = |until| {
        let mut both = members(&[1, 2]);
        both.iter_mut().for_each(|member| member.until = Timestamp(until));
        both
    };
    node.roster(&both(100_000), Timestamp(0));
    assert_eq!(look(&mut node, &free(), 0).1.len(), 4, "its own");
    assert_eq!(node.next_due(), Some(Timestamp(STRAYS_LOOK_MS)));
    let others = held_until(1, 1_000_000);
    assert_eq!(look(&mut node, &others, STRAYS_LOOK_MS), (4, vec![]));
    assert_eq!(look(&mut node, &free(), 2 * STRAYS_LOOK_MS), (4, vec![]), "it may be moving");
    assert_eq!(look(&mut node, &others, 3 * STRAYS_LOOK_MS), (4, vec![]));
    assert_eq!(look(&mut node, &free(), 4 * STRAYS_LOOK_MS), (4, vec![]));
    let (_, taken) = look(&mut node, &free(), 5 * STRAYS_LOOK_MS);
    assert_eq!((taken.len(), node.held().count()), (4, 8));
    assert_eq!(node.steps(Timestamp(6 * STRAYS_LOOK_MS)), Steps::default(), "it keeps them");
    node.roster(&members(&[1, 2, 3]), Timestamp(500));
    assert_eq!(node.steps(Timestamp(500)).hand_over.len(), 1, "and gives them to who is new");
}

#[test]
fn who_does_not_understand_a_shard_tries_it_again_after_a_while() {
    let mut node = Placement::new(2, 8);
    let mut both = members(&[1, 2]);
    both.iter_mut().for_each(|member| member.until = Timestamp(u64::MAX));
    node.roster(&both, Timestamp(0));
    let own = look(&mut node, &free(), 0).1[0];
    node.left_alone(own, Timestamp(1));
    node.released(own, Timestamp(2));
    assert_eq!(look(&mut node, &free(), 3), (0, vec![]), "whoever gives it back");
    look(&mut node, &free(), STRAYS_LOOK_MS);
    let stray = look(&mut node, &free(), 2 * STRAYS_LOOK_MS).1[0];
    let began = 2 * STRAYS_LOOK_MS;
    node.left_alone(stray, Timestamp(began));
    let mut tried = BTreeMap::new();
    for now in (began..began + 2 * LEFT_ALONE_MS).step_by(1_000) {
        for shard in look(&mut node, &free(), now).1 {
            tried.entry(shard).or_insert(now);
        }
    }
    assert!(tried[&own] >= LEFT_ALONE_MS, "{tried:?}");
    assert!((LEFT_ALONE_MS..).contains(&(tried[&stray] - began)), "{tried:?}");
}

#[test]
fn a_node_alone_or_one_that_drains_takes_nothing_in() {
    let mut alone = Placement::new(1, 8);
    alone.roster(&members(&[1]), Timestamp(0));
    claim_all(&mut alone, Timestamp(0));
    assert_eq!(alone.next_due(), None);
    let mut drains = Placement::new(2, 8);
    drains.roster(&members(&[1, 2]), Timestamp(0));
    drains.drain(Timestamp(0));
    assert_eq!(look(&mut drains, &free(), STRAYS_LOOK_MS), (0, vec![]));
}
