//! The stages of a binary, and the workflows they make up.

use crate::stage::{AnyStage, Settings, SettingsError, StageType};
use gristmill_workflows::definition::{self, Definition, File, Signature, WorkflowRef};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why workflows cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is refused.
    #[error("workflow `{workflow}`: {source}")]
    Definition {
        /// Which workflow.
        workflow: String,
        /// Why.
        source: definition::Error,
    },
    /// A stage does not understand its settings.
    #[error("workflow `{workflow}`: stage.{stage}.{source}")]
    Settings {
        /// Which workflow.
        workflow: String,
        /// Which stage.
        stage: String,
        /// Why.
        source: SettingsError,
    },
    /// Two files name the same workflow and version.
    #[error("workflow `{workflow}` version {version} stands in two files")]
    Twice {
        /// Which workflow.
        workflow: String,
        /// Which version.
        version: u32,
    },
    /// Two stages have the same name.
    #[error("two stages are called `{stage}`")]
    StageTwice {
        /// Their name.
        stage: &'static str,
    },
}

/// Checked workflows with their stages made.
#[derive(Default)]
pub struct Registry {
    pub(crate) workflows: BTreeMap<WorkflowRef, Arc<Definition>>,
    pub(crate) stages: BTreeMap<WorkflowRef, Vec<Arc<dyn AnyStage>>>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Registry").field(&self.workflows.keys()).finish()
    }
}

impl Registry {
    /// Checks files against the stages of this binary and makes every stage.
    pub fn new(types: &[StageType], files: Vec<File>) -> Result<Self, Error> {
        let mut signatures: Vec<Signature> = Vec::new();
        for stage in types {
            if signatures.iter().any(|known| known.name == stage.signature().name) {
                return Err(Error::StageTwice { stage: stage.signature().name });
            }
            signatures.push(stage.signature().clone());
        }
        let mut registry = Self::default();
        for file in files {
            registry.add(types, &signatures, file)?;
        }
        Ok(registry)
    }

    fn add(
        &mut self,
        types: &[StageType],
        signatures: &[Signature],
        file: File,
    ) -> Result<(), Error> {
        let (workflow, version) = (file.name.clone(), file.version);
        let definition = file
            .check(signatures)
            .map_err(|source| Error::Definition { workflow: workflow.clone(), source })?;
        if self.workflows.keys().any(|pin| *pin.name == workflow && pin.version == version) {
            return Err(Error::Twice { workflow, version });
        }
        let mut stages = Vec::with_capacity(definition.stages.len());
        for stage in &definition.stages {
            let name = stage.signature.name;
            let known = types.iter().find(|known| known.signature().name == name);
            let known = known.expect("the definition was checked against these very types");
            let settings = Settings(stage.settings.clone());
            let made = known.build(settings, stage.requests.clone());
            stages.push(made.map_err(|source| Error::Settings {
                workflow: workflow.clone(),
                stage: name.to_owned(),
                source,
            })?);
        }
        self.stages.insert(definition.pin.clone(), stages);
        self.workflows.insert(definition.pin.clone(), Arc::new(definition));
        Ok(())
    }

    /// The checked workflows.
    pub fn workflows(&self) -> impl Iterator<Item = &Arc<Definition>> {
        self.workflows.values()
    }

    /// The checked workflows by pin, for a [`gristmill_workflows::shard::World`].
    #[must_use]
    pub fn definitions(&self) -> BTreeMap<WorkflowRef, Arc<Definition>> {
        self.workflows.clone()
    }
}
