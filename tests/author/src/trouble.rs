//! A stage that misbehaves on demand: what it does stands in the idempotency key.

use gristmill_actors::stage::{
    Context, Effect, Nothing, Outcome, Settings, SettingsError, Stage, StageError,
};

pub(crate) struct Trouble;

impl Stage for Trouble {
    const NAME: &'static str = "trouble";
    const EFFECT: Effect = Effect::Idempotent;
    type Input = Nothing;
    type Output = Nothing;

    fn new(settings: Settings) -> Result<Self, SettingsError> {
        settings.none().map(|()| Self)
    }

    async fn run(&self, cx: &Context, _: Nothing) -> Result<Outcome<Nothing>, StageError> {
        let mended = std::env::var_os("TROUBLE_MENDED").is_some();
        let word = cx.submission().idempotency_key.split('-').next().unwrap_or_default();
        match word {
            _ if mended => Ok(Outcome::done(Nothing {})),
            "retry" if cx.attempt() < 3 => Err(StageError::Retryable("not yet".to_owned())),
            "exhaust" => Err(StageError::Retryable("never".to_owned())),
            "permanent" => Err(StageError::Permanent("for good".to_owned())),
            "park" if cx.now() < cx.submission().at.plus_ms(300) => {
                Ok(Outcome::ParkUntil(cx.submission().at.plus_ms(300)))
            }
            "signal" => Ok(Outcome::ParkForSignal("approved")),
            "reject" => Ok(Outcome::Reject("unwanted")),
            "hang" => std::future::pending().await,
            "panic" => Err(boom()),
            "crash" => std::process::abort(),
            _ => Ok(Outcome::done(Nothing {})),
        }
    }
}

#[expect(clippy::panic, reason = "this stage panics on demand")]
fn boom() -> StageError {
    panic!("trouble was asked for")
}
