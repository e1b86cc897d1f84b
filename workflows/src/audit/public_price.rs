//! Prices, recomputed from public words only.
//!
//! `micro = floor(units * rate * quality * demand / 10^8)`, cut by the item cap, then by what was
//! left of the day cap. Who the day belongs to is not public, so a day cap can only be held
//! against its bounds.

use super::public_entry::ContributionEntry;
use crate::journey::Journey;
use crate::money::Currency;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A rate card as its entry has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Card {
    bands: Vec<Band>,
    demand_bp: u64,
    pub(super) currency: Currency,
    day_cap_micro: Option<u64>,
    tasks: BTreeMap<String, Task>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
struct Band {
    from: u64,
    bp: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Task {
    modality: String,
    rate_micro: u64,
    item_cap_micro: u64,
}

/// A price and the words it was made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Priced<'a> {
    task: &'a str,
    modality: &'a str,
    currency: Currency,
    units: u64,
    score: u64,
    quality_bp: u64,
    demand_bp: u64,
    capped: &'a str,
    micro: u64,
}

impl<'a> Priced<'a> {
    pub(super) fn of_entry(entry: &'a ContributionEntry<'_>) -> Self {
        Self {
            task: &entry.task,
            modality: &entry.modality,
            currency: entry.currency,
            units: entry.units,
            score: entry.score,
            quality_bp: entry.quality_bp,
            demand_bp: entry.demand_bp,
            capped: &entry.capped,
            micro: entry.micro,
        }
    }

    pub(super) fn of_journey(journey: &'a Journey) -> Option<Self> {
        let (currency, price) = journey.price.as_ref()?;
        Some(Self {
            task: &journey.submission.task,
            modality: journey.submission.modality.as_str(),
            currency: *currency,
            units: price.units,
            score: u64::from(price.score),
            quality_bp: u64::from(price.quality_bp),
            demand_bp: u64::from(price.demand_bp),
            capped: price.capped.as_str(),
            micro: price.micro,
        })
    }
}

impl Card {
    /// Holds a price against the card; says what does not follow from it.
    pub(super) fn judge(&self, priced: &Priced<'_>) -> Result<(), String> {
        let Some(task) = self.tasks.get(priced.task) else {
            return Err(format!("the card has no task {:?}", priced.task));
        };
        if task.modality != priced.modality || self.currency != priced.currency {
            return Err("modality or currency is not the card's".to_owned());
        }
        let reached = self.bands.iter().filter(|band| band.from <= priced.score);
        let quality_bp = reached.max_by_key(|band| band.from).map_or(0, |band| band.bp);
        if quality_bp != priced.quality_bp || self.demand_bp != priced.demand_bp {
            return Err(format!(
                "quality {} and demand {}, where the card says {quality_bp} and {}",
                priced.quality_bp, priced.demand_bp, self.demand_bp
            ));
        }
        let full = u128::from(priced.units)
            .saturating_mul(u128::from(task.rate_micro))
            .saturating_mul(u128::from(quality_bp))
            .saturating_mul(u128::from(self.demand_bp))
            / 100_000_000;
        let cap = u128::from(task.item_cap_micro);
        let micro = u128::from(priced.micro);
        let follows = match priced.capped {
            "none" => micro == full && full <= cap,
            "item" => micro == cap && full > cap,
            "day" => {
                let day = self.day_cap_micro.map_or(0, u128::from);
                micro < full.min(cap) && micro <= day
            }
            _ => false,
        };
        if follows {
            return Ok(());
        }
        let expected = full.min(cap);
        Err(format!(
            "{} micro, capped {:?}: the card makes {expected}",
            priced.micro, priced.capped
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn won() -> Currency {
        Currency::try_from("KRW".to_owned()).unwrap()
    }

    fn card(day_cap_micro: Option<u64>) -> Card {
        let task = Task { modality: "voice".into(), rate_micro: 30_000, item_cap_micro: 66_000 };
        Card {
            bands: vec![Band { from: 0, bp: 5_000 }, Band { from: 7_000, bp: 10_000 }],
            demand_bp: 11_000,
            currency: won(),
            day_cap_micro,
            tasks: BTreeMap::from([("read".to_owned(), task)]),
        }
    }

    const GOOD: fn() -> Priced<'static> = || Priced {
        task: "read",
        modality: "voice",
        currency: won(),
        units: 2,
        score: 7_000,
        quality_bp: 10_000,
        demand_bp: 11_000,
        capped: "none",
        micro: 66_000,
    };

    #[test]
    fn a_price_follows_from_its_card_or_not() {
        let euro = Currency::try_from("EUR".to_owned()).unwrap();
        let day = |micro| Priced { capped: "day", micro, ..GOOD() };
        let item = |units, micro| Priced { capped: "item", units, micro, ..GOOD() };
        let low = Priced { score: 6_999, quality_bp: 5_000, micro: 33_000, ..GOOD() };
        let cases = [
            (GOOD(), true),
            (low, true),
            (Priced { task: "sing", ..GOOD() }, false),
            (Priced { modality: "image", ..GOOD() }, false),
            (Priced { currency: euro, ..GOOD() }, false),
            (Priced { quality_bp: 5_000, ..GOOD() }, false),
            (Priced { demand_bp: 10_000, ..GOOD() }, false),
            (Priced { micro: 65_999, ..GOOD() }, false),
            (Priced { units: 3, micro: 99_000, ..GOOD() }, false),
            (Priced { units: 3, micro: 66_000, ..GOOD() }, false),
            (item(3, 66_000), true),
            (item(3, 65_999), false),
            (item(2, 66_000), false),
            (day(50_000), true),
            (day(49_999), true),
            (day(50_001), false),
            (Priced { units: 1, micro: 33_000, ..day(0) }, false),
            (Priced { units: 1, micro: 32_999, ..day(0) }, true),
            (Priced { capped: "week", ..GOOD() }, false),
        ];
        for (priced, follows) in cases {
            let verdict = card(Some(50_000)).judge(&priced);
            assert_eq!(verdict.is_ok(), follows, "{priced:?} {verdict:?}");
        }
        assert!(card(None).judge(&day(1)).is_err(), "there is no day cap");
    }
}
