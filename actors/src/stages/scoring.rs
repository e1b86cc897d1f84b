//! Scoring: measures the media in a worker process and turns the measures into the score.

use super::Needs;
use crate::engine::{MeasureError, Measured};
use crate::record;
use crate::stage::{Context, Effect, Nothing, Outcome, Settings, SettingsError, Stage, StageError};
use gristmill_workflows::request::{Reason, Request};
use gristmill_workflows::score::{Factor, ScoreTable, ScoreTables, Verdict};
use gristmill_workflows::submission::Modality;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tables {
    table: ScoreTables,
}

pub(super) struct Scoring {
    tables: ScoreTables,
    needs: Option<Needs>,
}

record! {
    /// The score, and everything that made it.
    pub(super) struct Scored {
        /// 0 to 10,000.
        pub(super) score: u16,
        /// What a rate counts.
        pub(super) units: u64,
        /// The version of what measured and scored.
        pub(super) scorer: String,
        /// What each measure gave.
        pub(super) factors: Vec<Factor>,
    }
}

impl Scoring {
    pub(super) fn with(settings: Settings, needs: Option<Needs>) -> Result<Self, SettingsError> {
        let Tables { table } = settings.parse()?;
        table.validate().map_err(|error| SettingsError::Meaning(error.to_string()))?;
        Ok(Self { tables: table, needs })
    }

    fn table(&self, modality: Modality) -> Option<&ScoreTable> {
        match modality {
            Modality::Voice => Some(&self.tables.voice),
            Modality::Image => Some(&self.tables.image),
            Modality::Video => Some(&self.tables.video),
            Modality::None => None,
        }
    }

    async fn bytes(needs: &Needs, cx: &Context) -> Result<Option<Vec<u8>>, StageError> {
        let slot = cx.submission().data_key;
        let keys = needs.ports.keys.keys(vec![slot]).await;
        let keys = keys.map_err(|error| StageError::Retryable(error.to_string()))?;
        let Some(key) = keys.into_iter().next().flatten() else { return Ok(None) };
        let blob = needs.ports.media.get(slot, key).await;
        blob.map_err(|error| StageError::Permanent(error.to_string()))
    }

    fn judge(
        &self,
        cx: &Context,
        table: &ScoreTable,
        measured: &Measured,
    ) -> Result<Outcome<Scored>, StageError> {
        let named: BTreeMap<&str, i64> =
            measured.measures.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let verdict = table.score(&named);
        let verdict = verdict.map_err(|error| StageError::Permanent(error.to_string()))?;
        let floor = cx.task().map_or(0, |task| task.floor);
        Ok(match verdict {
            Verdict::Gate { reason, .. } => Outcome::RejectAs(Reason::known(reason.as_str())),
            Verdict::Scored { score, .. } if score < i64::from(floor) => {
                Outcome::RejectAs(Reason::known("below_floor"))
            }
            Verdict::Scored { score, factors } => {
                let score = u16::try_from(score)
                    .map_err(|_| StageError::Permanent(format!("{score} is no score")))?;
                let scorer = measured.scorer.to_owned();
                let units = measured.units;
                let output = Scored { score, units, scorer, factors };
                Outcome::Done(output, vec![Request::Claim])
            }
        })
    }
}

impl Stage for Scoring {
    const NAME: &'static str = "scoring";
    const EFFECT: Effect = Effect::Idempotent;
    type Input = Nothing;
    type Output = Scored;

    fn new(_: Settings) -> Result<Self, SettingsError> {
        Err(SettingsError::Meaning("this stage is made by the node".to_owned()))
    }

    async fn run(&self, cx: &Context, _: Nothing) -> Result<Outcome<Scored>, StageError> {
        let submission = cx.submission();
        let Some(task) = cx.task() else {
            return Ok(Outcome::RejectAs(Reason::known("program_closed")));
        };
        if submission.modality != task.modality {
            return Ok(Outcome::RejectAs(Reason::known("wrong_modality")));
        }
        if !task.accepts_language(submission.language.as_deref()) {
            return Ok(Outcome::RejectAs(Reason::known("wrong_language")));
        }
        let Some(table) = self.table(submission.modality) else {
            return Err(StageError::Permanent("nothing to score in this modality".to_owned()));
        };
        let Some(needs) = &self.needs else {
            return Err(StageError::Permanent("this stage was made without a node".to_owned()));
        };
        let Some(bytes) = Self::bytes(needs, cx).await? else {
            return Err(StageError::Permanent("the media is not there any more".to_owned()));
        };
        match needs.measurer.measure(bytes, submission.modality).await {
            Ok(measured) => self.judge(cx, table, &measured),
            Err(MeasureError::Verdict(reason)) => Ok(Outcome::RejectAs(Reason::known(reason))),
            Err(MeasureError::Unavailable(detail)) => Err(StageError::Unavailable(detail)),
        }
    }
}
