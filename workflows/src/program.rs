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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn file() -> Value {
        json!({
            "id": "seoul", "workflow": "contribution", "currency": "KRW", "budget_micro": 0,
            "purpose": "ai", "terms": {"version": "1", "sha256": "ab".repeat(32), "uri": "u"},
            "rates": {
                "version": 1, "demand_bp": 11_000,
                "bands": [{"from": 0, "bp": 8000}, {"from": 7000, "bp": 10_000}],
            },
            "tasks": {"read-aloud": {
                "modality": "voice", "languages": ["ko", "en"], "unit": "ms",
                "rate_micro": 30_000, "item_cap_micro": 50_000_000, "floor": 5000,
            }},
        })
    }

    /// The file with one value at a JSON pointer (RFC 6901) replaced.
    fn with(pointer: &str, value: Value) -> Program {
        let mut file = file();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match file.pointer_mut(pointer) {
            Some(place) => *place = value,
            None => {
                let parent = file.pointer_mut(parent).unwrap().as_object_mut().unwrap();
                parent.insert(key.to_owned(), value);
            }
        }
        serde_json::from_value(file).unwrap()
    }

    #[test]
    fn a_day_is_koreas_unless_the_file_says_where_it_is_counted() {
        let program: Program = serde_json::from_value(file()).unwrap();
        assert_eq!(program.utc_offset_minutes, 9 * 60);
        assert_eq!(program.validate(), Ok(()));
        assert_eq!(with("/utc_offset_minutes", json!(-60)).utc_offset_minutes, -60);
    }

    #[test]
    fn every_number_may_be_at_the_end_of_its_range_and_not_beyond() {
        let most = limits::INTEGER_MAX;
        let cases = [
            ("/budget_micro", most, "budget_micro"),
            ("/day_cap_micro", most, "day_cap_micro"),
            ("/utc_offset_minutes", 840, "utc_offset_minutes"),
            ("/rates/demand_bp", 100_000, "rates.demand_bp"),
            ("/rates/bands/1/from", 10_000, "rates.bands.from"),
            ("/rates/bands/1/bp", 100_000, "rates.bands.bp"),
            ("/tasks/read-aloud/rate_micro", most, "tasks.read-aloud.rate_micro"),
            ("/tasks/read-aloud/item_cap_micro", most, "tasks.read-aloud.item_cap_micro"),
            ("/tasks/read-aloud/floor", 10_000, "tasks.read-aloud.floor"),
        ];
        for (pointer, high, field) in cases {
            assert_eq!(with(pointer, json!(high)).validate(), Ok(()), "{field}");
            let value = high + 1;
            let refused = Error::Range { field: field.to_owned(), value, low: 0, high };
            assert_eq!(with(pointer, json!(value)).validate(), Err(refused));
        }
        let west = with("/utc_offset_minutes", json!(-841)).validate();
        assert!(matches!(west, Err(Error::Range { value: 841, .. })), "{west:?}");
    }

    #[test]
    fn names_terms_units_and_their_numbers_are_checked() {
        let name = |field| Err(Error::Name { field });
        assert_eq!(with("/id", json!("Seoul")).validate(), name("id"));
        assert_eq!(with("/workflow", json!("")).validate(), name("workflow"));
        assert_eq!(with("/purpose", json!("a b")).validate(), name("purpose"));
        let task = file()["tasks"]["read-aloud"].clone();
        assert_eq!(with("/tasks", json!({"Read": task})).validate(), name("tasks"));
        assert_eq!(with("/terms/sha256", json!("AB")).validate(), Err(Error::TermsHash));
        let none = Err(Error::Range { field: "tasks".into(), value: 0, low: 1, high: 64 });
        assert_eq!(with("/tasks", json!({})).validate(), none);
        let none = Err(Error::Range { field: "rates.bands".into(), value: 0, low: 1, high: 32 });
        assert_eq!(with("/rates/bands", json!([])).validate(), none);
        for (modality, timed) in
            [("voice", true), ("video", true), ("image", false), ("none", false)]
        {
            let unit = Err(Error::Unit { task: "read-aloud".into() });
            let expected = if timed { Ok(()) } else { unit };
            assert_eq!(with("/tasks/read-aloud/modality", json!(modality)).validate(), expected);
        }
        let mut item = with("/tasks/read-aloud/unit", json!("item"));
        item.tasks.values_mut().for_each(|task| task.modality = Modality::Image);
        assert_eq!(item.validate(), Ok(()));
    }

    #[test]
    fn bands_rise() {
        for (from, expected) in [(1, Ok(())), (0, Err(Error::BandsDoNotRise))] {
            assert_eq!(with("/rates/bands/1/from", json!(from)).validate(), expected);
        }
        let falling = json!([{"from": 7000, "bp": 1}, {"from": 0, "bp": 2}]);
        assert_eq!(with("/rates/bands", falling).validate(), Err(Error::BandsDoNotRise));
    }

    #[test]
    fn a_name_has_1_to_64_small_letters_digits_and_dashes() {
        for good in ["a", "z-0_9", &"a".repeat(64)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "A", "a.b", "a/b", "가", &"a".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_task_accepts_a_tag_by_its_primary_language() {
        let program = with("/id", json!("p"));
        let task = &program.tasks["read-aloud"];
        for tag in ["ko", "KO-kr", "en-US"] {
            assert!(task.accepts_language(Some(tag)), "{tag}");
        }
        assert!(!task.accepts_language(Some("de")) && !task.accepts_language(None));
        let any = Task { languages: Vec::new(), ..task.clone() };
        assert!(any.accepts_language(Some("de")) && any.accepts_language(None));
    }

    /// Worked out with another JSON library and another SHA-256: the hash tells cards apart.
    #[test]
    fn a_card_is_canonical_json_and_its_hash_is_of_that() {
        let program: Program = serde_json::from_value(file()).unwrap();
        let card = concat!(
            r#"{"bands":[{"bp":8000,"from":0},{"bp":10000,"from":7000}],"currency":"KRW","#,
            r#""day_cap_micro":null,"demand_bp":11000,"tasks":{"read-aloud":{"floor":5000,"#,
            r#""item_cap_micro":50000000,"languages":["ko","en"],"modality":"voice","#,
            r#""rate_micro":30000,"unit":"ms"}},"utc_offset_minutes":540,"version":1}"#,
        );
        assert_eq!(String::from_utf8(program.card_json()).unwrap(), card);
        assert_eq!(crate::id::hex(&program.card_hash()), "ca16f3bfea9354cbd196c1a5704e6310");
    }
}
