use super::*;

fn factor(measure: &str, weight: u32, points: &[(i64, i64)]) -> FactorRule {
    FactorRule { measure: measure.to_owned(), weight, points: points.to_vec() }
}

fn table(worst_bp: u32, factors: Vec<FactorRule>) -> ScoreTable {
    ScoreTable { worst_bp, gates: Vec::new(), factors }
}

fn score_of(table: &ScoreTable, measures: &[(&'static str, i64)]) -> i64 {
    match table.score(&measures.iter().copied().collect()).unwrap() {
        Verdict::Scored { score, .. } => score,
        gate @ Verdict::Gate { .. } => panic!("{gate:?}"),
    }
}

#[test]
fn points_lie_on_the_lines_and_are_constant_outside() {
    let rule = factor("level_cdb", 1, &[(-5_000, 0), (-3_000, 10_000), (-1_000, 4_000)]);
    for (value, points) in [
        (i64::MIN, 0),
        (-5_000, 0),
        (-4_000, 5_000),
        (-3_999, 5_005),
        (-3_000, 10_000),
        (-2_000, 7_000),
        (-1_999, 6_997),
        (i64::MAX, 4_000),
    ] {
        assert_eq!(rule.points(value), points, "{value}");
    }
}

#[test]
fn one_grave_flaw_pulls_down_what_the_mean_would_forgive() {
    let steps = [(0, 0), (10_000, 10_000)];
    let factors = vec![factor("speech_bp", 3, &steps), factor("silence_bp", 1, &steps)];
    let measures = [("speech_bp", 10_000), ("silence_bp", 2_000)];
    assert_eq!(score_of(&table(0, factors.clone()), &measures), 8_000);
    assert_eq!(score_of(&table(5_000, factors.clone()), &measures), 5_000);
    assert_eq!(score_of(&table(10_000, factors), &measures), 2_000);
}

#[test]
fn the_first_broken_gate_names_its_reason_and_bound() {
    let mut table = table(0, vec![factor("duration_ms", 1, &[(0, 10_000)])]);
    let gate = |min, max, reason| GateRule { measure: "duration_ms".to_owned(), min, max, reason };
    table.gates =
        vec![gate(Some(1_000), None, Reason::TooShort), gate(None, Some(9_000), Reason::TooLong)];
    table.validate("voice", VOICE_MEASURES).unwrap();
    let of = |ms| table.score(&BTreeMap::from([("duration_ms", ms)])).unwrap();
    let measure = || "duration_ms".to_owned();
    let (reason, value, bound) = (Reason::TooShort, 999, 1_000);
    assert_eq!(of(999), Verdict::Gate { reason, measure: measure(), value, bound });
    let (reason, value, bound) = (Reason::TooLong, 9_001, 9_000);
    assert_eq!(of(9_001), Verdict::Gate { reason, measure: measure(), value, bound });
    for ms in [1_000, 9_000] {
        assert!(matches!(of(ms), Verdict::Scored { score: 10_000, .. }), "{ms}");
    }
}

#[test]
fn wrong_tables_are_refused_by_name() {
    let flat = [(0, 10_000)];
    let check = |table: &ScoreTable| table.validate("image", IMAGE_MEASURES);
    let unknown = table(0, vec![factor("loudness", 1, &flat)]);
    assert!(matches!(check(&unknown), Err(Error::UnknownMeasure { .. })));
    let unsorted = table(0, vec![factor("width", 1, &[(5, 0), (5, 1)])]);
    assert!(matches!(check(&unsorted), Err(Error::Unsorted { .. })));
    let weightless = table(0, vec![factor("width", 0, &flat)]);
    assert!(matches!(check(&weightless), Err(Error::Range { what: "weight", .. })));
    let too_good = table(0, vec![factor("width", 1, &[(0, 10_001)])]);
    assert!(matches!(check(&too_good), Err(Error::Range { what: "points", .. })));
    let absurd = table(0, vec![factor("width", 1, &[(i64::MAX, 1)])]);
    assert!(matches!(check(&absurd), Err(Error::Range { what: "bound", .. })));
    let worse = table(10_001, vec![factor("width", 1, &flat)]);
    assert!(matches!(check(&worse), Err(Error::Range { what: "worst_bp", .. })));
    assert!(matches!(check(&table(0, vec![])), Err(Error::Count { what: "factors", .. })));
    let mut open = table(0, vec![factor("width", 1, &flat)]);
    let reason = Reason::BelowFloor;
    open.gates.push(GateRule { measure: "width".to_owned(), min: None, max: None, reason });
    assert!(matches!(check(&open), Err(Error::Gate { .. })));
}

#[test]
fn unknown_keys_and_reasons_are_refused_and_missing_measures_named() {
    let json = |text: &str| serde_json::from_str::<ScoreTable>(text);
    assert!(json(r#"{"worst_bp": 0, "factors": [], "extra": 1}"#).is_err());
    let gate =
        r#"{"worst_bp": 0, "factors": [], "gates": [{"measure": "width", "reason": "ugly"}]}"#;
    assert!(json(gate).is_err());
    let table = table(0, vec![factor("width", 1, &[(0, 0)])]);
    let missing = Error::Missing { measure: "width".to_owned() };
    assert_eq!(table.score(&BTreeMap::new()), Err(missing));
}

#[test]
fn a_gate_may_let_one_value_through_and_never_none() {
    let gated = |min, max| {
        let mut table = table(0, vec![factor("width", 1, &[(0, 10_000)])]);
        let (measure, reason) = ("width".to_owned(), Reason::BelowFloor);
        table.gates.push(GateRule { measure, min: Some(min), max: Some(max), reason });
        table.validate("image", IMAGE_MEASURES)
    };
    assert_eq!((gated(7, 8), gated(7, 7)), (Ok(()), Ok(())));
    assert!(matches!(gated(8, 7), Err(Error::Gate { .. })));
}

#[test]
fn every_table_of_the_three_is_checked_against_its_own_measures() {
    let good = || table(0, vec![factor("duration_ms", 1, &[(0, 1)])]);
    let image = || table(0, vec![factor("width", 1, &[(0, 1)])]);
    let tables = || ScoreTables { voice: good(), image: image(), video: good() };
    assert_eq!(tables().validate(), Ok(()));
    let unknown =
        |table, measure: &str| Err(Error::UnknownMeasure { table, measure: measure.to_owned() });
    let bad = ScoreTables { voice: image(), ..tables() };
    assert_eq!(bad.validate(), unknown("voice", "width"));
    let bad = ScoreTables { image: good(), ..tables() };
    assert_eq!(bad.validate(), unknown("image", "duration_ms"));
    let bad = ScoreTables { video: table(0, vec![factor("speech_bp", 1, &[])]), ..tables() };
    assert_eq!(bad.validate(), unknown("video", "speech_bp"));
}

#[test]
fn all_factors_may_have_the_greatest_weight() {
    let factors = ["width", "height", "sharpness"];
    let factors = factors.map(|measure| factor(measure, MAX_WEIGHT, &[(0, 1)])).to_vec();
    assert_eq!(table(0, factors).validate("image", IMAGE_MEASURES), Ok(()));
}

#[test]
fn a_reason_is_shown_by_the_word_it_is_written_with() {
    let all = [
        Reason::Undecodable,
        Reason::WrongModality,
        Reason::WrongLanguage,
        Reason::TooShort,
        Reason::TooLong,
        Reason::TooLarge,
        Reason::BelowFloor,
        Reason::Duplicate,
        Reason::DecoderLimit,
    ];
    for reason in all {
        assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
    }
}
