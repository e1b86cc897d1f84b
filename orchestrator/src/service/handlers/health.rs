//! `/livez`, `/readyz`, `/metrics`.

use super::{content, text};
use crate::service::problem::{Code, Problem};
use crate::service::state::Service;
use axum::extract::State;
use axum::response::Response;
use hyper::StatusCode;
use std::sync::Arc;

/// The process answers: restart it only if this does not. It asks nothing of the store.
pub async fn livez() -> Response {
    text(StatusCode::OK, "alive\n")
}

/// Whether work may be sent here: not while draining, and not while the store does not answer.
pub async fn readyz(State(service): State<Arc<Service>>) -> Result<Response, Problem> {
    service.takes_in()?;
    service.probe().await?;
    Ok(text(StatusCode::OK, "ready\n"))
}

/// Metrics in Prometheus' text format 0.0.4.
pub async fn metrics(State(service): State<Arc<Service>>) -> Result<Response, Problem> {
    let text = service.engine.metrics.render().map_err(|error| {
        tracing::error!(%error, "metrics do not render");
        Problem::new(Code::Internal, "the metrics could not be written")
    })?;
    Ok(content(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text))
}
