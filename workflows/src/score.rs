//! Score tables: measures to the score of a contribution, by integers alone.
//!
//! A table stands in the workflow file, one a modality. Its *gates* refuse what no score can make
//! good; its *factors* give 0 to [`MAX_SCORE`] points each by a piecewise-linear curve. The score
//! is a mixture of the weighted mean of all factors and of the lowest one, so that one grave flaw is
//! not bought off by many merits.

mod limits;

pub use limits::{MAX_FACTORS, MAX_GATES, MAX_MEASURE, MAX_POINTS, MAX_SCORE, MAX_WEIGHT};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Names a voice table may use: the measures of a clip.
pub const VOICE_MEASURES: &[&str] = &[
    "channels",
    "clipping_bp",
    "dead_channels",
    "dropout_bp",
    "duration_ms",
    "level_cdb",
    "missing_bp",
    "offset_bp",
    "peak_cdb",
    "range_cdb",
    "sample_rate",
    "silence_bp",
    "speech_bp",
    "speech_ms",
    "sure_speech_bp",
];

/// Names an image table may use: the measures of an image.
pub const IMAGE_MEASURES: &[&str] = &[
    "blocking_x100",
    "bright_bp",
    "crispness_x1000",
    "dark_bp",
    "height",
    "luma_p99",
    "mean_luma_x100",
    "noise_x100",
    "sharpness",
    "short_side",
    "uniformity_bp",
    "width",
];

/// Names a video table may use: the measures of a video.
pub const VIDEO_MEASURES: &[&str] = &[
    "audio_tracks",
    "bits_per_pixel_x1000",
    "codec",
    "duration_ms",
    "fps_x1000",
    "frames",
    "height",
    "short_side",
    "still_bp",
    "width",
];

/// Why a table is refused, or cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A gate or factor names something that is not measured.
    #[error("{table}: no such measure: {measure}")]
    UnknownMeasure {
        /// Table.
        table: &'static str,
        /// The name.
        measure: String,
    },
    /// More entries than allowed, or none where some are needed.
    #[error("{table}: {count} {what}, allowed are {min} to {max}")]
    Count {
        /// Table.
        table: &'static str,
        /// `gates`, `factors` or `points`.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// Least number.
        min: usize,
        /// Greatest number.
        max: usize,
    },
    /// The measures of a curve's points do not rise.
    #[error("{table}: points of {measure} are not in rising order of the measure")]
    Unsorted {
        /// Table.
        table: &'static str,
        /// Measure of the factor.
        measure: String,
    },
    /// A number is out of its range.
    #[error("{table}: {what} of {measure} is {value}, allowed are {min} to {max}")]
    Range {
        /// Table.
        table: &'static str,
        /// `weight`, `points`, `bound` or `worst_bp`.
        what: &'static str,
        /// Measure of the gate or factor.
        measure: String,
        /// The number.
        value: i64,
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
    },
    /// A gate without a bound, or with a minimum above its maximum, lets nothing or all through.
    #[error("{table}: gate on {measure} needs min, max or both, and min <= max")]
    Gate {
        /// Table.
        table: &'static str,
        /// Measure of the gate.
        measure: String,
    },
    /// The item lacks a measure that the table uses.
    #[error("measure {measure} is missing")]
    Missing {
        /// The measure.
        measure: String,
    },
}

/// The tables of all modalities, as they stand under `[…table]` of a workflow file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreTables {
    /// For voice clips.
    pub voice: ScoreTable,
    /// For images.
    pub image: ScoreTable,
    /// For videos.
    pub video: ScoreTable,
}

impl ScoreTables {
    /// Checks every table.
    ///
    /// # Errors
    /// The first thing wrong, with the table and measure it is about.
    pub fn validate(&self) -> Result<(), Error> {
        self.voice.validate("voice", VOICE_MEASURES)?;
        self.image.validate("image", IMAGE_MEASURES)?;
        self.video.validate("video", VIDEO_MEASURES)
    }
}

/// The table of one modality.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreTable {
    /// Share of the lowest factor in the score, in basis points; the weighted mean has the rest.
    pub worst_bp: u32,
    /// Checked in order before anything is scored.
    #[serde(default)]
    pub gates: Vec<GateRule>,
    /// What the score is made of.
    pub factors: Vec<FactorRule>,
}

/// Refuses an item whose measure is outside `min..=max`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateRule {
    /// The measure.
    pub measure: String,
    /// Least value let through.
    pub min: Option<i64>,
    /// Greatest value let through.
    pub max: Option<i64>,
    /// Reason of the rejection.
    pub reason: Reason,
}

/// Turns one measure into points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactorRule {
    /// The measure.
    pub measure: String,
    /// Weight in the mean; 0 counts only when it is the lowest.
    pub weight: u32,
    /// `[measure, points]` with rising measures; straight lines between, constant outside.
    pub points: Vec<(i64, i64)>,
}

/// Reasons of the contract for a rejection by scoring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Not decodable.
    Undecodable,
    /// Another modality than declared.
    WrongModality,
    /// Another language than the task's.
    WrongLanguage,
    /// Too short.
    TooShort,
    /// Too long.
    TooLong,
    /// Too large.
    TooLarge,
    /// Quality below what the program takes.
    BelowFloor,
    /// Content that was handed in before.
    Duplicate,
    /// The decoder hit a limit of its process.
    DecoderLimit,
}

impl Reason {
    /// The word of the contract.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::WrongModality => "wrong_modality",
            Self::WrongLanguage => "wrong_language",
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::TooLarge => "too_large",
            Self::BelowFloor => "below_floor",
            Self::Duplicate => "duplicate",
            Self::DecoderLimit => "decoder_limit",
        }
    }
}

/// What a table says about an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All gates passed.
    Scored {
        /// 0 to [`MAX_SCORE`].
        score: i64,
        /// Every factor, in the order of the table.
        factors: Vec<Factor>,
    },
    /// A gate refused.
    Gate {
        /// Why.
        reason: Reason,
        /// The measure that was out of bounds.
        measure: String,
        /// Its value.
        value: i64,
        /// The bound it broke.
        bound: i64,
    },
}

/// What one measure contributed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Factor {
    /// The measure.
    pub measure: String,
    /// Its value.
    pub value: i64,
    /// Points given, 0 to [`MAX_SCORE`].
    pub points: i64,
}

impl ScoreTable {
    /// Checks the table against the measures that its modality has; `table` names it in errors.
    ///
    /// # Errors
    /// The first thing wrong.
    pub fn validate(&self, table: &'static str, known: &[&str]) -> Result<(), Error> {
        let share = i64::from(self.worst_bp);
        in_range(table, "worst_bp", "the score", share, (0, MAX_SCORE))?;
        in_count(table, "gates", self.gates.len(), (0, MAX_GATES))?;
        in_count(table, "factors", self.factors.len(), (1, MAX_FACTORS))?;
        for gate in &self.gates {
            gate.validate(table, known)?;
        }
        for factor in &self.factors {
            factor.validate(table, known)?;
        }
        let weights: i64 = self.factors.iter().map(|factor| i64::from(factor.weight)).sum();
        let most = i64::from(MAX_WEIGHT) * self.factors.len() as i64;
        in_range(table, "weight", "all factors", weights, (1, most))
    }

    /// Judges an item by its measures.
    ///
    /// # Errors
    /// [`Error::Missing`] when `measures` lacks a name that the table uses.
    pub fn score(&self, measures: &BTreeMap<&str, i64>) -> Result<Verdict, Error> {
        for gate in &self.gates {
            let value = look_up(measures, &gate.measure)?;
            if let Some(bound) = gate.broken_by(value) {
                let (reason, measure) = (gate.reason, gate.measure.clone());
                return Ok(Verdict::Gate { reason, measure, value, bound });
            }
        }
        let mut factors = Vec::with_capacity(self.factors.len());
        let (mut sum, mut weights, mut worst) = (0_i64, 0_i64, MAX_SCORE);
        for rule in &self.factors {
            let value = look_up(measures, &rule.measure)?;
            let points = rule.points(value);
            sum += points * i64::from(rule.weight);
            weights += i64::from(rule.weight);
            worst = worst.min(points);
            factors.push(Factor { measure: rule.measure.clone(), value, points });
        }
        // One division, rounded down, so that no intermediate rounding can differ.
        let share = i64::from(self.worst_bp);
        let weights = weights.max(1);
        let mixed = sum * (MAX_SCORE - share) + worst * weights * share;
        let score = mixed / (weights * MAX_SCORE);
        Ok(Verdict::Scored { score, factors })
    }
}

impl GateRule {
    fn validate(&self, table: &'static str, known: &[&str]) -> Result<(), Error> {
        check_name(table, &self.measure, known)?;
        for bound in [self.min, self.max].into_iter().flatten() {
            in_range(table, "bound", &self.measure, bound, (-MAX_MEASURE, MAX_MEASURE))?;
        }
        match (self.min, self.max) {
            (None, None) => Err(Error::Gate { table, measure: self.measure.clone() }),
            (Some(min), Some(max)) if min > max => {
                Err(Error::Gate { table, measure: self.measure.clone() })
            }
            _ => Ok(()),
        }
    }

    /// The bound that `value` breaks, if any.
    fn broken_by(&self, value: i64) -> Option<i64> {
        let below = self.min.filter(|min| value < *min);
        below.or(self.max.filter(|max| value > *max))
    }
}

impl FactorRule {
    fn validate(&self, table: &'static str, known: &[&str]) -> Result<(), Error> {
        let name = &self.measure;
        check_name(table, name, known)?;
        in_range(table, "weight", name, i64::from(self.weight), (0, i64::from(MAX_WEIGHT)))?;
        in_count(table, "points", self.points.len(), (1, MAX_POINTS))?;
        for (measure, points) in &self.points {
            in_range(table, "bound", name, *measure, (-MAX_MEASURE, MAX_MEASURE))?;
            in_range(table, "points", name, *points, (0, MAX_SCORE))?;
        }
        if self.points.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
            return Err(Error::Unsorted { table, measure: name.clone() });
        }
        Ok(())
    }

    /// The points for a value: on the line between its neighbours, rounded down.
    fn points(&self, value: i64) -> i64 {
        let above = self.points.partition_point(|(measure, _)| *measure <= value);
        let left = above.checked_sub(1).and_then(|index| self.points.get(index));
        match (left, self.points.get(above)) {
            (Some((x0, y0)), Some((x1, y1))) => y0 + ((y1 - y0) * (value - x0)).div_euclid(x1 - x0),
            (Some((_, y)), None) | (None, Some((_, y))) => *y,
            (None, None) => 0,
        }
    }
}

fn look_up(measures: &BTreeMap<&str, i64>, name: &str) -> Result<i64, Error> {
    measures.get(name).copied().ok_or_else(|| Error::Missing { measure: name.to_owned() })
}

fn check_name(table: &'static str, name: &str, known: &[&str]) -> Result<(), Error> {
    if known.contains(&name) {
        Ok(())
    } else {
        Err(Error::UnknownMeasure { table, measure: name.to_owned() })
    }
}

fn in_range(
    table: &'static str,
    what: &'static str,
    measure: &str,
    value: i64,
    (min, max): (i64, i64),
) -> Result<(), Error> {
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(Error::Range { table, what, measure: measure.to_owned(), value, min, max })
    }
}

fn in_count(
    table: &'static str,
    what: &'static str,
    count: usize,
    (min, max): (usize, usize),
) -> Result<(), Error> {
    if (min..=max).contains(&count) {
        Ok(())
    } else {
        Err(Error::Count { table, what, count, min, max })
    }
}

#[cfg(test)]
mod tests;
