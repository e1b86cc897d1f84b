//! The client of a rail that speaks the sandbox rail's protocol over plain HTTP.

pub mod limits;
mod wire;

pub use wire::{asked, batch_answers, book_lines};

use std::sync::Arc;
use std::time::Duration;

use gristmill_actors::rail::{
    Ambiguity, Answer, BookLine, BoxFuture, KeyScope, PayoutRequest, Rail, RailError, RailProfile,
    Unavailability,
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::task::JoinSet;

use self::limits::{
    ANSWER_TIMEOUT, ASK_LANES, CONNECT_TIMEOUT, IDLE_TIMEOUT, MAX_ANSWER, MAX_BATCH, MAX_IDLE,
};

/// Why a URL is not that of a rail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not `http://host:port`.
    #[error("{url:?} is not the URL of a rail: http://host:port is expected, without a path")]
    Url {
        /// The URL as given.
        url: String,
    },
    /// TLS is not built in.
    #[error("{url:?} needs TLS, which this rail does not speak; use http://host:port")]
    Tls {
        /// The URL as given.
        url: String,
    },
}

/// A rail over HTTP. Connects when first used and keeps connections alive.
#[derive(Debug, Clone)]
pub struct HttpRail {
    profile: RailProfile,
    wire: Arc<Wire>,
}

#[derive(Debug)]
struct Wire {
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
    timeout: Duration,
}

/// What the sandbox rail promises when it forgets no keys: `key_window` is for the caller to
/// shorten.
#[must_use]
pub fn sandbox_profile() -> RailProfile {
    RailProfile {
        name: "sandbox".to_owned(),
        key_window: Duration::from_secs(24 * 60 * 60),
        settle_time: crate::sandbox_rail::limits::SETTLE_TIME,
        max_batch: MAX_BATCH,
        key_scope: KeyScope::Item,
    }
}

impl HttpRail {
    /// A client of the rail at `url` (`http://host:port`). Sends nothing yet. Answers are waited
    /// for up to `limits::ANSWER_TIMEOUT`.
    ///
    /// # Errors
    /// When `url` is not of that form.
    pub fn new(url: &str, profile: RailProfile) -> Result<Self, Error> {
        let uri: Uri = url.parse().map_err(|_| Error::Url { url: url.to_owned() })?;
        if uri.scheme_str() == Some("https") {
            return Err(Error::Tls { url: url.to_owned() });
        }
        let authority = uri.authority().filter(|_| {
            uri.scheme_str() == Some("http")
                && matches!(uri.path(), "" | "/")
                && uri.query().is_none()
        });
        let Some(authority) = authority else {
            return Err(Error::Url { url: url.to_owned() });
        };
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE)
            .build(connector);
        let base = format!("http://{authority}");
        Ok(Self { profile, wire: Arc::new(Wire { client, base, timeout: ANSWER_TIMEOUT }) })
    }

    /// The same rail with another longest time for an answer.
    #[must_use]
    pub fn with_answer_timeout(self, timeout: Duration) -> Self {
        let Wire { client, base, .. } = &*self.wire;
        let wire = Wire { client: client.clone(), base: base.clone(), timeout };
        Self { profile: self.profile, wire: Arc::new(wire) }
    }
}

impl Rail for HttpRail {
    fn profile(&self) -> &RailProfile {
        &self.profile
    }

    fn submit(&self, batch: Vec<PayoutRequest>) -> BoxFuture<'_, Result<Vec<Answer>, RailError>> {
        Box::pin(async move {
            if batch.is_empty() {
                return Ok(Vec::new());
            }
            let body = wire::batch(&batch);
            let answer = self.wire.call(Method::POST, "/v1/payouts:batch", body).await?;
            wire::batch_answers(&batch, &answer).ok_or(MALFORMED)
        })
    }

    fn ask(&self, keys: Vec<String>) -> BoxFuture<'_, Result<Vec<Answer>, RailError>> {
        Box::pin(async move {
            let lanes = keys.len().min(ASK_LANES);
            let keys: Arc<[String]> = keys.into();
            let mut asking = JoinSet::new();
            for lane in 0..lanes {
                asking.spawn(ask_lane(Arc::clone(&self.wire), Arc::clone(&keys), lane, lanes));
            }
            let mut answers = vec![Answer::Unknown; keys.len()];
            let mut failure = None;
            let mut answered = keys.is_empty();
            for lane in asking.join_all().await {
                for (index, asked) in lane {
                    match asked {
                        Ok(answer) => {
                            answered = true;
                            if let Some(place) = answers.get_mut(index) {
                                *place = answer;
                            }
                        }
                        Err(error) => failure = Some(error),
                    }
                }
            }
            match failure {
                Some(error) if !answered => Err(error),
                _ => Ok(answers),
            }
        })
    }

    fn book(&self, after: u64) -> BoxFuture<'_, Result<Vec<BookLine>, RailError>> {
        Box::pin(async move {
            let path = format!("/v1/book?after={after}");
            let page = self.wire.call(Method::GET, &path, Vec::new()).await?;
            wire::book_lines(&page, after).ok_or(MALFORMED)
        })
    }
}

const MALFORMED: RailError = RailError::Ambiguous { cause: Ambiguity::MalformedAnswer };

/// Asks for every `lanes`-th key from `lane` on; stops asking at the first failure, since the
/// others would most likely share it.
async fn ask_lane(
    wire: Arc<Wire>,
    keys: Arc<[String]>,
    lane: usize,
    lanes: usize,
) -> Vec<(usize, Result<Answer, RailError>)> {
    let mut asked = Vec::new();
    for (index, key) in keys.iter().enumerate().skip(lane).step_by(lanes) {
        let answer = wire.ask(key).await;
        let failed = answer.as_ref().is_err_and(RailError::is_unavailable);
        asked.push((index, answer));
        if failed {
            break;
        }
    }
    asked
}

impl Wire {
    async fn ask(&self, key: &str) -> Result<Answer, RailError> {
        let path = format!("/v1/payouts/{}", utf8_percent_encode(key, NON_ALPHANUMERIC));
        match self.call(Method::GET, &path, Vec::new()).await {
            Ok(answer) => wire::asked(&answer).ok_or(MALFORMED),
            Err(RailError::Rejected { status: 404, code, .. }) if code == "unknown_key" => {
                Ok(Answer::NotFound)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends one request and reads the whole answer of a success.
    async fn call(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Bytes, RailError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"))
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| RailError::Rejected {
                status: 400,
                code: "invalid_request".to_owned(),
                detail: error.to_string(),
            })?;
        let called = tokio::time::timeout(self.timeout, self.exchange(request)).await;
        called.unwrap_or(Err(RailError::Ambiguous { cause: Ambiguity::Timeout }))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Bytes, RailError> {
        let answer = self.client.request(request).await.map_err(|error| {
            if error.is_connect() {
                let cause = Unavailability::NoConnection;
                RailError::Unavailable { cause, retry_after: None }
            } else {
                RailError::Ambiguous { cause: Ambiguity::ConnectionBroken }
            }
        })?;
        let status = answer.status();
        let retry_after = retry_after(&answer);
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        match status {
            StatusCode::TOO_MANY_REQUESTS => {
                let cause = Unavailability::TooManyRequests;
                return Err(RailError::Unavailable { cause, retry_after });
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                let cause = Unavailability::OutOfService;
                return Err(RailError::Unavailable { cause, retry_after });
            }
            StatusCode::REQUEST_TIMEOUT => {
                return Err(RailError::Ambiguous { cause: Ambiguity::Timeout });
            }
            _ if status.is_server_error() => {
                let cause = Ambiguity::ServerError { status: status.as_u16() };
                return Err(RailError::Ambiguous { cause });
            }
            _ => {}
        }
        let body = body
            .map_err(|_| RailError::Ambiguous { cause: Ambiguity::ConnectionBroken })?
            .to_bytes();
        if status.is_client_error() {
            return Err(wire::rejection(status.as_u16(), &body));
        }
        if status.is_success() { Ok(body) } else { Err(MALFORMED) }
    }
}

/// Seconds of a `Retry-After` header (RFC 9110, 10.2.3); its date form is not read.
fn retry_after(answer: &Response<Incoming>) -> Option<Duration> {
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_base_url_is_taken() {
        for url in ["http://127.0.0.1:1", "http://[::1]:80/", "http://rail.test"] {
            assert!(HttpRail::new(url, sandbox_profile()).is_ok(), "{url}");
        }
        for url in ["", "rail", "ftp://a", "http://a/b", "http://a?b", "/a"] {
            let error = HttpRail::new(url, sandbox_profile()).unwrap_err();
            assert_eq!(error, Error::Url { url: url.to_owned() });
        }
        let error = HttpRail::new("https://a", sandbox_profile()).unwrap_err();
        assert!(matches!(error, Error::Tls { .. }));
    }
}
