//! The programs and workflows of the town.

use crate::definition::{Definition, Effect as StageEffect, File, Signature};
use crate::money::Currency;
use crate::program::{Band, Program, Rates, Task, Unit};
use crate::submission::{Modality, Terms};
use std::collections::BTreeMap;

/// What one unit earns: one won and a half.
pub(super) const RATE: u64 = 1_500_000;

pub(super) fn terms() -> Terms {
    Terms { version: "1".into(), sha256: "ab".repeat(32), uri: "terms/1".into() }
}

pub(super) fn won() -> Currency {
    Currency::try_from("KRW".to_owned()).unwrap()
}

pub(super) fn program(id: &str, workflow: &str, budget_micro: u64) -> Program {
    let task = Task {
        modality: Modality::Voice,
        languages: Vec::new(),
        unit: Unit::Item,
        rate_micro: RATE,
        item_cap_micro: 1_000_000_000_000,
        floor: 0,
    };
    Program {
        id: id.to_owned(),
        workflow: workflow.to_owned(),
        currency: won(),
        budget_micro,
        purpose: "training".into(),
        terms: terms(),
        day_cap_micro: None,
        utc_offset_minutes: 540,
        rates: Rates { version: 1, bands: vec![Band { from: 0, bp: 10_000 }], demand_bp: 10_000 },
        tasks: [("read".to_owned(), task)].into(),
    }
}

fn signature(name: &'static str, effect: StageEffect) -> Signature {
    Signature { name, version: 1, effect, input: &[], output: &[] }
}

pub(super) fn workflow(name: &str, stages: &[&str], policy: &serde_json::Value) -> Definition {
    let known = [
        signature("consent", StageEffect::Pure),
        signature("value", StageEffect::Pure),
        signature("trace", StageEffect::Pure),
        signature("think", StageEffect::Pure),
        signature("payout", StageEffect::Keyed),
    ];
    let tuned: BTreeMap<_, _> = stages.iter().map(|s| (*s, policy.clone())).collect();
    let file = serde_json::json!({"name": name, "version": 1, "stages": stages, "stage": tuned});
    serde_json::from_value::<File>(file).unwrap().check(&known).unwrap()
}
