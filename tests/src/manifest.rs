//! Manifests written line by line.

use crate::data_dir::repository;
use serde_json::{Value, json};
use std::path::Path;

/// An NDJSON manifest in the making, for one shipped program.
#[derive(Debug, Clone)]
pub struct Manifest {
    program: String,
    purpose: Value,
    terms: Value,
    text: String,
    lines: usize,
}

impl Manifest {
    /// An empty manifest for a shipped program (`engine`, `seoul`), whose terms its consents name.
    ///
    /// # Panics
    /// When the program's file is missing or is not TOML.
    pub fn new(program: &str) -> Self {
        Self::of(&repository().join("workflows/programs"), program)
    }

    /// An empty manifest for a program of another folder.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn of(folder: &Path, program: &str) -> Self {
        let path = folder.join(format!("{program}.toml"));
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let table: Value =
            toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self {
            program: program.to_owned(),
            purpose: table["purpose"].clone(),
            terms: table["terms"].clone(),
            text: String::new(),
            lines: 0,
        }
    }

    /// Adds a line as it is, and returns its number, from 1.
    pub fn raw(&mut self, line: &str) -> usize {
        self.text.push_str(line);
        self.text.push('\n');
        self.lines += 1;
        self.lines
    }

    /// Adds one object as a line, and returns its number, from 1.
    pub fn line(&mut self, object: &Value) -> usize {
        self.raw(&object.to_string())
    }

    /// Adds a consent to everything under the program's terms, with the grant id `grant`.
    pub fn consent(&mut self, contributor: &str, grant: &str) -> usize {
        let consent = self.consent_object(contributor, grant);
        self.line(&consent)
    }

    /// The object of [`Self::consent`], to be changed before it becomes a line.
    pub fn consent_object(&self, contributor: &str, grant: &str) -> Value {
        json!({"consent": {
            "contributor": contributor,
            "program": self.program,
            "purposes": [self.purpose],
            "modalities": ["voice", "image", "video", "none"],
            "terms": self.terms,
            "grant": grant,
        }})
    }

    /// Adds a contribution to task `none` (no media), which the engine program takes.
    pub fn contribution(&mut self, contributor: &str, idempotency_key: &str) -> usize {
        self.line(&json!({
            "contributor": contributor,
            "idempotency_key": idempotency_key,
            "program": self.program,
            "task": "none",
            "modality": "none",
        }))
    }

    /// Adds a contribution with media at `uri`, below the media root.
    pub fn media(
        &mut self,
        contributor: &str,
        idempotency_key: &str,
        task: &str,
        modality: &str,
        uri: &str,
    ) -> usize {
        let mut object = json!({
            "contributor": contributor,
            "idempotency_key": idempotency_key,
            "program": self.program,
            "task": task,
            "modality": modality,
            "media": {"uri": uri},
        });
        if modality == "voice" {
            object["language"] = json!("ko");
        }
        self.line(&object)
    }

    /// Adds a withdrawal of all that the contributor granted to the program.
    pub fn withdraw(&mut self, contributor: &str) -> usize {
        let program = &self.program;
        self.line(&json!({"withdraw": {"contributor": contributor, "program": program}}))
    }

    /// A manifest of `count` contributions to the engine program by `contributors` people, each of whom
    /// consents first. Keys are `PREFIX-1`, `PREFIX-2` and so on.
    pub fn engine(prefix: &str, count: usize, contributors: usize) -> Self {
        let mut manifest = Self::new("engine");
        for person in 0..contributors.min(count) {
            manifest.consent(&format!("{prefix}-p{person}"), &format!("{prefix}-g{person}"));
        }
        for number in 0..count {
            let person = number % contributors;
            let key = format!("{prefix}-{}", number + 1);
            manifest.contribution(&format!("{prefix}-p{person}"), &key);
        }
        manifest
    }

    /// How many lines there are.
    pub fn lines(&self) -> usize {
        self.lines
    }

    /// The manifest's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_manifest_consents_once_a_person_and_numbers_its_keys() {
        let manifest = Manifest::engine("k", 5, 2);
        let text = std::str::from_utf8(manifest.as_bytes()).unwrap();
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines.len(), manifest.lines()), (7, 7));
        assert_eq!(lines[1]["consent"]["contributor"], "k-p1");
        assert_eq!(lines[0]["consent"]["terms"]["version"], "engine-v1");
        assert_eq!(lines[6]["idempotency_key"], "k-5");
        assert_eq!(lines[6]["contributor"], "k-p0");
    }
}
