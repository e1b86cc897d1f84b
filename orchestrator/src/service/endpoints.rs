//! Every endpoint in one table: who may call it, what it takes and what it answers. Access control,
//! the API's description and the tests read the same rows; a route without a row answers nobody.

mod table;

use crate::service::problem::Code;
use crate::service::role::Role;

pub use table::TABLE;

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the path.
    Path,
    /// In the query; optional.
    Query,
    /// In the query; must be there.
    Needed,
}

/// A parameter.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Where it stands.
    pub place: Place,
    /// The schema of its value.
    pub schema: &'static str,
    /// What it chooses.
    pub about: &'static str,
}

/// What a body or an answer holds: media type, and the name of its schema.
pub type Content = (&'static str, &'static str);

/// One operation.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// `GET`, `POST` or `DELETE`.
    pub method: &'static str,
    /// With parameters in braces.
    pub path: &'static str,
    /// Its name for generated clients.
    pub id: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// Whose keys may call it; empty: no key is needed.
    pub roles: &'static [Role],
    /// Parameters.
    pub parameters: &'static [Parameter],
    /// The body it takes.
    pub body: Option<Content>,
    /// The status of success.
    pub status: u16,
    /// What success holds, one for each `Accept` it knows; the first is the default.
    pub answer: &'static [Content],
    /// What can go wrong, besides what can go wrong everywhere.
    pub problems: &'static [Code],
}

/// The row of a route.
#[must_use]
pub fn find(method: &str, path: &str) -> Option<&'static Endpoint> {
    // HEAD is a GET whose answer's body is left out (RFC 9110, 9.3.2).
    let method = if method == "HEAD" { "GET" } else { method };
    TABLE.iter().find(|row| row.method == method && row.path == path)
}

impl Endpoint {
    /// Every code that it may answer with.
    #[must_use]
    pub fn codes(&self) -> Vec<Code> {
        let mut codes = vec![Code::Busy, Code::Internal];
        if !self.roles.is_empty() {
            codes.extend([Code::Unauthenticated, Code::Forbidden]);
        }
        if self.parameters.iter().any(|parameter| parameter.place != Place::Path)
            || self.parameters.is_empty()
        {
            codes.extend([Code::UnknownField, Code::InvalidField]);
        }
        if self.parameters.iter().any(|parameter| parameter.place == Place::Path) {
            codes.push(Code::NotFound);
        }
        if self.parameters.iter().any(|parameter| parameter.place == Place::Needed) {
            codes.push(Code::MissingField);
        }
        if let Some((content, _)) = self.body {
            codes.extend([
                Code::BodyTooLarge,
                Code::BodyTooSlow,
                Code::BodyBroken,
                Code::UnsupportedMediaType,
            ]);
            if content == "application/json" {
                codes.extend([
                    Code::MalformedJson,
                    Code::UnknownField,
                    Code::MissingField,
                    Code::InvalidField,
                ]);
            }
        }
        codes.extend_from_slice(self.problems);
        codes.sort_unstable();
        codes.dedup();
        codes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_operation_or_name_stands_twice_and_braces_are_parameters() {
        for (nth, row) in TABLE.iter().enumerate() {
            for other in &TABLE[nth + 1..] {
                assert!((row.method, row.path) != (other.method, other.path), "{}", row.path);
                assert_ne!(row.id, other.id);
            }
            let in_path = row.parameters.iter().filter(|one| one.place == Place::Path);
            let names: Vec<String> = in_path.map(|one| format!("{{{}}}", one.name)).collect();
            let path = row.path.replace("{*", "{");
            assert_eq!(path.matches('{').count(), names.len(), "{}", row.path);
            assert!(names.iter().all(|name| path.contains(name)), "{}", row.path);
        }
    }

    #[test]
    fn only_reading_needs_no_key() {
        for row in TABLE.iter().filter(|row| row.roles.is_empty()) {
            assert_eq!(row.method, "GET", "{}", row.path);
            assert!(!row.path.starts_with("/v1/"), "{}", row.path);
        }
    }
}
