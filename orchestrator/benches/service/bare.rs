//! What the framework does by itself: a handler that parses the same body and answers.

use super::Failure;
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use hyper::StatusCode;
use serde::Deserialize;
use tokio::net::TcpListener;

#[derive(Deserialize)]
struct Contribution {
    contributor: String,
    idempotency_key: String,
    program: String,
    task: String,
    modality: String,
}

/// Serves until the process is killed.
pub(crate) async fn serve() -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", serde_json::json!({"listening": format!("http://{}", listener.local_addr()?)}));
    let router = Router::new().route("/v1/contributions", post(parse));
    Ok(axum::serve(listener, router).await?)
}

async fn parse(body: Bytes) -> (StatusCode, String) {
    let parsed: Result<Contribution, serde_json::Error> = serde_json::from_slice(&body);
    match parsed {
        Ok(Contribution { contributor, idempotency_key, program, task, modality }) => {
            let read = [contributor, idempotency_key, program, task, modality];
            (StatusCode::ACCEPTED, format!("{{\"bytes\":{}}}", read.concat().len()))
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()),
    }
}
