//! A client of a running node, for the verbs of the command line.

mod error;
mod limits;

pub use error::Error;

use crate::cli::Node;
use error::Problem;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, Uri};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use limits::{
    ANSWER_BYTES_MAX, ANSWER_TIMEOUT, CONNECT_TIMEOUT, KEY_BYTES_MAX, TRIES_MAX, TRY_AFTER,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::Read;
use std::path::Path;

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
    /// When the address is none, or the key's file cannot be read.
    pub fn of(node: &Node) -> Result<Option<Self>, Error> {
        let from_environment = || std::env::var("GRISTMILL_URL").ok().filter(|url| !url.is_empty());
        let url = match (&node.url, &node.data_dir) {
            (Some(url), _) => Some(url.clone()),
            (None, Some(_)) => None,
            (None, None) => from_environment(),
        };
        let Some(url) = url else { return Ok(None) };
        let key = match &node.api_key_file {
            Some(path) => Some(key_in(path)?),
            None => std::env::var("GRISTMILL_API_KEY").ok(),
        };
        Self::new(&url, key).map(Some)
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
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let call = Call { accept: "application/json", ..Call::get(path) };
        self.json(&self.call(call).await?)
    }

    /// `GET` of the same as text for people.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn text(&self, path: &str) -> Result<String, Error> {
        let text = String::from_utf8(self.call(Call::get(path)).await?.to_vec());
        text.map_err(|_| Error::Text { url: self.base.clone() })
    }

    /// `POST` of JSON, once: it is not sent again if it may have been carried out.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Error> {
        let content = Some("application/json");
        let body = Bytes::from(body.to_string());
        let (method, accept, repeatable) = (Method::POST, "application/json", false);
        self.json(&self.call(Call { method, path, accept, content, body, repeatable }).await?)
    }

    /// An answer's JSON, as what it should be.
    ///
    /// # Errors
    /// [`Error::Answer`].
    pub fn json<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Error> {
        let other = |source| Error::Answer { url: self.base.clone(), source };
        serde_json::from_slice(body).map_err(other)
    }

    /// A batch was answered for other lines than were sent.
    #[must_use]
    pub fn other_lines(&self, answered: usize, sent: usize) -> Error {
        Error::Lines { url: self.base.clone(), answered, sent }
    }

    /// A request whose answer is read whole. What may do better later is tried again, a bounded
    /// number of times.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn call(&self, call: Call<'_>) -> Result<Bytes, Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.once(&call).await {
                Err(error)
                    if tries < TRIES_MAX
                        && error.is_retryable()
                        && (call.repeatable || error.is_refusal()) =>
                {
                    tokio::time::sleep(TRY_AFTER * tries).await;
                }
                answer => return answer,
            }
        }
    }

    /// A request whose answer is read whole, sent once whatever comes back.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn once(&self, call: &Call<'_>) -> Result<Bytes, Error> {
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.try_call(call)).await;
        answer.unwrap_or_else(|_| Err(Error::Timeout { url: self.base.clone() }))
    }

    /// Its address, without a final slash.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    async fn try_call(&self, call: &Call<'_>) -> Result<Bytes, Error> {
        let url = || self.base.clone();
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(format!("{}{}", self.base, call.path))
            .header(ACCEPT, call.accept);
        if let Some(content) = call.content {
            request = request.header(CONTENT_TYPE, content);
        }
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, format!("Bearer {key}"));
        }
        let request = request.body(Full::new(call.body.clone()));
        let request = request.map_err(|source| Error::Request { url: url(), source })?;
        let answer = self.http.request(request).await;
        let answer = answer.map_err(|source| Error::Connection { url: url(), source })?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|source| match source.downcast::<LengthLimitError>() {
            Ok(_) => Error::TooLong { url: url(), bytes_max: ANSWER_BYTES_MAX },
            Err(source) => Error::Broken { url: url(), source },
        })?;
        let body = body.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        let status = status.as_u16();
        let problem: Problem = serde_json::from_slice(&body)
            .map_err(|source| Error::NoProblem { url: url(), status, source })?;
        let Problem { code, detail, field } = problem;
        Err(Error::Problem { status, code, detail, field })
    }
}

/// The key in a file: its first line.
fn key_in(path: &Path) -> Result<String, Error> {
    let failed = |source| Error::KeyFile { path: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(KEY_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    let key = text.lines().next().map(str::trim).filter(|key| !key.is_empty());
    key.map(str::to_owned).ok_or_else(|| Error::NoKey { path: path.to_owned() })
}

/// A request.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub path: &'a str,
    /// The media type that is asked for.
    pub accept: &'a str,
    /// The media type of the body, if there is one.
    pub content: Option<&'a str>,
    /// The body.
    pub body: Bytes,
    /// Whether it does the same when it comes twice.
    pub repeatable: bool,
}

impl<'a> Call<'a> {
    /// `GET` of text.
    #[must_use]
    pub fn get(path: &'a str) -> Self {
        let (method, accept, body) = (Method::GET, "text/plain", Bytes::new());
        Self { method, path, accept, content: None, body, repeatable: true }
    }

    /// `POST` of something that the node recognises when it comes twice.
    #[must_use]
    pub fn repeatable(path: &'a str, kind: (&'a str, &'a str), body: Bytes) -> Self {
        let (accept, content) = kind;
        let (method, content) = (Method::POST, Some(content));
        Self { method, path, accept, content, body, repeatable: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_first_line_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(matches!(key_in(&path), Err(Error::KeyFile { .. })));
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(key_in(&path), Err(Error::NoKey { .. })));
        std::fs::write(&path, "gm_a_b \nmore\n").unwrap();
        assert_eq!(key_in(&path).unwrap(), "gm_a_b");
    }

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
