//! What the stages of the town come to.

use super::super::Proposal;
use super::town::Town;
use crate::definition::Effect as StageEffect;
use crate::id::Arrival;
use crate::journey::{Journey, PayoutState, State};
use crate::request::{Failure, PayoutVerdict, Request, Wait};
use crate::time::Timestamp;

impl Town {
    /// Stages run, and their outcomes are proposed.
    pub(super) fn act(&mut self) -> bool {
        let mut moved = false;
        while let Some((shard, arrival)) = self.runs.pop_front() {
            let journey = self.node(shard).shard.journey(arrival).cloned();
            if let Some(journey) = journey.filter(|j| j.state == State::Moving) {
                let proposal = self.outcome(&journey);
                self.propose(shard, arrival, proposal);
                moved = true;
            }
        }
        moved
    }

    pub(super) fn propose(&mut self, shard: u16, arrival: Arrival, proposal: Proposal) {
        let (now, random) = (self.now, self.random());
        self.node(shard).shard.propose(arrival, proposal, now, random);
    }

    /// What the usual stages come to, from where the journey stands.
    pub(super) fn outcome(&mut self, journey: &Journey) -> Proposal {
        let definition = self.world.workflows[&journey.workflow].clone();
        let units = self.units.get(&journey.submission.idempotency_key).copied().unwrap_or(1);
        let mut requests = Vec::new();
        let mut outputs = Vec::new();
        for stage in journey.stage..definition.end() {
            let signature = &definition.stages[usize::from(stage)].signature;
            if signature.effect == StageEffect::Keyed {
                if stage > journey.stage {
                    return Proposal::Advance { outputs, requests, next: stage };
                }
                match self.pay(journey) {
                    Ok(true) => {
                        requests.push((stage, Request::LogPayout { rail: "town".into() }));
                    }
                    Ok(false) => {}
                    Err(verdict) => {
                        let failure = Failure::Payout(verdict);
                        return Proposal::Failed { stage, failure };
                    }
                }
            }
            outputs.push((stage, b"{}".to_vec()));
            requests.extend(match signature.name {
                "consent" => vec![(stage, Request::Hold)],
                "value" => vec![(stage, Request::Reserve { units, score: 9000 })],
                "trace" => vec![
                    (stage, Request::LogContribution { scorer: "s/1".into() }),
                    (stage, Request::Pay),
                ],
                _ => vec![],
            });
            if signature.name == "trace" {
                return Proposal::Advance { outputs, requests, next: stage + 1 };
            }
        }
        Proposal::Advance { outputs, requests, next: definition.end() }
    }

    /// Whether there was something to pay.
    fn pay(&mut self, journey: &Journey) -> Result<bool, PayoutVerdict> {
        let Some(payout) = journey.payout() else { return Ok(false) };
        let at_the_rail = [PayoutState::InFlight, PayoutState::Suspense];
        assert!(at_the_rail.contains(&payout.state), "{:?} was run", payout.state);
        if let Some(verdict) = self.rail_says.get(&journey.submission.idempotency_key) {
            return Err(verdict.clone());
        }
        let before = self.rail.insert(payout.id.clone(), payout.minor);
        assert!(before.is_none_or(|minor| minor == payout.minor), "one key, two amounts");
        Ok(true)
    }

    /// Lets hand-ins in, but no stage runs.
    pub(super) fn admit(&mut self) {
        self.read_inboxes();
        self.runs.clear();
    }

    /// A proposal of the journey that was handed in at `arrival` on the first shard.
    pub(super) fn advance(&mut self, arrival: Arrival, requests: Vec<(u8, Request)>, next: u8) {
        let outputs = Vec::new();
        self.propose(0, arrival, Proposal::Advance { outputs, requests, next });
    }

    pub(super) fn park_until(&mut self, arrival: Arrival, stage: u8, until: Timestamp) {
        let (wait, until, signal) = (Wait::Timer, Some(until), None);
        self.propose(0, arrival, Proposal::Park { stage, wait, until, signal });
    }

    pub(super) fn park_for(&mut self, arrival: Arrival, stage: u8, signal: &str) {
        let (wait, until, signal) = (Wait::Signal, None, Some(signal.to_owned()));
        self.propose(0, arrival, Proposal::Park { stage, wait, until, signal });
    }

    pub(super) fn fail(&mut self, arrival: Arrival, stage: u8, failure: Failure) {
        self.propose(0, arrival, Proposal::Failed { stage, failure });
    }
}

/// What the stages up to trace ask for.
pub(super) fn accepting() -> Vec<(u8, Request)> {
    vec![
        (0, Request::Hold),
        (1, Request::Reserve { units: 1, score: 9000 }),
        (2, Request::LogContribution { scorer: "s/1".into() }),
        (2, Request::Pay),
    ]
}

pub(super) fn retryable() -> Failure {
    Failure::Retryable { detail: "no answer".into(), after_ms: None }
}
