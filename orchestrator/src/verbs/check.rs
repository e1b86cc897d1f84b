//! Verbs that check: the public log, the audit, configuration and workflow files.

use super::{answer, print};
use crate::app::{Failure, configure};
use crate::cli::{self, Output, Place};
use crate::{log_folder, trace_verify};
use gristmill_actors::stage::StageType;
use std::path::{Path, PathBuf};

pub(super) async fn trace(log: &str, key: &str, output: Output) -> Result<u8, Failure> {
    let verifier = log_folder::verifier(key).map_err(|error| Failure::new(2, &error))?;
    let checked = trace_verify::check(log, &verifier).await;
    let checked = checked.map_err(|error| Failure::new(2, &error))?;
    answer(output, &checked, &checked.lines())?;
    Ok(u8::from(!checked.ok))
}

pub(super) fn config(verb: cli::Config) -> Result<u8, Failure> {
    let (file, shown) = match verb {
        cli::Config::Check { config } => (config, false),
        cli::Config::Print { config } => (config, true),
    };
    let config = configure(file.as_deref(), None).map_err(|failure| Failure { code: 1, ..failure })?;
    let text = if shown { config.print() } else { "the configuration holds".to_owned() };
    print(&[text])?;
    Ok(0)
}
