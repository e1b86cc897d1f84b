//! Entries of the public log: canonical JSON (RFC 8785) with integers up to 2^53 - 1, commitments
//! instead of personal data, and the openings that a receipt carries.
//!
//! The structs list their fields in the order of their keys, so that serde_json writes canonical
//! JSON at once; a test holds them against a JCS library.

use crate::id::{ContributionId, IdKey, hex, hmac};
use crate::price::Price;
use crate::submission::{Submission, Terms};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};

/// The data key of one contribution: salts derive from it, blobs are encrypted under it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DataKey(pub [u8; 32]);

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey(secret)")
    }
}

impl DataKey {
    /// The key of a contribution whose own key was destroyed: what is committed under it cannot be
    /// opened by a receipt, and without `id.key` by nobody.
    pub fn blind(key: &IdKey, id: ContributionId) -> Self {
        Self(key.blind(id))
    }

    /// The salt of one field: HMAC-SHA256(data key, "salt/v1" 0x00 entry 0x00 field). Without the
    /// data key it is 32 random bytes, independent of every other.
    pub fn salt(&self, entry: &str, field: &str) -> [u8; 32] {
        hmac(&self.0, &[b"salt/v1\0", entry.as_bytes(), b"\0", field.as_bytes()])
    }
}

/// One committed value: base64 of HMAC-SHA256(salt, "trace-commit/v1" 0x00 field 0x00 JCS(value)).
pub fn commitment(salt: &[u8; 32], field: &str, value: &Value) -> String {
    let canonical = serde_jcs::to_vec(value).expect("strings and small integers are canonical");
    let mac = hmac(salt, &[b"trace-commit/v1\0", field.as_bytes(), b"\0", &canonical]);
    STANDARD.encode(mac)
}

/// The same of a value whose serde form is canonical: a text, a whole number up to 2^53 - 1, or a
/// struct of such whose fields stand in the order of their keys.
fn committed(key: &DataKey, entry: &str, field: &str, value: &impl Serialize) -> String {
    let mac = hmac(
        &key.salt(entry, field),
        &[b"trace-commit/v1\0", field.as_bytes(), b"\0", &bytes(value)],
    );
    STANDARD.encode(mac)
}

/// [`Terms`] in the order of its keys.
#[derive(Serialize)]
struct CanonicalTerms<'a> {
    sha256: &'a str,
    uri: &'a str,
    version: &'a str,
}

/// Bytes that most entries do not exceed.
const BYTES_USUAL: usize = 768;

/// A committed field: its name and value.
pub type Opened = (&'static str, Value);

/// What a contribution's entry commits to.
pub fn contribution_fields(submission: &Submission, grant: &str, terms: &Terms) -> [Opened; 4] {
    let media = submission.media.as_ref().map(|media| hex(&media.sha256));
    [
        ("contributor", json!(submission.contributor)),
        ("grant", json!(grant)),
        ("media", json!(media)),
        ("terms", json!(terms)),
    ]
}

/// What a payout's entry commits to.
pub fn payout_fields(account: &str, carry: u64, reference: &str) -> [Opened; 3] {
    [("account", json!(account)), ("carry", json!(carry)), ("reference", json!(reference))]
}

#[derive(Serialize)]
struct Commit4 {
    contributor: String,
    grant: String,
    media: String,
    terms: String,
}

#[derive(Serialize)]
struct ContributionEntry<'a> {
    capped: &'static str,
    card: u64,
    commit: Commit4,
    currency: &'a str,
    demand_bp: u32,
    id: String,
    kind: &'static str,
    micro: u64,
    modality: &'static str,
    quality_bp: u32,
    score: u16,
    scorer: &'a str,
    task: &'a str,
    units: u64,
    v: u8,
    workflow: &'a str,
}

/// What a contribution's entry says.
#[derive(Debug)]
pub struct Contribution<'a> {
    /// As handed in.
    pub submission: &'a Submission,
    /// The pinned grant's id.
    pub grant: &'a str,
    /// The terms it was given under.
    pub terms: &'a Terms,
    /// The index of the rate card's entry.
    pub card: u64,
    /// The locked price.
    pub price: &'a Price,
    /// ISO 4217.
    pub currency: &'a str,
    /// Version of what measured and scored.
    pub scorer: &'a str,
    /// The workflow's hash, hex.
    pub workflow: &'a str,
}

/// The bytes of a `contribution` entry.
pub fn contribution(key: &IdKey, data_key: &DataKey, entry: &Contribution<'_>) -> Vec<u8> {
    let kind = "contribution";
    let media = entry.submission.media.as_ref().map(|media| hex(&media.sha256));
    let Terms { version, sha256, uri } = entry.terms;
    let contributor = committed(data_key, kind, "contributor", &entry.submission.contributor);
    let grant = committed(data_key, kind, "grant", &entry.grant);
    let media = committed(data_key, kind, "media", &media);
    let terms = committed(data_key, kind, "terms", &CanonicalTerms { sha256, uri, version });
    bytes(&ContributionEntry {
        capped: entry.price.capped.as_str(),
        card: entry.card,
        commit: Commit4 { contributor, grant, media, terms },
        currency: entry.currency,
        demand_bp: entry.price.demand_bp,
        id: key.public(kind, &entry.submission.id.to_string()),
        kind,
        micro: entry.price.micro,
        modality: entry.submission.modality.as_str(),
        quality_bp: entry.price.quality_bp,
        score: entry.price.score,
        scorer: entry.scorer,
        task: &entry.submission.task,
        units: entry.price.units,
        v: 1,
        workflow: entry.workflow,
    })
}

#[derive(Serialize)]
struct Commit3 {
    account: String,
    carry: String,
    reference: String,
}

#[derive(Serialize)]
struct PayoutEntry<'a> {
    cause: &'a str,
    commit: Commit3,
    currency: &'a str,
    id: String,
    kind: &'static str,
    minor: u64,
    of: [u64; 1],
    rail: &'a str,
    v: u8,
}

/// The kind of a payout's entry.
pub const PAYOUT: &str = "payout";

/// What a payout's entry says.
#[derive(Debug)]
pub struct Payout<'a> {
    /// The payout's internal id.
    pub id: &'a str,
    /// Why it is owed.
    pub cause: &'a str,
    /// The contribution's index.
    pub of: u64,
    /// Whole minor units.
    pub minor: u64,
    /// ISO 4217.
    pub currency: &'a str,
    /// The rail's name.
    pub rail: &'a str,
    /// The account at the rail.
    pub account: &'a str,
    /// What stayed with the contributor, in micro-units.
    pub carry: u64,
}

/// The bytes of a `payout` entry.
pub fn payout(key: &IdKey, data_key: &DataKey, entry: &Payout<'_>) -> Vec<u8> {
    let account = committed(data_key, entry.id, "account", &entry.account);
    let carry = committed(data_key, entry.id, "carry", &entry.carry);
    let reference = committed(data_key, entry.id, "reference", &entry.id);
    bytes(&PayoutEntry {
        cause: entry.cause,
        commit: Commit3 { account, carry, reference },
        currency: entry.currency,
        id: key.public(PAYOUT, entry.id),
        kind: PAYOUT,
        minor: entry.minor,
        of: [entry.of],
        rail: entry.rail,
        v: 1,
    })
}

/// The bytes of a `withdrawal` entry.
pub fn withdrawal(key: &IdKey, contribution: ContributionId, of: u64, scope: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct WithdrawalEntry<'a> {
        id: String,
        kind: &'static str,
        of: [u64; 1],
        scope: &'a str,
        v: u8,
    }
    let id = key.public("withdrawal", &contribution.to_string());
    bytes(&WithdrawalEntry { id, kind: "withdrawal", of: [of], scope, v: 1 })
}

/// The internal id of a `rate_card` entry.
pub fn rate_card_id(program: &str, card: &[u8]) -> String {
    format!("{program}\0{}", hex(card))
}

/// The bytes of a `rate_card` entry; `card` is canonical JSON already.
pub fn rate_card(key: &IdKey, program: &str, card: &[u8]) -> Vec<u8> {
    let id = key.public("rate_card", &rate_card_id(program, card));
    let card = String::from_utf8_lossy(card);
    format!(r#"{{"card":{card},"id":"{id}","kind":"rate_card","program":"{program}","v":1}}"#)
        .into_bytes()
}

fn bytes(entry: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(BYTES_USUAL);
    serde_json::to_writer(&mut bytes, entry).expect("a struct of strings and integers serialises");
    bytes
}

/// The `extra` of a receipt: JCS `{"entry", "openings": {field: {"salt", "value"}}}`.
pub fn openings(entry: &[u8], name: &str, data_key: &DataKey, fields: &[Opened]) -> Vec<u8> {
    let openings: serde_json::Map<String, Value> = fields
        .iter()
        .map(|(field, value)| {
            let salt = STANDARD.encode(data_key.salt(name, field));
            ((*field).to_owned(), json!({ "salt": salt, "value": value }))
        })
        .collect();
    let extra = json!({ "entry": STANDARD.encode(entry), "openings": openings });
    serde_jcs::to_vec(&extra).expect("strings are canonical")
}

#[cfg(test)]
mod tests;
