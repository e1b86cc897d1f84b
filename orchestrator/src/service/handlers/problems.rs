//! What the service says of itself: its description, and a page a problem's code, where the
//! problem's `type` points.

use super::{PathText, json, path_text, text};
use crate::service::openapi;
use crate::service::problem::{Problem, TABLE};
use axum::response::Response;
use hyper::StatusCode;

/// `GET /problems/{code}`
pub async fn page(path: PathText) -> Result<Response, Problem> {
    let word = path_text(path)?;
    let row = TABLE.iter().find(|row| row.word == word);
    let row = row.ok_or_else(|| Problem::not_found("there is no such code"))?;
    let again = if row.retryable {
        "The same request may do better later."
    } else {
        "The same request will meet the same problem."
    };
    let page = format!(
        "{}\n{}\n\ncode      {}\nstatus    {}\nretryable {}\n\n{}\n{again}\n",
        row.title,
        "=".repeat(row.title.len()),
        row.word,
        row.status,
        row.retryable,
        row.page
    );
    Ok(text(StatusCode::OK, page))
}

/// `GET /openapi.json`
pub async fn openapi() -> Result<Response, Problem> {
    json(StatusCode::OK, &openapi::description())
}
