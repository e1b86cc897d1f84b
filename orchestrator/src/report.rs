//! The report of a run (contract.md, `run` report), its receipts, and the summary for people.

use crate::intake::{RejectedLine, Taken};
use crate::journeys::{self, Found, Indices};
use crate::opened::Opened;
use crate::receipts::{self, Receipts};
use crate::report_row::Row;
use gristmill_actors::engine::Ports;
use gristmill_actors::ports::StoreError;
use gristmill_workflows::codec::{self, decode};
use gristmill_workflows::commit::ShardState;
use gristmill_workflows::id::{ContributionId, ShardId};
use gristmill_workflows::ledger::{Account, Ledger};
use gristmill_workflows::shard::World;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Manifests up to this many lines get their receipts with the report.
pub const RECEIPT_LINES: u64 = 10_000;
/// Rows read at once.
const BATCH: usize = 512;

/// Why no report could be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row does not decode.
    #[error(transparent)]
    Codec(#[from] codec::Error),
    /// Reading journeys.
    #[error(transparent)]
    Journeys(#[from] journeys::Error),
    /// A receipt.
    #[error(transparent)]
    Receipts(#[from] receipts::Error),
    /// The file.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was met.
        source: std::io::Error,
    },
}

/// What a report is made from.
#[derive(Debug)]
pub struct Report<'a> {
    /// The data directory.
    pub opened: &'a Opened,
    /// Its ports.
    pub ports: &'a Ports,
    /// Programs, workflows and the key for ids.
    pub world: &'a Arc<World>,
    /// What became of the manifest's lines.
    pub taken: &'a Taken,
}

#[derive(Debug, Default, Serialize)]
struct Amounts {
    valued: i128,
    carry: i128,
    payable: i128,
    in_flight: i128,
    paid: i128,
}

#[derive(Debug, Serialize)]
struct TracePart {
    dir: &'static str,
    vkey: String,
    origin: String,
    size: u64,
    root: String,
}

#[derive(Debug, Serialize)]
struct RepeatedLine {
    line: u64,
    id: String,
}

/// What a person reads at the end.
#[derive(Debug)]
pub struct Summary {
    totals: BTreeMap<String, u64>,
    reasons: BTreeMap<String, u64>,
    programs: BTreeMap<String, (String, u64, u64)>,
    rejected_lines: Vec<RejectedLine>,
    trace: TracePart,
    example: Option<String>,
}

impl Report<'_> {
    /// Writes `report.json`, and receipts if asked for; copies the report to `copy`.
    pub async fn write(&self, with_receipts: bool, copy: Option<&Path>) -> Result<Summary, Error> {
        let path = self.opened.dir.report();
        let file = |source| Error::File { path: path.clone(), source };
        let temporary = path.with_extension("json.new");
        let mut out = BufWriter::new(std::fs::File::create(&temporary).map_err(file)?);
        let trace = self.trace()?;
        let mut summary = Summary {
            totals: BTreeMap::new(),
            reasons: BTreeMap::new(),
            programs: BTreeMap::new(),
            rejected_lines: self.taken.rejected.clone(),
            trace,
            example: None,
        };
        out.write_all(b"{\"journeys\":[").map_err(file)?;
        self.rows(&mut out, with_receipts, &mut summary).await?;
        let repeated: Vec<RepeatedLine> = self.taken.repeated.iter().map(repeated).collect();
        let money = self.money().await?;
        let rest = [
            ("repeated_lines", json(&repeated)),
            ("rejected_lines", json(&summary.rejected_lines)),
            ("totals", json(&summary.totals)),
            ("money", json(&money)),
            ("trace", json(&summary.trace)),
        ];
        out.write_all(b"\n]").map_err(file)?;
        for (name, value) in rest {
            write!(out, ",\n\"{name}\":{}", value.map_err(file)?).map_err(file)?;
        }
        out.write_all(b"}\n").and_then(|()| out.flush()).map_err(file)?;
        out.get_ref().sync_all().map_err(file)?;
        std::fs::rename(&temporary, &path).map_err(file)?;
        if let Some(copy) = copy {
            let to = copy.to_owned();
            std::fs::copy(&path, copy).map_err(|source| Error::File { path: to, source })?;
        }
        Ok(summary)
    }

    async fn rows(
        &self,
        out: &mut impl Write,
        with_receipts: bool,
        summary: &mut Summary,
    ) -> Result<(), Error> {
        let path = self.opened.dir.report();
        let file = |source| Error::File { path: path.clone(), source };
        let (store, keys) = (&*self.ports.store, &*self.ports.keys);
        let receipts = match with_receipts {
            true => Some(Receipts::open(&self.opened.dir, store, keys)?),
            false => None,
        };
        let mut indices = Indices::new(store);
        let mut first = true;
        for batch in self.taken.journeys.chunks(BATCH) {
            let ids: Vec<ContributionId> = batch.iter().map(|(_, id)| *id).collect();
            let found: Vec<Option<Found>> = journeys::find(store, &ids).await?;
            let lines = batch.iter().map(|(line, _)| *line).zip(found);
            let (lines, found): (Vec<u64>, Vec<Found>) =
                lines.filter_map(|(line, found)| Some((line, found?))).unzip();
            let mut made = match &receipts {
                Some(receipts) => receipts.write(&found).await?,
                None => Vec::new(),
            }
            .into_iter();
            for (line, found) in lines.into_iter().zip(&found) {
                let workflow = self.workflow(found);
                let definitions = &self.world.workflows;
                let mut row =
                    Row::of(found, Some(line), workflow, definitions, &mut indices).await?;
                row.receipts = made.next().and_then(|made| made.paths.ok()).unwrap_or_default();
                let separator = if std::mem::take(&mut first) { "\n" } else { ",\n" };
                let text = json(&row).map_err(file)?;
                write!(out, "{separator}{text}").map_err(file)?;
                summary.count(&row);
            }
        }
        Ok(())
    }

    fn workflow(&self, found: &Found) -> Option<&str> {
        let program = self.world.programs.get(&found.submission().program);
        program.map(|program| program.workflow.as_str())
    }

    fn trace(&self) -> Result<TracePart, Error> {
        let path = self.opened.dir.trace().join("checkpoint");
        let file = |source| Error::File { path: path.clone(), source };
        let note = std::fs::read(&path).map_err(file)?;
        let verifier = self.opened.dir.trace_key().verifier();
        let checkpoint = gristmill_trace::checkpoint::Checkpoint::open(&note, verifier);
        let checkpoint =
            checkpoint.map_err(|error| file(std::io::Error::other(error.to_string())))?;
        Ok(TracePart {
            dir: "trace",
            vkey: verifier.to_string(),
            origin: checkpoint.origin.clone(),
            size: checkpoint.size,
            root: checkpoint.root.to_base64(),
        })
    }

    /// The balances of every shard together, by currency.
    async fn money(&self) -> Result<BTreeMap<String, Amounts>, Error> {
        let mut ledger = Ledger::default();
        for shard in (0..self.world.shards).map(ShardId) {
            if let Some(state) = self.ports.store.load(shard).await?.state {
                ledger.add(&decode::<ShardState>(&state)?.ledger);
            }
        }
        let amounts = |currency| {
            let balance = |account| ledger.balance(currency, account);
            let (carry, payable) = (balance(Account::Carry), balance(Account::Payable));
            let (in_flight, paid) = (balance(Account::InFlight), balance(Account::Paid));
            let valued = carry + payable + in_flight + paid + balance(Account::Suspense);
            (currency.to_string(), Amounts { valued, carry, payable, in_flight, paid })
        };
        Ok(ledger.currencies().into_iter().map(amounts).collect())
    }
}

fn repeated((line, id): &(u64, ContributionId)) -> RepeatedLine {
    RepeatedLine { line: *line, id: id.to_string() }
}

fn json(value: &impl Serialize) -> Result<String, std::io::Error> {
    Ok(serde_json::to_string(value)?)
}

impl Summary {
    fn count(&mut self, row: &Row) {
        *self.totals.entry(row.state.to_owned()).or_default() += 1;
        for why in row.reason.as_deref().into_iter().chain(row.cause) {
            *self.reasons.entry(why.to_owned()).or_default() += 1;
        }
        if let Some(amount) = &row.amount {
            let fresh = || (amount.currency.to_string(), 0, 0);
            let (_, count, micro) = self.programs.entry(row.program.clone()).or_insert_with(fresh);
            *count += 1;
            *micro += amount.micro;
        }
        if row.trace_index.is_some() && self.example.is_none() {
            self.example = Some(row.id.clone());
        }
    }

    /// Whether something stands paused or parked.
    #[must_use]
    pub fn stands(&self) -> bool {
        ["paused", "parked", "moving", "queued"].iter().any(|s| self.totals.contains_key(*s))
    }

    /// Prints the summary; its last lines are ready to paste.
    pub fn print(&self, data_dir: &Path) -> Result<(), Error> {
        let text = self.text(data_dir);
        let path = PathBuf::from("standard output");
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|source| Error::File { path, source })
    }

    fn text(&self, data_dir: &Path) -> String {
        let mut text = String::new();
        for (state, count) in &self.totals {
            text += &format!("{state:<10} {count:>10}\n");
        }
        for (why, count) in &self.reasons {
            text += &format!("  {why:<24} {count:>10}\n");
        }
        for line in self.rejected_lines.iter().take(20) {
            let RejectedLine { line, field, detail, .. } = line;
            text += &format!("line {line}: {field}: {detail}\n");
        }
        if self.rejected_lines.len() > 20 {
            text += &format!("… {} rejected lines more\n", self.rejected_lines.len() - 20);
        }
        for (program, (currency, count, micro)) in &self.programs {
            let (whole, rest) = (micro / 1_000_000, micro % 1_000_000);
            text += &format!("{program}: {count} valued at {whole}.{rest:06} {currency}\n");
        }
        let TracePart { size, root, vkey, .. } = &self.trace;
        text += &format!("log: {size} entries, root {root}\n\n");
        let dir = data_dir.display();
        text += &format!("gristmill audit --data-dir {dir}\n");
        text += &format!("gristmill trace verify {dir}/trace --key {vkey}\n");
        if let Some(id) = &self.example {
            text += &format!("gristmill show {id} --data-dir {dir}\n");
        }
        text
    }
}
