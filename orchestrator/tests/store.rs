//! The embedded store keeps the contracts of its ports, survives SIGKILL, and refuses damage.
#![cfg(test)]

#[path = "store/damage.rs"]
mod damage;
#[path = "store/groups.rs"]
mod groups;
#[path = "store/kill.rs"]
mod kill;

use gristmill::embedded_store::{EmbeddedStore, Options};
use gristmill_actors::rail::BoxFuture;
use gristmill_testkit::register_conformance;
use gristmill_testkit::store_conformance::{self, Maker, Shape};
use std::sync::Mutex;
use tempfile::TempDir;

/// Each store has a directory of its own; the one made last can be reopened.
#[derive(Default)]
struct Directories(Mutex<Vec<TempDir>>);

fn open(dir: &TempDir, shape: Shape) -> EmbeddedStore {
    let options = Options { shards: shape.shards, intake_max: shape.intake_high_water as u64 };
    EmbeddedStore::open(dir.path(), options).unwrap()
}

impl Maker<EmbeddedStore> for Directories {
    fn make(&self, shape: Shape) -> BoxFuture<'_, EmbeddedStore> {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir, shape);
        self.0.lock().unwrap().push(dir);
        Box::pin(async { store })
    }

    fn reopen(&self, store: EmbeddedStore) -> BoxFuture<'_, Option<EmbeddedStore>> {
        drop(store);
        let store = open(self.0.lock().unwrap().last().unwrap(), Shape::default());
        Box::pin(async { Some(store) })
    }
}

#[tokio::test]
async fn the_embedded_store_keeps_the_contract_of_shards() {
    store_conformance::run(&Directories::default()).await;
}

#[tokio::test]
async fn the_embedded_store_keeps_the_contract_of_the_content_index() {
    store_conformance::run_content_index(&Directories::default()).await;
}

#[tokio::test]
async fn the_embedded_store_keeps_the_contract_of_the_register() {
    let maker = Directories::default();
    let make = async || maker.make(Shape::default()).await;
    register_conformance::run(&make, async |store| maker.reopen(store).await.unwrap()).await;
}
