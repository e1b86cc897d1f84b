//! Lines that come one a request and wait for nothing but the store are made durable together: what
//! arrives while a step is under way makes up the next one.

use crate::manifest::Line;
use crate::service::intake::Answer;
use crate::service::limits::{REQUESTS_MAX, SINGLES_STEPS, STEP_LINES};
use crate::service::problem::{Code, Problem};
use crate::service::state::Service;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// A line and where its answer goes.
pub struct Single {
    line: Line,
    reply: oneshot::Sender<Answer>,
}

/// The end at which lines are handed in.
pub(super) struct Singles {
    sender: mpsc::Sender<Single>,
}

impl Singles {
    /// Both ends; no request waits for room.
    pub(super) fn channel() -> (Self, mpsc::Receiver<Single>) {
        let (sender, waiting) = mpsc::channel(REQUESTS_MAX);
        (Self { sender }, waiting)
    }

    /// Hands a line in and waits until it is durable.
    pub(super) async fn submit(&self, line: Line) -> Answer {
        let (reply, answer) = oneshot::channel();
        if self.sender.send(Single { line, reply }).await.is_err() {
            return Err(unanswered());
        }
        answer.await.unwrap_or_else(|_| Err(unanswered()))
    }
}

/// Makes lines durable for as long as some can come.
pub async fn run(service: Arc<Service>, mut waiting: mpsc::Receiver<Single>) {
    let steps = Arc::new(Semaphore::new(SINGLES_STEPS));
    while let Ok(permit) = steps.clone().acquire_owned().await {
        let mut step = Vec::new();
        if waiting.recv_many(&mut step, STEP_LINES).await == 0 {
            return;
        }
        let service = service.clone();
        tokio::spawn(async move {
            let (lines, replies): (Vec<Line>, Vec<_>) =
                step.into_iter().map(|Single { line, reply }| (line, reply)).unzip();
            let answers = service.submit(lines).await;
            drop(permit);
            for (reply, answer) in replies.into_iter().zip(answers) {
                if reply.send(answer).is_err() {
                    tracing::trace!("a client went away before its answer");
                }
            }
        });
    }
}

fn unanswered() -> Problem {
    Problem::new(Code::Internal, "no answer")
}
