//! A fixed score for contributions without media: benches, kill tests and simulations.

use crate::record;
use crate::stage::{Context, Effect, Nothing, Outcome, Settings, SettingsError, Stage, StageError};
use gristmill_workflows::request::Reason;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FixedScore {
    score: u16,
    units: u64,
}

record! {
    /// What valuation and the log need of a score.
    pub(super) struct Scored {
        /// 0 to 10,000.
        pub(super) score: u16,
        /// What a rate counts.
        pub(super) units: u64,
        /// The version of what measured and scored.
        pub(super) scorer: String,
    }
}

impl Stage for FixedScore {
    const NAME: &'static str = "fixed_score";
    const EFFECT: Effect = Effect::Pure;
    type Input = Nothing;
    type Output = Scored;

    fn new(settings: Settings) -> Result<Self, SettingsError> {
        let fixed: Self = settings.parse()?;
        if fixed.score > 10_000 {
            return Err(SettingsError::Meaning("score: 0 to 10000".to_owned()));
        }
        Ok(fixed)
    }

    async fn run(&self, cx: &Context, _: Nothing) -> Result<Outcome<Scored>, StageError> {
        if cx.task().is_some_and(|task| task.modality != cx.submission().modality) {
            return Ok(Outcome::RejectAs(Reason::known("wrong_modality")));
        }
        let scorer = "fixed/1".to_owned();
        Ok(Outcome::done(Scored { score: self.score, units: self.units, scorer }))
    }
}
