//! Problems (RFC 9457): what a client is told when something is not done. Every code has one row
//! here, and from it its status, its page and its place in the API's description.

use crate::manifest;
use crate::service::limits::{FIELD_BYTES_MAX, RETRY_AFTER_S};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use gristmill_actors::ports::{LogError, MediaError, StoreError};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{HeaderMap, StatusCode};
use serde::Serialize;

/// The media type of problems.
pub const CONTENT: &str = "application/problem+json";

/// What can go wrong; stable words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the table below says what each means")]
pub enum Code {
    MalformedJson,
    UnknownField,
    MissingField,
    InvalidField,
    LineTooLong,
    BatchTooLong,
    BodyTooLarge,
    BodyTooSlow,
    BodyBroken,
    UnsupportedMediaType,
    UnknownProgram,
    UnknownTask,
    UnknownGrant,
    MediaMissing,
    MediaPath,
    MediaSha256,
    MediaTooLarge,
    IdempotencyKeyReused,
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    UnknownStage,
    NotAccepted,
    NotPublished,
    Erased,
    NotPaused,
    AlreadyAccepted,
    InboxFull,
    Busy,
    Draining,
    StoreUnavailable,
    Internal,
}

/// One code's row: its word, status, whether the same request may do better later, its title, and
/// what a person reads on its page.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Which.
    pub code: Code,
    /// As on the wire.
    pub word: &'static str,
    /// HTTP status.
    pub status: u16,
    /// Whether the same request may do better later.
    pub retryable: bool,
    /// A short sentence that never changes.
    pub title: &'static str,
    /// What happened and what to do.
    pub page: &'static str,
}

const fn row(
    code: Code,
    word: &'static str,
    status: u16,
    retryable: bool,
    title: &'static str,
    page: &'static str,
) -> Row {
    Row { code, word, status, retryable, title, page }
}

/// Every code.
#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    row(Code::MalformedJson, "malformed_json", 400, false, "Not one JSON object",
        "The body or line is not UTF-8, or is not one JSON object. Nothing was taken from it."),
    row(Code::UnknownField, "unknown_field", 400, false, "No such field",
        "The field that `field` names is not one of this object. Unknown fields are errors, so \
         that a misspelt one is never silently left out."),
    row(Code::MissingField, "missing_field", 400, false, "A field is missing",
        "The field or parameter that `field` names must be there."),
    row(Code::InvalidField, "invalid_field", 400, false, "A field is not valid",
        "The field or parameter that `field` names has another type, lies outside its range, or \
         is named twice; `detail` says the rule."),
    row(Code::LineTooLong, "line_too_long", 400, false, "A line is too long",
        "A line of a batch has at most 65,536 bytes. The lines after it are read."),
    row(Code::BatchTooLong, "batch_too_long", 400, false, "A batch has too many lines",
        "The rest of the batch, from the line that this problem names on, was not read. Send it \
         as a further batch."),
    row(Code::BodyTooLarge, "body_too_large", 413, false, "The body is too large",
        "The body has more bytes than this endpoint takes; `detail` says how many."),
    row(Code::BodyTooSlow, "body_too_slow", 408, true, "The body came too slowly",
        "The body was not there in time, or came in fewer bytes a second than a working line \
         carries. Nothing was taken from it, but for batch lines that were answered."),
    row(Code::BodyBroken, "body_broken", 400, true, "The body ended early",
        "The connection broke, or the body's encoding did. Nothing was taken from it, but for \
         batch lines that were answered."),
    row(Code::UnsupportedMediaType, "unsupported_media_type", 415, false,
        "Another content type is expected",
        "The endpoint takes the content type that `detail` names."),
    row(Code::UnknownProgram, "unknown_program", 422, false, "No such program",
        "This node serves no program of this name."),
    row(Code::UnknownTask, "unknown_task", 422, false, "No such task",
        "The program has no task of this name."),
    row(Code::UnknownGrant, "unknown_grant", 422, false, "No such grant",
        "This contributor never gave a grant under this id. Grants of others are not seen."),
    row(Code::MediaMissing, "media_missing", 422, false, "No such upload",
        "No upload of this contributor has this SHA-256. Upload it first, or again: what is not \
         handed in within the time of `service.upload_hours` is destroyed."),
    row(Code::MediaPath, "media_path", 422, false, "Media by path is not taken",
        "Over HTTP a contribution names the `sha256` of an upload; no `uri` is accepted."),
    row(Code::MediaSha256, "media_sha256", 422, false, "The bytes have another hash",
        "The bytes do not have the SHA-256 that was named."),
    row(Code::MediaTooLarge, "media_too_large", 413, false, "The media is too large",
        "One item has at most `media.max_bytes` bytes."),
    row(Code::IdempotencyKeyReused, "idempotency_key_reused", 422, false,
        "The key was used with another body",
        "This contributor used this idempotency key with another body. The first one stands."),
    row(Code::Unauthenticated, "unauthenticated", 401, false, "No valid key",
        "Send `Authorization: Bearer KEY` with a key that is known, not revoked and not expired."),
    row(Code::Forbidden, "forbidden", 403, false, "The key does not allow this",
        "The key's role may not do this, or it is a contributor's key and names another person."),
    row(Code::NotFound, "not_found", 404, false, "There is nothing here",
        "No such path, contribution, key or object; a contributor's key sees only its own."),
    row(Code::MethodNotAllowed, "method_not_allowed", 405, false, "Another method is expected",
        "The header `Allow` names the methods of this path."),
    row(Code::UnknownStage, "unknown_stage", 422, false, "No such stage",
        "No workflow of this node has a stage of this name."),
    row(Code::NotAccepted, "not_accepted", 409, true, "The contribution is not accepted",
        "The public log has no entry of it, so there is no receipt (yet)."),
    row(Code::NotPublished, "not_published", 409, true, "The entry is not published yet",
        "The published checkpoint does not cover the entry yet; it will within seconds."),
    row(Code::Erased, "erased", 410, false, "Erased",
        "Consent was taken back and the data key destroyed: nobody can open what the log commits \
         to. The log's own proof stays valid."),
    row(Code::NotPaused, "not_paused", 409, false, "The journey is not paused",
        "Only a paused journey can be retried or rejected."),
    row(Code::AlreadyAccepted, "already_accepted", 409, false, "The contribution was accepted",
        "What was accepted is owed: it can be retried, but not rejected."),
    row(Code::InboxFull, "inbox_full", 429, true, "The shard's inbox is full",
        "As many contributions wait as `store.high_water` allows. Nothing was taken; try again \
         after `Retry-After`. Withdrawals, consents and operator commands always pass."),
    row(Code::Busy, "busy", 503, true, "Too much is under way",
        "Requests, uploads or connections are at their bound. Try again after `Retry-After`."),
    row(Code::Draining, "draining", 503, true, "The node is being stopped",
        "The node takes nothing in any more. Try another node, or this one after its restart."),
    row(Code::StoreUnavailable, "store_unavailable", 503, true, "The store is unavailable",
        "The store did not say that it is durable. The same request may be sent again: what was \
         taken is recognised by its idempotency key."),
    row(Code::Internal, "internal", 500, false, "Something is wrong in the node",
        "The node met something that should not be; its log says what. Tell its operator."),
];

impl Code {
    /// Its row.
    #[must_use]
    pub fn row(self) -> &'static Row {
        TABLE.iter().find(|row| row.code == self).expect("a test looks every code up")
    }

    /// As on the wire.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.row().word
    }
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which.
    pub code: Code,
    /// The field or parameter, with dots.
    pub field: Option<String>,
    /// A sentence for a person; no personal data of others.
    pub detail: String,
}

/// A problem as JSON.
#[derive(Debug, Serialize)]
pub struct Wire<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

impl Problem {
    /// A problem of the request as a whole.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, field: None, detail: detail.into() }
    }

    /// A problem with one field or parameter.
    #[must_use]
    pub fn field(code: Code, field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { code, field: Some(field.into()), detail: detail.into() }
    }

    /// Nothing at this place, or nothing that the caller may see.
    #[must_use]
    pub fn not_found(detail: &str) -> Self {
        Self::new(Code::NotFound, detail)
    }

    /// As JSON.
    #[must_use]
    pub fn wire(&self) -> Wire<'_> {
        let row = self.code.row();
        Wire {
            r#type: format!("/problems/{}", row.word),
            title: row.title,
            status: row.status,
            detail: &self.detail,
            code: row.word,
            retryable: row.retryable,
            field: self.field.as_deref(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let row = self.code.row();
        let body = serde_json::to_vec(&self.wire()).expect("a problem has string keys");
        let mut answer = Response::new(Body::from(body));
        *answer.status_mut() =
            StatusCode::from_u16(row.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // Whoever counts refusals reads it.
        answer.extensions_mut().insert(self.code);
        let headers: &mut HeaderMap = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if matches!(row.status, 429 | 503) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        }
        if row.status == 401 {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        answer
    }
}

/// What is wrong with a line of a manifest is wrong with the same object over HTTP.
impl From<manifest::Problem> for Problem {
    fn from(problem: manifest::Problem) -> Self {
        let manifest::Problem { mut field, code, detail } = problem;
        let mut end = FIELD_BYTES_MAX.min(field.len());
        while !field.is_char_boundary(end) {
            end -= 1;
        }
        field.truncate(end);
        let field = (!field.is_empty()).then_some(field);
        Self { code: code.into(), field, detail }
    }
}

impl From<manifest::Code> for Code {
    fn from(code: manifest::Code) -> Self {
        use manifest::Code as Line;
        match code {
            Line::MalformedJson => Self::MalformedJson,
            Line::UnknownField => Self::UnknownField,
            Line::MissingField => Self::MissingField,
            Line::InvalidField => Self::InvalidField,
            Line::LineTooLong => Self::LineTooLong,
            Line::UnknownProgram => Self::UnknownProgram,
            Line::UnknownTask => Self::UnknownTask,
            Line::UnknownGrant => Self::UnknownGrant,
            Line::MediaMissing => Self::MediaMissing,
            Line::MediaPath => Self::MediaPath,
            Line::MediaSha256 => Self::MediaSha256,
            Line::MediaTooLarge => Self::MediaTooLarge,
            Line::IdempotencyKeyReused => Self::IdempotencyKeyReused,
        }
    }
}

/// What the store says stays in the node's log: it may name paths of the machine.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_retryable() {
            tracing::warn!(%error, "a request met the store");
            return Self::new(Code::StoreUnavailable, "the store did not answer; try again");
        }
        tracing::error!(%error, "a request met the store");
        match error {
            StoreError::Failed { .. } => {
                Self::new(Code::StoreUnavailable, "the store failed; the node has to be restarted")
            }
            _ => internal(),
        }
    }
}

impl From<MediaError> for Problem {
    fn from(error: MediaError) -> Self {
        tracing::error!(%error, "a request met the media store");
        match error {
            MediaError::Failed { .. } => {
                Self::new(Code::StoreUnavailable, "the media store did not answer; try again")
            }
            MediaError::Damaged { .. } => internal(),
        }
    }
}

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        tracing::error!(%error, "a request met the log");
        Self::new(Code::StoreUnavailable, "the log's store did not answer; try again")
    }
}

impl From<crate::journeys::Error> for Problem {
    fn from(error: crate::journeys::Error) -> Self {
        match error {
            crate::journeys::Error::Store(error) => error.into(),
            crate::journeys::Error::After { .. } => {
                Self::field(Code::InvalidField, "page_token", "is none of this listing")
            }
            error => {
                tracing::error!(%error, "a request met a row that does not decode");
                internal()
            }
        }
    }
}

impl From<crate::receipts::Error> for Problem {
    fn from(error: crate::receipts::Error) -> Self {
        match error {
            crate::receipts::Error::Journeys(error) => error.into(),
            crate::receipts::Error::Store(error) => error.into(),
            error => {
                tracing::error!(%error, "a receipt could not be made");
                internal()
            }
        }
    }
}

impl From<crate::receipts::Absent> for Problem {
    fn from(absent: crate::receipts::Absent) -> Self {
        use crate::receipts::Absent;
        let code = match absent {
            Absent::NotAccepted => Code::NotAccepted,
            Absent::NotPublished => Code::NotPublished,
            Absent::Erased | Absent::Expired => Code::Erased,
        };
        Self::new(code, absent.to_string())
    }
}

impl From<gristmill_workflows::codec::Error> for Problem {
    fn from(error: gristmill_workflows::codec::Error) -> Self {
        tracing::error!(%error, "a record does not encode or decode");
        internal()
    }
}

fn internal() -> Problem {
    Problem::new(Code::Internal, "the node's log says more")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_row_and_its_word_is_its_name() {
        for row in TABLE {
            assert_eq!(serde_json::to_value(row.code).unwrap(), row.word);
            assert_eq!(TABLE.iter().filter(|other| other.code == row.code).count(), 1);
            assert_eq!(row.code.row().status, row.status);
            assert!(StatusCode::from_u16(row.status).is_ok() && row.status >= 400);
            assert!(row.page.ends_with('.') && !row.title.ends_with('.'), "{}", row.word);
        }
        // The last one of the enum: as many rows as codes.
        assert_eq!(TABLE.len(), Code::Internal as usize + 1);
    }

    #[test]
    fn a_field_that_a_client_made_up_is_cut() {
        let long = "가".repeat(1000);
        let problem = manifest::Problem::new(&long, manifest::Code::UnknownField, "no such field");
        let problem = Problem::from(problem);
        assert!(problem.field.unwrap().len() <= FIELD_BYTES_MAX);
    }
}
