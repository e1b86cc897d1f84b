//! A published log behind an http:// address, read object by object.

use gristmill_trace::limits::MAX_BUNDLE_BYTES;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::time::Duration;

/// How long one object may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why an object could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not an address of a log.
    #[error("{url:?} is not the address of a log: http://host:port/path is expected")]
    Url {
        /// As given.
        url: String,
    },
    /// TLS is not built in.
    #[error("{url:?} needs TLS, which this program does not speak; use http://")]
    Tls {
        /// As given.
        url: String,
    },
    /// No answer in time.
    #[error("{url}: no answer in time")]
    Timeout {
        /// Which object.
        url: String,
    },
    /// The connection failed.
    #[error("{url}: {source}")]
    Connection {
        /// Which object.
        url: String,
        /// What was met.
        source: hyper_util::client::legacy::Error,
    },
    /// The body broke off, or is larger than any object of a log.
    #[error("{url}: the answer broke off or is too long")]
    Body {
        /// Which object.
        url: String,
    },
    /// Another answer than the object, or that there is none.
    #[error("{url}: answered {status}")]
    Status {
        /// Which object.
        url: String,
        /// HTTP status.
        status: StatusCode,
    },
}

/// A log's address.
#[derive(Debug, Clone)]
pub struct LogHttp {
    client: Client<HttpConnector, Empty<Bytes>>,
    base: String,
}

impl LogHttp {
    /// Whether a text is an address rather than a folder.
    #[must_use]
    pub fn is_address(text: &str) -> bool {
        text.contains("://")
    }

    /// A client of the log at `url`, with or without a final slash. Sends nothing yet.
    ///
    /// # Errors
    /// When it is not of the form `http://host:port/path`.
    pub fn new(url: &str) -> Result<Self, Error> {
        let parsed: Uri = url.parse().map_err(|_| Error::Url { url: url.to_owned() })?;
        if parsed.scheme_str() == Some("https") {
            return Err(Error::Tls { url: url.to_owned() });
        }
        let plain = parsed.scheme_str() == Some("http") && parsed.query().is_none();
        if !plain || parsed.authority().is_none() {
            return Err(Error::Url { url: url.to_owned() });
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, base: url.trim_end_matches('/').to_owned() })
    }

    /// Bytes of an object; none if the server says 404 or 410.
    ///
    /// # Errors
    /// [`Error`] when the server gives neither.
    pub async fn object(&self, path: &str) -> Result<Option<Bytes>, Error> {
        let url = format!("{}/{path}", self.base);
        let fetched = tokio::time::timeout(ANSWER_TIMEOUT, self.fetch(&url)).await;
        fetched.unwrap_or(Err(Error::Timeout { url }))
    }

    async fn fetch(&self, url: &str) -> Result<Option<Bytes>, Error> {
        let owned = || url.to_owned();
        let request = Request::get(url).body(Empty::new());
        let request = request.map_err(|_| Error::Url { url: owned() })?;
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|source| Error::Connection { url: owned(), source })?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_BUNDLE_BYTES).collect().await;
        match status {
            StatusCode::OK => {
                body.map(|body| Some(body.to_bytes())).map_err(|_| Error::Body { url: owned() })
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
            status => Err(Error::Status { url: owned(), status }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_addresses_are_taken() {
        assert!(LogHttp::new("http://127.0.0.1:7700/trace/").is_ok());
        assert!(matches!(LogHttp::new("https://a/"), Err(Error::Tls { .. })));
        for url in ["", "ftp://a", "http://", "a/b", "http://a/?b=c", "http://a b"] {
            assert!(matches!(LogHttp::new(url), Err(Error::Url { .. })), "{url}");
        }
    }
}
