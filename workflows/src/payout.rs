//! What to do next about a payout whose fate may be unknown. Source: the design's protocol of
//! rails, after Stripe's and Toss Payments' rules for idempotency keys.
//!
//! A key is sent again only within the rail's window less a margin; "not found" counts only after
//! the settle time; later only asking is allowed, and then a person decides.

use crate::time::Timestamp;

/// What a rail promises, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// How long a key is recognised after its first use.
    pub key_window_ms: u64,
    /// How long after a submission the rail may still apply it.
    pub settle_ms: u64,
    /// How much of the window is left unused.
    pub margin_ms: u64,
}

/// What is known of a payout at its rail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It was never sent: its release was committed in this life of the shard.
    Fresh,
    /// It may have been sent: memory was lost, or a reply.
    Unknown,
    /// The rail has it and is not done.
    Pending,
    /// The rail did not know the key when asked at this moment.
    NotFound(Timestamp),
}

/// The next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Send it, under its own key as ever.
    Send,
    /// Ask for it.
    Ask,
    /// Ask for it, but not before this moment.
    AskAt(Timestamp),
    /// Nothing more can be done safely.
    Expired,
}

/// The next step for a payout released at `sent`, of which the rail last answered `known`.
pub fn next(promise: Promise, sent: Timestamp, known: Known, now: Timestamp) -> Step {
    let resend_until = sent.plus_ms(promise.key_window_ms.saturating_sub(promise.margin_ms));
    let may_send = now < resend_until;
    match known {
        Known::Fresh if may_send => Step::Send,
        Known::Fresh | Known::Unknown => Step::Ask,
        Known::Pending => Step::AskAt(now.plus_ms(promise.settle_ms / 4)),
        Known::NotFound(_) if may_send => Step::Send,
        Known::NotFound(asked) => {
            let settled = resend_until.plus_ms(promise.settle_ms);
            if asked >= settled { Step::Expired } else { Step::AskAt(settled) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMISE: Promise = Promise { key_window_ms: 1000, settle_ms: 200, margin_ms: 100 };
    const SENT: Timestamp = Timestamp(10_000);

    fn at(ms: u64) -> Timestamp {
        SENT.plus_ms(ms)
    }

    #[test]
    fn a_lost_reply_is_asked_for_before_it_is_sent_again() {
        assert_eq!(next(PROMISE, SENT, Known::Fresh, SENT), Step::Send);
        assert_eq!(next(PROMISE, SENT, Known::Unknown, at(5)), Step::Ask);
        assert_eq!(next(PROMISE, SENT, Known::NotFound(at(5)), at(5)), Step::Send);
    }

    #[test]
    fn a_pending_payout_is_asked_for_four_times_in_the_time_it_takes() {
        assert_eq!(next(PROMISE, SENT, Known::Pending, at(5)), Step::AskAt(at(55)));
    }

    #[test]
    fn past_the_window_nothing_is_sent_whatever_the_rail_says() {
        for known in [Known::Fresh, Known::Unknown, Known::Pending, Known::NotFound(at(900))] {
            assert_ne!(next(PROMISE, SENT, known, at(900)), Step::Send, "{known:?}");
        }
        assert_eq!(next(PROMISE, SENT, Known::NotFound(at(900)), at(900)), Step::AskAt(at(1100)));
        assert_eq!(next(PROMISE, SENT, Known::NotFound(at(1100)), at(1100)), Step::Expired);
    }
}
