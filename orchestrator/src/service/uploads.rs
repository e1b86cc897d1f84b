//! Media that was uploaded and waits for the contribution that names it: a blob under a data key of
//! its own, and a row of the register that says whose it is. The first contribution that names it
//! takes the blob over, key and all; what nobody names in time is destroyed.

use crate::service::problem::{Code, Problem};
use gristmill_actors::engine::Ports;
use gristmill_actors::ports::StoreError;
use gristmill_actors::register::Register;
use gristmill_workflows::codec::{Record, decode, encode};
use gristmill_workflows::entry::DataKey;
use gristmill_workflows::id::{ContributionId, ContributorKey, hex};
use gristmill_workflows::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::limits::{UPLOAD_SWAPS_MAX, UPLOADS_PAGE};

const PREFIX: &str = "upload/";

/// An upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// The slot of its data key.
    pub slot: u64,
    /// How many bytes.
    pub bytes: u64,
    /// When it came, or was last named.
    pub at: Timestamp,
    /// The contribution that took it over.
    pub taken: Option<ContributionId>,
    /// It is being destroyed, and can no longer be named.
    pub doomed: bool,
}

impl Record for Upload {
    const SCHEMA: u8 = 54;
    const VERSION: u8 = 1;
}

/// Media for a contribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// The contribution takes the upload's own slot over.
    Own {
        /// Which.
        slot: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// Another contribution has it: this one gets a copy in a slot of its own.
    Copy {
        /// The other's slot.
        from: u64,
        /// How many bytes.
        bytes: u64,
    },
}

/// All uploads.
pub struct Uploads {
    register: Arc<dyn Register>,
    ports: Ports,
}

impl std::fmt::Debug for Uploads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Uploads")
    }
}

fn name(whose: ContributorKey, sha256: &[u8; 32]) -> String {
    format!("{PREFIX}{}/{}", hex(&whose.0), hex(sha256))
}

fn missing() -> Problem {
    let detail = "no upload of this contributor has this hash";
    Problem::field(Code::MediaMissing, "media.sha256", detail)
}

impl Uploads {
    /// Over a register and the media store.
    #[must_use]
    pub fn new(register: Arc<dyn Register>, ports: Ports) -> Self {
        Self { register, ports }
    }

    async fn row(&self, name: &str) -> Result<Option<(Vec<u8>, Upload)>, Problem> {
        let row = self.register.get(name.to_owned()).await?;
        Ok(row.map(|row| decode(&row).map(|upload| (row, upload))).transpose()?)
    }

    /// Keeps uploaded bytes in a slot. True if they wait there now; false if the same bytes of the
    /// same person wait already, and the slot was not used.
    ///
    /// # Errors
    /// A [`Problem`] when they are not durable.
    pub async fn keep(
        &self,
        whose: ContributorKey,
        sha256: &[u8; 32],
        bytes: Vec<u8>,
        slot: u64,
    ) -> Result<bool, Problem> {
        let name = name(whose, sha256);
        let mut stands = self.row(&name).await?;
        let waits = |row: &Option<(Vec<u8>, Upload)>| {
            row.as_ref().is_some_and(|(_, upload)| upload.taken.is_none() && !upload.doomed)
        };
        if waits(&stands) {
            return Ok(false);
        }
        let count = bytes.len() as u64;
        let key = self.key(slot).await?.ok_or_else(|| {
            Problem::new(Code::Internal, "the data key that was just made is gone")
        })?;
        self.ports.media.put(slot, key, bytes).await?;
        let at = self.ports.clock.now();
        let upload = encode(&Upload { slot, bytes: count, at, taken: None, doomed: false })?;
        for _ in 0..UPLOAD_SWAPS_MAX {
            let expected = stands.map(|(row, _)| row);
            if self.register.swap(name.clone(), expected, Some(upload.clone())).await? {
                return Ok(true);
            }
            stands = match self.row(&name).await {
                Ok(stands) => stands,
                Err(problem) => {
                    self.destroy(slot).await?;
                    return Err(problem);
                }
            };
            if stands.as_ref().is_some_and(|(_, upload)| upload.slot == slot) {
                // The answer to an earlier try of this very swap was lost.
                return Ok(true);
            }
            if waits(&stands) {
                // The same bytes came a second time meanwhile, and stand.
                self.destroy(slot).await?;
                return Ok(true);
            }
        }
        // Others change the row all the time. What was put is destroyed, and nothing was promised.
        self.destroy(slot).await?;
        Err(Problem::new(Code::Busy, "the same bytes are handed in and taken at once, try again"))
    }

    async fn key(&self, slot: u64) -> Result<Option<DataKey>, StoreError> {
        Ok(self.ports.keys.keys(vec![slot]).await?.into_iter().next().flatten())
    }

    async fn destroy(&self, slot: u64) -> Result<(), Problem> {
        self.ports.keys.destroy(vec![slot]).await?;
        self.ports.media.remove(vec![slot]).await?;
        Ok(())
    }

    /// Destroys an upload that nobody can name any more. Its row goes last: after a crash the next
    /// sweep destroys again.
    async fn doom(&self, name: String, row: Vec<u8>, upload: Upload) -> Result<(), Problem> {
        let slot = upload.slot;
        let doomed = encode(&Upload { doomed: true, ..upload })?;
        let swapped = self.register.swap(name.clone(), Some(row), Some(doomed.clone())).await?;
        if swapped {
            self.destroy(slot).await?;
            // Another upload of the same bytes may stand there by now.
            self.register.swap(name, Some(doomed), None).await?;
        }
        Ok(())
    }

    /// The media that a contribution names. From then on it is the contribution's.
    ///
    /// # Errors
    /// A [`Problem`] when this person uploaded no such bytes.
    pub async fn take(
        &self,
        whose: ContributorKey,
        sha256: &[u8; 32],
        id: ContributionId,
    ) -> Result<Media, Problem> {
        let name = name(whose, sha256);
        loop {
            let (row, upload) = self.row(&name).await?.ok_or_else(missing)?;
            let Upload { slot, bytes, taken, doomed, .. } = upload;
            if doomed {
                return Err(missing());
            }
            if taken.is_some_and(|other| other != id) {
                return Ok(Media::Copy { from: slot, bytes });
            }
            let at = self.ports.clock.now();
            let new = encode(&Upload { at, taken: Some(id), ..upload })?;
            if self.register.swap(name.clone(), Some(row), Some(new)).await? {
                return Ok(Media::Own { slot, bytes });
            }
        }
    }

    /// Copies a blob into another slot, if its own key was not destroyed.
    ///
    /// # Errors
    /// A [`Problem`] when there is nothing to copy any more.
    pub async fn copy(&self, from: u64, to: u64) -> Result<(), Problem> {
        let source = self.key(from).await?.ok_or_else(missing)?;
        let bytes = self.ports.media.get(from, source).await?.ok_or_else(missing)?;
        let key = self.key(to).await?.ok_or_else(missing)?;
        self.ports.media.put(to, key, bytes).await?;
        Ok(())
    }

    /// Destroys what one person uploaded and no contribution took over.
    ///
    /// # Errors
    /// A [`Problem`]; what is left is destroyed when its time is over.
    pub async fn forget(&self, whose: ContributorKey) -> Result<(), Problem> {
        let prefix = format!("{PREFIX}{}/", hex(&whose.0));
        let mut after = None;
        loop {
            let rows = self.register.scan(prefix.clone(), after, UPLOADS_PAGE).await?;
            after = rows.last().map(|(name, _)| name.clone());
            for (name, row) in rows {
                let upload: Upload = decode(&row)?;
                if upload.taken.is_none() {
                    self.doom(name, row, upload).await?;
                }
            }
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Takes away rows that came before a moment, and destroys what no contribution took over.
    ///
    /// # Errors
    /// A [`Problem`]; the next sweep goes on.
    pub async fn sweep(&self, before: Timestamp) -> Result<(), Problem> {
        let mut after = None;
        loop {
            let rows = self.register.scan(PREFIX.to_owned(), after, UPLOADS_PAGE).await?;
            after = rows.last().map(|(name, _)| name.clone());
            for (name, row) in rows {
                let upload: Upload = decode(&row)?;
                if upload.at >= before && !upload.doomed {
                    continue;
                }
                match upload.taken {
                    Some(id) if self.is_handed_in(id).await? => {
                        self.register.swap(name, Some(row), None).await?;
                    }
                    _ => self.doom(name, row, upload).await?,
                }
            }
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn is_handed_in(&self, id: ContributionId) -> Result<bool, StoreError> {
        let store = &self.ports.store;
        let found = store.find(id.bucket.shard(store.shards()), vec![id.mac]).await?;
        Ok(found.into_iter().flatten().next().is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_actors::rail::BoxFuture;
    use gristmill_actors::register::Row;
    use gristmill_testkit::memory_keys::MemoryKeys;
    use gristmill_testkit::memory_media::MemoryMedia;
    use gristmill_testkit::memory_register::MemoryRegister;
    use gristmill_testkit::memory_store::{MemoryStore, Shape};
    use gristmill_testkit::virtual_clock::VirtualClock;
    use gristmill_workflows::id::{IdKey, ShardId};
    use std::sync::atomic::{AtomicBool, Ordering};

    const BYTES: &[u8] = b"a voice";
    const SHA256: [u8; 32] = [7; 32];

    /// A register in which somebody takes a row away at the last moment, when armed.
    struct Sweeping {
        rows: MemoryRegister,
        armed: AtomicBool,
    }

    impl Register for Sweeping {
        fn get(&self, name: String) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>> {
            self.rows.get(name)
        }

        fn swap(
            &self,
            name: String,
            expected: Option<Vec<u8>>,
            new: Option<Vec<u8>>,
        ) -> BoxFuture<'_, Result<bool, StoreError>> {
            Box::pin(async move {
                if self.armed.swap(false, Ordering::Relaxed) {
                    let stands = self.rows.get(name.clone()).await?;
                    self.rows.swap(name.clone(), stands, None).await?;
                }
                self.rows.swap(name, expected, new).await
            })
        }

        fn scan(
            &self,
            prefix: String,
            after: Option<String>,
            limit: usize,
        ) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
            self.rows.scan(prefix, after, limit)
        }
    }

    #[tokio::test]
    async fn an_upload_stands_although_the_row_of_an_older_one_is_swept_meanwhile() {
        let store = Arc::new(MemoryStore::new(Shape::default()));
        let keys = Arc::new(MemoryKeys::new([1; 32]));
        let ports = Ports {
            store: store.clone(),
            content: store,
            keys: keys.clone(),
            media: Arc::new(MemoryMedia::new()),
            clock: Arc::new(VirtualClock::new(1)),
            readers: None,
        };
        let register =
            Arc::new(Sweeping { rows: MemoryRegister::default(), armed: AtomicBool::new(false) });
        let uploads = Uploads::new(register.clone(), ports.clone());
        let key = IdKey::new([2; 32]);
        let (whose, id) = (key.contributor("ana"), key.contribution("ana", "1"));
        let slots = ports.keys.allocate(ShardId(0), 2).await.unwrap();
        assert!(uploads.keep(whose, &SHA256, BYTES.to_vec(), slots[0]).await.unwrap());
        assert_eq!(
            uploads.take(whose, &SHA256, id).await.unwrap(),
            Media::Own { slot: slots[0], bytes: 7 }
        );
        register.armed.store(true, Ordering::Relaxed);
        assert!(uploads.keep(whose, &SHA256, BYTES.to_vec(), slots[1]).await.unwrap());
        let other = key.contribution("ana", "2");
        let own = Media::Own { slot: slots[1], bytes: 7 };
        assert_eq!(uploads.take(whose, &SHA256, other).await.unwrap(), own);
        assert!(ports.keys.keys(vec![slots[1]]).await.unwrap()[0].is_some());
    }
}
