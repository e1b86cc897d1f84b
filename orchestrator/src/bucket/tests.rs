//! The bucket over an object store in memory, whole and with faults.

use super::*;
use crate::log_bucket::LogBucket;
use gristmill_actors::ports::{LogError, LogStore};
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions,
    PutOptions, PutResult,
};
use std::sync::atomic::{AtomicU32, Ordering};

/// What a service does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Puts without looking at conditions.
    Unconditional,
    /// Applies the put and answers nothing.
    ReplyLost,
    /// Answers nothing and applies nothing.
    Silent,
    /// Fails with an error of the server.
    Failing,
    /// Refuses the credentials.
    Denied,
}

/// A store of which the first requests go wrong.
#[derive(Debug)]
struct Faulty {
    inner: InMemory,
    fault: Fault,
    left: AtomicU32,
}

impl std::fmt::Display for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

type Answer<'a, T> = futures_util::future::BoxFuture<'a, object_store::Result<T>>;

impl ObjectStore for Faulty {
    fn put_opts<'own, 'path, 'answer>(
        &'own self,
        path: &'path Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> Answer<'answer, PutResult>
    where
        'own: 'answer,
        'path: 'answer,
        Self: 'answer,
    {
        Box::pin(async move {
            let left = |left: u32| left.checked_sub(1);
            if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_err() {
                return self.inner.put_opts(path, payload, options).await;
            }
            match self.fault {
                Fault::Unconditional => options.mode = PutMode::Overwrite,
                Fault::ReplyLost => {
                    self.inner.put_opts(path, payload, options).await?;
                    return std::future::pending().await;
                }
                Fault::Silent => return std::future::pending().await,
                Fault::Failing => {
                    return Err(Met::Generic { store: "S3", source: "answered 500".into() });
                }
                Fault::Denied => {
                    let (path, source) = (path.to_string(), "answered 403".into());
                    return Err(Met::PermissionDenied { path, source });
                }
            }
            self.inner.put_opts(path, payload, options).await
        })
    }

    fn put_multipart_opts<'own, 'path, 'answer>(
        &'own self,
        path: &'path Path,
        options: PutMultipartOptions,
    ) -> Answer<'answer, Box<dyn MultipartUpload>>
    where
        'own: 'answer,
        'path: 'answer,
        Self: 'answer,
    {
        self.inner.put_multipart_opts(path, options)
    }

    fn get_opts<'own, 'path, 'answer>(
        &'own self,
        path: &'path Path,
        options: GetOptions,
    ) -> Answer<'answer, GetResult>
    where
        'own: 'answer,
        'path: 'answer,
        Self: 'answer,
    {
        self.inner.get_opts(path, options)
    }

    fn delete_stream(
        &self,
        paths: stream::BoxStream<'static, object_store::Result<Path>>,
    ) -> stream::BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(
        &self,
        prefix: Option<&Path>,
    ) -> stream::BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_delimiter<'own, 'path, 'answer>(
        &'own self,
        prefix: Option<&'path Path>,
    ) -> Answer<'answer, ListResult>
    where
        'own: 'answer,
        'path: 'answer,
        Self: 'answer,
    {
        self.inner.list_with_delimiter(prefix)
    }

    fn copy_opts<'own, 'from, 'to, 'answer>(
        &'own self,
        from: &'from Path,
        to: &'to Path,
        options: CopyOptions,
    ) -> Answer<'answer, ()>
    where
        'own: 'answer,
        'from: 'answer,
        'to: 'answer,
        Self: 'answer,
    {
        self.inner.copy_opts(from, to, options)
    }
}

fn faulty(fault: Fault, times: u32) -> Bucket {
    let store = Faulty { inner: InMemory::new(), fault, left: times.into() };
    Bucket::new(Arc::new(store), "town/trace")
}

fn object(text: &str) -> gristmill_actors::ports::Object {
    ("sequenced/00".to_owned(), text.as_bytes().to_vec())
}

#[tokio::test(start_paused = true)]
async fn a_creation_whose_answer_is_lost_is_told_by_what_stands() {
    for fault in [Fault::ReplyLost, Fault::Silent, Fault::Failing] {
        for times in 1..TRIES_MAX {
            let log = LogBucket::new(faulty(fault, times));
            assert_eq!(log.create(vec![object("a")]).await, Ok(()), "{fault:?} {times}");
            let differs = log.create(vec![object("b")]).await;
            assert_eq!(differs, Err(LogError::Differs { path: object("b").0 }));
            assert_eq!(log.read(object("a").0).await, Ok(Some(b"a".to_vec())));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_replacement_whose_answer_is_lost_is_made_once() {
    for fault in [Fault::ReplyLost, Fault::Silent, Fault::Failing] {
        let log = LogBucket::new(faulty(fault, 2));
        let note = |text: &str| ("checkpoint".to_owned(), text.as_bytes().to_vec());
        for text in ["a", "bb", "c"] {
            assert_eq!(log.replace(note(text)).await, Ok(()), "{fault:?}");
            assert_eq!(log.read(note("").0).await, Ok(Some(note(text).1)), "{fault:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_does_not_answer_is_given_up_and_one_that_refuses_at_once() {
    let silent = faulty(Fault::Silent, u32::MAX).create("a", &Bytes::new()).await;
    assert_eq!(silent, Err(Error::Timeout));
    let failing = faulty(Fault::Failing, u32::MAX).create("a", &Bytes::new()).await;
    assert!(matches!(failing, Err(Error::Service { retryable: true, .. })), "{failing:?}");
    let denied = faulty(Fault::Denied, 1);
    assert_eq!(denied.create("a", &Bytes::new()).await, Err(Error::Denied));
    assert_eq!(denied.create("a", &Bytes::new()).await, Ok(Created::Stands), "asked once");
}

#[tokio::test]
async fn a_bucket_that_does_not_honour_conditions_is_refused() {
    let whole = Bucket::new(Arc::new(InMemory::new()), "a");
    assert_eq!(whole.probe().await, Ok(()));
    assert_eq!(whole.list(".probe").await, Ok(Vec::new()), "nothing of the probe stays");
    let loose = faulty(Fault::Unconditional, u32::MAX);
    assert_eq!(loose.probe().await, Err(Unfit::Creates));
    assert!(loose.probe().await.unwrap_err().to_string().contains("If-None-Match"));
}

#[tokio::test]
async fn an_object_larger_than_allowed_is_refused() {
    let bucket = Bucket::new(Arc::new(InMemory::new()), "");
    bucket.overwrite("a", &Bytes::from_static(b"1234")).await.unwrap();
    assert_eq!(bucket.get("a", 3).await, Err(Error::TooLarge { limit: 3 }));
    assert_eq!(bucket.get("a", 4).await, Ok(Some(Bytes::from_static(b"1234"))));
}
