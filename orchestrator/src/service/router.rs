//! Paths and their handlers.

use crate::service::access;
use crate::service::handlers::{batch, consents, contributions, health, problems, public_log};
use crate::service::problem::{Code, Problem};
use crate::service::state::Service;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use std::sync::Arc;

/// The whole service.
pub fn router(service: &Arc<Service>) -> Router {
    let guard = from_fn_with_state(service.clone(), access::guard);
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/problems/{code}", get(problems::page))
        .route("/trace/{*path}", get(public_log::object))
        .route("/v1/consents", get(consents::list).post(consents::give))
        .route("/v1/consents:withdraw", post(consents::withdraw))
        .route("/v1/contributions", get(contributions::list).post(contributions::submit))
        .route("/v1/contributions:batch", post(batch::submit))
        .route("/v1/contributions/{id}", get(contributions::get))
        .route_layer(guard)
        .fallback(nothing_here)
        .method_not_allowed_fallback(other_method)
        .layer(DefaultBodyLimit::disable())
        .with_state(service.clone())
}

async fn nothing_here() -> Problem {
    Problem::not_found("there is nothing at this path")
}

async fn other_method() -> Problem {
    Problem::new(Code::MethodNotAllowed, "the header Allow names the methods of this path")
}
