//! One row of a run's report (contract.md, `run` report, `journeys`).

use crate::journeys::{Definitions, Error, Found, Indices, stage_name};
use gristmill_workflows::id::ShardId;
use gristmill_workflows::journey::{Journey, PayoutState, State};
use gristmill_workflows::money::Currency;
use gristmill_workflows::request::{Cause, Wait};
use gristmill_workflows::submission::Submission;
use serde::Serialize;
use serde_json::Value;

/// One journey; what it did not reach is null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its first line in the manifest, from 1; none outside of a run's report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The contribution's id.
    pub id: String,
    /// The person, by the client's own id.
    pub contributor: String,
    /// The client's key.
    pub idempotency_key: String,
    /// The paying side.
    pub program: String,
    /// The workflow's name.
    pub workflow: Option<String>,
    /// The contract's word.
    pub state: &'static str,
    /// Why it was rejected.
    pub reason: Option<String>,
    /// Why it is paused, or what it is parked for.
    pub cause: Option<&'static str>,
    /// The stage that is due, or that rejected it; none once settled.
    pub stage: Option<&'static str>,
    /// Attempts made of the last stage it came to, the one under way included.
    pub attempts: Option<u32>,
    /// 0 to 10,000.
    pub score: Option<u64>,
    /// The price.
    pub amount: Option<Amount>,
    /// Index of its `contribution` entry.
    pub trace_index: Option<u64>,
    /// Every payout, oldest first.
    pub payouts: Vec<PayoutRow>,
    /// RFC 3339: when consent was taken back after acceptance.
    pub withdrawn_at: Option<String>,
    /// Receipt files, relative to the data directory.
    pub receipts: Vec<String>,
}

/// An amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// ISO 4217.
    pub currency: Currency,
    /// Micro-units.
    pub micro: u64,
}

/// One payout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PayoutRow {
    /// Its id: the key at the rail.
    pub id: String,
    /// Whole minor units.
    pub minor: u64,
    /// Where it stands.
    pub state: PayoutState,
    /// Index of its `payout` entry.
    pub trace_index: Option<u64>,
}

impl Row {
    /// The row of a contribution. `workflow` names the workflow of one that has not begun.
    ///
    /// # Errors
    /// [`Error`] when a row that says where entries stand cannot be read.
    pub async fn of(
        found: &Found,
        line: Option<u64>,
        workflow: Option<&str>,
        definitions: &Definitions,
        indices: &mut Indices<'_>,
    ) -> Result<Self, Error> {
        match found {
            Found::Journey { shard, journey } | Found::Expired { shard, journey, .. } => {
                Self::of_journey(*shard, journey, line, definitions, indices).await
            }
            Found::Queued { submission, .. } => {
                let mut row = Self::handed_in(submission, line);
                row.workflow = workflow.map(str::to_owned);
                Ok(row)
            }
        }
    }

    async fn of_journey(
        shard: ShardId,
        journey: &Journey,
        line: Option<u64>,
        definitions: &Definitions,
        indices: &mut Indices<'_>,
    ) -> Result<Self, Error> {
        let mut payouts = Vec::with_capacity(journey.payouts.len());
        for payout in &journey.payouts {
            let trace_index = match payout.entry {
                Some(entry) => indices.of(shard, entry).await?,
                None => None,
            };
            let (id, minor, state) = (payout.id.clone(), payout.minor, payout.state);
            payouts.push(PayoutRow { id, minor, state, trace_index });
        }
        let trace_index = match &journey.accepted {
            Some(accepted) => indices.of(shard, accepted.entry).await?,
            None => None,
        };
        let price = journey.price.as_ref();
        let withdrawn = journey.withdrawn.as_ref();
        Ok(Self {
            workflow: Some(journey.workflow.name.to_string()),
            state: journey.state.as_str(),
            reason: match &journey.state {
                State::Rejected(reason) => Some(reason.as_str().to_owned()),
                _ => None,
            },
            cause: match &journey.state {
                State::Paused { cause, .. } => Some(cause.as_str()),
                State::Parked { wait, .. } => Some(wait.as_str()),
                _ => None,
            },
            stage: stage_name(definitions, &journey.workflow, journey.stage),
            attempts: Some(attempts(journey)),
            score: price.map(|(_, price)| u64::from(price.score)).or_else(|| score(journey)),
            amount: price
                .map(|(currency, price)| Amount { currency: *currency, micro: price.micro }),
            trace_index,
            payouts,
            withdrawn_at: withdrawn.map(|withdrawn| withdrawn.at.rfc3339()),
            ..Self::handed_in(&journey.submission, line)
        })
    }

    fn handed_in(submission: &Submission, line: Option<u64>) -> Self {
        Self {
            line,
            id: submission.id.to_string(),
            contributor: submission.contributor.clone(),
            idempotency_key: submission.idempotency_key.clone(),
            program: submission.program.clone(),
            workflow: None,
            state: "queued",
            reason: None,
            cause: None,
            stage: None,
            attempts: None,
            score: None,
            amount: None,
            trace_index: None,
            payouts: Vec::new(),
            withdrawn_at: None,
            receipts: Vec::new(),
        }
    }
}

/// Attempts of the stage that a journey is at. Its failed ones are counted; the one that is under
/// way, or that ended by a decision, is one more.
fn attempts(journey: &Journey) -> u32 {
    let failed = u32::from(journey.attempts);
    let only_failed = match &journey.state {
        State::Parked { wait, .. } => matches!(wait, Wait::Backoff | Wait::Circuit),
        State::Paused { cause, .. } => {
            !matches!(cause, Cause::Permanent | Cause::RailWindowExpired)
        }
        State::Moving | State::Settled | State::Rejected(_) | State::Withdrawn => false,
    };
    failed + u32::from(!only_failed)
}

/// The score that a stage wrote, for a journey that has no price (yet, or any more).
pub(crate) fn score(journey: &Journey) -> Option<u64> {
    let outputs = journey.outputs.iter().rev();
    let mut fields = outputs.filter_map(|(_, json)| serde_json::from_slice::<Value>(json).ok());
    fields.find_map(|fields| fields.get("score").and_then(Value::as_u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journeys::find;
    use crate::journeys::town::{AT, Town};
    use gristmill_workflows::journey::{Accepted, Logged, Payout, WithdrawnAt};
    use gristmill_workflows::price::{Capped, Price};
    use gristmill_workflows::request::Reason;
    use gristmill_workflows::submission::Scope;
    use serde_json::json;

    async fn row(town: &Town, id: gristmill_workflows::id::ContributionId) -> Value {
        let found = find(&town.store, &[id]).await.unwrap().pop().unwrap().unwrap();
        let mut indices = Indices::new(&town.store);
        let workflow = Some("engine");
        let row = Row::of(&found, Some(3), workflow, &Definitions::new(), &mut indices).await;
        serde_json::to_value(row.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn what_was_not_reached_is_null() {
        let town = Town::new();
        let id = town.queue("kr-1", "a").await;
        let expected = json!({
            "line": 3, "id": id.to_string(), "contributor": "kr-1", "idempotency_key": "a",
            "program": "engine", "workflow": "engine", "state": "queued", "reason": null,
            "cause": null, "stage": null, "attempts": null, "score": null, "amount": null,
            "trace_index": null, "payouts": [], "withdrawn_at": null, "receipts": [],
        });
        assert_eq!(row(&town, id).await, expected);
    }

    #[tokio::test]
    async fn a_settled_row_has_price_index_and_payout() {
        let town = Town::new();
        let key = town.key.clone();
        let id = town
            .journey("kr-1", "a", |journey| {
                let price = Price {
                    units: 1,
                    score: 9000,
                    rate_micro: 5,
                    quality_bp: 10_000,
                    demand_bp: 10_000,
                    capped: Capped::None,
                    micro: 2_500_000,
                };
                journey.price = Some(("KRW".to_owned().try_into().unwrap(), price));
                let entry = Logged { position: 4, index: Some(11) };
                let scorer = "fixed/1".to_owned();
                journey.accepted = Some(Accepted { at: AT, card: 0, scorer, entry });
                journey.payouts.push(Payout {
                    id: key.payout(journey.submission.id, "acceptance", 1),
                    number: 1,
                    account: "acc".to_owned(),
                    minor: 2,
                    carry: 500_000,
                    state: PayoutState::Paid,
                    sent: Some(AT),
                    entry: Some(Logged { position: 6, index: None }),
                });
                let scope = Scope::All;
                journey.withdrawn = Some(WithdrawnAt { at: AT, scope, entry: None });
                journey.state = State::Settled;
            })
            .await;
        town.sequenced(town.shard(id), 6, &[12]).await;
        let row = row(&town, id).await;
        let payout = town.key.payout(id, "acceptance", 1);
        let payouts = json!([{"id": payout, "minor": 2, "state": "paid", "trace_index": 12}]);
        assert_eq!(row["payouts"], payouts);
        assert_eq!(row["amount"], json!({"currency": "KRW", "micro": 2_500_000}));
        assert_eq!((&row["trace_index"], &row["score"]), (&json!(11), &json!(9000)));
        assert_eq!((&row["state"], &row["attempts"]), (&json!("settled"), &json!(1)));
        assert_eq!(row["withdrawn_at"], json!("2026-11-22T00:00:00.000Z"));
    }

    #[tokio::test]
    async fn attempts_count_what_was_tried() {
        let town = Town::new();
        let exhausted = State::Paused { cause: Cause::Exhausted, detail: String::new() };
        let permanent = State::Paused { cause: Cause::Permanent, detail: String::new() };
        let rejected = State::Rejected(Reason::known("too_short"));
        let cases = [("1", exhausted, 3, 3), ("2", permanent, 0, 1), ("3", rejected, 1, 2)];
        for (key, state, failed, attempts) in cases {
            let id = town
                .journey("kr-1", key, |journey| {
                    journey.attempts = failed;
                    journey.state = state;
                    journey.outputs.push((1, br#"{"score":4200}"#.to_vec()));
                })
                .await;
            let row = row(&town, id).await;
            assert_eq!((&row["attempts"], &row["score"]), (&json!(attempts), &json!(4200)));
        }
    }
}
