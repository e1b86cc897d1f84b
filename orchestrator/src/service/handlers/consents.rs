//! Consents: given, taken back, listed.

use super::json;
use crate::manifest::{self, Line, is_id};
use crate::service::body;
use crate::service::intake::Durable;
use crate::service::problem::{Code, Problem};
use crate::service::query::Query;
use crate::service::role::Caller;
use crate::service::state::Service;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use axum::{Extension, http::HeaderMap};
use gristmill_workflows::codec::decode;
use gristmill_workflows::contributor::{Contributor, Grant};
use gristmill_workflows::id::ShardId;
use gristmill_workflows::inbox::{Item, Lane};
use gristmill_workflows::limits::CONTRIBUTOR_BYTES_MAX;
use gristmill_workflows::submission::{Consent, Scope};
use hyper::StatusCode;
use serde::Serialize;
use std::sync::Arc;

/// Refuses what names nobody, or another person than a contributor's key is for.
pub fn concerns(caller: &Caller, contributor: &str) -> Result<(), Problem> {
    if !is_id(contributor) || contributor.len() > CONTRIBUTOR_BYTES_MAX {
        let detail = "must be 1 to 128 bytes of visible characters";
        return Err(Problem::field(Code::InvalidField, "contributor", detail));
    }
    if caller.may_see(contributor) {
        return Ok(());
    }
    let detail = "a contributor's key is for its own contributor";
    Err(Problem::field(Code::Forbidden, "contributor", detail))
}

#[derive(Serialize)]
struct Given {
    contributor: String,
    grant: String,
}

/// `POST /v1/consents`
pub async fn give(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    service.takes_in()?;
    let consent = manifest::parse_consent(&body::object(&headers, body).await?)?;
    concerns(&caller, &consent.contributor)?;
    let (contributor, grant) = (consent.contributor.clone(), consent.grant.clone());
    service.submit_one(Line::Consent(consent)).await?;
    json(StatusCode::ACCEPTED, &Given { contributor, grant })
}

/// What a withdrawal is answered with.
#[derive(Serialize)]
pub struct Withdrawn {
    contributor: String,
    grant: Option<String>,
    program: Option<String>,
    withdrawn_at: String,
}

/// `POST /v1/consents:withdraw`. It passes while the node drains.
pub async fn withdraw(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    service.stands()?;
    let withdraw = manifest::parse_withdraw(&body::object(&headers, body).await?)?;
    concerns(&caller, &withdraw.contributor)?;
    json(StatusCode::ACCEPTED, &take_back(&service, withdraw).await?)
}

/// Makes a withdrawal durable.
pub async fn take_back(
    service: &Service,
    withdraw: manifest::Withdraw,
) -> Result<Withdrawn, Problem> {
    let manifest::Withdraw { contributor, grant, program } = withdraw.clone();
    let durable = service.submit_one(Line::Withdraw(withdraw)).await?;
    let Durable::Withdrawal { at } = durable else {
        return Err(Problem::new(Code::Internal, "another answer than a withdrawal's"));
    };
    Ok(Withdrawn { contributor, grant, program, withdrawn_at: at.rfc3339() })
}

#[derive(Serialize)]
struct Listed {
    grant: String,
    program: String,
    purposes: Vec<String>,
    modalities: Vec<&'static str>,
    terms: gristmill_workflows::submission::Terms,
    given_at: String,
    expires_at: Option<String>,
    withdrawn_at: Option<String>,
    state: &'static str,
}

#[derive(Serialize)]
struct List {
    items: Vec<Listed>,
    next_page_token: Option<String>,
}

/// `GET /v1/consents`: grants of the contributor's row, and those on their way into it. A
/// contributor holds a bounded number of grants, so there is one page.
pub async fn list(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["contributor"])?;
    let contributor = query.needed("contributor")?;
    concerns(&caller, contributor)?;
    let key = service.world.key.contributor(contributor);
    let shard = service.world.key.bucket(contributor).shard(service.world.shards);
    // The inbox first: what leaves it in between is in the row that is read later.
    let waiting = waiting(&service, shard, contributor).await?;
    let stored = service.ports.store.contributors(shard, vec![key]).await?;
    let stored = stored.into_iter().next().unwrap_or_default();
    let row: Option<Contributor> = stored.row.as_deref().map(decode).transpose()?;
    let mut row = row.unwrap_or_default();
    for mark in stored.marks {
        row.withdraw(mark);
    }
    let mut items: Vec<Listed> = row.grants.iter().map(|grant| listed(&row, grant)).collect();
    for (position, consent) in waiting {
        if items.iter().any(|known| known.grant == consent.grant) {
            continue;
        }
        let grant = Grant { consent: consent.into(), position };
        items.push(Listed { state: "pending", ..listed(&row, &grant) });
    }
    json(StatusCode::OK, &List { items, next_page_token: None })
}

/// Consents of a contributor that stand in the inbox. The control lane is read first and soon, so
/// one page of it is all there is but for moments.
async fn waiting(
    service: &Service,
    shard: ShardId,
    contributor: &str,
) -> Result<Vec<(u64, Consent)>, Problem> {
    let page = crate::limits::ROWS_PAGE;
    let items = service.ports.store.inbox(shard, Lane::Control, None, page).await?;
    let mut waiting = Vec::new();
    for (arrival, bytes) in items {
        if let Item::Consent(consent) = decode(&bytes)?
            && consent.contributor == contributor
        {
            waiting.push((arrival, consent));
        }
    }
    Ok(waiting)
}

fn listed(row: &Contributor, grant: &Grant) -> Listed {
    let Grant { consent, .. } = grant;
    let own = row
        .marks
        .iter()
        .find(|mark| matches!(&mark.scope, Scope::Grant(id) if *id == consent.grant));
    let mark = row.mark_of(grant).or(own);
    Listed {
        grant: consent.grant.clone(),
        program: consent.program.clone(),
        purposes: consent.purposes.clone(),
        modalities: consent.modalities.iter().map(|modality| modality.as_str()).collect(),
        terms: (*consent.terms).clone(),
        given_at: consent.at.rfc3339(),
        expires_at: consent.expires_at.map(|at| at.rfc3339()),
        withdrawn_at: mark.map(|mark| mark.at.rfc3339()),
        state: if mark.is_some() { "withdrawn" } else { "given" },
    }
}
