//! A node's parts when many nodes share them: shards, claims and data keys on Redis, the public log
//! and encrypted media in one directory or bucket that every node sees.

use crate::bucket::Bucket;
use crate::bucket::address::{Address as BucketAddress, AddressError, Credentials};
use crate::cli::SharedStore;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::log_bucket::LogBucket;
use crate::log_files::LogFiles;
use crate::log_folder::LogFolder;
use crate::media_bucket::MediaBucket;
use crate::media_files::MediaFiles;
use crate::opened::{Error, Opened};
use crate::redis_store::{Address, Options, RedisStore};
use gristmill_actors::membership::Place;
use gristmill_actors::ports::{
    Clock, ContentIndex, KeyStore, LogStore, MediaStore, Membership, ShardStore,
};
use gristmill_actors::register::Register;
use gristmill_workflows::id::IdKey;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// Where the password of the store may stand instead of a file.
pub const PASSWORD_VARIABLE: &str = "GRISTMILL_STORE_PASSWORD";

/// Where the public log and media are, for all nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SharedPlace {
    /// A directory that every node sees.
    Directory(PathBuf),
    /// A folder of a bucket.
    Bucket(BucketAddress),
}

impl FromStr for SharedPlace {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.starts_with("s3://") {
            true => Ok(Self::Bucket(text.parse()?)),
            false => Ok(Self::Directory(text.into())),
        }
    }
}

/// The public log and media.
struct Objects {
    trace: LogFolder,
    log: Arc<dyn LogStore>,
    media: Arc<dyn MediaStore>,
}

impl Objects {
    fn open(
        config: &Config,
        args: &SharedStore,
        data_dir: &Path,
        writer: &str,
    ) -> Result<Self, Error> {
        match &args.shared_dir {
            None => Self::in_directory(&data_dir.join("shared"), writer),
            Some(SharedPlace::Directory(folder)) => Self::in_directory(folder, writer),
            Some(SharedPlace::Bucket(address)) => {
                let bucket = bucket(config, address, args.bucket_credentials.as_deref())?;
                let trace = bucket.folder("trace");
                Ok(Self {
                    log: Arc::new(LogBucket::new(trace.clone())),
                    trace: LogFolder::in_bucket(trace, Handle::current()),
                    media: Arc::new(MediaBucket::new(bucket.folder("media"))),
                })
            }
        }
    }

    fn in_directory(folder: &Path, writer: &str) -> Result<Self, Error> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Folder { path, source }
        };
        std::fs::create_dir_all(folder).map_err(failed(folder))?;
        let (trace, media) = (folder.join("trace"), folder.join("media"));
        Ok(Self {
            log: Arc::new(LogFiles::shared(&trace, writer).map_err(failed(&trace))?),
            trace: LogFolder::new(&trace),
            media: Arc::new(MediaFiles::shared(&media, writer).map_err(failed(&media))?),
        })
    }
}

/// A folder of a bucket, with the configuration's endpoint and region. Sends nothing yet.
///
/// # Errors
/// [`AddressError`] says what to change.
pub fn bucket(
    config: &Config,
    address: &BucketAddress,
    credentials: Option<&Path>,
) -> Result<Bucket, AddressError> {
    let credentials = Credentials::find(credentials, |name| std::env::var(name).ok())?;
    address.open(&config.bucket.endpoint, &config.bucket.region, &credentials)
}

/// Connects to the store alone, for verbs that need no data directory.
///
/// # Errors
/// [`Error::Redis`] says what to change.
pub async fn connect(
    config: &Config,
    args: &SharedStore,
    fingerprints: Vec<(&'static str, String)>,
) -> Result<RedisStore, Error> {
    let url = args.store.as_deref().unwrap_or_default();
    let mut address = Address::parse(url).map_err(Error::Redis)?;
    if let Ok(password) = std::env::var(PASSWORD_VARIABLE) {
        address = address.with_password(&password);
    }
    if let Some(file) = &args.store_credentials {
        address = address.with_credentials(file).map_err(Error::Redis)?;
    }
    let options = Options {
        shards: config.store.shards,
        intake_max: config.store.high_water,
        lease_ttl: Duration::from_millis(args.lease_ms),
        durability: args.durability,
        accept_weaker: args.accept_weaker,
        fingerprints,
    };
    RedisStore::open(address, options).await.map_err(Error::Redis)
}

/// Opens a node's own data directory, the store, and the shared directory or bucket. Directories are
/// read and written here, which blocks; that is so before a node runs. Nothing is asked of a bucket.
///
/// # Errors
/// What cannot be opened, and why.
pub async fn open(
    config: &Config,
    args: &SharedStore,
    data_dir: &Path,
    address: &str,
) -> Result<Opened, Error> {
    let dir = DataDir::open(data_dir, &config.trace.origin)?;
    let incarnation = uuid::Uuid::new_v4();
    let objects = Objects::open(config, args, data_dir, &incarnation.simple().to_string())?;
    let Objects { trace, log, media } = objects;
    let store = Arc::new(connect(config, args, fingerprints(&dir)).await?);
    let clock: Arc<dyn Clock> = store.clock();
    let members: Arc<dyn Membership> = store.clone();
    let name = args.name.clone().unwrap_or_else(|| incarnation.simple().to_string());
    let register: Arc<dyn Register> = store.clone();
    let place = Place { members, register: register.clone(), name, address: address.to_owned() };
    let shards: Arc<dyn ShardStore> = store.clone();
    let content: Arc<dyn ContentIndex> = store.clone();
    let keys: Arc<dyn KeyStore> = store.clone();
    Ok(Opened {
        dir,
        trace,
        store: shards,
        content,
        register,
        keys,
        media,
        log,
        clock,
        redis: Some(store),
        readers: None,
        place: Some(place),
        incarnation: incarnation.as_u128(),
    })
}

/// What must be the same on every node. Of secrets only what nothing follows from.
fn fingerprints(dir: &DataDir) -> Vec<(&'static str, String)> {
    vec![("trace key", dir.trace_key().verifier().to_string()), ("id key", of_id_key(dir.id_key()))]
}

fn of_id_key(key: &IdKey) -> String {
    let derived = key.contributor("gristmill: fingerprint of this key");
    Sha256::digest(derived.0).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
