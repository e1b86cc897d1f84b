//! The command line: arguments in, exit code out (contract.md, Exit codes).

mod journeys;
mod node;
mod simulate;

pub use journeys::{Chosen, List, Quarantine, Receipt, ReceiptVerb, Stage, Submit, Told, Withdraw};
pub use node::{Node, Place, SharedStore};
pub(crate) use simulate::duration_ms;
pub use simulate::{Calls, Habits, Simulate, SimulatePlace, SimulateVerb};

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// A durable workflow orchestrator: contributions from consent to payout, proved in public.
#[derive(Debug, Parser)]
#[command(name = "gristmill", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take a manifest in, drive every contribution to its end, and report.
    Run(Run),
    /// Serve over HTTP until told to end: the node as a service.
    Serve(Serve),
    /// Show one contribution: timeline, price, and why it stands where it stands.
    Show {
        /// The contribution's id.
        id: String,
        /// Which node.
        #[command(flatten)]
        node: Node,
        /// How.
        #[arg(long, value_enum, default_value = "table")]
        output: Output,
    },
    /// Say in one sentence why a contribution stands where it stands.
    Why {
        /// The contribution's id.
        id: String,
        /// Which node.
        #[command(flatten)]
        node: Node,
        /// How.
        #[arg(long, value_enum, default_value = "table")]
        output: Output,
    },
    /// List contributions.
    List(List),
    /// Stream a manifest with its media to a node.
    Submit(Submit),
    /// Take consent back: one grant, or all of a program.
    Withdraw(Withdraw),
    /// Let quarantined journeys go on: the same as `quarantine retry`.
    Retry(Chosen),
    /// Stages: listed, paused, resumed.
    Stage {
        /// What to do.
        #[command(subcommand)]
        verb: Stage,
    },
    /// Journeys that wait for an operator.
    Quarantine {
        /// What to do.
        #[command(subcommand)]
        verb: Quarantine,
    },
    /// API keys.
    Keys {
        /// What to do.
        #[command(subcommand)]
        verb: Keys,
    },
    /// Make or check receipts.
    Receipt(Receipt),
    /// The public log.
    Trace {
        /// What to do.
        #[command(subcommand)]
        verb: Trace,
    },
    /// Check every promise that can be checked from outside: store, log and rail book.
    Audit {
        /// Where.
        #[command(flatten)]
        place: Place,
        /// The rail's address, if its book is not under the data directory.
        #[arg(long)]
        rail: Option<String>,
        /// The store, if it is not the data directory's own.
        #[command(flatten)]
        shared: Box<SharedStore>,
        /// How.
        #[arg(long, value_enum, default_value = "table")]
        output: Output,
    },
    /// Nodes that share a store.
    Nodes(Shared),
    /// Who owns which shard of a shared store.
    Shards(Shared),
    /// Ask a node of a shared store to hand its shards over: by its name or incarnation.
    Drain {
        /// Which.
        node: String,
        /// Where.
        #[command(flatten)]
        shared: Shared,
    },
    /// The configuration.
    Config {
        /// What to do.
        #[command(subcommand)]
        verb: Config,
    },
    /// Workflow files.
    Workflow {
        /// What to do.
        #[command(subcommand)]
        verb: Workflow,
    },
    /// Simulate contributors by the million, and prove that everything is accounted for.
    Simulate(Box<Simulate>),
    /// A rail for tests: an HTTP server with a book of its own and faults on demand.
    SandboxRail(SandboxRail),
    /// Measures media for a node; started by the node itself.
    #[command(hide = true)]
    MediaWorker,
}

/// `run`
#[derive(Debug, Args)]
pub struct Run {
    /// The manifest (NDJSON).
    pub manifest: PathBuf,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// The folder that media paths are relative to; default: the manifest's.
    #[arg(long)]
    pub media_root: Option<PathBuf>,
    /// Copy the report to this file.
    #[arg(long)]
    pub report: Option<PathBuf>,
    /// Write receipts, also for more than 10,000 lines.
    #[arg(long)]
    pub receipts: bool,
    /// A running rail's address; default: an own sandbox rail.
    #[arg(long)]
    pub rail: Option<String>,
    /// Submit nothing if any line is rejected.
    #[arg(long)]
    pub strict: bool,
}

/// `serve`
#[derive(Debug, Args)]
pub struct Serve {
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// Where to listen; port 0 takes a free one. Default: `service.listen`.
    #[arg(long)]
    pub listen: Option<std::net::SocketAddr>,
    /// A running rail's address; default: an own sandbox rail. Nodes that share a store need one.
    #[arg(long)]
    pub rail: Option<String>,
    /// A store that other nodes share.
    #[command(flatten)]
    pub shared: SharedStore,
}

/// A verb on a shared store.
#[derive(Debug, Args)]
pub struct Shared {
    /// The store.
    #[command(flatten)]
    pub shared: SharedStore,
    /// How.
    #[arg(long, value_enum, default_value = "table")]
    pub output: Output,
}

/// `keys`
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make a key; it is shown once and stored as a hash.
    New {
        /// submitter, contributor, operator or auditor.
        #[arg(long)]
        role: String,
        /// Whose key it is, for the role contributor.
        #[arg(long)]
        contributor: Option<String>,
        /// When it ends by itself (RFC 3339).
        #[arg(long)]
        expires: Option<String>,
        /// Why, for the list of changes.
        #[arg(long)]
        reason: String,
        /// Which node.
        #[command(flatten)]
        node: Node,
        /// How.
        #[arg(long, value_enum, default_value = "table")]
        output: Output,
    },
    /// List keys, without their secrets.
    List {
        /// Which node.
        #[command(flatten)]
        node: Node,
        /// How.
        #[arg(long, value_enum, default_value = "table")]
        output: Output,
    },
    /// Revoke a key, by its public part.
    Revoke {
        /// Its public part.
        key: String,
        /// Why, for the list of changes.
        #[arg(long)]
        reason: String,
        /// Which node.
        #[command(flatten)]
        node: Node,
        /// How.
        #[arg(long, value_enum, default_value = "table")]
        output: Output,
    },
}

/// `trace`
#[derive(Debug, Subcommand)]
pub enum Trace {
    /// Check a whole log.
    Verify {
        /// A folder, an http:// address, or s3://BUCKET/FOLDER.
        log: String,
        /// The log's verifier key, or a file that holds it.
        #[arg(long)]
        key: String,
        /// How.
        #[arg(long, value_enum, default_value = "table")]
        output: Output,
    },
}

/// `config`
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Check the configuration that would be used.
    Check {
        /// A configuration file (TOML).
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Print the configuration that would be used.
    Print {
        /// A configuration file (TOML).
        #[arg(long)]
        config: Option<PathBuf>,
    },
}

/// `workflow`
#[derive(Debug, Subcommand)]
pub enum Workflow {
    /// Check workflow files, or those that would be used.
    Check {
        /// Workflow files.
        files: Vec<PathBuf>,
        /// A configuration file (TOML).
        #[arg(long)]
        config: Option<PathBuf>,
    },
}

/// `sandbox-rail`
#[derive(Debug, Args)]
pub struct SandboxRail {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: std::net::SocketAddr,
    /// The folder of its book.
    #[arg(long)]
    pub book: PathBuf,
    /// Faults, as `lost_reply=0.1,slow_ms=500,down=10s@30s`.
    #[arg(long)]
    pub fault: Vec<String>,
    /// What faults are drawn from.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}
