//! Arguments of the verbs on journeys and stages.

use super::{Node, Output};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `list`
#[derive(Debug, Args)]
pub struct List {
    /// Which node.
    #[command(flatten)]
    pub node: Node,
    /// Only journeys in this state.
    #[arg(long)]
    pub state: Option<String>,
    /// Only journeys paused for this cause.
    #[arg(long)]
    pub cause: Option<String>,
    /// Only journeys of this program.
    #[arg(long)]
    pub program: Option<String>,
    /// Only journeys at this stage.
    #[arg(long)]
    pub stage: Option<String>,
    /// Only what this person handed in.
    #[arg(long)]
    pub contributor: Option<String>,
    /// Go on after this id, or where the listing said that there may be more.
    #[arg(long)]
    pub after: Option<String>,
    /// At most this many.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// How.
    #[arg(long, value_enum, default_value = "table")]
    pub output: Output,
}

/// `quarantine`
#[derive(Debug, Subcommand)]
pub enum Quarantine {
    /// List quarantined journeys with their causes.
    List(List),
    /// Let journeys go on, with attempts counted anew.
    Retry(Chosen),
    /// Reject journeys that were not accepted yet.
    Reject(Chosen),
}

/// Which quarantined journeys.
#[derive(Debug, Args)]
pub struct Chosen {
    /// Contribution ids; none: all that the filters choose.
    pub ids: Vec<String>,
    /// All quarantined journeys.
    #[arg(long)]
    pub all: bool,
    /// Only journeys paused for this cause.
    #[arg(long)]
    pub cause: Option<String>,
    /// Only journeys of this program.
    #[arg(long)]
    pub program: Option<String>,
    /// Only journeys at this stage.
    #[arg(long)]
    pub stage: Option<String>,
    /// Say which would be told, and tell none.
    #[arg(long)]
    pub dry_run: bool,
    /// Why, for the list of changes. A running node wants it.
    #[arg(long)]
    pub reason: Option<String>,
    /// Tell a running node's journeys at most this many a second.
    #[arg(long, conflicts_with = "data_dir", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// Which node.
    #[command(flatten)]
    pub node: Node,
    /// Without a running node: a running rail's address; default: an own sandbox rail.
    #[arg(long, conflicts_with = "url")]
    pub rail: Option<String>,
    /// How.
    #[arg(long, value_enum, default_value = "table")]
    pub output: Output,
}

/// `receipt ID` or `receipt verify FILE`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Receipt {
    /// `verify`
    #[command(subcommand)]
    pub verb: Option<ReceiptVerb>,
    /// The contribution's id.
    pub id: Option<String>,
    /// Which node.
    #[command(flatten)]
    pub node: Node,
    /// The folder that receipts of a running node are written to; those of a data directory stand
    /// in it.
    #[arg(long, default_value = ".", conflicts_with = "data_dir")]
    pub out: PathBuf,
    /// How.
    #[arg(long, value_enum, default_value = "table")]
    pub output: Output,
}

/// `receipt verify`
#[derive(Debug, Subcommand)]
pub enum ReceiptVerb {
    /// Check a receipt, offline.
    Verify {
        /// The receipt.
        file: PathBuf,
        /// The log's verifier key, or a file that holds it.
        #[arg(long)]
        key: String,
        /// How.
        #[arg(long, value_enum, default_value = "table")]
        output: Output,
    },
}

/// `submit`
#[derive(Debug, Args)]
pub struct Submit {
    /// The manifest (NDJSON).
    pub manifest: PathBuf,
    /// Which node.
    #[command(flatten)]
    pub node: Node,
    /// The folder that media paths are relative to; default: the manifest's.
    #[arg(long)]
    pub media_root: Option<PathBuf>,
    /// Where it is noted how far a running node took the manifest; default: beside the manifest,
    /// a file for each node.
    #[arg(long, conflicts_with = "data_dir")]
    pub progress: Option<PathBuf>,
    /// How.
    #[arg(long, value_enum, default_value = "table")]
    pub output: Output,
}

/// `withdraw`
#[derive(Debug, Args)]
pub struct Withdraw {
    /// The person.
    #[arg(long)]
    pub contributor: String,
    /// One grant.
    #[arg(long, required_unless_present = "program", conflicts_with = "program")]
    pub grant: Option<String>,
    /// All grants of one program.
    #[arg(long)]
    pub program: Option<String>,
    /// Why, if an operator does it on the contributor's behalf.
    #[arg(long)]
    pub reason: Option<String>,
    /// Which node.
    #[command(flatten)]
    pub node: Node,
    /// How.
    #[arg(long, value_enum, default_value = "table")]
    pub output: Output,
}

/// `stage`
#[derive(Debug, Subcommand)]
pub enum Stage {
    /// Every stage, and whether it is paused.
    List {
        /// Which node.
        #[command(flatten)]
        node: Node,
        /// How.
        #[arg(long, value_enum, default_value = "table")]
        output: Output,
    },
    /// Pause a stage: nothing new starts there.
    Pause(Told),
    /// Let a paused stage go on.
    Resume(Told),
}

/// What is said of a stage.
#[derive(Debug, Args)]
pub struct Told {
    /// The stage.
    pub stage: String,
    /// Why, for the list of changes.
    #[arg(long)]
    pub reason: String,
    /// Which node.
    #[command(flatten)]
    pub node: Node,
    /// How.
    #[arg(long, value_enum, default_value = "table")]
    pub output: Output,
}
