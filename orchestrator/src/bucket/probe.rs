//! What a bucket must do before a node trusts it with a log that others write, too.

use super::limits::PROBE_WRITERS;
use super::{Bucket, Created, Error};
use futures_util::future::try_join_all;
use hyper::body::Bytes;
use object_store::PutMode;

/// Why no node can work on a bucket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It could not be tried out.
    #[error(transparent)]
    Failed(#[from] Error),
    /// An object was created where one stood.
    #[error(
        "the bucket does not honour conditional creation (PUT with If-None-Match: *): a second \
         creation of one object succeeded; a log that many nodes write would be lost there"
    )]
    Creates,
    /// Two objects were created in one place, one after the other, since both were asked for at once.
    #[error(
        "the bucket does not honour conditional creation (PUT with If-None-Match: *) when several \
         ask at once: more than one succeeded; a log that many nodes write would be lost there"
    )]
    Races,
    /// An object was replaced by who did not know what stood there.
    #[error(
        "the bucket does not honour conditional replacement (PUT with If-Match and an ETag); a node \
         that slept would put an old checkpoint in a newer's place"
    )]
    Replaces,
    /// Something else is read or listed than was written.
    #[error("the bucket does not give back what was just written to it")]
    Forgets,
}

/// The folder of probe objects.
const FOLDER: &str = ".probe";

impl Bucket {
    /// Creates an object of a fresh name, tries to create and to replace it again as somebody who
    /// must not, reads it back, and takes it away.
    ///
    /// # Errors
    /// [`Unfit`].
    pub async fn probe(&self) -> Result<(), Unfit> {
        let path = format!("{FOLDER}/{}", uuid::Uuid::new_v4().simple());
        let fits = self.fits(&path).await;
        let removed = self.remove(&[path.clone(), format!("{path}-race")]).await;
        fits?;
        removed.map_err(|(_, error)| Unfit::Failed(error))
    }

    /// Of several creations of one object at once only one may succeed.
    async fn decides(&self, path: &str) -> Result<(), Unfit> {
        let writers = (0..PROBE_WRITERS).map(|writer| async move {
            let bytes = Bytes::from(vec![writer]);
            self.put(path, &bytes, PutMode::Create).await
        });
        let created = try_join_all(writers).await?;
        match created.into_iter().filter(|created| *created).count() {
            0 | 1 => Ok(()),
            _ => Err(Unfit::Races),
        }
    }

    async fn fits(&self, path: &str) -> Result<(), Unfit> {
        let (first, second) = (Bytes::from_static(b"first"), Bytes::from_static(b"second"));
        if self.create(path, &first).await? != Created::Stands {
            return Err(Unfit::Forgets);
        }
        if self.put(path, &second, PutMode::Create).await? {
            return Err(Unfit::Creates);
        }
        let Some((stands, version)) = self.read(path, first.len() as u64).await? else {
            return Err(Unfit::Forgets);
        };
        self.decides(&format!("{path}-race")).await?;
        let name = path.rsplit('/').next().unwrap_or_default();
        let listed = self.list(FOLDER).await?.iter().any(|listed| listed == name);
        if stands != first || !listed || version.e_tag.is_none() {
            return Err(Unfit::Forgets);
        }
        if !self.put(path, &second, PutMode::Update(version.clone())).await? {
            return Err(Unfit::Replaces);
        }
        // The version that stood before.
        match self.put(path, &first, PutMode::Update(version)).await? {
            true => Err(Unfit::Replaces),
            false => Ok(()),
        }
    }
}
