//! A node's right to one shard: claim, renew, fence.

use crate::teeth::{Tooth, bites};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A shard's lease as the store keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lease {
    /// The owner's incarnation (a uuid made at process start); zero: nobody.
    pub owner: u128,
    /// The fencing token; never goes back.
    pub epoch: u64,
    /// The sequence number of the last applied commit under this epoch.
    pub seq: u64,
    /// When it ends on the store's clock.
    pub until: Timestamp,
}

impl crate::codec::Record for Lease {
    const SCHEMA: u8 = 9;
    const VERSION: u8 = 1;
}

/// Who wants to write, and as which commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fence {
    /// The owner's incarnation.
    pub owner: u128,
    /// The epoch its claim was answered with.
    pub epoch: u64,
    /// The commit's number: one more than the last.
    pub seq: u64,
}

/// What a store answers to a fenced write before it looks at the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is the next one: apply it.
    Apply,
    /// It was applied already.
    Applied,
    /// Another owner or epoch, or a gap.
    Fenced,
}

impl Lease {
    /// Claims the lease if it is free, over, or the claimer's own.
    pub fn claim(&self, owner: u128, now: Timestamp, ttl_ms: u64) -> Option<Lease> {
        let free = self.owner == 0 || self.owner == owner || self.until <= now;
        // max(stored + 1, server time): a failover that forgets cannot hand an epoch out twice.
        let epoch = (self.epoch + 1).max(now.0);
        free.then_some(Lease { owner, epoch, seq: 0, until: now.plus_ms(ttl_ms) })
    }

    /// The lease prolonged, if it is the owner's still; one that is over and that nobody claimed
    /// may be prolonged, since nothing was changed under another one.
    pub fn renew(&self, owner: u128, now: Timestamp, ttl_ms: u64) -> Option<Lease> {
        let until = now.plus_ms(ttl_ms).max(self.until);
        (self.owner != 0 && self.owner == owner).then_some(Lease { until, ..*self })
    }

    /// The lease given back, if it is the owner's: free at once, its epoch kept.
    pub fn release(&self, owner: u128) -> Option<Lease> {
        let own = self.owner != 0 && self.owner == owner;
        own.then_some(Lease { owner: 0, until: Timestamp(0), ..*self })
    }

    /// Whether somebody holds it at a moment.
    pub fn is_held(&self, now: Timestamp) -> bool {
        self.owner != 0 && now < self.until
    }

    /// Judges a fenced write.
    pub fn admit(&self, fence: Fence) -> Admission {
        let holds = self.owner == fence.owner && self.epoch == fence.epoch;
        if !holds && !bites(Tooth::EpochNotChecked) {
            return Admission::Fenced;
        }
        match fence.seq {
            _ if bites(Tooth::SequenceNotChecked) => Admission::Apply,
            seq if seq <= self.seq => Admission::Applied,
            seq if seq == self.seq + 1 => Admission::Apply,
            _ => Admission::Fenced,
        }
    }

    /// The lease after an applied commit; a commit renews.
    #[must_use]
    pub fn applied(self, fence: Fence, now: Timestamp, ttl_ms: u64) -> Lease {
        Lease { seq: fence.seq, until: now.plus_ms(ttl_ms).max(self.until), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fence(lease: &Lease, seq: u64) -> Fence {
        Fence { owner: lease.owner, epoch: lease.epoch, seq }
    }

    #[test]
    fn a_lease_is_claimed_when_free_over_or_ones_own() {
        let held = Lease::default().claim(1, Timestamp(100), 50).unwrap();
        assert_eq!(held.claim(2, Timestamp(149), 50), None);
        assert!(held.claim(2, Timestamp(150), 50).unwrap().epoch > held.epoch);
        assert!(held.claim(1, Timestamp(120), 50).unwrap().epoch > held.epoch);
    }

    #[test]
    fn an_epoch_never_repeats_even_when_the_store_forgot() {
        let old = Lease::default().claim(1, Timestamp(5_000), 50).unwrap();
        let forgotten = Lease::default().claim(2, Timestamp(5_001), 50).unwrap();
        assert!(forgotten.epoch > old.epoch);
    }

    #[test]
    fn a_lease_is_renewed_by_its_owner_until_somebody_else_claims_it() {
        let held = Lease::default().claim(1, Timestamp(100), 50).unwrap();
        let renewed = held.renew(1, Timestamp(120), 50).unwrap();
        assert_eq!((renewed.until, renewed.epoch), (Timestamp(170), held.epoch));
        assert_eq!(held.renew(2, Timestamp(120), 50), None);
        assert!(held.renew(1, Timestamp(500), 50).unwrap().is_held(Timestamp(549)));
        let lost = held.claim(2, Timestamp(150), 50).unwrap();
        assert_eq!(lost.renew(1, Timestamp(151), 50), None);
        assert_eq!(Lease::default().renew(0, Timestamp(1), 50), None);
    }

    #[test]
    fn a_released_lease_is_free_at_once_and_keeps_its_epoch() {
        let held = Lease::default().claim(1, Timestamp(100), 50).unwrap();
        assert_eq!(held.release(2), None);
        let free = held.release(1).unwrap();
        assert!(!free.is_held(Timestamp(0)));
        assert_eq!((free.epoch, free.until), (held.epoch, Timestamp(0)));
        assert_eq!(free.admit(fence(&held, 1)), Admission::Fenced);
        assert!(free.claim(2, Timestamp(1), 50).unwrap().epoch > held.epoch);
    }

    #[test]
    fn commits_apply_in_order_once_and_only_for_the_owner() {
        let lease = Lease::default().claim(1, Timestamp(100), 50).unwrap();
        assert_eq!(lease.admit(fence(&lease, 1)), Admission::Apply);
        assert_eq!(lease.admit(fence(&lease, 2)), Admission::Fenced);
        let next = lease.applied(fence(&lease, 1), Timestamp(110), 50);
        assert_eq!(next.admit(fence(&next, 1)), Admission::Applied);
        assert_eq!(next.admit(Fence { owner: 2, ..fence(&next, 2) }), Admission::Fenced);
        let newer = next.claim(2, Timestamp(500), 50).unwrap();
        assert_eq!(newer.admit(fence(&next, 2)), Admission::Fenced);
    }

    #[test]
    fn a_commit_prolongs_the_lease_and_never_shortens_it() {
        let lease = Lease::default().claim(1, Timestamp(100), 50).unwrap();
        let committed = lease.applied(fence(&lease, 1), Timestamp(130), 50);
        assert_eq!((committed.until, committed.seq), (Timestamp(180), 1));
        let late = committed.applied(fence(&lease, 2), Timestamp(110), 50);
        assert_eq!((late.until, late.seq), (Timestamp(180), 2));
    }
}
