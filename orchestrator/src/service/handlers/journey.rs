//! What is asked or told of one journey beside its row: receipts and signals.

use super::contributions::visible;
use super::{PathText, json, path_id, text};
use crate::receipts::{Error, Receipts};
use crate::service::problem::{Code, Problem};
use crate::service::query::Query;
use crate::service::role::Caller;
use crate::service::state::Service;
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use gristmill_actors::ports::{Intake, Reads};
use gristmill_workflows::codec::encode;
use gristmill_workflows::id::ContributionId;
use gristmill_workflows::inbox::{Item, Verb};
use gristmill_workflows::program::is_name;
use hyper::StatusCode;
use serde::Serialize;
use std::sync::Arc;

/// `GET /v1/contributions/{id}/receipt`
pub async fn receipt(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    path: PathText,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["entry"])?;
    let nth = match query.get("entry") {
        None | Some("contribution") => 0,
        Some("payout") => 1,
        Some(_) => {
            let detail = "must be contribution or payout";
            return Err(Problem::field(Code::InvalidField, "entry", detail));
        }
    };
    let found = visible(&service, &caller, path_id(path)?).await?;
    let reading = service.clone();
    // Tiles are read from files.
    let made = tokio::task::spawn_blocking(move || {
        let (store, keys) = (&*reading.ports.store, &*reading.ports.keys);
        let receipts = Receipts::over(&reading.proofs, store, keys)?;
        tokio::runtime::Handle::current().block_on(receipts.texts(found))
    });
    let made: Result<_, Error> =
        made.await.map_err(|_| Problem::new(Code::Internal, "the receipt's task ended"))?;
    let receipt = made??.into_iter().nth(nth);
    let absent = || Problem::new(Code::NotAccepted, "it was not paid, or not yet");
    Ok(text(StatusCode::OK, receipt.ok_or_else(absent)?))
}

#[derive(Serialize)]
struct Told {
    id: String,
    signal: String,
}

/// `POST /v1/contributions/{id}/signals/{name}`
pub async fn signal(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Problem> {
    service.takes_in()?;
    let Path((id, name)) = path.map_err(|_| Problem::not_found("the path is not UTF-8"))?;
    let id = ContributionId::parse(&id);
    let id = id.map_err(|_| Problem::not_found("no such contribution"))?;
    if !is_name(&name) {
        let detail = "must be 1 to 64 of a-z, 0-9, - and _";
        return Err(Problem::field(Code::InvalidField, "name", detail));
    }
    visible(&service, &caller, id).await?;
    tell(&service, &[id], &Verb::Signal(name.clone())).await?;
    json(StatusCode::ACCEPTED, &Told { id: id.to_string(), signal: name })
}

/// Puts a word on some journeys into the inboxes of their shards; never refused for load.
pub async fn tell(service: &Service, ids: &[ContributionId], verb: &Verb) -> Result<(), Problem> {
    let mut items = Vec::with_capacity(ids.len());
    for id in ids {
        let item = Item::Command { id: *id, verb: verb.clone() };
        let shard = id.bucket.shard(service.world.shards);
        let (lane, item) = (item.lane(), encode(&item)?);
        items.push(Intake {
            shard,
            lane,
            item,
            identity: None,
            mark: None,
            reads: Reads::default(),
        });
    }
    let shards: std::collections::BTreeSet<_> = items.iter().map(|item| item.shard).collect();
    service.ports.store.submit(items).await?;
    for shard in shards {
        service.engine.notify(shard, None);
    }
    Ok(())
}
