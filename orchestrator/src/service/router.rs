//! Paths and their handlers.

use crate::service::access;
use crate::service::handlers::{
    admin, batch, consents, contributions, health, journey, media, problems, public_log,
    quarantine, statement,
};
use crate::service::problem::{Code, Problem};
use crate::service::state::Service;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use gristmill_workflows::inbox::Verb;
use std::sync::Arc;

/// The whole service.
pub fn router(service: &Arc<Service>) -> Router {
    let guard = from_fn_with_state(service.clone(), access::guard);
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/openapi.json", get(problems::openapi))
        .route("/metrics", get(health::metrics))
        .route("/problems/{code}", get(problems::page))
        .route("/trace/{*path}", get(public_log::object))
        .route("/v1/consents", get(consents::list).post(consents::give))
        .route("/v1/consents:withdraw", post(consents::withdraw))
        .route("/v1/contributions", get(contributions::list).post(contributions::submit))
        .route("/v1/contributions:batch", post(batch::submit))
        .route("/v1/contributions/{id}", get(contributions::get))
        .route("/v1/contributions/{id}/receipt", get(journey::receipt))
        .route("/v1/contributions/{id}/signals/{name}", post(journey::signal))
        .route("/v1/contributors/{contributor}/statement", get(statement::statement))
        .route("/v1/media", post(media::upload))
        .merge(admin_routes())
        .route_layer(guard)
        .fallback(nothing_here)
        .method_not_allowed_fallback(other_method)
        .layer(DefaultBodyLimit::disable())
        .with_state(service.clone())
}

fn admin_routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/admin/stages", get(admin::list_stages))
        .route(
            "/v1/admin/stages/{stage}/pause",
            post(|s, c, p, h, b| admin::set_stage(s, c, p, h, b, true)),
        )
        .route(
            "/v1/admin/stages/{stage}/resume",
            post(|s, c, p, h, b| admin::set_stage(s, c, p, h, b, false)),
        )
        .route("/v1/admin/quarantine", get(quarantine::list))
        .route(
            "/v1/admin/quarantine:retry",
            post(|s, c, h, b| quarantine::speak(s, c, h, b, Verb::Retry, "quarantine retry")),
        )
        .route(
            "/v1/admin/quarantine:reject",
            post(|s, c, h, b| quarantine::speak(s, c, h, b, Verb::Reject, "quarantine reject")),
        )
        .route("/v1/admin/withdrawals", post(admin::withdraw))
        .route("/v1/admin/audit", get(admin::audit))
        .route("/v1/admin/keys", get(admin::list_keys).post(admin::make_key))
        .route("/v1/admin/keys/{key}/revoke", post(admin::revoke_key))
}

async fn nothing_here() -> Problem {
    Problem::not_found("there is nothing at this path")
}

async fn other_method() -> Problem {
    Problem::new(Code::MethodNotAllowed, "the header Allow names the methods of this path")
}
