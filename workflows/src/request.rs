//! What a stage decided, and which changes of shared state it asks for.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A change of shared state that only the shard can decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Pin the newest valid grant that covers the contribution.
    Hold,
    /// Count against a cap of the contributor.
    Count {
        /// The counter's name.
        counter: String,
        /// How often at the most.
        limit: u64,
    },
    /// Be the first to hand in this content.
    Claim,
    /// Price the contribution and reserve the amount from the program's budget.
    Reserve {
        /// What the rate counts.
        units: u64,
        /// 0 to 10,000.
        score: u16,
    },
    /// Accept the contribution: its entry goes to the public log.
    LogContribution {
        /// The version of what measured and scored it.
        scorer: String,
    },
    /// Fix the payout of what was accepted.
    Pay,
    /// The payout was made: its entry goes to the public log.
    LogPayout {
        /// The rail's name.
        rail: String,
    },
}

/// The kinds of request, as the workflow file allows them to a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestKind {
    /// [`Request::Hold`]
    Hold,
    /// [`Request::Count`]
    Count,
    /// [`Request::Claim`]
    Claim,
    /// [`Request::Reserve`]
    Reserve,
    /// [`Request::LogContribution`] and [`Request::LogPayout`]
    Log,
    /// [`Request::Pay`]
    Pay,
}

impl Request {
    /// Its kind.
    pub fn kind(&self) -> RequestKind {
        match self {
            Self::Hold => RequestKind::Hold,
            Self::Count { .. } => RequestKind::Count,
            Self::Claim => RequestKind::Claim,
            Self::Reserve { .. } => RequestKind::Reserve,
            Self::LogContribution { .. } | Self::LogPayout { .. } => RequestKind::Log,
            Self::Pay => RequestKind::Pay,
        }
    }
}

/// Why a contribution was rejected: a word of the contract, or an author's own, prefixed by the
/// stage's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reason(String);

impl Reason {
    /// A word of the contract.
    pub fn known(word: &'static str) -> Self {
        Self(word.to_owned())
    }

    /// An author's own word.
    pub fn own(stage: &str, word: &str) -> Self {
        let mut word: String = word
            .chars()
            .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '_' })
            .collect();
        word.truncate(crate::limits::NAME_BYTES_MAX);
        Self(format!("{stage}_{word}"))
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a standing journey waits for; the contract's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// A stage asked for a later time.
    Timer,
    /// A stage asked for a signal.
    Signal,
    /// The shard's allotment is used up and the home shard was asked.
    Budget,
    /// The same content is claimed by a contribution that is not decided yet.
    ContentClaim,
    /// The next attempt.
    Backoff,
    /// A place in the stage's pool.
    Slots,
    /// The stage's rate.
    Rate,
    /// The stage's downstream is down.
    Circuit,
    /// An operator paused the stage.
    StagePaused,
    /// The shard is between two nodes.
    ShardMoving,
    /// A commit or the log.
    Store,
}

impl Wait {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Timer,
        Self::Signal,
        Self::Budget,
        Self::ContentClaim,
        Self::Backoff,
        Self::Slots,
        Self::Rate,
        Self::Circuit,
        Self::StagePaused,
        Self::ShardMoving,
        Self::Store,
    ];

    /// The contract's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timer => "timer",
            Self::Signal => "signal",
            Self::Budget => "budget",
            Self::ContentClaim => "content_claim",
            Self::Backoff => "backoff",
            Self::Slots => "slots",
            Self::Rate => "rate",
            Self::Circuit => "circuit",
            Self::StagePaused => "stage_paused",
            Self::ShardMoving => "shard_moving",
            Self::Store => "store",
        }
    }
}

/// Why a paused journey is paused; the contract's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Attempts or time ran out.
    Exhausted,
    /// An error that no retry mends.
    Permanent,
    /// The stage or its actor panicked.
    Panic,
    /// The node ended uncleanly while it was admitted, too often.
    KilledNode,
    /// The rail would no longer recognise the payout's key.
    RailWindowExpired,
    /// An operator paused it.
    Operator,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Exhausted,
        Self::Permanent,
        Self::Panic,
        Self::KilledNode,
        Self::RailWindowExpired,
        Self::Operator,
    ];

    /// The contract's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Permanent => "permanent",
            Self::Panic => "panic",
            Self::KilledNode => "killed_node",
            Self::RailWindowExpired => "rail_window_expired",
            Self::Operator => "operator",
        }
    }

    /// The contract's word, read.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == word)
    }

    /// All but an operator's own pause are the quarantine.
    pub fn is_quarantine(self) -> bool {
        self != Self::Operator
    }
}

/// Why an attempt did not decide anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// Another attempt may do better.
    Retryable {
        /// What happened, without personal data.
        detail: String,
        /// The downstream's own wish, in milliseconds.
        after_ms: Option<u64>,
    },
    /// No attempt will do better.
    Permanent {
        /// What happened, without personal data.
        detail: String,
    },
    /// The downstream is down: the attempt is given back.
    Unavailable {
        /// What happened, without personal data.
        detail: String,
        /// How long it asks to be left alone, if it says so.
        after_ms: Option<u64>,
    },
    /// The stage panicked.
    Panic {
        /// The panic's message, cut.
        detail: String,
    },
    /// The attempt took longer than the policy allows.
    Timeout,
    /// What the rail said of the fixed payout.
    Payout(PayoutVerdict),
}

/// A final word of the rail that is not "paid".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PayoutVerdict {
    /// Confirmed: no money moved.
    Failed {
        /// The rail's code.
        code: String,
    },
    /// The rail moved, or says it moved, another amount.
    Differs {
        /// What it says, in minor units.
        minor: u64,
    },
    /// The key's window ended before an answer came.
    WindowExpired,
}

/// What one attempt of a stage came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The stage is done.
    Done {
        /// Its output, a JSON object.
        output: Vec<u8>,
        /// What it asks of the shard.
        requests: Vec<Request>,
    },
    /// The contribution is rejected.
    Reject(Reason),
    /// Come back at this time.
    ParkUntil(Timestamp),
    /// Come back at this signal.
    ParkForSignal(String),
    /// Something else is not decided yet: come back at this time.
    Wait(Wait, Timestamp),
    /// No decision.
    Failed(Failure),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(word: impl Serialize) -> String {
        serde_json::to_value(word).unwrap().as_str().unwrap().to_owned()
    }

    #[test]
    fn waits_and_causes_are_shown_by_the_word_they_are_written_with() {
        for wait in Wait::ALL {
            assert_eq!(wait.as_str(), written(wait));
        }
        for cause in Cause::ALL {
            assert_eq!(cause.as_str(), written(cause));
            assert_eq!(Cause::parse(cause.as_str()), Some(cause));
            assert_eq!(cause.is_quarantine(), cause != Cause::Operator, "{cause:?}");
        }
        assert_eq!(Cause::parse("tired"), None);
    }

    #[test]
    fn an_authors_reason_carries_the_stages_name_and_no_strange_signs() {
        let long = "x".repeat(crate::limits::NAME_BYTES_MAX + 9);
        assert_eq!(Reason::own("fraud", "Odd-1 가").as_str(), "fraud__dd_1__");
        let cut = Reason::own("s", &long);
        assert_eq!(cut.as_str().len(), "s_".len() + crate::limits::NAME_BYTES_MAX);
    }

    #[test]
    fn both_entries_of_the_log_are_asked_for_under_one_kind() {
        let entry = Request::LogContribution { scorer: "s/1".into() };
        let payout = Request::LogPayout { rail: "r".into() };
        assert_eq!((entry.kind(), payout.kind()), (RequestKind::Log, RequestKind::Log));
        let others = [
            (Request::Hold, "hold"),
            (Request::Count { counter: "c".into(), limit: 1 }, "count"),
            (Request::Claim, "claim"),
            (Request::Reserve { units: 1, score: 1 }, "reserve"),
            (Request::Pay, "pay"),
        ];
        for (request, word) in others {
            assert_eq!(written(request.kind()), word);
        }
    }
}
