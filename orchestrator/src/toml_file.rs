//! TOML that people write: read within a bound, refused with file, line and key.

use serde::de::DeserializeOwned;
use std::fmt;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file's path, or the name of one that is compiled in.
    pub file: String,
    /// Its line, from 1, where one is known.
    pub line: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be opened or read, or is not a regular file.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What was met.
        source: io::Error,
    },
    /// It is over its bound.
    #[error("{}: longer than {bound} bytes", path.display())]
    TooLong {
        /// Which file.
        path: PathBuf,
        /// The bound, in bytes.
        bound: u64,
    },
    /// It is not TOML, or not of the expected shape.
    #[error("{place}: {message}")]
    Toml {
        /// Where.
        place: Place,
        /// The key, where one is known, and what is wrong.
        message: String,
    },
}

/// The text of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    file: String,
    text: String,
}

/// A key with its dots, and where it and its value stand.
type Entry = (String, Range<usize>, Range<usize>);

impl Source {
    /// Reads a regular file of at most `bound` bytes.
    ///
    /// # Errors
    /// [`Error::Read`], also for bytes that are not UTF-8, and [`Error::TooLong`].
    pub fn read(path: &Path, bound: u64) -> Result<Self, Error> {
        let refused = |source| Error::Read { path: path.to_owned(), source };
        // Opening a pipe would wait for its writer.
        if !std::fs::metadata(path).map_err(refused)?.is_file() {
            return Err(refused(io::Error::other("not a regular file")));
        }
        let file = std::fs::File::open(path).map_err(refused)?;
        let mut bytes = Vec::new();
        file.take(bound + 1).read_to_end(&mut bytes).map_err(refused)?;
        if bytes.len() as u64 > bound {
            return Err(Error::TooLong { path: path.to_owned(), bound });
        }
        let text = String::from_utf8(bytes).map_err(|error| refused(io::Error::other(error)))?;
        Ok(Self { file: path.display().to_string(), text })
    }

    /// A text that is no file, under a name for errors.
    #[must_use]
    pub fn of(name: &str, text: &str) -> Self {
        Self { file: name.to_owned(), text: text.to_owned() }
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text as a type that refuses unknown keys.
    ///
    /// # Errors
    /// [`Error::Toml`] with line and key.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        toml::from_str(&self.text).map_err(|error| {
            let start = error.span().map(|span| span.start);
            let line = start.map(|start| self.line(start));
            let key = start.and_then(|start| self.key_at(start));
            let message = error.message().replace('\n', ", ");
            let message = key.map_or_else(|| message.clone(), |key| format!("{key}: {message}"));
            Error::Toml { place: Place { file: self.file.clone(), line }, message }
        })
    }

    /// Where a key with its dots stands, or the nearest table or list around it.
    #[must_use]
    pub fn place_of(&self, key: &str) -> Place {
        let entries = self.entries();
        let mut wanted = Some(key);
        let mut line = None;
        while let (Some(key), None) = (wanted, line) {
            let found = entries.iter().find(|(known, ..)| known == key);
            line = found.map(|(_, key, _)| self.line(key.start));
            wanted = key.rsplit_once('.').map(|(outer, _)| outer);
        }
        Place { file: self.file.clone(), line }
    }

    /// The innermost key whose name or value covers an offset.
    fn key_at(&self, offset: usize) -> Option<String> {
        let covers = |span: &Range<usize>| span.contains(&offset);
        let entries = self.entries().into_iter();
        let covering = entries.filter(|(_, key, value)| covers(key) || covers(value));
        covering.map(|(key, ..)| key).max_by_key(String::len)
    }

    fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().iter().take(offset);
        1 + before.filter(|byte| **byte == b'\n').count()
    }

    /// Every key of the text; of a text that is no TOML, those before the error at the most.
    fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        let (table, _) = DeTable::parse_recoverable(&self.text);
        gather("", table.get_ref(), &mut entries);
        entries
    }
}

/// Tables nest no deeper than the parser lets them.
fn gather(outer: &str, table: &DeTable<'_>, entries: &mut Vec<Entry>) {
    for (key, value) in table {
        let name: &Spanned<_> = key;
        let path = match outer {
            "" => name.get_ref().to_string(),
            outer => format!("{outer}.{}", name.get_ref()),
        };
        entries.push((path.clone(), name.span(), value.span()));
        if let DeValue::Table(inner) = value.get_ref() {
            gather(&path, inner, entries);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the shape matters")]
    struct Shape {
        name: String,
        #[serde(default)]
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the shape matters")]
    struct Inner {
        count: u8,
    }

    fn refusal(text: &str) -> String {
        Source::of("f.toml", text).parse::<Shape>().unwrap_err().to_string()
    }

    #[test]
    fn errors_name_file_line_and_key() {
        let wrong_type = refusal("name = \"a\"\n\n[inner]\ncount = \"x\"\n");
        assert!(wrong_type.starts_with("f.toml:4: inner.count: invalid type"), "{wrong_type}");
        let unknown = refusal("name = \"a\"\n[inner]\ncount = 1\nother = 2\n");
        assert!(unknown.starts_with("f.toml:4: inner.other: unknown field"), "{unknown}");
        let range = refusal("name = \"a\"\ninner = { count = 256 }\n");
        assert!(range.starts_with("f.toml:2: inner.count: "), "{range}");
        let syntax = refusal("name = \"a\"\ninner = [\n");
        assert!(syntax.starts_with("f.toml:"), "{syntax}");
        assert!(refusal("[inner]\ncount = 1\n").contains("missing field `name`"));
    }

    #[test]
    fn a_key_is_found_by_its_path_or_by_what_is_around_it() {
        let source = Source::of("f", "a = 1\n[b.c]\nd = [\n  1,\n]\n");
        for (key, line) in [("a", 1), ("b.c", 2), ("b.c.d", 3), ("b.c.d.e", 3), ("b.x", 2)] {
            assert_eq!(source.place_of(key).line, Some(line), "{key}");
        }
        assert_eq!(source.place_of("z").to_string(), "f");
    }

    #[test]
    fn what_is_no_regular_short_text_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.toml");
        assert!(matches!(Source::read(&path, 10), Err(Error::Read { .. })));
        assert!(matches!(Source::read(folder.path(), 10), Err(Error::Read { .. })));
        std::fs::write(&path, b"0123456789").unwrap();
        assert_eq!(Source::read(&path, 10).unwrap().text(), "0123456789");
        assert!(matches!(Source::read(&path, 9), Err(Error::TooLong { bound: 9, .. })));
        std::fs::write(&path, [0xff]).unwrap();
        assert!(matches!(Source::read(&path, 10), Err(Error::Read { .. })));
    }
}
