use super::*;
use serde_json::json;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn contribution_line() -> Value {
    json!({"contributor": "kr-1", "idempotency_key": "k", "program": "p", "task": "t",
        "modality": "voice", "media": {"uri": "a.wav"}})
}

fn problem(line: &Value) -> (String, Code) {
    let problem = parse(line.to_string().as_bytes(), NOW).unwrap_err();
    (problem.field, problem.code)
}

fn with(field: &str, value: Value) -> Value {
    let mut line = contribution_line();
    line[field] = value;
    line
}

#[test]
fn a_good_line_is_read_and_its_body_does_not_depend_on_the_order_of_fields() {
    let line = contribution_line().to_string();
    let Ok(Line::Contribution(one)) = parse(line.as_bytes(), NOW) else { panic!() };
    let turned = r#"{"media":{"uri":"a.wav"},"task":"t","program":"p","modality":"voice",
        "idempotency_key":"k","contributor":"kr-1"}"#;
    let Ok(Line::Contribution(other)) = parse(turned.as_bytes(), NOW) else { panic!() };
    assert_eq!(one, other);
}

#[test]
fn a_field_that_is_named_twice_is_refused_by_its_name() {
    let line = r#"{"contributor": "a", "idempotency_key": "k", "contributor": "b"}"#;
    let told = parse(line.as_bytes(), NOW).unwrap_err();
    assert_eq!((told.field.as_str(), told.code), ("contributor", Code::InvalidField));
    let line = r#"{"consent": {"terms": {"version": "1", "version": "2"}}}"#;
    let told = parse(line.as_bytes(), NOW).unwrap_err();
    assert_eq!((told.field.as_str(), told.code), ("consent.terms.version", Code::InvalidField));
}

#[test]
fn what_stands_alone_is_read_as_in_a_line() {
    let inner = json!({"contributor": "a", "program": "p", "purposes": ["x"],
        "modalities": ["voice"],
        "terms": {"version": "1", "sha256": "0".repeat(64), "uri": "u"}});
    let line = json!({ "consent": inner }).to_string();
    let Ok(Line::Consent(in_line)) = parse(line.as_bytes(), NOW) else { panic!() };
    assert_eq!(parse_consent(inner.to_string().as_bytes()), Ok(in_line));
    let told = parse_withdraw(br#"{"contributor": "a"}"#).unwrap_err();
    assert_eq!((told.field.as_str(), told.code), ("grant", Code::MissingField));
    assert_eq!(parse_contribution(b"[]", NOW).unwrap_err().code, Code::MalformedJson);
}

#[test]
fn every_bad_field_is_named_with_its_code() {
    let long = "x".repeat(129);
    let cases = [
        (with("contributor", json!("")), "contributor", Code::InvalidField),
        (with("contributor", json!(long)), "contributor", Code::InvalidField),
        (with("contributor", json!("a\u{0}b")), "contributor", Code::InvalidField),
        (with("contributor", json!(7)), "contributor", Code::InvalidField),
        (with("program", json!("../etc")), "program", Code::InvalidField),
        (with("modality", json!("smell")), "modality", Code::InvalidField),
        (with("language", json!("k")), "language", Code::InvalidField),
        (with("language", json!("한국어")), "language", Code::InvalidField),
        (with("captured_at", json!("99999-01-01")), "captured_at", Code::InvalidField),
        (with("captured_at", json!("2999-01-01T00:00:00Z")), "captured_at", Code::InvalidField),
        (with("media", json!({})), "media.uri", Code::MissingField),
        (with("media", json!({"sha256": "AB"})), "media.sha256", Code::InvalidField),
        (with("media", json!({"uri": "a", "x": 1})), "media.x", Code::UnknownField),
        (with("media", json!(null)), "media", Code::MissingField),
        (with("modality", json!("none")), "media", Code::InvalidField),
        (with("extra", json!(1)), "extra", Code::UnknownField),
        (json!({"withdraw": {"contributor": "a"}}), "withdraw.grant", Code::MissingField),
        (json!({"withdraw": {}, "consent": {}}), "withdraw", Code::UnknownField),
        (json!({"consent": 1}), "consent", Code::InvalidField),
        (
            json!({"consent": {"contributor": "a", "program": "p"}}),
            "consent.purposes",
            Code::MissingField,
        ),
    ];
    for (line, field, code) in cases {
        assert_eq!(problem(&line), (field.to_owned(), code), "{line}");
    }
}

#[test]
fn what_is_no_object_is_malformed() {
    for line in ["", "[]", "7", "{", "{\"a\":1}}", "\u{feff}{}"] {
        assert_eq!(parse(line.as_bytes(), NOW).unwrap_err().code, Code::MalformedJson, "{line}");
    }
    assert_eq!(parse(b"\xff\xfe", NOW).unwrap_err().code, Code::MalformedJson);
    let deep = "[".repeat(10_000);
    assert_eq!(parse(deep.as_bytes(), NOW).unwrap_err().code, Code::MalformedJson);
}

#[test]
fn names_in_any_normal_form_and_with_shell_characters_are_just_names() {
    for name in ["\u{1100}\u{1161}", "가", "$(reboot)`;|&", "a b"] {
        let line = with("contributor", json!(name));
        assert!(parse(line.to_string().as_bytes(), NOW).is_ok(), "{name}");
    }
}

#[test]
fn a_consent_without_an_id_gets_one_from_its_whole_object() {
    let consent = |purpose: &str| {
        let line = json!({"consent": {"contributor": "a", "program": "p", "purposes": [purpose],
            "modalities": ["voice"],
            "terms": {"version": "1", "sha256": "00".repeat(32), "uri": "u"}}});
        match parse(line.to_string().as_bytes(), NOW) {
            Ok(Line::Consent(consent)) => consent.grant,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(consent("ai"), consent("ai"));
    assert_ne!(consent("ai"), consent("ads"));
}

#[test]
fn lines_are_read_with_a_bound_and_the_next_one_is_still_read() {
    let text = format!("{{}}\n{}\nlast", "x".repeat(LINE_BYTES_MAX * 3));
    let mut input = std::io::Cursor::new(text);
    assert_eq!(next_line(&mut input).unwrap(), Some(Ok(b"{}".to_vec())));
    assert_eq!(next_line(&mut input).unwrap(), Some(Err(TooLong)));
    assert_eq!(next_line(&mut input).unwrap(), Some(Ok(b"last".to_vec())));
    assert_eq!(next_line(&mut input).unwrap(), None);
}
