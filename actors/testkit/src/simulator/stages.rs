//! Stages that misbehave on demand, and a measurer without a decoder.

use super::town::Behaviour;
use super::wire::{Life, Wire};
use gristmill_actors::engine::{MeasureError, Measured, Measurer};
use gristmill_actors::rail::BoxFuture;
use gristmill_actors::stage::{
    Context, Effect, Nothing, Outcome, Settings, SettingsError, Stage, StageError,
};
use gristmill_workflows::submission::Modality;
use std::collections::BTreeMap;
use std::time::Duration;

/// Words of every panic that a simulation wants; its runner keeps them quiet.
pub const WANTED_PANIC: &str = "a simulated panic";

/// Runs in the stage's pool.
pub(super) struct Probe(pub(super) Wire);

impl Stage for Probe {
    const NAME: &'static str = "probe";
    const EFFECT: Effect = Effect::Idempotent;
    type Input = Nothing;
    type Output = Nothing;

    fn new(_: Settings) -> Result<Self, SettingsError> {
        Err(SettingsError::Meaning("this stage is made by the simulator".to_owned()))
    }

    async fn run(&self, cx: &Context, _: Nothing) -> Result<Outcome<Nothing>, StageError> {
        let sim = &self.0.sim;
        self.0.travel().await;
        if sim.is_stage_down() {
            return Err(StageError::Unavailable("simulated".to_owned()));
        }
        let key = &cx.submission().idempotency_key;
        match Behaviour::of(key) {
            Behaviour::Fails(times) if cx.attempt() <= times => {
                let after = sim.chance.hits(3_000);
                let word = "simulated".to_owned();
                let error = if after {
                    StageError::RetryAfter(word, sim.chance.between(1, 3_000))
                } else {
                    StageError::Retryable(word)
                };
                Err(error)
            }
            Behaviour::Panics(times) if cx.attempt() <= times => wanted_panic(),
            Behaviour::Hangs(times) if cx.attempt() <= times => {
                tokio::time::sleep(Duration::from_secs(30)).await;
                Ok(Outcome::done(Nothing {}))
            }
            Behaviour::Permanent => Err(StageError::Permanent("simulated".to_owned())),
            Behaviour::Parks(seconds) => {
                let until = cx.submission().at.plus_ms(u64::from(seconds) * 1_000);
                let over = until <= cx.now();
                Ok(if over { Outcome::done(Nothing {}) } else { Outcome::ParkUntil(until) })
            }
            Behaviour::Signal if !cx.signalled("go") => Ok(Outcome::ParkForSignal("go")),
            Behaviour::Refused => Ok(Outcome::Reject("refused")),
            Behaviour::Kills => {
                sim.killed_by(key);
                self.0.process.set(Life::Dead);
                sim.changed.notify_one();
                std::future::pending().await
            }
            _ => Ok(Outcome::done(Nothing {})),
        }
    }
}

/// Runs in the contribution's own actor.
pub(super) struct Fuse;

impl Stage for Fuse {
    const NAME: &'static str = "fuse";
    const EFFECT: Effect = Effect::Pure;
    type Input = Nothing;
    type Output = Nothing;

    fn new(_: Settings) -> Result<Self, SettingsError> {
        Ok(Self)
    }

    async fn run(&self, cx: &Context, _: Nothing) -> Result<Outcome<Nothing>, StageError> {
        match Behaviour::of(&cx.submission().idempotency_key) {
            Behaviour::PanicsInActor(times) if cx.attempt() <= times => wanted_panic(),
            _ => Ok(Outcome::done(Nothing {})),
        }
    }
}

#[expect(clippy::panic, reason = "what a poison stage does")]
fn wanted_panic<T>() -> T {
    panic!("{WANTED_PANIC}")
}

/// The same bytes measure the same: their first byte is their quality.
pub(super) struct ModelMeasurer(pub(super) Wire);

impl Measurer for ModelMeasurer {
    fn measure(
        &self,
        bytes: Vec<u8>,
        _: Modality,
    ) -> BoxFuture<'_, Result<Measured, MeasureError>> {
        Box::pin(async move {
            self.0.travel().await;
            if self.0.sim.is_stage_down() {
                return Err(MeasureError::Unavailable("simulated".to_owned()));
            }
            match bytes.first() {
                None | Some(0) => Err(MeasureError::Verdict("undecodable")),
                Some(quality) => {
                    let side = i64::from(*quality) * 40;
                    let measures = BTreeMap::from([("short_side".to_owned(), side)]);
                    Ok(Measured { measures, units: 1, scorer: "model/1" })
                }
            }
        })
    }
}
