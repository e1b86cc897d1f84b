//! The log as published: entries, proofs and receipts under one checkpoint.

use super::limits::VIEW_CACHE_BYTES;
use super::objects::Loaded;
use super::{Error, Published};
use crate::ports::LogStore;
use gristmill_trace::checkpoint::Checkpoint;
use gristmill_trace::hash::Hash;
use gristmill_trace::limits::TILE_WIDTH;
use gristmill_trace::reader::{TileReader, fetch_bundle};
use gristmill_trace::receipt::Receipt;
use gristmill_trace::tile::{Kind, Tile};
use std::sync::Arc;

/// The log as published at one checkpoint, read through the store alone.
///
/// It stays usable while the log grows, for as many checkpoints as
/// [`CHECKPOINTS_KEPT`](super::limits::CHECKPOINTS_KEPT); a tile missing after that
/// ([`Error::Tile`]) means: take a newer view. A clone shares nothing but the store.
#[derive(Clone)]
pub struct View {
    store: Arc<dyn LogStore>,
    checkpoint: Checkpoint,
    note: Arc<str>,
    loaded: Loaded,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("checkpoint", &self.checkpoint).finish_non_exhaustive()
    }
}

impl View {
    pub(super) fn new(store: Arc<dyn LogStore>, checkpoint: Checkpoint, note: Arc<str>) -> Self {
        Self { store, checkpoint, note, loaded: Loaded::default() }
    }

    pub(super) const fn published(&self) -> Published {
        Published { size: self.checkpoint.size, root: self.checkpoint.root }
    }

    /// Entries in the log.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.checkpoint.size
    }

    /// The root over them.
    #[must_use]
    pub const fn root(&self) -> Hash {
        self.checkpoint.root
    }

    /// The checkpoint itself.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The signed checkpoint, verbatim.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.note
    }

    /// Entries from `index` on, to the end of their bundle; one to 256 of them.
    ///
    /// # Errors
    /// [`Error::Index`] beyond the log, [`Error::Tile`] when the bundle cannot be used.
    pub async fn entries(&mut self, index: u64) -> Result<Vec<Vec<u8>>, Error> {
        let size = self.size();
        let position = index % TILE_WIDTH as u64;
        let tile = Tile::in_log(Kind::Entries, index / TILE_WIDTH as u64, size);
        let Some(tile) = tile.filter(|_| index < size) else {
            return Err(Error::Index { index, size });
        };
        self.loaded.shrink(VIEW_CACHE_BYTES);
        self.loaded
            .ask(&*self.store, |fetch| {
                let bundle = fetch_bundle(fetch, tile)?;
                let entries = bundle.entries().into_iter().skip(position as usize);
                Ok::<_, gristmill_trace::reader::Error>(entries.map(<[u8]>::to_vec).collect())
            })
            .await
    }

    /// The entry at `index`.
    ///
    /// # Errors
    /// As [`View::entries`].
    pub async fn entry(&mut self, index: u64) -> Result<Vec<u8>, Error> {
        let size = self.size();
        let mut entries = self.entries(index).await?.into_iter();
        entries.next().ok_or(Error::Index { index, size })
    }

    /// The inclusion proof of the entry at `index`, leading to [`View::root`].
    ///
    /// # Errors
    /// [`Error::Tile`] beyond the log or when a tile cannot be used.
    pub async fn inclusion(&mut self, index: u64) -> Result<Vec<Hash>, Error> {
        let size = self.size();
        self.loaded.shrink(VIEW_CACHE_BYTES);
        self.loaded.ask(&*self.store, |fetch| TileReader::new(size, fetch).inclusion(index)).await
    }

    /// The receipt of the entry at `index`: proof, checkpoint, and `extra` as it is.
    ///
    /// # Errors
    /// As [`View::inclusion`].
    pub async fn receipt(&mut self, index: u64, extra: Vec<u8>) -> Result<Receipt, Error> {
        let path = self.inclusion(index).await?;
        Ok(Receipt { extra, index, path, checkpoint: self.note().to_owned() })
    }

    /// The root over the first `size` entries.
    ///
    /// # Errors
    /// [`Error::Tile`] beyond the log or when a tile cannot be used.
    pub async fn root_at(&mut self, size: u64) -> Result<Hash, Error> {
        let whole = self.size();
        self.loaded.shrink(VIEW_CACHE_BYTES);
        self.loaded
            .ask(&*self.store, |fetch| {
                let mut reader = TileReader::new(whole, fetch);
                let (mut subtrees, mut start) = (Vec::new(), 0);
                while start < size {
                    let level = (size - start).ilog2() as u8;
                    subtrees.push(reader.node(level, start >> level)?);
                    start += 1 << level;
                }
                let root =
                    subtrees.into_iter().rev().reduce(|right, left| Hash::node(&left, &right));
                Ok::<_, gristmill_trace::reader::Error>(root.unwrap_or(Hash::EMPTY_ROOT))
            })
            .await
    }
}
