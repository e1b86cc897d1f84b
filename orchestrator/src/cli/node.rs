//! Which node a verb works on: arguments shared by many verbs.

use crate::redis_store::Durability;
use crate::shared_store::SharedPlace;
use clap::Args;
use std::path::PathBuf;

/// Where a verb finds its node.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// The data directory.
    #[arg(long, default_value = ".gristmill")]
    pub data_dir: PathBuf,
    /// A configuration file (TOML).
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// A folder of programs instead of the shipped ones.
    #[arg(long)]
    pub programs: Option<PathBuf>,
}

/// A store that many nodes share.
#[derive(Debug, Clone, Args)]
pub struct SharedStore {
    /// `redis://HOST:PORT/DB`, `rediss://…`, `redis+sentinel://HOST:PORT,…/MASTER`,
    /// `redis+cluster://HOST:PORT,…`; without it the store is the data directory's own.
    #[arg(long)]
    pub store: Option<String>,
    /// A file with `user:password` or a password, one line; or `GRISTMILL_STORE_PASSWORD`.
    #[arg(long, requires = "store")]
    pub store_credentials: Option<PathBuf>,
    /// The directory of the public log and of media, or s3://BUCKET/FOLDER: the same for every
    /// node.
    #[arg(long, requires = "store")]
    pub shared_dir: Option<SharedPlace>,
    /// A file with `KEY_ID:SECRET` for the bucket, one line; or `AWS_ACCESS_KEY_ID` and
    /// `AWS_SECRET_ACCESS_KEY`.
    #[arg(long, requires = "shared_dir")]
    pub bucket_credentials: Option<PathBuf>,
    /// What an acknowledgement promises: always, everysec, replicated(N).
    #[arg(long, default_value = "always")]
    pub durability: Durability,
    /// Go on, with a warning, if the server promises less than that.
    #[arg(long)]
    pub accept_weaker: bool,
    /// How long a lease lasts, in milliseconds.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(500..=60_000))]
    pub lease_ms: u64,
    /// What operators call this node; default: made anew at every start.
    #[arg(long)]
    pub name: Option<String>,
}

/// Which node a verb speaks to: one that runs, by its address, or the data directory of none.
#[derive(Debug, Clone, Args)]
pub struct Node {
    /// A running node's address, http://host:port. Default: `GRISTMILL_URL`.
    #[arg(long, conflicts_with = "data_dir")]
    pub url: Option<String>,
    /// A file with the API key for it. Default: the key itself in `GRISTMILL_API_KEY`.
    #[arg(long)]
    pub api_key_file: Option<PathBuf>,
    /// The data directory, while no node runs on it. Default: .gristmill
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// A configuration file (TOML).
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// A folder of programs instead of the shipped ones.
    #[arg(long)]
    pub programs: Option<PathBuf>,
}

impl Node {
    /// The data directory's side.
    #[must_use]
    pub fn place(&self) -> Place {
        let default = || PathBuf::from(".gristmill");
        let data_dir = self.data_dir.clone().unwrap_or_else(default);
        Place { data_dir, config: self.config.clone(), programs: self.programs.clone() }
    }
}
