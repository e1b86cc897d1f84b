//! `gristmill audit`: feeds everything durable that a stopped node has to the checkers of
//! [`gristmill_workflows::audit`]: the store through its port, the public log from its folder, the
//! rail's book from its folder or address. Nothing is written.

mod log;
mod onlooker;
mod rail;
mod rows;

pub(crate) use log::Logged;
pub(crate) use onlooker::Onlooker;
pub use rail::RailSource;

use crate::log_folder::LogFolder;
use gristmill_actors::ports::{ShardStore, StoreError};
use gristmill_actors::rail::RailError;
use gristmill_trace::key::Verifier;
use gristmill_workflows::audit::{Audit, Check};
use gristmill_workflows::codec;
use gristmill_workflows::commit::Admitted;
use gristmill_workflows::id::{IdKey, ShardId};
use gristmill_workflows::invariant::Invariant;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log or the report cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was met.
        source: std::io::Error,
    },
    /// The log's objects cannot be fetched.
    #[error(transparent)]
    Log(#[from] gristmill_trace::verify::Error),
    /// The rail's book cannot be read.
    #[error(transparent)]
    Book(#[from] crate::sandbox_rail::book::Error),
    /// The rail's address.
    #[error(transparent)]
    Address(#[from] crate::http_rail::Error),
    /// The rail does not answer.
    #[error("the rail's book: {0}")]
    Rail(#[from] RailError),
    /// A thread of the audit ended.
    #[error("the audit ended: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Everything that is audited.
pub struct Sources<'a> {
    /// The store, with no node on it.
    pub store: &'a dyn ShardStore,
    /// The node's secret for ids.
    pub id_key: &'a IdKey,
    /// The log's key.
    pub verifier: &'a Verifier,
    /// The log's folder.
    pub trace: LogFolder,
    /// The rail's book.
    pub rail: RailSource,
    /// The last run's report, which names what it acknowledged; it need not stand.
    pub report: Option<PathBuf>,
}

impl std::fmt::Debug for Sources<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").field("trace", &self.trace).finish_non_exhaustive()
    }
}

/// The verdict (contract.md, Audit).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Nothing is violated.
    pub ok: bool,
    /// One check an invariant.
    pub checks: Vec<Checked>,
}

/// One invariant's check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// `I1` to `I8`.
    pub invariant: &'static str,
    /// What it promises.
    pub promise: &'static str,
    /// How many things were looked at.
    pub checked: u64,
    /// What it is violated by: contribution and payout ids, log indices, paths of the log.
    pub violations: Vec<String>,
    /// Violations beyond those listed.
    pub unlisted: u64,
    /// A sentence for each violation listed.
    pub details: Vec<String>,
}

/// Something found that the checkers cannot be fed with.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    invariant: Invariant,
    id: String,
    sentence: String,
}

impl Found {
    fn new(invariant: Invariant, id: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self { invariant, id: id.into(), sentence: sentence.into() }
    }
}

/// Audits. Takes about as long as reading everything once.
///
/// # Errors
/// [`Error`] when something cannot be read at all; damage is in the verdict instead.
pub async fn audit(sources: &Sources<'_>) -> Result<Verdict, Error> {
    Ok(audit_seen(sources, ()).await?.0)
}

/// Audits while somebody looks on, who comes back with what the log says.
///
/// # Errors
/// Those of [`audit`].
pub(crate) async fn audit_seen<O: Onlooker>(
    sources: &Sources<'_>,
    onlooker: O,
) -> Result<(Verdict, Logged, O), Error> {
    let store = sources.store;
    let reported = match &sources.report {
        Some(report) => rows::reported(report)?,
        None => rows::Reported::default(),
    };
    let log = log::Log {
        folder: sources.trace.clone(),
        verifier: sources.verifier.clone(),
        key: sources.id_key.clone(),
        interrupted: interrupted(store).await?,
        reported_size: reported.size,
    };
    // Log and book are read beside each other.
    let log = tokio::task::spawn_blocking(move || log.read());
    let mut unreadable = Vec::new();
    let rail = rail::read(&sources.rail, &mut unreadable).await?;
    let log = log.await??;
    let mut found = log.found;
    found.append(&mut unreadable);
    let mut audit = Audit::new(sources.id_key.clone(), store.shards(), log.book, rail);
    let looked = rows::Looked { key: sources.id_key.clone(), onlooker };
    let looked = rows::feed(store, looked, &reported.ids, &mut audit, &mut found).await?;
    Ok((verdict(audit.finish(), found, &log.altered), log.logged, looked.onlooker))
}

/// Whether the node ended otherwise than in order: then what it was about to publish may be half
/// done.
async fn interrupted(store: &dyn ShardStore) -> Result<bool, Error> {
    for shard in (0..store.shards()).map(ShardId) {
        let admitted = store.load(shard).await?.admitted;
        // What does not decode is told when the rows are fed.
        let admitted = admitted.map(|bytes| codec::decode::<Admitted>(&bytes));
        if matches!(admitted, Some(Ok(Admitted { clean: false, .. }) | Err(_))) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn verdict(checks: Vec<Check>, found: Vec<Found>, altered: &BTreeMap<u64, String>) -> Verdict {
    let mut checks: Vec<Checked> = checks.into_iter().map(|check| told(check, altered)).collect();
    for one in found {
        let (code, promise) = (one.invariant.code(), one.invariant.promise());
        let place = checks.iter().position(|check| check.invariant == code);
        let place = place.unwrap_or_else(|| {
            let (violations, details) = (Vec::new(), Vec::new());
            let invariant = code;
            checks.push(Checked {
                invariant,
                promise,
                checked: 0,
                violations,
                unlisted: 0,
                details,
            });
            checks.len() - 1
        });
        let check = &mut checks[place];
        if !check.violations.contains(&one.id) {
            check.details.push(format!("{} {}", one.id, one.sentence));
            check.violations.push(one.id);
        }
    }
    let clean = |check: &Checked| check.violations.is_empty() && check.unlisted == 0;
    Verdict { ok: checks.iter().all(clean), checks }
}

/// An altered entry is told by the path of its bundle: that is what has to be mended.
fn told(check: Check, altered: &BTreeMap<u64, String>) -> Checked {
    let (invariant, promise) = (check.invariant.code(), check.invariant.promise());
    let mut told = Checked {
        invariant,
        promise,
        checked: check.checked,
        violations: Vec::new(),
        unlisted: check.unlisted,
        details: Vec::new(),
    };
    for violation in check.violations {
        let index = violation.id.parse().ok();
        let path = index.and_then(|index: u64| altered.get(&index));
        let path = path.filter(|_| check.invariant == Invariant::AppendOnly);
        let id = path.cloned().unwrap_or_else(|| violation.id.clone());
        let entry = if path.is_some() { format!("entry {} ", violation.id) } else { String::new() };
        told.details.push(format!("{id} {entry}{}", violation.sentence));
        if !told.violations.contains(&id) {
            told.violations.push(id);
        }
    }
    told
}

impl Verdict {
    /// The verdict for people.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for check in &self.checks {
            let bad = check.violations.len() as u64 + check.unlisted;
            let word = if bad == 0 { "ok".to_owned() } else { format!("{bad} VIOLATIONS") };
            lines.push(format!(
                "{:<3} {:<15} {:>10} checked  {word}",
                check.invariant, check.promise, check.checked
            ));
            lines.extend(check.details.iter().map(|detail| format!("    {detail}")));
            if check.unlisted > 0 {
                lines.push(format!("    and {} more", check.unlisted));
            }
        }
        lines
            .push(if self.ok { "the audit is clean" } else { "the audit is NOT clean" }.to_owned());
        lines
    }
}

fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::File { path, source }
}

#[cfg(test)]
mod tests;
