//! Consent check: a valid grant covers the contribution. The shard pins it at acceptance; this
//! look at the contributor's state spares the work on what cannot be accepted.

use crate::stage::{Context, Effect, Nothing, Outcome, Settings, SettingsError, Stage, StageError};
use gristmill_workflows::contributor::Refusal;
use gristmill_workflows::request::{Reason, Request};
use gristmill_workflows::shard::refusal_reason;

#[derive(Debug)]
pub(super) struct Consent;

impl Stage for Consent {
    const NAME: &'static str = "consent";
    const EFFECT: Effect = Effect::Pure;
    type Input = Nothing;
    type Output = Nothing;

    fn new(settings: Settings) -> Result<Self, SettingsError> {
        settings.none().map(|()| Self)
    }

    async fn run(&self, cx: &Context, _: Nothing) -> Result<Outcome<Nothing>, StageError> {
        let Some(program) = cx.program() else {
            return Ok(Outcome::RejectAs(Reason::known("program_closed")));
        };
        let journey = cx.journey();
        let contributor = cx.contributor();
        let covering =
            contributor.covering(program, &journey.submission, journey.arrival, cx.now());
        Ok(match covering {
            Ok(_) => Outcome::Done(Nothing {}, vec![Request::Hold]),
            // The shard makes a withdrawal of this, whatever word stands here.
            Err(Refusal::WithdrawnSince) => Outcome::RejectAs(Reason::known("grant_withdrawn")),
            Err(refusal) => Outcome::RejectAs(refusal_reason(refusal)),
        })
    }
}
