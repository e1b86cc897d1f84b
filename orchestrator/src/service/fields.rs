//! The fields of an operator's body.

use crate::manifest::{self, is_id};
use crate::service::body;
use crate::service::limits::REASON_BYTES_MAX;
use crate::service::problem::{Code, Problem};
use crate::strict_json;
use axum::body::Body;
use axum::http::HeaderMap;
use serde_json::{Map, Value};

/// The fields of an operator's body, each taken once.
#[derive(Debug)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Reads a body of one object.
    ///
    /// # Errors
    /// A [`Problem`] that says what is wrong with it.
    pub async fn read(headers: &HeaderMap, body: Body) -> Result<Self, Problem> {
        let bytes = body::object(headers, body).await?;
        let malformed = |detail: String| Problem::new(Code::MalformedJson, detail);
        let text = std::str::from_utf8(&bytes).map_err(|error| malformed(error.to_string()))?;
        match strict_json::parse(text) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            Ok(_) => Err(malformed("must be one JSON object".to_owned())),
            Err(strict_json::Error::Malformed(error)) => Err(malformed(error.to_string())),
            Err(strict_json::Error::Repeated { field }) => {
                Err(manifest::Problem::new(&field, manifest::Code::InvalidField, "is named twice")
                    .into())
            }
        }
    }

    /// A text of 1 to `max` bytes, if it is there.
    ///
    /// # Errors
    /// A [`Problem`] that names the field.
    pub fn text(&mut self, field: &str, max: usize) -> Result<Option<String>, Problem> {
        match self.0.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if is_id(&text) && text.len() <= max => Ok(Some(text)),
            Some(_) => {
                let detail = format!("must be 1 to {max} bytes of visible characters");
                Err(Problem::field(Code::InvalidField, field, detail))
            }
        }
    }

    /// Why an operator does it.
    ///
    /// # Errors
    /// A [`Problem`], also if it is not there.
    pub fn reason(&mut self) -> Result<String, Problem> {
        let missing = || Problem::field(Code::MissingField, "reason", "must be there");
        self.text("reason", REASON_BYTES_MAX)?.ok_or_else(missing)
    }

    /// True or false; false if it is not there.
    ///
    /// # Errors
    /// A [`Problem`] that names the field.
    pub fn flag(&mut self, field: &str) -> Result<bool, Problem> {
        match self.0.remove(field) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(Problem::field(Code::InvalidField, field, "must be true or false")),
        }
    }

    /// Any value, if it is there.
    pub fn value(&mut self, field: &str) -> Option<Value> {
        self.0.remove(field).filter(|value| !value.is_null())
    }

    /// What was not taken, as the object that it is.
    #[must_use]
    pub fn rest(self) -> Value {
        Value::Object(self.0)
    }

    /// Nothing else was there.
    ///
    /// # Errors
    /// A [`Problem`] that names what was.
    pub fn end(self) -> Result<(), Problem> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((field, _)) => {
                let code = manifest::Code::UnknownField;
                Err(manifest::Problem::new(&field, code, "no such field").into())
            }
        }
    }
}
