use super::*;
use crate::id::IdKey;
use crate::program::{Band, Rates};
use crate::submission::Terms;

const NOW: Timestamp = Timestamp(1_000);

fn terms(version: &str) -> Terms {
    Terms { version: version.to_owned(), sha256: "ab".repeat(32), uri: "terms/1".into() }
}

fn program() -> Program {
    Program {
        id: "p".into(),
        workflow: "w".into(),
        currency: won(),
        budget_micro: 0,
        purpose: "training".into(),
        terms: terms("1"),
        day_cap_micro: None,
        utc_offset_minutes: 540,
        rates: Rates { version: 1, bands: vec![Band { from: 0, bp: 10_000 }], demand_bp: 10_000 },
        tasks: [].into(),
    }
}

fn won() -> Currency {
    Currency::try_from("KRW".to_owned()).unwrap()
}

fn submission(modality: Modality) -> Submission {
    Submission {
        id: IdKey::new([7; 32]).contribution("ana", "clip"),
        contributor: "ana".into(),
        idempotency_key: "clip".into(),
        program: "p".into(),
        task: "t".into(),
        modality,
        language: None,
        media: None,
        transcript: None,
        captured_at: None,
        data_key: 0,
        at: NOW,
    }
}

fn consent(grant: &str, at: u64) -> Consent {
    Consent {
        contributor: "ana".into(),
        grant: grant.to_owned(),
        program: "p".into(),
        purposes: vec!["other".into(), "training".into()],
        modalities: vec![Modality::Image, Modality::Voice],
        terms: terms("1").into(),
        expires_at: None,
        at: Timestamp(at),
    }
}

fn mark(scope: Scope, position: Arrival) -> Mark {
    Mark { scope, position, at: NOW }
}

fn grant(id: &str) -> Scope {
    Scope::Grant(id.to_owned())
}

fn holding(consents: impl IntoIterator<Item = (Consent, Arrival)>) -> Contributor {
    let mut contributor = Contributor::default();
    for (consent, position) in consents {
        contributor.give(consent, position);
    }
    contributor
}

/// What covers a voice clip that arrives at 10.
fn covering(contributor: &Contributor) -> Result<&str, Refusal> {
    let clip = submission(Modality::Voice);
    let grant = contributor.covering(&program(), &clip, 10, NOW)?;
    Ok(&grant.consent.grant)
}

#[test]
fn a_grant_covers_only_what_it_names() {
    let good = || consent("g", 1);
    let cases = [
        (good(), Ok("g")),
        (Consent { program: "q".into(), ..good() }, Err(Refusal::NoGrant)),
        (Consent { terms: terms("2").into(), ..good() }, Err(Refusal::Terms)),
        (Consent { purposes: vec!["other".into()], ..good() }, Err(Refusal::Purpose)),
        (Consent { modalities: vec![Modality::Image], ..good() }, Err(Refusal::Modality)),
        (Consent { expires_at: Some(NOW), ..good() }, Err(Refusal::Expired)),
        (Consent { expires_at: Some(NOW.plus_ms(1)), ..good() }, Ok("g")),
    ];
    for (consent, expected) in cases {
        let contributor = holding([(consent.clone(), 1)]);
        assert_eq!(covering(&contributor), expected, "{consent:?}");
    }
    assert_eq!(covering(&Contributor::default()), Err(Refusal::NoGrant));
}

#[test]
fn without_media_every_modality_is_granted() {
    let contributor = holding([(Consent { modalities: vec![], ..consent("g", 1) }, 1)]);
    let none = submission(Modality::None);
    assert!(contributor.covering(&program(), &none, 10, NOW).is_ok());
}

#[test]
fn a_grant_counts_for_what_arrives_after_it() {
    assert_eq!(covering(&holding([(consent("g", 1), 9)])), Ok("g"));
    for position in [10, 11] {
        assert_eq!(covering(&holding([(consent("g", 1), position)])), Err(Refusal::NoGrant));
    }
}

#[test]
fn the_newest_grant_is_pinned_and_ties_go_by_place_then_by_id() {
    let newest = |consents| covering(&holding(consents)).unwrap().to_owned();
    assert_eq!(newest(vec![(consent("a", 5), 1), (consent("b", 4), 2)]), "a");
    assert_eq!(newest(vec![(consent("b", 5), 1), (consent("a", 5), 2)]), "a");
    assert_eq!(newest(vec![(consent("a", 5), 1), (consent("b", 5), 1)]), "b");
    assert_eq!(newest(vec![(consent("b", 5), 1), (consent("a", 5), 1)]), "b");
}

#[test]
fn an_older_grant_covers_where_the_newest_does_not() {
    let expired = Consent { expires_at: Some(Timestamp(5)), ..consent("new", 5) };
    assert_eq!(covering(&holding([(consent("old", 1), 1), (expired, 2)])), Ok("old"));
}

#[test]
fn the_reason_is_that_of_the_grant_closest_to_a_valid_one() {
    let elsewhere = Consent { program: "q".into(), ..consent("a", 1) };
    let purpose = Consent { purposes: vec![], ..consent("b", 1) };
    let expired = Consent { expires_at: Some(NOW), ..consent("c", 1) };
    let contributor = holding([(expired, 1), (elsewhere, 2), (purpose, 3)]);
    assert_eq!(covering(&contributor), Err(Refusal::Expired));
}

#[test]
fn a_mark_takes_back_what_stood_before_it() {
    let program = || Scope::Program("p".into());
    let cases = [
        (grant("g"), 7, Err(Refusal::Withdrawn)),
        (grant("g"), 10, Err(Refusal::Withdrawn)),
        (grant("g"), 11, Err(Refusal::WithdrawnSince)),
        (grant("g"), 3, Err(Refusal::Withdrawn)),
        (grant("h"), 7, Ok("g")),
        (program(), 7, Err(Refusal::Withdrawn)),
        (program(), 11, Err(Refusal::WithdrawnSince)),
        (program(), 3, Ok("g")),
        (program(), 5, Ok("g")),
        (Scope::Program("q".into()), 7, Ok("g")),
        (Scope::All, 7, Err(Refusal::Withdrawn)),
        (Scope::All, 11, Err(Refusal::WithdrawnSince)),
        (Scope::All, 3, Ok("g")),
        (Scope::All, 5, Ok("g")),
    ];
    for (scope, position, expected) in cases {
        let mut contributor = holding([(consent("g", 1), 5)]);
        contributor.withdraw(mark(scope.clone(), position));
        assert_eq!(covering(&contributor), expected, "{scope:?} at {position}");
        assert_eq!(contributor.stands("g"), expected.is_ok());
        assert_eq!(contributor.mark_on("g", "p", 5).is_some(), expected.is_err());
    }
}

#[test]
fn a_withdrawn_grant_never_revives_and_a_new_one_covers() {
    let mut contributor = holding([(consent("g", 1), 1)]);
    contributor.withdraw(mark(Scope::All, 2));
    contributor.give(consent("g", 3), 3);
    assert_eq!(covering(&contributor), Err(Refusal::Withdrawn));
    contributor.give(consent("h", 4), 4);
    assert_eq!(covering(&contributor), Ok("h"));
}

#[test]
fn marks_have_a_bound_and_every_grant_stays_taken_back() {
    let grants = (0..100).map(|n| (consent(&format!("g{n}"), 1), n));
    let mut contributor = holding(grants);
    for n in 0..2000 {
        contributor.withdraw(mark(grant(&format!("g{}", n % 100)), 1000 + n));
        contributor.withdraw(mark(grant(&format!("stranger{n}")), 1000 + n));
        assert!(contributor.marks.len() <= limits::MARKS_MAX);
    }
    for n in 0..100 {
        assert!(!contributor.stands(&format!("g{n}")), "g{n}");
    }
}

#[test]
fn marks_that_say_nothing_make_room_only_when_there_are_too_many() {
    let mut contributor = holding([(consent("g", 1), 1)]);
    contributor.withdraw(mark(grant("g"), 2));
    for n in 1..limits::MARKS_MAX as u64 {
        contributor.withdraw(mark(grant("stranger"), 2 + n));
        assert_eq!(contributor.marks.len() as u64, 1 + n);
    }
    contributor.withdraw(mark(grant("stranger"), 9999));
    assert_eq!(contributor.marks, [mark(grant("g"), 2)]);
}

/// The held grants' ids, in their order.
fn held(contributor: &Contributor) -> Vec<&str> {
    contributor.grants.iter().map(|grant| grant.consent.grant.as_str()).collect()
}

/// As many grants as one may hold: g0, g1, …
fn full() -> Contributor {
    holding((0..limits::GRANTS_MAX as u64).map(|n| (consent(&format!("g{n}"), n), n)))
}

#[test]
fn grants_may_take_exactly_their_bound_in_bytes() {
    let with_uri = |grant: &str, bytes: usize| Consent {
        terms: Terms { uri: "u".repeat(bytes), ..terms("1") }.into(),
        ..consent(grant, 1)
    };
    let room = limits::GRANTS_BYTES_MAX - with_uri("g", 0).bytes() - with_uri("h", 0).bytes();
    for (bytes, expected) in [(room, vec!["g", "h"]), (room + 1, vec!["h"])] {
        let contributor = holding([(with_uri("g", bytes), 1), (with_uri("h", 0), 2)]);
        assert_eq!(held(&contributor), expected);
    }
}

#[test]
fn the_newest_consent_always_takes_effect_within_the_bounds() {
    let mut contributor = full();
    assert_eq!(contributor.give(consent("g1", 1), 999), 0, "it is held");
    assert_eq!(contributor.grants.len(), limits::GRANTS_MAX);
    assert_eq!(contributor.give(consent("more", 1), 999), 1);
    assert_eq!(contributor.grants.len(), limits::GRANTS_MAX);
    assert_eq!((held(&contributor)[0], *held(&contributor).last().unwrap()), ("g1", "more"));

    let mut contributor = Contributor::default();
    let long = |n: u64| Consent {
        grant: format!("{n:0128}"),
        purposes: vec!["x".repeat(limits::NAME_BYTES_MAX); limits::GRANT_LIST_MAX],
        terms: Terms { uri: "u".repeat(limits::URI_BYTES_MAX), ..terms("1") }.into(),
        ..consent("", n)
    };
    for n in 0..1000 {
        contributor.give(long(n), n);
        assert_eq!(contributor.grants.last().unwrap().position, n);
    }
    assert!(contributor.grants.len() < limits::GRANTS_MAX);
    for n in 0..10_000 {
        contributor.withdraw(mark(grant(&format!("{n:0128}")), n));
    }
    assert!(crate::codec::encode(&contributor).is_ok());
}

#[test]
fn grants_that_cover_nothing_any_more_make_room_first_and_the_only_one_of_a_program_last() {
    let mut contributor = full();
    let ended = Consent { expires_at: Some(Timestamp(5)), ..consent("ended", 1) };
    contributor.grants[0].consent = Consent { program: "q".into(), ..consent("g0", 0) }.into();
    contributor.grants[7].consent = ended.into();
    contributor.withdraw(mark(grant("g9"), 1000));
    let lapsed: Vec<usize> =
        (1..=3).map(|n| contributor.give(consent(&format!("new{n}"), 9), 1000 + n)).collect();
    assert_eq!(lapsed, [0, 0, 1]);
    let held = held(&contributor);
    assert_eq!(held[..3], ["g0", "g2", "g3"]);
    assert!(!held.contains(&"ended") && !held.contains(&"g9") && !held.contains(&"g1"));
}

#[test]
fn what_a_grant_was_that_made_room_is_not_forgotten_by_a_mark() {
    let mut contributor = full();
    contributor.withdraw(mark(Scope::Program("p".into()), 500));
    contributor.give(consent("new", 9), 1000);
    assert!(!contributor.stands("g0") && contributor.stands("new"));
    assert!(contributor.mark_on("g0", "p", 0).is_some());
    assert_eq!(contributor.mark_on("new", "p", 1000), None);
}

#[test]
fn a_day_is_counted_and_given_back_by_itself() {
    let mut contributor = Contributor::default();
    contributor.count_day("p", 1, 5);
    contributor.count_day("p", 1, 6);
    contributor.count_day("q", 1, 1);
    contributor.uncount_day("p", 1, 4);
    assert_eq!((contributor.earned("p", 1), contributor.earned("q", 1)), (7, 1));
    contributor.uncount_day("q", 1, 1);
    assert_eq!((contributor.earned("p", 1), contributor.earned("q", 1)), (7, 0));
    contributor.count_day("p", 2, 3);
    contributor.uncount_day("p", 1, 9);
    assert_eq!((contributor.earned("p", 1), contributor.earned("p", 2)), (0, 3));
    assert_eq!(contributor.days.len(), 2);
}

#[test]
fn counters_stop_at_their_limit_and_at_their_number() {
    let mut contributor = Contributor::default();
    let counted = [(); 4].map(|()| contributor.count("a", 2));
    assert_eq!(counted, [true, true, false, false]);
    assert!(!contributor.count("none", 0));
    for n in 0..limits::COUNTERS_MAX {
        contributor.count(&format!("c{n}"), 1);
    }
    assert_eq!(contributor.counters.len(), limits::COUNTERS_MAX);
    assert!(!contributor.count("one more", 1));
}

#[test]
fn a_carry_is_replaced_and_zero_is_not_kept() {
    let mut contributor = Contributor::default();
    contributor.set_carry(won(), 5);
    contributor.set_carry(won(), 6);
    assert_eq!((contributor.carry(won()), contributor.carry.len()), (6, 1));
    contributor.set_carry(won(), 0);
    assert_eq!((contributor.carry(won()), contributor.carry.len()), (0, 0));
}
