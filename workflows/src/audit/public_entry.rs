//! Public entries as the audit reads them: from their bytes alone.

use super::public_price::Card;
use crate::id::unhex;
use crate::money::Currency;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

/// A public id.
pub(super) type PublicId = [u8; 16];

/// A word, where it stands in the entry.
#[derive(Deserialize)]
struct Word<'a>(
    #[serde(borrow)]
    #[expect(dead_code, reason = "it has to be a word; which one is not looked at")]
    Cow<'a, str>,
);

/// Commitments by name, which only a receipt opens.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Commitments;

impl<'de> Deserialize<'de> for Commitments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = Commitments;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("words by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Commitments, A::Error> {
                while map.next_entry::<Word<'de>, Word<'de>>()?.is_some() {}
                Ok(Commitments)
            }
        }
        deserializer.deserialize_map(Words)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CardEntry {
    card: Value,
    id: String,
    program: String,
    v: u8,
    #[serde(rename = "kind")]
    _kind: String,
}

/// What a contribution's entry says of its price.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ContributionEntry<'a> {
    #[serde(borrow)]
    pub(super) capped: Cow<'a, str>,
    pub(super) card: u64,
    #[serde(rename = "commit")]
    _commit: Commitments,
    pub(super) currency: Currency,
    pub(super) demand_bp: u64,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    pub(super) micro: u64,
    #[serde(borrow)]
    pub(super) modality: Cow<'a, str>,
    pub(super) quality_bp: u64,
    pub(super) score: u64,
    #[serde(rename = "scorer", borrow)]
    _scorer: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) task: Cow<'a, str>,
    pub(super) units: u64,
    v: u8,
    #[serde(rename = "workflow", borrow)]
    _workflow: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PayoutEntry<'a> {
    #[serde(borrow)]
    cause: Cow<'a, str>,
    #[serde(rename = "commit")]
    _commit: Commitments,
    currency: Currency,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    minor: u64,
    of: Vec<u64>,
    #[serde(rename = "rail", borrow)]
    _rail: Cow<'a, str>,
    v: u8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WithdrawalEntry {
    id: String,
    #[serde(rename = "kind")]
    _kind: String,
    of: Vec<u64>,
    #[serde(rename = "scope")]
    _scope: String,
    v: u8,
}

/// An entry, read.
#[derive(Debug)]
pub(super) enum PublicEntry<'a> {
    /// `program`, the card, and its bytes.
    RateCard { id: PublicId, program: String, card: Card, bytes: Vec<u8> },
    /// A contribution.
    Contribution { id: PublicId, entry: Box<ContributionEntry<'a>> },
    /// A payout.
    Payout { id: PublicId, cause: Cow<'a, str>, currency: Currency, minor: u64, of: Vec<u64> },
    /// A withdrawal.
    Withdrawal { id: PublicId, of: Vec<u64> },
}

/// Reads an entry; says what is wrong with its bytes.
pub(super) fn read(bytes: &[u8]) -> Result<PublicEntry<'_>, String> {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(borrow)]
        kind: Cow<'a, str>,
    }
    let not_json = |error: serde_json::Error| format!("does not read as an entry: {error}");
    // Keys stand in order, and the first one of nearly every entry tells its kind.
    if bytes.starts_with(b"{\"capped\"")
        && let Ok(entry) = serde_json::from_slice::<ContributionEntry<'_>>(bytes)
        && entry.kind == "contribution"
    {
        return contribution(entry);
    }
    if bytes.starts_with(b"{\"cause\"")
        && let Ok(entry) = serde_json::from_slice::<PayoutEntry<'_>>(bytes)
        && entry.kind == "payout"
    {
        return payout(entry);
    }
    let kind: Kind<'_> = serde_json::from_slice(bytes).map_err(not_json)?;
    match &*kind.kind {
        "rate_card" => {
            let entry: CardEntry = serde_json::from_slice(bytes).map_err(not_json)?;
            let id = checked(&entry.id, entry.v)?;
            let bytes = serde_jcs::to_vec(&entry.card).map_err(not_json)?;
            let card = serde_json::from_value(entry.card).map_err(not_json)?;
            Ok(PublicEntry::RateCard { id, program: entry.program, card, bytes })
        }
        "contribution" => contribution(serde_json::from_slice(bytes).map_err(not_json)?),
        "payout" => payout(serde_json::from_slice(bytes).map_err(not_json)?),
        "withdrawal" => {
            let entry: WithdrawalEntry = serde_json::from_slice(bytes).map_err(not_json)?;
            Ok(PublicEntry::Withdrawal { id: checked(&entry.id, entry.v)?, of: entry.of })
        }
        other => Err(format!("is of no known kind: {other:?}")),
    }
}

fn contribution(entry: ContributionEntry<'_>) -> Result<PublicEntry<'_>, String> {
    let id = checked(&entry.id, entry.v)?;
    Ok(PublicEntry::Contribution { id, entry: Box::new(entry) })
}

fn payout(entry: PayoutEntry<'_>) -> Result<PublicEntry<'_>, String> {
    let id = checked(&entry.id, entry.v)?;
    let PayoutEntry { cause, currency, minor, of, .. } = entry;
    Ok(PublicEntry::Payout { id, cause, currency, minor, of })
}

fn checked(id: &str, version: u8) -> Result<PublicId, String> {
    if version != 1 {
        return Err(format!("is of version {version}, not 1"));
    }
    unhex(id).ok_or_else(|| "has an id that is not 32 hex digits".to_owned())
}
