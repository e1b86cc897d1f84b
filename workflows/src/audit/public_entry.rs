//! Public entries as the audit reads them: from their bytes alone.

use super::public_price::Card;
use crate::id::unhex;
use crate::money::Currency;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A public id.
pub(super) type PublicId = [u8; 16];

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
pub(super) struct ContributionEntry {
    pub(super) capped: String,
    pub(super) card: u64,
    #[serde(rename = "commit")]
    _commit: BTreeMap<String, String>,
    pub(super) currency: Currency,
    pub(super) demand_bp: u64,
    id: String,
    #[serde(rename = "kind")]
    _kind: String,
    pub(super) micro: u64,
    pub(super) modality: String,
    pub(super) quality_bp: u64,
    pub(super) score: u64,
    #[serde(rename = "scorer")]
    _scorer: String,
    pub(super) task: String,
    pub(super) units: u64,
    v: u8,
    #[serde(rename = "workflow")]
    _workflow: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PayoutEntry {
    cause: String,
    #[serde(rename = "commit")]
    _commit: BTreeMap<String, String>,
    currency: Currency,
    id: String,
    #[serde(rename = "kind")]
    _kind: String,
    minor: u64,
    of: Vec<u64>,
    #[serde(rename = "rail")]
    _rail: String,
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
pub(super) enum PublicEntry {
    /// `program`, the card, and its bytes.
    RateCard { id: PublicId, program: String, card: Card, bytes: Vec<u8> },
    /// A contribution.
    Contribution { id: PublicId, entry: Box<ContributionEntry> },
    /// A payout.
    Payout { id: PublicId, cause: String, currency: Currency, minor: u64, of: Vec<u64> },
    /// A withdrawal.
    Withdrawal { id: PublicId, of: Vec<u64> },
}

/// Reads an entry; says what is wrong with its bytes.
pub(super) fn read(bytes: &[u8]) -> Result<PublicEntry, String> {
    #[derive(Deserialize)]
    struct Kind {
        kind: String,
    }
    let not_json = |error: serde_json::Error| format!("does not read as an entry: {error}");
    let kind: Kind = serde_json::from_slice(bytes).map_err(not_json)?;
    match kind.kind.as_str() {
        "rate_card" => {
            let entry: CardEntry = serde_json::from_slice(bytes).map_err(not_json)?;
            let id = checked(&entry.id, entry.v)?;
            let bytes = serde_jcs::to_vec(&entry.card).map_err(not_json)?;
            let card = serde_json::from_value(entry.card).map_err(not_json)?;
            Ok(PublicEntry::RateCard { id, program: entry.program, card, bytes })
        }
        "contribution" => {
            let entry: ContributionEntry = serde_json::from_slice(bytes).map_err(not_json)?;
            let id = checked(&entry.id, entry.v)?;
            Ok(PublicEntry::Contribution { id, entry: Box::new(entry) })
        }
        "payout" => {
            let entry: PayoutEntry = serde_json::from_slice(bytes).map_err(not_json)?;
            let id = checked(&entry.id, entry.v)?;
            let PayoutEntry { cause, currency, minor, of, .. } = entry;
            Ok(PublicEntry::Payout { id, cause, currency, minor, of })
        }
        "withdrawal" => {
            let entry: WithdrawalEntry = serde_json::from_slice(bytes).map_err(not_json)?;
            Ok(PublicEntry::Withdrawal { id: checked(&entry.id, entry.v)?, of: entry.of })
        }
        other => Err(format!("is of no known kind: {other:?}")),
    }
}

fn checked(id: &str, version: u8) -> Result<PublicId, String> {
    if version != 1 {
        return Err(format!("is of version {version}, not 1"));
    }
    unhex(id).ok_or_else(|| "has an id that is not 32 hex digits".to_owned())
}
