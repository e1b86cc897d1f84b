//! Deliberate bugs, so that the suites can be shown to bite. Only builds with the feature `teeth`
//! have them, one at a time and off until a test asks; in every other build none can be switched on.

/// One deliberate bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Tooth {
    /// Effects leave when their commit is sent, not when it is durable.
    EffectBeforeCommit = 1,
    /// A commit under another epoch is let through.
    EpochNotChecked,
    /// A commit is applied again, or with others missing before it.
    SequenceNotChecked,
    /// An inbox item is gone before its journey stands.
    InboxItemRemovedEarly,
    /// Admission is not noted before a journey runs.
    AttemptCountedAtTheEnd,
    /// What was sequenced already is sequenced again.
    OutboxCursorIgnored,
    /// A checkpoint stands before the tiles that it covers.
    CheckpointBeforeTiles,
    /// A payout whose fate is unknown goes out again under a new key.
    UnknownPayoutUnderNewKey,
    /// An acceptance does not name the grant that it relies on.
    ConsentMarkNotChecked,
    /// What is reserved stays in the allotment.
    AllotmentNotDeducted,
    /// A price is rounded up.
    RoundingUp,
}

impl Tooth {
    /// Every one.
    pub const ALL: [Self; 11] = [
        Self::EffectBeforeCommit,
        Self::EpochNotChecked,
        Self::SequenceNotChecked,
        Self::InboxItemRemovedEarly,
        Self::AttemptCountedAtTheEnd,
        Self::OutboxCursorIgnored,
        Self::CheckpointBeforeTiles,
        Self::UnknownPayoutUnderNewKey,
        Self::ConsentMarkNotChecked,
        Self::AllotmentNotDeducted,
        Self::RoundingUp,
    ];
}

/// Whether a bug is switched on.
#[cfg(not(feature = "teeth"))]
#[inline]
pub const fn bites(_: Tooth) -> bool {
    false
}

#[cfg(feature = "teeth")]
static ACTIVE: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

/// Whether a bug is switched on.
#[cfg(feature = "teeth")]
pub fn bites(tooth: Tooth) -> bool {
    ACTIVE.load(std::sync::atomic::Ordering::Relaxed) == tooth as u8
}

/// Switches one bug on in this whole process, or all of them off.
#[cfg(feature = "teeth")]
pub fn switch(tooth: Option<Tooth>) {
    let number = tooth.map_or(0, |tooth| tooth as u8);
    ACTIVE.store(number, std::sync::atomic::Ordering::Relaxed);
}
