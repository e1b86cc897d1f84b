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

use super::limits::UPLOADS_PAGE;

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
        let stands = self.row(&name).await?;
        let waits = |upload: &Upload| upload.taken.is_none() && !upload.doomed;
        if stands.as_ref().is_some_and(|(_, upload)| waits(upload)) {
            return Ok(false);
        }
        let count = bytes.len() as u64;
        self.ports.media.put(slot, self.key(slot).await?.ok_or_else(missing)?, bytes).await?;
        let at = self.ports.clock.now();
        let upload = Upload { slot, bytes: count, at, taken: None, doomed: false };
        let expected = stands.map(|(row, _)| row);
        let kept = self.register.swap(name, expected, Some(encode(&upload)?)).await?;
        if !kept {
            // The same bytes came a second time meanwhile, and stand.
            self.destroy(slot).await?;
        }
        Ok(true)
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
