//! Where a bucket is, and who we are there.

use super::limits::CREDENTIALS_BYTES_MAX;
use super::transport::Transport;
use super::{Bucket, Error};
use crate::durable_files::read;
use object_store::RetryConfig;
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

const SCHEME: &str = "s3://";
const KEY_ID_VARIABLE: &str = "AWS_ACCESS_KEY_ID";
const SECRET_VARIABLE: &str = "AWS_SECRET_ACCESS_KEY";
const TOKEN_VARIABLE: &str = "AWS_SESSION_TOKEN";

/// Why a bucket cannot be addressed.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// Not of the form `s3://BUCKET/FOLDER`.
    #[error("{text:?} is no bucket: s3://BUCKET or s3://BUCKET/FOLDER is expected")]
    Form {
        /// As given.
        text: String,
    },
    /// No credentials.
    #[error(
        "the bucket needs credentials: a file with KEY_ID:SECRET, or {KEY_ID_VARIABLE} and \
         {SECRET_VARIABLE}"
    )]
    NoCredentials,
    /// The file with the credentials cannot be read.
    #[error("the credentials of the bucket, {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was met.
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error("the credentials of the bucket, {}: one line KEY_ID:SECRET is expected", path.display())]
    Line {
        /// Which.
        path: PathBuf,
    },
    /// The client cannot be made of endpoint, region and certificates.
    #[error(transparent)]
    Client(#[from] Error),
}

/// `s3://BUCKET/FOLDER`; the folder may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    bucket: String,
    folder: String,
}

/// Who we are. Nothing of it is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    key_id: String,
    secret: String,
    token: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials")
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let slash = if self.folder.is_empty() { "" } else { "/" };
        write!(f, "{SCHEME}{}{slash}{}", self.bucket, self.folder)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError::Form { text: text.to_owned() };
        let rest = text.strip_prefix(SCHEME).ok_or_else(wrong)?;
        let (bucket, folder) = rest.split_once('/').unwrap_or((rest, ""));
        let folder = folder.trim_end_matches('/');
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let name = |name: &str| {
            !name.is_empty() && name.bytes().all(plain) && !name.bytes().all(|byte| byte == b'.')
        };
        if name(bucket) && (folder.is_empty() || folder.split('/').all(name)) {
            return Ok(Self { bucket: bucket.to_owned(), folder: folder.to_owned() });
        }
        Err(wrong())
    }
}

impl Credentials {
    /// From a file (`KEY_ID:SECRET`, one line); without one, from `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY` and, if it is set, `AWS_SESSION_TOKEN`.
    ///
    /// # Errors
    /// [`AddressError`] when they are not there.
    pub fn find(
        file: Option<&Path>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, AddressError> {
        let Some(path) = file.map(Path::to_owned) else {
            let (key_id, secret) = variable(KEY_ID_VARIABLE)
                .zip(variable(SECRET_VARIABLE))
                .ok_or(AddressError::NoCredentials)?;
            return Ok(Self { key_id, secret, token: variable(TOKEN_VARIABLE) });
        };
        let bytes = match read(&path, CREDENTIALS_BYTES_MAX) {
            Ok(bytes) => bytes.unwrap_or_default(),
            Err(source) => return Err(AddressError::File { path, source }),
        };
        let text = String::from_utf8(bytes).unwrap_or_default();
        match text.trim_end_matches(['\r', '\n']).split_once(':') {
            Some((key_id, secret)) if !key_id.is_empty() && !secret.is_empty() => {
                Ok(Self { key_id: key_id.to_owned(), secret: secret.to_owned(), token: None })
            }
            _ => Err(AddressError::Line { path }),
        }
    }
}

impl Address {
    /// The folder at this address. Sends nothing yet. `endpoint` is `http://HOST:PORT` or
    /// `https://…`; empty: Amazon's of the region.
    ///
    /// # Errors
    /// [`AddressError::Client`] when the client cannot be made.
    pub fn open(
        &self,
        endpoint: &str,
        region: &str,
        credentials: &Credentials,
    ) -> Result<Bucket, AddressError> {
        let plain = endpoint.starts_with("http://");
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_region(region)
            .with_access_key_id(&credentials.key_id)
            .with_secret_access_key(&credentials.secret)
            .with_allow_http(plain)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_disable_bulk_delete(true)
            // Who asks here retries, and knows what that means for each request.
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
            .with_http_connector(Transport { tls: !plain });
        if let Some(token) = &credentials.token {
            builder = builder.with_token(token);
        }
        if !endpoint.is_empty() {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        let store = builder.build().map_err(Error::from)?;
        Ok(Bucket::new(Arc::new(store), &self.folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_printed() {
        for text in ["s3://gristmill", "s3://my-bucket.eu/a/b_c"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("s3://a/b/".parse::<Address>().unwrap().to_string(), "s3://a/b");
        for text in ["", "s3://", "s3:///a", "s3://a//b", "s3://a/../b", "s3://a b", "/srv/a"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn credentials_come_from_a_file_or_the_environment_and_are_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("login");
        std::fs::write(&file, "id:se:cret\n").unwrap();
        let none = |_: &str| None;
        let found = Credentials::find(Some(&file), none).unwrap();
        assert_eq!((found.key_id.as_str(), found.secret.as_str()), ("id", "se:cret"));
        assert!(!format!("{found:?}").contains("cret"));
        let of = |name: &str| Some(name.to_lowercase());
        let found = Credentials::find(None, of).unwrap();
        assert_eq!(found.secret, "aws_secret_access_key");
        assert_eq!(found.token.as_deref(), Some("aws_session_token"));
        let missing = Credentials::find(None, none).unwrap_err();
        assert!(matches!(missing, AddressError::NoCredentials), "{missing}");
        for text in ["", "id", ":secret", "id:"] {
            std::fs::write(&file, text).unwrap();
            let error = Credentials::find(Some(&file), none).unwrap_err();
            assert!(matches!(error, AddressError::Line { .. }), "{error}");
        }
    }
}
