//! The client that all servers are measured with.

use super::Failure;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// Who hands everything in.
pub(crate) const CONTRIBUTORS: u64 = 1_000;
const TERMS: &str = include_str!("../../../workflows/programs/engine.toml");

/// Keeps its connections alive.
#[derive(Clone)]
pub(crate) struct Client {
    http: Http<HttpConnector, Full<Bytes>>,
    url: String,
}

/// One contribution to the engine program.
pub(crate) fn contribution(number: u64) -> String {
    let person = number % CONTRIBUTORS;
    format!(
        r#"{{"contributor":"person-{person}","idempotency_key":"{number}","program":"engine","task":"none","modality":"none"}}"#
    )
}

impl Client {
    pub(crate) fn of(url: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = Http::builder(TokioExecutor::new()).build(connector);
        Self { http, url: url.to_owned() }
    }

    /// Whom it talks to, host and port.
    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Bytes, Failure> {
        self.send(Method::GET, path, "application/json", String::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: String) -> Result<Bytes, Failure> {
        self.send(Method::POST, path, "application/json", body).await
    }

    /// Hands in lines; fails unless each is durable.
    pub(crate) async fn batch(&self, lines: String) -> Result<Bytes, Failure> {
        let sent = lines.lines().count();
        let path = "/v1/contributions:batch";
        let answer = self.send(Method::POST, path, "application/x-ndjson", lines).await?;
        let text = std::str::from_utf8(&answer)?;
        if text.lines().count() != sent || text.contains("\"problem\"") {
            return Err(format!("of {sent} lines not all are durable: {text:.500}").into());
        }
        Ok(answer)
    }

    /// Everybody's consent to the engine program.
    pub(crate) async fn consent(&self) -> Result<(), Failure> {
        let program: toml::Table = toml::from_str(TERMS)?;
        let terms = program.get("terms").ok_or("a program without terms")?;
        let mut lines = String::new();
        for person in 0..CONTRIBUTORS {
            let consent = serde_json::json!({"consent": {"contributor": format!("person-{person}"),
                "program": "engine", "purposes": ["ai-training"], "modalities": ["none"],
                "terms": terms}});
            lines += &format!("{consent}\n");
        }
        self.batch(lines).await.map(drop)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: String,
    ) -> Result<Bytes, Failure> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(CONTENT_TYPE, kind)
            .body(Full::new(Bytes::from(body)))?;
        let answer = self.http.request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        Err(format!("{path}: {status} {}", String::from_utf8_lossy(&body)).into())
    }
}
