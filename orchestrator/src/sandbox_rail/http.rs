//! Requests and answers on the wire. Served by hyper without a router: the faults need a connection
//! that closes without an answer, which a service says by an error.

use std::sync::Arc;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use super::Rail;
use super::faults::Faults;
use super::limits::{MAX_BATCH, MAX_BODY, REQUEST_TIMEOUT};
use super::payouts::{Fate, Invalid, Order, Reply};

/// The connection closes without an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer")]
pub(super) struct NoAnswer;

type Answer = Response<Full<Bytes>>;

/// The body of `PUT /v1/payouts/{key}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PayoutBody<'a> {
    #[serde(borrow)]
    account: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    currency: std::borrow::Cow<'a, str>,
    minor: u64,
}

/// RFC 9457.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
}

/// Answers one request, or closes the connection without an answer.
pub(super) async fn answer(
    rail: Arc<Rail>,
    request: Request<Incoming>,
) -> Result<Answer, NoAnswer> {
    let (head, body) = request.into_parts();
    let body = match read(body).await {
        Ok(body) => body,
        Err(problem) => return Ok(*problem),
    };
    let (method, path) = (head.method, head.uri.path());
    match path {
        "/v1/book" if method == Method::GET => return book(&rail, head.uri.query()).await,
        "/v1/faults" if method == Method::PUT => return Ok(faults(&rail, &body)),
        "/v1/book" => return Ok(not_allowed("GET")),
        "/v1/faults" => return Ok(not_allowed("PUT")),
        _ => {}
    }
    let fate = rail.payouts.fate(&[method.as_str().as_bytes(), path.as_bytes(), &body]);
    match fate {
        Fate::TooManyRequests => {
            let mut answer = problem(429, "too_many_requests", "try again after the time named");
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return Ok(answer);
        }
        Fate::ServerError => return Ok(problem(500, "internal", "something went wrong")),
        Fate::Answered | Fate::LostReply => {}
    }
    let answer = payouts(&rail, &method, path, &body)?;
    // What was said must be durable, and so must what another request in flight has changed.
    rail.writer.flushed(rail.writer.last()).await.map_err(|_| NoAnswer)?;
    let slow = rail.payouts.slow();
    if !slow.is_zero() {
        tokio::time::sleep(slow).await;
    }
    if fate == Fate::LostReply { Err(NoAnswer) } else { Ok(answer) }
}

async fn read(body: Incoming) -> Result<Bytes, Box<Answer>> {
    let collected = tokio::time::timeout(REQUEST_TIMEOUT, Limited::new(body, MAX_BODY).collect());
    match collected.await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(problem(413, "body_too_large", "a body has at most 2 MiB").into())
        }
        Ok(Err(_)) => Err(problem(400, "body_broken", "the body ended early").into()),
        Err(_) => Err(problem(408, "body_too_slow", "the body took longer than 30 seconds").into()),
    }
}

fn payouts(rail: &Rail, method: &Method, path: &str, body: &[u8]) -> Result<Answer, NoAnswer> {
    if path == "/v1/payouts:batch" {
        let post = *method == Method::POST;
        return Ok(if post { batch(rail, body) } else { not_allowed("POST") });
    }
    let Some(key) = path.strip_prefix("/v1/payouts/") else {
        return Ok(problem(404, "no_such_path", "there is nothing at this path"));
    };
    let Ok(key) = percent_decode_str(key).decode_utf8() else {
        return Ok(problem(400, "invalid_key", "the key in the path is not UTF-8"));
    };
    match *method {
        Method::GET => Ok(rail.payouts.ask(&key).map_or_else(
            || problem(404, "unknown_key", "no payout is known under this key"),
            |reply| json(StatusCode::OK, &reply),
        )),
        Method::PUT => put(rail, &key, body),
        _ => Ok(not_allowed("GET, PUT")),
    }
}

fn put(rail: &Rail, key: &str, body: &[u8]) -> Result<Answer, NoAnswer> {
    let body: PayoutBody<'_> = match serde_json::from_slice(body) {
        Ok(body) => body,
        Err(error) => return Ok(problem(400, "malformed_json", &error.to_string())),
    };
    let PayoutBody { account, currency, minor } = body;
    let order = Order { key: key.into(), account, currency, minor };
    if let Err(Invalid { field, code, detail }) = order.check() {
        return Ok(located(400, code, detail, Some(field), None));
    }
    let (first, second) = rail.payouts.submit(&order, &rail.writer, rail.now_ms());
    let reply = second.unwrap_or(first);
    match StatusCode::from_u16(reply.status) {
        Ok(StatusCode::CONFLICT) => {
            Ok(problem(409, "idempotency_key_reused", "the key was used with another body"))
        }
        Ok(StatusCode::GATEWAY_TIMEOUT) | Err(_) => Err(NoAnswer),
        Ok(status) => Ok(json(status, &reply)),
    }
}

fn batch(rail: &Rail, body: &[u8]) -> Answer {
    let text = body.strip_suffix(b"\n").unwrap_or(body);
    let mut orders: Vec<Order<'_>> = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if index == MAX_BATCH {
            return problem(400, "too_many_lines", "a batch has at most 1000 lines");
        }
        match serde_json::from_slice(line) {
            Ok(order) => orders.push(order),
            Err(error) => {
                let detail = error.to_string();
                return located(400, "malformed_json", &detail, None, Some(index + 1));
            }
        }
    }
    let now_ms = rail.now_ms();
    let mut answer = Vec::with_capacity(orders.len() * 128);
    for order in &orders {
        if let Err(Invalid { code, .. }) = order.check() {
            let (key, code) = (order.key.as_ref(), Some(code));
            write(&mut answer, &Reply { key, status: 400, state: None, minor: None, code });
            continue;
        }
        let (first, second) = rail.payouts.submit(order, &rail.writer, now_ms);
        write(&mut answer, &first);
        if let Some(second) = second {
            write(&mut answer, &second);
        }
    }
    respond(StatusCode::OK, "application/x-ndjson", answer)
}

async fn book(rail: &Arc<Rail>, query: Option<&str>) -> Result<Answer, NoAnswer> {
    let after = match query.unwrap_or_default() {
        "" => 0,
        query => match query.strip_prefix("after=").map(str::parse::<u64>) {
            Some(Ok(after)) => after,
            _ => {
                let detail = "the only parameter is after, a sequence number";
                return Ok(located(400, "invalid_query", detail, Some("after"), None));
            }
        },
    };
    let reading = Arc::clone(rail);
    let page = tokio::task::spawn_blocking(move || reading.writer.page(after)).await;
    match page {
        Ok(Ok(page)) => Ok(respond(StatusCode::OK, "application/x-ndjson", page)),
        Ok(Err(error)) => Ok(problem(500, "book_unreadable", &error.to_string())),
        Err(_) => Err(NoAnswer),
    }
}

fn faults(rail: &Rail, body: &[u8]) -> Answer {
    let parsed = if body.trim_ascii_start().starts_with(b"{") {
        Faults::from_json(body)
    } else {
        match std::str::from_utf8(body) {
            Ok(text) => Faults::parse(text),
            Err(_) => return problem(400, "invalid_fault", "the body is not UTF-8"),
        }
    };
    match parsed {
        Ok(faults) => {
            rail.set_faults(faults);
            let mut answer = Response::new(Full::default());
            *answer.status_mut() = StatusCode::NO_CONTENT;
            answer
        }
        Err(error) => problem(400, "invalid_fault", &error.to_string()),
    }
}

fn write(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(&mut *out, value)
        .expect("an answer has string keys and is written to memory");
    out.push(b'\n');
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let mut body = Vec::with_capacity(128);
    write(&mut body, value);
    respond(status, "application/json", body)
}

fn respond(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

fn not_allowed(methods: &'static str) -> Answer {
    let mut answer = problem(405, "method_not_allowed", "the path takes other methods");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    answer
}

fn problem(status: u16, code: &str, detail: &str) -> Answer {
    located(status, code, detail, None, None)
}

fn located(
    status: u16,
    code: &str,
    detail: &str,
    field: Option<&str>,
    line: Option<usize>,
) -> Answer {
    let known = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let problem = Problem {
        r#type: "about:blank",
        title: known.canonical_reason().unwrap_or_default(),
        status,
        detail,
        code,
        retryable: matches!(status, 408 | 429 | 500..),
        field,
        line,
    };
    let mut answer = json(known, &problem);
    let content_type = HeaderValue::from_static("application/problem+json");
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}
