//! Who lives in a simulated town: programs, workflows, and the names of what people hand in.

use super::chance::Chance;
use super::plan::Plan;
use gristmill_workflows::definition::File;
use gristmill_workflows::money::Currency;
use gristmill_workflows::program::{Band, Program, Rates, Task, Unit};
use gristmill_workflows::submission::{Modality, Terms};
use serde_json::json;
use std::collections::BTreeMap;

/// Paid in won, without media.
pub(super) const PLAIN: &str = "plain";
/// Paid in cents, with media.
pub(super) const MEDIA: &str = "media";

/// What a stage does with a contribution; its name ends the idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// Nothing strange.
    Fine,
    /// This many attempts fail.
    Fails(u16),
    /// This many attempts panic in the stage's pool.
    Panics(u16),
    /// This many attempts panic in the contribution's own actor.
    PanicsInActor(u16),
    /// This many attempts take longer than their timeout.
    Hangs(u16),
    /// No attempt will do.
    Permanent,
    /// It parks for this many seconds.
    Parks(u16),
    /// It parks for the signal `go`.
    Signal,
    /// It is rejected.
    Refused,
    /// It kills its node each time it runs.
    Kills,
}

impl Behaviour {
    /// Draws one; `poison` and `killers` are in 10,000.
    pub(super) fn draw(chance: &Chance, plan: &Plan) -> Self {
        if chance.hits(plan.killers) {
            return Self::Kills;
        }
        if !chance.hits(plan.poison) {
            return Self::Fine;
        }
        let times = *chance.one(&[1, 2, 3, 9]).unwrap_or(&1);
        match chance.below(9) {
            0 => Self::Panics(times),
            1 => Self::PanicsInActor(times),
            2 => Self::Hangs(times),
            3 => Self::Permanent,
            4 => Self::Parks(*chance.one(&[1, 30, 400]).unwrap_or(&1)),
            5 => Self::Signal,
            6 => Self::Refused,
            _ => Self::Fails(times),
        }
    }

    /// As the end of an idempotency key.
    pub(super) fn word(self) -> String {
        match self {
            Self::Fine => "fine".to_owned(),
            Self::Fails(n) => format!("fails{n}"),
            Self::Panics(n) => format!("panics{n}"),
            Self::PanicsInActor(n) => format!("actor{n}"),
            Self::Hangs(n) => format!("hangs{n}"),
            Self::Permanent => "permanent".to_owned(),
            Self::Parks(n) => format!("parks{n}"),
            Self::Signal => "signal".to_owned(),
            Self::Refused => "refused".to_owned(),
            Self::Kills => "kills".to_owned(),
        }
    }

    /// From the end of an idempotency key.
    pub(super) fn of(key: &str) -> Self {
        let word = key.rsplit('-').next().unwrap_or_default();
        let digits = word.trim_start_matches(|c: char| c.is_ascii_lowercase());
        let times = digits.parse().unwrap_or(1);
        match &word[..word.len() - digits.len()] {
            "fails" => Self::Fails(times),
            "panics" => Self::Panics(times),
            "actor" => Self::PanicsInActor(times),
            "hangs" => Self::Hangs(times),
            "permanent" => Self::Permanent,
            "parks" => Self::Parks(times),
            "signal" => Self::Signal,
            "refused" => Self::Refused,
            "kills" => Self::Kills,
            _ => Self::Fine,
        }
    }
}

/// The terms of every program.
pub(super) fn terms() -> Terms {
    Terms { version: "1".to_owned(), sha256: "ab".repeat(32), uri: "terms/1.txt".to_owned() }
}

/// The programs of a plan, each with a budget of about as many items as the plan says.
pub(super) fn programs(plan: &Plan) -> BTreeMap<String, Program> {
    let rates = Rates {
        version: 1,
        bands: vec![Band { from: 2_000, bp: 7_777 }, Band { from: 7_000, bp: 10_001 }],
        demand_bp: 10_333,
    };
    let task = |modality, rate_micro, item_cap_micro| Task {
        modality,
        languages: Vec::new(),
        unit: Unit::Item,
        rate_micro,
        item_cap_micro,
        floor: 3_000,
    };
    let none = Modality::None;
    let plain = [
        ("small", task(none, 333_333, 50_000_000)),
        ("large", task(none, 7_654_321, 50_000_000)),
        ("capped", task(none, 90_000_000, 5_000_000)),
    ];
    let media = [("photo", task(Modality::Image, 1_234_567, 50_000_000))];
    let program = |id: &str, workflow: &str, currency: &str, tasks: BTreeMap<String, Task>| {
        let each = tasks.values().map(|task| task.rate_micro.min(task.item_cap_micro)).max();
        Program {
            id: id.to_owned(),
            workflow: workflow.to_owned(),
            currency: Currency::try_from(currency.to_owned()).expect("three capital letters"),
            budget_micro: each.unwrap_or(0) * plan.budget_items,
            purpose: "ai-training".to_owned(),
            terms: terms(),
            day_cap_micro: (id == PLAIN).then_some(60_000_000),
            utc_offset_minutes: 540,
            rates: rates.clone(),
            tasks,
        }
    };
    let named = |tasks: &[(&str, Task)]| {
        tasks.iter().map(|(name, task)| ((*name).to_owned(), task.clone())).collect()
    };
    [
        (PLAIN.to_owned(), program(PLAIN, "plain", "KRW", named(&plain))),
        (MEDIA.to_owned(), program(MEDIA, "media", "USD", named(&media))),
    ]
    .into()
}

/// The workflow files: the shipped stages, and stages that misbehave on demand.
pub(super) fn workflows() -> Vec<File> {
    let factor = |measure: &str| {
        json!({"worst_bp": 0, "factors": [
            {"measure": measure, "weight": 1, "points": [[0, 0], [10_000, 10_000]]}
        ]})
    };
    let tables = json!({
        "voice": factor("level_cdb"),
        "image": factor("short_side"),
        "video": factor("short_side"),
    });
    let payout = json!({"requests": ["log", "pay"], "policy":
        {"timeout_ms": 60_000, "attempts": 8, "total_ms": 36_000_000}});
    let probe = json!({"policy":
        {"timeout_ms": 2_000, "attempts": 4, "concurrency": 4, "backoff_max_ms": 2_000}});
    let scoring = json!({"requests": ["claim"], "settings": {"table": tables}, "policy":
        {"timeout_ms": 5_000, "attempts": 5, "concurrency": 3, "rate_per_s": 50,
         "exhausted": "reject"}});
    let files = [
        json!({"name": "plain", "version": 1,
        "stages": ["consent", "fuse", "probe", "fixed_score", "valuation", "trace", "payout"],
        "stage": {
            "consent": {"requests": ["hold"]},
            "fuse": {"policy": {"attempts": 4}},
            "probe": probe,
            "fixed_score": {"settings": {"score": 8_000, "units": 1}},
            "valuation": {"requests": ["reserve"]},
            "trace": {"requests": ["log"]},
            "payout": payout,
        }}),
        json!({"name": "media", "version": 1,
        "stages": ["consent", "probe", "scoring", "valuation", "trace", "payout"],
        "stage": {
            "consent": {"requests": ["hold"]},
            "probe": probe,
            "scoring": scoring,
            "valuation": {"requests": ["reserve"]},
            "trace": {"requests": ["log"]},
            "payout": payout,
        }}),
    ];
    let parse = |file| serde_json::from_value(file).expect("the file is written here");
    files.into_iter().map(parse).collect()
}
