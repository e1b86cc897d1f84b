//! The rail as a node of the simulation sees it.

use super::wire::{Wire, at_once};
use crate::model_rail::{Fault, ModelRail};
use gristmill_actors::rail::{
    Answer, BookLine, BoxFuture, PayoutRequest, Rail, RailError, RailProfile,
};
use std::sync::Arc;
use std::time::Duration;

/// A node's way to the rail.
#[derive(Debug)]
pub(super) struct RailWire {
    pub(super) wire: Wire,
    pub(super) rail: Arc<ModelRail>,
}

impl RailWire {
    /// What the next submission meets.
    fn faults(&self) -> Vec<Fault> {
        let sim = &self.wire.sim;
        if sim.is_calm() {
            return Vec::new();
        }
        let rates = sim.plan.rail;
        let after = Duration::from_millis(sim.chance.between(10, 2_900));
        let minor = sim.chance.between(1, 400);
        let code = "account_refused".to_owned();
        let kinds = [
            (rates.lost_reply, "rail lost reply", Fault::LostReply),
            (rates.server_error, "rail server error", Fault::ServerError),
            (rates.too_many, "rail too many requests", Fault::TooManyRequests),
            (rates.batch_rejected, "rail batch rejected", Fault::BatchRejected),
            (rates.late_shown, "rail late", Fault::LateApply { after, shown: true }),
            (rates.late_hidden, "rail late unseen", Fault::LateApply { after, shown: false }),
            (rates.other_amount, "rail other amount", Fault::OtherAmount { minor }),
            (rates.confirmed_failure, "rail confirmed failure", Fault::ConfirmedFailure { code }),
        ];
        let mut faults = Vec::new();
        for (bp, word, fault) in kinds {
            if sim.chance.hits(bp) {
                sim.journal.fault(word);
                faults.push(fault);
            }
        }
        faults
    }
}

impl Rail for RailWire {
    fn profile(&self) -> &RailProfile {
        self.rail.profile()
    }

    fn submit(&self, batch: Vec<PayoutRequest>) -> BoxFuture<'_, Result<Vec<Answer>, RailError>> {
        Box::pin(async move {
            self.wire.travel().await;
            let sim = &self.wire.sim;
            for request in &batch {
                sim.witness.submitted(&request.key, request.minor, &sim.journal);
            }
            self.rail.stand(self.faults());
            let keys = batch.len();
            let answers = at_once(self.rail.submit(batch));
            sim.journal.note(format_args!(
                "{} submits {keys} payouts: {}",
                self.wire.process.name,
                said(&answers)
            ));
            self.wire.travel().await;
            answers
        })
    }

    fn ask(&self, keys: Vec<String>) -> BoxFuture<'_, Result<Vec<Answer>, RailError>> {
        Box::pin(async move {
            self.wire.travel().await;
            let answers = at_once(self.rail.ask(keys));
            let name = &self.wire.process.name;
            self.wire.sim.journal.note(format_args!("{name} asks the rail: {}", said(&answers)));
            self.wire.travel().await;
            answers
        })
    }

    fn book(&self, after: u64) -> BoxFuture<'_, Result<Vec<BookLine>, RailError>> {
        Box::pin(async move { self.rail.book(after).await })
    }
}

fn said(answers: &Result<Vec<Answer>, RailError>) -> String {
    match answers {
        Ok(answers) => answers.iter().map(word).collect::<Vec<_>>().join(" "),
        Err(error) => error.to_string(),
    }
}

fn word(answer: &Answer) -> &'static str {
    match answer {
        Answer::Paid { .. } => "paid",
        Answer::Pending => "pending",
        Answer::Failed { .. } => "failed",
        Answer::Conflict => "conflict",
        Answer::NotFound => "not-found",
        Answer::Unknown => "unknown",
    }
}
