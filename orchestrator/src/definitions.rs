//! Programs and workflows: those compiled in, and those of folders.

pub mod limits;

use crate::toml_file::{self, Place, Source};
use gristmill_actors::registry::{self, Registry};
use gristmill_actors::stage::StageType;
use gristmill_workflows::definition::File;
use gristmill_workflows::program::{self, Program};
use limits::{FILE_BYTES_MAX, WORKFLOWS_MAX};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

const WORKFLOWS: &[(&str, &str)] = &[
    ("contribution.toml (shipped)", include_str!("../../workflows/contribution.toml")),
    ("engine.toml (shipped)", include_str!("../../workflows/engine.toml")),
];

/// Ids with files.
const PROGRAMS: &[(&str, &str)] = &[
    ("engine", include_str!("../../workflows/programs/engine.toml")),
    ("seoul", include_str!("../../workflows/programs/seoul.toml")),
];

/// A workflow file, read and not checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowFile {
    source: Source,
    /// What it says.
    pub file: File,
}

/// Why programs or workflows are refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read, or is not of the shape it should be.
    #[error(transparent)]
    File(#[from] toml_file::Error),
    /// A folder cannot be read.
    #[error("{}: {source}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What was met.
        source: io::Error,
    },
    /// More files than allowed.
    #[error("{}: more than {bound} files", path.display())]
    TooMany {
        /// Which folder.
        path: PathBuf,
        /// How many are allowed.
        bound: usize,
    },
    /// A folder of programs without one.
    #[error("{}: no programs (ID.toml) there", path.display())]
    Empty {
        /// Which folder.
        path: PathBuf,
    },
    /// A program's file is not called after its id.
    #[error("{place}: id: `{id}` stands in a file that is not called {id}.toml")]
    Id {
        /// Where.
        place: Place,
        /// The id.
        id: String,
    },
    /// A field of a program is off.
    #[error("{place}: {source}")]
    Program {
        /// Where.
        place: Place,
        /// Why.
        source: program::Error,
    },
    /// A workflow does not fit the stages of this binary, or stands there twice.
    #[error("{place}: {source}")]
    Workflow {
        /// Where.
        place: Place,
        /// Why.
        source: Box<registry::Error>,
    },
    /// The stages of this binary do not fit together.
    #[error(transparent)]
    Stages(registry::Error),
    /// A program's workflow is not there.
    #[error("program `{program}`: workflow: there is no workflow `{workflow}`")]
    NoWorkflow {
        /// The program's id.
        program: String,
        /// The workflow it names.
        workflow: String,
    },
}

/// The programs of a folder (`ID.toml`; other names are passed over), or the shipped ones.
///
/// # Errors
/// The first file that is refused, with line and field.
pub fn load_programs(dir: Option<&Path>) -> Result<BTreeMap<String, Program>, Error> {
    let mut programs = BTreeMap::new();
    let Some(dir) = dir else {
        for (id, text) in PROGRAMS {
            let source = Source::of(&format!("{id}.toml (shipped)"), text);
            programs.insert((*id).to_owned(), program(&source, id)?);
        }
        return Ok(programs);
    };
    for path in toml_files(dir, gristmill_workflows::limits::PROGRAMS_MAX)? {
        let source = Source::read(&path, FILE_BYTES_MAX)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let program = program(&source, &stem)?;
        programs.insert(stem, program);
    }
    if programs.is_empty() {
        return Err(Error::Empty { path: dir.to_owned() });
    }
    Ok(programs)
}

/// The workflow files of a folder and those shipped ones whose name and version no file there has.
///
/// # Errors
/// The first file that is no workflow file, with line and key.
pub fn load_workflows(dir: Option<&Path>) -> Result<Vec<WorkflowFile>, Error> {
    let mut files = Vec::new();
    if let Some(dir) = dir {
        for path in toml_files(dir, WORKFLOWS_MAX)? {
            files.push(load_workflow(&path)?);
        }
    }
    for (name, text) in WORKFLOWS {
        let shipped = WorkflowFile::of(Source::of(name, text))?;
        if !files.iter().any(|known: &WorkflowFile| known.is_same(&shipped)) {
            files.push(shipped);
        }
    }
    Ok(files)
}

/// One workflow file.
///
/// # Errors
/// When it is no workflow file, with line and key.
pub fn load_workflow(path: &Path) -> Result<WorkflowFile, Error> {
    WorkflowFile::of(Source::read(path, FILE_BYTES_MAX)?)
}

/// Checks workflows against the stages of this binary, makes their stages, and checks that every
/// program's workflow is among them.
///
/// # Errors
/// The first thing that does not fit, with file and line where there is one.
pub fn check(
    types: &[StageType],
    files: &[WorkflowFile],
    programs: &BTreeMap<String, Program>,
) -> Result<Registry, Error> {
    Registry::new(types, Vec::new()).map_err(Error::Stages)?;
    let mut seen: Vec<&WorkflowFile> = Vec::new();
    for file in files {
        check_one(types, file)?;
        if seen.iter().any(|known| known.is_same(file)) {
            let (workflow, version) = (file.file.name.clone(), file.file.version);
            let source = Box::new(registry::Error::Twice { workflow, version });
            return Err(Error::Workflow { place: file.source.place_of("name"), source });
        }
        seen.push(file);
    }
    for (id, program) in programs {
        if !files.iter().any(|file| file.file.name == program.workflow) {
            let (program, workflow) = (id.clone(), program.workflow.clone());
            return Err(Error::NoWorkflow { program, workflow });
        }
    }
    let files = files.iter().map(|file| file.file.clone()).collect();
    Registry::new(types, files).map_err(Error::Stages)
}

/// Checks one workflow file against the stages of this binary.
///
/// # Errors
/// The first thing that does not fit, with file and line.
pub fn check_one(types: &[StageType], file: &WorkflowFile) -> Result<Registry, Error> {
    Registry::new(types, vec![file.file.clone()]).map_err(|source| {
        let message = match &source {
            registry::Error::Definition { source, .. } => source.to_string(),
            registry::Error::Settings { stage, source, .. } => format!("stage.{stage}.{source}"),
            registry::Error::Twice { .. } | registry::Error::StageTwice { .. } => String::new(),
        };
        let place = file.source.place_of(key_of(&message));
        Error::Workflow { place, source: Box::new(source) }
    })
}

impl WorkflowFile {
    fn of(source: Source) -> Result<Self, Error> {
        let file = source.parse()?;
        Ok(Self { source, file })
    }

    fn is_same(&self, other: &Self) -> bool {
        self.file.name == other.file.name && self.file.version == other.file.version
    }
}

fn program(source: &Source, stem: &str) -> Result<Program, Error> {
    let program: Program = source.parse()?;
    if program.id != stem {
        return Err(Error::Id { place: source.place_of("id"), id: program.id });
    }
    match program.validate() {
        Ok(()) => Ok(program),
        Err(error) => {
            let place = source.place_of(key_of(&error.to_string()));
            Err(Error::Program { place, source: error })
        }
    }
}

/// The key that an error's text begins with: `tasks.a.floor` of `tasks.a.floor: 10001 is …`.
fn key_of(message: &str) -> &str {
    message.split_once(": ").map_or("", |(key, _)| key)
}

/// The files `*.toml` directly in a folder, sorted.
fn toml_files(dir: &Path, bound: usize) -> Result<Vec<PathBuf>, Error> {
    let refused = |source| Error::Folder { path: dir.to_owned(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(refused)? {
        let path = entry.map_err(refused)?.path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            if paths.len() == bound {
                return Err(Error::TooMany { path: dir.to_owned(), bound });
            }
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests;
