//! A node's parts when many nodes share them: shards, claims and data keys on Redis, the public log
//! and encrypted media in one directory that every node sees.

use crate::cli::SharedStore;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::log_files::LogFiles;
use crate::media_files::MediaFiles;
use crate::opened::{Error, Opened};
use crate::redis_store::{Address, Options, RedisStore};
use gristmill_actors::membership::Place;
use gristmill_actors::ports::{Clock, ContentIndex, KeyStore, Membership, ShardStore};
use gristmill_actors::register::Register;
use gristmill_workflows::id::IdKey;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Where the password of the store may stand instead of a file.
pub const PASSWORD_VARIABLE: &str = "GRISTMILL_STORE_PASSWORD";

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

/// Opens a node's own data directory, the store, and the shared directory. The directories are read
/// and written here, which blocks; that is so before a node runs.
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
    let folder = args.shared_dir.clone().unwrap_or_else(|| data_dir.join("shared"));
    let at = |name: &str| {
        let path = folder.join(name);
        (path.clone(), move |source| Error::Folder { path, source })
    };
    let (trace, failed) = at("trace");
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let incarnation = uuid::Uuid::new_v4();
    let log = LogFiles::shared(&trace, &incarnation.simple().to_string()).map_err(at("trace").1)?;
    let (media, failed) = at("media");
    let media = MediaFiles::shared(&media, &incarnation.simple().to_string()).map_err(failed)?;
    let store = Arc::new(connect(config, args, fingerprints(&dir)).await?);
    let clock: Arc<dyn Clock> = store.clock();
    let members: Arc<dyn Membership> = store.clone();
    let name = args.name.clone().unwrap_or_else(|| incarnation.simple().to_string());
    let place = Place { members, name, address: address.to_owned() };
    let shards: Arc<dyn ShardStore> = store.clone();
    let content: Arc<dyn ContentIndex> = store.clone();
    let register: Arc<dyn Register> = store.clone();
    let keys: Arc<dyn KeyStore> = store;
    Ok(Opened {
        dir,
        trace,
        store: shards,
        content,
        register,
        keys,
        media: Arc::new(media),
        log: Arc::new(log),
        clock,
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
