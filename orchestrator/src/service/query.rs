//! The query of a request: each parameter once, none that the endpoint does not have.

use crate::service::limits::{PAGE_ITEMS, PAGE_ITEMS_MAX};
use crate::service::problem::{Code, Problem};
use percent_encoding::percent_decode_str;
use std::collections::BTreeMap;

/// A query, read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Query(BTreeMap<String, String>);

impl Query {
    /// Reads a query that may hold these parameters.
    ///
    /// # Errors
    /// A [`Problem`] that names the parameter.
    pub fn read(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let mut read = BTreeMap::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if !known.contains(&name.as_str()) {
                let name: String = name.chars().take(64).collect();
                return Err(Problem::field(Code::UnknownField, name, "no such parameter"));
            }
            if read.insert(name.clone(), value).is_some() {
                return Err(Problem::field(Code::InvalidField, name, "is named twice"));
            }
        }
        Ok(Self(read))
    }

    /// A parameter's text, if it is there.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A parameter that must be there.
    ///
    /// # Errors
    /// A [`Problem`] that names it.
    pub fn needed(&self, name: &str) -> Result<&str, Problem> {
        let missing = || Problem::field(Code::MissingField, name, "must be there");
        self.get(name).ok_or_else(missing)
    }

    /// `page_size`.
    ///
    /// # Errors
    /// A [`Problem`] if it is no number of items.
    pub fn page_size(&self) -> Result<usize, Problem> {
        let Some(text) = self.get("page_size") else { return Ok(PAGE_ITEMS) };
        let plain = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(size) if plain && (1..=PAGE_ITEMS_MAX).contains(&size) => Ok(size),
            _ => {
                let detail = format!("must be a whole number from 1 to {PAGE_ITEMS_MAX}");
                Err(Problem::field(Code::InvalidField, "page_size", detail))
            }
        }
    }

    /// `page_token`, read by the listing that gave it.
    ///
    /// # Errors
    /// A [`Problem`] if the listing never gave such a token.
    pub fn page_token<T>(
        &self,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.get("page_token").filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let wrong = || Problem::field(Code::InvalidField, "page_token", "is none of this listing");
        read(text).map(Some).ok_or_else(wrong)
    }
}

fn decode(text: &str) -> Result<String, Problem> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    let decoded = decoded.map_err(|_| Problem::new(Code::InvalidField, "the query is not UTF-8"));
    Ok(decoded?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_parameter_is_known_and_stands_once() {
        let read = |query: &str| Query::read(Some(query), &["a", "page_size"]);
        assert_eq!(read("a=%EA%B0%80+b&page_size=7").unwrap().get("a"), Some("가 b"));
        assert_eq!(read("b=1").unwrap_err().code, Code::UnknownField);
        assert_eq!(read("a=1&a=2").unwrap_err().field.as_deref(), Some("a"));
        assert_eq!(read("a=%ff").unwrap_err().code, Code::InvalidField);
        assert_eq!(read("&&").unwrap(), Query::default());
        assert_eq!(read("").unwrap().needed("a").unwrap_err().code, Code::MissingField);
        for size in ["0", "1001", "x", "-1", "+5", "1e2", "99999999999999999999"] {
            let query = format!("page_size={}", size.replace('+', "%2B"));
            let query = read(&query).unwrap();
            assert_eq!(query.page_size().unwrap_err().field.as_deref(), Some("page_size"));
        }
    }
}
