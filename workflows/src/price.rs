//! Valuation: one integer formula over public inputs, one floor at the end.
//!
//! `micro = floor(units * rate * quality_bp * demand_bp / 10^8)`, then the item cap, then what is
//! left of the day cap. Anyone recomputes it from the log: the card, the units and the score are
//! public (I8).

use crate::program::{Program, Task};
use crate::teeth::{Tooth, bites};
use serde::{Deserialize, Serialize};

/// Which cap cut the price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capped {
    /// None did.
    None,
    /// The task's item cap.
    Item,
    /// The contributor's day cap.
    Day,
}

impl Capped {
    /// The word of the public entry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Item => "item",
            Self::Day => "day",
        }
    }
}

/// A price with every factor that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// What was counted.
    pub units: u64,
    /// 0 to 10,000.
    pub score: u16,
    /// Micro-units a unit.
    pub rate_micro: u64,
    /// The band of the score.
    pub quality_bp: u32,
    /// The card's demand.
    pub demand_bp: u32,
    /// Which cap cut it.
    pub capped: Capped,
    /// The amount.
    pub micro: u64,
}

/// The quality of a score: the highest band at or below it; zero below the first.
pub fn quality_bp(program: &Program, score: u16) -> u32 {
    program.rates.bands.iter().rev().find(|band| band.from <= score).map_or(0, |band| band.bp)
}

/// The price of `units` at `score`, with `day_left` micro-units of the day cap still open.
pub fn price(
    program: &Program,
    task: &Task,
    units: u64,
    score: u16,
    day_left: Option<u64>,
) -> Price {
    let quality_bp = quality_bp(program, score);
    let demand_bp = program.rates.demand_bp;
    let mut full = (u128::from(units) * u128::from(task.rate_micro))
        .saturating_mul(u128::from(quality_bp) * u128::from(demand_bp));
    if bites(Tooth::RoundingUp) {
        full = full.saturating_add(99_999_999);
    }
    full /= 100_000_000;
    let mut micro = u64::try_from(full).unwrap_or(u64::MAX);
    let mut capped = Capped::None;
    if micro > task.item_cap_micro {
        (micro, capped) = (task.item_cap_micro, Capped::Item);
    }
    if let Some(left) = day_left.filter(|left| *left < micro) {
        (micro, capped) = (left, Capped::Day);
    }
    Price { units, score, rate_micro: task.rate_micro, quality_bp, demand_bp, capped, micro }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::{Band, Rates, Unit};
    use crate::submission::{Modality, Terms};

    fn program() -> Program {
        Program {
            id: "p".into(),
            workflow: "w".into(),
            currency: "KRW".to_owned().try_into().unwrap(),
            budget_micro: 0,
            purpose: "ai".into(),
            terms: Terms { version: "1".into(), sha256: "00".repeat(32), uri: "u".into() },
            day_cap_micro: None,
            utc_offset_minutes: 540,
            rates: Rates {
                version: 1,
                bands: vec![Band { from: 5000, bp: 8000 }, Band { from: 7000, bp: 10_000 }],
                demand_bp: 11_000,
            },
            tasks: [("t".to_owned(), task())].into(),
        }
    }

    fn task() -> Task {
        Task {
            modality: Modality::Voice,
            languages: vec!["ko".into()],
            unit: Unit::Ms,
            rate_micro: 30,
            item_cap_micro: 100_000,
            floor: 5000,
        }
    }

    #[test]
    fn one_floor_stands_at_the_end() {
        let p = price(&program(), &task(), 1001, 5000, None);
        assert_eq!((p.micro, p.capped), (1001 * 30 * 8000 * 11_000 / 100_000_000, Capped::None));
        assert_eq!(price(&program(), &task(), 1, 4999, None).micro, 0);
    }

    #[test]
    fn the_smaller_cap_names_itself() {
        assert_eq!(price(&program(), &task(), 10_000, 9000, None).capped, Capped::Item);
        let p = price(&program(), &task(), 10_000, 9000, Some(7));
        assert_eq!((p.micro, p.capped), (7, Capped::Day));
        assert_eq!(price(&program(), &task(), 1, 9000, Some(7_000)).capped, Capped::None);
        let exact = Task { item_cap_micro: 33, ..task() };
        let p = price(&program(), &exact, 1, 9000, Some(33));
        assert_eq!((p.micro, p.capped), (33, Capped::None), "a cap that is just met cuts nothing");
    }

    #[test]
    fn absurd_units_do_not_overflow() {
        let mut task = task();
        task.item_cap_micro = u64::MAX;
        task.rate_micro = u64::MAX;
        assert_eq!(price(&program(), &task, u64::MAX, 9000, None).micro, u64::MAX);
    }

    #[test]
    fn a_language_matches_by_its_primary_tag() {
        assert!(task().accepts_language(Some("ko-KR")));
        assert!(!task().accepts_language(Some("en")));
        assert!(!task().accepts_language(None));
    }

    #[test]
    fn the_log_says_which_cap_cut_a_price() {
        let words = [Capped::None, Capped::Item, Capped::Day].map(Capped::as_str);
        assert_eq!(words, ["none", "item", "day"]);
    }
}
