//! What one seed stands for: how large a town it is, and which faults it meets.
//!
//! A seed switches kinds of faults on and off, so that each is met alone, with others, and not at
//! all (Groce et al., "Swarm Testing", 2012).

use super::chance::Chance;

/// How often a call meets a fault, each in 1 of 10,000.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CallFaults {
    /// Not applied, answered "unavailable".
    pub(super) failed: u64,
    /// Applied, and the answer is lost.
    pub(super) persisted: u64,
    /// No answer, applied after a while.
    pub(super) late: u64,
    /// Applied, and applied again after a while.
    pub(super) doubled: u64,
    /// The answer comes seconds later.
    pub(super) slow: u64,
}

/// How often a submission to the rail meets a fault, each in 1 of 10,000.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RailFaults {
    pub(super) lost_reply: u64,
    pub(super) server_error: u64,
    pub(super) too_many: u64,
    pub(super) batch_rejected: u64,
    pub(super) late_shown: u64,
    pub(super) late_hidden: u64,
    pub(super) other_amount: u64,
    pub(super) confirmed_failure: u64,
}

/// Something that happens to a node, or to all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Blow {
    /// The node ends between two instructions; another process starts.
    Kill,
    /// As `Kill`, and the store forgets what it had not acknowledged.
    PowerLoss,
    /// The node is stopped in order; another process starts.
    Drain,
    /// The node hears nothing for a while, then goes on; another takes its shards meanwhile.
    Cut,
    /// Another node starts while this one goes on.
    Usurp,
    /// The node's clock jumps.
    ClockJump,
    /// The rail is down for a while.
    RailDown,
    /// What the measuring and probing stages need is down for a while.
    StageDown,
    /// An operator pauses a stage, or lets the paused ones go on.
    StagePaused,
}

/// One seed, drawn.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) shards: u16,
    /// Nodes that share the store.
    pub(super) nodes: usize,
    pub(super) window: usize,
    pub(super) people: u64,
    pub(super) contributions: u64,
    /// How long faults go on.
    pub(super) faults_ms: u64,
    pub(super) latency_ms: u64,
    pub(super) store: CallFaults,
    pub(super) log_failed: u64,
    pub(super) rail: RailFaults,
    pub(super) rail_window_ms: u64,
    pub(super) rail_batch: usize,
    /// Leases last this long, and nodes know each other; 0: whoever claims a shard gets it.
    pub(super) lease_ms: u64,
    pub(super) poison: u64,
    /// Contributions that kill their node.
    pub(super) killers: u64,
    pub(super) withdrawals: u64,
    pub(super) repeats: u64,
    pub(super) commands: u64,
    pub(super) budget_items: u64,
    pub(super) lost_notices: u64,
    /// How long finished journeys are kept; 0: for ever.
    pub(super) retention_ms: u64,
    /// What happens when, in milliseconds from the start, in order.
    pub(super) blows: Vec<(u64, Blow)>,
}

impl Plan {
    /// The plan of a seed. Without `faults` nothing goes wrong but what people do.
    pub(super) fn draw(seed: u64, faults: bool) -> Self {
        let chance = Chance::new(seed, 1);
        let some = |chance: &Chance, bp: u64, low: u64, high: u64| {
            let drawn = chance.between(low, high);
            if faults && chance.hits(bp) { drawn } else { 0 }
        };
        let faults_ms = *chance.one(&[5_000, 20_000, 60_000, 300_000]).unwrap_or(&20_000);
        let people = chance.between(2, 24);
        let contributions = chance.between(5, 90);
        let store = CallFaults {
            failed: some(&chance, 4_000, 10, 600),
            persisted: some(&chance, 4_000, 10, 600),
            late: some(&chance, 4_000, 10, 600),
            doubled: some(&chance, 4_000, 10, 900),
            slow: some(&chance, 3_000, 10, 300),
        };
        let rail = RailFaults {
            lost_reply: some(&chance, 3_000, 200, 4_000),
            server_error: some(&chance, 3_000, 200, 4_000),
            too_many: some(&chance, 3_000, 200, 4_000),
            batch_rejected: some(&chance, 1_500, 100, 1_500),
            late_shown: some(&chance, 3_000, 200, 4_000),
            late_hidden: some(&chance, 3_000, 200, 4_000),
            other_amount: some(&chance, 1_500, 100, 1_000),
            confirmed_failure: some(&chance, 2_000, 100, 2_000),
        };
        let mut plan = Self {
            nodes: 1,
            shards: *chance.one(&[1, 2, 3, 4]).unwrap_or(&2),
            window: *chance.one(&[16, 64, 1_024]).unwrap_or(&64),
            people,
            contributions,
            faults_ms,
            latency_ms: *chance.one(&[0, 1, 5, 25]).unwrap_or(&1),
            store,
            log_failed: some(&chance, 2_000, 10, 150),
            rail,
            rail_window_ms: *chance.one(&[40_000, 600_000, 86_400_000]).unwrap_or(&600_000),
            rail_batch: *chance.one(&[1, 3, 1_000]).unwrap_or(&3),
            lease_ms: *chance.one(&[0, 3_000, 10_000]).unwrap_or(&0),
            poison: if chance.hits(7_000) { chance.between(200, 4_000) } else { 0 },
            killers: some(&chance, 1_500, 100, 600),
            withdrawals: if chance.hits(7_000) { chance.between(1, people) } else { 0 },
            repeats: if chance.hits(7_000) { chance.between(500, 4_000) } else { 0 },
            commands: if chance.hits(6_000) { chance.between(1, 12) } else { 0 },
            budget_items: chance.between(contributions / 4, contributions * 3),
            lost_notices: some(&chance, 5_000, 500, 8_000),
            retention_ms: retention(seed),
            blows: Vec::new(),
        };
        if plan.lease_ms > 0 {
            plan.nodes = *chance.one(&[1, 2, 3]).unwrap_or(&1);
        }
        if faults {
            plan.blows = blows(&chance, faults_ms);
            // Drawn apart, so that a seed stays what it was otherwise.
            let chance = Chance::new(seed, 4);
            if chance.hits(3_000) {
                let paused = |_| (chance.below(faults_ms), Blow::StagePaused);
                plan.blows.extend((0..chance.between(1, 8)).map(paused));
                plan.blows.sort_unstable();
            }
            let shared = plan.lease_ms > 0;
            // A store that one process locks has no zombies; nodes that share one decide by its
            // clock.
            plan.blows.retain(|(_, blow)| match blow {
                Blow::ClockJump => !shared,
                Blow::Cut | Blow::Usurp => shared,
                _ => true,
            });
        }
        plan
    }
}

/// Drawn apart, so that a seed stays what it was otherwise.
fn retention(seed: u64) -> u64 {
    let chance = Chance::new(seed, 5);
    let drawn = *chance.one(&[1, 1_000, 15_000]).unwrap_or(&1_000);
    if chance.hits(2_500) { drawn } else { 0 }
}

fn blows(chance: &Chance, faults_ms: u64) -> Vec<(u64, Blow)> {
    let mut blows = Vec::new();
    let kinds = [
        (Blow::Kill, 5_000, 5),
        (Blow::PowerLoss, 2_500, 3),
        (Blow::Drain, 2_500, 3),
        (Blow::Cut, 3_000, 3),
        (Blow::Usurp, 3_000, 3),
        (Blow::ClockJump, 3_000, 4),
        (Blow::RailDown, 3_500, 3),
        (Blow::StageDown, 3_000, 3),
    ];
    for (kind, bp, most) in kinds {
        let count = chance.between(1, most);
        if chance.hits(bp) {
            blows.extend((0..count).map(|_| (chance.below(faults_ms), kind)));
        }
    }
    blows.sort_unstable();
    blows
}
