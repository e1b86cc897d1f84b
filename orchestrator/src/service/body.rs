//! Bodies of requests, bounded in bytes and in time.

use crate::service::limits::{
    DISCARD_TIMEOUT, DISCARDED_BYTES_MAX, OBJECT_BYTES_MAX, OBJECT_TIMEOUT, STREAM_BYTES_PER_S,
    STREAM_TIMEOUT,
};
use crate::service::problem::{Code, Problem};
use axum::body::Body;
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use std::time::Duration;
use tokio::time::Instant;

/// Checks that a body is declared as one of these media types. A body without a declaration is
/// taken for the first.
///
/// # Errors
/// A [`Problem`] that names the media type that is expected.
pub fn expect_content(headers: &HeaderMap, types: &[&str]) -> Result<(), Problem> {
    let Some(declared) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let declared = declared.to_str().unwrap_or_default();
    let declared = declared.split(';').next().unwrap_or_default().trim();
    if types.iter().any(|known| known.eq_ignore_ascii_case(declared)) {
        return Ok(());
    }
    let expected = types.first().copied().unwrap_or_default();
    Err(Problem::new(Code::UnsupportedMediaType, format!("{expected} is expected")))
}

/// The whole body of an endpoint that takes one JSON object.
///
/// # Errors
/// A [`Problem`] when it is too long, too slow or broken, or of another type.
pub async fn object(headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    if let Err(problem) = expect_content(headers, &["application/json"]) {
        Box::pin(discard(body, DISCARDED_BYTES_MAX)).await;
        return Err(problem);
    }
    let mut stream = Stream::new(body);
    let collected = async {
        let mut whole = Vec::new();
        while let Some(piece) = stream.next().await? {
            if whole.len() + piece.len() > OBJECT_BYTES_MAX {
                return Ok(None);
            }
            whole.extend_from_slice(&piece);
        }
        Ok(Some(Bytes::from(whole)))
    };
    match tokio::time::timeout(OBJECT_TIMEOUT, collected).await {
        Ok(Ok(Some(body))) => Ok(body),
        Ok(Ok(None)) => {
            Box::pin(discard(stream.body, DISCARDED_BYTES_MAX)).await;
            Err(too_large(OBJECT_BYTES_MAX as u64))
        }
        Ok(Err(problem)) => Err(problem),
        Err(_) => Err(too_slow()),
    }
}

/// Reads what a client still sends, up to a bound in bytes and time: one that sends everything
/// before it reads the answer would else find its connection broken instead.
pub async fn discard(body: Body, most: u64) {
    let mut stream = Stream::new(body);
    let read = async {
        while let Ok(Some(_)) = stream.next().await {
            if stream.bytes > most {
                return;
            }
        }
    };
    if tokio::time::timeout(DISCARD_TIMEOUT, read).await.is_err() {
        tracing::trace!("a refused body was not read to its end");
    }
}

/// The problem of a body over its bound.
#[must_use]
pub fn too_large(bound: u64) -> Problem {
    Problem::new(Code::BodyTooLarge, format!("at most {bound} bytes are taken"))
}

fn too_slow() -> Problem {
    Problem::new(Code::BodyTooSlow, "the body did not come in time")
}

fn broken() -> Problem {
    Problem::new(Code::BodyBroken, "the body ended early")
}

/// A body that is read piece by piece: it may last long, but not stand still or drip.
#[derive(Debug)]
pub struct Stream {
    body: Body,
    began: Instant,
    bytes: u64,
}

impl Stream {
    /// Begins to read.
    #[must_use]
    pub fn new(body: Body) -> Self {
        Self { body, began: Instant::now(), bytes: 0 }
    }

    /// The next piece; none at the end.
    ///
    /// # Errors
    /// A [`Problem`] when it is too slow or broken.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let frame = tokio::time::timeout(STREAM_TIMEOUT, self.body.frame()).await;
            let frame = match frame {
                Err(_) => return Err(too_slow()),
                Ok(None) => return Ok(None),
                Ok(Some(Err(_))) => return Err(broken()),
                Ok(Some(Ok(frame))) => frame,
            };
            // Trailers mean nothing here.
            let Ok(piece) = frame.into_data() else { continue };
            self.bytes += piece.len() as u64;
            let lasted = self.began.elapsed().saturating_sub(STREAM_TIMEOUT);
            if Duration::from_secs(self.bytes / STREAM_BYTES_PER_S) < lasted {
                return Err(too_slow());
            }
            return Ok(Some(piece));
        }
    }
}
