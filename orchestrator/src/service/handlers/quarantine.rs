//! Journeys that wait for an operator: listed, and told to go on or to end.

use super::contributions::{filter, page, quarantined};
use super::journey::tell;
use super::json;
use crate::journeys::{self, After, Filter, Found};
use crate::service::fields::Fields;
use crate::service::limits::CHOSEN_MAX;
use crate::service::problem::{Code, Problem, Wire};
use crate::service::query::Query;
use crate::service::role::Caller;
use crate::service::state::Service;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use axum::{Extension, http::HeaderMap};
use gristmill_workflows::id::ContributionId;
use gristmill_workflows::inbox::Verb;
use gristmill_workflows::journey::State as JourneyState;
use gristmill_workflows::request::Cause;
use hyper::StatusCode;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

/// `GET /v1/admin/quarantine`
pub async fn list(
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
    after: Option<After>,
    limit: usize,
    dry_run: bool,
    reason: String,
}

impl Chosen {
    fn read(mut fields: Fields) -> Result<Self, Problem> {
        let invalid = |field: &str, detail: &str| Problem::field(Code::InvalidField, field, detail);
        let reason = fields.reason()?;
        let dry_run = fields.flag("dry_run")?;
        let ids = match fields.value("ids") {
            None => None,
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
            After::parse(&text).ok_or_else(|| invalid("page_token", "is none of this listing"))
        });
        let after = after.transpose()?;
        let limit = match fields.value("limit") {
            None => CHOSEN_MAX,
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
        if ids.is_some() && after.is_some() {
            return Err(invalid("page_token", "goes on with a filter, not with ids"));
        }
        let filter = quarantined(filter);
        Ok(Self { ids, filter, after, limit, dry_run, reason })
    }

    /// What is chosen, in pages; and where to go on.
    async fn find(
        &self,
        service: &Service,
    ) -> Result<(Vec<(ContributionId, Option<Found>)>, Option<After>), Problem> {
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

/// Why a journey is not told a word; none if it is.
#[must_use]
pub fn refusal(found: Option<&Found>, verb: &Verb) -> Option<Problem> {
    let Some(Found::Journey { journey, .. } | Found::Expired { journey, .. }) = found else {
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

/// `POST /v1/admin/quarantine:retry` and `:reject`
pub async fn speak(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
    verb: Verb,
    word: &'static str,
) -> Result<Response, Problem> {
    let fields = Fields::read(&headers, body).await?;
    service.stands()?;
    let chosen = Chosen::read(fields)?;
    let (found, next) = chosen.find(&service).await?;
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
        service.changes.note(&caller, word, &target, &chosen.reason).await?;
        tell(&service, &ids, &verb).await?;
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
            next_page_token: next.map(|after| after.to_string()),
        },
    )
}
