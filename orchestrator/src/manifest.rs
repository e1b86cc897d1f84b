//! Manifests: NDJSON, one object a line, unknown fields are errors (contract.md, Manifest).
//!
//! A line is read without looking at any state; what is wrong with it names the field.

pub use crate::limits::LINE_BYTES_MAX;
use crate::strict_json;
use gristmill_workflows::limits;
use gristmill_workflows::program::is_name;
use gristmill_workflows::submission::{Modality, Terms};
use gristmill_workflows::time::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::io::{BufRead, Read};

/// What can be wrong with a line; the contract's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Not one JSON object.
    MalformedJson,
    /// A field that no such object has.
    UnknownField,
    /// A field that must be there.
    MissingField,
    /// A field of another type, or outside its range.
    InvalidField,
    /// Over the bound.
    LineTooLong,
    /// No such program.
    UnknownProgram,
    /// The program has no such task.
    UnknownTask,
    /// The contributor never gave this grant.
    UnknownGrant,
    /// No such file or blob.
    MediaMissing,
    /// A path that leads out of the media root, or to no regular file.
    MediaPath,
    /// The bytes have another hash.
    MediaSha256,
    /// More bytes than allowed.
    MediaTooLarge,
    /// The key was used with another body.
    IdempotencyKeyReused,
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field, with dots; empty for the whole line.
    pub field: String,
    /// Which kind.
    pub code: Code,
    /// A sentence for a person.
    pub detail: String,
}

impl Problem {
    /// A problem with one field.
    pub fn new(field: &str, code: Code, detail: impl Into<String>) -> Self {
        Self { field: field.to_owned(), code, detail: detail.into() }
    }
}

/// A line that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Something handed in.
    Contribution(Contribution),
    /// Consent given.
    Consent(Consent),
    /// Consent taken back.
    Withdraw(Withdraw),
}

/// A contribution line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contribution {
    /// The person.
    pub contributor: String,
    /// The client's key.
    pub idempotency_key: String,
    /// The paying side.
    pub program: String,
    /// Its task.
    pub task: String,
    /// What it claims to be.
    pub modality: Modality,
    /// BCP 47.
    pub language: Option<String>,
    /// A relative path.
    pub uri: Option<String>,
    /// The hash of the bytes.
    pub sha256: Option<[u8; 32]>,
    /// What was said.
    pub transcript: Option<String>,
    /// When it was captured.
    pub captured_at: Option<Timestamp>,
    /// Hash of the whole object: equal bodies are repeats.
    pub body: [u8; 16],
}

/// A consent line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// The person.
    pub contributor: String,
    /// The program it is given to.
    pub program: String,
    /// What for.
    pub purposes: Vec<String>,
    /// Which media.
    pub modalities: Vec<Modality>,
    /// Under which text.
    pub terms: Terms,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// The client's own id, or one derived from the whole object.
    pub grant: String,
    /// Hash of the whole object.
    pub body: [u8; 16],
}

/// A withdrawal line: one grant, or all of that contributor and program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdraw {
    /// The person.
    pub contributor: String,
    /// One grant.
    pub grant: Option<String>,
    /// All grants of one program.
    pub program: Option<String>,
}

/// Reads the next line, bounded: none at the end. A line over the bound is skipped whole and comes
/// back as `Err(())`.
pub fn next_line(input: &mut impl BufRead) -> std::io::Result<Option<Result<Vec<u8>, TooLong>>> {
    let mut line = Vec::new();
    let bound = LINE_BYTES_MAX as u64 + 1;
    if input.by_ref().take(bound).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Some(Ok(line)));
    }
    if line.len() <= LINE_BYTES_MAX {
        return Ok(Some(Ok(line)));
    }
    loop {
        line.clear();
        let read = input.by_ref().take(bound).read_until(b'\n', &mut line)?;
        if read == 0 || line.last() == Some(&b'\n') {
            return Ok(Some(Err(TooLong)));
        }
    }
}

/// A line over [`LINE_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// Reads one line.
pub fn parse(line: &[u8], now: Timestamp) -> Result<Line, Problem> {
    let object = object(line)?;
    let kind = ["consent", "withdraw"].into_iter().find(|kind| object.contains_key(*kind));
    let Some(kind) = kind else {
        return contribution(Fields::new("", object), now).map(Line::Contribution);
    };
    if let Some(other) = object.keys().find(|key| *key != kind) {
        return Err(Problem::new(other, Code::UnknownField, format!("beside `{kind}`")));
    }
    let Some(Value::Object(inner)) = object.get(kind).cloned() else {
        return Err(Problem::new(kind, Code::InvalidField, "must be an object"));
    };
    if kind == "consent" {
        consent(Fields::new("consent.", inner)).map(Line::Consent)
    } else {
        withdraw(Fields::new("withdraw.", inner)).map(Line::Withdraw)
    }
}

/// Reads a contribution that stands alone.
pub fn parse_contribution(body: &[u8], now: Timestamp) -> Result<Contribution, Problem> {
    contribution(Fields::new("", object(body)?), now)
}

/// Reads a consent that stands alone, as it would stand in a line's `consent`.
pub fn parse_consent(body: &[u8]) -> Result<Consent, Problem> {
    consent(Fields::new("consent.", object(body)?)).map_err(|problem| alone(problem, "consent."))
}

/// Reads a withdrawal that stands alone, as it would stand in a line's `withdraw`.
pub fn parse_withdraw(body: &[u8]) -> Result<Withdraw, Problem> {
    withdraw(Fields::new("withdraw.", object(body)?)).map_err(|problem| alone(problem, "withdraw."))
}

/// A problem of an object that stands alone names fields without the object around it.
fn alone(problem: Problem, prefix: &str) -> Problem {
    let field = problem.field.strip_prefix(prefix).unwrap_or(&problem.field).to_owned();
    Problem { field, ..problem }
}

fn object(text: &[u8]) -> Result<Map<String, Value>, Problem> {
    let malformed = |detail: String| Problem::new("", Code::MalformedJson, detail);
    let text = std::str::from_utf8(text).map_err(|error| malformed(error.to_string()))?;
    let value = strict_json::parse(text).map_err(|error| match error {
        strict_json::Error::Repeated { ref field } => {
            Problem::new(field, Code::InvalidField, error.to_string())
        }
        strict_json::Error::Malformed(error) => malformed(error.to_string()),
    })?;
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(malformed("must be one JSON object".to_owned())),
    }
}

fn contribution(mut fields: Fields, now: Timestamp) -> Result<Contribution, Problem> {
    let body = fields.body()?;
    let contributor = fields.id("contributor", limits::CONTRIBUTOR_BYTES_MAX)?;
    let idempotency_key = fields.id("idempotency_key", limits::IDEMPOTENCY_KEY_BYTES_MAX)?;
    let program = fields.name("program")?;
    let task = fields.name("task")?;
    let modality = fields.text("modality", 16)?;
    let modality = fields.modality("modality", &modality)?;
    let language = fields.optional_text("language", 35)?;
    if let Some(tag) = &language {
        fields.check("language", is_language(tag), "must be a BCP 47 tag, like ko or ko-KR")?;
    }
    let media = fields.object("media")?;
    let (uri, sha256) = match media {
        None => (None, None),
        Some(mut media) => {
            let uri = media.optional_text("uri", limits::URI_BYTES_MAX)?;
            let sha256 = media.optional_hash("sha256")?;
            if uri.is_none() && sha256.is_none() {
                return Err(Problem::new("media.uri", Code::MissingField, "uri, sha256 or both"));
            }
            media.end()?;
            (uri, sha256)
        }
    };
    let has_media = uri.is_some() || sha256.is_some();
    if modality == Modality::None && has_media {
        return Err(fields.invalid("media", "modality none has no media"));
    }
    if modality != Modality::None && !has_media {
        return Err(Problem::new("media", Code::MissingField, "this modality needs media"));
    }
    let transcript = fields.optional_text("transcript", limits::TRANSCRIPT_BYTES_MAX)?;
    let captured_at = fields.moment("captured_at")?;
    let tomorrow = now.plus_ms(86_400_000);
    let past = captured_at.is_none_or(|at| at <= tomorrow);
    fields.check("captured_at", past, "lies in the future")?;
    fields.end()?;
    Ok(Contribution {
        contributor,
        idempotency_key,
        program,
        task,
        modality,
        language,
        uri,
        sha256,
        transcript,
        captured_at,
        body,
    })
}

fn consent(mut fields: Fields) -> Result<Consent, Problem> {
    let body = fields.body()?;
    let contributor = fields.id("contributor", limits::CONTRIBUTOR_BYTES_MAX)?;
    let program = fields.name("program")?;
    let purposes = fields.texts("purposes", limits::NAME_BYTES_MAX)?;
    let words = fields.texts("modalities", 16)?;
    let modalities = words.iter().map(|word| fields.modality("modalities", word));
    let modalities = modalities.collect::<Result<Vec<_>, _>>()?;
    let Some(mut inner) = fields.object("terms")? else {
        return Err(Problem::new("consent.terms", Code::MissingField, "must be an object"));
    };
    let version = inner.text("version", limits::NAME_BYTES_MAX)?;
    let sha256 = inner.text("sha256", 64)?;
    let is_hash = gristmill_workflows::id::unhex::<32>(&sha256).is_some();
    inner.check("sha256", is_hash, "must be 64 lower-case hex digits")?;
    let uri = inner.text("uri", limits::URI_BYTES_MAX)?;
    inner.end()?;
    let expires_at = fields.moment("expires_at")?;
    let grant = match fields.optional_text("grant", limits::GRANT_BYTES_MAX)? {
        Some(grant) => {
            fields.check("grant", is_id(&grant), "must hold visible characters only")?;
            grant
        }
        None => format!("g{}", gristmill_workflows::id::hex(&body)),
    };
    fields.end()?;
    let terms = Terms { version, sha256, uri };
    Ok(Consent { contributor, program, purposes, modalities, terms, expires_at, grant, body })
}

fn withdraw(mut fields: Fields) -> Result<Withdraw, Problem> {
    let contributor = fields.id("contributor", limits::CONTRIBUTOR_BYTES_MAX)?;
    let grant = fields.optional_text("grant", limits::GRANT_BYTES_MAX)?;
    let program = fields.optional_text("program", limits::NAME_BYTES_MAX)?;
    if grant.is_none() && program.is_none() {
        let field = "withdraw.grant";
        return Err(Problem::new(field, Code::MissingField, "grant, program or both"));
    }
    fields.end()?;
    Ok(Withdraw { contributor, grant, program })
}

fn is_language(tag: &str) -> bool {
    let mut parts = tag.split('-');
    let primary = parts.next().unwrap_or_default();
    (2..=8).contains(&primary.len())
        && primary.bytes().all(|b| b.is_ascii_alphabetic())
        && parts.all(|part| {
            (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
        })
}

pub(crate) fn is_id(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

/// The fields of one object: each is taken once, what is left is unknown.
struct Fields {
    prefix: &'static str,
    map: Map<String, Value>,
}

impl Fields {
    fn new(prefix: &'static str, map: Map<String, Value>) -> Self {
        Self { prefix, map }
    }

    /// The first 16 bytes of SHA-256 over the object's JSON. Its maps are sorted, and every field
    /// that is taken holds texts only: that is canonical JSON (RFC 8785) already.
    fn body(&self) -> Result<[u8; 16], Problem> {
        let json = serde_json::to_vec(&self.map)
            .map_err(|error| Problem::new("", Code::InvalidField, error.to_string()))?;
        let digest = Sha256::digest(json);
        let mut body = [0; 16];
        body.copy_from_slice(&digest[..16]);
        Ok(body)
    }

    fn invalid(&self, field: &str, detail: &str) -> Problem {
        Problem::new(&format!("{}{field}", self.prefix), Code::InvalidField, detail)
    }

    fn check(&self, field: &str, holds: bool, detail: &str) -> Result<(), Problem> {
        if holds { Ok(()) } else { Err(self.invalid(field, detail)) }
    }

    fn optional_text(&mut self, field: &str, max: usize) -> Result<Option<String>, Problem> {
        match self.map.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.len() <= max => Ok(Some(text)),
            Some(Value::String(_)) => {
                Err(self.invalid(field, &format!("is longer than {max} bytes")))
            }
            Some(_) => Err(self.invalid(field, "must be a string")),
        }
    }

    fn text(&mut self, field: &str, max: usize) -> Result<String, Problem> {
        let text = self.optional_text(field, max)?;
        text.ok_or_else(|| {
            let field = format!("{}{field}", self.prefix);
            Problem::new(&field, Code::MissingField, "must be there")
        })
    }

    fn id(&mut self, field: &str, max: usize) -> Result<String, Problem> {
        let text = self.text(field, max)?;
        self.check(field, is_id(&text), "must hold visible characters only")?;
        Ok(text)
    }

    fn name(&mut self, field: &str) -> Result<String, Problem> {
        let text = self.text(field, limits::NAME_BYTES_MAX)?;
        self.check(field, is_name(&text), "must be 1 to 64 of a-z, 0-9, - and _")?;
        Ok(text)
    }

    fn texts(&mut self, field: &str, max: usize) -> Result<Vec<String>, Problem> {
        let list = match self.map.remove(field) {
            Some(Value::Array(list)) => list,
            None => {
                let name = format!("{}{field}", self.prefix);
                return Err(Problem::new(&name, Code::MissingField, "must be there"));
            }
            Some(_) => return Err(self.invalid(field, "must be a list of strings")),
        };
        let counts = (1..=limits::GRANT_LIST_MAX).contains(&list.len());
        self.check(field, counts, "must have 1 to 16 entries")?;
        list.into_iter()
            .map(|value| match value {
                Value::String(text) if is_id(&text) && text.len() <= max => Ok(text),
                _ => Err(self.invalid(field, "must be a list of short strings")),
            })
            .collect()
    }

    fn modality(&self, field: &str, word: &str) -> Result<Modality, Problem> {
        match word {
            "voice" => Ok(Modality::Voice),
            "image" => Ok(Modality::Image),
            "video" => Ok(Modality::Video),
            "none" => Ok(Modality::None),
            _ => Err(self.invalid(field, "must be voice, image, video or none")),
        }
    }

    fn moment(&mut self, field: &str) -> Result<Option<Timestamp>, Problem> {
        let Some(text) = self.optional_text(field, 64)? else { return Ok(None) };
        Timestamp::parse(&text).map(Some).map_err(|error| self.invalid(field, &error.to_string()))
    }

    fn optional_hash(&mut self, field: &str) -> Result<Option<[u8; 32]>, Problem> {
        let Some(text) = self.optional_text(field, 64)? else { return Ok(None) };
        let bytes = gristmill_workflows::id::unhex::<32>(&text);
        bytes.map(Some).ok_or_else(|| self.invalid(field, "must be 64 lower-case hex digits"))
    }

    fn object(&mut self, field: &'static str) -> Result<Option<Fields>, Problem> {
        let prefix = match field {
            "media" => "media.",
            _ => "consent.terms.",
        };
        match self.map.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Self::new(prefix, map))),
            Some(_) => Err(self.invalid(field, "must be an object")),
        }
    }

    fn end(&self) -> Result<(), Problem> {
        match self.map.keys().next() {
            None => Ok(()),
            Some(field) => {
                let field = format!("{}{field}", self.prefix);
                Err(Problem::new(&field, Code::UnknownField, "no such field"))
            }
        }
    }
}

#[cfg(test)]
mod tests;
