//! Reads the repository's files and takes Rust source apart into code, comments and strings.

use gristmill_tests::repository;
use std::fs;
use std::path::Path;

/// A text file of the repository.
#[derive(Debug, Clone)]
pub struct File {
    /// Relative to the root, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
    /// Whether all of it is test code: by where it stands, or declared below `#[cfg(test)]`.
    pub is_test: bool,
}

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// From 1; 0 for the whole file.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl Finding {
    pub fn new(line: usize, what: impl Into<String>) -> Self {
        Self { line, what: what.into() }
    }
}

/// Rust source, taken apart. Each part has as many lines as the source, blank where it has none.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Without comments and without what stands in strings.
    pub code: String,
    /// Only comments.
    pub comments: String,
    /// Each string literal with its line.
    pub strings: Vec<(usize, String)>,
}

impl File {
    pub fn is_rust(&self) -> bool {
        self.has_extension("rs")
    }

    pub fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }

    /// The text before the first `#[cfg(test)]`; nothing of a test file.
    pub fn production(&self) -> &str {
        if self.is_test { "" } else { split_at_tests(&self.text).0 }
    }
}

/// Source before and after the first line that begins with `#[cfg(test)]`.
pub fn split_at_tests(text: &str) -> (&str, &str) {
    let marker = "#[cfg(test)]";
    let found = text.match_indices(marker).find(|(at, _)| {
        let line = text[..*at].rsplit('\n').next().unwrap_or_default();
        line.trim().is_empty()
    });
    found.map_or((text, ""), |(at, _)| text.split_at(at))
}

/// Every text file of the repository, without folders that git ignores and hidden ones other than `.ci`.
pub fn files() -> Vec<File> {
    let mut found = Vec::new();
    let ignored = fs::read_to_string(repository().join(".gitignore")).unwrap();
    let ignored: Vec<&str> = ignored.lines().map(|line| line.trim_end_matches('/')).collect();
    walk(&repository(), "", &ignored, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    let declared: Vec<String> = found.iter().flat_map(declared_tests).collect();
    for file in &mut found {
        file.is_test = file.path.contains("/tests/")
            || file.path.ends_with("/tests.rs")
            || file.path.starts_with("tests/suite/")
            || declared.contains(&file.path);
    }
    assert!(found.len() > 20, "the repository has more files than {}", found.len());
    found
}

/// Files that a file declares as modules below `#[cfg(test)]`.
fn declared_tests(file: &File) -> Vec<String> {
    let stem = file.path.strip_suffix(".rs").unwrap_or_default();
    let crate_root = ["/lib", "/main"].iter().find_map(|name| stem.strip_suffix(name));
    let folder = crate_root.unwrap_or(stem);
    let mut declared = Vec::new();
    for (at, marker) in file.text.match_indices("#[cfg(test)]\n") {
        let next = file.text[at + marker.len()..].lines().next().unwrap_or_default().trim();
        let module = next.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';'));
        declared.extend(module.map(|name| format!("{folder}/{name}.rs")));
    }
    declared
}

/// Whether a line of `.gitignore` names a folder by its path from the root, or by its name anywhere.
fn is_ignored(path: &str, name: &str, ignored: &[&str]) -> bool {
    ignored.iter().any(|line| line.strip_prefix('/').map_or(*line == name, |line| line == path))
}

fn walk(root: &Path, folder: &str, ignored: &[&str], found: &mut Vec<File>) {
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().expect("names in the repository are UTF-8");
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            let hidden = name.starts_with('.') && path != ".ci";
            if !hidden && !is_ignored(&path, &name, ignored) {
                walk(root, &path, ignored, found);
            }
        } else if kind.is_file()
            && let Ok(text) = String::from_utf8(fs::read(entry.path()).unwrap())
        {
            found.push(File { path, text, is_test: false });
        }
    }
}

/// Takes Rust source apart.
pub fn parts(text: &str) -> Parts {
    let mut parts = Parts { code: String::new(), comments: String::new(), strings: Vec::new() };
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let before = parts.code.chars().next_back();
        let (length, kind) = token(rest, first, before);
        let (piece, after) = rest.split_at(length);
        match kind {
            Kind::Code => parts.put(piece, ""),
            Kind::Comment => parts.put("", piece),
            Kind::Text => {
                parts.strings.push((line, piece.to_owned()));
                parts.put("\"\"", "");
                parts.put(&piece.replace(|c| c != '\n', ""), "");
            }
        }
        line += piece.matches('\n').count();
        rest = after;
    }
    parts
}

impl Parts {
    fn put(&mut self, code: &str, comment: &str) {
        self.code.push_str(code);
        self.comments.push_str(comment);
        let lines = |text: &str| "\n".repeat(text.matches('\n').count());
        self.code.push_str(&lines(comment));
        self.comments.push_str(&lines(code));
    }
}

enum Kind {
    Code,
    Comment,
    Text,
}

/// Bytes and kind of what `rest` begins with; `before` is the character of code before it.
fn token(rest: &str, first: char, before: Option<char>) -> (usize, Kind) {
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), Kind::Comment);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), Kind::Comment);
    }
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if let Some(hashes) = raw_string(rest).filter(|_| !in_word) {
        let open = rest.find('"').expect("a raw string has a quote") + 1;
        let close = format!("\"{}", "#".repeat(hashes));
        let end = rest[open..].find(&close).map_or(rest.len(), |at| open + at + close.len());
        return (end, Kind::Text);
    }
    if first == '"' {
        return (quoted(rest, '"'), Kind::Text);
    }
    if first == '\'' {
        let mut after = rest.chars().skip(1);
        let (one, two) = (after.next(), after.next());
        if one == Some('\\') || two == Some('\'') {
            return (quoted(rest, '\''), Kind::Code);
        }
    }
    (first.len_utf8(), Kind::Code)
}

/// How many `#` a raw string has that `rest` begins with.
fn raw_string(rest: &str) -> Option<usize> {
    let body = ["br", "cr", "r"].iter().find_map(|prefix| rest.strip_prefix(prefix))?;
    let hashes = body.chars().take_while(|c| *c == '#').count();
    body[hashes..].starts_with('"').then_some(hashes)
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The line, from 1, in which a byte position stands.
pub fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Where `word` stands in `code` as a whole word.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = code[..*at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        let first = word.chars().next().is_some_and(part_of_word);
        let last = word.chars().next_back().is_some_and(part_of_word);
        let longer_before = first && before.is_some_and(part_of_word);
        let longer_after = last && after.is_some_and(part_of_word);
        !longer_before && !longer_after
    })
}

mod tests {
    use super::*;

    #[test]
    fn code_comments_and_strings_come_apart_and_keep_their_lines() {
        let text = "let a = \"x // y\"; // one\n/* two\n/* in */ */ let b = 'c';\n\
                    let r = r#\"a \" b\"#; let l: &'static str = b\"\\\"\";\n";
        let parts = parts(text);
        assert_eq!(
            parts.code,
            "let a = \"\"; \n\n let b = 'c';\nlet r = \"\"; let l: &'static str = b\"\";\n"
        );
        assert_eq!(parts.comments, "// one\n/* two\n/* in */ */\n\n");
        let strings: Vec<&str> = parts.strings.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(strings, ["\"x // y\"", "r#\"a \" b\"#", "\"\\\"\""]);
        assert_eq!(parts.strings[1].0, 4);
    }

    #[test]
    fn a_quote_as_a_character_opens_no_string() {
        assert_eq!(parts("let q = '\"'; let e = '\\''; x").strings, []);
    }

    #[test]
    fn a_string_of_several_lines_keeps_the_count() {
        let parts = parts("a(\"1\n2\n3\");\nb(\"4\")");
        assert_eq!(parts.code.matches('\n').count(), 3);
        assert_eq!(parts.strings[1].0, 4);
    }

    #[test]
    fn a_module_declared_for_tests_is_test_code() {
        let text = "mod a;\n#[cfg(test)]\nmod records;\n#[cfg(test)]\nmod tests {}\n".to_owned();
        let mut file = File { path: "workflows/src/codec.rs".to_owned(), text, is_test: false };
        assert_eq!(declared_tests(&file), ["workflows/src/codec/records.rs"]);
        file.path = "workflows/src/lib.rs".to_owned();
        assert_eq!(declared_tests(&file), ["workflows/src/records.rs"]);
    }

    #[test]
    fn words_are_whole() {
        let found: Vec<usize> = words("rand::x brand rand_core rand", "rand").collect();
        assert_eq!(found, [0, 24]);
    }

    #[test]
    fn production_ends_at_the_tests() {
        let text = "//! `#[cfg(test)]` in prose\nfn a() {}\n\n#[cfg(test)]\nmod tests;\n";
        assert_eq!(split_at_tests(text).1, "#[cfg(test)]\nmod tests;\n");
    }
}
