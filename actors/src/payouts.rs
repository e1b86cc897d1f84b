//! The payout batcher: many journeys, one call to the rail.
//!
//! Supervised by the node. Payout stages hand in orders; calls run in tasks, a few at once, each
//! with as many orders as wait and fit. An order whose fate is unknown is asked for under its key,
//! and sent again under the same key only while the rail promises to recognise it
//! ([`gristmill_workflows::payout`]). If the batcher dies, the waiting attempts end as retryable;
//! their payouts are fixed in the store.

use crate::contribution::tell;
use crate::limits;
use crate::metrics::{PayoutResult, RailMetrics};
use crate::rail::{Answer, PayoutRequest, Rail, RailError};
use gristmill_workflows::payout::{self, Known, Promise, Step};
use gristmill_workflows::request::PayoutVerdict;
use gristmill_workflows::teeth::{Tooth, bites};
use gristmill_workflows::time::Timestamp;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

use crate::ports::Clock;

/// The actor.
#[derive(Debug)]
pub struct PayoutBatcher;

/// A fixed payout to be made.
#[derive(Debug)]
pub struct Order {
    /// What is asked of the rail.
    pub request: PayoutRequest,
    /// When its release was committed.
    pub sent: Timestamp,
    /// It cannot have been sent before.
    pub fresh: bool,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Delivery>,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// Paid, once, the amount asked for.
    Paid,
    /// Final, and not paid.
    Verdict(PayoutVerdict),
    /// The rail is down.
    Unavailable {
        /// What was met.
        detail: String,
        /// It has not seen the payout, before this call neither.
        unseen: bool,
        /// How long it asks to be left alone, if it says so.
        retry_after: Option<Duration>,
    },
}

/// What the batcher is told.
#[derive(Debug)]
pub enum PayoutMessage {
    /// A payout to be made.
    Deliver(Order),
    /// A call to submit came back.
    Submitted(Vec<Open>, Result<Vec<Answer>, RailError>),
    /// A call to ask came back.
    Asked(Vec<Open>, Result<Vec<Answer>, RailError>),
    /// Orders whose time to be asked for has come.
    Due(Vec<Open>),
}

/// An order under way.
#[derive(Debug)]
pub struct Open {
    order: Order,
    known: Known,
    asks: u32,
}

/// What it starts with.
pub struct Arguments {
    /// The rail.
    pub rail: Arc<dyn Rail>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// For whoever watches.
    pub watched: Arc<RailMetrics>,
}

impl std::fmt::Debug for Arguments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Arguments").field(self.rail.profile()).finish()
    }
}

/// What it keeps.
#[derive(Debug)]
pub struct State {
    arguments: Arguments,
    promise: Promise,
    to_send: VecDeque<Open>,
    to_ask: VecDeque<Open>,
    calls: usize,
}

impl Actor for PayoutBatcher {
    type Msg = PayoutMessage;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        _myself: ActorRef<Self::Msg>,
        arguments: Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let profile = arguments.rail.profile();
        let key_window_ms = millis(profile.key_window);
        let promise = Promise {
            key_window_ms,
            settle_ms: millis(profile.settle_time),
            margin_ms: key_window_ms / u64::from(limits::RAIL_MARGIN_PART),
        };
        let (to_send, to_ask) = (VecDeque::new(), VecDeque::new());
        Ok(State { arguments, promise, to_send, to_ask, calls: 0 })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: PayoutMessage,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            PayoutMessage::Deliver(order) => {
                let mut open = Open { known: Known::Fresh, order, asks: 0 };
                if !open.order.fresh {
                    state.learn(&mut open, Known::Unknown);
                }
                state.route(open, &myself);
            }
            PayoutMessage::Submitted(orders, answers) => {
                state.calls -= 1;
                state.answered(orders, answers, &myself);
            }
            PayoutMessage::Asked(orders, answers) => {
                state.calls -= 1;
                state.answered(orders, answers, &myself);
            }
            PayoutMessage::Due(orders) => state.to_ask.extend(orders),
        }
        state.call(&myself);
        Ok(())
    }
}

impl State {
    /// Puts an order where its next step is.
    fn route(&mut self, open: Open, myself: &ActorRef<PayoutMessage>) {
        let now = self.arguments.clock.now();
        match payout::next(self.promise, open.order.sent, open.known, now) {
            Step::Send => self.to_send.push_back(open),
            Step::Ask => self.ask_later(open, None, myself),
            Step::AskAt(at) => self.ask_later(open, Some(at.0.saturating_sub(now.0)), myself),
            Step::Expired => {
                self.answer(open, Delivery::Verdict(PayoutVerdict::WindowExpired));
            }
        }
    }

    /// Asks at once the first time, then with doubling waits.
    fn ask_later(&mut self, mut open: Open, ms: Option<u64>, myself: &ActorRef<PayoutMessage>) {
        open.asks += 1;
        if open.asks == 1 && ms.is_none() {
            self.to_ask.push_back(open);
            return;
        }
        let doubled = limits::RAIL_ASK_AFTER * 2u32.saturating_pow(open.asks.min(10) - 1);
        let wait = doubled.min(limits::RAIL_ASK_AFTER_MAX);
        let wait = wait.max(Duration::from_millis(ms.unwrap_or(0)));
        let myself = myself.clone();
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            tell(&myself, PayoutMessage::Due(vec![open]));
        });
    }

    fn call(&mut self, myself: &ActorRef<PayoutMessage>) {
        while self.calls < limits::RAIL_CALLS_MAX {
            let max = self.arguments.rail.profile().max_batch.max(1);
            let asking = !self.to_ask.is_empty();
            let queue = if asking { &mut self.to_ask } else { &mut self.to_send };
            if queue.is_empty() {
                return;
            }
            let orders: Vec<Open> = queue.drain(..max.min(queue.len())).collect();
            self.calls += 1;
            let (rail, myself) = (self.arguments.rail.clone(), myself.clone());
            tokio::spawn(async move {
                let message = if asking {
                    let keys = orders.iter().map(|open| open.order.request.key.clone()).collect();
                    let answers = rail.ask(keys).await;
                    PayoutMessage::Asked(orders, answers)
                } else {
                    let batch = orders.iter().map(|open| open.order.request.clone()).collect();
                    let answers = rail.submit(batch).await;
                    PayoutMessage::Submitted(orders, answers)
                };
                tell(&myself, message);
            });
        }
    }

    fn answered(
        &mut self,
        orders: Vec<Open>,
        answers: Result<Vec<Answer>, RailError>,
        myself: &ActorRef<PayoutMessage>,
    ) {
        match answers {
            Ok(answers) => {
                let missing = std::iter::repeat(Answer::Unknown);
                for (mut open, one) in orders.into_iter().zip(answers.into_iter().chain(missing)) {
                    // A rail that answers at all is soon asked again about what went wrong.
                    if one != Answer::Pending {
                        open.asks = open.asks.min(limits::RAIL_DOUBLINGS_ANSWERED);
                    }
                    self.take(open, one, myself);
                }
            }
            Err(error) if error.is_unavailable() => {
                for open in orders {
                    let (detail, unseen) = (error.to_string(), open.known == Known::Fresh);
                    let retry_after = error.retry_after();
                    self.answer(open, Delivery::Unavailable { detail, unseen, retry_after });
                }
            }
            Err(RailError::Rejected { code, .. }) => {
                for open in orders {
                    // Nothing of this call was applied; of an earlier one it may have been.
                    if open.known == Known::Fresh {
                        let verdict = PayoutVerdict::Failed { code: code.clone() };
                        self.answer(open, Delivery::Verdict(verdict));
                    } else {
                        self.take(open, Answer::Unknown, myself);
                    }
                }
            }
            Err(error) => {
                tracing::warn!(orders = orders.len(), %error, "the rail gave no answer");
                for open in orders {
                    self.take(open, Answer::Unknown, myself);
                }
            }
        }
    }

    fn take(&mut self, mut open: Open, one: Answer, myself: &ActorRef<PayoutMessage>) {
        let asked_for = open.order.request.minor;
        let delivery = match one {
            Answer::Paid { minor } if minor == asked_for => Delivery::Paid,
            Answer::Paid { minor } => Delivery::Verdict(PayoutVerdict::Differs { minor }),
            Answer::Conflict => Delivery::Verdict(PayoutVerdict::Differs { minor: 0 }),
            Answer::Failed { code } => Delivery::Verdict(PayoutVerdict::Failed { code }),
            Answer::Pending => {
                self.learn(&mut open, Known::Pending);
                return self.route(open, myself);
            }
            Answer::NotFound => {
                let now = self.arguments.clock.now();
                self.learn(&mut open, Known::NotFound(now));
                return self.route(open, myself);
            }
            Answer::Unknown => {
                if bites(Tooth::UnknownPayoutUnderNewKey) {
                    open.order.request.key.push('0');
                }
                self.learn(&mut open, Known::Unknown);
                return self.route(open, myself);
            }
        };
        self.answer(open, delivery);
    }

    fn learn(&self, open: &mut Open, known: Known) {
        let was = std::mem::replace(&mut open.known, known) == Known::Unknown;
        self.arguments.watched.unknown(known == Known::Unknown, was);
    }

    /// An attempt that timed out no longer listens; its next one asks the rail.
    fn answer(&self, open: Open, delivery: Delivery) {
        let Open { order, known, .. } = open;
        let watched = &self.arguments.watched;
        watched.unknown(false, known == Known::Unknown);
        let result = PayoutResult::of(&delivery);
        if order.reply.send(delivery).is_ok() {
            watched.answered(result);
        } else {
            tracing::debug!(payout = %order.request.key, "nobody waits for this answer any more");
        }
    }
}

/// A duration of a rail in milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
