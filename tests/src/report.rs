//! The report that `gristmill run` writes: `report.json` of the data directory.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// What one run came to.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Report {
    /// One row a journey, at its first line.
    pub journeys: Vec<Journey>,
    /// Lines that only repeated an earlier one, as they stand.
    pub repeated_lines: Vec<Value>,
    /// Lines that were refused.
    pub rejected_lines: Vec<RejectedLine>,
    /// Journeys by state.
    pub totals: BTreeMap<String, u64>,
    /// Micro-units by currency and account.
    pub money: BTreeMap<String, BTreeMap<String, i64>>,
    /// The public log: `dir`, `vkey`, `origin`, `size`, `root`.
    pub trace: Value,
}

/// One journey.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Journey {
    /// Its first line in the manifest, from 1.
    pub line: u64,
    /// The contribution's id.
    pub id: String,
    /// The person.
    pub contributor: String,
    /// The client's key.
    pub idempotency_key: String,
    /// The program.
    pub program: String,
    /// The workflow.
    pub workflow: String,
    /// `queued moving parked paused settled rejected withdrawn`.
    pub state: String,
    /// Why it was rejected.
    pub reason: Option<String>,
    /// Why it is paused, or what it waits for.
    pub cause: Option<String>,
    /// Where it stands.
    pub stage: Option<String>,
    /// Attempts, as the report gives them.
    pub attempts: Value,
    /// 0 to 10,000.
    pub score: Option<u16>,
    /// What it earned.
    pub amount: Option<Amount>,
    /// Index of its `contribution` entry in the public log.
    pub trace_index: Option<u64>,
    /// Its payouts.
    pub payouts: Vec<Payout>,
    /// When consent was withdrawn, as the report gives it.
    pub withdrawn_at: Value,
    /// Receipt files, relative to the data directory.
    pub receipts: Vec<String>,
}

/// An amount of money.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Amount {
    /// ISO 4217 code.
    pub currency: String,
    /// Micro-units.
    pub micro: u64,
}

/// One movement of money.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Payout {
    /// Its id, the key on the rail.
    pub id: String,
    /// Whole minor units.
    pub minor: u64,
    /// Where it stands.
    pub state: String,
    /// Index of its `payout` entry in the public log.
    pub trace_index: Option<u64>,
}

/// A line that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RejectedLine {
    /// From 1.
    pub line: u64,
    /// The field at fault, if one is.
    pub field: Option<String>,
    /// The contract's code.
    pub code: String,
    /// A sentence.
    pub detail: String,
}

impl Report {
    /// Reads a report.
    ///
    /// # Panics
    /// When there is none or it has another shape.
    pub fn read(path: &Path) -> Self {
        let bytes =
            std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The journey of one idempotency key; tests keep keys unique across contributors.
    ///
    /// # Panics
    /// When there is none.
    pub fn journey(&self, idempotency_key: &str) -> &Journey {
        self.journeys
            .iter()
            .find(|journey| journey.idempotency_key == idempotency_key)
            .unwrap_or_else(|| panic!("no journey has the key {idempotency_key}"))
    }

    /// The rejected line with one number.
    ///
    /// # Panics
    /// When that line was not rejected.
    pub fn rejected(&self, line: usize) -> &RejectedLine {
        self.rejected_lines
            .iter()
            .find(|rejected| rejected.line == line as u64)
            .unwrap_or_else(|| panic!("line {line} was not rejected"))
    }

    /// How many journeys are in a state.
    pub fn total(&self, state: &str) -> u64 {
        self.totals.get(state).copied().unwrap_or(0)
    }
}
