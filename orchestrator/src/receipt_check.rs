//! Checks a receipt, offline: leaf, path, signature, and every opening against its commitment.

use crate::entry_shape;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gristmill_trace::key::Verifier;
use gristmill_trace::receipt::{self, Receipt};
use gristmill_workflows::entry::commitment;
use gristmill_workflows::money::Currency;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Why a receipt proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file is no receipt, or log, signature or path do not hold.
    #[error(transparent)]
    Receipt(#[from] receipt::Error),
    /// What it carries besides the proof is not entry and openings.
    #[error("the extra line does not hold an entry and openings: {why}")]
    Extra {
        /// What is wrong.
        why: String,
    },
    /// The entry is not of the contract.
    #[error("the entry {0}")]
    Entry(#[from] entry_shape::Error),
    /// The entry lacks what its kind says.
    #[error("the entry is not a {kind} entry of the contract: {why}")]
    Fields {
        /// Its kind.
        kind: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The entry commits to a field, and the receipt does not open it, or the other way round.
    #[error("openings: `{field}` is not both committed and opened")]
    Unopened {
        /// Which.
        field: String,
    },
    /// An opening is not what the entry commits to.
    #[error("openings: `{field}` is not what the entry commits to")]
    Opening {
        /// Which.
        field: String,
    },
}

/// What a receipt proves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proven {
    /// `contribution` or `payout`.
    pub kind: &'static str,
    /// The entry's public id.
    pub id: String,
    /// Its index in the log.
    pub index: u64,
    /// The log's name.
    pub origin: String,
    /// Entries that the signed checkpoint covers.
    pub size: u64,
    /// Its root, base64.
    pub root: String,
    /// The entry itself.
    pub entry: Value,
    /// What was opened, by field.
    pub opened: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Extra {
    entry: String,
    openings: BTreeMap<String, Opening>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Opening {
    salt: String,
    value: Value,
}

/// The fields of entries that are told; numbers as they stand there.
#[derive(Deserialize)]
struct Entry {
    id: String,
    commit: BTreeMap<String, String>,
    currency: Currency,
}

/// Checks the bytes of a receipt against the key of its log.
///
/// # Errors
/// [`Error`] says what does not hold.
pub fn check(bytes: &[u8], verifier: &Verifier) -> Result<Proven, Error> {
    let receipt = Receipt::parse(bytes)?;
    let not_extra = |why: String| Error::Extra { why };
    let extra: Extra =
        serde_json::from_slice(&receipt.extra).map_err(|error| not_extra(error.to_string()))?;
    let entry = STANDARD.decode(&extra.entry).map_err(|error| not_extra(error.to_string()))?;
    let checkpoint = receipt.verify(&entry, verifier)?;
    let kind = entry_shape::KINDS[entry_shape::check(&entry)?];
    let fields = |why: String| Error::Fields { kind, why };
    if !matches!(kind, "contribution" | "payout") {
        return Err(fields("nobody gets a receipt of this kind".to_owned()));
    }
    let said: Entry = serde_json::from_slice(&entry).map_err(|error| fields(error.to_string()))?;
    let value = serde_json::from_slice(&entry).map_err(|error| fields(error.to_string()))?;
    let mut opened = BTreeMap::new();
    for (field, committed) in &said.commit {
        let Some(opening) = extra.openings.get(field) else {
            return Err(Error::Unopened { field: field.clone() });
        };
        let wrong = || Error::Opening { field: field.clone() };
        let salt = STANDARD.decode(&opening.salt).map_err(|_| wrong())?;
        let salt: [u8; 32] = salt.try_into().map_err(|_| wrong())?;
        if !is_plain(&opening.value, 0) || commitment(&salt, field, &opening.value) != *committed {
            return Err(wrong());
        }
        opened.insert(field.clone(), opening.value.clone());
    }
    if let Some(field) = extra.openings.keys().find(|field| !said.commit.contains_key(*field)) {
        return Err(Error::Unopened { field: field.clone() });
    }
    let proven = Proven {
        kind,
        id: said.id,
        index: receipt.index,
        origin: checkpoint.origin,
        size: checkpoint.size,
        root: checkpoint.root.to_base64(),
        entry: value,
        opened,
    };
    proven.tell(said.currency).map(|_| proven).map_err(|why| fields(format!("no `{why}`")))
}

/// Whether a value is of strings and small integers, as everything committed to is.
fn is_plain(value: &Value, depth: usize) -> bool {
    match value {
        _ if depth > 4 => false,
        Value::Number(number) => number.as_u64().is_some(),
        Value::Array(values) => values.iter().all(|value| is_plain(value, depth + 1)),
        Value::Object(values) => values.values().all(|value| is_plain(value, depth + 1)),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

impl Proven {
    /// What it proves, in plain sentences.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let currency = self.entry.get("currency").and_then(Value::as_str).unwrap_or_default();
        let currency = Currency::try_from(currency.to_owned()).ok();
        currency.and_then(|currency| self.tell(currency).ok()).unwrap_or_default()
    }

    /// The sentences, or the name of a field that the entry lacks.
    fn tell(&self, currency: Currency) -> Result<Vec<String>, &'static str> {
        let number = |name: &'static str| self.entry.get(name).and_then(Value::as_u64).ok_or(name);
        let text = |name: &'static str| self.entry.get(name).and_then(Value::as_str).ok_or(name);
        let opened = |name: &'static str| self.opened.get(name).ok_or(name);
        let mut told = vec![format!(
            "The log {} has this {} entry at index {}; its signed checkpoint covers {} entries.",
            self.origin, self.kind, self.index, self.size
        )];
        if self.kind == "contribution" {
            told.push(format!(
                "A {} contribution of contributor {} to task {} was accepted under grant {}.",
                text("modality")?,
                opened("contributor")?,
                text("task")?,
                opened("grant")?
            ));
            told.push(format!(
                "It scored {} of 10000 (scorer {}) and was valued at {} for {} units: quality {} \
                 and demand {} of 10000, cap: {}, rate card at index {}.",
                number("score")?,
                text("scorer")?,
                micro(currency, number("micro")?),
                number("units")?,
                number("quality_bp")?,
                number("demand_bp")?,
                text("capped")?,
                number("card")?
            ));
            told.push(match opened("media")? {
                Value::String(sha256) => format!("Its media has SHA-256 {sha256}."),
                _ => "It has no media.".to_owned(),
            });
            told.push(format!("The terms agreed to: {}.", opened("terms")?));
        } else {
            let of = self.entry.get("of").ok_or("of")?;
            told.push(format!(
                "{} was paid over rail {} for the entries {of} (cause: {}).",
                minor(currency, number("minor")?),
                text("rail")?,
                text("cause")?
            ));
            told.push(format!(
                "It went to account {} under the reference {}; {} stayed with the contributor.",
                opened("account")?,
                opened("reference")?,
                micro(currency, opened("carry")?.as_u64().ok_or("carry")?)
            ));
        }
        Ok(told)
    }
}

/// Micro-units as a decimal of the major unit.
pub(crate) fn micro(currency: Currency, micro: u64) -> String {
    let (whole, part) = (micro / 1_000_000, micro % 1_000_000);
    if part == 0 {
        return format!("{whole} {currency}");
    }
    let part = format!("{part:06}");
    format!("{whole}.{} {currency}", part.trim_end_matches('0'))
}

/// Whole minor units as a decimal of the major unit.
pub(crate) fn minor(currency: Currency, minor: u64) -> String {
    micro(currency, minor.saturating_mul(currency.minor_micro()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipts::tests::Published;

    fn altered(text: &str, change: impl Fn(&mut Value)) -> String {
        let line = text.lines().nth(1).unwrap();
        let extra = STANDARD.decode(line.strip_prefix("extra ").unwrap()).unwrap();
        let mut value: Value = serde_json::from_slice(&extra).unwrap();
        change(&mut value);
        let extra = STANDARD.encode(serde_json::to_vec(&value).unwrap());
        text.replace(line, &format!("extra {extra}"))
    }

    #[tokio::test]
    async fn receipts_hold_and_say_what_they_prove() {
        let published = Published::new(3).await;
        let (contribution, payout) = published.receipts(1).await;
        let verifier = published.verifier();
        let proven = check(contribution.as_bytes(), &verifier).unwrap();
        let told = proven.sentences().join("\n");
        for part in ["kr-1", "scored 9000", "2.5 KRW", "units", "covers 7 entries", "test.local"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        let proven = check(payout.as_bytes(), &verifier).unwrap();
        let told = proven.sentences().join("\n");
        for part in ["2 KRW was paid", "sandbox", "0.5 KRW stayed"] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }

    #[tokio::test]
    async fn every_alteration_is_refused() {
        let published = Published::new(3).await;
        let (text, _) = published.receipts(1).await;
        let verifier = published.verifier();
        let error = |text: &str| check(text.as_bytes(), &verifier).unwrap_err();
        let other = altered(&text, |extra| {
            extra["openings"]["contributor"]["value"] = "kr-2".into();
        });
        assert_eq!(error(&other), Error::Opening { field: "contributor".to_owned() });
        let fewer = altered(&text, |extra| {
            extra["openings"].as_object_mut().unwrap().remove("grant");
        });
        assert_eq!(error(&fewer), Error::Unopened { field: "grant".to_owned() });
        let more = altered(&text, |extra| {
            extra["openings"]["name"] = extra["openings"]["grant"].clone();
        });
        assert_eq!(error(&more), Error::Unopened { field: "name".to_owned() });
        let salt = altered(&text, |extra| {
            extra["openings"]["media"]["salt"] = STANDARD.encode([0; 32]).into();
        });
        assert_eq!(error(&salt), Error::Opening { field: "media".to_owned() });
        let entry = altered(&text, |extra| {
            let entry = STANDARD.decode(extra["entry"].as_str().unwrap()).unwrap();
            let entry = String::from_utf8(entry).unwrap().replace("2500000", "9500000");
            extra["entry"] = STANDARD.encode(entry).into();
        });
        assert!(matches!(error(&entry), Error::Receipt(_)));
        let float = altered(&text, |extra| {
            extra["openings"]["media"]["value"] = serde_json::json!(0.5);
        });
        assert_eq!(error(&float), Error::Opening { field: "media".to_owned() });
        for broken in ["", "hello", &text[..text.len() / 2], &text.replace("index ", "index 1")] {
            assert!(matches!(error(broken), Error::Receipt(_)), "{broken}");
        }
        let foreign = Published::with_seed([9; 32], 3).await;
        assert!(check(text.as_bytes(), &foreign.verifier()).is_err());
    }

    #[test]
    fn money_reads_as_major_units() {
        let currency = |code: &str| Currency::try_from(code.to_owned()).unwrap();
        assert_eq!(micro(currency("KRW"), 1_234_500), "1.2345 KRW");
        assert_eq!(minor(currency("USD"), 250), "2.5 USD");
        assert_eq!(minor(currency("KRW"), 3), "3 KRW");
    }
}
