//! JSON (RFC 8259) whose objects name each field once: which of two values counts must not depend
//! on who reads it.

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::RefCell;
use std::fmt;

/// Why a text is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not one JSON value.
    #[error(transparent)]
    Malformed(#[from] serde_json::Error),
    /// An object names a field twice.
    #[error("is named twice")]
    Repeated {
        /// The field, with dots; places of lists are left out.
        field: String,
    },
}

/// Reads one value; nothing but white space may follow it.
///
/// # Errors
/// [`Error`]. Nesting is bounded by the decoder (128 levels).
pub fn parse(text: &str) -> Result<Value, Error> {
    let repeated = RefCell::new(None);
    let mut decoder = serde_json::Deserializer::from_str(text);
    let seed = Strict { path: None, repeated: &repeated };
    let value = seed.deserialize(&mut decoder).and_then(|value| decoder.end().map(|()| value));
    match (value, repeated.into_inner()) {
        (Err(_), Some(field)) => Err(Error::Repeated { field }),
        (value, _) => Ok(value?),
    }
}

/// A field and those around it.
struct Path<'a> {
    field: &'a str,
    outer: Option<&'a Path<'a>>,
}

impl Path<'_> {
    fn join(&self) -> String {
        match self.outer {
            Some(outer) => format!("{}.{}", outer.join(), self.field),
            None => self.field.to_owned(),
        }
    }
}

#[derive(Clone, Copy)]
struct Strict<'a> {
    path: Option<&'a Path<'a>>,
    repeated: &'a RefCell<Option<String>>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, decoder: D) -> Result<Value, D::Error> {
        decoder.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(field) = fields.next_key::<String>()? {
            let path = Path { field: &field, outer: self.path };
            if map.contains_key(&field) {
                self.repeated.replace(Some(path.join()));
                return Err(A::Error::custom("a field is named twice"));
            }
            let within = Strict { path: Some(&path), repeated: self.repeated };
            let value = fields.next_value_seed(within)?;
            map.insert(field, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_the_lenient_decoder_reads() {
        for text in [
            r#"{"a": [1, -2, 3.5, 1e3, "가\n", null, true, {}], "b": {"c": []}}"#,
            "18446744073709551615",
            "-9223372036854775808",
            r#"" \ud55c ""#,
        ] {
            let lenient: Value = serde_json::from_str(text).unwrap();
            assert_eq!(parse(text).unwrap(), lenient, "{text}");
        }
    }

    #[test]
    fn a_field_that_is_named_twice_is_told_with_its_path() {
        for (text, field) in [
            (r#"{"a": 1, "a": 1}"#, "a"),
            (r#"{"a": {"b": [{"c": 1, "c": 2}]}}"#, "a.b.c"),
            (r#"{"a": 1, "\u0061": 2}"#, "a"),
        ] {
            match parse(text) {
                Err(Error::Repeated { field: told }) => assert_eq!(told, field),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_is_not_one_value_is_malformed() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        for text in ["", "{", "1 2", "nul", r#"{"a": 1,}"#, &deep] {
            assert!(matches!(parse(text), Err(Error::Malformed(_))), "{text}");
        }
    }
}
