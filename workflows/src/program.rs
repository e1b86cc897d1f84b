//! Programs: the paying side, with its budget, its terms and its rate card.

use crate::limits;
use crate::money::Currency;
use crate::submission::{Modality, Terms};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// One paying side, as in `workflows/programs/ID.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Its id; the file's name without the ending.
    pub id: String,
    /// The workflow its contributions run.
    pub workflow: String,
    /// What it pays in.
    pub currency: Currency,
    /// Deposited once, at first sight, in micro-units.
    pub budget_micro: u64,
    /// The purpose a grant must name.
    pub purpose: String,
    /// The terms a grant must have been given under.
    pub terms: Terms,
    /// Most that one contributor can earn in one day, in micro-units; absent: no cap.
    pub day_cap_micro: Option<u64>,
    /// Minutes east of Greenwich in which the program's day is counted; default Korea's.
    #[serde(default = "korea")]
    pub utc_offset_minutes: i32,
    /// Quality and demand.
    pub rates: Rates,
    /// What can be handed in.
    pub tasks: BTreeMap<String, Task>,
}

fn korea() -> i32 {
    540
}

/// The part of the rate card that all tasks share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    /// The card's version.
    pub version: u32,
    /// Score to quality, by rising `from`; a score below the first band earns nothing.
    pub bands: Vec<Band>,
    /// Demand in basis points; 10,000 is par.
    pub demand_bp: u32,
}

/// Scores from here on earn `bp` basis points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Band {
    /// Lowest score, 0 to 10,000.
    pub from: u16,
    /// Quality in basis points; 10,000 is par.
    pub bp: u32,
}

/// One kind of thing that a program pays for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// What is handed in.
    pub modality: Modality,
    /// BCP 47 primary tags accepted; empty: any.
    #[serde(default)]
    pub languages: Vec<String>,
    /// What is counted: `ms` of voice or video, or `item`.
    pub unit: Unit,
    /// Micro-units a unit.
    pub rate_micro: u64,
    /// Most that one item can earn, in micro-units.
    pub item_cap_micro: u64,
    /// Lowest score that is accepted, 0 to 10,000.
    pub floor: u16,
}

/// What a rate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Milliseconds.
    Ms,
    /// Whole items.
    Item,
}

/// Why a program is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A name is empty, too long, or has other characters than `a-z 0-9 _ -`.
    #[error("{field}: a name is 1 to 64 of a-z, 0-9, - and _")]
    Name {
        /// Which field.
        field: &'static str,
    },
    /// A number is outside its range.
    #[error("{field}: {value} is outside {low} to {high}")]
    Range {
        /// Which field.
        field: String,
        /// What it was.
        value: u64,
        /// Lowest allowed.
        low: u64,
        /// Highest allowed.
        high: u64,
    },
    /// Bands do not rise.
    #[error("rates.bands: `from` must rise from band to band")]
    BandsDoNotRise,
    /// The terms' hash is not 64 hex digits.
    #[error("terms.sha256: not 64 lower-case hex digits")]
    TermsHash,
    /// The unit does not fit the modality.
    #[error("tasks.{task}.unit: ms is for voice and video, item for all")]
    Unit {
        /// Which task.
        task: String,
    },
}

impl Program {
    /// Checks every field against its range.
    pub fn validate(&self) -> Result<(), Error> {
        name("id", &self.id)?;
        name("workflow", &self.workflow)?;
        name("purpose", &self.purpose)?;
        range("budget_micro", self.budget_micro, 0, limits::INTEGER_MAX)?;
        range("day_cap_micro", self.day_cap_micro.unwrap_or(0), 0, limits::INTEGER_MAX)?;
        let offset = u64::from(self.utc_offset_minutes.unsigned_abs());
        range("utc_offset_minutes", offset, 0, 14 * 60)?;
        if crate::id::unhex::<32>(&self.terms.sha256).is_none() {
            return Err(Error::TermsHash);
        }
        range("rates.bands", self.rates.bands.len() as u64, 1, limits::BANDS_MAX as u64)?;
        range("rates.demand_bp", u64::from(self.rates.demand_bp), 0, 100_000)?;
        for (before, band) in self.rates.bands.iter().zip(self.rates.bands.iter().skip(1)) {
            if band.from <= before.from {
                return Err(Error::BandsDoNotRise);
            }
        }
        for band in &self.rates.bands {
            range("rates.bands.from", u64::from(band.from), 0, 10_000)?;
            range("rates.bands.bp", u64::from(band.bp), 0, 100_000)?;
        }
        range("tasks", self.tasks.len() as u64, 1, limits::TASKS_MAX as u64)?;
        self.tasks.iter().try_for_each(|(id, task)| task.validate(id))
    }

    /// The whole card as canonical JSON (RFC 8785): caps, bands and tasks included.
    pub fn card_json(&self) -> Vec<u8> {
        let card = serde_json::json!({
            "version": self.rates.version,
            "bands": self.rates.bands,
            "demand_bp": self.rates.demand_bp,
            "currency": self.currency,
            "day_cap_micro": self.day_cap_micro,
            "utc_offset_minutes": self.utc_offset_minutes,
            "tasks": self.tasks,
        });
        serde_jcs::to_vec(&card).expect("a card of strings and integers below 2^53 is canonical")
    }

    /// The first 16 bytes of the card's SHA-256: tells one card from the next.
    pub fn card_hash(&self) -> [u8; 16] {
        let digest = Sha256::digest(self.card_json());
        let mut hash = [0; 16];
        hash.copy_from_slice(&digest[..16]);
        hash
    }
}

impl Task {
    fn validate(&self, id: &str) -> Result<(), Error> {
        name("tasks", id)?;
        let timed = matches!(self.modality, Modality::Voice | Modality::Video);
        if self.unit == Unit::Ms && !timed {
            return Err(Error::Unit { task: id.to_owned() });
        }
        range(&format!("tasks.{id}.rate_micro"), self.rate_micro, 0, limits::INTEGER_MAX)?;
        range(&format!("tasks.{id}.item_cap_micro"), self.item_cap_micro, 0, limits::INTEGER_MAX)?;
        range(&format!("tasks.{id}.floor"), u64::from(self.floor), 0, 10_000)
    }

    /// Whether a BCP 47 tag is one the task accepts, by its primary language.
    pub fn accepts_language(&self, tag: Option<&str>) -> bool {
        let Some(tag) = tag else {
            return self.languages.is_empty();
        };
        let primary = tag.split('-').next().unwrap_or(tag);
        self.languages.is_empty()
            || self.languages.iter().any(|known| known.eq_ignore_ascii_case(primary))
    }
}

fn name(field: &'static str, text: &str) -> Result<(), Error> {
    if is_name(text) { Ok(()) } else { Err(Error::Name { field }) }
}

/// Whether a text is 1 to 64 of a-z, 0-9, `-` and `_`.
pub fn is_name(text: &str) -> bool {
    (1..=limits::NAME_BYTES_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

fn range(field: &str, value: u64, low: u64, high: u64) -> Result<(), Error> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Error::Range { field: field.to_owned(), value, low, high })
}
