//! What a contributor's habits allow a contribution to come to.

use super::population::{Contributor, Withdrawal};

/// A contribution as it stands.
#[derive(Debug, Clone, Copy)]
pub struct Stands<'a> {
    /// Its number; none if its key is no number.
    pub nth: Option<u32>,
    /// It has the second body of its key.
    pub second_body: bool,
    /// It was accepted: its entry is in the log, or on its way there.
    pub accepted: bool,
    /// It ended.
    pub ended: bool,
    /// Why it was rejected.
    pub reason: Option<&'a str>,
}

/// What is not as the habits allow.
#[must_use]
pub fn odd(who: &Contributor, stands: &Stands<'_>) -> Option<&'static str> {
    let no_grant = stands.reason == Some("no_grant");
    if stands.nth.is_none_or(|nth| nth >= who.contributions) {
        Some("was never handed in")
    } else if stands.second_body {
        Some("stands with the second body of its key")
    } else if !who.consents && stands.accepted {
        Some("was accepted without consent")
    } else if !who.consents && stands.ended && !no_grant {
        Some("was handed in without consent and ended otherwise than no_grant")
    } else if who.withdraws == Some(Withdrawal::Before) && stands.accepted {
        Some("was accepted although consent was taken back before it was handed in")
    } else if who.consents && no_grant {
        Some("was rejected for want of a consent that was given")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: Contributor = Contributor { contributions: 2, consents: true, withdraws: None };
    const SETTLED: Stands<'static> =
        Stands { nth: Some(1), second_body: false, accepted: true, ended: true, reason: None };

    #[test]
    fn what_habits_allow_is_not_odd_and_each_other_thing_is_told() {
        assert_eq!(odd(&WHO, &SETTLED), None);
        let silent = Contributor { consents: false, ..WHO };
        let back = Contributor { withdraws: Some(Withdrawal::Before), ..WHO };
        let reason = Some("no_grant");
        let rejected = Stands { accepted: false, reason, ..SETTLED };
        let withdrawn = Stands { accepted: false, reason: Some("grant_withdrawn"), ..SETTLED };
        assert_eq!((odd(&silent, &rejected), odd(&back, &withdrawn)), (None, None));
        let cases = [
            (WHO, Stands { nth: Some(2), ..SETTLED }),
            (WHO, Stands { nth: None, ..SETTLED }),
            (WHO, Stands { second_body: true, ..SETTLED }),
            (silent, SETTLED),
            (silent, withdrawn),
            (back, SETTLED),
            (WHO, rejected),
        ];
        for (who, stands) in cases {
            assert!(odd(&who, &stands).is_some(), "{who:?} {stands:?}");
        }
    }
}
