//! A shard's durable queue of intake and commands.

use crate::allotment::Transfer;
use crate::codec::Record;
use crate::id::ContributionId;
use crate::submission::{Consent, Submission, Withdrawal};
use serde::{Deserialize, Serialize};

/// One item. Both lanes of a shard share one order of arrival numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// Handed in (intake lane).
    Contribution(Submission),
    /// Consent given (control lane).
    Consent(Consent),
    /// Consent taken back (control lane).
    Withdrawal(Withdrawal),
    /// Money between shards (control lane).
    Transfer(Transfer),
    /// An operator's or client's word on one journey (control lane).
    Command {
        /// Which contribution.
        id: ContributionId,
        /// What to do.
        verb: Verb,
    },
}

/// What can be said of one journey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verb {
    /// Go on with a paused journey, with attempts counted anew.
    Retry,
    /// Reject a paused journey that was not accepted yet.
    Reject,
    /// Stand still until retried.
    Pause,
    /// A named signal that a parked journey may wait for.
    Signal(String),
}

/// The two lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Lane {
    /// Read first, never refused for load.
    Control,
    /// Contributions; refused past the high-water mark.
    Intake,
}

impl Item {
    /// Whose row its reader needs.
    pub fn contributor(&self) -> Option<&str> {
        match self {
            Self::Contribution(submission) => Some(&submission.contributor),
            Self::Consent(consent) => Some(&consent.contributor),
            Self::Withdrawal(withdrawal) => Some(&withdrawal.contributor),
            Self::Transfer(_) | Self::Command { .. } => None,
        }
    }

    /// The slot of the data key that its reader needs.
    pub fn data_key(&self) -> Option<u64> {
        match self {
            Self::Contribution(submission) => Some(submission.data_key),
            Self::Consent(_) | Self::Withdrawal(_) | Self::Transfer(_) | Self::Command { .. } => {
                None
            }
        }
    }

    /// The lane it travels in.
    pub fn lane(&self) -> Lane {
        match self {
            Self::Contribution(_) => Lane::Intake,
            Self::Consent(_) | Self::Withdrawal(_) | Self::Transfer(_) | Self::Command { .. } => {
                Lane::Control
            }
        }
    }
}

impl Record for Item {
    const SCHEMA: u8 = 1;
    const VERSION: u8 = 1;
}
