//! Why a bucket did not do what it was asked. No text here has a credential in it: what a server
//! sends back as the body of an error may, so only its code is shown.

use super::limits::SHOWN_CHARS;

/// Why a request of a bucket failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No answer in time, again and again: a write may have been applied.
    #[error("the bucket does not answer in time")]
    Timeout,
    /// The credentials are refused.
    #[error("the bucket refuses these credentials")]
    Denied,
    /// The service failed, or cannot be reached.
    #[error("the bucket: {detail}")]
    Service {
        /// What was met.
        detail: String,
        /// Whether the same request may do better later.
        retryable: bool,
    },
    /// Others wrote the same object again and again.
    #[error("others write the same object again and again")]
    Contended,
    /// An object, or a folder, is larger than anything of ours.
    #[error("larger than {limit}")]
    TooLarge {
        /// Bytes, or objects.
        limit: u64,
    },
}

impl Error {
    /// Whether the same request may do better later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Timeout | Self::Contended => true,
            Self::Service { retryable, .. } => *retryable,
            Self::Denied | Self::TooLarge { .. } => false,
        }
    }
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        use object_store::Error as Met;
        match error {
            Met::PermissionDenied { .. } | Met::Unauthenticated { .. } => Self::Denied,
            Met::Generic { .. } | Met::JoinError { .. } => {
                Self::Service { detail: shown(&error.to_string()), retryable: true }
            }
            refused => Self::Service { detail: shown(&refused.to_string()), retryable: false },
        }
    }
}

/// The beginning of a text, without what a server answered but for its code.
fn shown(text: &str) -> String {
    let (said, body) = text.split_once('<').unwrap_or((text, ""));
    let said = said.lines().next().unwrap_or_default().trim_end_matches([' ', ':']);
    let mut shown: String = said.chars().take(SHOWN_CHARS).collect();
    let code = body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    if let Some((code, _)) = code {
        shown = format!("{shown} ({})", code.chars().take(SHOWN_CHARS).collect::<String>());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_sends_back_is_not_shown_but_for_its_code() {
        let body = "<?xml version=\"1.0\"?>\n<Error><Code>SignatureDoesNotMatch</Code>\
                    <AWSAccessKeyId>KEY</AWSAccessKeyId><StringToSign>x</StringToSign></Error>";
        let source = format!("answered 418: {body}").into();
        let error = Error::from(object_store::Error::Generic { store: "S3", source });
        let text = error.to_string();
        assert!(text.contains("answered 418 (SignatureDoesNotMatch)"), "{text}");
        assert!(!text.contains("KEY") && !text.contains("StringToSign"), "{text}");
        assert!(error.is_retryable());
        let denied =
            object_store::Error::PermissionDenied { path: "a".into(), source: body.into() };
        assert_eq!(Error::from(denied), Error::Denied);
    }
}
