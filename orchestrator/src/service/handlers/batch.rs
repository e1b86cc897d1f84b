//! `POST /v1/contributions:batch`: lines of a manifest in, an answer a line out, each written when
//! its line is durable. Lines are read while the ones before them are made durable.

use super::content;
use crate::limits::LINE_BYTES_MAX;
use crate::manifest::{self, Line};
use crate::service::body::{Stream, expect_content};
use crate::service::intake::Durable;
use crate::service::limits::{BATCH_LINES_MAX, STEP_BYTES, STEP_LINES, STEPS_WAITING};
use crate::service::problem::{Code, Problem};
use crate::service::state::Service;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use hyper::StatusCode;
use hyper::body::{Bytes, Frame};
use serde::Serialize;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// A line that was read, or why it was not.
type Read = (u64, Result<Line, Problem>);

#[derive(Serialize)]
#[serde(untagged)]
enum Told<'a> {
    Contribution { line: u64, id: String, state: &'static str },
    Consent { line: u64, grant: String, state: &'static str },
    Withdrawal { line: u64, withdrawn_at: String, state: &'static str },
    Problem { line: u64, problem: crate::service::problem::Wire<'a> },
}

/// `POST /v1/contributions:batch`
pub async fn submit(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    service.takes_in()?;
    expect_content(&headers, &["application/x-ndjson", "application/json"])?;
    let busy = |_| Problem::new(Code::Busy, "too many batches are under way");
    let permit = service.batches.clone().try_acquire_owned().map_err(busy)?;
    let (steps, waiting) = mpsc::channel(STEPS_WAITING);
    let lines = usize::try_from(BATCH_LINES_MAX).unwrap_or(usize::MAX);
    // As many answers as lines fit: a client that reads none until it has sent all comes through.
    let (answers, answered) = mpsc::channel(lines + 2);
    let reader = Reader { service: service.clone(), steps, step: Vec::new(), bytes: 0, line: 0 };
    tokio::spawn(reader.read(Stream::new(body)));
    tokio::spawn(async move {
        answer_steps(&service, waiting, answers).await;
        drop(permit);
    });
    Ok(content(StatusCode::OK, "application/x-ndjson", Body::new(Answers(answered))))
}

async fn answer_steps(
    service: &Service,
    mut waiting: mpsc::Receiver<Vec<Read>>,
    answers: mpsc::Sender<Bytes>,
) {
    while let Some(step) = waiting.recv().await {
        let answer = answer_step(service, step).await;
        if answers.send(answer).await.is_err() {
            // The client went away; what it sent before stays durable.
            return;
        }
    }
}

async fn answer_step(service: &Service, step: Vec<Read>) -> Bytes {
    let mut lines = Vec::with_capacity(step.len());
    let mut told = Vec::with_capacity(step.len());
    for (line, read) in step {
        match read {
            Ok(parsed) => {
                lines.push(parsed);
                told.push((line, None));
            }
            Err(problem) => told.push((line, Some(problem))),
        }
    }
    let mut submitted = match service.stands() {
        Ok(()) => service.submit(lines).await,
        Err(problem) => vec![Err(problem); lines.len()],
    }
    .into_iter();
    let mut out = Vec::with_capacity(told.len() * 96);
    for (line, refused) in told {
        let answer = match refused {
            Some(problem) => Err(problem),
            None => {
                submitted.next().unwrap_or_else(|| Err(Problem::new(Code::Internal, "no answer")))
            }
        };
        let answer = match answer {
            Ok(Durable::Contribution { id, repeated: true }) => {
                let state = super::contributions::state_of(service, id).await;
                state.map(|state| (Durable::Contribution { id, repeated: true }, state))
            }
            Ok(durable) => Ok((durable, "queued")),
            Err(problem) => Err(problem),
        };
        write(&mut out, line, &answer);
    }
    Bytes::from(out)
}

fn write(out: &mut Vec<u8>, line: u64, answer: &Result<(Durable, &'static str), Problem>) {
    let told = match answer {
        Ok((Durable::Contribution { id, .. }, state)) => {
            Told::Contribution { line, id: id.to_string(), state }
        }
        Ok((Durable::Consent { grant }, _)) => {
            Told::Consent { line, grant: grant.clone(), state: "given" }
        }
        Ok((Durable::Withdrawal { at }, _)) => {
            Told::Withdrawal { line, withdrawn_at: at.rfc3339(), state: "withdrawn" }
        }
        Err(problem) => Told::Problem { line, problem: problem.wire() },
    };
    serde_json::to_writer(&mut *out, &told)
        .expect("an answer has string keys and is written to memory");
    out.push(b'\n');
}

/// Cuts a body into lines and lines into steps.
struct Reader {
    service: Arc<Service>,
    steps: mpsc::Sender<Vec<Read>>,
    step: Vec<Read>,
    bytes: usize,
    line: u64,
}

/// What ends the reading of a batch early: nobody takes its steps any more.
struct Gone;

impl Reader {
    async fn read(mut self, mut body: Stream) {
        let mut rest = Vec::new();
        let mut skipping = false;
        loop {
            // What is there is made durable before more is waited for.
            let piece = match poll_now(body.next()).await {
                Ok(piece) => piece,
                Err(later) => {
                    if self.flush().await.is_err() {
                        return;
                    }
                    later.await
                }
            };
            let ended = match piece {
                Ok(Some(piece)) => {
                    let taken = self.take(&piece, &mut rest, &mut skipping).await;
                    if !matches!(taken, Ok(true)) {
                        // Told, or nobody listens.
                        return;
                    }
                    continue;
                }
                Ok(None) => None,
                Err(problem) => Some(problem),
            };
            let last = std::mem::take(&mut rest);
            let told = match ended {
                Some(problem) => self.refuse(problem).await,
                None if last.is_empty() => Ok(()),
                None => self.line(&last).await,
            };
            if told.is_ok() && self.flush().await.is_err() {
                tracing::debug!("the client of a batch went away");
            }
            return;
        }
    }

    /// Takes a piece of the body; true if more may follow.
    async fn take(
        &mut self,
        piece: &[u8],
        rest: &mut Vec<u8>,
        skipping: &mut bool,
    ) -> Result<bool, Gone> {
        let mut piece = piece;
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = piece.split_at(end);
            piece = &tail[1..];
            if std::mem::take(skipping) {
                continue;
            }
            if self.line >= BATCH_LINES_MAX {
                let detail = format!("a batch has at most {BATCH_LINES_MAX} lines");
                self.refuse(Problem::new(Code::BatchTooLong, detail)).await?;
                self.flush().await?;
                return Ok(false);
            }
            if rest.is_empty() {
                self.line(head).await?;
            } else {
                rest.extend_from_slice(head);
                let line = std::mem::take(rest);
                self.line(&line).await?;
            }
        }
        if !*skipping {
            rest.extend_from_slice(piece);
            if rest.len() > LINE_BYTES_MAX {
                *skipping = true;
                rest.clear();
                self.too_long().await?;
            }
        }
        Ok(true)
    }

    async fn line(&mut self, line: &[u8]) -> Result<(), Gone> {
        if line.len() > LINE_BYTES_MAX {
            return self.too_long().await;
        }
        if line.trim_ascii().is_empty() {
            self.line += 1;
            return Ok(());
        }
        let now = self.service.ports.clock.now();
        let parsed = self.service.takes_in().and_then(|()| Ok(manifest::parse(line, now)?));
        self.push(parsed, line.len()).await
    }

    async fn too_long(&mut self) -> Result<(), Gone> {
        let detail = format!("a line has at most {LINE_BYTES_MAX} bytes");
        self.refuse(Problem::new(Code::LineTooLong, detail)).await
    }

    async fn refuse(&mut self, problem: Problem) -> Result<(), Gone> {
        self.push(Err(problem), 0).await
    }

    async fn push(&mut self, read: Result<Line, Problem>, bytes: usize) -> Result<(), Gone> {
        self.line += 1;
        self.step.push((self.line, read));
        self.bytes += bytes;
        if self.step.len() >= STEP_LINES || self.bytes >= STEP_BYTES {
            return self.flush().await;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        if self.step.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        self.steps.send(std::mem::take(&mut self.step)).await.map_err(|_| Gone)
    }
}

/// A future's answer if it has one now; else the future, to wait for.
async fn poll_now<F: Future>(future: F) -> Result<F::Output, Pin<Box<F>>> {
    let mut future = Box::pin(future);
    let now = std::future::poll_fn(|context| {
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await;
    now.ok_or(future)
}

/// A body of answers as they come.
struct Answers(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Answers {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|answer| answer.map(|bytes| Ok(Frame::data(bytes))))
    }
}
