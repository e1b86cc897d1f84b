//! The log's objects in a bucket.

use crate::bucket::{Bucket, Created, Error};
use crate::durable_files::limits::OBJECT_BYTES_MAX;
use crate::log_files::is_object_path;
use gristmill_actors::ports::{LogError, LogStore, Object};
use gristmill_actors::rail::BoxFuture;
use gristmill_trace::checkpoint::is_behind;
use hyper::body::Bytes;

/// A folder of objects in a bucket.
///
/// `create` gives one object after the other, so that a later one never stands alone. A creation is
/// conditional (`If-None-Match: *`); one whose outcome is not known is asked again, and what stands
/// then decides. What is durable is what the bucket acknowledges.
#[derive(Debug, Clone)]
pub struct LogBucket(Bucket);

impl LogBucket {
    /// The log in this folder.
    #[must_use]
    pub const fn new(folder: Bucket) -> Self {
        Self(folder)
    }
}

fn failed(path: &str, error: &Error) -> LogError {
    LogError::Failed { path: path.to_owned(), detail: error.to_string(), full: false }
}

fn check(path: &str) -> Result<(), LogError> {
    if is_object_path(path) {
        return Ok(());
    }
    let detail = "not a path of the log".to_owned();
    Err(LogError::Failed { path: path.to_owned(), detail, full: false })
}

impl LogStore for LogBucket {
    fn create(&self, objects: Vec<Object>) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            objects.iter().try_for_each(|(path, _)| check(path))?;
            for (path, bytes) in objects {
                match self.0.create(&path, &bytes.into()).await {
                    Ok(Created::Stands) => {}
                    Ok(Created::Differs) => return Err(LogError::Differs { path }),
                    Err(error) => return Err(failed(&path, &error)),
                }
            }
            Ok(())
        })
    }

    fn replace(&self, (path, bytes): Object) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            check(&path)?;
            let bytes = Bytes::from(bytes);
            let stays = |stands: &[u8]| is_behind(&bytes, stands);
            let replaced = self.0.replace(&path, &bytes, OBJECT_BYTES_MAX, stays).await;
            replaced.map_err(|error| failed(&path, &error))
        })
    }

    fn read(&self, path: String) -> BoxFuture<'_, Result<Option<Vec<u8>>, LogError>> {
        Box::pin(async move {
            check(&path)?;
            let read = self.0.get(&path, OBJECT_BYTES_MAX).await;
            read.map(|bytes| bytes.map(Vec::from)).map_err(|error| failed(&path, &error))
        })
    }

    fn list(&self, folder: String) -> BoxFuture<'_, Result<Vec<String>, LogError>> {
        Box::pin(async move {
            check(&folder)?;
            let names = self.0.list(&folder).await.map_err(|error| failed(&folder, &error))?;
            Ok(names.into_iter().map(|name| format!("{folder}/{name}")).collect())
        })
    }

    fn remove(&self, paths: Vec<String>) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            paths.iter().try_for_each(|path| check(path))?;
            self.0.remove(&paths).await.map_err(|(path, error)| failed(&path, &error))
        })
    }
}
