//! Valuation: asks the shard to price the contribution and to reserve the amount.

use crate::record;
use crate::stage::{Context, Effect, Nothing, Outcome, Settings, SettingsError, Stage, StageError};
use gristmill_workflows::request::Request;

#[derive(Debug)]
pub(super) struct Valuation;

record! {
    /// What a price is made of.
    pub(super) struct Valued {
        /// 0 to 10,000.
        pub(super) score: u16,
        /// What a rate counts.
        pub(super) units: u64,
    }
}

impl Stage for Valuation {
    const NAME: &'static str = "valuation";
    const EFFECT: Effect = Effect::Pure;
    type Input = Valued;
    type Output = Nothing;

    fn new(settings: Settings) -> Result<Self, SettingsError> {
        settings.none().map(|()| Self)
    }

    async fn run(&self, _: &Context, input: Valued) -> Result<Outcome<Nothing>, StageError> {
        let Valued { score, units } = input;
        Ok(Outcome::Done(Nothing {}, vec![Request::Reserve { units, score }]))
    }
}
