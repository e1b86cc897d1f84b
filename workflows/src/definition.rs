//! Workflows: a versioned list of stages with policies. A journey runs on the version it began
//! with; the hash pins names, stage versions and output schemas.

use crate::id::hex;
use crate::limits;
use crate::policy::{self, Policy};
use crate::program::is_name;
use crate::request::RequestKind;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Whether a stage may be repeated freely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// A quick computation; recompute freely. Runs in the contribution's own actor.
    Pure,
    /// Safe to repeat with the same answer. Runs in the stage's pool.
    Idempotent,
    /// Safe to repeat under one key. What was decided before it is committed before it starts.
    Keyed,
}

/// A field of a stage's input or output: its name and its Rust type's name.
pub type Field = (&'static str, &'static str);

/// What a stage says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Its name in workflow files.
    pub name: &'static str,
    /// Rises when its meaning changes.
    pub version: u32,
    /// May it be repeated.
    pub effect: Effect,
    /// What it reads of earlier outputs.
    pub input: &'static [Field],
    /// What it adds.
    pub output: &'static [Field],
}

/// A workflow file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The workflow's name.
    pub name: String,
    /// Rises when stages are added, taken away or reordered.
    pub version: u32,
    /// Stages in their order.
    pub stages: Vec<String>,
    /// Tuning by stage name.
    #[serde(default)]
    pub stage: BTreeMap<String, StageFile>,
}

/// One stage's tuning in a workflow file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageFile {
    /// How it is tried.
    #[serde(default)]
    pub policy: Policy,
    /// Which requests it may make.
    #[serde(default)]
    pub requests: Vec<RequestKind>,
    /// The stage's own settings.
    #[serde(default)]
    pub settings: serde_json::Map<String, serde_json::Value>,
}

/// One stage of a checked workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// What it says of itself.
    pub signature: Signature,
    /// How it is tried.
    pub policy: Policy,
    /// Which requests it may make.
    pub requests: Vec<RequestKind>,
    /// Its own settings.
    pub settings: serde_json::Map<String, serde_json::Value>,
}

/// Which workflow a journey runs, pinned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkflowRef {
    /// The workflow's name.
    pub name: Arc<str>,
    /// Its version.
    pub version: u32,
    /// Names, stage versions, schemas and settings.
    pub hash: [u8; 16],
}

impl WorkflowRef {
    /// No workflow: the program was not known where the contribution was let in.
    #[must_use]
    pub fn none() -> Self {
        Self { name: "".into(), version: 0, hash: [0; 16] }
    }
}

/// A checked workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Name, version and hash.
    pub pin: WorkflowRef,
    /// Its stages.
    pub stages: Vec<Stage>,
}

/// Why a workflow file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A bad name.
    #[error("{field}: a name is 1 to 64 of a-z, 0-9, - and _")]
    Name {
        /// Which field.
        field: &'static str,
    },
    /// None, or too many.
    #[error("stages: 1 to {} are allowed", limits::STAGES_MAX)]
    StageCount,
    /// The binary has no such stage.
    #[error("stages: this binary has no stage `{stage}`")]
    UnknownStage {
        /// Its name.
        stage: String,
    },
    /// Named twice.
    #[error("stages: `{stage}` stands there twice")]
    Twice {
        /// Its name.
        stage: String,
    },
    /// Tuned, but not in the list.
    #[error("stage.{stage}: is not among the stages")]
    NotAStage {
        /// Its name.
        stage: String,
    },
    /// Settings that have no canonical form (RFC 8785), so the version cannot be pinned.
    #[error("stage.{stage}: its settings cannot be written in canonical JSON")]
    Settings {
        /// Of which stage.
        stage: String,
    },
    /// A policy is off.
    #[error("stage.{stage}.policy.{source}")]
    Policy {
        /// Its name.
        stage: String,
        /// Which field.
        source: policy::Error,
    },
    /// A stage reads what no earlier stage writes, or under another type.
    #[error("stage `{stage}` reads `{field}: {kind}`, which no stage before it writes")]
    Input {
        /// Its name.
        stage: String,
        /// The field.
        field: &'static str,
        /// The type it wants.
        kind: &'static str,
    },
    /// Two stages write the same field.
    #[error("stage `{stage}` writes `{field}`, which a stage before it writes already")]
    Output {
        /// Its name.
        stage: String,
        /// The field.
        field: &'static str,
    },
}

impl File {
    /// Checks names, policies and the types between stages.
    pub fn check(self, known: &[Signature]) -> Result<Definition, Error> {
        if !is_name(&self.name) {
            return Err(Error::Name { field: "name" });
        }
        if self.stages.is_empty() || self.stages.len() > limits::STAGES_MAX {
            return Err(Error::StageCount);
        }
        if let Some(stage) = self.stage.keys().find(|name| !self.stages.contains(name)) {
            return Err(Error::NotAStage { stage: stage.clone() });
        }
        let mut written: BTreeMap<&'static str, &'static str> = BTreeMap::new();
        let mut stages: Vec<Stage> = Vec::new();
        for name in &self.stages {
            let signature = known.iter().find(|signature| signature.name == name);
            let Some(signature) = signature.cloned() else {
                return Err(Error::UnknownStage { stage: name.clone() });
            };
            if stages.iter().any(|stage| stage.signature.name == name) {
                return Err(Error::Twice { stage: name.clone() });
            }
            connect(&signature, &mut written)?;
            let file = self.stage.get(name).cloned().unwrap_or_default();
            file.policy
                .validate()
                .map_err(|source| Error::Policy { stage: name.clone(), source })?;
            let StageFile { policy, requests, settings } = file;
            stages.push(Stage { signature, policy, requests, settings });
        }
        let hash = pin(&self.name, self.version, &stages)?;
        Ok(Definition {
            pin: WorkflowRef { name: self.name.into(), version: self.version, hash },
            stages,
        })
    }
}

fn connect(
    signature: &Signature,
    written: &mut BTreeMap<&'static str, &'static str>,
) -> Result<(), Error> {
    let stage = || signature.name.to_owned();
    for (field, kind) in signature.input {
        if written.get(field) != Some(kind) {
            return Err(Error::Input { stage: stage(), field, kind });
        }
    }
    for (field, kind) in signature.output {
        if written.insert(field, kind).is_some() {
            return Err(Error::Output { stage: stage(), field });
        }
    }
    Ok(())
}

fn pin(name: &str, version: u32, stages: &[Stage]) -> Result<[u8; 16], Error> {
    let mut hash = Sha256::new();
    hash.update(format!("{name}\0{version}\0"));
    for stage in stages {
        let s = &stage.signature;
        let settings = serde_jcs::to_vec(&stage.settings)
            .map_err(|_| Error::Settings { stage: s.name.to_owned() })?;
        hash.update(format!("{}\0{}\0{:?}\0{:?}\0", s.name, s.version, s.input, s.output));
        hash.update(settings);
    }
    let digest = hash.finalize();
    let mut first = [0; 16];
    first.copy_from_slice(&digest[..16]);
    Ok(first)
}

impl Definition {
    /// The stage at a position; none past the end.
    pub fn stage(&self, position: u8) -> Option<&Stage> {
        self.stages.get(usize::from(position))
    }

    /// The position past the last stage.
    pub fn end(&self) -> u8 {
        u8::try_from(self.stages.len()).expect("at most STAGES_MAX stages")
    }
}

impl WorkflowRef {
    /// The hash as public entries carry it.
    pub fn hash_hex(&self) -> String {
        hex(&self.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Signature = Signature {
        name: "a",
        version: 1,
        effect: Effect::Pure,
        input: &[],
        output: &[("x", "u64")],
    };
    const B: Signature = Signature { name: "b", input: &[("x", "u64")], output: &[], ..A };

    fn check(toml_like: serde_json::Value) -> Result<Definition, Error> {
        serde_json::from_value::<File>(toml_like).unwrap().check(&[A, B])
    }

    #[test]
    fn a_stage_reads_only_what_stands_before_it() {
        let good = serde_json::json!({"name": "w", "version": 1, "stages": ["a", "b"]});
        assert_eq!(check(good).unwrap().end(), 2);
        let bad = serde_json::json!({"name": "w", "version": 1, "stages": ["b", "a"]});
        assert!(matches!(check(bad), Err(Error::Input { field: "x", .. })));
    }

    #[test]
    fn a_workflow_has_one_to_sixteen_stages() {
        for (count, refused) in [(0, true), (1, false), (16, false), (17, true), (18, true)] {
            let stages: Vec<String> = (0..count).map(|n| format!("s{n}")).collect();
            let error = check(serde_json::json!({"name": "w", "version": 1, "stages": stages}));
            assert_eq!(error == Err(Error::StageCount), refused, "{count}");
        }
    }

    /// Worked out with another SHA-256: journeys of older binaries carry it.
    #[test]
    fn a_pin_is_the_hash_of_names_versions_types_and_settings() {
        let pin_with = |settings: serde_json::Value| {
            let stage = serde_json::json!({"b": {"settings": settings}});
            let file = serde_json::json!(
                {"name": "w", "version": 1, "stages": ["a", "b"], "stage": stage});
            check(file).unwrap().pin.hash_hex()
        };
        assert_eq!(pin_with(serde_json::json!({"floor": 7})), "fa0f958338f702016761930bd5ac876d");
        assert_ne!(pin_with(serde_json::json!({"floor": 8})), "fa0f958338f702016761930bd5ac876d");
    }

    #[test]
    fn unknown_doubled_and_unlisted_stages_are_named() {
        for (stages, stage) in [(vec!["c"], "c"), (vec!["a", "a"], "a")] {
            let error = check(serde_json::json!({"name": "w", "version": 1, "stages": stages}));
            assert!(error.unwrap_err().to_string().contains(stage));
        }
        let unlisted =
            serde_json::json!({"name": "w", "version": 1, "stages": ["a"], "stage": {"b": {}}});
        assert_eq!(check(unlisted), Err(Error::NotAStage { stage: "b".into() }));
    }
}
