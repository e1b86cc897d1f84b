//! What each endpoint does.

pub mod admin;
pub mod batch;
pub mod consents;
pub mod contributions;
pub mod health;
pub mod journey;
pub mod media;
pub mod problems;
pub mod public_log;
pub mod quarantine;
pub mod statement;

use crate::service::problem::{Code, Problem};
use axum::body::Body;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::response::Response;
use gristmill_workflows::id::ContributionId;
use hyper::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, StatusCode};
use serde::Serialize;

/// A path's parameter, which may not be UTF-8.
pub type PathText = Result<Path<String>, PathRejection>;

/// An answer in JSON.
pub fn json(status: StatusCode, value: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "an answer does not encode");
        Problem::new(Code::Internal, "the node's log says more")
    })?;
    Ok(content(status, "application/json", body))
}

/// An answer in plain text.
#[must_use]
pub fn text(status: StatusCode, body: impl Into<Body>) -> Response {
    content(status, "text/plain; charset=utf-8", body)
}

/// An answer.
#[must_use]
pub fn content(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Whether the client asks for plain text rather than JSON.
#[must_use]
pub fn wants_text(headers: &HeaderMap) -> bool {
    let accepts = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    accepts.is_some_and(|accepts| accepts.trim_start().starts_with("text/plain"))
}

/// A path's parameter as text.
pub fn path_text(path: PathText) -> Result<String, Problem> {
    let Path(text) = path.map_err(|_| Problem::not_found("the path is not UTF-8"))?;
    Ok(text)
}

/// A path's parameter as a contribution's id.
pub fn path_id(path: PathText) -> Result<ContributionId, Problem> {
    let none = |_| Problem::not_found("no such contribution");
    ContributionId::parse(&path_text(path)?).map_err(none)
}
