//! A contributor's statement: what was counted, valued, carried and paid.

use super::consents::concerns;
use super::{PathText, json, path_text};
use crate::journeys::{Found, Indices, stands};
use crate::report_row::{Amount, PayoutRow, Row};
use crate::service::limits::STATEMENT_JOURNEYS_MAX;
use crate::service::problem::Problem;
use crate::service::query::Query;
use crate::service::role::Caller;
use crate::service::state::Service;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use gristmill_actors::limits::CHAIN_BATCH;
use gristmill_workflows::codec::decode;
use gristmill_workflows::contributor::Contributor;
use gristmill_workflows::id::{Arrival, ShardId};
use gristmill_workflows::journey::{Journey, PayoutState};
use gristmill_workflows::money::Currency;
use hyper::StatusCode;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Money of one currency.
#[derive(Debug, Serialize)]
struct Total {
    currency: Currency,
    /// Accepted contributions.
    counted: u64,
    /// What they were valued at, in micro-units.
    valued_micro: u64,
    /// What is carried to the next payout, in micro-units.
    carry_micro: u64,
    /// On its way to the rail or at it, in minor units.
    in_flight_minor: u64,
    /// Paid, in minor units.
    paid_minor: u64,
}

#[derive(Debug, Serialize)]
struct Item {
    id: String,
    program: String,
    state: &'static str,
    amount: Option<Amount>,
    trace_index: Option<u64>,
    payouts: Vec<PayoutRow>,
    withdrawn_at: Option<String>,
}

#[derive(Debug, Serialize)]
struct Statement {
    contributor: String,
    totals: Vec<Total>,
    /// The totals cover every accepted contribution.
    complete: bool,
    /// Newest first.
    items: Vec<Item>,
    next_page_token: Option<String>,
}

/// `GET /v1/contributors/{contributor}/statement`
pub async fn statement(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    path: PathText,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let contributor = path_text(path)?;
    concerns(&caller, &contributor)?;
    let query = Query::read(query.as_deref(), &["page_size", "page_token"])?;
    let size = query.page_size()?;
    let from = query.page_token(|text| text.parse::<Arrival>().ok())?;
    let key = service.world.key.contributor(&contributor);
    let shard = service.world.key.bucket(&contributor).shard(service.world.shards);
    let stored = service.ports.store.contributors(shard, vec![key]).await?;
    let row = stored.into_iter().next().and_then(|stored| stored.row);
    let row: Contributor = row.as_deref().map(decode).transpose()?.unwrap_or_default();
    let mut chain = Chain { service: &service, shard, next: row.latest, read: Vec::new() };
    let mut totals: BTreeMap<Currency, Total> = BTreeMap::new();
    for (currency, micro) in &row.carry {
        total(&mut totals, *currency).carry_micro = *micro;
    }
    let (mut items, mut next, mut seen) = (Vec::new(), None, 0);
    let mut indices = Indices::new(&*service.ports.store);
    while seen < STATEMENT_JOURNEYS_MAX {
        let Some(found) = chain.next().await? else { break };
        seen += 1;
        let (Found::Journey { journey, .. } | Found::Expired { journey, .. }) = &found else {
            continue;
        };
        let is_theirs = match &found {
            Found::Expired { contributor, .. } => *contributor == key,
            _ => journey.submission.contributor == contributor,
        };
        if journey.accepted.is_none() || !is_theirs {
            continue;
        }
        count(&mut totals, journey);
        let due = from.is_none_or(|from| journey.arrival < from);
        if !due {
            continue;
        }
        if items.len() == size {
            next.get_or_insert(items.last().map(|(arrival, _)| *arrival));
            continue;
        }
        let arrival = journey.arrival;
        items.push((arrival, item(&service, &found, &mut indices).await?));
    }
    let complete = chain.is_at_its_end();
    let next_page_token = next.flatten().map(|arrival: Arrival| arrival.to_string());
    let items = items.into_iter().map(|(_, item)| item).collect();
    let totals = totals.into_values().collect();
    json(StatusCode::OK, &Statement { contributor, totals, complete, items, next_page_token })
}

fn total(totals: &mut BTreeMap<Currency, Total>, currency: Currency) -> &mut Total {
    totals.entry(currency).or_insert(Total {
        currency,
        counted: 0,
        valued_micro: 0,
        carry_micro: 0,
        in_flight_minor: 0,
        paid_minor: 0,
    })
}

fn count(totals: &mut BTreeMap<Currency, Total>, journey: &Journey) {
    let Some((currency, price)) = &journey.price else { return };
    let total = total(totals, *currency);
    total.counted += 1;
    total.valued_micro += price.micro;
    for payout in &journey.payouts {
        match payout.state {
            PayoutState::Paid => total.paid_minor += payout.minor,
            PayoutState::Fixed | PayoutState::InFlight => total.in_flight_minor += payout.minor,
            PayoutState::Failed | PayoutState::Suspense => {}
        }
    }
}

async fn item(
    service: &Service,
    found: &Found,
    indices: &mut Indices<'_>,
) -> Result<Item, Problem> {
    let row = Row::of(found, None, None, &service.world.workflows, indices).await?;
    Ok(Item {
        id: row.id,
        program: row.program,
        state: row.state,
        amount: row.amount,
        trace_index: row.trace_index,
        payouts: row.payouts,
        withdrawn_at: row.withdrawn_at,
    })
}

/// A contributor's journeys, newest first, along their chain.
struct Chain<'a> {
    service: &'a Service,
    shard: ShardId,
    next: Option<Arrival>,
    read: Vec<Found>,
}

impl Chain<'_> {
    fn is_at_its_end(&self) -> bool {
        self.next.is_none() && self.read.is_empty()
    }

    async fn next(&mut self) -> Result<Option<Found>, Problem> {
        if self.read.is_empty() {
            self.read_on().await?;
        }
        Ok(self.read.pop())
    }

    async fn read_on(&mut self) -> Result<(), Problem> {
        while let Some(arrival) = self.next.filter(|_| self.read.len() < CHAIN_BATCH) {
            let rows = self.service.ports.store.journeys(self.shard, vec![arrival]).await?;
            let Some(row) = rows.into_iter().next().flatten() else {
                self.next = None;
                break;
            };
            let found = stands(self.shard, arrival, &row.row)?;
            self.next = match &found {
                Found::Journey { journey, .. } | Found::Expired { journey, .. } => journey.previous,
                Found::Queued { .. } => None,
            };
            self.read.push(found);
        }
        self.read.reverse();
        Ok(())
    }
}
