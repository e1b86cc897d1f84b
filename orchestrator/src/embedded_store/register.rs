//! The register on the embedded store: rows of the node's own, in the order of their names.

use super::engine::{Space, View};
use super::keys;
use super::writer::Job;
use super::{EmbeddedStore, reads};
use gristmill_actors::limits::{REGISTER_NAME_BYTES_MAX, REGISTER_ROW_BYTES_MAX};
use gristmill_actors::ports::StoreError;
use gristmill_actors::rail::BoxFuture;
use gristmill_actors::register::{Register, Row};
use gristmill_workflows::id::ShardId;

fn check(name: &str, row: Option<&Vec<u8>>) -> Result<(), StoreError> {
    let long = name.len() > REGISTER_NAME_BYTES_MAX
        || row.is_some_and(|row| row.len() > REGISTER_ROW_BYTES_MAX);
    if long {
        return Err(reads::damaged("a row of the register is over its bound"));
    }
    Ok(())
}

fn scan(
    view: &View<'_>,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    let (head, first) = (keys::register(""), keys::register(prefix));
    let after = after.map(keys::register);
    let from = after.clone().filter(|after| *after > first).unwrap_or_else(|| first.clone());
    let end = vec![u8::MAX; head.len() + REGISTER_NAME_BYTES_MAX + 1];
    let mut rows = Vec::new();
    for row in view.range(Space::Random, from..=end) {
        let (key, row) = row?;
        if !key.starts_with(&first) || rows.len() >= limit {
            break;
        }
        if after.as_deref() == Some(&key[..]) {
            continue;
        }
        let name = String::from_utf8(key[head.len()..].to_vec());
        let name = name.map_err(|_| reads::damaged("a name in the register is not text"))?;
        rows.push((name, row.to_vec()));
    }
    Ok(rows)
}

impl Register for EmbeddedStore {
    fn get(&self, name: String) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>> {
        Box::pin(self.read(ShardId(0), move |shared| {
            let row = shared.engine.view().get(Space::Random, &keys::register(&name))?;
            Ok(row.map(|row| row.to_vec()))
        }))
    }

    fn swap(
        &self,
        name: String,
        expected: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            check(&name, new.as_ref())?;
            self.write(|reply| Job::Swap(name, expected, new, reply)).await
        })
    }

    fn scan(
        &self,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        Box::pin(self.read(ShardId(0), move |shared| {
            scan(&shared.engine.view(), &prefix, after.as_deref(), limit)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded_store::Options;

    #[tokio::test]
    async fn rows_are_swapped_found_in_order_and_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = EmbeddedStore::open(&path, Options::default()).unwrap();
        let put = async |name: &str, row: &[u8]| {
            store.swap(name.to_owned(), None, Some(row.to_vec())).await.unwrap()
        };
        for name in ["b/2", "a/9", "b/1", "b/3", "c", "b"] {
            assert!(put(name, name.as_bytes()).await);
            assert!(!put(name, b"again").await);
        }
        let swap = |from: &[u8], to: Option<&[u8]>| {
            store.swap("b/2".to_owned(), Some(from.to_vec()), to.map(<[u8]>::to_vec))
        };
        assert!(!swap(b"other", Some(b"x")).await.unwrap());
        assert!(swap(b"b/2", Some(b"new")).await.unwrap());
        drop(store);
        let store = EmbeddedStore::open(&path, Options::default()).unwrap();
        assert_eq!(store.get("b/2".to_owned()).await.unwrap(), Some(b"new".to_vec()));
        assert_eq!(store.get("b/4".to_owned()).await.unwrap(), None);
        let names = async |after: Option<&str>, limit| {
            let rows = store.scan("b/".to_owned(), after.map(str::to_owned), limit).await.unwrap();
            rows.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names(None, 9).await, ["b/1", "b/2", "b/3"]);
        assert_eq!(names(Some("b/1"), 1).await, ["b/2"]);
        assert_eq!(names(Some("a/zzz"), 9).await.len(), 3);
        assert_eq!(names(Some("b/3"), 9).await.len(), 0);
        let gone = store.swap("b/2".to_owned(), Some(b"new".to_vec()), None);
        assert!(gone.await.unwrap());
        assert_eq!(names(None, 9).await, ["b/1", "b/3"]);
    }
}
