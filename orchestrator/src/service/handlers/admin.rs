//! What operators do: every change has a reason and a line in the list of changes.

use super::{PathText, consents, json, path_text, text, wants_text};
use crate::manifest;
use crate::service::api_keys::Wanted;
use crate::service::changes;
use crate::service::fields::Fields;
use crate::service::problem::{Code, Problem};
use crate::service::query::Query;
use crate::service::role::{Caller, Role};
use crate::service::stages::{self, Said};
use crate::service::state::Service;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use axum::{Extension, http::HeaderMap};
use gristmill_workflows::limits::CONTRIBUTOR_BYTES_MAX;
use gristmill_workflows::time::Timestamp;
use hyper::StatusCode;
use serde::Serialize;
use std::sync::Arc;

#[derive(Serialize)]
struct Items<T> {
    items: Vec<T>,
    next_page_token: Option<String>,
}

/// `GET /v1/admin/stages`
pub async fn list_stages(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let items = stages::list(&*service.register, &service.world).await?;
    if wants_text(&headers) {
        return Ok(text(StatusCode::OK, stages::table(&items).join("\n") + "\n"));
    }
    json(StatusCode::OK, &Items { items, next_page_token: None })
}

/// `POST /v1/admin/stages/{stage}/pause` and `/resume`
pub async fn set_stage(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    stage: PathText,
    headers: HeaderMap,
    body: Body,
    paused: bool,
) -> Result<Response, Problem> {
    let mut fields = Fields::read(&headers, body).await?;
    service.stands()?;
    let reason = fields.reason()?;
    fields.end()?;
    let stage = path_text(stage)?;
    let (register, world) = (&*service.register, &*service.world);
    let desk = stages::Desk { register, changes: &service.changes, world };
    let said = Said { paused, at: service.ports.clock.now(), reason };
    let stage = desk.set(&caller, &stage, said).await?;
    stages::refresh(register, &service.engine).await?;
    json(StatusCode::OK, &stage)
}

/// `POST /v1/admin/withdrawals`. It passes while the node drains.
pub async fn withdraw(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    service.stands()?;
    let mut fields = Fields::read(&headers, body).await?;
    let reason = fields.reason()?;
    let withdraw = manifest::parse_withdraw(fields.rest().to_string().as_bytes())?;
    service.changes.note(&caller, "withdraw", &withdraw.contributor, &reason).await?;
    json(StatusCode::ACCEPTED, &consents::take_back(&service, withdraw).await?)
}

/// `GET /v1/admin/audit`
pub async fn audit(
    State(service): State<Arc<Service>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["page_size", "page_token"])?;
    let after = query.page_token(changes::token)?;
    let (page, next_page_token) = service.changes.page(after, query.page_size()?).await?;
    let items: Vec<changes::Shown> = page.into_iter().map(Into::into).collect();
    json(StatusCode::OK, &Items { items, next_page_token })
}

/// `GET /v1/admin/keys`
pub async fn list_keys(State(service): State<Arc<Service>>) -> Result<Response, Problem> {
    service.keys.refresh().await?;
    json(StatusCode::OK, &Items { items: service.keys.list(), next_page_token: None })
}

#[derive(Serialize)]
struct MadeKey {
    secret: String,
    #[serde(flatten)]
    key: crate::service::api_keys::Shown,
}

/// `POST /v1/admin/keys`
pub async fn make_key(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    service.stands()?;
    let mut fields = Fields::read(&headers, body).await?;
    let reason = fields.reason()?;
    let role = fields.text("role", 16)?;
    let missing = || Problem::field(Code::MissingField, "role", "must be there");
    let contributor = fields.text("contributor", CONTRIBUTOR_BYTES_MAX)?;
    let expires = fields.text("expires_at", 64)?;
    fields.end()?;
    let wanted = wanted(&role.ok_or_else(missing)?, contributor, expires.as_deref())?;
    service.changes.note(&caller, "keys new", wanted.role.as_str(), &reason).await?;
    let (secret, key) = service.keys.make(wanted, service.ports.clock.now()).await?;
    json(StatusCode::CREATED, &MadeKey { secret, key })
}

/// What a new key is to be, checked.
pub fn wanted(
    role: &str,
    contributor: Option<String>,
    expires: Option<&str>,
) -> Result<Wanted, Problem> {
    let invalid = |field: &str, detail: &str| Problem::field(Code::InvalidField, field, detail);
    let words = "must be submitter, contributor, operator or auditor";
    let role = Role::parse(role).ok_or_else(|| invalid("role", words))?;
    if (role == Role::Contributor) != contributor.is_some() {
        return Err(invalid("contributor", "belongs to the role contributor, and only to it"));
    }
    let expires = expires.map(|text| {
        Timestamp::parse(text).map_err(|error| invalid("expires_at", &error.to_string()))
    });
    Ok(Wanted { role, contributor, expires: expires.transpose()? })
}

/// `POST /v1/admin/keys/{key}/revoke`
pub async fn revoke_key(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    key: PathText,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    service.stands()?;
    let mut fields = Fields::read(&headers, body).await?;
    let reason = fields.reason()?;
    fields.end()?;
    let key = path_text(key)?;
    let none = || Problem::not_found("no such key");
    if !service.keys.has(&key) {
        return Err(none());
    }
    service.changes.note(&caller, "keys revoke", &key, &reason).await?;
    let revoked = service.keys.revoke(&key, service.ports.clock.now()).await?;
    json(StatusCode::OK, &revoked.ok_or_else(none)?)
}
