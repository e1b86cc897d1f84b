//! Contributions one by one: handed in, looked at, listed.

use super::consents::concerns;
use super::{PathText, json, path_id, text, wants_text};
use crate::journeys::{self, After, Filter, Found, QUARANTINE, StateWord, Whose};
use crate::manifest::{self, Line};
use crate::report_row::Row;
use crate::service::body;
use crate::service::intake::Durable;
use crate::service::problem::{Code, Problem};
use crate::service::query::Query;
use crate::service::role::{Caller, Role};
use crate::service::state::Service;
use crate::show::{self, Listed};
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use axum::{Extension, http::HeaderMap};
use gristmill_workflows::id::ContributionId;
use gristmill_workflows::request::Cause;
use hyper::StatusCode;
use hyper::header::{HeaderValue, LOCATION};
use serde::Serialize;
use std::sync::Arc;

/// What a contribution that is durable is answered with.
#[derive(Serialize)]
pub struct Submitted {
    id: String,
    state: &'static str,
    status_url: String,
}

/// `POST /v1/contributions`
pub async fn submit(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    service.takes_in()?;
    let body = body::object(&headers, body).await?;
    let contribution = manifest::parse_contribution(&body, service.ports.clock.now())?;
    let durable = service.submit_one(Line::Contribution(contribution)).await?;
    let Durable::Contribution { id, repeated } = durable else {
        return Err(Problem::new(Code::Internal, "another answer than a contribution's"));
    };
    let state = if repeated { Box::pin(state_of(&service, id)).await? } else { "queued" };
    let status_url = format!("/v1/contributions/{id}");
    let mut answer =
        json(StatusCode::ACCEPTED, &Submitted { id: id.to_string(), state, status_url })?;
    let location = HeaderValue::try_from(format!("/v1/contributions/{id}"));
    if let Ok(location) = location {
        answer.headers_mut().insert(LOCATION, location);
    }
    Ok(answer)
}

/// The contract's word for where a contribution stands.
pub async fn state_of(service: &Service, id: ContributionId) -> Result<&'static str, Problem> {
    let found = journeys::find(&*service.ports.store, &[id]).await?.pop().flatten();
    Ok(match found {
        Some(Found::Journey { journey, .. } | Found::Expired { journey, .. }) => {
            journey.state.as_str()
        }
        Some(Found::Queued { .. }) | None => "queued",
    })
}

/// A contribution that the caller may see. One that is another person's is not there.
pub async fn visible(
    service: &Service,
    caller: &Caller,
    id: ContributionId,
) -> Result<Found, Problem> {
    let found = journeys::find(&*service.ports.store, &[id]).await?.pop().flatten();
    let key = &service.world.key;
    let found = found.filter(|found| match (found, &caller.contributor) {
        (Found::Expired { contributor, .. }, Some(own)) => key.contributor(own) == *contributor,
        _ => caller.may_see(&found.submission().contributor),
    });
    found.ok_or_else(|| Problem::not_found("no such contribution"))
}

/// `GET /v1/contributions/{id}`
pub async fn get(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    path: PathText,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let found = visible(&service, &caller, path_id(path)?).await?;
    let shown = show::show(&*service.ports.store, &service.known(), &found).await?;
    if wants_text(&headers) {
        return Ok(text(StatusCode::OK, shown.lines().join("\n") + "\n"));
    }
    json(StatusCode::OK, &shown)
}

/// A page of a listing.
#[derive(Serialize)]
pub struct Page {
    items: Vec<Listed>,
    next_page_token: Option<String>,
}

/// `GET /v1/contributions`
pub async fn list(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let known = ["contributor", "state", "cause", "program", "stage", "page_size", "page_token"];
    let query = Query::read(query.as_deref(), &known)?;
    let mut filter = filter(&query)?;
    let mut contributor = query.get("contributor").map(str::to_owned);
    if let Some(contributor) = &contributor {
        concerns(&caller, contributor)?;
    }
    if caller.role == Some(Role::Contributor) {
        contributor = caller.contributor.clone();
    }
    filter.whose = contributor.map(|contributor| {
        let shard = service.world.key.bucket(&contributor).shard(service.world.shards);
        let key = service.world.key.contributor(&contributor);
        Whose { contributor, key, shard }
    });
    page(&service, &filter, &query, &headers).await
}

/// The filter of a query.
pub fn filter(query: &Query) -> Result<Filter, Problem> {
    let wrong = |field: &str, detail: &str| Problem::field(Code::InvalidField, field, detail);
    let state = query.get("state").map(|word| {
        StateWord::parse(word).ok_or_else(|| wrong("state", "is no state of a journey"))
    });
    let cause = query
        .get("cause")
        .map(|word| Cause::parse(word).ok_or_else(|| wrong("cause", "is no cause of a pause")));
    Ok(Filter {
        state: state.transpose()?,
        causes: cause.transpose()?.into_iter().collect(),
        program: query.get("program").map(str::to_owned),
        stage: query.get("stage").map(str::to_owned),
        whose: None,
    })
}

/// The quarantine's part of a filter.
#[must_use]
pub fn quarantined(filter: Filter) -> Filter {
    let causes = if filter.causes.is_empty() { QUARANTINE.to_vec() } else { filter.causes };
    Filter { causes, ..filter }
}

/// Answers with a page of what a filter shows.
pub async fn page(
    service: &Service,
    filter: &Filter,
    query: &Query,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let size = query.page_size()?;
    let after = query.page_token(After::parse)?;
    let (store, definitions) = (&*service.ports.store, &service.world.workflows);
    let page = journeys::list(store, definitions, filter, after, size).await?;
    let items = show::listed(store, &service.known(), &page.items).await?;
    if wants_text(headers) {
        return Ok(text(StatusCode::OK, show::table(&items).join("\n") + "\n"));
    }
    let next_page_token = page.next.map(|after| after.to_string());
    json(StatusCode::OK, &Page { items, next_page_token })
}

/// Rows of contributions, for what tells many of them.
pub async fn row(service: &Service, found: &Found) -> Result<Row, Problem> {
    let mut indices = journeys::Indices::new(&*service.ports.store);
    Ok(Row::of(found, None, None, &service.world.workflows, &mut indices).await?)
}
