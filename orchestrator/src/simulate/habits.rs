//! What a contributor's habits allow a contribution to come to.

use super::population::{Carries, Contributor, Withdrawal};
use gristmill_workflows::submission::Modality;

/// What good media are not rejected for.
const OF_BAD_MEDIA: [&str; 8] = [
    "undecodable",
    "wrong_modality",
    "wrong_language",
    "too_short",
    "too_long",
    "too_large",
    "below_floor",
    "decoder_limit",
];
/// What broken media of somebody who consents are rejected for, and of somebody who took it back.
const OF_BROKEN_MEDIA: [&str; 2] = ["undecodable", "grant_withdrawn"];

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

/// What is not as a contribution's media allow, for somebody who gave consent; `copied`: somebody may
/// have handed in the same.
#[must_use]
pub fn odd_media(carries: &Carries, copied: bool, stands: &Stands<'_>) -> Option<&'static str> {
    let Stands { accepted, reason, .. } = *stands;
    if carries.broken && accepted {
        Some("was accepted although its media do not decode")
    } else if carries.broken && reason.is_some_and(|reason| !OF_BROKEN_MEDIA.contains(&reason)) {
        Some("has media that do not decode and was rejected for something else")
    } else if !carries.broken && reason.is_some_and(|reason| OF_BAD_MEDIA.contains(&reason)) {
        Some("was rejected for its media, which are good")
    } else if reason == Some("duplicate") && (carries.modality == Modality::None || !copied) {
        Some("was rejected as a duplicate, and is none")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: Contributor =
        Contributor { contributions: 2, consents: true, withdraws: None, modality: Modality::None };
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

    #[test]
    fn media_come_to_what_they_are() {
        let good = Carries { modality: Modality::Voice, broken: false, of: (1, 0) };
        let broken = Carries { broken: true, ..good };
        let for_reason =
            |word: &'static str| Stands { accepted: false, reason: Some(word), ..SETTLED };
        let fine = [
            (good, false, SETTLED),
            (good, true, for_reason("duplicate")),
            (good, false, for_reason("cap_reached")),
            (broken, false, for_reason("undecodable")),
            (broken, false, for_reason("grant_withdrawn")),
        ];
        for (carries, copied, stands) in fine {
            assert_eq!(odd_media(&carries, copied, &stands), None, "{carries:?} {stands:?}");
        }
        let none = Carries { modality: Modality::None, ..good };
        let odd = [
            (broken, false, SETTLED),
            (broken, false, for_reason("below_floor")),
            (good, false, for_reason("undecodable")),
            (good, false, for_reason("duplicate")),
            (none, true, for_reason("duplicate")),
        ];
        for (carries, copied, stands) in odd {
            assert!(odd_media(&carries, copied, &stands).is_some(), "{carries:?} {stands:?}");
        }
    }
}
