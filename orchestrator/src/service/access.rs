//! Who may: every request goes through here before its handler sees it. The key is looked up, its
//! role compared with the endpoint's row, and a permit taken.

use crate::service::body::discard;
use crate::service::endpoints;
use crate::service::limits::DISCARDED_BYTES_MAX;
use crate::service::problem::{Code, Problem};
use crate::service::role::Caller;
use crate::service::state::Service;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use gristmill_actors::metrics::Admission;
use hyper::header::AUTHORIZATION;
use hyper::{HeaderMap, Method};
use std::sync::Arc;

/// Lets a request through to its handler, or answers it.
pub async fn guard(
    State(service): State<Arc<Service>>,
    matched: Option<MatchedPath>,
    mut request: Request,
    next: Next,
) -> Response {
    let permit = match Service::permit(&service.requests, 1, "requests") {
        Ok(permit) => permit,
        Err(problem) => {
            service.engine.metrics.refused(Admission::Busy, 1);
            return problem.into_response();
        }
    };
    let path = matched.as_ref().map(MatchedPath::as_str).unwrap_or_default();
    match caller(&service, request.method().as_str(), path, request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            let mutates = request.method() != Method::GET && request.method() != Method::HEAD;
            let answer = next.run(request).await;
            drop(permit);
            let refused = answer.extensions().get::<Code>().and_then(|code| admission(*code));
            if let Some(why) = refused.filter(|_| mutates) {
                service.engine.metrics.refused(why, 1);
            }
            answer
        }
        Err(problem) => {
            Box::pin(discard(request.into_body(), DISCARDED_BYTES_MAX)).await;
            problem.into_response()
        }
    }
}

/// What a refused request counts as; a full inbox is counted where it is met, line by line.
fn admission(code: Code) -> Option<Admission> {
    match code {
        Code::Busy => Some(Admission::Busy),
        Code::Draining => Some(Admission::Draining),
        Code::StoreUnavailable => Some(Admission::StoreUnavailable),
        _ => None,
    }
}

fn caller(
    service: &Service,
    method: &str,
    path: &str,
    headers: &HeaderMap,
) -> Result<Caller, Problem> {
    let none = || Problem::not_found("there is nothing at this path");
    let endpoint = endpoints::find(method, path).ok_or_else(none)?;
    if endpoint.roles.is_empty() {
        return Ok(Caller::open());
    }
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
    });
    let caller = service.caller(given)?;
    match caller.role {
        Some(role) if !endpoint.roles.contains(&role) => {
            let detail = format!("a key of role {} may not do this", role.as_str());
            Err(Problem::new(Code::Forbidden, detail))
        }
        _ => Ok(caller),
    }
}
