//! A client of a running node, for the verbs of the command line.

mod limits;

use crate::app::Failure;
use crate::cli::Node;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, Uri};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use limits::{ANSWER_BYTES_MAX, ANSWER_TIMEOUT, CONNECT_TIMEOUT, TRIES_MAX, TRY_AFTER};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// Why a node did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not an address of a node.
    #[error("{url:?} is not the address of a node: http://host:port is expected")]
    Url {
        /// As given.
        url: String,
    },
    /// No connection, or it broke.
    #[error("{url}: {source}")]
    Connection {
        /// The address.
        url: String,
        /// What was met.
        source: hyper_util::client::legacy::Error,
    },
    /// No answer in time.
    #[error("{url}: no answer in time")]
    Timeout {
        /// The address.
        url: String,
    },
    /// The answer broke off, is too long, or is none of a node's.
    #[error("{url}: not the answer of a node")]
    Answer {
        /// The address.
        url: String,
    },
    /// The node says why not.
    #[error("{status} {code}: {detail}")]
    Problem {
        /// HTTP status.
        status: u16,
        /// The problem's code.
        code: String,
        /// A sentence, with the field in front.
        detail: String,
    },
}

impl Error {
    /// Whether the same request may do better later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connection { .. } | Self::Timeout { .. } => true,
            Self::Problem { status, .. } => matches!(status, 408 | 429 | 503),
            Self::Url { .. } | Self::Answer { .. } => false,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Url { .. } => 2,
            Self::Problem { status: 409 | 410, .. } => 1,
            Self::Problem { status: 400..500, .. } => 2,
            Self::Connection { .. }
            | Self::Timeout { .. }
            | Self::Answer { .. }
            | Self::Problem { .. } => 4,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(error.exit_code(), &error)
    }
}

/// A client of one node.
#[derive(Debug, Clone)]
pub struct Client {
    http: Http<HttpConnector, Full<Bytes>>,
    base: String,
    key: Option<String>,
}

impl Client {
    /// The node that a verb names by address, in a flag or in the environment; none if it names a
    /// data directory, or nothing.
    ///
    /// # Errors
    /// When the address is none.
    pub fn of(node: &Node) -> Result<Option<Self>, Error> {
        let from_environment = || std::env::var("GRISTMILL_URL").ok().filter(|url| !url.is_empty());
        let url = match (&node.url, &node.data_dir) {
            (Some(url), _) => Some(url.clone()),
            (None, Some(_)) => None,
            (None, None) => from_environment(),
        };
        url.map(|url| Self::new(&url, std::env::var("GRISTMILL_API_KEY").ok())).transpose()
    }

    /// A client of the node at `url`. Sends nothing yet.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn new(url: &str, key: Option<String>) -> Result<Self, Error> {
        let wrong = || Error::Url { url: url.to_owned() };
        let parsed: Uri = url.parse().map_err(|_| wrong())?;
        let plain = parsed.scheme_str() == Some("http")
            && matches!(parsed.path(), "" | "/")
            && parsed.query().is_none();
        let authority = parsed.authority().filter(|_| plain).ok_or_else(wrong)?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let http = Http::builder(TokioExecutor::new()).build(connector);
        let key = key.filter(|key| !key.is_empty());
        Ok(Self { http, base: format!("http://{authority}"), key })
    }

    /// A text as a part of a path or a query.
    #[must_use]
    pub fn escaped(text: &str) -> String {
        utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
    }

    /// `GET` of JSON.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(&self, path: &str) -> Result<Value, Error> {
        let body = self.call(Method::GET, path, ("application/json", ""), Bytes::new()).await?;
        self.json(&body)
    }

    /// `POST` of JSON.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Error> {
        let json = "application/json";
        let body = Bytes::from(body.to_string());
        let answer = self.call(Method::POST, path, (json, json), body).await?;
        self.json(&answer)
    }

    fn json(&self, body: &[u8]) -> Result<Value, Error> {
        serde_json::from_slice(body).map_err(|_| Error::Answer { url: self.base.clone() })
    }

    /// A request whose answer is read whole. What may do better later is tried again, a bounded
    /// number of times: everything that is sent is recognised by the node when it comes twice.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        (accept, content): (&str, &str),
        body: Bytes,
    ) -> Result<Bytes, Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            let sent = self.try_call(method.clone(), path, (accept, content), body.clone());
            let answer = tokio::time::timeout(ANSWER_TIMEOUT, sent).await;
            let answer = answer.unwrap_or_else(|_| Err(Error::Timeout { url: self.base.clone() }));
            match answer {
                Err(error) if error.is_retryable() && tries < TRIES_MAX => {
                    tokio::time::sleep(TRY_AFTER * tries).await;
                }
                answer => return answer,
            }
        }
    }

    async fn try_call(
        &self,
        method: Method,
        path: &str,
        (accept, content): (&str, &str),
        body: Bytes,
    ) -> Result<Bytes, Error> {
        let url = || self.base.clone();
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(ACCEPT, accept);
        if !content.is_empty() {
            request = request.header(CONTENT_TYPE, content);
        }
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, format!("Bearer {key}"));
        }
        let request = request.body(Full::new(body)).map_err(|_| Error::Url { url: url() })?;
        let answer = self.http.request(request).await;
        let answer = answer.map_err(|source| Error::Connection { url: url(), source })?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|_| Error::Answer { url: url() })?.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
        let word = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
        let field = Some(word("field")).filter(|field| !field.is_empty());
        let field = field.map_or_else(String::new, |field| format!("{field}: "));
        let detail = format!("{field}{}", word("detail"));
        Err(Error::Problem { status: status.as_u16(), code: word("code"), detail })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_address_is_taken() {
        assert!(Client::new("http://127.0.0.1:7700", None).is_ok());
        assert!(Client::new("http://node.test/", Some(String::new())).is_ok());
        for url in ["", "node", "https://a", "http://a/b", "http://a?b"] {
            assert!(matches!(Client::new(url, None), Err(Error::Url { .. })), "{url}");
        }
        assert_eq!(Client::escaped("a b/é"), "a%20b%2F%C3%A9");
    }
}
