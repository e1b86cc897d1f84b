//! A folder of a bucket: what an object store of the S3 kind is asked for, with a deadline for
//! every request and bounded retries. Every call here may be repeated without harm.

pub mod address;
mod error;
pub mod limits;
mod probe;
mod transport;

pub use error::Error;
pub use probe::Unfit;

use self::limits::{
    CONFLICTS_MAX, LISTED_MAX, REMOVALS, RETRY_REST, TRIES_MAX, TRY_TIMEOUT, TRY_TIMEOUT_PER_MIB,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use hyper::body::Bytes;
use object_store::path::Path;
use object_store::{
    Error as Met, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutPayload, UpdateVersion,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// A folder of a bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    folder: Path,
}

/// What became of an object that was to be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It stands with these bytes: now, or before.
    Stands,
    /// Another one stands there.
    Differs,
}

/// The version of an object that was read.
type Read = (Bytes, UpdateVersion);

impl Bucket {
    /// A folder of a store: its names, separated by slashes; none is the whole store.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, folder: &str) -> Self {
        Self { store, folder: Path::from(folder) }
    }

    /// A folder below this one.
    #[must_use]
    pub fn folder(&self, name: &str) -> Self {
        Self { store: Arc::clone(&self.store), folder: self.folder.clone().join(name) }
    }

    fn path(&self, path: &str) -> Path {
        path.split('/').fold(self.folder.clone(), |folder, name| folder.join(name))
    }

    /// Creates an object if none stands there. After a request whose outcome is not known the same
    /// is asked again: what stands then is held against these bytes, so that it comes to one of two
    /// answers whoever wrote it.
    ///
    /// # Errors
    /// [`Error`]; the object may stand or not, and an answer to a request that was given up may make
    /// it later.
    pub async fn create(&self, path: &str, bytes: &Bytes) -> Result<Created, Error> {
        for _ in 0..CONFLICTS_MAX {
            if self.put(path, bytes, PutMode::Create).await? {
                return Ok(Created::Stands);
            }
            match self.get(path, bytes.len() as u64).await {
                Ok(Some(stands)) if stands == bytes => return Ok(Created::Stands),
                Ok(Some(_)) | Err(Error::TooLarge { .. }) => return Ok(Created::Differs),
                // Taken away since, or about to be decided (S3 says 409 Conflict then).
                Ok(None) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Contended)
    }

    /// Puts bytes in the place of the version that stands, unless that is to stay. A request that was
    /// given up changes nothing once another one was applied.
    ///
    /// # Errors
    /// [`Error`]; it may be replaced or not.
    pub async fn replace(
        &self,
        path: &str,
        bytes: &Bytes,
        limit: u64,
        stays: impl Fn(&[u8]) -> bool,
    ) -> Result<(), Error> {
        for _ in 0..CONFLICTS_MAX {
            let mode = match self.read(path, limit).await? {
                Some((stands, _)) if stands == bytes || stays(&stands) => return Ok(()),
                Some((_, version)) => PutMode::Update(version),
                None => PutMode::Create,
            };
            if self.put(path, bytes, mode).await? {
                return Ok(());
            }
        }
        Err(Error::Contended)
    }

    /// Puts an object, in the place of any that stands.
    ///
    /// # Errors
    /// [`Error`]; it may stand or not.
    pub async fn overwrite(&self, path: &str, bytes: &Bytes) -> Result<(), Error> {
        self.put(path, bytes, PutMode::Overwrite).await.map(|_| ())
    }

    /// Bytes of an object; none if it does not stand.
    ///
    /// # Errors
    /// [`Error::TooLarge`] above `limit` bytes, or what the bucket says.
    pub async fn get(&self, path: &str, limit: u64) -> Result<Option<Bytes>, Error> {
        Ok(self.read(path, limit).await?.map(|(bytes, _)| bytes))
    }

    /// Takes objects away; absent ones are fine.
    ///
    /// # Errors
    /// The first [`Error`]; the others may be gone or not.
    pub async fn remove(&self, paths: &[String]) -> Result<(), (String, Error)> {
        let paths = stream::iter(paths.to_vec()).map(Ok);
        let removed = paths.try_for_each_concurrent(REMOVALS, |path| async move {
            let removed = self.tried(0, || self.remove_once(&path)).await;
            removed.map_err(|error| (path, error))
        });
        removed.await
    }

    /// Names of the objects directly in a folder, sorted.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if there are more than [`LISTED_MAX`] below it, or what the bucket says.
    pub async fn list(&self, folder: &str) -> Result<Vec<String>, Error> {
        let folder = self.path(folder);
        self.tried(0, || self.list_once(&folder)).await
    }

    /// True if it was put; false if the mode's condition does not hold.
    async fn put(&self, path: &str, bytes: &Bytes, mode: PutMode) -> Result<bool, Error> {
        let path = self.path(path);
        let once = || async {
            let payload = PutPayload::from_bytes(bytes.clone());
            match self.store.put_opts(&path, payload, mode.clone().into()).await {
                Ok(_) => Ok(true),
                Err(Met::AlreadyExists { .. } | Met::Precondition { .. }) => Ok(false),
                Err(error) => Err(error.into()),
            }
        };
        self.tried(bytes.len() as u64, once).await
    }

    async fn read(&self, path: &str, limit: u64) -> Result<Option<Read>, Error> {
        let path = self.path(path);
        self.tried(limit, || self.read_once(&path, limit)).await
    }

    async fn read_once(&self, path: &Path, limit: u64) -> Result<Option<Read>, Error> {
        let answer = match self.store.get_opts(path, GetOptions::default()).await {
            Ok(answer) => answer,
            Err(Met::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if answer.meta.size > limit {
            return Err(Error::TooLarge { limit });
        }
        let e_tag = answer.meta.e_tag.clone();
        let version = UpdateVersion { e_tag, version: answer.meta.version.clone() };
        Ok(Some((answer.bytes().await?, version)))
    }

    async fn remove_once(&self, path: &str) -> Result<(), Error> {
        match self.store.delete(&self.path(path)).await {
            Ok(()) | Err(Met::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn list_once(&self, folder: &Path) -> Result<Vec<String>, Error> {
        let (mut names, mut seen) = (Vec::new(), 0);
        let mut objects = self.store.list(Some(folder));
        while let Some(object) = objects.try_next().await? {
            seen += 1;
            if seen > LISTED_MAX {
                return Err(Error::TooLarge { limit: LISTED_MAX as u64 });
            }
            let Some(mut below) = object.location.prefix_match(folder) else { continue };
            if let (Some(name), None) = (below.next(), below.next()) {
                names.push(name.as_ref().to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Asks until there is an answer, or a refusal, or the tries are over.
    async fn tried<T, F: Future<Output = Result<T, Error>>>(
        &self,
        bytes: u64,
        mut once: impl FnMut() -> F,
    ) -> Result<T, Error> {
        let mib = u32::try_from(bytes >> 20).unwrap_or(u32::MAX);
        let limit = TRY_TIMEOUT + TRY_TIMEOUT_PER_MIB * mib;
        let mut rest = RETRY_REST;
        for _ in 1..TRIES_MAX {
            match timeout(limit, once()).await.unwrap_or(Err(Error::Timeout)) {
                Err(error) if error.is_retryable() => {
                    tracing::warn!(%error, "a request to the bucket is tried again");
                }
                answer => return answer,
            }
            sleep(rest).await;
            rest = rest.saturating_mul(2).min(Duration::from_secs(5));
        }
        timeout(limit, once()).await.unwrap_or(Err(Error::Timeout))
    }
}

#[cfg(test)]
mod tests;
