//! Uploads: read piece by piece, bounded each and together, encrypted under a data key before they
//! are stored.

use super::consents::concerns;
use super::json;
use crate::service::body::{Stream, discard};
use crate::service::problem::{Code, Problem};
use crate::service::query::Query;
use crate::service::role::Caller;
use crate::service::state::Service;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use axum::{Extension, http::HeaderMap};
use gristmill_workflows::id::hex;
use hyper::StatusCode;
use hyper::header::CONTENT_LENGTH;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio::sync::SemaphorePermit;

#[derive(Serialize)]
struct Uploaded {
    sha256: String,
    bytes: u64,
    mime: &'static str,
}

fn too_large(bound: u64) -> Problem {
    Problem::new(Code::MediaTooLarge, format!("one item has at most {bound} bytes"))
}

/// `POST /v1/media?contributor=ID`
pub async fn upload(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let query = match check(&service, &caller, query.as_deref(), &headers) {
        Ok(query) => query,
        Err(problem) => {
            discard(body, service.media_max.saturating_mul(2)).await;
            return Err(problem);
        }
    };
    let contributor = query.needed("contributor")?;
    let (bytes, sha256, held) = read(&service, body).await?;
    if bytes.is_empty() {
        return Err(Problem::new(Code::InvalidField, "an upload has at least one byte"));
    }
    let uploaded = Uploaded {
        sha256: hex(&sha256),
        bytes: bytes.len() as u64,
        mime: gristmill_media::mime(&bytes),
    };
    service.keep_media(contributor, &sha256, bytes).await?;
    drop(held);
    json(StatusCode::CREATED, &uploaded)
}

/// What can be seen before the body is read.
fn check(
    service: &Service,
    caller: &Caller,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<Query, Problem> {
    service.takes_in()?;
    let query = Query::read(query, &["contributor"])?;
    let contributor = query.needed("contributor")?;
    concerns(caller, contributor)?;
    let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let declared = declared.and_then(|length| length.parse::<u64>().ok());
    if declared.is_some_and(|length| length > service.media_max) {
        return Err(too_large(service.media_max));
    }
    Ok(query)
}

/// The whole body. It holds as many permits as it has bytes, so that all uploads together stay
/// within their bound and a slow one holds no more than it has sent.
async fn read(
    service: &Service,
    body: Body,
) -> Result<(Vec<u8>, [u8; 32], Vec<SemaphorePermit<'_>>), Problem> {
    let (mut bytes, mut held) = (Vec::new(), Vec::new());
    let mut digest = Sha256::new();
    let mut stream = Stream::new(body);
    while let Some(piece) = stream.next().await? {
        if (bytes.len() + piece.len()) as u64 > service.media_max {
            return Err(too_large(service.media_max));
        }
        let count = u32::try_from(piece.len()).map_err(|_| too_large(service.media_max))?;
        let permit = Service::permit(&service.upload_bytes, count, "uploads")?;
        match held.first_mut() {
            None => held.push(permit),
            Some(first) => SemaphorePermit::merge(first, permit),
        }
        digest.update(&piece);
        bytes.extend_from_slice(&piece);
    }
    Ok((bytes, digest.finalize().into(), held))
}
