//! The shape of a public entry: canonical JSON (RFC 8785) with integers from 0 to 2^53 - 1, a kind
//! of the contract, and version 1. One pass over the bytes, since a log has millions of entries.

use crate::limits::DEPTH_MAX;
use gristmill_workflows::limits::INTEGER_MAX;

/// The kinds of the contract.
pub const KINDS: [&str; 4] = ["rate_card", "contribution", "payout", "withdrawal"];

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not UTF-8.
    #[error("is not utf-8")]
    Utf8,
    /// Not JSON, or not in its one canonical form.
    #[error("is not canonical JSON at byte {at}")]
    Canonical {
        /// Where.
        at: usize,
    },
    /// Keys are doubled or not in the order of RFC 8785.
    #[error("has keys out of order at byte {at}")]
    Order {
        /// Where.
        at: usize,
    },
    /// A number that is not an integer from 0 to 2^53 - 1.
    #[error("has a number that is no integer up to 2^53 - 1 at byte {at}")]
    Number {
        /// Where.
        at: usize,
    },
    /// Deeper than any entry is.
    #[error("is nested too deep")]
    Depth,
    /// No object with a known `kind`.
    #[error("is of no known kind")]
    Kind,
    /// `v` is not 1.
    #[error("is not of version 1")]
    Version,
}

/// Checks an entry, and names its kind as a place in [`KINDS`].
///
/// # Errors
/// [`Error`] says what is wrong.
pub fn check(entry: &[u8]) -> Result<usize, Error> {
    let text = std::str::from_utf8(entry).map_err(|_| Error::Utf8)?;
    let mut walk = Walk { text, at: 0, kind: None, version: None };
    walk.value(0)?;
    if walk.at != text.len() {
        return Err(Error::Canonical { at: walk.at });
    }
    let kind = walk.kind.and_then(|kind| KINDS.iter().position(|known| *known == kind));
    let kind = kind.ok_or(Error::Kind)?;
    if walk.version != Some("1") {
        return Err(Error::Version);
    }
    Ok(kind)
}

struct Walk<'a> {
    text: &'a str,
    at: usize,
    kind: Option<&'a str>,
    version: Option<&'a str>,
}

impl<'a> Walk<'a> {
    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn not_canonical<T>(&self) -> Result<T, Error> {
        Err(Error::Canonical { at: self.at })
    }

    fn take(&mut self, byte: u8) -> Result<(), Error> {
        if self.next() != Some(byte) {
            return self.not_canonical();
        }
        self.at += 1;
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<(), Error> {
        match self.next() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.integer().map(drop),
            _ => {
                let rest = &self.text[self.at..];
                let word = ["null", "true", "false"].into_iter().find(|w| rest.starts_with(w));
                let Some(word) = word else { return self.not_canonical() };
                self.at += word.len();
                Ok(())
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), Error> {
        if depth == DEPTH_MAX {
            return Err(Error::Depth);
        }
        self.take(b'{')?;
        let mut before: Option<&str> = None;
        while self.next() != Some(b'}') {
            if before.is_some() {
                self.take(b',')?;
            }
            let at = self.at;
            let key = self.string()?;
            if before.is_some_and(|before| !rises(before, key)) {
                return Err(Error::Order { at });
            }
            before = Some(key);
            self.take(b':')?;
            match (depth, key, self.next()) {
                (0, "kind", Some(b'"')) => self.kind = Some(self.string()?),
                (0, "v", Some(b'0'..=b'9')) => self.version = Some(self.integer()?),
                _ => self.value(depth + 1)?,
            }
        }
        self.take(b'}')
    }

    fn array(&mut self, depth: usize) -> Result<(), Error> {
        if depth == DEPTH_MAX {
            return Err(Error::Depth);
        }
        self.take(b'[')?;
        let mut first = true;
        while self.next() != Some(b']') {
            if !first {
                self.take(b',')?;
            }
            first = false;
            self.value(depth + 1)?;
        }
        self.take(b']')
    }

    fn integer(&mut self) -> Result<&'a str, Error> {
        let at = self.at;
        let rest = &self.text[at..];
        let length = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, after) = rest.split_at(length);
        let plain = !digits.is_empty() && (digits == "0" || !digits.starts_with('0'));
        let whole = !after.starts_with(['.', 'e', 'E']);
        let small = digits.parse::<u64>().is_ok_and(|number| number <= INTEGER_MAX);
        if !(plain && whole && small) {
            return Err(Error::Number { at });
        }
        self.at += length;
        Ok(digits)
    }

    /// A string, still escaped: only what must be escaped may be, in one way each.
    fn string(&mut self) -> Result<&'a str, Error> {
        self.take(b'"')?;
        let begin = self.at;
        loop {
            match self.next() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(byte) if byte >= 0x20 => self.at += 1,
                Some(_) | None => return self.not_canonical(),
            }
        }
        let text = &self.text[begin..self.at];
        self.at += 1;
        Ok(text)
    }

    fn escape(&mut self) -> Result<(), Error> {
        let rest = self.text.as_bytes().get(self.at + 1..).unwrap_or_default();
        let length = match rest {
            [b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [b'u', b'0', b'0', high @ b'0'..=b'1', low @ (b'0'..=b'9' | b'a'..=b'f'), ..] => {
                let named = *high == b'0' && matches!(low, b'8' | b'9' | b'a' | b'c' | b'd');
                if named {
                    return self.not_canonical();
                }
                6
            }
            _ => return self.not_canonical(),
        };
        self.at += length;
        Ok(())
    }
}

/// Whether two keys, still escaped, are in the order of RFC 8785: by their UTF-16 units.
fn rises(before: &str, key: &str) -> bool {
    let plain = |key: &str| key.is_ascii() && !key.contains('\\');
    if plain(before) && plain(key) {
        return before < key;
    }
    let units = |key: &str| {
        let quoted = format!("\"{key}\"");
        let text: Option<String> = serde_json::from_str(&quoted).ok();
        text.map(|text| text.encode_utf16().collect::<Vec<u16>>())
    };
    matches!((units(before), units(key)), (Some(before), Some(key)) if before < key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_the_contract_are_canonical_and_named() {
        for (entry, kind) in [
            (r#"{"id":"00","kind":"payout","of":[1,2],"v":1}"#, 2),
            (r#"{"card":{"a":null,"b":[{"c":true}]},"kind":"rate_card","v":1}"#, 0),
            (r#"{"kind":"withdrawal","scope":"a\"\\\n\u0001é","v":1}"#, 3),
            ("{\"kind\":\"contribution\",\"v\":1,\"\u{10000}\":1,\"\u{ffff}\":2}", 1),
        ] {
            assert_eq!(check(entry.as_bytes()), Ok(kind), "{entry}");
        }
    }

    #[test]
    fn every_other_spelling_is_refused() {
        use Error::{Kind, Number, Order, Utf8, Version};
        for (entry, error) in [
            (r#"{"v":1,"kind":"payout"}"#, Order { at: 7 }),
            (r#"{"kind":"payout","kind":"payout","v":1}"#, Order { at: 17 }),
            (r#"{"kind":"payout","v":01}"#, Number { at: 21 }),
            (r#"{"kind":"payout","n":-1,"v":1}"#, Number { at: 21 }),
            (r#"{"kind":"payout","n":1.0,"v":1}"#, Number { at: 21 }),
            (r#"{"kind":"payout","n":9007199254740992,"v":1}"#, Number { at: 21 }),
            (r#"{"kind": "payout","v":1}"#, Error::Canonical { at: 8 }),
            (r#"{"kind":"payout","v":1} "#, Error::Canonical { at: 23 }),
            (r#"{"kind":"payout","s":"\/","v":1}"#, Error::Canonical { at: 22 }),
            (r#"{"kind":"payout","s":"\u000a","v":1}"#, Error::Canonical { at: 22 }),
            (r#"{"kind":"payout","s":"\u001F","v":1}"#, Error::Canonical { at: 22 }),
            (r#"{"kind":"payout","v":1"#, Error::Canonical { at: 22 }),
            ("", Error::Canonical { at: 0 }),
            (r#"{"kind":"other","v":1}"#, Kind),
            (r#"[1]"#, Kind),
            (r#"{"kind":"payout","v":2}"#, Version),
            (r#"{"kind":"payout"}"#, Version),
        ] {
            assert_eq!(check(entry.as_bytes()), Err(error), "{entry}");
        }
        assert_eq!(check(b"\"\xff\""), Err(Utf8));
        assert_eq!(check("[".repeat(10_000).as_bytes()), Err(Error::Depth));
        assert_eq!(check("{\"a\":".repeat(10_000).as_bytes()), Err(Error::Depth));
    }

    #[test]
    fn the_check_agrees_with_a_canonical_writer() {
        let value = serde_json::json!({
            "kind": "payout", "v": 1, "b": [1, {"z": "\u{7f}\u{1f}\t", "é": null, "e": false}],
            "한": "국", "\u{fb33}": 1, "\u{1f600}": 2, "a\"": 1, "": 0,
        });
        let canonical = serde_jcs::to_vec(&value).unwrap();
        assert_eq!(check(&canonical), Ok(2));
    }
}
