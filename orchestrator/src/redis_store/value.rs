//! Answers of the server, taken apart.

use super::error::strange;
use gristmill_actors::ports::StoreError;
use redis::Value;

/// The elements of an array.
pub(super) fn array(value: Value, what: &str) -> Result<Vec<Value>, StoreError> {
    match value {
        Value::Array(values) | Value::Set(values) => Ok(values),
        Value::Map(pairs) => Ok(pairs.into_iter().flat_map(|(name, it)| [name, it]).collect()),
        _ => Err(strange(what)),
    }
}

/// Bytes, or none.
pub(super) fn maybe(value: Value, what: &str) -> Result<Option<Vec<u8>>, StoreError> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes)),
        Value::SimpleString(text) => Ok(Some(text.into_bytes())),
        Value::Okay => Ok(Some(b"OK".to_vec())),
        _ => Err(strange(what)),
    }
}

/// Bytes.
pub(super) fn bytes(value: Value, what: &str) -> Result<Vec<u8>, StoreError> {
    maybe(value, what)?.ok_or_else(|| strange(what))
}

/// A number, as such or as decimal text.
pub(super) fn number(value: Value, what: &str) -> Result<u64, StoreError> {
    match value {
        Value::Int(number) => u64::try_from(number).map_err(|_| strange(what)),
        other => decimal(&bytes(other, what)?, what),
    }
}

/// A number in decimal text.
pub(super) fn decimal(text: &[u8], what: &str) -> Result<u64, StoreError> {
    let text = std::str::from_utf8(text).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| strange(what))
}

/// Text.
pub(super) fn text(value: Value, what: &str) -> Result<String, StoreError> {
    String::from_utf8(bytes(value, what)?).map_err(|_| strange(what))
}

/// Pairs of an array with alternating elements.
pub(super) fn pairs(value: Value, what: &str) -> Result<Vec<(Value, Value)>, StoreError> {
    let mut values = array(value, what)?.into_iter();
    let mut pairs = Vec::with_capacity(values.len() / 2);
    while let Some(first) = values.next() {
        pairs.push((first, values.next().ok_or_else(|| strange(what))?));
    }
    Ok(pairs)
}

/// A 128-bit number as 32 hex digits, the form of incarnations in the store.
pub(super) fn incarnation(text: &[u8]) -> Option<u128> {
    std::str::from_utf8(text).ok().and_then(|text| u128::from_str_radix(text, 16).ok())
}

/// The first eight bytes as a number, big-endian.
pub(super) fn leading(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().copied().map(u64::from_be_bytes)
}
