//! What operators do: every change has a reason and a line in the list of changes.

use super::contributions::{filter, page, quarantined};
use super::journey::tell;
use super::{PathText, consents, json, path_text, text, wants_text};
use crate::journeys::{self, Filter, Found};
use crate::manifest::{self, is_id};
use crate::service::api_keys::Wanted;
use crate::service::limits::{CHOSEN_MAX, REASON_BYTES_MAX};
use crate::service::problem::{Code, Problem, Wire};
use crate::service::query::Query;
use crate::service::role::{Caller, Role};
use crate::service::stages::{self, Said};
use crate::service::state::Service;
use crate::service::{body, changes};
use crate::strict_json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use axum::{Extension, http::HeaderMap};
use gristmill_workflows::id::ContributionId;
use gristmill_workflows::inbox::Verb;
use gristmill_workflows::journey::State as JourneyState;
use gristmill_workflows::limits::CONTRIBUTOR_BYTES_MAX;
use gristmill_workflows::request::Cause;
use gristmill_workflows::time::Timestamp;
use hyper::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::Arc;

/// The fields of an operator's body, each taken once.
struct Fields(Map<String, Value>);

impl Fields {
    async fn read(headers: &HeaderMap, body: Body) -> Result<Self, Problem> {
        let bytes = body::object(headers, body).await?;
        let malformed = |detail: String| Problem::new(Code::MalformedJson, detail);
        let text = std::str::from_utf8(&bytes).map_err(|error| malformed(error.to_string()))?;
        match strict_json::parse(text) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            Ok(_) => Err(malformed("must be one JSON object".to_owned())),
            Err(strict_json::Error::Malformed(error)) => Err(malformed(error.to_string())),
            Err(strict_json::Error::Repeated { field }) => {
                Err(manifest::Problem::new(&field, manifest::Code::InvalidField, "is named twice")
                    .into())
            }
        }
    }

    fn text(&mut self, field: &str, max: usize) -> Result<Option<String>, Problem> {
        match self.0.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if is_id(&text) && text.len() <= max => Ok(Some(text)),
            Some(_) => {
                let detail = format!("must be 1 to {max} bytes of visible characters");
                Err(Problem::field(Code::InvalidField, field, detail))
            }
        }
    }

    fn reason(&mut self) -> Result<String, Problem> {
        let missing = || Problem::field(Code::MissingField, "reason", "must be there");
        self.text("reason", REASON_BYTES_MAX)?.ok_or_else(missing)
    }

    fn flag(&mut self, field: &str) -> Result<bool, Problem> {
        match self.0.remove(field) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(Problem::field(Code::InvalidField, field, "must be true or false")),
        }
    }

    fn end(self) -> Result<(), Problem> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((field, _)) => {
                let code = manifest::Code::UnknownField;
                Err(manifest::Problem::new(&field, code, "no such field").into())
            }
        }
    }
}

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

async fn set_stage(
    service: &Service,
    caller: &Caller,
    stage: PathText,
    fields: Fields,
    paused: bool,
) -> Result<Response, Problem> {
    service.stands()?;
    let mut fields = fields;
    let reason = fields.reason()?;
    fields.end()?;
    let stage = path_text(stage)?;
    let (register, world) = (&*service.register, &*service.world);
    let desk = stages::Desk { register, changes: &service.changes, world };
    let said = Said { paused, at: service.ports.clock.now(), reason };
    let stage = desk.set(caller, &stage, said).await?;
    stages::refresh(register, &service.engine).await?;
    json(StatusCode::OK, &stage)
}

/// `POST /v1/admin/stages/{stage}/pause`
pub async fn pause_stage(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    stage: PathText,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    set_stage(&service, &caller, stage, Fields::read(&headers, body).await?, true).await
}

/// `POST /v1/admin/stages/{stage}/resume`
pub async fn resume_stage(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    stage: PathText,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    set_stage(&service, &caller, stage, Fields::read(&headers, body).await?, false).await
}

/// `GET /v1/admin/quarantine`
pub async fn list_quarantine(
    State(service): State<Arc<Service>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let known = ["cause", "program", "stage", "page_size", "page_token"];
    let query = Query::read(query.as_deref(), &known)?;
    let filter = quarantined(filter(&query)?);
    page(&service, &filter, &query, &headers).await
}

/// Which journeys an operator means: ids, or a filter.
struct Chosen {
    ids: Option<Vec<ContributionId>>,
    filter: Filter,
    after: Option<ContributionId>,
    limit: usize,
    dry_run: bool,
    reason: String,
}

impl Chosen {
    fn read(mut fields: Fields) -> Result<Self, Problem> {
        let invalid = |field: &str, detail: &str| Problem::field(Code::InvalidField, field, detail);
        let reason = fields.reason()?;
        let dry_run = fields.flag("dry_run")?;
        let ids = match fields.0.remove("ids") {
            None | Some(Value::Null) => None,
            Some(Value::Array(list)) if (1..=CHOSEN_MAX).contains(&list.len()) => {
                let parse = |value: &Value| value.as_str().map(ContributionId::parse);
                let ids = list.iter().map(|value| {
                    parse(value)
                        .and_then(Result::ok)
                        .ok_or_else(|| invalid("ids", "must be ids of contributions"))
                });
                Some(ids.collect::<Result<Vec<_>, _>>()?)
            }
            Some(_) => {
                return Err(invalid("ids", &format!("must be a list of 1 to {CHOSEN_MAX} ids")));
            }
        };
        let cause = fields.text("cause", 64)?;
        let cause = cause.map(|word| {
            let cause = Cause::parse(&word).filter(|cause| cause.is_quarantine());
            cause.ok_or_else(|| invalid("cause", "is no cause of a quarantine"))
        });
        let causes = cause.transpose()?.into_iter().collect();
        let (program, stage) = (fields.text("program", 64)?, fields.text("stage", 64)?);
        let all = fields.flag("all")?;
        let after = fields.text("page_token", 64)?;
        let after = after.map(|text| {
            ContributionId::parse(&text)
                .map_err(|_| invalid("page_token", "is none of this listing"))
        });
        let limit = match fields.0.remove("limit") {
            None | Some(Value::Null) => CHOSEN_MAX,
            Some(value) => {
                let limit = value.as_u64().and_then(|limit| usize::try_from(limit).ok());
                let limit = limit.filter(|limit| (1..=CHOSEN_MAX).contains(limit));
                limit.ok_or_else(|| invalid("limit", &format!("must be 1 to {CHOSEN_MAX}")))?
            }
        };
        fields.end()?;
        let filter = Filter { causes, program, stage, ..Filter::default() };
        let chooses = all || filter != Filter::default();
        if ids.is_some() == chooses {
            let detail = "either ids, or a filter (cause, program, stage, or all: true)";
            return Err(Problem::field(Code::MissingField, "ids", detail));
        }
        let filter = quarantined(filter);
        Ok(Self { ids, filter, after: after.transpose()?, limit, dry_run, reason })
    }

    /// What is chosen, in pages; and where to go on.
    async fn find(
        &self,
        service: &Service,
    ) -> Result<(Vec<(ContributionId, Option<Found>)>, Option<ContributionId>), Problem> {
        let store = &*service.ports.store;
        if let Some(ids) = &self.ids {
            let found = journeys::find(store, ids).await?;
            return Ok((ids.iter().copied().zip(found).collect(), None));
        }
        let definitions = &service.world.workflows;
        let page = journeys::list(store, definitions, &self.filter, self.after, self.limit).await?;
        let items = page.items.into_iter();
        let items = items.map(|found| (found.submission().id, Some(found))).collect();
        Ok((items, page.next))
    }
}

#[derive(Serialize)]
struct Failed<'a> {
    id: String,
    problem: Wire<'a>,
}

#[derive(Serialize)]
struct ToldMany<'a> {
    dry_run: bool,
    count: usize,
    told: Vec<String>,
    failed: Vec<Failed<'a>>,
    next_page_token: Option<String>,
}

fn refusal(found: Option<&Found>, verb: &Verb) -> Option<Problem> {
    let Some(Found::Journey { journey, .. }) = found else {
        return Some(match found {
            None => Problem::not_found("no such contribution"),
            Some(_) => Problem::new(Code::NotPaused, "it is queued"),
        });
    };
    let JourneyState::Paused { .. } = &journey.state else {
        let detail = format!("it is {}", journey.state.as_str());
        return Some(Problem::new(Code::NotPaused, detail));
    };
    let accepted = *verb == Verb::Reject && journey.accepted.is_some();
    accepted.then(|| Problem::new(Code::AlreadyAccepted, "what was accepted is owed"))
}

async fn speak(
    service: &Service,
    caller: &Caller,
    fields: Fields,
    verb: Verb,
    word: &str,
) -> Result<Response, Problem> {
    service.stands()?;
    let chosen = Chosen::read(fields)?;
    let (found, next) = chosen.find(service).await?;
    let (mut ids, mut problems) = (Vec::new(), Vec::new());
    for (id, found) in &found {
        match refusal(found.as_ref(), &verb) {
            None => ids.push(*id),
            Some(problem) => problems.push((id.to_string(), problem)),
        }
    }
    if !chosen.dry_run && !ids.is_empty() {
        let target = match ids.as_slice() {
            [one] => one.to_string(),
            many => format!("{} journeys, {} to {}", many.len(), many[0], many[many.len() - 1]),
        };
        service.changes.note(caller, word, &target, &chosen.reason).await?;
        tell(service, &ids, &verb).await?;
    }
    let failed =
        problems.iter().map(|(id, problem)| Failed { id: id.clone(), problem: problem.wire() });
    let told: Vec<String> = ids.iter().map(ToString::to_string).collect();
    json(
        StatusCode::OK,
        &ToldMany {
            dry_run: chosen.dry_run,
            count: told.len(),
            told,
            failed: failed.collect(),
            next_page_token: next.map(|id| id.to_string()),
        },
    )
}

/// `POST /v1/admin/quarantine:retry`
pub async fn retry(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let fields = Fields::read(&headers, body).await?;
    speak(&service, &caller, fields, Verb::Retry, "quarantine retry").await
}

/// `POST /v1/admin/quarantine:reject`
pub async fn reject(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let fields = Fields::read(&headers, body).await?;
    speak(&service, &caller, fields, Verb::Reject, "quarantine reject").await
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
    let bytes = serde_json::to_vec(&fields.0)
        .map_err(|error| Problem::new(Code::MalformedJson, error.to_string()))?;
    let withdraw = manifest::parse_withdraw(&bytes)?;
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
