//! Data keys, blobs and the log's objects as a process of the simulation sees them.

use super::wire::{Apply, Wire, at_once};
use gristmill_actors::ports::{
    KeyStore, LogError, LogStore, MediaError, MediaStore, Object, StoreError,
};
use gristmill_actors::rail::BoxFuture;
use gristmill_workflows::entry::DataKey;
use gristmill_workflows::id::ShardId;
use std::sync::Arc;

impl KeyStore for Wire {
    fn allocate(
        &self,
        shard: ShardId,
        count: usize,
    ) -> BoxFuture<'_, Result<Vec<u64>, StoreError>> {
        let keys = self.sim.keys.clone();
        let apply: Apply<Vec<u64>> = Arc::new(move || at_once(keys.allocate(shard, count)));
        Box::pin(async move { self.write("allocate", None, apply).await })
    }

    fn keys(&self, slots: Vec<u64>) -> BoxFuture<'_, Result<Vec<Option<DataKey>>, StoreError>> {
        let keys = self.sim.keys.clone();
        Box::pin(async move { self.read("keys", || at_once(keys.keys(slots))).await })
    }

    fn destroy(&self, slots: Vec<u64>) -> BoxFuture<'_, Result<(), StoreError>> {
        let keys = self.sim.keys.clone();
        let apply: Apply<()> = Arc::new(move || at_once(keys.destroy(slots.clone())));
        Box::pin(async move { self.write("destroy", None, apply).await })
    }
}

impl MediaStore for Wire {
    fn put(
        &self,
        slot: u64,
        key: DataKey,
        bytes: Vec<u8>,
    ) -> BoxFuture<'_, Result<(), MediaError>> {
        Box::pin(async move {
            self.travel().await;
            let put = at_once(self.sim.media.put(slot, key, bytes));
            self.travel().await;
            put
        })
    }

    fn get(&self, slot: u64, key: DataKey) -> BoxFuture<'_, Result<Option<Vec<u8>>, MediaError>> {
        Box::pin(async move {
            self.travel().await;
            let got = at_once(self.sim.media.get(slot, key));
            self.travel().await;
            got
        })
    }

    fn remove(&self, slots: Vec<u64>) -> BoxFuture<'_, Result<(), MediaError>> {
        Box::pin(async move {
            self.travel().await;
            let removed = at_once(self.sim.media.remove(slots));
            self.travel().await;
            removed
        })
    }
}

impl Wire {
    /// Whether this write of the log fails, and whether it is applied all the same.
    fn log_fault(&self) -> Option<bool> {
        if self.sim.is_calm() || !self.sim.chance.hits(self.sim.plan.log_failed) {
            return None;
        }
        let persisted = self.sim.chance.hits(5_000);
        let word = if persisted { "log failed but persisted" } else { "log failed" };
        self.sim.journal.fault(word);
        Some(persisted)
    }

    fn log_failed<T>(&self, path: &str) -> Result<T, LogError> {
        let (path, detail) = (path.to_owned(), "simulated".to_owned());
        self.sim.journal.note(format_args!("{} fails at {path}", self.process.name));
        Err(LogError::Failed { path, detail, full: false })
    }

    async fn create_one(&self, object: Object) -> Result<(), LogError> {
        let path = object.0.clone();
        let fault = self.log_fault();
        if fault == Some(false) {
            return self.log_failed(&path);
        }
        let sequenced = path.starts_with("sequenced/").then(|| object.1.clone());
        let created = at_once(self.sim.log.create(vec![object]));
        let word = if created.is_ok() { "stands" } else { "differs" };
        self.sim.journal.note(format_args!("{} creates {path}: {word}", self.process.name));
        if sequenced.is_some() {
            let word = if created.is_ok() { "created" } else { "another was first" };
            self.sim.journal.transition(format!("sequencer: {word}"));
        }
        if let (Ok(()), Some(bytes)) = (&created, sequenced) {
            self.sim.witness.sequenced(&bytes, &self.sim.journal);
        }
        if created.is_ok() && path.starts_with("checkpoints/") {
            self.sim.witness.checkpoint(&path, &self.sim.log, &self.sim.journal);
        }
        if fault == Some(true) {
            return self.log_failed(&path);
        }
        created
    }
}

impl LogStore for Wire {
    fn create(&self, objects: Vec<Object>) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            let piecemeal = self.sim.chance.hits(1_500);
            self.travel().await;
            for object in objects {
                if piecemeal {
                    self.travel().await;
                }
                self.create_one(object).await?;
            }
            self.travel().await;
            Ok(())
        })
    }

    fn replace(&self, object: Object) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            self.travel().await;
            let path = object.0.clone();
            let fault = self.log_fault();
            if fault == Some(false) {
                return self.log_failed(&path);
            }
            let note = object.1.clone();
            let replaced = at_once(self.sim.log.replace(object));
            self.sim.journal.note(format_args!("{} replaces {path}", self.process.name));
            if self.sim.log.holds(&path, &note) {
                self.sim.witness.shown(&note, &self.sim.log, &self.sim.journal);
            }
            self.travel().await;
            if fault == Some(true) {
                return self.log_failed(&path);
            }
            replaced
        })
    }

    fn read(&self, path: String) -> BoxFuture<'_, Result<Option<Vec<u8>>, LogError>> {
        Box::pin(async move {
            self.process.gate().await;
            at_once(self.sim.log.read(path))
        })
    }

    fn list(&self, folder: String) -> BoxFuture<'_, Result<Vec<String>, LogError>> {
        Box::pin(async move {
            self.process.gate().await;
            at_once(self.sim.log.list(folder))
        })
    }

    fn remove(&self, paths: Vec<String>) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            self.travel().await;
            if paths.iter().any(|path| path.starts_with("sequenced/")) {
                self.sim.journal.transition("sequencer: taken away".to_owned());
            }
            at_once(self.sim.log.remove(paths))
        })
    }
}
