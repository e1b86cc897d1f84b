//! How requests reach an S3-compatible service: hyper, and rustls with ring where it is TLS.

use super::limits::{ANSWER_BYTES_MAX, CONNECT_TIMEOUT};
use http_body_util::{BodyExt, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector as Tcp;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::TokioExecutor;
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest,
    HttpRequestBody, HttpResponse, HttpResponseBody, HttpService,
};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use std::error::Error as _;
use std::pin::Pin;

/// Makes clients: over TLS with the system's certificates, or without TLS.
#[derive(Debug)]
pub(super) struct Transport {
    pub(super) tls: bool,
}

#[derive(Debug)]
struct Service(Client<HttpsConnector<Tcp>, HttpRequestBody>);

fn generic(source: impl std::error::Error + Send + Sync + 'static) -> object_store::Error {
    object_store::Error::Generic { store: "TLS", source: Box::new(source) }
}

impl HttpConnector for Transport {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let mut tcp = Tcp::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let builder = HttpsConnectorBuilder::new();
        let builder = match self.tls {
            true => builder.with_provider_and_native_roots(ring::default_provider()),
            // What is never asked for needs no certificates.
            false => {
                let config = ClientConfig::builder_with_provider(ring::default_provider().into());
                let config = config.with_safe_default_protocol_versions().map_err(generic)?;
                let roots = RootCertStore::empty();
                let config = config.with_root_certificates(roots).with_no_client_auth();
                Ok(builder.with_tls_config(config))
            }
        };
        let builder = builder.map_err(generic)?;
        let connector = match self.tls {
            true => builder.https_only().enable_http1().wrap_connector(tcp),
            false => builder.https_or_http().enable_http1().wrap_connector(tcp),
        };
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(HttpClient::new(Service(client)))
    }
}

impl HttpService for Service {
    fn call<'own, 'answer>(
        &'own self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'answer>>
    where
        'own: 'answer,
        Self: 'answer,
    {
        Box::pin(async move {
            let answer = self.0.request(request).await.map_err(failed)?;
            Ok(answer.map(|body| {
                let broken = |error| HttpError::new_boxed(HttpErrorKind::Interrupted, error);
                HttpResponseBody::new(Limited::new(body, ANSWER_BYTES_MAX).map_err(broken))
            }))
        })
    }
}

/// What was met, with its cause.
#[derive(Debug, thiserror::Error)]
#[error("{met}: {}", met.source().map_or_else(String::new, ToString::to_string))]
struct Unreached {
    met: Error,
}

fn failed(met: Error) -> HttpError {
    let kind = if met.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Interrupted };
    HttpError::new(kind, Unreached { met })
}
