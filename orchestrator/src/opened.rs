//! A data directory, opened: everything durable that one node has.

use crate::bucket::Unfit;
use crate::bucket::address::AddressError;
use crate::clock::SystemClock;
use crate::data_dir::{self, DataDir};
use crate::embedded_store::{self, EmbeddedStore};
use crate::key_files::KeyFiles;
use crate::log_files::LogFiles;
use crate::log_folder::LogFolder;
use crate::media_files::MediaFiles;
use crate::receipt_files::MediaAndReceipts;
use crate::redis_store::{self, RedisStore};
use crate::threads::Threads;
use gristmill_actors::engine::Ports;
use gristmill_actors::membership::Place;
use gristmill_actors::ports::{Clock, ContentIndex, KeyStore, LogStore, MediaStore, ShardStore};
use gristmill_actors::register::Register;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a data directory cannot be opened: exit code 4, or 2 where the caller named a wrong one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory itself.
    #[error(transparent)]
    DataDir(#[from] data_dir::Error),
    /// The store in it.
    #[error("{}: {source}", path.display())]
    Store {
        /// The store's folder.
        path: PathBuf,
        /// What was met.
        source: embedded_store::OpenError,
    },
    /// The store on Redis.
    #[error(transparent)]
    Redis(redis_store::OpenError),
    /// The threads that read it.
    #[error("the store's threads: {0}")]
    Threads(std::io::Error),
    /// The address of a bucket.
    #[error(transparent)]
    Bucket(#[from] AddressError),
    /// A bucket that is not fit for a log.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// One of its folders.
    #[error("{}: {source}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What was met.
        source: std::io::Error,
    },
}

impl Error {
    /// The process exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::DataDir(error) => error.exit_code(),
            Self::Redis(
                redis_store::OpenError::Address { .. }
                | redis_store::OpenError::Credentials { .. }
                | redis_store::OpenError::Weaker(_)
                | redis_store::OpenError::Differs { .. },
            )
            | Self::Bucket(_)
            | Self::Unfit(Unfit::Creates | Unfit::Races | Unfit::Replaces | Unfit::Forgets) => 2,
            Self::Unfit(Unfit::Failed(_))
            | Self::Store { .. }
            | Self::Threads(_)
            | Self::Folder { .. }
            | Self::Redis(_) => 4,
        }
    }
}

/// The parts of an open data directory. Its lock is held while this lives.
pub struct Opened {
    /// Paths, keys and the lock.
    pub dir: DataDir,
    /// The folder of the public log.
    pub trace: LogFolder,
    /// Shards.
    pub store: Arc<dyn ShardStore>,
    /// Who handed in a content first.
    pub content: Arc<dyn ContentIndex>,
    /// Small rows beside the shards.
    pub register: Arc<dyn Register>,
    /// Data keys.
    pub keys: Arc<dyn KeyStore>,
    /// Blobs.
    pub media: Arc<dyn MediaStore>,
    /// The log's objects.
    pub log: Arc<dyn LogStore>,
    /// Time for decisions: the store's, where nodes share one.
    pub clock: Arc<dyn Clock>,
    /// The store on Redis, if it is there.
    pub(crate) redis: Option<Arc<RedisStore>>,
    /// What reads an embedded store for its shards.
    pub(crate) readers: Option<Threads>,
    /// Its place among other nodes, if they share the store.
    pub place: Option<Place>,
    /// The owner's incarnation: made anew whenever the directory is opened.
    pub incarnation: u128,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Opened {
    /// Opens a data directory, making it at first start. Blocks.
    pub fn make(
        path: &Path,
        origin: &str,
        options: embedded_store::Options,
    ) -> Result<Self, Error> {
        Self::parts(DataDir::open(path, origin)?, options)
    }

    /// Opens a data directory that must stand already. Blocks.
    pub fn existing(
        path: &Path,
        origin: &str,
        options: embedded_store::Options,
    ) -> Result<Self, Error> {
        Self::parts(DataDir::open_existing(path, origin)?, options)
    }

    fn parts(dir: DataDir, options: embedded_store::Options) -> Result<Self, Error> {
        let path = dir.store();
        let store = EmbeddedStore::open(&path, options);
        let store = Arc::new(store.map_err(|source| Error::Store { path, source })?);
        let folder = |path: PathBuf| move |source| Error::Folder { path, source };
        let log = LogFiles::open(&dir.trace()).map_err(folder(dir.trace()))?;
        let keys = KeyFiles::open(&dir.data_keys()).map_err(folder(dir.data_keys()))?;
        let media = MediaFiles::open(&dir.media()).map_err(folder(dir.media()))?;
        let content: Arc<dyn ContentIndex> = store.clone();
        let register: Arc<dyn Register> = store.clone();
        Ok(Self {
            trace: LogFolder::new(&dir.trace()),
            dir,
            store,
            content,
            register,
            keys: Arc::new(keys),
            media: Arc::new(media),
            log: Arc::new(log),
            clock: Arc::new(SystemClock::new()),
            redis: None,
            readers: Some(Threads::start("store-reader").map_err(Error::Threads)?),
            place: None,
            incarnation: uuid::Uuid::new_v4().as_u128(),
        })
    }

    /// The ports of a node over these parts.
    #[must_use]
    pub fn ports(&self) -> Ports {
        let receipts = self.dir.receipts();
        let media: Arc<dyn MediaStore> =
            Arc::new(MediaAndReceipts { media: self.media.clone(), receipts });
        Ports {
            store: self.store.clone(),
            content: self.content.clone(),
            keys: self.keys.clone(),
            media,
            clock: self.clock.clone(),
            readers: self.readers.as_ref().map(Threads::handle),
        }
    }

    /// The log's port.
    #[must_use]
    pub fn log_store(&self) -> Arc<dyn LogStore> {
        self.log.clone()
    }
}
