use super::*;
use crate::price::Capped;
use crate::submission::{Media, Modality};
use crate::time::Timestamp;

fn submission(key: &IdKey) -> Submission {
    Submission {
        id: key.contribution("kr-0001", "clip-1"),
        contributor: "kr-0001".into(),
        idempotency_key: "clip-1".into(),
        program: "seoul".into(),
        task: "read-aloud".into(),
        modality: Modality::Voice,
        language: Some("ko".into()),
        media: Some(Media { sha256: [9; 32], bytes: 4 }),
        transcript: None,
        captured_at: None,
        data_key: 0,
        at: Timestamp(0),
    }
}

fn terms() -> Terms {
    Terms { version: "1".into(), sha256: "ab".repeat(32), uri: "terms/한글".into() }
}

fn all_kinds() -> Vec<(&'static str, Vec<u8>)> {
    let key = IdKey::new([7; 32]);
    let data_key = DataKey([3; 32]);
    let submission = submission(&key);
    let price = Price {
        units: 3200,
        score: 8123,
        rate_micro: 30_000,
        quality_bp: 10_000,
        demand_bp: 11_000,
        capped: Capped::None,
        micro: 105_600_000,
    };
    let entry = Contribution {
        submission: &submission,
        grant: "g-1",
        terms: &terms(),
        card: 0,
        price: &price,
        currency: "KRW",
        scorer: "scorer/1",
        workflow: "00112233445566778899aabbccddeeff",
    };
    let paid = Payout {
        id: "p0000",
        cause: "acceptance",
        of: 1,
        minor: 105,
        currency: "KRW",
        rail: "sandbox",
        account: "a00",
        carry: 600_000,
    };
    vec![
        ("rate_card", rate_card(&key, "seoul", br#"{"bands":[],"version":1}"#)),
        ("contribution", contribution(&key, &data_key, &entry)),
        ("payout", payout(&key, &data_key, &paid)),
        ("withdrawal", withdrawal(&key, submission.id, 1, "program")),
    ]
}

#[test]
fn entries_are_canonical_json_as_a_jcs_library_writes_it() {
    for (kind, bytes) in all_kinds() {
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        let canonical = serde_jcs::to_vec(&value).unwrap();
        assert_eq!(String::from_utf8(bytes), String::from_utf8(canonical), "{kind}");
    }
}

/// `GRISTMILL_BLESS=1` writes them anew; the diff is then for a person to judge.
#[test]
fn entries_have_their_golden_bytes() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/entry/golden");
    for (kind, bytes) in all_kinds() {
        let path = folder.join(format!("{kind}.json"));
        if std::env::var_os("GRISTMILL_BLESS").is_some() {
            std::fs::write(&path, &bytes).unwrap();
        }
        let golden = std::fs::read(&path).unwrap();
        assert_eq!(String::from_utf8(bytes), String::from_utf8(golden), "{kind}");
    }
}

#[test]
fn an_opening_opens_its_commitment_and_no_other() {
    let data_key = DataKey([3; 32]);
    let value = json!("kr-0001");
    let salt = data_key.salt("contribution", "contributor");
    let committed = commitment(&salt, "contributor", &value);
    assert_ne!(committed, commitment(&salt, "contributor", &json!("kr-0002")));
    assert_ne!(committed, commitment(&salt, "grant", &value));
    assert_ne!(salt, data_key.salt("contribution", "grant"));
    assert_ne!(salt, data_key.salt("p0000", "contributor"));
}

#[test]
fn commitments_are_those_of_the_canonical_form_whatever_the_text() {
    let (key, data_key) = (IdKey::new([7; 32]), DataKey([3; 32]));
    let odd = "\u{0}\u{1f}\u{7f}\"\\/\u{8}\u{c}\n\r\t한글 \u{2028}\u{1f600}";
    let submission = Submission { contributor: odd.into(), media: None, ..submission(&key) };
    let terms = Terms { version: odd.into(), sha256: odd.into(), uri: odd.into() };
    let paid = Payout {
        id: odd,
        cause: "acceptance",
        of: 1,
        minor: 1,
        currency: "KRW",
        rail: "sandbox",
        account: odd,
        carry: (1 << 53) - 1,
    };
    let price = Price {
        units: 1,
        score: 1,
        rate_micro: 1,
        quality_bp: 1,
        demand_bp: 1,
        capped: Capped::None,
        micro: 1,
    };
    let accepted = Contribution {
        submission: &submission,
        grant: odd,
        terms: &terms,
        card: 0,
        price: &price,
        currency: "KRW",
        scorer: "s",
        workflow: "w",
    };
    let check = |entry: Vec<u8>, name: &str, fields: &[Opened]| {
        let entry: Value = serde_json::from_slice(&entry).unwrap();
        for (field, value) in fields {
            let expected = commitment(&data_key.salt(name, field), field, value);
            assert_eq!(entry["commit"][field], expected, "{field}");
        }
    };
    let fields = contribution_fields(&submission, odd, &terms);
    check(contribution(&key, &data_key, &accepted), "contribution", &fields);
    let fields = payout_fields(paid.account, paid.carry, paid.id);
    check(payout(&key, &data_key, &paid), paid.id, &fields);
}

#[test]
fn a_receipt_carries_the_entry_and_each_salt_with_its_value() {
    let data_key = DataKey([3; 32]);
    let extra = openings(b"{}", "contribution", &data_key, &[("grant", json!("g-1"))]);
    let expected = concat!(
        r#"{"entry":"e30=","openings":{"grant":{"salt":"900RZZg5PDtr9WoOfKgjPCDvrb90YY7ASRVsRFnQq2o=","#,
        r#""value":"g-1"}}}"#,
    );
    assert_eq!(String::from_utf8(extra).unwrap(), expected);
}

#[test]
fn a_data_key_is_not_shown() {
    assert_eq!(format!("{:?}", DataKey([3; 32])), "DataKey(secret)");
}
