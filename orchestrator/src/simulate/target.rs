//! What a simulation drives: a service in this process.

use crate::manifest;
use crate::service::intake::{Answer, Durable};
use crate::service::problem::Problem;
use crate::service::state::Service;
use std::sync::Arc;

/// What became of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Durable.
    Taken,
    /// Not taken.
    Refused {
        /// The problem's code.
        code: String,
        /// The same line may do better later.
        retryable: bool,
    },
}

/// What takes lines.
#[derive(Debug, Clone)]
pub enum Target {
    /// The service of a node in this process.
    Embedded(Arc<Service>),
}

impl Target {
    /// Hands lines in, in their order; one answer each.
    pub async fn hand_in(&self, lines: &[String]) -> Vec<Told> {
        match self {
            Self::Embedded(service) => embedded(service, lines).await,
        }
    }
}

async fn embedded(service: &Service, lines: &[String]) -> Vec<Told> {
    let now = service.ports.clock.now();
    let mut answers: Vec<Option<Told>> = vec![None; lines.len()];
    let (mut read, mut places) = (Vec::with_capacity(lines.len()), Vec::new());
    for (place, line) in lines.iter().enumerate() {
        match manifest::parse(line.as_bytes(), now) {
            Ok(line) => {
                read.push(line);
                places.push(place);
            }
            Err(problem) => answers[place] = Some(refused(&problem.into())),
        }
    }
    for (place, answer) in places.into_iter().zip(service.submit(read).await) {
        answers[place] = Some(told(&answer));
    }
    let unanswered = || Told::Refused { code: "internal".to_owned(), retryable: false };
    answers.into_iter().map(|answer| answer.unwrap_or_else(unanswered)).collect()
}

fn told(answer: &Answer) -> Told {
    match answer {
        Ok(Durable::Contribution { .. } | Durable::Consent { .. } | Durable::Withdrawal { .. }) => {
            Told::Taken
        }
        Err(problem) => refused(problem),
    }
}

fn refused(problem: &Problem) -> Told {
    let row = problem.code.row();
    Told::Refused { code: row.word.to_owned(), retryable: row.retryable }
}
