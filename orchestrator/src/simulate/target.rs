//! What a simulation drives: a service in this process, or a node behind an address.

use super::limits::{LANES, LANES_HTTP};
use crate::client::{Call, Client, Error};
use crate::manifest;
use crate::service::intake::{Answer, Durable};
use crate::service::problem::Problem;
use crate::service::state::Service;
use hyper::body::Bytes;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What became of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Durable.
    Taken,
    /// Not taken.
    Refused {
        /// The problem's code; `connection` if there was no answer.
        code: String,
        /// The same line may do better later.
        retryable: bool,
    },
}

/// Whose turn it is.
static TURN: AtomicUsize = AtomicUsize::new(0);

/// What takes lines.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// The service of a node in this process.
    Embedded(Arc<Service>),
    /// Nodes behind addresses, in turn.
    Http(Vec<Client>),
}

impl Target {
    /// How many lanes lines go through.
    pub(crate) const fn lanes(&self) -> usize {
        match self {
            Self::Embedded(_) => LANES,
            Self::Http(_) => LANES_HTTP,
        }
    }

    /// Hands lines in, in their order; one answer each.
    pub(crate) async fn hand_in(&self, lines: &[String]) -> Vec<Told> {
        match self {
            Self::Embedded(service) => embedded(service, lines).await,
            Self::Http(clients) => {
                let turn = TURN.fetch_add(1, Ordering::Relaxed);
                http(&clients[turn % clients.len()], lines).await
            }
        }
    }

    /// Uploads what a contribution of somebody will name.
    pub(crate) async fn upload(&self, contributor: &str, bytes: Vec<u8>) -> Told {
        match self {
            Self::Embedded(service) => {
                let sha256 = Sha256::digest(&bytes).into();
                match service.keep_media(contributor, &sha256, bytes).await {
                    Ok(()) => Told::Taken,
                    Err(problem) => refused(&problem),
                }
            }
            Self::Http(clients) => {
                let turn = TURN.fetch_add(1, Ordering::Relaxed);
                let client = &clients[turn % clients.len()];
                let path = format!("/v1/media?contributor={}", Client::escaped(contributor));
                let kind = ("application/octet-stream", "application/json");
                match client.once(&Call::repeatable(&path, kind, Bytes::from(bytes))).await {
                    Ok(_) => Told::Taken,
                    Err(error) => unanswered(&error),
                }
            }
        }
    }
}

/// What an error instead of an answer says of everything in the call.
fn unanswered(error: &Error) -> Told {
    match error {
        Error::Problem { code, status, .. } => {
            let retryable = matches!(status, 408 | 429 | 503);
            Told::Refused { code: code.clone(), retryable }
        }
        error => {
            tracing::debug!(%error, "a call got no answer");
            Told::Refused { code: "connection".to_owned(), retryable: error.is_retryable() }
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

/// One line of a batch's answer.
#[derive(Deserialize)]
struct Line {
    line: usize,
    problem: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    code: String,
    retryable: bool,
}

/// One batch. An answer that broke off leaves the lines without one to be handed in again.
async fn http(client: &Client, lines: &[String]) -> Vec<Told> {
    let kind = ("application/x-ndjson", "application/x-ndjson");
    let mut body = lines.join("\n");
    body.push('\n');
    let call = Call::repeatable("/v1/contributions:batch", kind, Bytes::from(body));
    let all = |code: &str, retryable| {
        let code = code.to_owned();
        vec![Told::Refused { code, retryable }; lines.len()]
    };
    let answer = match client.once(&call).await {
        Ok(answer) => answer,
        Err(error) => return vec![unanswered(&error); lines.len()],
    };
    let mut told = all("unanswered", true);
    for text in answer.split(|byte| *byte == b'\n').filter(|text| !text.is_empty()) {
        let Ok(Line { line, problem }) = client.json(text) else { continue };
        let Some(place) = line.checked_sub(1).and_then(|place| told.get_mut(place)) else {
            continue;
        };
        *place = match problem {
            None => Told::Taken,
            Some(Refusal { code, retryable }) => Told::Refused { code, retryable },
        };
    }
    told
}
