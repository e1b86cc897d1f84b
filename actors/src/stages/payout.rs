//! Payout: has the fixed payout made by the rail, once, and its entry logged.

use super::Needs;
use crate::contribution::tell;
use crate::payouts::{Delivery, Order, PayoutMessage, millis};
use crate::rail::PayoutRequest;
use crate::stage::{Context, Effect, Nothing, Outcome, Settings, SettingsError, Stage, StageError};
use gristmill_workflows::journey::PayoutState;
use gristmill_workflows::request::Request;
use tokio::sync::oneshot;

pub(super) struct Payout {
    needs: Option<Needs>,
}

impl Payout {
    pub(super) fn with(settings: Settings, needs: Option<Needs>) -> Result<Self, SettingsError> {
        settings.none()?;
        Ok(Self { needs })
    }
}

impl Stage for Payout {
    const NAME: &'static str = "payout";
    const EFFECT: Effect = Effect::Keyed;
    type Input = Nothing;
    type Output = Nothing;

    fn new(_: Settings) -> Result<Self, SettingsError> {
        Err(SettingsError::Meaning("this stage is made by the node".to_owned()))
    }

    fn prepare(&self) -> Vec<Request> {
        vec![Request::Pay]
    }

    async fn run(&self, cx: &Context, _: Nothing) -> Result<Outcome<Nothing>, StageError> {
        // Less than one minor unit: it is carried, nothing is paid.
        let Some(payout) = cx.payout() else { return Ok(Outcome::done(Nothing {})) };
        if payout.state != PayoutState::InFlight {
            let detail = "no payout is in flight, and no further try is allowed".to_owned();
            return Err(StageError::Permanent(detail));
        }
        let (Some(sent), Some((currency, _))) = (payout.sent, &cx.journey().price) else {
            return Err(StageError::Permanent("the payout was not released".to_owned()));
        };
        let Some(needs) = &self.needs else {
            return Err(StageError::Permanent("this stage was made without a node".to_owned()));
        };
        let (reply, answer) = oneshot::channel();
        let request = PayoutRequest {
            key: payout.id.clone(),
            account: payout.account.clone(),
            currency: currency.to_string(),
            minor: payout.minor,
        };
        let Some(batcher) = needs.payouts.get() else {
            return Err(StageError::Retryable("the payout batcher does not stand yet".to_owned()));
        };
        let order = Order { request, sent, fresh: cx.is_fresh(), reply };
        tell(batcher, PayoutMessage::Deliver(order));
        match answer.await {
            Ok(Delivery::Paid) => {
                let request = Request::LogPayout { rail: needs.rail.clone() };
                Ok(Outcome::Done(Nothing {}, vec![request]))
            }
            Ok(Delivery::Verdict(verdict)) => Err(StageError::Payout(verdict)),
            Ok(Delivery::Unavailable { detail, unseen, retry_after }) => {
                if !unseen {
                    cx.no_longer_fresh();
                }
                Err(match retry_after {
                    Some(after) => StageError::UnavailableFor(detail, millis(after)),
                    None => StageError::Unavailable(detail),
                })
            }
            Err(_) => Err(StageError::Retryable("the payout batcher ended".to_owned())),
        }
    }
}
