//! Verbs that check: the public log, the audit, configuration and workflow files.

use super::{answer, print};
use crate::app::{Failure, configure};
use crate::audit::{self, RailSource, Sources};
use crate::cli::{self, Output, Place, SharedStore};
use crate::log_folder::LogFolder;
use crate::opened::Opened;
use crate::run::store_options;
use crate::shared_store::SharedPlace;
use crate::{checks, log_folder, shared_store, trace_verify};
use gristmill_actors::stage::StageType;
use std::path::{Path, PathBuf};
use tokio::runtime::Handle;

pub(super) async fn trace(log: &str, key: &str, output: Output) -> Result<u8, Failure> {
    let verifier = log_folder::verifier(key).map_err(|error| Failure::new(2, &error))?;
    let checked = match log.parse() {
        Ok(SharedPlace::Bucket(address)) => {
            let config = configure(None, None)?;
            let bucket = shared_store::bucket(&config, &address, None);
            let bucket = bucket.map_err(|error| Failure::new(2, &error))?;
            let folder = LogFolder::in_bucket(bucket, Handle::current());
            trace_verify::check_folder(folder, &verifier).await
        }
        _ => trace_verify::check(log, &verifier).await,
    };
    let checked = checked.map_err(|error| Failure::new(2, &error))?;
    answer(output, &checked, &checked.lines())?;
    Ok(u8::from(!checked.ok))
}

/// Opens the store and nothing that a node would need: damage elsewhere is for the verdict.
pub(super) async fn audit(
    place: &Place,
    rail: Option<&str>,
    shared: &SharedStore,
    output: Output,
) -> Result<u8, Failure> {
    let config = configure(place.config.as_deref(), place.programs.as_deref())?;
    let opened = match &shared.store {
        Some(_) => shared_store::open(&config, shared, &place.data_dir, "").await,
        None => Opened::existing(&place.data_dir, &config.trace.origin, store_options(&config)),
    };
    let opened = opened.map_err(|error| Failure::new(error.exit_code(), &error))?;
    let book = || RailSource::Folder(opened.dir.rail());
    let sources = Sources {
        store: &*opened.store,
        id_key: opened.dir.id_key(),
        verifier: opened.dir.trace_key().verifier(),
        trace: opened.trace.clone(),
        rail: rail.map_or_else(book, |url| RailSource::Url(url.to_owned())),
        report: Some(opened.dir.report()),
    };
    let verdict = audit::audit(&sources).await.map_err(|error| Failure::new(4, &error))?;
    answer(output, &verdict, &verdict.lines())?;
    Ok(u8::from(!verdict.ok))
}

pub(super) fn config(verb: cli::Config, own: &[StageType]) -> Result<u8, Failure> {
    let (file, shown) = match verb {
        cli::Config::Check { config } => (config, false),
        cli::Config::Print { config } => (config, true),
    };
    let config =
        configure(file.as_deref(), None).map_err(|failure| Failure { code: 1, ..failure })?;
    let text = match shown {
        true => config.print(),
        false => checks::config(&config, own).map_err(|error| Failure::new(1, &error))?,
    };
    print(&[text])?;
    Ok(0)
}

pub(super) fn workflow(
    files: &[PathBuf],
    config: Option<&Path>,
    own: &[StageType],
) -> Result<u8, Failure> {
    let config = configure(config, None).map_err(|failure| Failure { code: 1, ..failure })?;
    let checked = checks::workflows(files, config.workflows_dir(), own);
    print(&[checked.map_err(|error| Failure::new(1, &error))?])?;
    Ok(0)
}
