//! The public log (C2SP tlog-tiles): the checkpoint, the verifier key and the tiles, nothing else
//! of what stands beside them. It needs no key.

use super::{PathText, content, path_text};
use crate::service::problem::Problem;
use crate::service::state::Service;
use axum::extract::State;
use axum::response::Response;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use std::sync::Arc;

/// Tiles never change (tlog-tiles: they may be cached for ever).
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// The checkpoint moves on with every publication.
const SHORTLY: &str = "public, max-age=1";

/// `GET /trace/{*path}`
pub async fn object(
    State(service): State<Arc<Service>>,
    path: PathText,
) -> Result<Response, Problem> {
    let path = path_text(path)?;
    let none = || Problem::not_found("no such object of the log");
    let (kind, caching) = match path.as_str() {
        "checkpoint" => ("text/plain; charset=utf-8", SHORTLY),
        "vkey" => ("text/plain; charset=utf-8", FOR_EVER),
        tile if is_tile(tile) => ("application/octet-stream", FOR_EVER),
        _ => return Err(none()),
    };
    let bytes = match path.as_str() {
        // Nodes that share a log have its key in their own directories.
        "vkey" => format!("{}\n", service.proofs.verifier()).into_bytes(),
        _ => service.log.read(path).await?.ok_or_else(none)?,
    };
    let mut answer = content(StatusCode::OK, kind, bytes);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    Ok(answer)
}

/// `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`: L is 0 to 5, N is in groups of three
/// digits, all but the last after an `x`; W is 1 to 255.
fn is_tile(path: &str) -> bool {
    let Some(rest) = path.strip_prefix("tile/") else { return false };
    let Some((level, rest)) = rest.split_once('/') else { return false };
    if level != "entries" && !matches!(level.as_bytes(), [b'0'..=b'5']) {
        return false;
    }
    let (number, width) = match rest.split_once(".p/") {
        Some((number, width)) => (number, Some(width)),
        None => (rest, None),
    };
    let digits = |group: &str| group.len() == 3 && group.bytes().all(|byte| byte.is_ascii_digit());
    let mut groups = number.split('/').rev();
    let last = groups.next().is_some_and(digits);
    let upper = groups.clone().count() < 7
        && groups.all(|group| group.strip_prefix('x').is_some_and(digits));
    let width = width.is_none_or(|width| {
        let plain = width.bytes().all(|byte| byte.is_ascii_digit()) && !width.starts_with('0');
        plain && width.parse::<u8>().is_ok()
    });
    last && upper && width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tiles_are_tiles() {
        for path in [
            "tile/0/000",
            "tile/5/x001/x234/067",
            "tile/entries/000.p/1",
            "tile/entries/x001/000.p/255",
        ] {
            assert!(is_tile(path), "{path}");
        }
        for path in [
            "tile/",
            "tile/6/000",
            "tile/00/000",
            "tile/0/00",
            "tile/0/0000",
            "tile/0/001/000",
            "tile/0/x001",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/+1",
            "tile/0/000.p/01",
            "tile/0/../checkpoint",
            "tile/0/x001/../../000",
            "sequenced/0",
            "checkpoints/1",
            "../keys/trace.key",
            "tile/0/x001/x001/x001/x001/x001/x001/x001/x001/000",
        ] {
            assert!(!is_tile(path), "{path}");
        }
    }
}
