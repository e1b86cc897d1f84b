//! The configuration: defaults, below the file of `--config`, below environment variables
//! `GRISTMILL_SECTION__KEY`, below flags. `config.example.toml` equals the defaults.

mod layers;
pub mod limits;

use crate::toml_file::{self, Place};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

pub use layers::Overrides;

const DAY_SECONDS: u64 = 86_400;
const HOUR_SECONDS: u64 = 3_600;

/// Everything that can be configured, checked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The public log.
    pub trace: Trace,
    /// The store.
    pub store: Store,
    /// The bucket of `--shared-dir s3://…`.
    pub bucket: Bucket,
    /// The node.
    pub node: Node,
    /// Finished journeys.
    pub retention: Retention,
    /// Measuring of media.
    pub media: Media,
    /// The rail that pays.
    pub rail: Rail,
    /// The HTTP service.
    pub service: Service,
    /// Workflow files.
    pub workflows: Definitions,
    /// Program files.
    pub programs: Definitions,
    /// Logging.
    pub log: Log,
}

/// `[trace]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trace {
    /// The log's origin and the name of its key.
    pub origin: String,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// Shards of a store that is made; one that stands keeps its number.
    pub shards: u16,
    /// Items that wait in one shard before further ones are refused.
    pub high_water: u64,
    /// Hours within which a destroyed data key leaves the append-only files of Redis, too.
    pub erasure_deadline_hours: u64,
}

/// `[bucket]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bucket {
    /// `http://host:port` or `https://…`; empty: Amazon's of the region.
    pub endpoint: String,
    /// The region that requests are signed for.
    pub region: String,
}

/// `[node]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Node {
    /// Journeys in flight at once.
    pub window: usize,
    /// How long a stop waits for what is under way, in milliseconds.
    pub stop_deadline_ms: u64,
    /// How far ahead `run` waits for journeys that go on by themselves before it reports, in
    /// milliseconds; timers further ahead are not in memory.
    pub rest_patience_ms: u64,
}

/// `[retention]`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Days that finished journeys are kept before tombstones take their place; 0: for ever.
    pub finished_days: u64,
}

/// `[media]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Media {
    /// Worker processes.
    pub workers: usize,
    /// Wall time for one item, in milliseconds.
    pub wall_limit_ms: u64,
    /// Largest item, in bytes.
    pub max_bytes: u64,
}

/// `[rail]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rail {
    /// `http://host:port`; empty: a sandbox rail of the node's own.
    pub url: String,
    /// The rail's name in entries of the public log.
    pub name: String,
    /// How long the rail knows a key again, in milliseconds.
    pub key_window_ms: u64,
    /// After this the rail applies nothing late any more, in milliseconds.
    pub settle_time_ms: u64,
    /// Most payouts in one call.
    pub max_batch: usize,
}

/// `[service]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Service {
    /// `address:port`.
    pub listen: String,
    /// Connections at once.
    pub connections: usize,
    /// Hours that an upload waits for its contribution before it is destroyed.
    pub upload_hours: u64,
}

/// `[workflows]` and `[programs]`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Definitions {
    /// A folder; empty: those compiled in.
    pub dir: String,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Directives of `tracing-subscriber`'s `EnvFilter`, such as `warn,gristmill=debug`.
    pub filter: String,
}

impl Default for Trace {
    fn default() -> Self {
        Self { origin: "gristmill.local/trace".to_owned() }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self { shards: 16, high_water: 10_000_000, erasure_deadline_hours: 24 }
    }
}

impl Default for Bucket {
    fn default() -> Self {
        Self { endpoint: String::new(), region: "us-east-1".to_owned() }
    }
}

impl Default for Node {
    fn default() -> Self {
        Self { window: 8192, stop_deadline_ms: 30_000, rest_patience_ms: 60_000 }
    }
}

impl Default for Media {
    fn default() -> Self {
        Self { workers: 2, wall_limit_ms: 20_000, max_bytes: 64 * 1024 * 1024 }
    }
}

impl Default for Rail {
    fn default() -> Self {
        Self {
            url: String::new(),
            name: "sandbox".to_owned(),
            key_window_ms: 86_400_000,
            settle_time_ms: 2_000,
            max_batch: 1_000,
        }
    }
}

impl Default for Service {
    fn default() -> Self {
        Self { listen: "127.0.0.1:7700".to_owned(), connections: 8192, upload_hours: 24 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "warn".to_owned() }
    }
}

/// Which layer set a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// None above the defaults.
    Default,
    /// The file.
    File(Place),
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => Ok(()),
            Self::File(place) => write!(f, "{place}: "),
            Self::Variable(name) => write!(f, "{name}: "),
            Self::Flag(name) => write!(f, "{name}: "),
        }
    }
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read, or is not TOML.
    #[error(transparent)]
    File(#[from] toml_file::Error),
    /// A section or key that does not exist.
    #[error("{origin}{key}: there is no such key")]
    Unknown {
        /// Where.
        origin: Origin,
        /// Which.
        key: String,
    },
    /// A value of another type.
    #[error("{origin}{key}: must be {kind}")]
    Kind {
        /// Where.
        origin: Origin,
        /// Which.
        key: String,
        /// What would be right.
        kind: &'static str,
    },
    /// A number outside its range.
    #[error("{origin}{key}: {value} is outside {low} to {high}")]
    Range {
        /// Where.
        origin: Origin,
        /// Which.
        key: &'static str,
        /// What it is.
        value: i64,
        /// Lowest allowed.
        low: i64,
        /// Highest allowed.
        high: i64,
    },
    /// A text that means nothing sensible.
    #[error("{origin}{key}: must be {rule}")]
    Rule {
        /// Where.
        origin: Origin,
        /// Which.
        key: &'static str,
        /// What would be right.
        rule: &'static str,
    },
    /// An environment variable or a flag that is not UTF-8.
    #[error("{name}: not UTF-8")]
    NotUtf8 {
        /// Which.
        name: String,
    },
    /// The layers do not fit together, though each was checked.
    #[error("configuration: {0}")]
    Layers(#[from] ::config::ConfigError),
}

impl Config {
    /// The rail's address, unless the node starts a sandbox rail of its own.
    #[must_use]
    pub fn rail_url(&self) -> Option<&str> {
        Some(self.rail.url.as_str()).filter(|url| !url.is_empty())
    }

    /// Where the service listens; none only before the configuration is checked.
    #[must_use]
    pub fn listen(&self) -> Option<SocketAddr> {
        self.service.listen.parse().ok()
    }

    /// The folder of workflow files, relative to the working directory; none: the shipped ones.
    #[must_use]
    pub fn workflows_dir(&self) -> Option<&Path> {
        self.workflows.dir()
    }

    /// The folder of programs, relative to the working directory; none: the shipped ones.
    #[must_use]
    pub fn programs_dir(&self) -> Option<&Path> {
        self.programs.dir()
    }

    /// The whole configuration as a file for `--config`.
    #[must_use]
    pub fn print(&self) -> String {
        toml::to_string(self).expect("texts and integers below 2^63 are TOML")
    }
}

impl Store {
    /// Within what time a destroyed data key leaves the append-only files of Redis.
    #[must_use]
    pub fn erasure_deadline(&self) -> Duration {
        Duration::from_secs(self.erasure_deadline_hours * HOUR_SECONDS)
    }
}

impl Retention {
    /// How long finished journeys are kept; none: for ever.
    #[must_use]
    pub fn finished(&self) -> Option<Duration> {
        (self.finished_days > 0).then(|| Duration::from_secs(self.finished_days * DAY_SECONDS))
    }
}

impl Definitions {
    fn dir(&self) -> Option<&Path> {
        Some(Path::new(&self.dir)).filter(|dir| !dir.as_os_str().is_empty())
    }
}

#[cfg(test)]
mod tests;
