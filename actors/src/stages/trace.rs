//! Trace: asks the shard to accept the contribution, its entry due to the public log.

use crate::record;
use crate::stage::{Context, Effect, Nothing, Outcome, Settings, SettingsError, Stage, StageError};
use gristmill_workflows::request::Request;

#[derive(Debug)]
pub(super) struct Trace;

record! {
    /// What the entry names of the scoring.
    pub(super) struct Scorer {
        /// The version of what measured and scored.
        pub(super) scorer: String,
    }
}

impl Stage for Trace {
    const NAME: &'static str = "trace";
    const EFFECT: Effect = Effect::Pure;
    type Input = Scorer;
    type Output = Nothing;

    fn new(settings: Settings) -> Result<Self, SettingsError> {
        settings.none().map(|()| Self)
    }

    async fn run(&self, _: &Context, input: Scorer) -> Result<Outcome<Nothing>, StageError> {
        let request = Request::LogContribution { scorer: input.scorer };
        Ok(Outcome::Done(Nothing {}, vec![request]))
    }
}
